"""What the contrastive losses share: the loss of every pair, and its mean over the positives."""

from __future__ import annotations

import torch

from iec_hub.errors import DataError

# A shorter embedding has no direction worth the name; dividing by its length would blow up the gradient.
_SHORTEST = 1e-6


def pair_losses(
    queries: torch.Tensor, keys: torch.Tensor, candidates: torch.Tensor | None = None, temperature: float = 0.1
) -> torch.Tensor:
    r"""
    The loss of every pair: `l_ij = -log(exp(s_ij) / sum_{a in A(i)} exp(s_ia))`, `s` = cosine / temperature.

    Computed in float32 (float64 where an input is), also under autocast.

    Args:
        queries, keys: `(n, d)` and `(m, d)`, any floating type; they are normalised here. A zero row has cosine 0
            with everything.
        candidates: `(n, m)` bool, A: the keys that a query is compared with; None stands for all of them.
        temperature: above 0.

    Returns:
        `(n, m)`; at least 0 at candidates, and finite but meaningless elsewhere.

    Raises:
        DataError: If the shapes do not fit or the temperature is not above 0.
    """
    if queries.dim() != 2 or keys.dim() != 2 or queries.shape[1] != keys.shape[1]:
        raise DataError(
            f"Embeddings of shapes {tuple(queries.shape)} and {tuple(keys.shape)} cannot be compared; give (n, d) "
            "and (m, d)."
        )
    if not temperature > 0:
        raise DataError(f"A temperature of {temperature} cannot be used; give one above 0.")
    logits = cosines(queries, keys) / temperature
    compared = logits
    if candidates is not None:
        _check_pairs(candidates, logits, "candidates")
        # Not -inf, so that a row without any candidate stays finite.
        compared = logits.masked_fill(~candidates, torch.finfo(logits.dtype).min)
    return compared.logsumexp(1, keepdim=True) - logits


def mean_over_positives(losses: torch.Tensor, positives: torch.Tensor) -> torch.Tensor:
    """The mean over each query's positives, then over the queries that have one; 0 if none has.

    Args:
        losses: `(n, m)`, finite.
        positives: `(n, m)` bool.

    Returns:
        A scalar; other pairs get no gradient.
    """
    _check_pairs(positives, losses, "positives")
    counts = positives.sum(1)
    means = losses.masked_fill(~positives, 0.0).sum(1) / counts.clamp_min(1)
    return means.sum() / counts.gt(0).sum().clamp_min(1)


def supervised_contrastive_loss(
    queries: torch.Tensor,
    keys: torch.Tensor,
    positives: torch.Tensor,
    candidates: torch.Tensor | None = None,
    temperature: float = 0.1,
) -> torch.Tensor:
    r"""
    Supervised contrastive loss: L_out of Khosla et al., "Supervised Contrastive Learning" (NeurIPS 2020), equation 2.

    `L = mean_i 1/|P(i)| sum_{p in P(i)} -log(exp(s_ip) / sum_{a in A(i)} exp(s_ia))`, `s` = cosine / temperature. The
    paper sums over i; this is the mean over the i that have a positive.

    Args:
        queries, keys, temperature: as in [`pair_losses`].
        positives, candidates: `(n, m)` bool, P and A; a positive is a candidate in any case. Where queries and keys
            are the same samples, leave the diagonal out of both.

    Returns:
        A scalar, at least 0; 0 where there is no positive.
    """
    _check_pairs(positives, queries.new_empty(len(queries), len(keys)), "positives")
    losses = pair_losses(queries, keys, None if candidates is None else candidates | positives, temperature)
    return mean_over_positives(losses, positives)


def cosines(queries: torch.Tensor, keys: torch.Tensor) -> torch.Tensor:
    """Cosines `(n, m)` of the rows, in float32 or float64; 0 for a zero row."""
    dtype = torch.promote_types(torch.promote_types(queries.dtype, keys.dtype), torch.float32)
    # Autocast would multiply in half precision, whose error a small temperature magnifies.
    with torch.autocast(queries.device.type, enabled=False):
        return _unit(queries.to(dtype)) @ _unit(keys.to(dtype)).T


def _unit(rows: torch.Tensor) -> torch.Tensor:
    norms = torch.linalg.vector_norm(rows, dim=1, keepdim=True)
    return rows / torch.where(norms > _SHORTEST, norms, torch.ones_like(norms))


def _check_pairs(pairs: torch.Tensor, like: torch.Tensor, name: str) -> None:
    if pairs.dtype is not torch.bool or pairs.shape != like.shape:
        raise DataError(
            f"The {name} are {pairs.dtype} of shape {tuple(pairs.shape)}; give torch.bool of shape "
            f"{tuple(like.shape)}."
        )


__all__ = ["cosines", "mean_over_positives", "pair_losses", "supervised_contrastive_loss"]

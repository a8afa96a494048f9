"""The supervised contrastive loss with semantic-similarity sampling.

ACIEC (Zhou et al., arXiv 2511.23115) names such a loss; only the abstract is known, so the formula is this
implementation's.
"""

from __future__ import annotations

import torch

from iec_hub.errors import DataError
from iec_hub.losses.contrastive import cosines, supervised_contrastive_loss

# Equal texts should tie, whatever the order in which a matrix product adds up their numbers.
_DECIMALS = 6


def similarity_sampled_contrastive_loss(
    embeddings: torch.Tensor,
    labels: torch.Tensor,
    semantics: torch.Tensor | None,
    positives: int | None = 4,
    negatives: int | None = 16,
    temperature: float = 0.1,
) -> torch.Tensor:
    r"""
    Supervised contrastive loss over the hardest pairs, which a frozen text encoder chooses.

    Of an anchor's same-label texts the k least alike are kept (P), of the different-label texts the k most alike (N):

        L = mean_i 1/|P(i)| sum_{p in P(i)} -log(exp(s_ip) / sum_{a in P(i) + N(i)} exp(s_ia))

    with `s` = cosine of embeddings / temperature and the mean over anchors that have a positive and a negative. When
    nothing is sampled, this is L_out of Khosla et al. (NeurIPS 2020).

    Args:
        embeddings: `(n, d)`, any floating type, normalised here.
        labels, semantics, positives, negatives: as in [`similarity_sampled_pairs`]; `semantics=None` samples nothing.
        temperature: above 0.

    Returns:
        A scalar in float32 or float64, at least 0; 0 where no anchor has both.
    """
    if len(embeddings) != len(labels):
        raise DataError(f"{len(embeddings)} embeddings do not fit {len(labels)} labels; give one label per row.")
    same, different = similarity_sampled_pairs(labels, semantics, positives, negatives)
    return supervised_contrastive_loss(embeddings, embeddings, same, same | different, temperature)


def similarity_sampled_pairs(
    labels: torch.Tensor, semantics: torch.Tensor | None, positives: int | None = 4, negatives: int | None = 16
) -> tuple[torch.Tensor, torch.Tensor]:
    """The pairs that are kept: same-label ones least alike, different-label ones most alike.

    Args:
        labels: `(n,)` integers, below 0 unknown, or `(n, c)` distributions, of which the first largest entry is the
            label; a row without one above 0 is unknown. Unknown samples are in no pair.
        semantics: `(n, s)`, a frozen text encoder's embeddings; None keeps all pairs.
        positives, negatives: how many to keep per anchor, at least 1, or None for all. Of equally alike ones (to 6
            decimals) those that come first are kept.

    Returns:
        Positives and negatives, each `(n, n)` bool without gradient: row = anchor. The rows of anchors that lack one
        of both are empty, and no sample is in a pair with itself.

    Raises:
        DataError: If shapes or numbers cannot be used.
    """
    for name, count in (("positives", positives), ("negatives", negatives)):
        if count is not None and count < 1:
            raise DataError(f"{count} {name} cannot be kept; ask for at least 1, or None for all.")
    with torch.no_grad():
        labels = _hard(labels)
        both_known = (labels[:, None] >= 0) & (labels[None, :] >= 0)
        equal = labels[:, None] == labels[None, :]
        apart = ~torch.eye(len(labels), dtype=torch.bool, device=labels.device)
        same, different = equal & both_known & apart, ~equal & both_known
        if semantics is not None:
            if semantics.dim() != 2 or len(semantics) != len(labels):
                raise DataError(
                    f"Text embeddings of shape {tuple(semantics.shape)} do not fit {len(labels)} labels; give one row "
                    "per label."
                )
            likeness = cosines(semantics, semantics).round(decimals=_DECIMALS)
            same, different = _lowest(likeness, same, positives), _lowest(-likeness, different, negatives)
        usable = (same.any(1) & different.any(1))[:, None]
        return same & usable, different & usable


def _hard(labels: torch.Tensor) -> torch.Tensor:
    """`(n,)` labels; below 0 is unknown."""
    if labels.dim() == 1 and not labels.is_floating_point():
        return labels
    if labels.dim() == 2 and labels.shape[1]:
        # `max` gives the first of equal entries.
        largest, index = labels.float().max(1)
        return index.masked_fill(~(largest > 0), -1)
    raise DataError(
        f"Labels of type {labels.dtype} and shape {tuple(labels.shape)} cannot be used; give integers (n,) or "
        "distributions (n, classes)."
    )


def _lowest(values: torch.Tensor, allowed: torch.Tensor, count: int | None) -> torch.Tensor:
    """The `count` allowed pairs of each row with the lowest values; of equal ones those that come first."""
    if count is None:
        return allowed
    # Not topk, which leaves open which of equal values it takes.
    order = values.masked_fill(~allowed, float("inf")).argsort(dim=1, stable=True)[:, :count]
    return torch.zeros_like(allowed).scatter(1, order, True) & allowed


__all__ = ["similarity_sampled_contrastive_loss", "similarity_sampled_pairs"]

"""The hierarchical multi-level contrastive loss: alike in concept is nearest, then in emotion, then in polarity.

After Zhang, Xu, Xiong and Ramaiah, "Use All The Labels: A Hierarchical Multi-Label Contrastive Learning Framework"
(CVPR 2022). Levels go from coarse to fine; [`multi_level_contrastive_loss`] has the formula.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal

import torch

from iec_hub.errors import DataError
from iec_hub.losses.contrastive import mean_over_positives, pair_losses

Constraint = Literal["pair", "level"]


def multi_level_contrastive_loss(
    queries: torch.Tensor,
    keys: torch.Tensor,
    positives: torch.Tensor,
    candidates: torch.Tensor | None = None,
    *,
    temperature: float = 0.1,
    penalty: float = 2.0,
    constraint: Constraint | None = "pair",
    levels: Sequence[int] | None = None,
) -> torch.Tensor:
    r"""
    A supervised contrastive term per level, with a floor for the coarser ones: HiMulConE of "Use All The Labels".

    With `l = 1` the finest level, `s_ij` = cosine / temperature, `P_l(i)` the positives and `A_l(i)` the candidates:

        l_l(i, p) = -log(exp(s_ip) / sum_{a in A_l(i)} exp(s_ia))
        m_l(i, p) = max(l_l(i, p), max over all finer k, j and q in P_k(j) of m_k(j, q))
        L = sum_l w_l mean_i 1/|P_l(i)| sum_{p in P_l(i)} m_l(i, p),   w_l = b^(1/l) / sum_k b^(1/k)

    so that a coarser pair's loss is never below that of any finer pair. `constraint=None` leaves the floor out
    (HiMulCon), `penalty=1` the weights (HiConE), and one level alone is [`supervised_contrastive_loss`].

    The paper and its published code disagree; this implementation follows the paper's pairs and denominators, as
    corrected in the code's README (the floor comes from the finer level), and the code's numbering (finest first,
    so that fine levels weigh most). The code's floor is between the levels' mean losses: that is `"level"`. Where
    this differs from both: the weights are divided by their sum, not by the number of levels (a constant factor,
    which makes one level alone plain), and queries without a positive at a level are left out of its mean. Like
    there, gradient flows through the floor to the pair that sets it.

    Args:
        queries, keys: `(n, d)` and `(m, d)`, any floating type, normalised here.
        positives: `(levels, n, m)` bool, coarse to fine. Positives of a finer level should be positives of the coarser
            ones too, which is not checked; [`level_pairs`] and [`concept_positives`] make them so.
        candidates: `(levels, n, m)` or `(n, m)` bool, what stands in the denominator; None for all. A positive does
            in any case. Leave the diagonal out where queries and keys are the same samples.
        temperature: above 0.
        penalty: b, at least 1: 2 here, `math.e` in the paper, 1 for equal weights.
        constraint: `"pair"`, `"level"` or None, see above.
        levels: which levels to use, as indices into `positives`; None for all. `l` is counted among those used.

    Returns:
        A scalar in float32 or float64, at least 0; 0 where there is no positive.

    Raises:
        DataError: If shapes do not fit or an argument is out of range.
    """
    if constraint not in ("pair", "level", None):
        raise DataError(f'The constraint {constraint!r} is unknown; choose "pair", "level" or None.')
    if positives.dim() != 3 or not len(positives):
        raise DataError(f"Positives of shape {tuple(positives.shape)} have no levels; give (levels, queries, keys).")
    if candidates is not None:
        if candidates.shape not in (positives.shape, positives.shape[1:]):
            raise DataError(
                f"Candidates of shape {tuple(candidates.shape)} do not fit positives of shape "
                f"{tuple(positives.shape)}; give one matrix for all levels or one per level."
            )
        candidates = (candidates | positives).expand(positives.shape)
    finest_first = _chosen(levels, len(positives))[::-1]
    total: torch.Tensor | float = 0.0
    floor: torch.Tensor | None = None
    for level, weight in zip(finest_first, level_weights(len(finest_first), penalty), strict=True):
        losses = pair_losses(queries, keys, None if candidates is None else candidates[level], temperature)
        if constraint == "pair" and floor is not None:
            losses = torch.maximum(losses, floor)
        mean = mean_over_positives(losses, positives[level])
        if constraint == "level" and floor is not None:
            mean = torch.where(positives[level].any(), torch.maximum(mean, floor), mean)
        total = total + weight * mean
        # Once floored, a level's largest loss is at least every finer one's, unless the level has no positive.
        largest = losses.masked_fill(~positives[level], float("-inf")).amax() if constraint == "pair" else mean
        floor = largest if floor is None else torch.maximum(floor, largest)
    return total


def hierarchical_contrastive_loss(
    embeddings: torch.Tensor,
    labels: torch.Tensor,
    *,
    temperature: float = 0.1,
    penalty: float = 2.0,
    constraint: Constraint | None = "pair",
    levels: Sequence[int] | None = None,
) -> torch.Tensor:
    """[`multi_level_contrastive_loss`] of samples among themselves, with [`level_pairs`] of their labels.

    Args:
        embeddings: `(n, d)`, any floating type, normalised here.
        labels: `(n, levels)` integers, coarse to fine (polarity, emotion, concept); -1 is unknown.
        levels: the levels to use, e.g. `(-1,)` for the flat loss of concepts; a finer level still asks for
            agreement at all coarser ones.

    Returns:
        A scalar; 0 where no two samples agree.
    """
    positives, candidates = level_pairs(labels)
    return multi_level_contrastive_loss(
        embeddings,
        embeddings,
        positives,
        candidates,
        temperature=temperature,
        penalty=penalty,
        constraint=constraint,
        levels=levels,
    )


def level_pairs(labels: torch.Tensor, key_labels: torch.Tensor | None = None) -> tuple[torch.Tensor, torch.Tensor]:
    """Which pairs agree and which can be compared at every level.

    A pair agrees at a level if it has the same known label there and at all coarser levels. It differs if it has
    different known labels there or at a coarser level. Else it is undecided, as with an unknown concept of the same
    emotion: neither a positive nor, as it may be alike, a candidate.

    Args:
        labels: `(n, levels)` integers, coarse to fine; below 0 is unknown.
        key_labels: `(m, levels)`; None for the same samples, each of which is then no pair with itself.

    Returns:
        Positives and candidates, each `(levels, n, m)` bool.
    """
    others = labels if key_labels is None else key_labels
    if labels.dim() != 2 or others.dim() != 2 or labels.shape[1] != others.shape[1]:
        raise DataError(
            f"Labels of shapes {tuple(labels.shape)} and {tuple(others.shape)} cannot be compared; give (n, levels) "
            "and (m, levels)."
        )
    mine, theirs = labels.T[:, :, None], others.T[:, None, :]
    known, same = (mine >= 0) & (theirs >= 0), mine == theirs
    agree = (known & same).cumprod(0).bool()
    differ = (known & ~same).cumsum(0).bool()
    candidates = agree | differ
    if key_labels is None:
        apart = ~torch.eye(len(labels), dtype=torch.bool, device=labels.device)
        agree, candidates = agree & apart, candidates & apart
    return agree, candidates


def concept_positives(has_concept: torch.Tensor, concept_labels: torch.Tensor) -> torch.Tensor:
    """Positives between items that have several concepts each, such as images, and all concepts.

    At the finest level they are the item's own concepts; at a coarser level also every concept that shares the labels
    up to there with one of them.

    Args:
        has_concept: `(n, m)` bool, item by concept.
        concept_labels: `(m, levels - 1)` integers, the concepts' coarser labels, coarse to fine (polarity, emotion);
            below 0 is unknown.

    Returns:
        `(levels, n, m)` bool for [`multi_level_contrastive_loss`], whose keys are the concepts' embeddings. An item
        with concepts of every polarity has all concepts as positives there, which teaches it little.
    """
    if has_concept.dim() != 2 or concept_labels.dim() != 2 or has_concept.shape[1] != len(concept_labels):
        raise DataError(
            f"Items by concepts of shape {tuple(has_concept.shape)} do not fit labels of shape "
            f"{tuple(concept_labels.shape)}; give (n, m) and (m, levels - 1)."
        )
    alike, _ = level_pairs(concept_labels, concept_labels)
    own = has_concept.bool()
    coarser = [(own.float() @ level.float()) > 0 for level in alike]
    return torch.stack([*(level | own for level in coarser), own])


def level_weights(count: int, penalty: float = 2.0) -> list[float]:
    """`b^(1/l)` for l = 1 (the finest level) .. count, divided by their sum; b is the penalty, at least 1."""
    if not penalty >= 1:
        raise DataError(f"A penalty of {penalty} would weigh coarse levels most; give at least 1.")
    weights = [penalty ** (1 / level) for level in range(1, count + 1)]
    return [weight / sum(weights) for weight in weights]


def _chosen(levels: Sequence[int] | None, count: int) -> list[int]:
    """Indices of levels, coarse to fine."""
    if levels is None:
        return list(range(count))
    if not levels or not all(-count <= level < count for level in levels):
        raise DataError(f"The levels {list(levels)} cannot be used; choose at least one of 0 to {count - 1}.")
    return sorted({level % count for level in levels})


__all__ = [
    "concept_positives",
    "hierarchical_contrastive_loss",
    "level_pairs",
    "level_weights",
    "multi_level_contrastive_loss",
]

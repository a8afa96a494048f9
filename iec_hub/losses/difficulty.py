"""The variable-weight loss: a cross-entropy in which harder samples count more."""

from __future__ import annotations

import torch


def difficulty_weights(logits: torch.Tensor, labels: torch.Tensor, weight: float, power: float) -> torch.Tensor:
    r"""
    How much each sample counts, by how hard it is at present: `1 + a (1 - p)^g`, divided by the batch's mean.

    `p` is the overlap `sum_c min(q_c, p_c)` of votes and prediction. For a hard label that is the probability of the
    label; for votes it is 1 where the prediction is exactly theirs, so that an image on which people differ does not
    count as hard for that. The paper's abstract names a variable-weight loss; this formula is this implementation's,
    close to the focal loss of Lin et al. (ICCV 2017).

    Args:
        logits, labels: `(batch, classes)`; logits of absent classes are `-inf`. Rows of labels are distributions, or
            distributions times a sample's own weight, which makes no difference here.
        weight, power: a and g, at least 0.

    Returns:
        `(batch,)`, float32, mean 1, without gradient.
    """
    with torch.no_grad():
        votes = labels.float() / labels.float().sum(-1, keepdim=True).clamp_min(1e-9)
        overlap = torch.minimum(logits.float().softmax(-1), votes).sum(-1).clamp(0, 1)
        weights = 1 + weight * (1 - overlap) ** power
        return weights / weights.mean()


def variable_weight_cross_entropy(
    logits: torch.Tensor, labels: torch.Tensor, weight: float = 1.0, power: float = 2.0
) -> torch.Tensor:
    """Soft-label cross-entropy whose samples are weighted by [`difficulty_weights`]; `weight = 0` is the plain one.

    Args:
        logits, labels: as in [`difficulty_weights`].

    Returns:
        A scalar, the mean over the batch.
    """
    log_probabilities = logits.float().log_softmax(-1).masked_fill(logits.isneginf(), 0.0)
    losses = -(labels.float() * log_probabilities).sum(-1)
    return (difficulty_weights(logits, labels, weight, power) * losses).mean()


__all__ = ["difficulty_weights", "variable_weight_cross_entropy"]

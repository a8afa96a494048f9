"""A linear probe as a teacher: what few images can say for sure, as a second opinion beside their votes."""

from __future__ import annotations

import copy
from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import nn

from iec_hub.evaluation.probe import LinearProbe
from iec_hub.finetuning.training_data import ImageSource

STRENGTHS = (5e-5, 1e-4, 2e-4, 5e-4, 1e-3)
ZERO_SHOT_WEIGHTS = (0.0, 0.2, 0.4, 0.7)


@dataclass(frozen=True)
class ProbeTeacher:
    """Pooled features `(images, width)` to logits `(images, labels)`.

    Attributes:
        norm: applied to the features before the probe reads them.
        zero_shot: a second opinion, added with `weight` in log space.
    """

    probe: LinearProbe
    norm: nn.Module
    zero_shot: Callable[[torch.Tensor], torch.Tensor] | None = None
    weight: float = 0.0

    def __call__(self, pooled: torch.Tensor) -> torch.Tensor:
        logits = self.probe.logits(self.norm(pooled))
        if self.zero_shot is None or not self.weight:
            return logits
        return logits.log_softmax(-1) + self.weight * self.zero_shot(pooled)


def probe_teacher(
    feature_norm: nn.Module,
    train: ImageSource,
    validation: ImageSource,
    zero_shot: Callable[[torch.Tensor], torch.Tensor] | None = None,
) -> tuple[ProbeTeacher, dict[str, float]]:
    """A teacher for one data set: a linear probe on the training images' views and, where there is one, an opinion
    formed without labelled images. Strength and weight are chosen on validation.

    Args:
        feature_norm: applied to the sources' pooled features.
        zero_shot: pooled features `(images, width)` to logits `(images, labels)`.

    Returns:
        The teacher, and what was chosen.
    """
    norm = copy.deepcopy(feature_norm).cpu()
    features = norm(train.features).flatten(0, 1)
    targets = train.distributions.repeat(len(train.features), 1)
    seen = validation.features[0]
    probe = LinearProbe.select(features, targets, norm(seen), validation.distributions, STRENGTHS)

    def loss(teacher: ProbeTeacher) -> float:
        log_probabilities = teacher(seen).log_softmax(-1)
        return float(-(validation.distributions * log_probabilities).sum(1).mean())

    weights = ZERO_SHOT_WEIGHTS if zero_shot is not None else (0.0,)
    best = min((ProbeTeacher(probe, norm, zero_shot, weight) for weight in weights), key=loss)
    return best, {"strength": probe.strength, "zero_shot_weight": best.weight}


__all__ = ["ProbeTeacher", "probe_teacher"]

"""Evidence of a prediction: the score that a heat map is of, and what was measured joined with what a method says."""

from __future__ import annotations

from contextlib import suppress
from dataclasses import replace
from typing import Any

import numpy as np
import torch

from iec_hub.emotions import EmotionModel, map_distribution
from iec_hub.errors import EmotionMappingError
from iec_hub.prediction import Evidence


def top_score(probabilities: torch.Tensor, source: EmotionModel, target: EmotionModel) -> torch.Tensor:
    """Log-probability `(batch,)` of each image's top label in terms of `target`.

    Args:
        probabilities: `(batch, labels)` over `source`; gradients pass.
    """
    if source.labels != target.labels:
        mapping = np.zeros((len(source), len(target)))
        for row, label in zip(mapping, np.eye(len(source)), strict=True):
            with suppress(EmotionMappingError):  # the target has no word for it
                row[:] = map_distribution(label, source, target)
        probabilities = probabilities @ torch.as_tensor(mapping).to(probabilities)
    return probabilities.amax(dim=-1).log()


def joined_evidence(regions: Any, explanation: dict[str, Any]) -> Evidence | None:
    """Evidence from what was measured and what the method itself says; heat maps of words only where asked for.

    Args:
        regions: `(rows, columns)`, or `None` where no evidence was asked for.
        explanation: loses its `words` and `caption_words`.
    """
    words, caption_words = explanation.pop("words", None), explanation.pop("caption_words", None)
    if regions is None and words is None and caption_words is None:
        return None
    if regions is None and caption_words is not None:
        caption_words = tuple(replace(word, regions=None) for word in caption_words)
    return Evidence(regions=regions, words=words, caption_words=caption_words)


__all__ = ["joined_evidence", "top_score"]

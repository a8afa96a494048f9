"""What the processors of the three methods share: which emotion model each item is of, and its labels."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import torch

from iec_hub.emotions import EmotionModel
from iec_hub.errors import DataError
from iec_hub.models.configuration_image_emotion import ImageEmotionConfig


def models_per_item(config: ImageEmotionConfig, emotion_models: Any, batch_size: int | None) -> list[EmotionModel]:
    """One emotion model per item from what a caller gave: one for all, one each, own labels, or nothing.

    Raises:
        DataError: if there are not as many as items, or one is not known.
    """
    several = isinstance(emotion_models, list | tuple) and not all(
        isinstance(item, str) and item not in config.known_emotion_models for item in emotion_models
    )
    if several:
        models = [config.resolve_emotion_model(item) for item in emotion_models]
        if batch_size not in (None, len(models)):
            raise DataError(f"{batch_size} images came with {len(models)} emotion models; give one each, or one.")
        return models
    return [config.resolve_emotion_model(emotion_models)] * (1 if batch_size is None else batch_size)


def label_rows(distributions: Any, models: Sequence[EmotionModel], candidate_mask: torch.Tensor) -> torch.Tensor:
    """Distributions over each item's emotion model, in their columns of the candidates.

    Args:
        candidate_mask: `(batch, candidates)`, which candidates are the item's.

    Raises:
        DataError: if there are not as many as items, or one does not fit its emotion model.
    """
    if len(distributions) != len(models):
        raise DataError(f"{len(models)} images came with {len(distributions)} distributions; give one each.")
    labels = torch.zeros(candidate_mask.shape)
    for row, (distribution, model) in enumerate(zip(distributions, models, strict=True)):
        values = torch.as_tensor(np.asarray(distribution), dtype=torch.float32)
        if values.shape != (len(model),):
            raise DataError(f"A distribution over {model.name} needs {len(model)} values, not {values.numel()}.")
        labels[row, candidate_mask[row]] = values
    return labels


__all__ = ["label_rows", "models_per_item"]

"""What the processors of the three methods share: images to pixels, each item's emotion model, and its labels."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
import torch

from iec_hub.emotions import EmotionModel
from iec_hub.errors import DataError
from iec_hub.models.configuration_image_emotion import ClassifierConfig, ImageEmotionConfig

if TYPE_CHECKING:
    from PIL.Image import Image


def image_tensors(
    image_processor: Any, images: Any, return_tensors: str, arguments: Mapping[str, Any]
) -> tuple[list[Image] | None, dict[str, Any]]:
    """The images as a list, and their `pixel_values`; none of both where none came.

    Args:
        images: one RGB image or a list of them, or `None`.
        arguments: further ones of the image processor.

    Raises:
        DataError: if other tensors than PyTorch's are asked for, or there are arguments and no images.
    """
    if return_tensors != "pt":
        raise DataError(f"return_tensors is {return_tensors!r}; use 'pt', the only kind there is.")
    if images is None:
        if arguments:
            raise DataError(f"Without images the argument {next(iter(arguments))!r} means nothing; leave it out.")
        return None, {}
    images = list(images) if isinstance(images, list | tuple) else [images]
    pixels = image_processor(images=images, return_tensors="pt", **arguments)
    return images, {"pixel_values": pixels["pixel_values"]}


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


def classifier_targets(
    config: ClassifierConfig, emotion_models: Any, batch_size: int | None, distributions: Any = None
) -> dict[str, Any]:
    """What a model whose classifier has columns for the trained labels only is asked for.

    Args:
        emotion_models: as in [`models_per_item`].
        distributions: as in [`label_rows`], or `None`.

    Returns:
        `candidate_ids` `(candidates,)`, the classifier's columns of the items' emotion models, `candidate_mask`
        `(batch, candidates)`, which of them are an item's, and the list `emotion_models`; `labels`
        `(batch, candidates)` where distributions were given.

    Raises:
        DataError: if lengths do not agree or an emotion model was not trained.
    """
    models = _trained_models(config, emotion_models, batch_size)
    columns = config.label_columns
    distinct = list(dict.fromkeys(models))
    ids = [column for model in distinct for column in range(columns[model.name].start, columns[model.name].stop)]
    owners = [model for model in distinct for _ in model.labels]
    owned = {model: torch.tensor([owner is model for owner in owners]) for model in distinct}
    mask = torch.stack([owned[model] for model in models])
    labels = {} if distributions is None else {"labels": label_rows(distributions, models, mask)}
    return {"candidate_ids": torch.tensor(ids), "candidate_mask": mask, **labels, "emotion_models": models}


def _trained_models(config: ClassifierConfig, emotion_models: Any, batch_size: int | None) -> list[EmotionModel]:
    columns = config.trained_emotion_models
    known = {model.labels: model for model in columns.values()}
    models = []
    for model in models_per_item(config, emotion_models, batch_size):
        if model.labels not in known:
            raise DataError(
                f"This model has no classifier for {model.name}; it has {', '.join(columns)}, and predictions can "
                "be mapped from those where that makes sense."
            )
        models.append(known[model.labels])
    return models


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


def reduced_image(image: Image, image_processor: Any, side: int) -> Image:
    """The picture as small as an image processor makes it; its own resizing then has nothing left to do.

    Args:
        side: where the image processor resizes by another rule than to a fixed size, twice this is always left.
    """
    if not getattr(image_processor, "do_resize", False):
        return image
    size = image_processor.size
    width, height = size.get("width"), size.get("height")
    if width and height:
        return image.resize((width, height), image_processor.resample)
    factor = min(image.size) // (2 * side)
    return image.reduce(factor) if factor > 1 else image


__all__ = [
    "classifier_targets",
    "image_tensors",
    "label_rows",
    "models_per_item",
    "reduced_image",
]

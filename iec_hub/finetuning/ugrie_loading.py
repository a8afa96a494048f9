"""What a training of UGRIE starts from: a model with its processor."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from transformers import AutoImageProcessor, AutoTokenizer

from iec_hub.emotions import EmotionModel
from iec_hub.finetuning.arguments import read_config
from iec_hub.finetuning.starting import checked_path, loaded, quantized_by, with_own_first
from iec_hub.finetuning.ugrie_arguments import ModelArguments
from iec_hub.models.ugrie import UGRIE_PRESETS, UgrieForImageEmotion, UgrieProcessor


def load_model(
    start: ModelArguments, emotion_models: Sequence[EmotionModel], quantization: Any = None
) -> tuple[UgrieForImageEmotion, UgrieProcessor]:
    """The model to train and its processor; new emotion models are added to a continued checkpoint's.

    Args:
        quantization: quantisation configuration for a continued checkpoint.

    Raises:
        CheckpointError: if the checkpoint or a backbone cannot be loaded.
    """
    models = {model.name: model for model in emotion_models}
    if start.model:
        return loaded(lambda: _continued(start.model, models, quantization))
    return loaded(lambda: _assembled(start, models))


def _continued(
    name: str, models: dict[str, EmotionModel], quantization: Any
) -> tuple[UgrieForImageEmotion, UgrieProcessor]:
    path = checked_path(name, "ugrie", "UGRIE")
    model = UgrieForImageEmotion.from_pretrained(path, dtype=torch.float32, **quantized_by(quantization))
    model.config.set_emotion_models(with_own_first(models, model.config.trained_emotion_models))
    return model, UgrieProcessor.from_pretrained(path).adopt(model.config)


def _assembled(start: ModelArguments, models: dict[str, EmotionModel]) -> tuple[UgrieForImageEmotion, UgrieProcessor]:
    fields = read_config(start.config)
    fields["emotion_models"] = [model.to_dict() for model in models.values()]
    vision, text = UGRIE_PRESETS[start.preset]["backbones"] if start.preset else (start.vision, start.text)
    image_fields = fields.pop("image_processor", None)
    model = UgrieForImageEmotion.from_backbones(vision, text, **fields)
    images = AutoImageProcessor.from_pretrained(vision, **(image_fields or {}))
    return model, UgrieProcessor(images, AutoTokenizer.from_pretrained(text)).adopt(model.config)


__all__ = ["load_model"]

"""What a training of UGRIE starts from: a model with its processor."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from transformers import AutoImageProcessor, AutoTokenizer

from iec_hub.emotions import EmotionModel
from iec_hub.finetuning.arguments import read_config
from iec_hub.finetuning.starting import load_start
from iec_hub.finetuning.ugrie_arguments import ModelArguments
from iec_hub.models.ugrie import UGRIE_PRESETS, UgrieForImageEmotion, UgrieProcessor


def load_model(
    start: ModelArguments, emotion_models: Sequence[EmotionModel], quantization: Any = None
) -> tuple[UgrieForImageEmotion, UgrieProcessor]:
    """The model to train and its processor, as [`load_start`] gives them."""
    kinds = (UgrieForImageEmotion, UgrieProcessor)
    return load_start(start, emotion_models, kinds, quantization, lambda own: _assembled(start, own))


def _assembled(
    start: ModelArguments, emotion_models: Sequence[EmotionModel]
) -> tuple[UgrieForImageEmotion, UgrieProcessor]:
    fields = read_config(start.config)
    fields["emotion_models"] = [model.to_dict() for model in emotion_models]
    vision, text = UGRIE_PRESETS[start.preset]["backbones"] if start.preset else (start.vision, start.text)
    image_fields = fields.pop("image_processor", None)
    model = UgrieForImageEmotion.from_backbones(vision, text, **fields)
    images = AutoImageProcessor.from_pretrained(vision, **(image_fields or {}))
    return model, UgrieProcessor(images, AutoTokenizer.from_pretrained(text)).adopt(model.config)


__all__ = ["load_model"]

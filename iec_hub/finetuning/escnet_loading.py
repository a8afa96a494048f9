"""What a training of ESCNet starts from: a model with its processor."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from transformers import AutoImageProcessor, AutoTokenizer

from iec_hub.emotions import EmotionModel
from iec_hub.finetuning.arguments import read_config
from iec_hub.finetuning.escnet_arguments import ModelArguments
from iec_hub.finetuning.starting import load_start
from iec_hub.models.escnet import ESCNET_PRESETS, EscnetForImageEmotion, EscnetProcessor


def load_model(
    start: ModelArguments, emotion_models: Sequence[EmotionModel], quantization: Any = None
) -> tuple[EscnetForImageEmotion, EscnetProcessor]:
    """The model to train and its processor, as [`load_start`] gives them."""
    kinds = (EscnetForImageEmotion, EscnetProcessor)
    return load_start(start, emotion_models, kinds, quantization, lambda own: _assembled(start, own))


def _assembled(
    start: ModelArguments, emotion_models: Sequence[EmotionModel]
) -> tuple[EscnetForImageEmotion, EscnetProcessor]:
    fields: dict[str, Any] = read_config(start.config)
    fields["emotion_models"] = [model.to_dict() for model in emotion_models]
    parts: dict[str, str | None] = {"vision": start.vision, "text": start.text, "captioner": start.captioner}
    if start.preset:
        preset = ESCNET_PRESETS[start.preset]
        parts = preset["backbones"] | {name: part for name, part in parts.items() if part}
        fields = {name: value for name, value in preset["config"].items() if name.startswith("fusion_")} | fields
    image_fields = fields.pop("image_processor", None) or {}
    model = EscnetForImageEmotion.from_backbones(**parts, **fields)
    images = AutoImageProcessor.from_pretrained(parts.get("vision") or parts["captioner"], **image_fields)
    tokenizer = AutoTokenizer.from_pretrained(parts["text"])
    captioner = AutoTokenizer.from_pretrained(parts["captioner"]) if parts.get("captioner") else None
    return model, EscnetProcessor(images, tokenizer, captioner).adopt(model.config)


__all__ = ["load_model"]

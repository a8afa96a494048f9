"""What a training of ESCNet starts from: a model with its processor."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from transformers import AutoImageProcessor, AutoTokenizer

from iec_hub.emotions import EmotionModel
from iec_hub.finetuning.arguments import read_config
from iec_hub.finetuning.escnet_arguments import ModelArguments
from iec_hub.finetuning.starting import checked_path, loaded, quantized_by, with_own_first
from iec_hub.models.escnet import ESCNET_PRESETS, EscnetForImageEmotion, EscnetProcessor


def load_model(
    start: ModelArguments, emotion_models: Sequence[EmotionModel], quantization: Any = None
) -> tuple[EscnetForImageEmotion, EscnetProcessor]:
    """The model to train and its processor; a continued checkpoint keeps the labels it knows and learns new ones.

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
) -> tuple[EscnetForImageEmotion, EscnetProcessor]:
    path = checked_path(name, "escnet", "ESCNet")
    model = EscnetForImageEmotion.from_pretrained(path, dtype=torch.float32, **quantized_by(quantization))
    model.set_emotion_models(with_own_first(models, model.config.trained_emotion_models))
    return model, EscnetProcessor.from_pretrained(path).adopt(model.config)


def _assembled(
    start: ModelArguments, models: dict[str, EmotionModel]
) -> tuple[EscnetForImageEmotion, EscnetProcessor]:
    fields: dict[str, Any] = read_config(start.config)
    fields["emotion_models"] = [model.to_dict() for model in models.values()]
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

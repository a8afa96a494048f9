"""What a training of ESCNet starts from: a model with its processor."""

from __future__ import annotations

from typing import Any

import torch
from transformers import AutoConfig, AutoImageProcessor, AutoTokenizer

from iec_hub.emotions import EmotionModel
from iec_hub.errors import CheckpointError, DataError
from iec_hub.finetuning.escnet_arguments import ModelArguments
from iec_hub.finetuning.ugrie_arguments import read_config
from iec_hub.models.escnet import ESCNET_PRESETS, EscnetForImageEmotion, EscnetProcessor
from iec_hub.registry import checkpoint_path


def load_model(
    start: ModelArguments, emotion_models: list[EmotionModel]
) -> tuple[EscnetForImageEmotion, EscnetProcessor]:
    """The model to train and its processor; a continued checkpoint keeps the labels it knows and learns new ones.

    Raises:
        CheckpointError: if the checkpoint or a backbone cannot be loaded.
    """
    models = {model.name: model for model in emotion_models}
    try:
        return _continued(start.model, models) if start.model else _assembled(start, models)
    except DataError:
        raise
    except (OSError, ValueError, RuntimeError) as error:
        reason = " ".join(str(error).split())[:200].rstrip(".")
        raise CheckpointError(
            f"The model to start from could not be loaded; check its id or folder ({reason})."
        ) from error


def known_emotion_models(start: ModelArguments) -> dict[str, EmotionModel]:
    """What the checkpoint to continue from can tell already; nothing where the run starts from backbones."""
    return AutoConfig.from_pretrained(checkpoint_path(start.model)).trained_emotion_models if start.model else {}


def _continued(name: str, models: dict[str, EmotionModel]) -> tuple[EscnetForImageEmotion, EscnetProcessor]:
    path = checkpoint_path(name)
    kind = AutoConfig.from_pretrained(path).model_type
    if kind != "escnet":
        raise DataError(f"{name!r} is a checkpoint of {kind!r}, not of 'escnet'; give one of ESCNet.")
    model = EscnetForImageEmotion.from_pretrained(path, dtype=torch.float32)
    model.set_emotion_models(list((model.config.trained_emotion_models | models).values()))
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


__all__ = ["known_emotion_models", "load_model"]

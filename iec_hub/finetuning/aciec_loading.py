"""What a training of ACIEC starts from: a model with its processor, and a reasoner."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch
from transformers import AutoImageProcessor, AutoTokenizer

from iec_hub.affect.concepts import read_vocabulary
from iec_hub.affect.reasoning import Reasoner
from iec_hub.emotions import EmotionModel
from iec_hub.errors import DataError
from iec_hub.finetuning.aciec_arguments import DataArguments, ModelArguments
from iec_hub.finetuning.arguments import read_config
from iec_hub.finetuning.starting import checked_path, loaded, quantized_by, with_own_first
from iec_hub.models.aciec import ACIEC_PRESETS, AciecForImageEmotion, AciecProcessor


def load_model(
    data: DataArguments, start: ModelArguments, emotion_models: Sequence[EmotionModel], quantization: Any = None
) -> tuple[AciecForImageEmotion, AciecProcessor]:
    """The model to train and its processor; a continued checkpoint keeps the labels it knows and learns new ones.

    Args:
        quantization: quantisation configuration for a continued checkpoint.

    Raises:
        CheckpointError: if the checkpoint or a backbone cannot be loaded.
    """
    models = {model.name: model for model in emotion_models}
    if start.model:
        return loaded(lambda: _continued(start.model, models, data, quantization))
    return loaded(lambda: _assembled(start, models, data))


def load_reasoner(start: ModelArguments, model: AciecForImageEmotion) -> Reasoner | None:
    """The vision-language model that reasons, or `None` for the small reasoner.

    Raises:
        CheckpointError: if it cannot be loaded.
        DataError: if the configuration was to name one and does not.
    """
    if not start.reasoner:
        return None
    from iec_hub.affect.vision_language_reasoner import VisionLanguageReasoner

    name = model.config.reasoner if start.reasoner == "preset" else start.reasoner
    if not name:
        raise DataError("The configuration names no reasoner; give the id or folder of one as --reasoner.")
    model.config.reasoner = name
    return VisionLanguageReasoner.from_pretrained(name, quantization=start.reasoner_quantization)


def _continued(
    name: str, models: dict[str, EmotionModel], data: DataArguments, quantization: Any
) -> tuple[AciecForImageEmotion, AciecProcessor]:
    path = checked_path(name, "aciec", "ACIEC")
    model = AciecForImageEmotion.from_pretrained(path, dtype=torch.float32, **quantized_by(quantization))
    model.set_emotion_models(with_own_first(models, model.config.trained_emotion_models))
    processor = AciecProcessor.from_pretrained(path).adopt(model.config)
    if data.concepts:
        model.set_concepts(read_vocabulary(Path(data.concepts)), processor)
    return model, processor


def _assembled(
    start: ModelArguments, models: dict[str, EmotionModel], data: DataArguments
) -> tuple[AciecForImageEmotion, AciecProcessor]:
    fields: dict[str, Any] = read_config(start.config)
    fields["emotion_models"] = [model.to_dict() for model in models.values()]
    if data.concepts:
        fields["concepts"] = read_vocabulary(Path(data.concepts)).to_list()
    parts: dict[str, str | None] = {"vision": start.vision, "text": start.text, "observer": start.observer}
    if start.preset:
        preset = ACIEC_PRESETS[start.preset]
        parts = preset["backbones"] | {name: part for name, part in parts.items() if part}
        fields = {key: value for key, value in preset["config"].items() if not key.endswith("_config")} | fields
    image_fields = fields.pop("image_processor", None) or {}
    model = AciecForImageEmotion.from_backbones(**parts, **fields)
    images = AutoImageProcessor.from_pretrained(parts["vision"], **image_fields)
    return model, AciecProcessor(images, AutoTokenizer.from_pretrained(parts["text"])).adopt(model.config)


__all__ = ["load_model", "load_reasoner"]

"""What a training of ACIEC starts from: a model with its processor, and a reasoner."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch
from transformers import AutoConfig, AutoImageProcessor, AutoTokenizer

from iec_hub.affect.concepts import read_vocabulary
from iec_hub.affect.reasoning import Reasoner
from iec_hub.emotions import EmotionModel
from iec_hub.errors import CheckpointError, DataError
from iec_hub.finetuning.aciec_arguments import DataArguments, ModelArguments
from iec_hub.finetuning.ugrie_arguments import read_config
from iec_hub.models.aciec import ACIEC_PRESETS, AciecForImageEmotion, AciecProcessor
from iec_hub.registry import checkpoint_path


def load_model(
    data: DataArguments, start: ModelArguments, emotion_models: Sequence[EmotionModel]
) -> tuple[AciecForImageEmotion, AciecProcessor]:
    """The model to train and its processor; a continued checkpoint keeps the labels it knows and learns new ones.

    Raises:
        CheckpointError: if the checkpoint or a backbone cannot be loaded.
    """
    models = {model.name: model for model in emotion_models}
    try:
        return _continued(start.model, models, data) if start.model else _assembled(start, models, data)
    except DataError:
        raise
    except (OSError, ValueError, RuntimeError) as error:
        reason = " ".join(str(error).split())[:200].rstrip(".")
        raise CheckpointError(
            f"The model to start from could not be loaded; check its id or folder ({reason})."
        ) from error


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
    name: str, models: dict[str, EmotionModel], data: DataArguments
) -> tuple[AciecForImageEmotion, AciecProcessor]:
    path = checkpoint_path(name)
    kind = AutoConfig.from_pretrained(path).model_type
    if kind != "aciec":
        raise DataError(f"{name!r} is a checkpoint of {kind!r}, not of 'aciec'; give one of ACIEC.")
    model = AciecForImageEmotion.from_pretrained(path, dtype=torch.float32)
    model.set_emotion_models(list((model.config.trained_emotion_models | models).values()))
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

"""What a training of ACIEC starts from: a model with its processor, and a reasoner."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from transformers import AutoImageProcessor, AutoTokenizer

from iec_hub.affect.concepts import read_vocabulary
from iec_hub.affect.reasoning import Reasoner
from iec_hub.emotions import EmotionModel
from iec_hub.errors import DataError
from iec_hub.finetuning.aciec_arguments import DataArguments, ModelArguments
from iec_hub.finetuning.arguments import read_config
from iec_hub.finetuning.starting import load_start, loaded
from iec_hub.models.aciec import ACIEC_PRESETS, AciecForImageEmotion, AciecProcessor


def load_model(
    data: DataArguments, start: ModelArguments, emotion_models: Sequence[EmotionModel], quantization: Any = None
) -> tuple[AciecForImageEmotion, AciecProcessor]:
    """The model to train and its processor, as [`load_start`] gives them, with the concepts to look for."""
    kinds = (AciecForImageEmotion, AciecProcessor)
    model, processor = load_start(start, emotion_models, kinds, quantization, lambda own: _assembled(start, own, data))
    if start.model and data.concepts:
        loaded(lambda: model.set_concepts(read_vocabulary(Path(data.concepts)), processor))
    return model, processor


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


def _assembled(
    start: ModelArguments, emotion_models: Sequence[EmotionModel], data: DataArguments
) -> tuple[AciecForImageEmotion, AciecProcessor]:
    fields: dict[str, Any] = read_config(start.config)
    fields["emotion_models"] = [model.to_dict() for model in emotion_models]
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

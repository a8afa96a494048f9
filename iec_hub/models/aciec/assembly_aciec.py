"""Putting an ACIEC together from pretrained parts."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import nn
from transformers import AutoConfig, AutoModel, AutoTokenizer, PreTrainedModel

from iec_hub.affect.concepts import ConceptVocabulary, default_vocabulary
from iec_hub.errors import DataError
from iec_hub.models.escnet import AttributeCaptioner, EscnetForImageEmotion
from iec_hub.models.image_emotion import measured_pooled_size
from iec_hub.registry import checkpoint_path

_PROMPT = "a photo of {}"  # what CLIP-like models read for a concept
_BATCH = 256


@dataclass
class Parts:
    """Pretrained parts under the names of ACIEC's modules, and the configuration's fields for them.

    Attributes:
        dual: the dual encoder that the vision tower came from, if it did.
    """

    fields: dict[str, Any]
    vision_model: PreTrainedModel
    text_encoder: PreTrainedModel
    observer: PreTrainedModel | None
    dual: PreTrainedModel | None
    names: Mapping[str, str]


def load_parts(vision: str, text: str, observer: str | None, dtype: torch.dtype, given: Mapping[str, Any]) -> Parts:
    """Load the parts.

    Raises:
        OSError: when one cannot be found.
        DataError: when the observer's checkpoint has no attribute captioner.
    """
    whole = AutoModel.from_pretrained(vision, dtype=dtype)
    tower = getattr(whole, "vision_model", whole)
    encoder = AutoModel.from_pretrained(text, dtype=dtype)
    seeing = None
    if observer is not None:
        seeing = _load_observer(observer, dtype)
    fields = {**given, "vision_config": tower.config, "text_config": encoder.config}
    if seeing is not None:
        fields["observer_config"] = seeing.config
    if fields.get("vision_feature_layers") and "pooled_size" not in fields:
        fields["pooled_size"] = measured_pooled_size(tower, fields["vision_feature_layers"])
    dual = whole if hasattr(whole, "visual_projection") and hasattr(whole, "get_text_features") else None
    if dual is not None:
        fields.setdefault("concept_size", dual.config.projection_dim)
    return Parts(fields, tower, encoder, seeing, dual, {"vision_model": vision, "text_encoder": text})


def _load_observer(name: str, dtype: torch.dtype) -> PreTrainedModel:
    path = checkpoint_path(name)
    if AutoConfig.from_pretrained(path).model_type == "escnet":
        seeing = EscnetForImageEmotion.from_pretrained(path, dtype=dtype).captioner
        if isinstance(seeing, AttributeCaptioner):
            return seeing
    raise DataError(f"{str(name)!r} has no attribute captioner; give an ESCNet checkpoint with one.")


@torch.no_grad()
def take_over(model: PreTrainedModel, parts: Parts, concept_embeddings: torch.Tensor | None) -> None:
    """Copy the weights of pretrained parts into a model of theirs.

    Raises:
        DataError: if embeddings do not fit the concepts.
    """
    for name in ("vision_model", "text_encoder"):
        target, source = getattr(model, name), getattr(parts, name)
        # The pooler of an encoder is left out, so its weights have no place.
        wanted = target.state_dict().keys()
        target.load_state_dict({key: value for key, value in source.state_dict().items() if key in wanted})
        if os.path.isdir(parts.names[name]):  # a checkpoint names the Hub, not somebody's disk
            target.config.name_or_path = ""
    if parts.observer is not None:
        model.reasoner.observer.load_state_dict(parts.observer.state_dict())
    detector = model.concept_detector
    if parts.dual is not None:
        fits = parts.dual.visual_projection.weight.shape == detector.projection.weight.shape
        if fits and model.config.feature_norm == "none":  # it knows the pooled image as the tower gave it
            detector.projection.weight.copy_(parts.dual.visual_projection.weight)
            detector.projection.bias.zero_()
            detector.scale.copy_(parts.dual.logit_scale.exp())
        if concept_embeddings is None:
            concept_embeddings = dual_embeddings(parts.dual, parts.names["vision_model"], model.config.vocabulary)
    if concept_embeddings is not None:
        if concept_embeddings.shape != detector.embeddings.shape:
            raise DataError(
                f"Concept embeddings of shape {tuple(concept_embeddings.shape)} do not fit "
                f"{tuple(detector.embeddings.shape)}; give one row per concept and set concept_size."
            )
        detector.embeddings.copy_(concept_embeddings)


@torch.no_grad()
def dual_embeddings(dual: PreTrainedModel, name: str, vocabulary: ConceptVocabulary | None = None) -> torch.Tensor:
    """Concepts by the text side of a dual encoder such as CLIP, unit vectors `(concepts, width)`.

    Args:
        name: where its tokenizer is.
        vocabulary: SentiBank's if left out.
    """
    names = (vocabulary or default_vocabulary()).names
    tokenizer, found = AutoTokenizer.from_pretrained(name), []
    padding = "max_length" if "siglip" in dual.config.model_type else True  # SigLIP learned from full lengths
    for start in range(0, len(names), _BATCH):
        texts = [_PROMPT.format(concept) for concept in names[start : start + _BATCH]]
        features = dual.get_text_features(**tokenizer(texts, padding=padding, truncation=True, return_tensors="pt"))
        features = getattr(features, "pooler_output", features)  # transformers 5 gives an output object
        found.append(torch.nn.functional.normalize(features.float(), dim=-1))
    return torch.cat(found)


def renewed_head(old: nn.Linear, labels: int, kept: Sequence[tuple[slice, slice]], deviation: float) -> nn.Linear:
    """A classifier of other labels, at random but for what is kept.

    Args:
        kept: columns of the new one, and of the old one which they take over.
        deviation: of the random weights.
    """
    layer = nn.Linear(old.in_features, labels).to(old.weight)
    nn.init.normal_(layer.weight, std=deviation)
    nn.init.zeros_(layer.bias)
    with torch.no_grad():
        for new, known in kept:
            layer.weight[new], layer.bias[new] = old.weight[known], old.bias[known]
    return layer


__all__ = ["Parts", "dual_embeddings", "load_parts", "renewed_head", "take_over"]

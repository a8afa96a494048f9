"""Putting an ESCNet together from pretrained parts."""

from __future__ import annotations

import inspect
import os
from collections.abc import Mapping
from typing import Any

import torch
from transformers import AutoModel, AutoModelForImageTextToText, PreTrainedConfig, PreTrainedModel

from iec_hub.models.image_emotion import measured_pooled_size, vision_width


def load_backbones(names: Mapping[str, str | None], dtype: torch.dtype) -> dict[str, PreTrainedModel]:
    """The pretrained parts of which a name (Hub id or directory) is given, under the names of ESCNet's modules.

    Raises:
        OSError: when one cannot be found.
    """
    parts = {}
    for part, name in names.items():
        if name is not None:
            kind = AutoModelForImageTextToText if part == "captioner" else AutoModel
            parts[part] = kind.from_pretrained(name, dtype=dtype)
    if "vision_model" in parts:  # a dual encoder such as CLIP holds its vision tower inside
        parts["vision_model"] = getattr(parts["vision_model"], "vision_model", parts["vision_model"])
    return parts


def fields_of(parts: Mapping[str, PreTrainedModel], given: Mapping[str, Any]) -> dict[str, Any]:
    """Fields of [`EscnetConfig`] for pretrained parts; without a vision tower, the captioner's is shared."""
    fields = {**given, "text_config": parts["text_encoder"].config}
    if "captioner" in parts:
        fields["captioner_config"] = parts["captioner"].config
    if "vision_model" in parts:
        fields["vision_config"] = parts["vision_model"].config
    else:
        fields["share_vision_tower"] = True
    tower = parts.get("vision_model", getattr(parts.get("captioner"), "vision_model", None))
    if tower is not None and fields.get("vision_feature_layers") and "pooled_size" not in fields:
        fields["pooled_size"] = measured_pooled_size(tower, fields["vision_feature_layers"])
    captioner = fields.get("captioner_config")
    if isinstance(captioner, dict) and captioner.get("model_type") == "attribute_captioner" and tower is not None:
        # It reads what the classifier reads, so its widths need not be told twice.
        read = {"pooled_size": fields.get("pooled_size") or vision_width(tower.config)}
        fields["captioner_config"] = read | {"feature_norm": fields.get("feature_norm", "none")} | captioner
    return fields


def take_over(model: PreTrainedModel, parts: Mapping[str, PreTrainedModel], names: Mapping[str, str | None]) -> None:
    """Copy the weights of pretrained parts into a model of theirs."""
    for name, part in parts.items():
        target = getattr(model, name, None)
        if target is None:  # the ablation without captions has no caption encoder
            continue
        # The pooler of an encoder is left out, so its weights have no place.
        wanted = target.state_dict().keys()
        target.load_state_dict({key: value for key, value in part.state_dict().items() if key in wanted})
        if os.path.isdir(names[name]):  # a checkpoint names the Hub, not somebody's disk
            target.config.name_or_path = ""
    model.tie_weights()


def build_text_encoder(config: PreTrainedConfig) -> PreTrainedModel:
    """The caption encoder, without a pooler where it can be left out: nothing reads it."""
    kind = AutoModel._model_mapping[type(config)]
    kind = kind[0] if isinstance(kind, list | tuple) else kind
    known = inspect.signature(kind.__init__).parameters
    return AutoModel.from_config(config, **({"add_pooling_layer": False} if "add_pooling_layer" in known else {}))


__all__ = ["build_text_encoder", "fields_of", "load_backbones", "take_over"]

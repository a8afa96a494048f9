"""What a training starts from: a model with its processor, continued or put together, quantised where asked for."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import torch
from transformers import AutoConfig

from iec_hub.emotions import EmotionModel
from iec_hub.errors import CheckpointError, IecHubError
from iec_hub.finetuning.arguments import StartArguments, one_line
from iec_hub.models.adapter_loading import read_adapter
from iec_hub.registry import checkpoint_path


def loaded(load: Callable[[], Any]) -> Any:
    """What `load` reads of a checkpoint or of backbones, with one sentence for all that can be wrong with them.

    Raises:
        CheckpointError: if the checkpoint or a backbone cannot be loaded.
    """
    try:
        return load()
    except IecHubError:
        raise
    except (OSError, ValueError, RuntimeError) as error:
        raise CheckpointError(
            f"The model to start from could not be loaded; check its id or folder ({one_line(error)})."
        ) from error


def checked_path(name: str, method: str, title: str) -> str:
    """Where a checkpoint to continue from is.

    Args:
        title: what people call the method.

    Raises:
        CheckpointError: if it is a checkpoint of something else.
    """
    path = checkpoint_path(name)
    if read_adapter(path) is not None:
        raise CheckpointError(
            f"{name!r} is an adapter, which cannot be adapted again; add it to its base with iec-hub merge first."
        )
    kind = AutoConfig.from_pretrained(path).model_type
    if kind != method:
        raise CheckpointError(f"{name!r} is a checkpoint of {kind!r}, not of {method!r}; give one of {title}.")
    return path


def quantized_by(quantization: Any) -> dict[str, Any]:
    """Arguments of `from_pretrained` for a quantisation configuration or none."""
    return {} if quantization is None else {"quantization_config": quantization}


def with_own_first(own: Mapping[str, EmotionModel], known: Mapping[str, EmotionModel]) -> list[EmotionModel]:
    """Emotion models of a continued checkpoint: those trained now come first, and the first is what it answers in."""
    return [*own.values(), *(model for name, model in known.items() if name not in own)]


def place(model: torch.nn.Module, device: torch.device | str) -> None:
    """Move a model; the quantised parts of one stay where they were loaded to, on the GPU."""
    if not getattr(model, "is_quantized", False):
        model.to(device)
        return
    for part in model.children():
        # Heads and norms are never quantised; what is fitted in closed form meets them on the CPU.
        if all(
            parameter.is_floating_point() and not hasattr(parameter, "quant_state") for parameter in part.parameters()
        ):
            part.to(device)


def known_emotion_models(start: StartArguments) -> Mapping[str, EmotionModel]:
    """What the checkpoint to continue from can tell already; nothing where the run starts from backbones."""
    return AutoConfig.from_pretrained(checkpoint_path(start.model)).trained_emotion_models if start.model else {}


__all__ = ["checked_path", "known_emotion_models", "loaded", "place", "quantized_by", "with_own_first"]

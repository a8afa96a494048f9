"""What a training starts from: a model with its processor, continued or put together, quantised where asked for."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import torch
from transformers import AutoConfig

from iec_hub.emotions import EmotionModel
from iec_hub.errors import CheckpointError, IecHubError
from iec_hub.finetuning.arguments import StartArguments, one_line
from iec_hub.finetuning.model_card_texts import TITLES
from iec_hub.models.adapter_loading import read_adapter
from iec_hub.models.configuration_image_emotion import ClassifierConfig
from iec_hub.registry import checkpoint_path


def load_start(
    start: StartArguments,
    emotion_models: Sequence[EmotionModel],
    kinds: tuple[type[Any], type[Any]],
    quantization: Any,
    assembled: Callable[[list[EmotionModel]], tuple[Any, Any]],
) -> tuple[Any, Any]:
    """The model to train and its processor; a continued checkpoint keeps the labels it knows and learns new ones.

    Args:
        kinds: the method's class of models and that of its processors.
        quantization: quantisation configuration for a continued checkpoint, or `None`.
        assembled: puts a new model for these emotion models, and its processor, together.

    Raises:
        CheckpointError: if the checkpoint or a backbone cannot be loaded.
    """
    # Several data sets can be over the same one.
    own = list({model.name: model for model in emotion_models}.values())
    return loaded(lambda: _continued(start.model, own, kinds, quantization) if start.model else assembled(own))


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


def _continued(
    name: str, own: Sequence[EmotionModel], kinds: tuple[type[Any], type[Any]], quantization: Any
) -> tuple[Any, Any]:
    path = _checked_path(name, kinds[0].config_class.model_type)
    quantized = {} if quantization is None else {"quantization_config": quantization}
    model = kinds[0].from_pretrained(path, dtype=torch.float32, **quantized)
    names = {model.name for model in own}
    known = model.config.trained_emotion_models
    # A classifier's columns change with the labels; without one there is nothing to change but the configuration.
    holder = model if isinstance(model.config, ClassifierConfig) else model.config
    # Those trained now come first, and the first is what the model answers in.
    holder.set_emotion_models([*own, *(known[name] for name in known if name not in names)])
    return model, kinds[1].from_pretrained(path).adopt(model.config)


def _checked_path(name: str, method: str) -> str:
    path = checkpoint_path(name)
    if read_adapter(path) is not None:
        raise CheckpointError(
            f"{name!r} is an adapter, which cannot be adapted again; add it to its base with iec-hub merge first."
        )
    kind = AutoConfig.from_pretrained(path).model_type
    if kind != method:
        raise CheckpointError(
            f"{name!r} is a checkpoint of {kind!r}, not of {method!r}; give one of {TITLES[method]}."
        )
    return path


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


__all__ = ["known_emotion_models", "load_start", "loaded", "place"]

"""Adapters on disk: what an adapter's folder holds, which base it needs, and how its weights fit into a model."""

from __future__ import annotations

import copy
import json
import os
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file, save_file
from torch import nn
from transformers import AutoConfig, AutoProcessor
from transformers.utils import cached_file
from transformers.utils.peft_utils import find_adapter_config_file

from iec_hub.errors import CheckpointError, IecHubError
from iec_hub.registry import BUNDLED_CHECKPOINTS, checkpoint_path

if TYPE_CHECKING:
    from peft import LoraConfig

WEIGHTS = "adapter_model.safetensors"
_CONFIG = "config.json"
_PREFIX = "base_model.model."
HUB_ARGUMENTS = ("cache_dir", "force_download", "local_files_only", "proxies", "revision", "subfolder", "token")
# What an adapter's file may say. Anything else of PEFT's that is not at its default would change the model in ways
# that nobody has checked.
_READ = ("r", "lora_alpha", "lora_dropout", "use_rslora", "use_dora", "modules_to_save", "base_model_name_or_path")
_IGNORED = (
    *("peft_type", "task_type", "inference_mode", "auto_mapping", "peft_version", "init_lora_weights"),
    *("target_modules", "exclude_modules", "layers_to_transform", "layers_pattern", "fan_in_fan_out", "revision"),
    *("loftq_config", "runtime_config", "megatron_core", "corda_config", "eva_config", "qalora_group_size"),
)


@dataclass(frozen=True)
class AdapterFolder:
    """An adapter, before its weights are read.

    Attributes:
        source: folder or Hub id.
        settings: PEFT's settings, without the pattern of targets: the weights say themselves where they belong, and a
            stranger's regular expression need not be run.
        config: configuration of the adapted model (labels, calibration...); `None` where none was saved.
        hub: arguments of downloads.
    """

    source: str
    settings: dict[str, Any]
    config: Any | None
    hub: Mapping[str, Any]

    @property
    def base(self) -> str:
        """Hub id, bundled name or folder of the base; empty where it is put together from pretrained parts."""
        return self.settings.get("base_model_name_or_path") or ""

    def base_path(self) -> str:
        """Where the base is; a folder that was named from elsewhere may lie in the adapter's own, or beside it."""
        path = checkpoint_path(self.base)
        if not os.path.isdir(path) and os.path.isdir(self.source):
            for place in (Path(self.source), Path(self.source).parent):
                if (place / self.base).is_dir():
                    return str(place / self.base)
        return path

    def tensors(self) -> dict[str, torch.Tensor]:
        """The weights by the names of the model's modules.

        Raises:
            CheckpointError: if there are none, or they are damaged.
        """
        try:
            tensors = load_file(cached_file(self.source, WEIGHTS, **self.hub))
        except (OSError, SafetensorError) as error:
            raise CheckpointError(
                f"The adapter {self.source!r} has no readable {WEIGHTS}; get the whole adapter, saved as safetensors."
            ) from error
        return {name.removeprefix(_PREFIX): tensor for name, tensor in tensors.items()}

    def lora_config(self, tensors: Mapping[str, torch.Tensor]) -> LoraConfig:
        """PEFT's settings for exactly the layers that there are weights for."""
        from peft import LoraConfig

        names = sorted({name.split(".lora_")[0] for name in tensors if ".lora_" in name})
        pattern = "|".join(map(re.escape, names))
        return LoraConfig(**self.settings, target_modules=f"^(?:{pattern})$", inference_mode=True)


def read_adapter(source: str | os.PathLike, arguments: Mapping[str, Any] | None = None) -> AdapterFolder | None:
    """What lies in a folder or a Hub repository, if it is an adapter.

    Args:
        arguments: those of `from_pretrained`, of which the ones about downloads are used.

    Raises:
        CheckpointError: if it is an adapter that cannot be used.
    """
    source = checkpoint_path(os.fspath(source))
    hub = {name: arguments[name] for name in HUB_ARGUMENTS if arguments and arguments.get(name) is not None}
    path = find_adapter_config_file(source, **hub)
    if path is None:
        return None
    try:
        raw = json.loads(Path(path).read_text(encoding="utf-8"))
        settings = _checked_settings(raw, source)
    except (OSError, ValueError, TypeError, AttributeError) as error:
        if isinstance(error, IecHubError):
            raise
        raise CheckpointError(f"The settings of the adapter {source!r} cannot be read; get it anew.") from error
    # A Hub repository need not have one: the Trainer's own adapters do not.
    known = cached_file(
        source,
        _CONFIG,
        **hub,
        _raise_exceptions_for_missing_entries=False,
        _raise_exceptions_for_connection_errors=False,
    )
    config = AutoConfig.from_pretrained(source, **hub) if known else None
    return AdapterFolder(source, settings, config, hub)


def _checked_settings(raw: Mapping[str, Any], source: str) -> dict[str, Any]:
    from peft import LoraConfig

    if raw.get("peft_type") != "LORA":
        raise CheckpointError(f"The adapter {source!r} is of the kind {str(raw.get('peft_type'))[:40]!r}; use LoRA.")
    usual = LoraConfig().to_dict()
    odd = [name for name, value in raw.items() if name not in (*_READ, *_IGNORED) and value != usual.get(name)]
    odd = [name for name in odd if raw[name]]
    if odd:
        raise CheckpointError(
            f"The adapter {source!r} uses {str(odd[0])[:40]}, which is not supported here; load it with PEFT itself."
        )
    settings = {name: raw[name] for name in _READ if raw.get(name) is not None}
    saved = settings.get("modules_to_save", [])
    if not isinstance(saved, list) or not all(isinstance(name, str) and name for name in saved):
        raise CheckpointError(f"The adapter {source!r} names no modules in modules_to_save; correct its settings.")
    if not isinstance(settings.get("base_model_name_or_path", ""), str):
        raise CheckpointError(f"The adapter {source!r} does not name its base as text; correct its settings.")
    return settings


def bundled_or_given(name: str) -> str:
    """A bundled checkpoint's name for its folder, which is another one on every disk; other names as they are."""
    for bundled in BUNDLED_CHECKPOINTS.values():
        if name and os.path.isdir(name) and os.path.samefile(name, checkpoint_path(bundled)):
            return bundled
    return name


def fit_rows(module: nn.Module, tensors: Mapping[str, torch.Tensor]) -> None:
    """Give weights as many rows as tensors of the same names have: another label set, or other concepts.

    What differs in more than its first dimension is left alone, and does not fit.
    """
    for name, part in module.named_modules():
        for own, old in [*part._parameters.items(), *part._buffers.items()]:
            new = tensors.get(f"{name}.{own}" if name else own)
            if old is None or new is None or new.shape == old.shape or new.dim() != old.dim():
                continue
            if new.shape[1:] != old.shape[1:]:
                continue
            empty = old.new_zeros(new.shape)
            if isinstance(old, nn.Parameter):
                part._parameters[own] = nn.Parameter(empty, requires_grad=old.requires_grad)
            else:
                part._buffers[own] = empty
            if isinstance(part, nn.Linear):
                part.out_features = len(new)


def copies(model: nn.Module, adapter_name: str) -> Iterator[tuple[str, nn.Module]]:
    """The modules that an adapter brings along whole, by their names in the model without adapters."""
    from peft.utils.other import ModulesToSaveWrapper

    for name, module in model.named_modules():
        if isinstance(module, ModulesToSaveWrapper) and adapter_name in module.modules_to_save:
            yield name, module.modules_to_save[adapter_name]


def tensors_of(model: nn.Module, adapter_name: str = "default") -> dict[str, torch.Tensor]:
    """All that belongs to an adapter (LoRA's matrices, modules saved whole, their buffers), copied to the CPU."""
    from peft import get_peft_model_state_dict

    tensors = get_peft_model_state_dict(model, adapter_name=adapter_name, save_embedding_layers=False)
    return {name: tensor.detach().to("cpu", copy=True).contiguous() for name, tensor in tensors.items()}


def write_adapter(model: Any, folder: str | os.PathLike, adapter_name: str = "default") -> None:
    """Write an adapter's weights, its settings and the configuration of the adapted model.

    Args:
        model: an image emotion model with this adapter in it.

    Raises:
        CheckpointError: if nobody could load the adapter because its base has no name.
    """
    folder = Path(folder)
    settings = copy.deepcopy(model.peft_config[adapter_name])
    settings.inference_mode = True
    settings.base_model_name_or_path = model.base_reference
    if not settings.base_model_name_or_path and not model.backbones:
        raise CheckpointError(
            "The adapter's base has no name under which it could be loaded again; save the base, load it from there, "
            "and adapt that."
        )
    folder.mkdir(parents=True, exist_ok=True)
    tensors = {f"{_PREFIX}{name.removeprefix(_PREFIX)}": t for name, t in tensors_of(model, adapter_name).items()}
    unfinished = folder / f".{WEIGHTS}.part"
    save_file(tensors, unfinished, metadata={"format": "pt"})
    os.replace(unfinished, folder / WEIGHTS)
    settings.save_pretrained(folder)
    config = copy.deepcopy(model.config_of(adapter_name))
    if hasattr(config, "quantization_config"):  # the base's weights were smaller here; an adapter does not ask for it
        del config.quantization_config
    if model.backbones:
        config.backbones = dict(model.backbones)
    elif hasattr(config, "backbones"):
        del config.backbones
    config.architectures = [type(model).__name__]
    config.save_pretrained(folder)


def base_of(adapter: str | os.PathLike, **kwargs: Any) -> Any:
    """The base of an adapter with the adapter's labels and calibration, ready for `PeftModel.from_pretrained`.

    Example:
        >>> model = PeftModel.from_pretrained(base_of("my-adapter"), "my-adapter")

    Args:
        adapter: folder or Hub id.
        kwargs: as for `from_pretrained` (`dtype`, `quantization_config`, `device_map`...).

    Raises:
        CheckpointError: if it is no adapter, or its base cannot be found.
    """
    found = read_adapter(adapter, kwargs)
    if found is None:
        raise CheckpointError(f"{os.fspath(adapter)!r} is no adapter; give a folder with an adapter_config.json.")
    model, _ = model_class_of(found).load_base(found, kwargs)
    tensors = found.tensors()
    model.follow(found.config)
    for name, module in model.named_modules():
        if any(name.endswith(saved) for saved in found.settings.get("modules_to_save", ())):
            own = {key.removeprefix(f"{name}."): t for key, t in tensors.items() if key.startswith(f"{name}.")}
            fit_rows(module, own)
    return model


def processor_of(source: str | os.PathLike, **hub: Any) -> Any:
    """The processor of a checkpoint or an adapter; an adapter that was saved without one is used with its base's.

    Raises:
        OSError: if there is none.
    """
    try:
        return AutoProcessor.from_pretrained(source, **hub)
    except (OSError, ValueError):
        adapter = read_adapter(source, hub)
        if adapter is None or not adapter.base:
            raise
        hub.pop("revision", None)  # it was the adapter's
        return AutoProcessor.from_pretrained(adapter.base_path(), **hub)


def model_class_of(adapter: AdapterFolder) -> Any:
    """The class of the adapted model.

    Raises:
        CheckpointError: if it is none of the methods'.
    """
    from iec_hub.models import MODEL_FOR_IMAGE_EMOTION_MAPPING

    config = adapter.config
    if config is None:
        config = AutoConfig.from_pretrained(adapter.base_path())
    if type(config) not in MODEL_FOR_IMAGE_EMOTION_MAPPING:
        raise CheckpointError(
            f"The adapter {adapter.source!r} is for a model of type {config.model_type!r}; use one for ugrie, escnet "
            "or aciec."
        )
    return MODEL_FOR_IMAGE_EMOTION_MAPPING[type(config)]


__all__ = [
    "HUB_ARGUMENTS",
    "AdapterFolder",
    "base_of",
    "bundled_or_given",
    "copies",
    "fit_rows",
    "model_class_of",
    "processor_of",
    "read_adapter",
    "tensors_of",
    "write_adapter",
]

"""The part of the image emotion models that loads, switches and saves adapters, and loads quantised weights."""

from __future__ import annotations

import copy
import os
import tempfile
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import torch
from transformers import PreTrainedModel
from transformers.utils.loading_report import LoadStateDictInfo

from iec_hub.errors import CheckpointError
from iec_hub.models.adapter_loading import (
    HUB_ARGUMENTS,
    AdapterFolder,
    bundled_or_given,
    copies,
    fit_rows,
    read_adapter,
    tensors_of,
    write_adapter,
)
from iec_hub.registry import checkpoint_path

# Of a configuration, what stays that of the base when an adapter's labels and calibration are followed.
_OF_THE_BASE = ("architectures", "backbones", "dtype", "quantization_config", "transformers_version")


class AdaptableModel(PreTrainedModel):
    """Loads adapters whose label sets may differ; labels and calibration follow the active adapter."""

    # Name of a target set to the pattern of module names that LoRA adapts; anchored, so that "q_proj" of the language
    # part never hits the vision tower.
    lora_targets: dict[str, str] = {}
    # Parts that belong to a label set: trained in full beside any adapter.
    heads: Sequence[str] = ()
    # Parts that do not come from pretrained backbones: trained in full where they start at random. PEFT goes by how
    # names end, so that none of these may be the end of another module's name.
    modules_to_save: Sequence[str] = ()

    def __init__(self, config: Any, *inputs: Any, **kwargs: Any):
        super().__init__(config, *inputs, **kwargs)
        # The pretrained parts it was put together from, where it was, as `from_backbones` takes them.
        self.backbones: dict[str, str | None] | None = None
        self.renewed_parts: set[str] = set()  # further ones that are not the base's any more: saved with an adapter
        self._configs: dict[str, Any] = {}  # of each adapter by its name, and of the base under ""
        self._free: list[str] = []  # what had gradients before PEFT froze everything

    @property
    def base_reference(self) -> str:
        """Under which name an adapter's base is loaded again; empty where it is put together from backbones."""
        return "" if self.backbones else bundled_or_given(str(self.config.name_or_path or ""))

    @classmethod
    def from_pretrained(cls, pretrained_model_name_or_path: Any, *model_args: Any, **kwargs: Any) -> Any:
        """As in transformers, with three differences.

        A bundled checkpoint goes by its name. Weights are read from safetensors only: a checkpoint is untrusted, and a
        pickle can run code. And of an adapter the base may be a bundled checkpoint, or put together from pretrained
        parts.

        Raises:
            CheckpointError: if an adapter cannot be used.
        """
        kwargs["use_safetensors"] = True
        if isinstance(pretrained_model_name_or_path, str):
            pretrained_model_name_or_path = checkpoint_path(pretrained_model_name_or_path)
        # Auto classes have looked already, and may have put the base in the adapter's place.
        known = kwargs.pop("adapter_kwargs", None) or {}
        source = known.pop("_adapter_model_path", None) or pretrained_model_name_or_path
        adapter = read_adapter(source, kwargs | known) if source is not None else None
        if adapter is None:
            return cls._loaded(pretrained_model_name_or_path, *model_args, **kwargs)
        want_report, name = kwargs.pop("output_loading_info", False), kwargs.pop("adapter_name", "default")
        kwargs.pop("config", None)  # the adapter's own, if any
        model, report = cls.load_base(adapter, kwargs, *model_args)
        model._insert(adapter, name, is_trainable=False)
        return (model, report) if want_report else model

    @classmethod
    def _loaded(cls, name: Any, *model_args: Any, **kwargs: Any) -> Any:
        """A checkpoint without adapters."""
        if kwargs.get("quantization_config") is not None:
            kwargs["quantization_config"] = cls._keeping_parts(kwargs["quantization_config"], name, kwargs)
        loaded = super().from_pretrained(name, *model_args, **kwargs)
        for module in (loaded[0] if isinstance(loaded, tuple) else loaded).modules():
            # On processors that know AVX512-BF16, bitsandbytes repacks weights in evaluation, and the training that
            # goes on afterwards dies of it.
            if hasattr(module, "support_avx512bf16_for_cpu"):
                module.support_avx512bf16_for_cpu = False
        return loaded

    @classmethod
    def _keeping_parts(cls, settings: Any, name: Any, kwargs: Mapping[str, Any]) -> Any:
        """Quantisation settings that still spare tied output layers where they name modules to spare.

        A list there replaces the default one instead of adding to it.
        """
        given = getattr(settings, "llm_int8_skip_modules", None)
        if given is None:
            return settings
        from transformers.quantizers.base import get_keys_to_not_convert

        config = kwargs.get("config")
        if config is None:
            hub = {key: kwargs[key] for key in HUB_ARGUMENTS if key in kwargs}
            config = cls.config_class.from_pretrained(name, **hub)
        with torch.device("meta"):
            spared = get_keys_to_not_convert(cls(copy.deepcopy(config)))
        settings = copy.deepcopy(settings)
        settings.llm_int8_skip_modules = sorted({*given, *spared})
        return settings

    @classmethod
    def load_base(cls, adapter: AdapterFolder, kwargs: Mapping[str, Any], *model_args: Any) -> tuple[Any, dict]:
        """An adapter's base, and the report of its loading.

        Args:
            kwargs: those of `from_pretrained`; the revision and subfolder are the adapter's.

        Raises:
            CheckpointError: if there is no such base.
        """
        own = ("revision", "subfolder", "_commit_hash")
        kwargs = {key: value for key, value in kwargs.items() if key not in own} | {"use_safetensors": True}
        if not adapter.base:
            return cls._assembled(adapter, kwargs, *model_args)
        path = adapter.base_path()
        try:
            if read_adapter(path, kwargs) is not None:
                raise CheckpointError(
                    f"The base {adapter.base!r} of {adapter.source!r} is an adapter too; merge it first."
                )
            return cls._loaded(path, *model_args, **kwargs, output_loading_info=True)
        except OSError as error:
            raise CheckpointError(
                f"The base {adapter.base!r} of the adapter {adapter.source!r} cannot be loaded; put it there, or "
                "correct base_model_name_or_path in adapter_config.json."
            ) from error

    @classmethod
    def _assembled(cls, adapter: AdapterFolder, kwargs: dict[str, Any], *model_args: Any) -> tuple[Any, dict]:
        backbones = getattr(adapter.config, "backbones", None)
        if not isinstance(backbones, dict) or not any(backbones.values()):
            raise CheckpointError(
                f"The adapter {adapter.source!r} names neither its base nor backbones; add base_model_name_or_path "
                "to its adapter_config.json."
            )
        config = copy.deepcopy(adapter.config)
        dtype = kwargs.get("dtype")
        model = cls.assembled(config, backbones, dtype if isinstance(dtype, torch.dtype) else torch.float32)
        report = {"missing_keys": set(), "unexpected_keys": set(), "mismatched_keys": set(), "error_msgs": []}
        if kwargs.get("quantization_config") is not None or kwargs.get("device_map") is not None:
            # Both happen while weights are read from a file.
            with tempfile.TemporaryDirectory() as folder:
                model.save_pretrained(folder)
                model, report = cls._loaded(folder, *model_args, **kwargs, output_loading_info=True)
        model.backbones = dict(backbones)
        model.config.name_or_path = ""
        return model.eval(), report

    @classmethod
    def assembled(cls, config: Any, backbones: Mapping[str, str | None], dtype: torch.dtype) -> Any:
        """A model of a configuration with the weights of pretrained parts; the rest is random.

        Args:
            backbones: as the class's `from_backbones` takes them.

        Raises:
            OSError: when a backbone cannot be found.
        """
        raise NotImplementedError

    def load_adapter(
        self,
        peft_model_id: str | os.PathLike | None = None,
        adapter_name: str | None = None,
        *args: Any,
        is_trainable: bool = False,
        adapter_kwargs: Mapping[str, Any] | None = None,
        **kwargs: Any,
    ) -> LoadStateDictInfo:
        """Load an adapter beside those there are, and make it the active one; labels and calibration follow it.

        Args:
            peft_model_id: folder or Hub id; without one, as in transformers.
            adapter_name: its name here; `"default"` if left out.
            is_trainable: whether to go on training it.

        Raises:
            CheckpointError: if it is no adapter, does not fit, or its name is taken; the model is as before then.
        """
        if peft_model_id is None or args or kwargs.get("hotswap") is True:
            raise CheckpointError("Adapters are loaded from a folder or the Hub, one by one; give their folder or id.")
        adapter = read_adapter(peft_model_id, kwargs | dict(adapter_kwargs or {}))
        if adapter is None:
            raise CheckpointError(f"{str(peft_model_id)!r} is no adapter; give a folder with an adapter_config.json.")
        self._insert(adapter, adapter_name or "default", is_trainable)
        return LoadStateDictInfo(set(), set(), set(), [], {}, set())

    def _insert(self, adapter: AdapterFolder, name: str, is_trainable: bool) -> None:
        """Put an adapter's layers and weights into this model, and follow it."""
        from peft import inject_adapter_in_model, set_peft_model_state_dict
        from peft.tuners.tuners_utils import cast_adapter_dtype

        self._check_new(adapter, name)
        tensors = adapter.tensors()
        settings = adapter.lora_config(tensors)
        settings.inference_mode = not is_trainable
        before = self.active_adapters() if self._hf_peft_config_loaded else []
        if not before:
            self._configs[""] = copy.deepcopy(self.config)
            self._free = [key for key, parameter in self.named_parameters() if parameter.requires_grad]
        self._hf_peft_config_loaded = True
        try:
            inject_adapter_in_model(settings, self, name)
            for part, module in copies(self, name):
                fit_rows(
                    module, {k.removeprefix(f"{part}."): t for k, t in tensors.items() if k.startswith(f"{part}.")}
                )
            self._check_fit(adapter, name, tensors)
            cast_adapter_dtype(self, name)  # as PEFT does: LoRA's matrices are float32 beside half-precision weights
            set_peft_model_state_dict(self, tensors, adapter_name=name)
            self._configs[name] = copy.deepcopy(adapter.config or self._configs[""])
            self.set_adapter(name)
            self._check_labels(adapter)
        except Exception as error:
            self._take_out(name, before)
            if isinstance(error, CheckpointError):
                raise
            reason = " ".join(str(error).split())[:200].rstrip(".")
            raise CheckpointError(
                f"The adapter {adapter.source!r} does not fit this model; load it with its own base {adapter.base!r} "
                f"({reason})."
            ) from error
        self.eval()

    def _check_new(self, adapter: AdapterFolder, name: str) -> None:
        if name in getattr(self, "peft_config", {}):
            raise CheckpointError(f"There is an adapter {name!r} already; give another adapter_name.")
        if not name.isidentifier():  # it becomes a part of weights' names
            raise CheckpointError(f"{name[:40]!r} cannot name an adapter; use letters, digits and underscores.")
        kind = getattr(adapter.config, "model_type", self.config.model_type)
        if kind != self.config.model_type:
            raise CheckpointError(
                f"The adapter {adapter.source!r} is for {kind}, not for {self.config.model_type}; load it with its "
                "own base."
            )

        if (
            adapter.settings.get("use_dora")
            and getattr(self, "is_loaded_in_8bit", False)
            and self.device.type == "cpu"
        ):
            raise CheckpointError(
                f"{adapter.source!r} is a DoRA adapter, which 8-bit weights need a GPU for; use 4-bit."
            )

    def _check_fit(self, adapter: AdapterFolder, name: str, tensors: Mapping[str, torch.Tensor]) -> None:
        wanted = {key: tensor.shape for key, tensor in tensors_of(self, name).items()}
        given = {key: tensor.shape for key, tensor in tensors.items()}
        if wanted != given:
            odd = sorted(key for key in wanted.keys() | given.keys() if wanted.get(key) != given.get(key))
            raise CheckpointError(
                f"The adapter {adapter.source!r} does not fit this model in {len(odd)} weights, such as "
                f"{odd[0][:120]}; load it with its own base {adapter.base!r}."
            )

    def _check_labels(self, adapter: AdapterFolder) -> None:
        """Each head has a row per label: a wrong one would call emotions by each other's names."""
        for head in self.heads:
            rows = self.get_submodule(head).weight.shape[0]
            labels = sum(map(len, self.config.trained_emotion_models.values()))
            if rows != labels:
                raise CheckpointError(
                    f"The adapter {adapter.source!r} has {rows} outputs in {head} and {labels} labels in its "
                    "config.json; get both from one training."
                )

    def _take_out(self, name: str, before: Sequence[str]) -> None:
        """Remove an adapter, be it half inserted."""
        if name in getattr(self, "peft_config", {}) and before:
            self.delete_adapter(name)
        self._configs.pop(name, None)
        if before:
            self.set_adapter(before[0])
        else:
            self._unwrap()

    def _unwrap(self) -> None:
        """Be a model without adapters again."""
        from peft.tuners.tuners_utils import BaseTunerLayer
        from peft.utils.other import ModulesToSaveWrapper

        for name, module in list(self.named_modules()):
            if isinstance(module, BaseTunerLayer):
                self.set_submodule(name, module.get_base_layer())
            elif isinstance(module, ModulesToSaveWrapper):
                self.set_submodule(name, module.original_module)
        self._hf_peft_config_loaded = False
        self.__dict__.pop("peft_config", None)
        for name in self._free:
            self.get_parameter(name).requires_grad_()
        self.follow(self._configs.pop("", None))

    def config_of(self, adapter_name: str) -> Any:
        """The configuration that belongs to an adapter; the present one where it was trained here."""
        return self._configs.get(adapter_name, self.config) if adapter_name not in self.active_names() else self.config

    def active_names(self) -> list[str]:
        """Names of the active adapters."""
        from peft.tuners.tuners_utils import BaseTunerLayer

        for module in self.modules():
            if isinstance(module, BaseTunerLayer):
                return [] if module.disable_adapters else list(module.active_adapters)
        return []

    def follow(self, config: Any | None) -> None:
        """Take over labels, calibration and what else is no part of the architecture, in this very object.

        A processor reads the same configuration, so it follows too.
        """
        for name, value in vars(config).items() if config is not None else ():
            if not name.startswith("_") and name not in (*_OF_THE_BASE, *self.config.sub_configs):
                setattr(self.config, name, copy.deepcopy(value))

    def set_adapter(self, adapter_name: str | list[str]) -> None:
        """Make an adapter the active one; labels and calibration follow it.

        Raises:
            CheckpointError: if there is none of this name.
        """
        from peft.tuners.tuners_utils import BaseTunerLayer
        from peft.utils.other import AuxiliaryTrainingWrapper

        names = [adapter_name] if isinstance(adapter_name, str) else list(adapter_name)
        known = getattr(self, "peft_config", {})
        missing = [name for name in names if name not in known]
        if missing or not names:
            raise CheckpointError(
                f"There is no adapter {str(missing[0] if missing else '')!r}; load it first"
                + (f", or use {', '.join(known)}." if known else ".")
            )
        for module in self.modules():
            if isinstance(module, BaseTunerLayer):
                module.set_adapter(names)
            elif isinstance(module, AuxiliaryTrainingWrapper):
                own = module.check_set_adapter(names)
                module.set_adapter([own] if own in module._adapters else [])
        self._freeze_loaded()
        self.follow(self._configs.get(names[0]))

    def disable_adapters(self) -> None:
        """Let the base alone speak, with its own labels and calibration."""
        super().disable_adapters()
        self.follow(self._configs.get(""))

    def enable_adapters(self) -> None:
        """Let the active adapter speak again."""
        from peft.utils.other import AuxiliaryTrainingWrapper

        super().enable_adapters()
        for module in self.modules():  # transformers enables LoRA's layers only
            if isinstance(module, AuxiliaryTrainingWrapper):
                module.enable_adapters(True)
        self._freeze_loaded()
        active = self.active_names()
        self.follow(self._configs.get(active[0]) if active else None)

    def delete_adapter(self, adapter_names: str | list[str]) -> None:
        """Remove adapters; without any left, the base's labels and calibration are back."""
        super().delete_adapter(adapter_names)
        for name in [adapter_names] if isinstance(adapter_names, str) else adapter_names:
            self._configs.pop(name, None)
        if getattr(self, "peft_config", None):
            active = self.active_names()
            self.follow(self._configs.get(active[0] if active else ""))
        else:
            self._unwrap()

    def _freeze_loaded(self) -> None:
        """Switching makes PEFT's parameters trainable, also of adapters that were loaded to be used only."""
        frozen = [name for name, settings in self.peft_config.items() if settings.inference_mode]
        for name, parameter in self.named_parameters():
            if any(f".{adapter}." in f"{name}." for adapter in frozen):
                parameter.requires_grad_(False)

    def save_pretrained(self, save_directory: str | os.PathLike, *args: Any, **kwargs: Any) -> None:
        """As in transformers; with an adapter, the active adapter and the configuration of the adapted model."""
        if not self._hf_peft_config_loaded:
            super().save_pretrained(save_directory, *args, **kwargs)
            return
        names = self.active_names() or list(self.peft_config)
        write_adapter(self, Path(save_directory), names[0])
        if kwargs.get("push_to_hub"):
            self.push_to_hub(kwargs.get("repo_id") or Path(save_directory).name, token=kwargs.get("token"))


__all__ = ["AdaptableModel"]

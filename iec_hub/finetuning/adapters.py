"""LoRA adapters: what of a model is trained, where it is kept, and what that costs."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass, field
from difflib import get_close_matches
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch
from torch import nn

from iec_hub.errors import DataError
from iec_hub.finetuning.parameter_table import ParameterTable, parameter_table
from iec_hub.finetuning.quantization import QUANTIZATIONS, require_bitsandbytes

if TYPE_CHECKING:
    from peft import PeftModel

    from iec_hub.models.image_emotion import ImageEmotionModel

VARIANTS = ("lora", "rslora", "dora")
TARGETS = ("language", "vision", "fusion", "all")
# Where PEFT puts the trained copy of a module, inside the name of its weights.
_COPY = re.compile(r"\.(modules_to_save\.[^.]+|original_module|base_layer)(?=\.|$)")


@dataclass
class AdapterArguments:
    """What of the model is trained."""

    lora: bool = field(
        default=False, metadata={"help": "Train a LoRA adapter of a few megabytes instead of all weights."}
    )
    lora_rank: int = field(default=8, metadata={"help": "Rank of the adapter's matrices."})
    lora_alpha: int | None = field(
        default=None, metadata={"help": "Scale of what the adapter adds; left out, twice the rank."}
    )
    lora_dropout: float = field(default=0.0, metadata={"help": "Dropout before the adapter's matrices."})
    lora_variant: str = field(
        default="lora",
        metadata={"help": "'lora', 'rslora' (scaled for high ranks) or 'dora' (direction and size apart; slower)."},
    )
    lora_targets: list[str] = field(
        default_factory=list,
        metadata={
            "help": f"Parts that get an adapter, some of {', '.join(TARGETS)}; left out, the language part, and the "
            "fusion too where a trained checkpoint is continued."
        },
    )
    quantization: str = field(
        default="none", metadata={"help": "Keep the frozen weights in '4bit' or '8bit' (needs --lora), or 'none'."}
    )


def check_adapter_arguments(adapter: AdapterArguments) -> None:
    """What can be refused before anything is loaded.

    Raises:
        DataError: with one sentence.
    """
    for name, value, choices in (
        ("lora_variant", adapter.lora_variant, VARIANTS),
        ("quantization", adapter.quantization, QUANTIZATIONS),
        *(("lora_targets", target, TARGETS) for target in adapter.lora_targets),
    ):
        if value not in choices:
            near = get_close_matches(str(value), choices, 1)
            hint = f"did you mean {near[0]!r}?" if near else f"use {', '.join(choices[:-1])} or {choices[-1]}."
            raise DataError(f"--{name} is {str(value)[:40]!r}; {hint}")
    if adapter.quantization != "none":
        if not adapter.lora:
            raise DataError(f"--quantization {adapter.quantization} keeps weights frozen; use it with --lora.")
        require_bitsandbytes()
        # PEFT quantises an 8-bit weight anew each time DoRA reads it on a CPU, and loses its scale.
        if (adapter.quantization, adapter.lora_variant) == ("8bit", "dora") and not torch.cuda.is_available():
            raise DataError("DoRA on 8-bit weights needs a GPU; use --quantization 4bit, or another --lora_variant.")
    if adapter.lora_rank < 1:
        raise DataError(f"--lora_rank is {adapter.lora_rank}; give at least 1.")
    if adapter.lora_alpha is not None and adapter.lora_alpha <= 0:
        raise DataError(f"--lora_alpha is {adapter.lora_alpha}; give a positive number, or leave it out.")
    if not 0 <= adapter.lora_dropout < 1:
        raise DataError(f"--lora_dropout is {adapter.lora_dropout}; give a share from 0 to below 1.")


def target_pattern(model: ImageEmotionModel, targets: Sequence[str], fresh: bool) -> str:
    """The pattern of module names that get LoRA layers.

    Args:
        targets: some of :data:`TARGETS`; none for the default ones.
        fresh: whether the fusion starts at random and is trained in full anyway, so that LoRA leaves it out.

    Raises:
        DataError: if the model has no such part, or nothing is left.
    """
    known = model.lora_targets
    missing = [target for target in targets if target != "all" and target not in known]
    if missing:
        raise DataError(
            f"{model.config.model_type} has no {missing[0]} part that LoRA could adapt; use {', '.join(known)} or all."
        )
    wanted = list(known) if "all" in targets else list(targets) or ["language", "fusion"]
    patterns = [known[target] for target in wanted if target in known and not (fresh and target == "fusion")]
    if not patterns:
        raise DataError("The fusion starts at random here and is trained in full; name another part for LoRA.")
    return "|".join(f"(?:{pattern})" for pattern in dict.fromkeys(patterns))


def add_adapter(
    model: ImageEmotionModel, adapter: AdapterArguments, fresh: bool, gradient_checkpointing: bool = False
) -> PeftModel:
    """Give a model LoRA layers, in place.

    Args:
        fresh: whether the model was put together from pretrained parts. Then everything else of it starts at random;
            it is trained in full and saved with the adapter. Otherwise that is done to the heads only.
        gradient_checkpointing: compute activations twice instead of keeping them.

    Returns:
        A :class:`peft.PeftModel` around the very same model.

    Raises:
        DataError: if the model has no such targets.
    """
    from peft import LoraConfig, get_peft_model, prepare_model_for_kbit_training

    settings = LoraConfig(
        r=adapter.lora_rank,
        lora_alpha=adapter.lora_alpha or 2 * adapter.lora_rank,
        lora_dropout=adapter.lora_dropout,
        target_modules=target_pattern(model, adapter.lora_targets, fresh),
        modules_to_save=saved_modules(model, fresh) or None,
        use_rslora=adapter.lora_variant == "rslora",
        use_dora=adapter.lora_variant == "dora",
    )
    # The other way of recomputing needs inputs that require gradients, which a frozen tower does not give.
    checkpointing = {"use_reentrant": False}
    if getattr(model, "is_quantized", False):
        prepare_model_for_kbit_training(model, gradient_checkpointing, checkpointing)
    elif gradient_checkpointing:
        model.activation_checkpointing_enable(checkpointing)
    adapted = get_peft_model(model, settings)
    settings.base_model_name_or_path = model.base_reference
    return adapted


def saved_modules(model: ImageEmotionModel, fresh: bool) -> list[str]:
    """Names of the modules that are trained in full and saved with an adapter; see :func:`add_adapter`."""
    names = dict.fromkeys((*(model.modules_to_save if fresh else model.heads), *sorted(model.renewed_parts)))
    known = dict(model.named_modules())
    return [name for name in names if name in known and known[name].state_dict()]


def set_trainable(model: nn.Module, frozen: Sequence[str]) -> None:
    """Gradients for everything that is not under the frozen name prefixes; with an adapter, only for what is its own.

    Args:
        model: a model, or a :class:`peft.PeftModel`.
        frozen: such as `"vision_model."`, in the names that the model has without an adapter.
    """
    adapted = any(".lora_" in name or ".modules_to_save." in name for name, _ in model.named_parameters())
    prefixes = tuple(f"{prefix.rstrip('.')}." for prefix in frozen)
    for name, parameter in model.named_parameters():
        own = not adapted or ".lora_" in name or ".modules_to_save." in name
        # Quantised weights are integers, which have no gradients.
        possible = parameter.is_floating_point() and not hasattr(parameter, "quant_state")
        parameter.requires_grad_(own and possible and not f"{plain_name(name)}.".startswith(prefixes))


def plain_name(name: str) -> str:
    """The name that a weight, or what LoRA adds to it, has without an adapter."""
    return _COPY.sub("", name.removeprefix("base_model.model."))


def adapter_tensors(model: nn.Module, adapter_name: str = "default") -> dict[str, torch.Tensor]:
    """What a LoRA run changes: LoRA's matrices, the modules trained in full, and their buffers; copies, on the CPU."""
    from iec_hub.models.adapter_loading import tensors_of

    return tensors_of(model, adapter_name)


def load_adapter_tensors(model: nn.Module, tensors: dict[str, torch.Tensor], adapter_name: str = "default") -> None:
    """Put back what :func:`adapter_tensors` gave."""
    from peft import set_peft_model_state_dict

    set_peft_model_state_dict(model, tensors, adapter_name=adapter_name)


def save_adapter(model: PeftModel, processor: Any, folder: str | Path, adapter_name: str = "default") -> None:
    """Save an adapter with everything that its base does not tell: labels, calibration, processor.

    Writes adapter_config.json, adapter_model.safetensors, config.json and the processor's files.
    """
    from iec_hub.models.adapter_loading import write_adapter

    write_adapter(model.get_base_model(), folder, adapter_name)
    if processor is not None:
        processor.save_pretrained(folder)


__all__ = [
    "TARGETS",
    "VARIANTS",
    "AdapterArguments",
    "ParameterTable",
    "adapter_tensors",
    "add_adapter",
    "check_adapter_arguments",
    "load_adapter_tensors",
    "parameter_table",
    "plain_name",
    "save_adapter",
    "saved_modules",
    "set_trainable",
    "target_pattern",
]

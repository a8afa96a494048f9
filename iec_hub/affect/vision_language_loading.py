"""Loads a vision-language model from the Hub: quantised or not, with or without an adapter, safetensors only."""

from __future__ import annotations

import importlib.util
from pathlib import Path
from typing import Any

import torch
import transformers
from safetensors import SafetensorError

from iec_hub.checkpoint_loading import usable_device
from iec_hub.errors import CheckpointError, DataError

__all__ = ["load_vision_language_model", "quantization_config"]

QUANTIZATIONS = ("4bit", "8bit")
_INSTALL = "pip install 'iec-hub[quantization]'"
_SHARED = ("revision", "token", "cache_dir", "local_files_only")
_ADAPTER_FILES = ("adapter_config.json", "adapter_model.safetensors")
_ERRORS = (OSError, ValueError, KeyError, TypeError, AttributeError, RuntimeError, ImportError, SafetensorError)
# The same for still images, and without the packages that its videos need.
_STILL_IMAGES = {"SmolVLMProcessor": "Idefics3Processor"}


def quantization_config(quantization: str | None, compute_dtype: Any) -> Any:
    """The `quantization_config` of a model: "4bit" is NF4 with double quantisation (QLoRA, 2023), "8bit" is LLM.int8.

    Raises:
        DataError: If there is no such quantisation, or bitsandbytes is not installed.
    """
    if quantization is None:
        return None
    if quantization not in QUANTIZATIONS:
        raise DataError(f"There is no such quantisation; give one of {', '.join(QUANTIZATIONS)} or leave it out.")
    if importlib.util.find_spec("bitsandbytes") is None:
        raise DataError(f"Quantised weights need bitsandbytes, not installed here; run: {_INSTALL}")
    if quantization == "8bit":
        return transformers.BitsAndBytesConfig(load_in_8bit=True)
    return transformers.BitsAndBytesConfig(
        load_in_4bit=True,
        bnb_4bit_quant_type="nf4",
        bnb_4bit_use_double_quant=True,
        bnb_4bit_compute_dtype=compute_dtype,
    )


def load_vision_language_model(
    checkpoint: str | Path,
    quantization: str | None = None,
    device: Any = None,
    dtype: Any = None,
    adapter: str | Path | None = None,
    **kwargs: Any,
) -> tuple[Any, Any]:
    """A model in evaluation mode on its device, and its processor.

    Args:
        checkpoint: id or directory of an `AutoModelForImageTextToText`.
        quantization: "4bit", "8bit" or None.
        device: left out, the GPU where there is one. Ignored where `device_map` is among `kwargs`.
        dtype: left out, bfloat16 on a GPU and float32 on the CPU.
        adapter: id or directory of a LoRA adapter (peft) that was trained for the checkpoint.
        kwargs: further arguments of the model's `from_pretrained`.

    Raises:
        CheckpointError: If a part cannot be loaded or lacks weights, or there is no such device.
        DataError: If the quantisation is unknown or its package is missing.
    """
    path, device = str(checkpoint), usable_device(device)
    dtype = dtype or (torch.float32 if device.type == "cpu" else torch.bfloat16)
    quantized = quantization_config(quantization, dtype)
    settings = {"device_map": {"": device}} | kwargs if quantized or "device_map" in kwargs else dict(kwargs)
    if quantized:
        settings["quantization_config"] = quantized
    shared = {key: kwargs[key] for key in _SHARED if key in kwargs}
    try:
        model, report = transformers.AutoModelForImageTextToText.from_pretrained(
            path, dtype=dtype, use_safetensors=True, output_loading_info=True, **settings
        )
        processor = _processor(path, model.config, shared)
    except _ERRORS as error:
        raise _refused(path, "a vision-language model", error) from error
    # transformers fills what is missing with random numbers, which would answer with random words.
    if report["missing_keys"]:
        raise CheckpointError(f"{path!r} lacks weights of its model, such as {min(report['missing_keys'])}; get all.")
    if adapter is not None:
        model = _adapted(model, str(adapter), {key: shared[key] for key in shared if key != "revision"})
    return (model if "device_map" in settings else model.to(device)).eval(), processor


def _processor(path: str, config: Any, shared: dict[str, Any]) -> Any:
    """The checkpoint's processor; where its video part cannot be made, such as without torchvision, one without it."""
    try:
        return transformers.AutoProcessor.from_pretrained(path, **shared)
    except (ImportError, OSError, ValueError):
        from transformers.models.auto.processing_auto import PROCESSOR_MAPPING

        known = PROCESSOR_MAPPING.get(type(config), None)
        if known is None or not any("video" in name for name in known.get_attributes()):
            raise
        return still_image_processor(known).from_pretrained(path, **shared)


def still_image_processor(processor: type) -> type:
    """A processor class without its video part, whose packages this project does without."""
    replacement = _STILL_IMAGES.get(processor.__name__)
    if replacement:
        return getattr(transformers, replacement)
    parts = [name for name in processor.get_attributes() if "video" not in name]
    return type(processor.__name__, (processor,), {"get_attributes": classmethod(lambda _: list(parts))})


def _adapted(model: Any, adapter: str, shared: dict[str, Any]) -> Any:
    """The model with a LoRA adapter, from safetensors only."""
    from huggingface_hub import snapshot_download
    from peft import PeftModel

    try:
        folder = Path(adapter)
        if not folder.is_dir():
            folder = Path(snapshot_download(adapter, allow_patterns=list(_ADAPTER_FILES), **shared))
        # peft would read a pickled file where there is no other one.
        if not all((folder / name).is_file() for name in _ADAPTER_FILES):
            raise ValueError(f"it has to hold {' and '.join(_ADAPTER_FILES)}")
        return PeftModel.from_pretrained(model, str(folder))
    except _ERRORS as error:
        raise _refused(adapter, "an adapter of this model", error) from error


def _refused(path: str, part: str, error: Exception) -> CheckpointError:
    reason = " ".join(str(error).split())[:300].rstrip(".")
    return CheckpointError(
        f"{path!r} could not be loaded as {part}; give a directory or a reachable Hub id ({reason})."
    )

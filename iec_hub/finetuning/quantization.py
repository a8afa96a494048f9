"""4-bit and 8-bit weights with bitsandbytes: settings, and models that were put together in memory."""

from __future__ import annotations

from importlib.util import find_spec
from pathlib import Path
from typing import Any

import torch

from iec_hub.errors import DataError

QUANTIZATIONS = ("none", "4bit", "8bit")


def require_bitsandbytes() -> None:
    """Make sure that weights can be quantised.

    Raises:
        DataError: if bitsandbytes is missing.
    """
    if find_spec("bitsandbytes") is None:
        raise DataError('4-bit and 8-bit weights need bitsandbytes; run pip install "iec-hub[quantization]".')


def bitsandbytes_config(kind: str, compute_dtype: torch.dtype | None = None) -> Any:
    """What `from_pretrained(..., quantization_config=...)` takes.

    4-bit is NF4 with double quantisation, as in Dettmers et al., "QLoRA: Efficient Finetuning of Quantized LLMs",
    2023; 8-bit is LLM.int8(). Neither names modules to leave alone: the model classes say so themselves, and any list
    here would replace bitsandbytes' own, which keeps tied output layers whole.

    Args:
        kind: `"4bit"` or `"8bit"`.
        compute_dtype: in which 4-bit layers multiply; left out, bfloat16 where the GPU has it, else float32.

    Raises:
        DataError: for another kind, or without bitsandbytes.
    """
    if kind not in QUANTIZATIONS[1:]:
        raise DataError(f"Weights cannot be quantised to {kind!r}; use '4bit' or '8bit'.")
    require_bitsandbytes()
    from transformers import BitsAndBytesConfig

    if kind == "8bit":
        return BitsAndBytesConfig(load_in_8bit=True)
    if compute_dtype is None:
        bf16 = torch.cuda.is_available() and torch.cuda.is_bf16_supported()
        compute_dtype = torch.bfloat16 if bf16 else torch.float32
    return BitsAndBytesConfig(
        load_in_4bit=True,
        bnb_4bit_quant_type="nf4",
        bnb_4bit_use_double_quant=True,
        bnb_4bit_compute_dtype=compute_dtype,
    )


def quantized(model: Any, processor: Any, kind: str, dtype: torch.dtype | None, folder: str | Path) -> Any:
    """A model that was put together in memory, with quantised weights.

    bitsandbytes quantises while it loads, so the model is saved first. The folder is needed no more afterwards: an
    adapter of such a model names the pretrained parts, from which the same base is put together again.

    Args:
        kind: `"none"` gives the model as it is, `"4bit"` or `"8bit"`.
        dtype: of what is not quantised, and of the computation in 4-bit layers; left out, the model's own.
        folder: where the base is saved.
    """
    if kind == "none":
        return model
    settings = bitsandbytes_config(kind, dtype)
    model.save_pretrained(folder)
    if processor is not None:
        processor.save_pretrained(folder)
    smaller = type(model).from_pretrained(folder, quantization_config=settings, dtype=dtype or model.dtype)
    smaller.backbones, smaller.renewed_parts = model.backbones, model.renewed_parts
    smaller.config.name_or_path = model.config.name_or_path
    return smaller


__all__ = ["QUANTIZATIONS", "bitsandbytes_config", "quantized", "require_bitsandbytes"]

"""The result of the stages before the images, kept so that a killed run need not repeat them."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

from safetensors.torch import load_file, save_file
from safetensors.torch import load_model as load_tensors
from safetensors.torch import save_model as save_tensors
from torch import nn

from iec_hub.finetuning.adapters import adapter_tensors, load_adapter_tensors
from iec_hub.finetuning.trainer import trained_as


def is_taught(folder: Path) -> bool:
    """Whether the folder holds a whole result."""
    return (folder / "log.json").exists()


def save_taught(model: nn.Module, folder: Path, log: dict[str, Any]) -> None:
    """Keep what the stages have made of a model, or of its adapter where there is one."""
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "log.json").unlink(missing_ok=True)
    file, adapted = folder / "model.safetensors", trained_as(model)
    if adapted is model:
        save_tensors(model, str(file))
    else:
        save_file({name: tensor.contiguous() for name, tensor in adapter_tensors(adapted).items()}, file)
    # Last and at once: without it the folder does not count.
    (folder / "log.partial").write_text(json.dumps(log), encoding="utf-8")
    os.replace(folder / "log.partial", folder / "log.json")


def load_taught(model: nn.Module, folder: Path) -> dict[str, Any]:
    """Put what [`save_taught`] kept into the model; returns the log."""
    file, adapted = folder / "model.safetensors", trained_as(model)
    if adapted is model:
        load_tensors(model, file)
    else:
        load_adapter_tensors(adapted, load_file(file))
    return json.loads((folder / "log.json").read_text(encoding="utf-8"))


__all__ = ["is_taught", "load_taught", "save_taught"]

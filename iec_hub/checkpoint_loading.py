"""Loading a checkpoint of any method, with one sentence for what can be wrong with it."""

from __future__ import annotations

from typing import Any

import torch
from safetensors import SafetensorError

from iec_hub.errors import CheckpointError
from iec_hub.registry import BUNDLED_CHECKPOINTS


def usable_device(device: str | torch.device | None) -> torch.device:
    """The device meant; left out, the GPU where there is one.

    Raises:
        CheckpointError: if there is no such device.
    """
    if device is None:
        return torch.device("cuda" if torch.cuda.is_available() else "cpu")
    try:
        device = torch.device(device)
        torch.empty(0, device=device)
    except (RuntimeError, AssertionError, NotImplementedError) as error:
        raise CheckpointError(f"There is no device {str(device)!r} here; use 'cpu' or leave it out.") from error
    return device


def load_checkpoint(path: str, name: str, dtype: Any, kwargs: dict[str, Any]) -> tuple[Any, Any]:
    """A model and its processor; of an adapter, its base with the adapter in it.

    Args:
        path: directory or Hub id; `name`: what errors call it.
        kwargs: further arguments of the model's `from_pretrained`.

    Raises:
        CheckpointError: if there is no such checkpoint, or it is damaged.
    """
    from iec_hub.models import AutoImageEmotionModel
    from iec_hub.models.adapter_loading import processor_of

    shared = {key: kwargs[key] for key in ("revision", "token", "cache_dir", "local_files_only") if key in kwargs}
    try:
        model, report = AutoImageEmotionModel.from_pretrained(
            path, dtype=dtype, use_safetensors=True, output_loading_info=True, **kwargs
        )
        processor = processor_of(path, **shared)
    except CheckpointError:  # an adapter's, which says all
        raise
    except (OSError, ValueError, KeyError, TypeError, RuntimeError, SafetensorError) as error:
        reason = " ".join(str(error).split())[:300].rstrip(".")
        raise CheckpointError(
            f"{name!r} could not be loaded; give a directory with a checkpoint, a reachable Hub id, or one of "
            f"{', '.join(BUNDLED_CHECKPOINTS.values())} ({reason})."
        ) from error
    # transformers fills what is missing with random numbers, which would answer with random emotions.
    if report["missing_keys"]:
        missing = sorted(report["missing_keys"])
        raise CheckpointError(
            f"{name!r} lacks {len(missing)} of the model's weights, such as {missing[0]}; get the whole checkpoint."
        )
    return model, processor


__all__ = ["load_checkpoint", "usable_device"]

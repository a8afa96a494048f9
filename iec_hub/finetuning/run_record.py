"""What a training was asked for, and what it took: the part of its folder that the card is written from."""

from __future__ import annotations

import sys
from importlib.metadata import PackageNotFoundError, version
from itertools import zip_longest
from pathlib import Path
from typing import Any

from iec_hub import __version__
from iec_hub.finetuning.arguments import TrainingSettings
from iec_hub.finetuning.settings_file import plain

_PACKAGES = ("torch", "transformers", "peft", "bitsandbytes", "accelerate")
# What changes nothing about the result, or is nobody else's business.
_SILENT = (
    "cache", "disable_tqdm", "hub_model_id", "hub_private_repo", "hub_revision", "hub_token", "license",
    "card_notes", "data_terms", "logging_dir", "merge", "output_dir", "overwrite", "push_to_hub", "report_to",
    "resume_from_checkpoint", "run_name", "settings", "hub_always_push", "hub_strategy", "log_level",
)  # fmt: skip
_TRAINER = (
    "seed", "num_train_epochs", "max_steps", "learning_rate", "language_learning_rate", "vision_learning_rate",
    "weight_decay", "lr_scheduler_type", "warmup_steps", "per_device_train_batch_size", "gradient_accumulation_steps",
    "world_size", "bf16", "gradient_checkpointing", "load_best_model_at_end", "metric_for_best_model", "optim",
)  # fmt: skip


def training_record(method: str, settings: TrainingSettings, finished: bool = False) -> dict[str, Any]:
    """What `training.json` holds; paths by their last part, because it is published and names data, not disks.

    Args:
        finished: also what is known at the end only, such as the versions of libraries.
    """
    groups = (settings.data, settings.start, settings.recipe, settings.adapter, settings.arguments)
    values = {name: value for group in groups for name, value in vars(group).items()}
    given = {name: _shown(plain(values[name])) for name in settings.given if name in values and name not in _SILENT}
    start, notes = settings.start, settings.card.card_notes
    record: dict[str, Any] = {
        "method": method,
        "settings": given,
        "trainer": {name: plain(getattr(settings.arguments, name)) for name in _TRAINER},
        "base_models": [str(_shown(name)) for name in base_models(method, start)],
        "data": [
            {"name": str(_shown(name))} | ({"terms": terms} if terms else {})
            for name, terms in zip_longest(settings.data.data, settings.card.data_terms)
        ],
        "license": settings.card.license,
        "card_notes": Path(notes).read_text(encoding="utf-8-sig").strip() if notes else "",
    }
    if finished:
        record |= {"iec_hub_version": __version__, "versions": versions()}
    return record


def base_models(method: str, start: Any) -> list[str]:
    """Ids or folders of what a training starts from."""
    if start.model:
        return [start.model]
    parts = [getattr(start, name, None) for name in ("vision", "text", "captioner", "observer")]
    if start.preset:
        from iec_hub.models import aciec, escnet, ugrie

        presets = {"ugrie": ugrie.UGRIE_PRESETS, "escnet": escnet.ESCNET_PRESETS, "aciec": aciec.ACIEC_PRESETS}
        named = presets[method][start.preset]["backbones"]
        parts += list(named.values()) if isinstance(named, dict) else list(named)
    return list(dict.fromkeys(part for part in parts if part))


def versions() -> dict[str, str]:
    """Versions of the libraries that decide about a result, of those that are installed."""
    found = {}
    for package in _PACKAGES:
        try:
            found[package] = version(package)
        except PackageNotFoundError:
            continue
    return found


def peak_memory() -> int:
    """The most memory that this process has taken, in bytes: of the GPU where it used one, else of the machine."""
    import torch

    if torch.cuda.is_available() and torch.cuda.max_memory_allocated():
        return int(torch.cuda.max_memory_allocated())
    try:
        import resource
    except ImportError:  # not on Windows
        return 0
    largest = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return int(largest) * (1 if sys.platform == "darwin" else 1024)


def _shown(value: Any) -> Any:
    """Paths by their last part: a record names data, not somebody's disk."""
    if isinstance(value, list | tuple):
        return [_shown(item) for item in value]
    if isinstance(value, str) and (Path(value).is_absolute() or Path(value).exists()):
        return Path(value).name
    return value


__all__ = ["base_models", "peak_memory", "training_record", "versions"]

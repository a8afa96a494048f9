"""A training's settings as a YAML file, in and out: the same names as on the command line."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from difflib import get_close_matches
from enum import Enum
from pathlib import Path
from typing import Any

import yaml

from iec_hub.errors import DataError

FLAG = "--settings"
# What belongs to one start of a run, or is nobody else's business.
_NOT_KEPT = ("settings", "output_dir", "resume_from_checkpoint", "overwrite", "hub_token", "push_to_hub")


def expand_settings_file(argv: list[str], known: Sequence[str]) -> list[str]:
    """A command line in which `--settings FILE` is replaced by the file's settings, before all flags.

    Args:
        known: names of arguments.

    Raises:
        DataError: if the file cannot be read, or names an argument that does not exist.
    """
    rest: list[str] = []
    files: list[str] = []
    parts = iter(argv)
    for part in parts:
        if part == FLAG or part.startswith(f"{FLAG}="):
            value = part.partition("=")[2] or next(parts, "")
            if not value:
                raise DataError(f"{FLAG} needs the name of a YAML file; give one.")
            files.append(value)
        else:
            rest.append(part)
    from_files = [flag for file in files for flag in _as_flags(read_settings(Path(file), known))]
    return [*from_files, *rest]


def read_settings(path: Path, known: Sequence[str]) -> dict[str, Any]:
    """Settings of a YAML file, with underscores in the names.

    Raises:
        DataError: if the file cannot be read, or names an argument that does not exist.
    """
    try:
        loaded = yaml.safe_load(path.read_text(encoding="utf-8-sig"))
    except OSError as error:
        raise DataError(f"There is no settings file {str(path)!r} that can be read; correct its path.") from error
    except (yaml.YAMLError, UnicodeDecodeError) as error:
        reason = " ".join(str(error).split())[:160].rstrip(".")
        raise DataError(f"{path.name} is not YAML; correct it ({reason}).") from error
    if loaded is None:
        return {}
    if not isinstance(loaded, Mapping):
        raise DataError(f"{path.name} holds no settings; write lines such as `num_train_epochs: 5`.")
    settings = {str(name).lstrip("-").replace("-", "_"): value for name, value in loaded.items()}
    for name, value in settings.items():
        if name not in known or name == "settings":
            near = get_close_matches(name, known, 1)
            hint = f"did you mean {near[0]}?" if near else "take it out."
            raise DataError(f"{path.name} sets {name[:40]!r}, which is no argument; {hint}")
        if isinstance(value, Mapping) or (
            isinstance(value, list) and any(isinstance(v, list | Mapping) for v in value)
        ):
            raise DataError(f"{path.name} gives {name} a nested value; give a value or a list of values.")
    return settings


def _as_flags(settings: Mapping[str, Any]) -> list[str]:
    flags: list[str] = []
    for name, value in settings.items():
        if isinstance(value, list):
            flags += [f"--{name}", *map(str, value)] if value else []
        elif value is not None:
            flags.append(f"--{name}={value}")  # in one piece: a value that begins with a dash is no flag
    return flags


def settings_yaml(groups: Sequence[Any], given: Sequence[str]) -> str:
    """The settings that somebody gave as YAML, which `--settings` reads again.

    Args:
        groups: argument dataclasses.
        given: names of arguments.
    """
    values = {name: value for group in groups for name, value in vars(group).items()}
    kept = {name: plain(values[name]) for name in sorted(given) if name in values and name not in _NOT_KEPT}
    return yaml.safe_dump(kept, sort_keys=True, allow_unicode=True) if kept else ""


def plain(value: Any) -> Any:
    """A setting as YAML and JSON hold it."""
    if isinstance(value, Enum):
        return value.value
    if isinstance(value, list | tuple):
        return [plain(item) for item in value]
    if value is None or isinstance(value, bool | int | float | str):
        return value
    return str(value)


__all__ = ["expand_settings_file", "plain", "read_settings", "settings_yaml"]

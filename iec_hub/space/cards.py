"""What a model's folder says about it: what it was trained on, and what was measured.

The folder may be a stranger's: whatever is not as a training writes it counts as not said.
"""

import json
import math
import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from huggingface_hub import hf_hub_download

from iec_hub.registry import BUNDLED_CHECKPOINTS, checkpoint_path
from iec_hub.space.methods import Method, Predictor

_METRICS, _TRAINING = "metrics.json", "training.json"
_HUB_ID = re.compile(r"[A-Za-z0-9][\w.-]{0,95}/[A-Za-z0-9][\w.-]{0,95}")
_SPLIT_LINE = re.compile(r"^\s+(train|validation|test): (\d+)\b", re.MULTILINE)
_SPLITS = ("test", "validation")


@dataclass(frozen=True)
class TrainingData:
    """A data set: its name, the pictures of each split by name (empty where that is not known), and its terms."""

    name: str
    splits: Mapping[str, int]
    terms: str = ""


@dataclass(frozen=True)
class Measured:
    """What was measured on one split of one data set; shares from 0 to 1, each interval one of 95 %.

    Attributes:
        most_frequent: what always naming the most frequent label would reach.
        sure: share of the answers called sure, how many of these and how many of the others are right.
    """

    data: str
    split: str
    count: int
    accuracy: float
    interval: tuple[float, float] | None = None
    macro_f1: float | None = None
    macro_f1_interval: tuple[float, float] | None = None
    most_frequent: float | None = None
    sure: tuple[float, float, float] | None = None


@dataclass(frozen=True)
class Card:
    """One offered model.

    Attributes:
        method: what the page calls it.
        name: its checkpoint's name.
        started_from: what the training started from.
        notes: what those who made it say of it, as Markdown.
        seed: of the training.
    """

    method: str
    name: str
    emotion_models: tuple[str, ...]
    started_from: tuple[str, ...] = ()
    data: tuple[TrainingData, ...] = ()
    measured: tuple[Measured, ...] = ()
    notes: str = ""
    seed: int | None = None


def read_card(method: Method) -> Card:
    """What is known about one of the page's models; what its folder does not say is left out."""
    log, record = (_read(method.predictor, name) for name in (_METRICS, _TRAINING))
    started = record.get("base_models")
    seed = log.get("seed")
    return Card(
        method=method.name,
        name=method.predictor.name,
        emotion_models=tuple(model.title for model in method.trained),
        started_from=tuple(map(_base_name, started)) if isinstance(started, list) else (),
        data=_data(log, record),
        measured=_measured(log),
        notes=str(record.get("card_notes") or ""),
        seed=seed if isinstance(seed, int) else None,
    )


def card_file(predictor: Predictor, name: str) -> Path | None:
    """A file of a model's folder, or of its repository on the Hub; None where there is no such file."""
    config = getattr(getattr(predictor, "model", None), "config", None)
    source = str(getattr(config, "name_or_path", "") or "")
    if predictor.name in BUNDLED_CHECKPOINTS.values():
        source = checkpoint_path(predictor.name)
    if source and Path(source).is_dir():
        return Path(source) / name if (Path(source) / name).is_file() else None
    for repository in (predictor.name, source):
        if _HUB_ID.fullmatch(repository):
            # Any way in which the Hub can fail: a card is no reason not to start.
            try:
                return Path(hf_hub_download(repository, name, revision=getattr(config, "_commit_hash", None)))
            except Exception:
                continue
    return None


def _read(predictor: Predictor, name: str) -> dict[str, Any]:
    path = card_file(predictor, name)
    try:
        content = json.loads(path.read_text(encoding="utf-8")) if path is not None else {}
    except (OSError, ValueError, RecursionError):
        return {}
    return content if isinstance(content, dict) else {}


def _data(log: Mapping[str, Any], record: Mapping[str, Any]) -> tuple[TrainingData, ...]:
    reports, stated = log.get("data"), record.get("data")
    reports = reports if isinstance(reports, dict) else {}
    entries = [entry for entry in stated if isinstance(entry, dict)] if isinstance(stated, list) else []
    terms = {str(entry.get("name")): str(entry.get("terms") or "") for entry in entries}
    return tuple(
        TrainingData(
            name=str(name),
            splits={split: int(count) for split, count in _SPLIT_LINE.findall(str(reports.get(name, "")))},
            terms=terms.get(str(name), ""),
        )
        for name in dict.fromkeys([*reports, *terms])
    )


def _measured(log: Mapping[str, Any]) -> tuple[Measured, ...]:
    """Test results; validation's where nothing was tested."""
    split = next((split for split in _SPLITS if isinstance(log.get(split), dict) and log[split]), None)
    rows = []
    for name, one in log[split].items() if split else ():
        count, accuracy = (_number(one.get(key)) if isinstance(one, dict) else None for key in ("n", "accuracy"))
        if not count or count < 1 or not _share(accuracy):
            continue
        macro_f1 = _number(one.get("macro_f1"))
        rows.append(
            Measured(
                data=str(name),
                split=split,
                count=int(count),
                accuracy=accuracy,
                interval=_interval(one, "accuracy"),
                macro_f1=macro_f1 if _share(macro_f1) else None,
                macro_f1_interval=_interval(one, "macro_f1"),
                most_frequent=_most_frequent(one, count),
                sure=_sure(one.get("sure")),
            )
        )
    return tuple(rows)


def _interval(one: Mapping[str, Any], key: str) -> tuple[float, float] | None:
    intervals = one.get("intervals")
    ends = intervals.get(key) if isinstance(intervals, dict) else None
    if not isinstance(ends, list) or len(ends) != 2:
        return None
    low, high = map(_number, ends)
    return (low, high) if _share(low) and _share(high) and low <= high else None


def _most_frequent(one: Mapping[str, Any], count: float) -> float | None:
    rows = one.get("per_class")
    supports = [_number(row.get("support")) for row in rows if isinstance(row, dict)] if isinstance(rows, list) else []
    largest = max((support for support in supports if support is not None), default=None)
    return largest / count if largest is not None and _share(largest / count) else None


def _sure(found: Any) -> tuple[float, float, float] | None:
    if not isinstance(found, dict):
        return None
    shares = tuple(_number(found.get(key)) for key in ("share", "accuracy", "accuracy_of_others"))
    return shares if all(map(_share, shares)) else None


def _number(value: Any) -> float | None:
    if isinstance(value, bool) or not isinstance(value, int | float) or not math.isfinite(value):
        return None
    return float(value)


def _share(value: float | None) -> bool:
    return value is not None and 0 <= value <= 1


def _base_name(base: Any) -> str:
    """A Hub id or a name; of a path on somebody's disk only the last part."""
    text = str(base)
    return text if _HUB_ID.fullmatch(text) else re.split(r"[\\/]", text.rstrip("\\/"))[-1]

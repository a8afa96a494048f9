"""Pictures of a training run, drawn from its metrics.json alone: learning curve, confusion, reliability, coverage."""

from __future__ import annotations

import json
import logging
import re
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from PIL import Image

from iec_hub.errors import DataError
from iec_hub.space.escaping import plain

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

logger = logging.getLogger(__name__)

FOLDER = "pictures"
KINDS = ("confusion", "reliability", "coverage")
# Okabe and Ito's colours, which colour-blind readers tell apart.
_BLUE, _ORANGE, _GREY = "#0072B2", "#D55E00", "#777777"
_COLOURS = (_BLUE, _ORANGE, "#009E73", "#CC79A7", "#E69F00", "#56B4E9")
_DPI = 90
_PALETTE = 256
# With more labels than this the cells are too small for numbers.
_NUMBERED = 16
_LONGEST_NAME = 24
# Names are shown as they are: a dollar sign in a label is no mathematics.
_STYLE = {"font.size": 9, "axes.titlesize": 10, "text.parse_math": False, "axes.spines.top": False}
_STYLE |= {"axes.spines.right": False, "font.family": "DejaVu Sans"}


def file_stem(name: str) -> str:
    """A data set's name as a part of a file name: letters, digits, dots and dashes."""
    return re.sub(r"[^A-Za-z0-9.]+", "-", name).strip("-.").lower()[:60] or "data"


def picture_names(measured: Mapping[str, Any]) -> dict[str, str]:
    """Data set to what stands for it in file names; names that would be the same are numbered."""
    names: dict[str, str] = {}
    for name in measured:
        stem = base = file_stem(name)
        number = 1
        while stem in names.values():
            number += 1
            stem = f"{base}-{number}"
        names[name] = stem
    return names


def shown_split(log: Mapping[str, Any]) -> str | None:
    """The split whose figures are drawn: test where it was measured in full, else validation, else none."""
    for split in ("test", "validation"):
        if any("confusion" in measured for measured in log.get(split, {}).values()):
            return split
    return None


def read_metrics(folder: Path) -> dict[str, Any]:
    """A run's `metrics.json`; empty where there is none.

    Raises:
        DataError: if it is no JSON object.
    """
    path = folder / "metrics.json"
    if not path.is_file():
        return {}
    try:
        log = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise DataError(
            f"{path.name} of {folder.name!r} cannot be read ({type(error).__name__}); replace it."
        ) from error
    if not isinstance(log, dict):
        raise DataError(f"{path.name} of {folder.name!r} is no JSON object; replace it.")
    return log


def draw_pictures(folder: Path) -> list[Path]:
    """Draw what a run measured into its folder `pictures`.

    `learning_curve.png` where there is a history, and `confusion-DATA.png`, `reliability-DATA.png` and
    `coverage-DATA.png` for each data set of the test split, or of validation where nothing was tested.

    Returns:
        The files, in the order above; none without matplotlib, which is warned of once.

    Raises:
        DataError: if `metrics.json` cannot be read or is not what a training writes.
    """
    log = read_metrics(folder)
    try:
        import matplotlib
    except ImportError:
        logger.warning('No pictures are drawn without matplotlib; install it with: pip install "iec-hub[train]"')
        return []
    with matplotlib.rc_context(_STYLE):
        try:
            return [_save(figure, folder, stem) for stem, figure in _figures(log)]
        except (AttributeError, KeyError, TypeError, ValueError) as error:
            raise DataError(
                f"metrics.json of {folder.name!r} is not what a training writes ({type(error).__name__}); replace it."
            ) from error


def _figures(log: Mapping[str, Any]) -> Iterator[tuple[str, Figure]]:
    """File names without their ending, and the figures."""
    if (figure := learning_curve(log)) is not None:
        yield "learning_curve", figure
    split = shown_split(log)
    measured = log[split] if split else {}
    stems = picture_names(measured)
    for kind, draw in zip(KINDS, (confusion, reliability, coverage), strict=True):
        for name, results in measured.items():
            if "confusion" in results:
                yield f"{kind}-{stems[name]}", draw(results, f"{_shown(name)} ({split}, {results['n']} pictures)")


def _save(figure: Figure, folder: Path, stem: str) -> Path:
    from matplotlib.backends.backend_agg import FigureCanvasAgg

    path = folder / FOLDER / f"{stem}.png"
    path.parent.mkdir(parents=True, exist_ok=True)
    # No pyplot: it keeps figures and a backend for the whole process.
    canvas = FigureCanvasAgg(figure)
    canvas.draw()
    # A palette takes a third of the bytes; and without the program's version the same figures give the same file.
    Image.fromarray(np.asarray(canvas.buffer_rgba())).convert("RGB").quantize(_PALETTE).save(path, optimize=True)
    return path


def _figure(width: float, height: float) -> Figure:
    from matplotlib.figure import Figure

    return Figure(figsize=(width, height), dpi=_DPI, layout="constrained")


def _shown(name: str) -> str:
    return plain(name, _LONGEST_NAME)


def _series(history: Sequence[Mapping[str, Any]], key: str) -> tuple[list[float], list[float]]:
    rows = [(entry["epoch"], entry[key]) for entry in history if key in entry and "epoch" in entry]
    return [float(epoch) for epoch, _ in rows], [float(value) for _, value in rows]


def learning_curve(log: Mapping[str, Any]) -> Figure | None:
    """Loss and accuracy over the epochs, each data set by itself; `None` where nothing was logged."""
    from matplotlib.ticker import MaxNLocator

    history = [entry for entry in log.get("history", ()) if isinstance(entry, Mapping)]
    losses = [entry for entry in log.get("loss_history", ()) if isinstance(entry, Mapping)]
    if not _series(history, "eval_soft_cross_entropy")[0] and not losses:
        return None
    figure = _figure(7.6, 3.4)
    left, right = figure.subplots(1, 2)
    ends = [(entry["epoch"], entry["step"]) for entry in history if entry.get("step") and entry.get("epoch")]
    if losses:
        # The loss is logged by steps; where epochs were evaluated, they say how many steps one has.
        scale = ends[-1][0] / ends[-1][1] if ends else 1.0
        places = [entry["step"] * scale for entry in losses]
        left.plot(places, [entry["loss"] for entry in losses], color=_GREY, linewidth=1, label="training loss")
    by_data = sorted({found[1] for e in history for k in e if (found := re.fullmatch(r"eval_(.+)_accuracy", k))})
    lines = {"eval_": ("validation, mean" if by_data[1:] else "validation", "black", 2.0)}
    for number, name in enumerate(by_data if by_data[1:] else ()):
        lines[f"eval_{name}_"] = (f"validation, {_shown(name)}", _COLOURS[number % len(_COLOURS)], 1.2)
    for axes, metric in ((left, "soft_cross_entropy"), (right, "accuracy")):
        for prefix, (label, colour, width) in lines.items():
            x, y = _series(history, prefix + metric)
            if x:
                axes.plot(x, y, color=colour, marker="o", markersize=3, linewidth=width, label=label)
        axes.set_xlabel("epoch" if ends or not losses else "step")
        axes.xaxis.set_major_locator(MaxNLocator(integer=True))
        axes.grid(alpha=0.25)
    left.set_title("Soft cross-entropy (nats)")
    right.set(title="Accuracy", ylim=(0, 1))
    figure.legend(*left.get_legend_handles_labels(), loc="outside lower center", ncols=4, fontsize=8, frameon=False)
    return figure


def confusion(measured: Mapping[str, Any], title: str) -> Figure:
    """Viewers' label against the predicted one: the colour is the share of a row, the number counts pictures."""
    counts, labels = measured["confusion"], [_shown(label) for label in measured["labels"]]
    size, totals = len(labels), [max(sum(row), 1) for row in counts]
    side = min(2.2 + 0.42 * size, 11)
    figure = _figure(side + 0.6, side)
    axes = figure.subplots()
    shares = [[value / total for value in row] for row, total in zip(counts, totals, strict=True)]
    shown = axes.imshow(shares, cmap="Blues", vmin=0, vmax=1)
    axes.set_xticks(range(size), labels, rotation=45, ha="right", rotation_mode="anchor")
    axes.set_yticks(range(size), labels)
    if size <= _NUMBERED:
        for row, column in ((r, c) for r in range(size) for c in range(size) if counts[r][c]):
            colour = "white" if shares[row][column] > 0.55 else "black"
            axes.text(column, row, str(counts[row][column]), ha="center", va="center", fontsize=8, color=colour)
    axes.set(xlabel="predicted", ylabel="most votes", title=title)
    figure.colorbar(shown, ax=axes, shrink=0.7, label="share of the row")
    return figure


def reliability(measured: Mapping[str, Any], title: str) -> Figure:
    """Accuracy against confidence; on the dashed line confidence means what it says. Beneath: how many pictures."""
    bins = [row for row in measured["reliability"] if row["count"]]
    figure = _figure(3.9, 4.1)
    upper, lower = figure.subplots(2, 1, height_ratios=(3, 1), sharex=True)
    upper.plot([0, 1], [0, 1], color=_GREY, linestyle="--", linewidth=1)
    heights, widths = [row["accuracy"] for row in bins], [row["high"] - row["low"] for row in bins]
    left = [row["low"] for row in bins]
    upper.bar(left, heights, widths, align="edge", color=_BLUE, alpha=0.35, edgecolor=_BLUE, linewidth=0.7)
    upper.plot([row["confidence"] for row in bins], heights, "o", color=_ORANGE, markersize=4)
    upper.set(ylabel="accuracy", ylim=(0, 1.03), xlim=(0, 1), title=f"{title}\nECE {measured['ece']:.3f}")
    lower.bar(left, [row["count"] for row in bins], widths, align="edge", color=_GREY)
    lower.set(xlabel="confidence (top label's probability)", ylabel="pictures")
    return figure


def coverage(measured: Mapping[str, Any], title: str) -> Figure:
    """How many of the surest answers are wrong, and which of them the rule of `uncertain` calls sure."""
    figure = _figure(3.9, 3.3)
    axes = figure.subplots()
    covered, risks = zip(*measured["risk_coverage"], strict=True)
    axes.plot(covered, risks, color=_BLUE, linewidth=1.8, label=f"surest answers, area {measured['aurc']:.3f}")
    axes.axhline(risks[-1], color=_GREY, linestyle="--", linewidth=1, label=f"all answers, {risks[-1]:.3f}")
    _mark_sure(axes, measured.get("sure") or {})
    axes.set(xlabel="coverage (share of pictures answered)", ylabel="risk (share of those wrong)", title=title)
    axes.set(xlim=(0, 1.02), ylim=(0, min(1, max(*risks, 0.1) * 1.3)))
    axes.grid(alpha=0.25)
    axes.legend(fontsize=7, frameon=False)
    return figure


def _mark_sure(axes: Axes, sure: Mapping[str, Any]) -> None:
    if sure.get("accuracy") is not None:
        wrong = 1 - sure["accuracy"]
        axes.plot([sure["share"]], [wrong], "o", color=_ORANGE, markersize=6, label=f"called sure, {wrong:.3f}")


__all__ = ["FOLDER", "draw_pictures", "picture_names", "read_metrics", "shown_split"]

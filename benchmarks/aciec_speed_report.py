"""The Markdown of `results/aciec_speed.md`."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import machine

STAGES = {
    "open": "open, decode and resize",
    "no_text": "read text, images without any",
    "text": "read text, images with some",
    "prepare": "normalise, brightness and colourfulness",
    "vision": "vision tower",
    "concepts": "concepts",
    "reasoning": "observation and reasoning",
    "classifier": "tokenizer, text encoder and classifier",
    "regions": "heat map: backward pass",
    "words": "result; with evidence, the deciding words",
    "rest": "everything else",
}
READING, BARE = "ACIEC", "ACIEC that reads no text"
FIXTURES, FURTHER = "committed photographs", "further photographs"
LIMIT_MS = 60.0
_COSTS = {"reading": "looking for text", "extra": "and opening in full size"}


def table(result: dict[str, Any]) -> str:
    """The page."""
    further = " --photographs DIR" if FURTHER in result["finding_no_text"] else ""
    lines = [
        "# Speed and memory of ACIEC",
        "",
        f"`{result['checkpoint']}`, `{result['emotion_model']}`, float32 on the CPU, {result['repeats']} turns in one "
        "process. Made by `python benchmarks/aciec_speed.py --repeats "
        f"{result['repeats']} --batches {result['batches']}{further}`.",
    ]
    for size, row in result["stages"].items():
        lines += ["", f"## Stages, batch {size}", "", *_stage_lines(row)]
    lines += ["", "## Beside the other methods", "", *_method_lines(result["end_to_end"])]
    lines += ["", "## Finding out that there is no text", "", *look_lines(result["finding_no_text"])]
    lines += ["", "## Memory", "", "| process | peak memory, MiB |", "|---|---|"]
    for mode, mib in result["peak_memory_mib"].items():
        kind, _, size = mode.partition(":")
        name = {"loaded": "checkpoint loaded", "bare": "no text read", "reading": "text read"}[kind]
        lines.append(f"| {name}{f', batch {size}' if size else ''} | {mib:.0f} |")
    return "\n".join([*lines, "", f"Machine: {machine.facts_line(result['machine'])}.", ""])


def _stage_lines(row: dict[str, Any]) -> list[str]:
    """One batch size: plain and with evidence side by side."""
    kinds = {"plain": "", "evidence": " with evidence"}
    heads = [f"{what}{name}" for name in kinds.values() for what in ("share", "ms", "p95")]
    lines = [
        "Per image; reading is per image with text and without it, other stages are a batch's share per image. Images",
        "are opened one after the other here.",
        "",
        *_header("stage", heads),
    ]
    for stage, name in STAGES.items():
        cells = []
        for kind in kinds:
            found = row[kind]["stages"].get(stage)
            cells += _shown(found["share"], found) if found else ["-", "-", "-"]
        lines.append(_row(name, cells))
    cells = [cell for kind in kinds for cell in _shown(1.0, row[kind]["image_ms"])]
    return [*lines, _row("all", cells)]


def _shown(share: float, found: dict[str, float]) -> list[str]:
    return [f"{share:.1%}", f"{found['median_ms']:.1f}", f"{found['p95_ms']:.1f}"]


def _method_lines(found: dict[str, Any]) -> list[str]:
    lines = [
        "File to distribution, images per second, median (least to most), and how many times as fast ACIEC with its",
        "reader is.",
        "",
        *_header("method", [f"{what}batch {size}" for size in found for what in ("images/s, ", f"{READING} / it, ")]),
    ]
    for name in next(iter(found.values()))["images_per_second"]:
        cells = []
        for row in found.values():
            ratio = row["reading_over"].get(name)
            cells += [_spread(row["images_per_second"][name], 1), _spread(ratio, 2) if ratio else "-"]
        lines.append(_row(name, cells))
    return lines


def _spread(values: dict[str, float], digits: int) -> str:
    median, least, most = (f"{values[key]:.{digits}f}" for key in ("median", "min", "max"))
    return f"{median} ({least} to {most})"


def look_lines(found: dict[str, Any]) -> list[str]:
    """What looking for text costs, per set of photographs."""
    limit = next(iter(found.values()))["limit_ms"]
    heads = ["n", "cost", "median, ms", "p95, ms", "most, ms", f"within {limit:.0f} ms"]
    lines = [
        f"A photograph without text may pay {limit:.0f} ms. Each counts with the median of its turns. Whoever looks",
        "for text opens the photograph in full size, not in that of the model; the second cost adds the difference.",
        "",
        *_header("photographs", heads),
    ]
    for name, row in found.items():
        for kind, told in (("no_text", "without text"), ("text", "with text")):
            for cost, cost_name in _COSTS.items():
                values = row[kind].get(cost)
                if not values:
                    continue
                cells = [str(row[kind]["photographs"]), cost_name]
                cells += [f"{values[key]:.1f}" for key in ("median_ms", "p95_ms", "max_ms")]
                cells.append(f"{values['within_limit']:.1%}" if kind == "no_text" else "-")
                lines.append(_row(f"{name}, {told}", cells))
    unreadable = {name: row["unreadable"] for name, row in found.items() if row.get("unreadable")}
    for name, number in unreadable.items():
        lines += ["", f"Of the {name}, {number} could not be opened and were left out."]
    return lines


def _header(first: str, heads: Sequence[str]) -> list[str]:
    return [_row(first, heads), "|---" * (len(heads) + 1) + "|"]


def _row(first: str, cells: Sequence[str]) -> str:
    return f"| {first} | {' | '.join(cells)} |"

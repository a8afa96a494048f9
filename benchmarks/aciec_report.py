"""The tables of `compare_aciec.py`."""

from __future__ import annotations

import statistics
from typing import Any

import machine
from escnet_report import data_lines

FULL = "ACIEC"


def as_markdown(results: dict[str, Any]) -> str:
    further = "".join(f" {argument}" for argument in results["further"])
    seeds = " ".join(map(str, results["seeds"]))
    lines = [
        "# ACIEC and its ablations",
        "",
        f"Made by `python benchmarks/compare_aciec.py --data-dir DIR --work WORK --seeds {seeds}{further}`. Joint "
        "training on all data sets; metrics are means over seeds, each after temperature fitting on validation; "
        "differences are of the mean prediction over seeds, with 95 % bootstrap intervals paired over pictures. "
        "Ablations are trained anew, but for the row that says otherwise.",
        "",
        *data_lines(results["data"], FULL),
        "## Concepts",
        "",
        *concept_lines(results["concepts"]),
        "",
    ]
    return "\n".join([*lines, f"Machine: {machine.facts_line(results['machine'])}.", ""])


def concept_lines(found: dict[str, list[dict[str, float]]]) -> list[str]:
    """Precision of the best five concepts, means over seeds."""
    hierarchical, flat = found["True"], found["False"]
    if not hierarchical or "detector" not in hierarchical[0]:
        return ["No test picture has concepts."]

    def mean(runs: list[dict[str, float]], name: str) -> str:
        return f"{statistics.mean(run[name] for run in runs):.3f}" if runs and name in runs[0] else ""

    rows = [
        ("detector, hierarchical loss", mean(hierarchical, "detector")),
        ("detector, flat loss", mean(flat, "detector")),
    ]
    rows += [(n, mean(hierarchical, n)) for n in ("most frequent concepts", "untrained text-image match")]
    number = int(hierarchical[0]["n"])
    return [
        f"Precision of the best five on the {number} test pictures that have concepts (ten machine-made ones each).",
        "",
        "| | precision at 5 |",
        "|---|---|",
        *(f"| {name} | {value} |" for name, value in rows if value),
    ]

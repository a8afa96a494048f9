"""The tables of `compare_escnet.py`."""

from __future__ import annotations

import statistics
from typing import Any

import machine
import numpy as np
import valence
from compare_ugrie import METRICS

from iec_hub.evaluation import accuracy_difference, bootstrap_interval, evaluate_distributions

PROBE = "linear probe, last layer"
FULL = "ESCNet"


def table(rows: dict[str, list[np.ndarray]], target: np.ndarray, full: str = FULL) -> dict[str, Any]:
    """Metrics of every row, and intervals of the mean over its seeds against the probe and against the full model."""

    def surprise(predicted: np.ndarray) -> np.ndarray:
        return -(target * np.log(predicted.clip(1e-12))).sum(1)

    means = {label: np.mean(runs, axis=0) for label, runs in rows.items()}
    whole = means.get(full)
    result = {}
    for label, runs in rows.items():
        measured = [evaluate_distributions(run, target) for run in runs]
        row: dict[str, Any] = {metric: statistics.mean(m[metric] for m in measured) for metric in METRICS}
        row["accuracy_sd"] = statistics.stdev(m["accuracy"] for m in measured) if len(runs) > 1 else None
        row["runs"], row["accuracies"] = len(runs), [m["accuracy"] for m in measured]
        if label != PROBE:
            row["accuracy_minus_probe"] = list(accuracy_difference(means[label], means[PROBE], target))
        if whole is not None and label != full:
            difference = surprise(means[label]) - surprise(whole)
            row["cross_entropy_minus_full"] = list(bootstrap_interval(np.mean, difference))
        result[label] = row
    return result


def data_lines(data: dict[str, Any], full: str) -> list[str]:
    """One Markdown table per data set; `full` names the row that soft cross-entropies are compared with."""

    def shown(interval: list[float] | None) -> str:
        return "" if interval is None else "{:+.3f} [{:+.3f}, {:+.3f}]".format(*interval)

    lines: list[str] = []
    for name, block in data.items():
        lines += [
            f"## {name}, test split, n = {block['n']}",
            "",
            "| method | seeds | accuracy | macro F1 | soft CE | KL | ECE | accuracy minus last-layer probe | "
            f"soft CE minus {full} |",
            "|---|---|---|---|---|---|---|---|---|",
        ]
        for label, row in block["rows"].items():
            spread = "" if row["accuracy_sd"] is None else f" ± {row['accuracy_sd']:.3f}"
            figures = " | ".join(f"{row[metric]:.3f}" for metric in METRICS[1:])
            lines.append(
                f"| {label} | {row['runs']} | {row['accuracy']:.3f}{spread} | {figures} | "
                f"{shown(row.get('accuracy_minus_probe'))} | {shown(row.get('cross_entropy_minus_full'))} |"
            )
        lines.append("")
    return lines


def as_markdown(results: dict[str, Any]) -> str:
    further = "".join(f" {argument}" for argument in results["further"])
    seeds = " ".join(map(str, results["seeds"]))
    lines = [
        "# ESCNet and its ablations",
        "",
        f"Made by `python benchmarks/compare_escnet.py --data-dir DIR --work WORK --seeds {seeds}{further}`. Joint "
        "training on all data sets; metrics are means over seeds, each after temperature fitting on validation; "
        "differences are of the mean prediction over seeds, with 95 % bootstrap intervals paired over pictures.",
        "Plain cross-entropy shares the full model's text stage. Captions with emotion words end with the probable "
        "emotion of a linear probe of the first data set.",
        "",
    ]
    lines += data_lines(results["data"], FULL)
    if results["valence"]:
        found = valence.as_markdown(*(results["valence"][name] for name in ("rows", "n", "baseline")))
        lines += found
        lines += [
            "",
            "Ridge regression, alpha chosen on validation. ESCNet never saw a rating or an emotion label of OASIS; "
            "the human captions of its training pictures taught the word detector, whose captions the fused "
            "representation reads. With several seeds, r is that of their mean prediction.",
            "",
        ]
    return "\n".join([*lines, f"Machine: {machine.facts_line(results['machine'])}.", ""])

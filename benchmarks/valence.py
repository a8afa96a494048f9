"""Valence by ridge regression on frozen representations of pictures."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from iec_hub.evaluation import bootstrap_interval

# Of blocks that are standardised and divided by the root of their width.
ALPHAS = tuple(float(alpha) for alpha in 10.0 ** np.arange(-3, 4.01, 0.5))


def pearson(first: Any, second: Any) -> float:
    """Pearson's correlation of two (N,) arrays; NaN where one of them is constant."""
    first, second = (np.asarray(values, dtype=np.float64) for values in (first, second))
    first, second = first - first.mean(), second - second.mean()
    scale = np.sqrt((first @ first) * (second @ second))
    return float(first @ second / scale) if scale > 0 else float("nan")


def standardised(train: np.ndarray, *others: np.ndarray) -> list[np.ndarray]:
    """Arrays (n, width) with the training part's mean 0 and variance 1 / width per column; constant columns are 0.

    The width makes joined blocks weigh alike, however wide they are.
    """
    mean, deviation = train.mean(0), train.std(0)
    scale = np.where(deviation > 1e-6, 1 / np.maximum(deviation, 1e-6), 0.0) / np.sqrt(train.shape[1])
    return [(part - mean) * scale for part in (train, *others)]


def ridge_predictions(
    blocks: Mapping[str, Sequence[np.ndarray]], targets: Mapping[str, np.ndarray], alphas: Sequence[float] = ALPHAS
) -> tuple[np.ndarray, float]:
    """Ridge regression fitted on train, its alpha chosen by the squared error on validation, applied to test.

    Args:
        blocks: split to arrays (n, width) that are joined.
        targets: split to (n,).

    Returns:
        Predictions for test, and the alpha.
    """
    splits = ("train", "validation", "test")
    parts = [
        standardised(*(np.asarray(blocks[split][i], dtype=np.float64) for split in splits))
        for i in range(len(blocks["train"]))
    ]
    train, validation, test = (np.concatenate([part[i] for part in parts], axis=1) for i in range(3))
    middle = targets["train"].mean()
    # One eigendecomposition of the kernel serves every alpha: w = X' (X X' + alpha I)^-1 y.
    values, vectors = np.linalg.eigh(train @ train.T)
    turned = vectors.T @ (targets["train"] - middle)

    def weights(alpha: float) -> np.ndarray:
        return train.T @ (vectors @ (turned / (np.maximum(values, 0) + alpha)))

    def error(alpha: float) -> float:
        return float(np.square(validation @ weights(alpha) + middle - targets["validation"]).mean())

    best = min(alphas, key=error)
    return test @ weights(best) + middle, best


def correlation_rows(
    predictions: Mapping[str, Sequence[np.ndarray]], target: np.ndarray, baseline: str
) -> dict[str, Any]:
    """Per representation: r of the seeds' mean prediction with its 95 % interval over pictures, and r of single seeds.

    Each row also says how much larger its r is than the baseline's, paired over pictures.
    """
    means = {name: np.mean(runs, axis=0) for name, runs in predictions.items()}

    def gain(own: np.ndarray, other: np.ndarray, target: np.ndarray) -> float:
        return pearson(own, target) - pearson(other, target)

    return {
        name: {
            "r": list(bootstrap_interval(pearson, mean, target)),
            "single_seeds": [pearson(run, target) for run in predictions[name]],
            "minus_baseline": None
            if name == baseline
            else list(bootstrap_interval(gain, mean, means[baseline], target)),
        }
        for name, mean in means.items()
    }


def as_markdown(rows: Mapping[str, Any], n: int, baseline: str) -> list[str]:
    """The table's lines."""

    def shown(interval: Sequence[float] | None, sign: str = "") -> str:
        return "" if interval is None else "{:{s}.3f} [{:{s}.3f}, {:{s}.3f}]".format(*interval, s=sign)

    lines = [
        f"## Valence of OASIS, test split, n = {n}",
        "",
        f"| representation | Pearson r [95 %] | minus {baseline} [95 %] | single seeds |",
        "|---|---|---|---|",
    ]
    for name, row in rows.items():
        singles = ", ".join(f"{r:.3f}" for r in row["single_seeds"]) if len(row["single_seeds"]) > 1 else ""
        lines.append(f"| {name} | {shown(row['r'])} | {shown(row['minus_baseline'], '+')} | {singles} |")
    return lines

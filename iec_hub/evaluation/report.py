"""Everything that a model card tells about predictions on one data set, ready for JSON."""

import math
from collections.abc import Sequence
from typing import Any

import numpy as np

from iec_hub.errors import DataError
from iec_hub.evaluation.metrics import (
    bootstrap_interval,
    checked_pair,
    cross_entropies,
    entropies,
    evaluate_distributions,
    mean_f1,
    reliability,
    true_and_predicted,
)
from iec_hub.evaluation.selective import ordered_risks, sure_pictures

# A curve with more points than this looks the same.
CURVE_POINTS = 100
SEED = 0


def distribution_report(
    predicted: Any, target: Any, labels: Sequence[str], sure: dict[str, float | None] | None = None
) -> dict[str, Any]:
    """Metrics with what lies behind them: intervals, confusion, labels one by one, reliability, risk and coverage.

    Args:
        predicted: (N, n), calibrated.
        target: (N, n) votes or distributions, or (N,) label indices.
        labels: The n labels.
        sure: The rule of `uncertain`, as `sure_pictures` takes it.

    Returns:
        What `evaluate_distributions` does, `aurc` (0 to 1), and: `intervals`, each metric's 95 % percentile bootstrap
        over pictures `[low, high]` with a fixed seed (not of the ECE, whose resamples are biased upwards); `labels`;
        `confusion` (n, n) counts, a row per label with the most votes, a column per predicted one; `per_class`, a
        dictionary per label with precision, recall and f1 (`None` without pictures), support, predicted, and its mean
        share of the votes and mean probability; `reliability`, the bins that hold pictures; `risk_coverage`, pairs of
        coverage and risk; `sure`: the rule, the share of sure pictures, and the accuracy of these and of the others.

    Raises:
        DataError: If the arrays are not distributions that fit, or the labels are not as many.
    """
    predicted, target = checked_pair(predicted, target)
    if len(labels) != predicted.shape[1]:
        raise DataError(
            f"{len(labels)} labels do not fit predictions of {predicted.shape[1]}; give one name for each."
        )
    true, chosen = true_and_predicted(predicted, target)
    wrong, confidence = true != chosen, predicted.max(axis=1)
    risks = ordered_risks(confidence, wrong)
    return {
        **evaluate_distributions(predicted, target),
        "aurc": float(risks.mean()),
        "intervals": _intervals(predicted, target),
        "labels": list(labels),
        "confusion": _confusion(true, chosen, len(labels)).tolist(),
        "per_class": _per_class(predicted, target, true, chosen, labels),
        "reliability": [row._asdict() for row in reliability(predicted, target) if row.count],
        "risk_coverage": _curve(risks),
        "sure": _sure(predicted, ~wrong, sure or {}),
    }


def _intervals(predicted: np.ndarray, target: np.ndarray) -> dict[str, list[float]]:
    true, chosen = true_and_predicted(predicted, target)
    wrong = (true != chosen).astype(np.float64)
    losses, confidence = cross_entropies(predicted, target), predicted.max(axis=1)
    squares = ((predicted - target) ** 2).sum(axis=1)
    drawn = {
        "accuracy": (np.mean, 1 - wrong),
        "macro_f1": (mean_f1, true, chosen),
        "soft_cross_entropy": (np.mean, losses),
        "kl": (np.mean, losses - entropies(target)),
        "brier": (np.mean, squares),
        "aurc": (lambda c, w: float(ordered_risks(c, w).mean()), confidence, wrong),
    }
    found = {name: bootstrap_interval(*statistic, seed=SEED) for name, statistic in drawn.items()}
    return {name: [interval.low, interval.high] for name, interval in found.items()}


def _confusion(true: np.ndarray, chosen: np.ndarray, labels: int) -> np.ndarray:
    return np.bincount(true * labels + chosen, minlength=labels**2).reshape(labels, labels)


def _per_class(
    predicted: np.ndarray, target: np.ndarray, true: np.ndarray, chosen: np.ndarray, labels: Sequence[str]
) -> list[dict[str, Any]]:
    counts = _confusion(true, chosen, len(labels))
    hits, support, told = counts.diagonal(), counts.sum(axis=1), counts.sum(axis=0)
    return [
        {
            "label": label,
            "precision": _share(hits[i], told[i]),
            "recall": _share(hits[i], support[i]),
            "f1": _share(2 * hits[i], support[i] + told[i]),
            "support": int(support[i]),
            "predicted": int(told[i]),
            "votes": float(target[:, i].mean()),
            "probability": float(predicted[:, i].mean()),
        }
        for i, label in enumerate(labels)
    ]


def _share(part: int, whole: int) -> float | None:
    return float(part / whole) if whole else None


def _curve(risks: np.ndarray) -> list[list[float]]:
    """Pairs of coverage and risk, at most about `CURVE_POINTS` and always the last."""
    count = len(risks)
    places = np.unique(np.ceil(np.linspace(1, count, min(count, CURVE_POINTS))).astype(int))
    return [[float(place / count), float(risks[place - 1])] for place in places]


def _sure(predicted: np.ndarray, right: np.ndarray, rule: dict[str, float | None]) -> dict[str, float | None]:
    given = {name: value for name, value in rule.items() if name != "sure_coverage"}
    sure = sure_pictures(predicted, **given)
    means = [float(right[rows].mean()) if rows.any() else math.nan for rows in (sure, ~sure)]
    of_sure, of_others = (None if math.isnan(mean) else mean for mean in means)
    told = {name: value for name, value in rule.items() if value is not None}
    return {**told, "share": float(sure.mean()), "accuracy": of_sure, "accuracy_of_others": of_others}

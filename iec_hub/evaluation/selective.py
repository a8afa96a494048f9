"""Answers that may be withheld: how wrong the sure ones are, and from which confidence on an answer is sure.

Confidence is the top label's probability ("softmax response"), as in Geifman and El-Yaniv, Selective Classification
for Deep Neural Networks, NeurIPS 2017.
"""

from typing import Any

import numpy as np

from iec_hub.errors import DataError
from iec_hub.evaluation.metrics import checked_pair, correct
from iec_hub.prediction import SURE_CONFIDENCE, SURE_RATIO


def ordered_risks(confidence: np.ndarray, wrong: np.ndarray) -> np.ndarray:
    """Share of wrong answers among the 1, 2, ... N surest pictures: (N,), 0 to 1.

    Pictures of one confidence have no order, so each counts as their mean: what a random order gives on average.
    """
    _, places, counts = np.unique(-confidence, return_inverse=True, return_counts=True)
    means = np.bincount(places.ravel(), weights=wrong) / counts
    return np.cumsum(np.repeat(means, counts)) / np.arange(1, len(wrong) + 1)


def risk_coverage(predicted: Any, target: Any) -> tuple[np.ndarray, np.ndarray]:
    """The risk-coverage curve of El-Yaniv and Wiener (JMLR 2010), from the surest picture to all of them.

    Returns:
        Coverage (N,), the share of pictures that are answered, 1 / N to 1; and risk (N,), the share of wrong answers
        among those, 0 to 1.

    Raises:
        DataError: If the arrays are not distributions that fit.
    """
    wrong = ~correct(predicted, target)
    confidence = np.asarray(predicted, dtype=np.float64).max(axis=1)
    return np.arange(1, len(wrong) + 1) / len(wrong), ordered_risks(confidence, wrong)


def area_under_risk_coverage(predicted: Any, target: Any) -> float:
    """AURC: the mean risk over the N coverages, 0 to 1; lower is better.

    A confidence that says nothing has the error rate over all pictures.

    Source: Geifman, Uziel and El-Yaniv, Bias-Reduced Uncertainty Estimation for Deep Neural Classifiers, ICLR 2019,
    equation 3.
    """
    return float(risk_coverage(predicted, target)[1].mean())


def coverage_threshold(predicted: Any, coverage: float) -> float:
    """The confidence from which on at least this share of the pictures is sure, and as few more as possible.

    It lies halfway to the confidence of the next picture, so that rounding moves no picture across it.

    Args:
        predicted: (N, n) of the validation split.
        coverage: More than 0, at most 1.

    Raises:
        DataError: If the predictions are no distributions or the coverage is no such share.
    """
    if not 0 < coverage <= 1:
        raise DataError(f"A coverage of {coverage} is no share of the pictures; give more than 0 and at most 1.")
    predicted, _ = checked_pair(predicted, predicted)
    confidence = np.sort(predicted.max(axis=1))[::-1]
    last = confidence[int(np.ceil(coverage * len(confidence) - 1e-9)) - 1]
    below = confidence[confidence < last - 1e-9]
    # No top label can have less than its even share.
    return float((last + (below[0] if len(below) else 1 / predicted.shape[1])) / 2)


def sure_pictures(
    predicted: Any,
    sure_threshold: float | None = None,
    sure_confidence: float = SURE_CONFIDENCE,
    sure_ratio: float = SURE_RATIO,
) -> np.ndarray:
    """Which predictions are not :attr:`~iec_hub.prediction.EmotionPrediction.uncertain`: (N,) bool.

    Args:
        predicted: (N, n).
        sure_threshold, sure_confidence, sure_ratio: As in `EmotionPrediction`.
    """
    predicted, _ = checked_pair(predicted, predicted)
    ranked = np.sort(predicted, axis=1)[:, ::-1]
    if ranked.shape[1] == 1:
        return np.ones(len(ranked), dtype=bool)
    if sure_threshold is not None:
        return ranked[:, 0] >= sure_threshold
    return (ranked[:, 0] >= sure_confidence) | (ranked[:, 0] >= sure_ratio * ranked[:, 1])

"""Metrics of predicted distributions against people's votes, in numpy.

Everywhere `predicted` is (N, n): one distribution per picture, rows that sum to 1. `target` is (N, n), votes
or a distribution (rows are normalised), or (N,) with the index of each picture's label.

Several labels can share a picture's most votes. A prediction of any of them is right: people did not
decide between them, so a metric must not.
"""

from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np

from iec_hub.errors import DataError

# Bounds the cost of a label that was predicted to be impossible: -log(1e-12) is 27.6 nats.
_SMALLEST = 1e-12
# Votes normalised in different orders differ by rounding, which must not break a tie.
_TIE = 1e-9


def checked_pair(predicted: Any, target: Any) -> tuple[np.ndarray, np.ndarray]:
    """Both as float64 (N, n) distributions.

    Raises:
        DataError: If they are no distributions that fit.
    """
    predicted = np.asarray(predicted, dtype=np.float64)
    if predicted.ndim != 2 or 0 in predicted.shape:
        raise DataError(f"Predictions of shape {predicted.shape} cannot be scored; give one row per picture.")
    if not np.all(np.isfinite(predicted)) or predicted.min() < 0 or np.abs(predicted.sum(axis=1) - 1).max() > 1e-3:
        raise DataError("Predictions have to be probabilities whose rows sum to 1; apply a softmax to logits.")
    return predicted, checked_targets(target, predicted.shape)


def checked_targets(target: Any, shape: tuple[int, int]) -> np.ndarray:
    """Votes, distributions or label indices as float64 distributions of this shape (N, n).

    Raises:
        DataError: If they do not fit the shape, are negative or not finite, or a picture has no vote.
    """
    target = np.asarray(target)
    if target.ndim == 1 and target.dtype.kind in "iu" and len(target) == shape[0]:
        if target.min(initial=0) < 0 or target.max(initial=0) >= shape[1]:
            raise DataError(f"A label index lies outside 0 to {shape[1] - 1}; the predictions have {shape[1]} labels.")
        return np.eye(shape[1])[target]
    if target.shape != shape:
        raise DataError(f"Targets of shape {target.shape} do not fit predictions of shape {shape}; give one row each.")
    target = target.astype(np.float64)
    totals = target.sum(axis=1, keepdims=True)
    if not np.all(np.isfinite(target)) or target.min() < 0 or totals.min() <= 0:
        raise DataError("Targets have to be finite votes that are not negative, with some vote in every row.")
    return target / totals


def true_and_predicted(predicted: np.ndarray, target: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Label indices (N,), (N,). Of tied targets, the predicted one counts where it is among them."""
    chosen = predicted.argmax(axis=1)
    rows = np.arange(len(target))
    right = target[rows, chosen] >= target.max(axis=1) - _TIE
    return np.where(right, chosen, target.argmax(axis=1)), chosen


def correct(predicted: Any, target: Any) -> np.ndarray:
    """Whether each picture's most probable label has the most votes: (N,) bool.

    Raises:
        DataError: If the arrays are not distributions that fit; so with every metric here.
    """
    true, chosen = true_and_predicted(*checked_pair(predicted, target))
    return true == chosen


def accuracy(predicted: Any, target: Any) -> float:
    """Share of pictures that are `correct`, 0 to 1."""
    return float(correct(predicted, target).mean())


def macro_f1(predicted: Any, target: Any) -> float:
    """Mean over labels of F1 = 2 TP / (2 TP + FP + FN), 0 to 1.

    The mean is over the labels that are true or predicted for some picture, as in scikit-learn.
    """
    return mean_f1(*true_and_predicted(*checked_pair(predicted, target)))


def mean_f1(true: np.ndarray, chosen: np.ndarray) -> float:
    """`macro_f1` of label indices (N,), (N,)."""
    labels = int(max(true.max(), chosen.max())) + 1
    hits = np.bincount(chosen[true == chosen], minlength=labels)
    # TP + FP and TP + FN: how often a label is predicted, and how often true.
    seen = np.bincount(chosen, minlength=labels) + np.bincount(true, minlength=labels)
    return float(np.mean(2 * hits[seen > 0] / seen[seen > 0]))


class ReliabilityBin(NamedTuple):
    """The pictures whose confidence lies in (low, high]; means are NaN where there is none."""

    low: float
    high: float
    count: int
    confidence: float
    accuracy: float


def reliability(predicted: Any, target: Any, bins: int = 15) -> list[ReliabilityBin]:
    """A reliability diagram: mean confidence and accuracy in bins of equal width over 0 to 1."""
    if bins < 1:
        raise DataError(f"{bins} bins cannot hold the pictures; use at least 1.")
    predicted, target = checked_pair(predicted, target)
    confidence, right = predicted.max(axis=1), correct(predicted, target)
    edges = np.linspace(0.0, 1.0, bins + 1)
    # The left side makes a bin (low, high], as in Guo et al. 2017.
    places = np.searchsorted(edges[1:-1], confidence, side="left")
    table = []
    for index in range(bins):
        inside = places == index
        means = (confidence[inside].mean(), right[inside].mean()) if inside.any() else (np.nan, np.nan)
        table.append(
            ReliabilityBin(float(edges[index]), float(edges[index + 1]), int(inside.sum()), *map(float, means))
        )
    return table


def expected_calibration_error(predicted: Any, target: Any, bins: int = 15) -> float:
    """Mean distance of confidence from accuracy, sum over bins of count / N * |accuracy - confidence|, 0 to 1.

    Source: Guo et al., On Calibration of Modern Neural Networks, 2017, equation 3.
    """
    table = [row for row in reliability(predicted, target, bins) if row.count]
    total = sum(row.count for row in table)
    return sum(row.count / total * abs(row.accuracy - row.confidence) for row in table)


def soft_cross_entropy(predicted: Any, target: Any) -> float:
    """Mean over pictures of -sum_i target_i log predicted_i, in nats; a probability of 0 counts as 1e-12."""
    return float(cross_entropies(*checked_pair(predicted, target)).mean())


def cross_entropies(predicted: np.ndarray, target: np.ndarray) -> np.ndarray:
    """`soft_cross_entropy` of each picture (N,), of distributions (N, n) both."""
    return -(target * np.log(np.maximum(predicted, _SMALLEST))).sum(axis=1)


def kl_divergence(predicted: Any, target: Any) -> float:
    """Mean over pictures of KL(target || predicted) = sum_i target_i log(target_i / predicted_i), in nats.

    It is the soft cross-entropy without the entropy of the votes, which no prediction can beat.
    """
    predicted, target = checked_pair(predicted, target)
    return soft_cross_entropy(predicted, target) - float(entropies(target).mean())


def entropies(target: np.ndarray) -> np.ndarray:
    """Entropy of each picture's votes (N,), in nats, of distributions (N, n)."""
    return -(target * np.log(np.where(target > 0, target, 1.0))).sum(axis=1)


def brier(predicted: Any, target: Any) -> float:
    """Mean over pictures of sum_i (predicted_i - target_i)^2, 0 to 2.

    With votes as targets it is the squared distance of the two distributions, so 0 is a perfect prediction of them.

    Source: Brier, Verification of Forecasts Expressed in Terms of Probability, Monthly Weather Review 78, 1950,
    equation 2, with the share of the votes in place of what occurred.
    """
    predicted, target = checked_pair(predicted, target)
    return float(((predicted - target) ** 2).sum(axis=1).mean())


def evaluate_distributions(predicted: Any, target: Any) -> dict[str, float | int]:
    """The metrics that a model card reports.

    Returns:
        accuracy, macro_f1, ece (each 0 to 1), soft_cross_entropy and kl (nats), brier (0 to 2), and n (pictures).
    """
    predicted, target = checked_pair(predicted, target)
    return {
        "accuracy": accuracy(predicted, target),
        "macro_f1": macro_f1(predicted, target),
        "ece": expected_calibration_error(predicted, target),
        "soft_cross_entropy": soft_cross_entropy(predicted, target),
        "kl": kl_divergence(predicted, target),
        "brier": brier(predicted, target),
        "n": len(predicted),
    }


def _average_ranks(values: np.ndarray) -> np.ndarray:
    """Ranks from 0; equal values share the mean of their ranks."""
    _, places, counts = np.unique(values, return_inverse=True, return_counts=True)
    last = np.cumsum(counts) - 1
    return (last - (counts - 1) / 2)[places.ravel()]


def spearman(first: Any, second: Any) -> float:
    """Spearman's rank correlation of two (N,) arrays, -1 to 1: Pearson's of their average ranks.

    NaN where one of them is constant, as it has no order then.

    Raises:
        DataError: If they differ in length, have fewer than 2 values, or a value is NaN.
    """
    first, second = (np.asarray(values, dtype=np.float64) for values in (first, second))
    if first.ndim != 1 or first.shape != second.shape or len(first) < 2:
        raise DataError(
            f"Shapes {first.shape} and {second.shape} have no rank correlation; give two lists of one length."
        )
    if np.isnan(first).any() or np.isnan(second).any():
        raise DataError("A value without a number has no rank; leave out the pictures that have NaN.")
    ranks = [_average_ranks(values) for values in (first, second)]
    first, second = (rank - rank.mean() for rank in ranks)
    scale = np.sqrt((first @ first) * (second @ second))
    return float(np.clip(first @ second / scale, -1.0, 1.0)) if scale > 0 else float("nan")


class Interval(NamedTuple):
    """An estimate and the ends of its confidence interval."""

    estimate: float
    low: float
    high: float


def bootstrap_interval(
    statistic: Callable[..., float], *samples: Any, resamples: int = 2000, level: float = 0.95, seed: int = 0
) -> Interval:
    """Percentile bootstrap of a statistic over pictures (Efron and Tibshirani, 1993, section 13.3).

    Args:
        statistic: Takes the samples, gives a number: `bootstrap_interval(accuracy, predicted, target)`.
            A resample for which it gives NaN is left out.
        samples: Arrays with one row per picture; each resample draws the same pictures from all.
        resamples: How often pictures are drawn, with replacement.
        level: Confidence, between 0 and 1.
        seed: The same seed gives the same interval.

    Raises:
        DataError: If there are no pictures, or the arrays differ in length.
    """
    arrays = [np.asarray(sample) for sample in samples]
    lengths = {array.shape[0] if array.ndim else 0 for array in arrays}
    if len(lengths) != 1 or 0 in lengths:
        raise DataError("A bootstrap needs arrays with the same pictures, and at least one; check their lengths.")
    if resamples < 1 or not 0 < level < 1:
        raise DataError("A bootstrap needs at least 1 resample and a level between 0 and 1.")
    count = lengths.pop()
    random = np.random.default_rng(seed)
    values = np.empty(resamples)
    for index in range(resamples):
        rows = random.integers(count, size=count)
        values[index] = statistic(*(array[rows] for array in arrays))
    values = values[~np.isnan(values)]
    tail = (1 - level) / 2
    low, high = np.quantile(values, [tail, 1 - tail]) if len(values) else (np.nan, np.nan)
    return Interval(float(statistic(*arrays)), float(low), float(high))


def accuracy_difference(
    first: Any, second: Any, target: Any, *, resamples: int = 2000, level: float = 0.95, seed: int = 0
) -> Interval:
    """Accuracy of the first predictor minus that of the second on the same pictures, -1 to 1.

    The bootstrap is paired: it draws pictures, not predictions, so that a picture that is hard for both
    does not widen the interval. An interval without 0 is a difference at that level.

    Args:
        first, second: Predictions (N, n) of the two for the same pictures in the same order.
    """
    difference = correct(first, target).astype(np.float64) - correct(second, target)
    return bootstrap_interval(np.mean, difference, resamples=resamples, level=level, seed=seed)

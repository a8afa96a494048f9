"""Temperature scaling: one number, fitted on validation, that makes confidence mean what it says.

Source: Guo et al., On Calibration of Modern Neural Networks, 2017, section 4.2; here with soft labels.
"""

import math
from typing import Any

import numpy as np

from iec_hub.errors import DataError
from iec_hub.evaluation.metrics import checked_targets

MIN_TEMPERATURE = 0.05
MAX_TEMPERATURE = 20.0
_GOLDEN = (math.sqrt(5) - 1) / 2
_TOLERANCE = 1e-6


def _checked_logits(logits: Any) -> np.ndarray:
    logits = np.asarray(logits, dtype=np.float64)
    if logits.ndim != 2 or 0 in logits.shape:
        raise DataError(f"Logits of shape {logits.shape} cannot be scaled; give one row per picture.")
    # -inf marks a label that is no candidate for a picture; a row needs another one.
    if np.isnan(logits).any() or not np.all(np.isfinite(logits.max(axis=1))):
        raise DataError("Logits hold NaN or infinity; check the model's outputs.")
    return logits - logits.max(axis=1, keepdims=True)


def _log_softmax(shifted: np.ndarray, temperature: float) -> np.ndarray:
    scaled = shifted / temperature
    return scaled - np.log(np.exp(scaled).sum(axis=1, keepdims=True))


def apply_temperature(logits: Any, temperature: float) -> np.ndarray:
    """softmax(logits / temperature).

    Args:
        logits: (N, n); -inf where a label is no candidate.
        temperature: Positive; above 1 is less sure, below 1 surer. The most probable label stays the same.

    Returns:
        (N, n), rows sum to 1.

    Raises:
        DataError: If the logits are no finite scores, or the temperature is not positive.
    """
    if not (temperature > 0 and math.isfinite(temperature)):
        raise DataError(f"A temperature of {temperature} cannot scale logits; give a positive number.")
    return np.exp(_log_softmax(_checked_logits(logits), temperature))


def fit_temperature(logits: Any, targets: Any) -> float:
    """The temperature whose softmax(logits / T) gives the votes their highest likelihood.

    It minimises the mean of -sum_i target_i log softmax(logits / T)_i. That is convex in 1 / T, so it has one
    valley in log T, which golden-section search finds.

    Args:
        logits: (N, n) of the validation split, never of the test split; -inf where a label is no candidate.
        targets: (N, n) votes or distributions, or (N,) label indices.

    Returns:
        Temperature, 0.05 to 20; 1 where no other is better.

    Raises:
        DataError: If the arrays do not fit, or a label with votes has a logit of -inf.
    """
    shifted = _checked_logits(logits)
    targets = checked_targets(targets, shifted.shape)
    voted = targets > 0
    if not np.all(np.isfinite(shifted[voted])):
        raise DataError("A label with votes is no candidate of its picture; check that logits and targets match.")

    def loss(log_temperature: float) -> float:
        return -float(targets[voted] @ _log_softmax(shifted, math.exp(log_temperature))[voted]) / len(targets)

    low, high = math.log(MIN_TEMPERATURE), math.log(MAX_TEMPERATURE)
    left, right = high - _GOLDEN * (high - low), low + _GOLDEN * (high - low)
    left_loss, right_loss = loss(left), loss(right)
    while high - low > _TOLERANCE:
        if left_loss <= right_loss:
            high, right, right_loss = right, left, left_loss
            left = high - _GOLDEN * (high - low)
            left_loss = loss(left)
        else:
            low, left, left_loss = left, right, right_loss
            right = low + _GOLDEN * (high - low)
            right_loss = loss(right)
    # The search never reaches the very ends; and where nothing is gained the logits are left as they are.
    ends = (math.log(MIN_TEMPERATURE), math.log(MAX_TEMPERATURE))
    best = min((0.0, (low + high) / 2, *ends), key=loss)
    return min(max(math.exp(best), MIN_TEMPERATURE), MAX_TEMPERATURE)

"""Calibration, fitted on validation, that makes confidence mean what it says: softmax(logits / T + b).

The temperature T is from Guo et al., On Calibration of Modern Neural Networks, 2017, section 4.2; here with soft
labels. The offsets b, one per label, are from Alexandari et al., Maximum Likelihood with Bias-Corrected Calibration
is Hard-To-Beat at Label Shift Adaptation, ICML 2020, section 3.2, and are used only where they help.
"""

import math
from typing import Any, NamedTuple

import numpy as np

from iec_hub.errors import DataError
from iec_hub.evaluation.metrics import checked_targets

MIN_TEMPERATURE = 0.05
MAX_TEMPERATURE = 20.0
_GOLDEN = (math.sqrt(5) - 1) / 2
_TOLERANCE = 1e-6
# A normal prior of this deviation for 1 / T around 1 and for the offsets, in logits, around 0: a handful of pictures
# that are all right would else call for a confidence of 1. A hundred pictures outweigh it.
DEVIATION = 1.0
FOLDS = 5
REPEATS = 10
_NEWTON_STEPS = 100
_MANY = 20_000


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


def fit_temperature(logits: Any, targets: Any, deviation: float | None = None) -> float:
    """The temperature whose softmax(logits / T) gives the votes their highest likelihood.

    It minimises the mean of -sum_i target_i log softmax(logits / T)_i, plus (1 / T - 1)^2 / (2 N deviation^2) where a
    deviation is given: the most likely T under a normal prior. That is convex in 1 / T, so it has one valley in log T,
    which golden-section search finds.

    Args:
        logits: (N, n) of the validation split, never of the test split; -inf where a label is no candidate.
        targets: (N, n) votes or distributions, or (N,) label indices.
        deviation: Of the prior of 1 / T, positive; without one, the likelihood alone decides.

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

    ridge = 0.0 if deviation is None else 1 / (len(targets) * deviation**2)

    def loss(log_temperature: float) -> float:
        likelihood = float(targets[voted] @ _log_softmax(shifted, math.exp(log_temperature))[voted]) / len(targets)
        return ridge / 2 * (math.exp(-log_temperature) - 1) ** 2 - likelihood

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


def _picture_losses(log_probabilities: np.ndarray, targets: np.ndarray) -> np.ndarray:
    """Soft cross-entropy of each picture (N,), in nats; a label that is no candidate has no votes."""
    return -np.where(targets > 0, targets * np.where(targets > 0, log_probabilities, 0.0), 0.0).sum(axis=1)


class Scaling(NamedTuple):
    """softmax(logits / temperature + offsets)."""

    temperature: float
    offsets: np.ndarray

    def log_probabilities(self, logits: Any) -> np.ndarray:
        """Of logits (N, n); -inf where a label is no candidate."""
        return _log_softmax(_checked_logits(logits) / self.temperature + self.offsets, 1.0)


def _curvature(
    a: float, b: np.ndarray, shifted: np.ndarray, targets: np.ndarray, ridge: float
) -> tuple[np.ndarray, np.ndarray]:
    """Gradient (1 + n,) and Hessian (1 + n, 1 + n) of the penalised loss with respect to (a, b), a = 1 / T."""
    # A label that is no candidate has probability 0, and 0 times -inf would be NaN.
    places = np.where(np.isfinite(shifted), shifted, 0.0)
    p = np.exp(_log_softmax(a * shifted + b, 1.0))
    mean = (p * places).sum(axis=1, keepdims=True)
    spread = p * (places - mean)
    surplus = p - targets
    slope = (surplus * places).sum(axis=1).mean() + ridge * (a - 1)
    gradient = np.concatenate([[slope], surplus.mean(axis=0) + ridge * b])
    hessian = np.empty((len(b) + 1, len(b) + 1))
    hessian[0, 0] = (spread * places).sum(axis=1).mean() + ridge
    hessian[0, 1:] = hessian[1:, 0] = spread.mean(axis=0)
    hessian[1:, 1:] = np.diag(p.mean(axis=0) + ridge) - p.T @ p / len(p)
    return gradient, hessian


def fit_scaling(logits: Any, targets: Any, deviation: float = DEVIATION) -> Scaling:
    """Temperature and one offset per label that give the votes their highest likelihood.

    It minimises the mean of -sum_i target_i log softmax(logits / T + b)_i, plus ((1 / T - 1)^2 + |b|^2) /
    (2 N deviation^2): the most likely ones under normal priors. That is convex in (1 / T, b); Newton's method with
    halved steps finds the minimum.

    Args:
        logits, targets: As in `fit_temperature`.
        deviation: Of the priors, positive.

    Returns:
        The temperature, 0.05 to 20, and the offsets (n,), whose mean is 0.

    Raises:
        DataError: As in `fit_temperature`.
    """
    shifted = _checked_logits(logits)
    targets = checked_targets(targets, shifted.shape)
    start = fit_temperature(logits, targets, deviation)
    ridge = 1 / (len(targets) * deviation**2)

    def loss(a: float, b: np.ndarray) -> float:
        losses = _picture_losses(_log_softmax(a * shifted + b, 1.0), targets)
        return float(losses.mean() + ridge / 2 * ((a - 1) ** 2 + b @ b))

    a, b = 1 / start, np.zeros(shifted.shape[1])
    best = loss(a, b)
    for _ in range(_NEWTON_STEPS):
        gradient, hessian = _curvature(a, b, shifted, targets, ridge)
        # Where the temperature stands at one of its ends and would leave it, the offsets go on alone.
        stuck = (a <= 1 / MAX_TEMPERATURE and gradient[0] > 0) or (a >= 1 / MIN_TEMPERATURE and gradient[0] < 0)
        free = slice(1, None) if stuck else slice(None)
        step = np.zeros_like(gradient)
        step[free] = np.linalg.solve(hessian[free, free], gradient[free])
        size, tried = 1.0, (a, b)
        while size > _TOLERANCE:
            tried = (float(np.clip(a - size * step[0], 1 / MAX_TEMPERATURE, 1 / MIN_TEMPERATURE)), b - size * step[1:])
            if (reached := loss(*tried)) < best:
                break
            size /= 2
        else:
            break
        gained, best, (a, b) = best - reached, reached, tried
        if gained < 1e-12:
            break
    return Scaling(1 / a, b - b.mean())


class Gain(NamedTuple):
    """What offsets take off the soft cross-entropy of unseen pictures, in nats; less than 0 where they add to it."""

    mean: float
    standard_error: float

    @property
    def helps(self) -> bool:
        """Whether the gain is more than its standard error."""
        return self.mean > self.standard_error


def offset_gain(logits: Any, targets: Any, seed: int = 0) -> Gain | None:
    """Whether offsets help beside the temperature: repeated cross-validation over the validation pictures.

    Both are fitted on four fifths of the pictures and compared on the rest, ten times over (fewer times for many
    pictures). The standard error is that of a mean over pictures, each picture's gain being its mean over the repeats.

    Args:
        logits, targets: As in `fit_temperature`.
        seed: Of the folds.

    Returns:
        `None` where the pictures cannot tell: fewer than two per fold, or a label without any votes, whose offset
        would be a guess.
    """
    shifted = _checked_logits(logits)
    targets = checked_targets(targets, shifted.shape)
    count = len(targets)
    if count < 2 * FOLDS or shifted.shape[1] < 2 or not np.all(targets.sum(axis=0) > 0):
        return None
    random = np.random.default_rng(seed)
    repeats = min(REPEATS, max(1, _MANY // count))
    gains = np.zeros(count)
    for _ in range(repeats):
        folds = random.permutation(count) % FOLDS
        for fold in range(FOLDS):
            seen, held_out = folds != fold, folds == fold
            plain = Scaling(fit_temperature(shifted[seen], targets[seen], DEVIATION), np.zeros(shifted.shape[1]))
            scaled = fit_scaling(shifted[seen], targets[seen])
            before, after = (
                _picture_losses(each.log_probabilities(shifted[held_out]), targets[held_out])
                for each in (plain, scaled)
            )
            gains[held_out] += (before - after) / repeats
    return Gain(float(gains.mean()), float(gains.std(ddof=1) / math.sqrt(count)))

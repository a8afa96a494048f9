"""Rare emotions: weights for the loss, or odds for drawing the training pictures."""

import numpy as np
import numpy.typing as npt

from iec_hub.errors import DataError


def class_weights(distributions: npt.ArrayLike, smoothing: float = 1.0) -> np.ndarray:
    """Weights of the classes in a loss: inversely proportional to their frequency.

    `w_c` is proportional to `1 / (n_c + smoothing)`, where `n_c` is the sum of all shares of class c: the weights of
    King and Zeng, Logistic Regression in Rare Events Data (2001), with additive smoothing, so that a class of
    one picture is not trusted with a weight of its own making. With label distributions the loss of an
    example is weighted by `sum_c d_c w_c`, or each term `d_c log p_c` of the cross-entropy by `w_c`.

    Args:
        distributions: Shape (n, labels), rows not negative with sum 1; those of the training split.
        smoothing: Pictures that each class is given for nothing, at least 0.

    Returns:
        Shape (labels,), float64, positive, mean 1. A class without any share has the weight 1 and no influence.

    Raises:
        DataError: If the distributions are none, or the smoothing is negative.
    """
    rows = _checked(distributions)
    if not smoothing >= 0:
        raise DataError(f"The smoothing is {smoothing}; give a number of pictures that is not negative.")
    counts = rows.sum(axis=0)
    present = counts > 0
    weights = np.ones(rows.shape[1])
    inverse = 1 / (counts[present] + smoothing)
    weights[present] = inverse / inverse.mean()
    return weights


def sampling_weights(distributions: npt.ArrayLike, exponent: float = 0.0) -> np.ndarray:
    """Odds of drawing each example, with replacement, so that rare classes are drawn as often as frequent ones.

    A class is drawn in proportion to `n_c ** exponent` (Kang et al., Decoupling Representation and Classifier for
    Long-Tailed Recognition, ICLR 2020, equation 1), and an example of it in proportion to its share of the class:
    example i has `sum_c (d_ic / n_c) n_c ** exponent`, scaled to sum 1. With one label per example every class is
    drawn exactly so; examples with shared votes bring their other classes along.

    Args:
        distributions: Shape (n, labels), rows not negative with sum 1; those of the training split.
        exponent: 0 draws all classes equally often, 0.5 by the square root of their size, 1 every example equally.

    Returns:
        Shape (n,), float64, positive, sums to 1.

    Raises:
        DataError: If the distributions are none, or the exponent is not between 0 and 1.
    """
    rows = _checked(distributions)
    if not 0 <= exponent <= 1:
        raise DataError(f"The exponent is {exponent}; give a number from 0 (balanced) to 1 (as the data are).")
    counts = rows.sum(axis=0)
    present = counts > 0
    weights = rows[:, present] @ counts[present] ** (exponent - 1)
    return weights / weights.sum()


def _checked(distributions: npt.ArrayLike) -> np.ndarray:
    rows = np.asarray(distributions, dtype=np.float64)
    if rows.ndim != 2 or 0 in rows.shape:
        raise DataError(f"Label distributions of shape {rows.shape} cannot be balanced; give (examples, labels).")
    # Tensors of single precision sum to 1 only so exactly.
    if not (np.all(rows >= 0) and np.allclose(rows.sum(axis=1), 1, atol=1e-4)):
        raise DataError("Label distributions have to be not negative and sum to 1; divide the votes by their sum.")
    return rows

"""Risk and coverage, the threshold of a stated coverage, and the rule of `uncertain` on arrays."""

import numpy as np
import pytest

from iec_hub.errors import DataError
from iec_hub.evaluation import (
    accuracy,
    apply_temperature,
    area_under_risk_coverage,
    coverage_threshold,
    risk_coverage,
    sure_pictures,
)
from iec_hub.prediction import EmotionPrediction


@pytest.fixture
def predicted() -> np.ndarray:
    return apply_temperature(2 * np.random.default_rng(5).normal(size=(300, 4)), 1.0)


def test_the_curve_counts_the_wrong_among_the_surest():
    predicted = [[0.9, 0.1], [0.4, 0.6], [0.8, 0.2], [0.45, 0.55]]
    coverage, risk = risk_coverage(predicted, [0, 0, 0, 1])  # by confidence: right, right, wrong, right
    np.testing.assert_allclose(coverage, [0.25, 0.5, 0.75, 1])
    np.testing.assert_allclose(risk, [0, 0, 1 / 3, 1 / 4])
    assert area_under_risk_coverage(predicted, [0, 0, 0, 1]) == pytest.approx((1 / 3 + 1 / 4) / 4)


def test_ties_count_as_a_random_order():
    predicted = np.array([[0.9, 0.1], [0.9, 0.1], [0.9, 0.1], [0.6, 0.4]])
    for order in ([0, 1, 2, 3], [1, 2, 0, 3], [2, 0, 1, 3]):
        target = np.array([1, 0, 0, 0])[order]
        _, risk = risk_coverage(predicted, target)
        np.testing.assert_allclose(risk, [1 / 3, 1 / 3, 1 / 3, 1 / 4])


def test_a_confidence_that_says_nothing_has_the_error_rate(predicted):
    same = np.full((300, 4), 0.1) + 0.6 * np.eye(4)[predicted.argmax(axis=1)]
    target = np.random.default_rng(1).integers(4, size=300)
    assert area_under_risk_coverage(same, target) == pytest.approx(1 - accuracy(same, target))


def test_a_telling_confidence_has_less(predicted):
    random = np.random.default_rng(2)
    target = (random.random(300)[:, None] > predicted.cumsum(axis=1)).sum(axis=1)
    assert area_under_risk_coverage(predicted, target) < 0.8 * (1 - accuracy(predicted, target))
    assert risk_coverage(predicted, target)[1][-1] == pytest.approx(1 - accuracy(predicted, target))


@pytest.mark.parametrize("coverage", [1 / 300, 0.1, 0.5, 0.7, 0.9, 1.0])
def test_the_threshold_calls_the_stated_share_sure(predicted, coverage):
    threshold = coverage_threshold(predicted, coverage)
    assert sure_pictures(predicted, threshold).mean() == pytest.approx(coverage, abs=1e-9)
    # Rounding moves no picture across.
    rounded = predicted.astype(np.float32)
    assert (sure_pictures(rounded, threshold) == sure_pictures(predicted, threshold)).all()


def test_pictures_of_one_confidence_are_sure_together():
    predicted = np.array([[0.8, 0.2]] * 3 + [[0.6, 0.4]])
    for coverage in (0.1, 0.5, 0.75):
        assert sure_pictures(predicted, coverage_threshold(predicted, coverage)).tolist() == [True] * 3 + [False]
    assert sure_pictures(predicted, coverage_threshold(predicted, 1.0)).all()
    flat = np.full((2, 4), 0.25)
    assert sure_pictures(flat, coverage_threshold(flat, 0.5)).all()


@pytest.mark.parametrize("coverage", [0, -0.1, 1.01, float("nan")])
def test_no_share_is_refused(predicted, coverage):
    with pytest.raises(DataError, match="share of the pictures"):
        coverage_threshold(predicted, coverage)


@pytest.mark.parametrize("rule", [{}, {"sure_threshold": 0.45}, {"sure_confidence": 0.7, "sure_ratio": 1.2}])
def test_the_rule_is_that_of_a_prediction(predicted, rule):
    labels = ("anger", "awe", "fear", "joy")
    one_by_one = [
        not EmotionPrediction("own", labels, tuple(row), "ugrie", **rule).uncertain for row in predicted.tolist()
    ]
    assert sure_pictures(predicted, **rule).tolist() == one_by_one
    assert 0 < np.mean(one_by_one) < 1

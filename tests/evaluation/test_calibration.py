import numpy as np
import pytest

from iec_hub.errors import DataError
from iec_hub.evaluation import (
    apply_temperature,
    expected_calibration_error,
    fit_scaling,
    fit_temperature,
    offset_gain,
    soft_cross_entropy,
)


def drawn(scale: float, count: int = 3000, labels: int = 6) -> tuple[np.ndarray, np.ndarray]:
    """Logits that are `scale` times too large for the labels that are drawn from them."""
    random = np.random.default_rng(0)
    logits = random.normal(scale=1.5, size=(count, labels))
    draws = random.random(count)[:, None] > apply_temperature(logits, 1.0).cumsum(axis=1)
    return logits * scale, draws.sum(axis=1).clip(max=labels - 1)


@pytest.mark.parametrize("scale", [0.3, 1.0, 4.0])
def test_the_temperature_of_the_data_is_found(scale):
    logits, labels = drawn(scale)
    temperature = fit_temperature(logits, labels)
    assert temperature == pytest.approx(scale, rel=0.08)
    before = expected_calibration_error(apply_temperature(logits, 1.0), labels)
    after = expected_calibration_error(apply_temperature(logits, temperature), labels)
    assert after < 0.03 and after <= before + 0.005


def test_soft_targets_are_fitted_exactly():
    logits, _ = drawn(1.0, count=50)
    assert fit_temperature(logits * 2.5, apply_temperature(logits, 1.0)) == pytest.approx(2.5, rel=1e-4)


def test_it_is_the_minimum_that_scipy_finds():
    optimize = pytest.importorskip("scipy.optimize")
    logits, _ = drawn(3.0, count=200)
    votes = np.random.default_rng(1).multinomial(5, np.full(6, 1 / 6), size=200) + np.round(logits.clip(min=0))

    def loss(log_temperature: float) -> float:
        return soft_cross_entropy(apply_temperature(logits, np.exp(log_temperature)), votes)

    expected = optimize.minimize_scalar(loss, bounds=(np.log(0.05), np.log(20)), method="bounded")
    assert fit_temperature(logits, votes) == pytest.approx(np.exp(expected.x), rel=1e-3)


def test_the_temperature_is_bounded():
    logits, _ = drawn(1.0, count=40)
    assert fit_temperature(logits, logits.argmax(axis=1)) == pytest.approx(0.05)
    assert fit_temperature(logits, logits.argmin(axis=1)) == pytest.approx(20)
    assert fit_temperature(logits * 1e6, logits.argmin(axis=1)) == pytest.approx(20)


def test_logits_that_say_nothing_are_left_alone():
    assert fit_temperature(np.zeros((5, 3)), [0, 1, 2, 0, 1]) == 1.0


def test_labels_that_are_no_candidates_do_not_count():
    logits, labels = drawn(2.0, count=400)
    wider = np.concatenate([logits, np.full((400, 2), -np.inf)], axis=1)
    assert fit_temperature(wider, labels) == pytest.approx(fit_temperature(logits, labels))
    assert apply_temperature(wider, 2.0)[:, 6:].max() == 0


def test_a_constant_added_to_a_row_changes_nothing():
    logits, labels = drawn(2.0, count=100)
    moved = logits + np.linspace(-1e4, 1e4, 100)[:, None]
    assert fit_temperature(moved, labels) == pytest.approx(fit_temperature(logits, labels), rel=1e-5)


def test_scaling_keeps_the_order_and_the_sum():
    logits, _ = drawn(1.0, count=20)
    for temperature in (0.05, 1.0, 20.0):
        scaled = apply_temperature(logits, temperature)
        np.testing.assert_allclose(scaled.sum(axis=1), 1)
        assert (scaled.argmax(axis=1) == logits.argmax(axis=1)).all()


@pytest.mark.parametrize(
    ("logits", "targets", "reason"),
    [
        (np.zeros((0, 3)), np.zeros((0, 3)), "one row per picture"),
        (np.zeros(3), np.zeros(3), "one row per picture"),
        (np.array([[np.nan, 1]]), [0], "NaN"),
        (np.array([[np.inf, 1]]), [0], "infinity"),
        (np.full((1, 2), -np.inf), [0], "infinity"),
        (np.array([[-np.inf, 1]]), [0], "no candidate"),
        (np.zeros((2, 3)), np.zeros((2, 3)), "some vote"),
        (np.zeros((2, 3)), np.zeros((3, 2)), "do not fit"),
    ],
)
def test_what_cannot_be_fitted_is_refused(logits, targets, reason):
    with pytest.raises(DataError, match=reason):
        fit_temperature(logits, targets)


@pytest.mark.parametrize("temperature", [0, -1, float("nan"), float("inf")])
def test_a_temperature_that_cannot_scale_is_refused(temperature):
    with pytest.raises(DataError, match="positive"):
        apply_temperature(np.zeros((1, 2)), temperature)


def test_a_prior_keeps_a_handful_of_pictures_from_extremes():
    logits, _ = drawn(1.0, count=6)
    labels = logits.argmax(axis=1)
    assert fit_temperature(logits, labels) == pytest.approx(0.05)
    assert 0.2 < fit_temperature(logits, labels, deviation=1.0) < 1
    many = drawn(2.5, count=1000)
    assert fit_temperature(*many, deviation=1.0) == pytest.approx(fit_temperature(*many), rel=0.01)


OFFSETS = np.linspace(-1, 1, 6)


def drawn_with_offsets(count: int, offsets: np.ndarray, temperature: float = 1.7) -> tuple[np.ndarray, np.ndarray]:
    """Logits, and a label for each row drawn from softmax(logits / temperature + offsets)."""
    random = np.random.default_rng(3)
    logits = 2 * random.normal(size=(count, len(offsets)))
    chances = apply_temperature(logits / temperature + offsets, 1.0)
    return logits, (random.random(count)[:, None] > chances.cumsum(axis=1)).sum(axis=1)


def test_the_temperature_and_offsets_of_the_data_are_found():
    temperature, offsets = fit_scaling(*drawn_with_offsets(4000, OFFSETS))
    assert temperature == pytest.approx(1.7, rel=0.08)
    np.testing.assert_allclose(offsets, OFFSETS, atol=0.15)
    assert offsets.mean() == pytest.approx(0, abs=1e-12)


def test_offsets_minimise_the_penalised_loss():
    optimize = pytest.importorskip("scipy.optimize")
    logits, labels = drawn_with_offsets(120, OFFSETS)
    votes = 0.7 * np.eye(6)[labels] + 0.3 * np.eye(6)[(labels + 1) % 6]

    def loss(values: np.ndarray) -> float:
        penalty = ((values[0] - 1) ** 2 + values[1:] @ values[1:]) / (2 * len(votes))
        return soft_cross_entropy(apply_temperature(values[0] * logits + values[1:], 1.0), votes) + penalty

    expected = optimize.minimize(loss, np.array([1.0, *np.zeros(6)]), tol=1e-10)
    scaling = fit_scaling(logits, votes)
    assert scaling.temperature == pytest.approx(1 / expected.x[0], rel=1e-3)
    np.testing.assert_allclose(scaling.offsets, expected.x[1:] - expected.x[1:].mean(), atol=1e-3)


def test_offsets_are_kept_where_they_help_unseen_pictures_and_only_there():
    helping = offset_gain(*drawn_with_offsets(300, OFFSETS))
    useless = offset_gain(*drawn_with_offsets(300, np.zeros(6)))
    assert helping.helps and helping.mean > 0.05
    assert not useless.helps
    assert offset_gain(*drawn_with_offsets(300, OFFSETS)) == helping, "the folds are the same every time"


def test_too_little_data_says_nothing_about_offsets():
    logits, labels = drawn_with_offsets(60, OFFSETS)
    assert offset_gain(logits[:2], labels[:2]) is None
    assert offset_gain(logits, np.zeros(60, dtype=int)) is None, "one class"
    unseen = np.where(labels == 5, 0, labels)
    assert offset_gain(logits, unseen) is None, "a label without votes"


@pytest.mark.parametrize("count", [1, 2, 40])
def test_offsets_stay_finite_on_one_class_and_few_pictures(count):
    logits, _ = drawn_with_offsets(count, OFFSETS)
    temperature, offsets = fit_scaling(logits, np.zeros(count, dtype=int))
    assert np.isfinite(offsets).all() and 0.05 <= temperature <= 20
    assert np.abs(offsets).max() < 5 and offsets.argmax() == 0


def test_a_label_that_is_no_candidate_changes_no_offset_of_the_others():
    logits, labels = drawn_with_offsets(200, OFFSETS)
    wider = np.hstack([logits, np.full((200, 1), -np.inf)])
    narrow, wide = fit_scaling(logits, labels), fit_scaling(wider, labels)
    assert wide.temperature == pytest.approx(narrow.temperature, rel=1e-4)
    np.testing.assert_allclose(wide.offsets[:6] - wide.offsets[:6].mean(), narrow.offsets, atol=1e-4)
    assert np.exp(wide.log_probabilities(wider))[:, 6].max() == 0

import numpy as np
import pytest

from iec_hub.errors import DataError
from iec_hub.evaluation import apply_temperature, expected_calibration_error, fit_temperature, soft_cross_entropy


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

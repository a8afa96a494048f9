import numpy as np
import pytest
import torch

from iec_hub.data import class_weights, sampling_weights
from iec_hub.errors import DataError

ONE_HOT = np.eye(3)[[0] * 90 + [1] * 9 + [2]]


def test_rare_classes_weigh_more_in_inverse_proportion():
    weights = class_weights(ONE_HOT, smoothing=0)
    assert weights.mean() == pytest.approx(1)
    np.testing.assert_allclose(weights * [90, 9, 1], weights[2])
    smoothed = class_weights(ONE_HOT)
    assert smoothed.mean() == pytest.approx(1)
    np.testing.assert_allclose(smoothed * [91, 10, 2], smoothed[2] * 2)
    assert smoothed[2] / smoothed[0] < weights[2] / weights[0]


def test_classes_of_one_size_weigh_the_same_and_an_absent_one_has_no_influence():
    np.testing.assert_allclose(class_weights(np.eye(4)), 1)
    rows = np.hstack([ONE_HOT, np.zeros((100, 1))])
    weights = class_weights(rows)
    np.testing.assert_allclose(weights[:3], class_weights(ONE_HOT))
    assert weights[3] == 1


def test_votes_count_by_their_shares_also_as_tensors():
    votes = torch.tensor([[0.5, 0.5], [1.0, 0.0], [0.75, 0.25]])
    np.testing.assert_allclose(class_weights(votes, smoothing=0), [0.5, 1.5], rtol=1e-6)


@pytest.mark.parametrize(("exponent", "expected"), [(0, [1, 1, 1]), (0.5, [90**0.5, 3, 1]), (1, [90, 9, 1])])
def test_classes_are_drawn_as_the_exponent_says(exponent, expected):
    odds = sampling_weights(ONE_HOT, exponent)
    assert odds.sum() == pytest.approx(1) and odds.shape == (100,)
    np.testing.assert_allclose(odds @ ONE_HOT, np.array(expected) / sum(expected))


def test_drawing_by_the_odds_balances_soft_labels_too():
    rng = np.random.default_rng(0)
    rows = rng.dirichlet([3, 1, 0.2], size=500)
    before, after = rows.mean(axis=0), sampling_weights(rows) @ rows
    assert after.max() / after.min() < before.max() / before.min()
    drawn = rng.choice(500, size=4000, p=sampling_weights(rows))
    np.testing.assert_allclose(rows[drawn].mean(axis=0), after, atol=0.03)


@pytest.mark.parametrize("wrong", [np.zeros((0, 3)), [0.5, 0.5], [[0.5, 0.6]], [[-0.5, 1.5]], [[float("nan"), 1]]])
def test_what_is_no_distribution_is_one_sentence(wrong):
    for function in (class_weights, sampling_weights):
        with pytest.raises(DataError) as error:
            function(wrong)
        assert "\n" not in str(error.value)


def test_impossible_settings_are_one_sentence():
    with pytest.raises(DataError, match="smoothing"):
        class_weights(ONE_HOT, smoothing=-1)
    with pytest.raises(DataError, match="exponent"):
        sampling_weights(ONE_HOT, exponent=2)

import subprocess
import sys

import numpy as np
import pytest

from iec_hub.errors import DataError
from iec_hub.evaluation import (
    accuracy,
    accuracy_difference,
    bootstrap_interval,
    brier,
    correct,
    evaluate_distributions,
    expected_calibration_error,
    kl_divergence,
    macro_f1,
    reliability,
    soft_cross_entropy,
    spearman,
)

METRICS = (accuracy, macro_f1, expected_calibration_error, soft_cross_entropy, kl_divergence, brier)


@pytest.fixture
def predicted() -> np.ndarray:
    return np.random.default_rng(0).dirichlet(np.full(8, 0.5), size=300)


@pytest.fixture
def labels(predicted) -> np.ndarray:
    random = np.random.default_rng(1)
    return np.where(random.random(300) < 0.5, predicted.argmax(axis=1), random.integers(8, size=300))


@pytest.fixture
def votes() -> np.ndarray:
    return np.random.default_rng(2).multinomial(10, np.full(8, 1 / 8), size=300)


def test_the_package_imports_neither_torch_nor_scipy():
    code = "import sys, iec_hub.evaluation; sys.exit(bool({'torch', 'scipy', 'sklearn'} & set(sys.modules)))"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0


def test_hard_labels_agree_with_scikit_learn(predicted, labels):
    sklearn = pytest.importorskip("sklearn.metrics")
    chosen = predicted.argmax(axis=1)
    assert accuracy(predicted, labels) == pytest.approx(sklearn.accuracy_score(labels, chosen))
    assert macro_f1(predicted, labels) == pytest.approx(sklearn.f1_score(labels, chosen, average="macro"))
    assert soft_cross_entropy(predicted, labels) == pytest.approx(sklearn.log_loss(labels, predicted))
    binary = np.stack([predicted[:, 0], 1 - predicted[:, 0]], axis=1)
    expected = 2 * sklearn.brier_score_loss(labels == 0, predicted[:, 0])
    assert brier(binary, (labels != 0).astype(int)) == pytest.approx(expected)


def test_macro_f1_ignores_labels_that_never_occur():
    sklearn = pytest.importorskip("sklearn.metrics")
    chosen, true = np.array([0, 0, 2, 2, 1]), np.array([0, 2, 2, 2, 0])
    expected = sklearn.f1_score(true, chosen, average="macro")
    assert macro_f1(np.eye(6)[chosen], true) == pytest.approx(expected)


def test_label_indices_one_hot_and_votes_are_one_path(predicted, labels):
    for metric in METRICS:
        assert (
            metric(predicted, labels)
            == metric(predicted, np.eye(8)[labels])
            == metric(predicted, 7 * np.eye(8)[labels])
        )


def test_a_perfect_prediction(votes):
    target = votes / votes.sum(axis=1, keepdims=True)
    assert accuracy(target, votes) == macro_f1(target, votes) == 1.0
    assert kl_divergence(target, votes) == pytest.approx(0, abs=1e-12)
    assert brier(target, votes) == 0
    assert soft_cross_entropy(target, votes) > 0, "the votes have an entropy of their own"


def test_any_of_the_tied_labels_is_right():
    votes = np.array([[3, 3, 0], [3, 3, 0], [3, 3, 0]])
    predicted = np.array([[0.6, 0.3, 0.1], [0.3, 0.6, 0.1], [0.1, 0.3, 0.6]])
    assert correct(predicted, votes).tolist() == [True, True, False]
    assert accuracy(predicted, votes) == pytest.approx(2 / 3)
    # Label 0: once true and predicted, once true and missed. Label 1: right. Label 2: predicted, never true.
    assert macro_f1(predicted, votes) == pytest.approx((2 / 3 + 1 + 0) / 3)


def test_rounding_does_not_break_a_tie():
    assert 0.1 + 0.2 > 0.3, "the first label's votes are a rounding error ahead"
    assert accuracy(np.array([[0.1, 0.2, 0.7]]), np.array([[0.1 + 0.2, 0.3, 0.3]])) == 1


def test_soft_cross_entropy_and_kl_by_hand():
    predicted, target = np.array([[0.25, 0.75], [1.0, 0.0]]), np.array([[0.5, 0.5], [1.0, 0.0]])
    expected = -(0.5 * np.log(0.25) + 0.5 * np.log(0.75)) / 2
    assert soft_cross_entropy(predicted, target) == pytest.approx(expected)
    assert kl_divergence(predicted, target) == pytest.approx(expected - np.log(2) / 2)
    assert np.isfinite(soft_cross_entropy(np.array([[1.0, 0.0]]), [1]))


def test_expected_calibration_error_agrees_with_its_definition(predicted, votes):
    confidence, right = predicted.max(axis=1), correct(predicted, votes)
    expected = 0.0
    for low in np.arange(10) / 10:
        inside = (confidence > low) & (confidence <= low + 0.1)
        if inside.any():
            expected += inside.mean() * abs(right[inside].mean() - confidence[inside].mean())
    assert expected_calibration_error(predicted, votes, bins=10) == pytest.approx(expected)


def test_expected_calibration_error_at_its_ends():
    sure = np.array([[1.0, 0.0]] * 4)
    assert expected_calibration_error(sure, [0, 0, 0, 0]) == 0
    assert expected_calibration_error(sure, [1, 1, 1, 1]) == 1
    assert expected_calibration_error(np.array([[0.75, 0.25]] * 4), [0, 0, 0, 1]) == pytest.approx(0)


def test_reliability_bins_hold_every_picture(predicted, votes):
    table = reliability(predicted, votes, bins=7)
    assert sum(row.count for row in table) == 300
    assert (table[0].low, table[-1].high) == (0.0, 1.0)
    for row in table:
        assert row.count == 0 or row.low < row.confidence <= row.high


def test_evaluate_distributions(predicted, votes):
    report = evaluate_distributions(predicted, votes)
    assert list(report) == ["accuracy", "macro_f1", "ece", "soft_cross_entropy", "kl", "brier", "n"]
    assert report["n"] == 300
    assert report["accuracy"] == accuracy(predicted, votes)
    assert report["ece"] == expected_calibration_error(predicted, votes)
    assert all(type(value) in (int, float) for value in report.values()), "it has to go into JSON"


@pytest.mark.parametrize("metric", [*METRICS, evaluate_distributions, correct])
@pytest.mark.parametrize(
    ("predicted", "target", "reason"),
    [
        (np.zeros((0, 3)), np.zeros((0, 3)), "one row per picture"),
        (np.array([0.5, 0.5]), np.array([1, 0]), "one row per picture"),
        (np.array([[2.0, 3.0]]), np.array([[1, 0]]), "softmax"),
        (np.array([[np.nan, 1.0]]), np.array([[1, 0]]), "softmax"),
        (np.array([[-0.5, 1.5]]), np.array([[1, 0]]), "softmax"),
        (np.array([[0.5, 0.5]]), np.array([[1, 0, 0]]), "do not fit"),
        (np.array([[0.5, 0.5]]), np.array([[0, 0]]), "some vote"),
        (np.array([[0.5, 0.5]]), np.array([[-1, 2]]), "not negative"),
        (np.array([[0.5, 0.5]]), np.array([[np.nan, 1]]), "finite"),
        (np.array([[0.5, 0.5]]), np.array([2]), "label index"),
        (np.array([[0.5, 0.5]]), np.array([-1]), "label index"),
    ],
)
def test_what_cannot_be_scored_is_refused(metric, predicted, target, reason):
    with pytest.raises(DataError, match=reason):
        metric(predicted, target)


@pytest.mark.parametrize("ties", [False, True])
def test_spearman_agrees_with_scipy(ties):
    scipy = pytest.importorskip("scipy.stats")
    random = np.random.default_rng(0)
    first = random.integers(5, size=80) if ties else random.normal(size=80)
    second = first + random.integers(4, size=80)
    assert spearman(first, second) == pytest.approx(scipy.spearmanr(first, second).statistic)


def test_spearman_at_its_ends():
    values = np.array([3.0, 1.0, 2.0, 10.0])
    assert spearman(values, np.exp(values)) == 1
    assert spearman(values, -values) == -1
    assert np.isnan(spearman(values, np.ones(4)))
    for first, second in (([1, 2], [1, 2, 3]), ([1], [1]), ([1, np.nan], [1, 2])):
        with pytest.raises(DataError):
            spearman(first, second)


def test_bootstrap_interval_is_seeded_and_covers_the_normal_interval():
    values = np.random.default_rng(0).normal(size=400)
    interval = bootstrap_interval(np.mean, values)
    assert interval == bootstrap_interval(np.mean, values)
    assert interval != bootstrap_interval(np.mean, values, seed=1)
    error = values.std() / 20
    assert interval.estimate == values.mean()
    assert interval.low == pytest.approx(values.mean() - 1.96 * error, abs=0.2 * error)
    assert interval.high == pytest.approx(values.mean() + 1.96 * error, abs=0.2 * error)
    narrow = bootstrap_interval(np.mean, values, level=0.5)
    assert interval.low < narrow.low < narrow.high < interval.high


def test_bootstrap_interval_draws_the_same_pictures_from_every_array(predicted, labels):
    interval = bootstrap_interval(accuracy, predicted, labels, resamples=200)
    assert interval.low < interval.estimate == accuracy(predicted, labels) < interval.high
    same = bootstrap_interval(spearman, np.arange(30), np.arange(30), resamples=50)
    assert same == (1, 1, 1)


def test_bootstrap_leaves_out_resamples_without_a_value():
    interval = bootstrap_interval(spearman, [0, 1, 0, 1], [0, 1, 0, 1], resamples=200)
    assert interval == (1, 1, 1)


@pytest.mark.parametrize("samples", [(), ([],), ([1, 2], [1]), (3,)])
def test_bootstrap_needs_pictures(samples):
    with pytest.raises(DataError, match="same pictures"):
        bootstrap_interval(lambda *arrays: 0.0, *samples)


def test_accuracy_difference_is_paired(predicted, labels):
    same = accuracy_difference(predicted, predicted, labels)
    assert same == (0, 0, 0), "no picture tells a predictor from itself"
    better = np.eye(8)[labels]
    found = accuracy_difference(better, predicted, labels)
    assert found.estimate == pytest.approx(1 - accuracy(predicted, labels))
    assert 0 < found.low < found.estimate < found.high
    turned = accuracy_difference(predicted, better, labels)
    assert turned.estimate == -found.estimate and turned.high < 0


def test_a_paired_interval_is_narrower_than_that_of_an_accuracy(predicted, labels):
    other = predicted.copy()
    other[:15] = other[:15, ::-1]
    paired = accuracy_difference(predicted, other, labels)
    plain = bootstrap_interval(accuracy, predicted, labels, resamples=300)
    assert paired.high - paired.low < plain.high - plain.low

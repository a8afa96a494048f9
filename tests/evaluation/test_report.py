"""The report behind a model card: what it says agrees with the metrics and with scikit-learn."""

import json

import numpy as np
import pytest
from sklearn.metrics import confusion_matrix, precision_recall_fscore_support

from iec_hub.errors import DataError
from iec_hub.evaluation import (
    apply_temperature,
    area_under_risk_coverage,
    bootstrap_interval,
    distribution_report,
    evaluate_distributions,
    macro_f1,
    sure_pictures,
)

LABELS = ("anger", "awe", "fear", "joy", "neutral")


@pytest.fixture(scope="module")
def drawn() -> tuple[np.ndarray, np.ndarray]:
    random = np.random.default_rng(0)
    predicted = apply_temperature(2 * random.normal(size=(200, 5)), 1.0)
    return predicted, (random.random(200)[:, None] > predicted.cumsum(axis=1)).sum(axis=1)


@pytest.fixture(scope="module")
def report(drawn: tuple[np.ndarray, np.ndarray]) -> dict:
    return distribution_report(*drawn, LABELS)


def test_it_has_the_plain_metrics_and_goes_into_json(drawn, report):
    assert {key: report[key] for key in evaluate_distributions(*drawn)} == evaluate_distributions(*drawn)
    assert report["aurc"] == pytest.approx(area_under_risk_coverage(*drawn))
    assert json.loads(json.dumps(report, allow_nan=False)) == report


def test_confusion_and_classes_are_scikit_learns(drawn, report):
    predicted, target = drawn
    chosen = predicted.argmax(axis=1)
    assert report["confusion"] == confusion_matrix(target, chosen, labels=range(5)).tolist()
    columns = precision_recall_fscore_support(target, chosen, labels=range(5))
    for name, values in zip(("precision", "recall", "f1", "support"), columns, strict=True):
        assert [row[name] for row in report["per_class"]] == pytest.approx(values.tolist())


def test_intervals_hold_the_estimates_and_repeat(drawn, report):
    again = distribution_report(*drawn, LABELS)
    assert again == report
    assert set(report["intervals"]) == {"accuracy", "macro_f1", "soft_cross_entropy", "kl", "brier", "aurc"}
    for name, (low, high) in report["intervals"].items():
        assert low < report[name] < high
    assert report["intervals"]["macro_f1"] == list(bootstrap_interval(macro_f1, *drawn))[1:]


def test_bins_and_curve_cover_every_picture(report):
    assert sum(row["count"] for row in report["reliability"]) == 200
    assert report["risk_coverage"][-1] == pytest.approx([1.0, 1 - report["accuracy"]])
    assert len(report["risk_coverage"]) <= 101


def test_the_sure_ones_are_counted_by_the_rule_that_holds(drawn):
    predicted, target = drawn
    for rule in ({}, {"sure_threshold": 0.6, "sure_coverage": 0.5, "sure_confidence": 0.5, "sure_ratio": 2.0}):
        told = distribution_report(predicted, target, LABELS, rule)["sure"]
        sure = sure_pictures(predicted, rule.get("sure_threshold"))
        right = predicted.argmax(axis=1) == target
        assert told["share"] == pytest.approx(sure.mean())
        assert told["accuracy"] == pytest.approx(right[sure].mean())
        assert told["accuracy_of_others"] == pytest.approx(right[~sure].mean())
        assert {name: told[name] for name in rule} == rule


@pytest.mark.parametrize("count", [1, 2])
def test_one_class_and_hardly_a_picture(count):
    predicted = np.array([[0.7, 0.3], [0.4, 0.6]])[:count]
    report = distribution_report(predicted, np.zeros(count, dtype=int), ["calm", "tense"])
    assert report["per_class"][1]["recall"] is None and report["per_class"][0]["support"] == count
    assert json.dumps(report, allow_nan=False)


def test_labels_that_do_not_fit_are_refused(drawn):
    with pytest.raises(DataError, match="4 labels do not fit predictions of 5"):
        distribution_report(*drawn, LABELS[:4])

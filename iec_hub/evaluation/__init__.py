"""How good predicted emotion distributions are, and how far that can be trusted."""

from iec_hub.evaluation.calibration import DEVIATION, apply_temperature, fit_scaling, fit_temperature, offset_gain
from iec_hub.evaluation.metrics import (
    Interval,
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
from iec_hub.evaluation.report import distribution_report
from iec_hub.evaluation.selective import (
    area_under_risk_coverage,
    coverage_threshold,
    risk_coverage,
    sure_pictures,
)

__all__ = [
    "DEVIATION",
    "Interval",
    "accuracy",
    "accuracy_difference",
    "apply_temperature",
    "area_under_risk_coverage",
    "bootstrap_interval",
    "brier",
    "correct",
    "coverage_threshold",
    "distribution_report",
    "evaluate_distributions",
    "expected_calibration_error",
    "fit_scaling",
    "fit_temperature",
    "kl_divergence",
    "macro_f1",
    "offset_gain",
    "reliability",
    "risk_coverage",
    "soft_cross_entropy",
    "spearman",
    "sure_pictures",
]

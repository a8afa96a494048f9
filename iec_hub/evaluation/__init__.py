"""How good predicted emotion distributions are, and how far that can be trusted."""

from iec_hub.evaluation.calibration import apply_temperature, fit_temperature
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

__all__ = [
    "Interval",
    "accuracy",
    "accuracy_difference",
    "apply_temperature",
    "bootstrap_interval",
    "brier",
    "correct",
    "evaluate_distributions",
    "expected_calibration_error",
    "fit_temperature",
    "kl_divergence",
    "macro_f1",
    "reliability",
    "soft_cross_entropy",
    "spearman",
]

"""The measured part of a model card: results with intervals, labels one by one, pictures, calibration."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from iec_hub.finetuning.model_card_texts import METRICS_EXPLAINED, code, escaped, figure, percent, table
from iec_hub.finetuning.pictures import FOLDER, picture_names, shown_split
from iec_hub.models.configuration_image_emotion import ImageEmotionConfig

_METRICS = {
    "accuracy": "accuracy",
    "macro_f1": "macro F1",
    "soft_cross_entropy": "soft cross-entropy",
    "kl": "KL",
    "brier": "Brier",
    "ece": "ECE",
    "aurc": "AURC",
}
_SPLITS = ("test", "validation")
# A confusion matrix with more labels is no table that anybody reads.
_MOST_COLUMNS = 12


def results(folder: Path, log: Mapping[str, Any], best_epoch: bool | None, pictures: str) -> str:
    """What was measured, as the parts of a section.

    Args:
        folder: whose folder of pictures is looked into.
        log: what `metrics.json` holds.
        best_epoch: whether validation chose the epoch; `None` where that is not known.
        pictures: the pictures' folder as links name it.
    """
    measured = {split: log[split] for split in _SPLITS if log.get(split)}
    if not measured:
        return "Nothing was measured."
    chosen = {True: "The best epoch was chosen on validation", False: "The last epoch is kept"}.get(best_epoch)
    fitted = "calibration was fitted on validation, so its figures flatter. Test data chose nothing in this run."
    parts = [f"{chosen}; {fitted}" if chosen else fitted[:1].upper() + fitted[1:]]
    if "test" not in measured:
        parts[0] = parts[0].replace("Test data chose nothing in this run.", "There was no test data.")
    for split, by_data in measured.items():
        parts.append(f"### {split.title()}\n\n{metrics_table(by_data)}")
    parts.append(METRICS_EXPLAINED)
    if (split := shown_split(log)) is not None:
        stems = picture_names(log[split])
        for name, one in log[split].items():
            if "confusion" in one:
                parts += _data_set(folder, name, stems[name], one, split, pictures)
    return "\n\n".join(parts)


def metrics_table(by_data: Mapping[str, Mapping[str, Any]]) -> str:
    """A column per data set, a row per metric, each with its interval where there is one."""
    rows = [["metric", *(f"{escaped(name)} ({int(one['n'])} pictures)" for name, one in by_data.items())]]
    for key, title in _METRICS.items():
        if any(key in one for one in by_data.values()):
            rows.append([title, *(_with_interval(one, key) for one in by_data.values())])
    if any("per_class" in one for one in by_data.values()):
        rows.append(["accuracy of the most frequent label alone", *map(_most_frequent, by_data.values())])
    return table(rows)


def _with_interval(one: Mapping[str, Any], key: str) -> str:
    low, high = one.get("intervals", {}).get(key, (None, None))
    shown = figure(one.get(key))
    return shown if low is None else f"{shown} [{figure(low)}, {figure(high)}]"


def _most_frequent(one: Mapping[str, Any]) -> str:
    supports = [row["support"] for row in one.get("per_class", ())]
    return figure(max(supports) / one["n"] if supports else None)


def _data_set(folder: Path, name: str, stem: str, one: Mapping[str, Any], split: str, pictures: str) -> list[str]:
    """Labels one by one and the pictures of one data set."""
    parts = [f"### {escaped(name)}, label by label ({split})", _per_class(one["per_class"])]
    shown = f"{escaped(name)} ({split})"
    alternatives = {
        "confusion": f"Confusion matrix of {shown}: the label with the most votes against the predicted one",
        "reliability": f"Calibration plot of {shown}: accuracy against confidence, with the number of pictures",
        "coverage": f"Risk-coverage curve of {shown}: share of wrong answers among the surest pictures",
    }
    for kind, alternative in alternatives.items():
        file = f"{kind}-{stem}.png"
        if (folder / FOLDER / file).is_file():
            parts.append(f"![{alternative}]({pictures}/{file})")
        elif kind == "confusion" and len(one["labels"]) <= _MOST_COLUMNS:
            parts += [f"{alternative}:", _confusion(one)]
    return parts


def _per_class(rows: Sequence[Mapping[str, Any]]) -> str:
    head = ["label", "pictures", "predicted", "precision", "recall", "F1", "share of votes", "mean probability"]
    body = [
        [
            escaped(row["label"]),
            str(int(row["support"])),
            str(int(row["predicted"])),
            *(figure(row[key], 2) for key in ("precision", "recall", "f1", "votes", "probability")),
        ]
        for row in rows
    ]
    return table([head, *body])


def _confusion(one: Mapping[str, Any]) -> str:
    labels = [escaped(label) for label in one["labels"]]
    body = [[label, *(str(int(count)) for count in row)] for label, row in zip(labels, one["confusion"], strict=True)]
    return table([["most votes \\\\ predicted", *labels], *body])


def calibration(config: ImageEmotionConfig, log: Mapping[str, Any]) -> str:
    """What was fitted on validation and what `uncertain` means, with how it fares."""
    details = log.get("calibration") or {}
    parts = [
        "Predicted probabilities are softmax(logits / temperature + offsets), with what was fitted on validation:"
    ]
    rows = [["emotion model", "temperature", "offset per label", "sure from"]]
    for name, emotion_model in config.trained_emotion_models.items():
        fitted, threshold = name in (config.temperatures or {}), (config.sure_thresholds or {}).get(name)
        origin = "" if fitted else " (not fitted itself)"
        if fitted and details and name not in details:
            origin = " (of the checkpoint before)"
        rows.append(
            [
                escaped(name),
                figure(config.temperature_for(emotion_model)) + origin,
                _offsets(config, name, details.get(name) or {}),
                "the general rule" if threshold is None else percent_exact(threshold),
            ]
        )
    parts += [table(rows, numbers=False), _rule(config)]
    shares = [["data", "called sure", "of these right", "of the others right"]]
    for split in _SPLITS:
        for name, one in log.get(split, {}).items():
            if sure := one.get("sure"):
                told = (percent(sure[key]) for key in ("share", "accuracy", "accuracy_of_others"))
                shares.append([f"{escaped(name)} ({split})", *told])
    return "\n\n".join([*parts, table(shares)] if len(shares) > 1 else parts)


def percent_exact(value: float) -> str:
    return f"{100 * value:.1f} %"


def _offsets(config: ImageEmotionConfig, name: str, details: Mapping[str, Any]) -> str:
    values = (config.label_offsets or {}).get(name)
    if values:
        labels = config.trained_emotion_models[name].labels
        return ", ".join(f"{escaped(label)} {value:+.2f}" for label, value in zip(labels, values, strict=True))
    if details.get("offset_gain") is None:
        return "none (too few pictures to tell)" if details else "none"
    return (
        f"none (cross-validated gain {details['offset_gain']:+.3f} nats, standard error "
        f"{details['offset_standard_error']:.3f})"
    )


def _rule(config: ImageEmotionConfig) -> str:
    ratio = "twice" if config.sure_ratio == 2 else f"{config.sure_ratio:g} times"
    general = (
        f"the top label holds at least {percent(config.sure_confidence)} of the probability, or at least {ratio} as "
        "much as the second"
    )
    if not config.sure_thresholds:
        return f"An answer counts as sure, and `uncertain` is false, where {general}. That rule was not tuned."
    stated = f" {percent(config.sure_coverage)} of" if config.sure_coverage is not None else ""
    names = ", ".join(code(name) for name in config.sure_thresholds)
    return (
        f"For {names} an answer counts as sure, and `uncertain` is false, from the confidence above on: it was set so "
        f"that{stated or ' a stated share of'} the validation pictures are called sure. For other emotion models the "
        f"rule is that {general}."
    )

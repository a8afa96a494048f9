"""Write the cards of the bundled checkpoints and of the full-size presets into `model_cards/`.

    pip install "iec-hub[train]"
    python training/make_model_cards.py
    python training/make_model_cards.py --measure --data-dir DIR     # first measure the bundled checkpoints anew

A card is a function of the checkpoint's folder: config.json, metrics.json, training.json and the pictures. With
`--measure` each bundled checkpoint is run, as users run it, on the validation and test pictures of DIR/emotion6 and
DIR/fi; metrics.json then holds intervals, confusion, labels one by one, reliability, risk and coverage, and the
pictures are drawn. Weights, temperatures and config.json stay as they are. What offsets per label and a threshold for
`uncertain` would change is printed, from cross-validation within the validation pictures.
"""

from __future__ import annotations

import argparse
import json
import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any

os.environ.setdefault("OMP_WAIT_POLICY", "passive")

import numpy as np

from iec_hub.finetuning.model_card import model_card, write_card
from iec_hub.finetuning.model_card_presets import PRESETS, preset_card
from iec_hub.finetuning.pictures import draw_pictures
from iec_hub.registry import BUNDLED_CHECKPOINTS, checkpoint_path

ROOT = Path(__file__).resolve().parents[1]
CARDS = ROOT / "model_cards"
SPLITS = ("validation", "test")
COVERAGE = 0.7
FOLDS, REPEATS = 5, 10
FLAT = ("accuracy", "macro_f1", "soft_cross_entropy", "kl", "ece")


def main(argv: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("names", nargs="*", metavar="NAME", help="bundled checkpoints; all if left out")
    parser.add_argument("--measure", action="store_true", help="measure the bundled checkpoints first")
    parser.add_argument("--data-dir", type=Path, help="folder with emotion6 and fi, for --measure")
    given = parser.parse_args(argv)
    names = given.names or list(BUNDLED_CHECKPOINTS.values())
    if unknown := set(names) - set(BUNDLED_CHECKPOINTS.values()):
        parser.error(f"{min(unknown)!r} is no bundled checkpoint; use {', '.join(BUNDLED_CHECKPOINTS.values())}")
    if given.measure and given.data_dir is None:
        parser.error("--measure needs --data-dir")
    for name in names:
        if given.measure:
            print(json.dumps({name: measure(name, given.data_dir)}, default=float))
            draw_pictures(Path(checkpoint_path(name)))
        write_card(Path(checkpoint_path(name)))
    for file, text in cards().items():
        (CARDS / file).write_text(text, encoding="utf-8")


def cards() -> dict[str, str]:
    """File name to text of the published cards: of the bundled checkpoints, with links to their pictures where they
    lie, and of the presets."""
    texts = {}
    for name in BUNDLED_CHECKPOINTS.values():
        checkpoint = Path(checkpoint_path(name)).resolve()
        pictures = Path("..") / checkpoint.relative_to(ROOT) / "pictures"
        texts[f"{name}.md"] = model_card(checkpoint, pictures.as_posix())
    return texts | {f"{method}-{size}.md": preset_card(method, size) for method, size in PRESETS}


def measure(name: str, data_dir: Path) -> dict[str, Any]:
    """Measure a bundled checkpoint through the predictor; adds to its metrics.json and returns what changed."""
    from iec_hub.data import load_emotion_dataset
    from iec_hub.evaluation import distribution_report
    from iec_hub.evaluation.running import predict_dataset
    from iec_hub.predictor import EmotionPredictor

    path = Path(checkpoint_path(name)) / "metrics.json"
    log = json.loads(path.read_text(encoding="utf-8"))
    predictor = EmotionPredictor.from_pretrained(name, device="cpu")
    told: dict[str, Any] = {}
    for split in SPLITS:
        for data, before in log[split].items():
            dataset = load_emotion_dataset(data_dir / data, emotion_model=_emotion_model(predictor, log, data))
            dataset = dataset.split(split)
            predicted, examples, left_out = predict_dataset(predictor, dataset)
            if left_out or len(examples) != before["n"]:
                raise SystemExit(f"{data} {split}: {len(examples)} of {before['n']} pictures can be read.")
            target = np.stack([example.distribution for example in examples])
            emotion_model = predictor.emotion_models[dataset.emotion_model.name]
            rule = predictor.model.config.sure_rule(emotion_model)
            after = distribution_report(predicted, target, emotion_model.labels, rule)
            after["emotion_model"] = emotion_model.name
            place = told[f"{data} {split}"] = {key: [before[key], after[key]] for key in FLAT}
            if split == "validation":
                trial = calibration_trial(predicted, target, rule)
                place |= trial
                log.setdefault("calibration", {})[emotion_model.name] = {
                    "temperature": log["temperatures"][emotion_model.name],
                    "offsets": None,
                    "offset_gain": trial["offset_gain"],
                    "offset_standard_error": trial["offset_standard_error"],
                    "pictures": len(predicted),
                }
            log[split][data] = after
    path.write_text(json.dumps(log, indent=2, sort_keys=True) + "\n", encoding="utf-8")
    return told


def _emotion_model(predictor: Any, log: dict[str, Any], data: str) -> str:
    """The emotion model of a data set, from the report of its run: `fi: 495 examples over mikels8, ...`."""
    names = [name for name in predictor.emotion_models if f" over {name}," in log["data"][data]]
    if len(names) != 1:
        raise SystemExit(f"metrics.json does not say what {data} is labelled with.")
    return names[0]


def calibration_trial(predicted: np.ndarray, target: np.ndarray, rule: dict[str, Any]) -> dict[str, Any]:
    """What offsets per label and a fitted threshold would change, by cross-validation within validation pictures.

    Args:
        predicted: (N, n), after the stored temperature; their logarithms serve as logits.
        rule: of `uncertain`, as it is.

    Returns:
        `offset_gain` with its standard error; the share of sure pictures and their accuracy, by the rule as it is and
        by a threshold that was set on other pictures to the same coverage; and the coverage of unseen pictures where
        the threshold was set to COVERAGE.
    """
    from iec_hub.evaluation import correct, coverage_threshold, offset_gain, sure_pictures

    gain = offset_gain(np.log(np.maximum(predicted, 1e-12)), target)
    right, confidence, count = correct(predicted, target), predicted.max(axis=1), len(predicted)
    usual = sure_pictures(predicted, sure_confidence=rule["sure_confidence"], sure_ratio=rule["sure_ratio"])
    random, same, stated = np.random.default_rng(0), np.zeros(count), np.zeros(count)
    for _ in range(REPEATS):
        folds = random.permutation(count) % FOLDS
        for fold in range(FOLDS):
            seen, held_out = folds != fold, folds == fold
            wanted = max(usual[seen].mean(), 1 / seen.sum())
            same[held_out] += (confidence[held_out] >= coverage_threshold(predicted[seen], wanted)) / REPEATS
            stated[held_out] += (confidence[held_out] >= coverage_threshold(predicted[seen], COVERAGE)) / REPEATS
    return {
        "offset_gain": None if gain is None else gain.mean,
        "offset_standard_error": None if gain is None else gain.standard_error,
        "sure_by_the_rule": [usual.mean(), right[usual].mean()],
        "sure_by_a_threshold": [same.mean(), (same @ right) / same.sum()],
        f"unseen_coverage_for_{COVERAGE}": stated.mean(),
    }


if __name__ == "__main__":
    main()

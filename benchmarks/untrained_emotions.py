"""UGRIE and emotion models that it was not trained on: asked directly, or told from what it was trained on.

    python benchmarks/untrained_emotions.py --data-dir DIR

DIR holds Emotion6 and FI (`emotion6/`, `fi/`). Both ways answer about the same pictures of the test split with the
bundled checkpoint; `EmotionPredictor` tells them from what was trained. The pictures whose label has no counterpart
(most votes for neutral, asked in emotions without it) are left out.
"""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Any

import machine
import numpy as np

from iec_hub.data import load_emotion_dataset
from iec_hub.emotions import EMOTION_MODELS, EmotionModel, map_distribution
from iec_hub.evaluation import accuracy_difference, evaluate_distributions
from iec_hub.predictor import EmotionPredictor

ASKED = {"emotion6": ("ekman6", "sentiment2", "sentiment3"), "fi": ("sentiment2",)}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data-dir", type=Path, required=True, help="folder with emotion6/ and fi/")
    parser.add_argument("--split", default="test", help="(default test)")
    parser.add_argument("--dry", action="store_true", help="print, and leave the stored results as they are")
    given = parser.parse_args()
    predictor = EmotionPredictor.from_pretrained(method="ugrie")
    rows = [row for name in ASKED for row in compare(predictor, given.data_dir / name, ASKED[name], given.split)]
    result = {"split": given.split, "machine": machine.facts(), "rows": rows}
    if given.dry:
        print(table(result))
    else:
        machine.write_results("untrained_emotions", result, table(result))


def compare(predictor: EmotionPredictor, folder: Path, names: tuple[str, ...], split: str) -> list[dict[str, Any]]:
    """One row for each emotion model that is asked about the pictures of a data set."""
    dataset = load_emotion_dataset(folder)
    examples = [example for example in dataset if example.split == split]
    rows = []
    for name in names:
        asked = EMOTION_MODELS[name]
        counted = [example for example in examples if _has_counterpart(example.distribution, dataset, asked)]
        truth = np.array([map_distribution(each.distribution, dataset.emotion_model, asked) for each in counted])
        images = [each.image for each in counted]
        answers = {
            "directly": _distributions(predictor, images, _as_words(asked)),
            "told": _distributions(predictor, images, asked),
        }
        figures = {way: evaluate_distributions(found, truth) for way, found in answers.items()}
        gained = accuracy_difference(answers["told"], answers["directly"], truth)
        rows.append({"data": dataset.name, "emotion_model": name, "n": len(counted), **figures, "gained": [*gained]})
    return rows


def _has_counterpart(distribution: Any, dataset: Any, asked: EmotionModel) -> bool:
    top = dataset.emotion_model.labels[int(np.argmax(distribution))]
    return top != "neutral" or "neutral" in asked.labels


def _as_words(model: EmotionModel) -> EmotionModel:
    words = {emotion.label: emotion.words for emotion in model.emotions}
    return EmotionModel.from_labels(model.labels, model.name, model.title, words)


def _distributions(predictor: EmotionPredictor, images: list[Any], asked: EmotionModel) -> np.ndarray:
    found = predictor.predict_files(images, emotion_model=asked)
    return np.array([each.prediction.probabilities for each in found])


def table(result: dict[str, Any]) -> str:
    """The results as Markdown."""
    lines = [
        "# Emotions that UGRIE was not trained on",
        "",
        f"The bundled ugrie-mini on the {result['split']} splits: asked directly about the words of an emotion "
        "model, and told from its answers for the one that it was trained on, which is what `EmotionPredictor` does. "
        "Accuracy gained with its 95 % interval (paired bootstrap). Made by "
        "`python benchmarks/untrained_emotions.py --data-dir DIR`.",
        "",
        "| data | emotion model | n | accuracy, directly | accuracy, told | gained | soft cross-entropy, directly "
        "| told |",
        "|---|---|---|---|---|---|---|---|",
    ]
    for row in result["rows"]:
        gained, low, high = (100 * each for each in row["gained"])
        accuracy, entropy = (
            f"{row['directly'][metric]:.3f} | {row['told'][metric]:.3f}"
            for metric in ("accuracy", "soft_cross_entropy")
        )
        asked = f"{row['data']} | {row['emotion_model']} | {row['n']}"
        lines.append(f"| {asked} | {accuracy} | {gained:+.1f} [{low:+.1f}, {high:+.1f}] | {entropy} |")
    return "\n".join([*lines, "", f"Machine: {machine.facts_line(result['machine'])}.", ""])


if __name__ == "__main__":
    main()

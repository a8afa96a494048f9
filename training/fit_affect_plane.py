"""Write `iec_hub/space/affect_plane.json`: where each emotion lies between unpleasant and pleasant, calm and excited.

    python training/fit_affect_plane.py --oasis DIR

DIR is OASIS (Kurdi, Lozano and Banaji, 2017) with `metadata.csv`: photographs with the mean valence and arousal that
people gave them, and a split. The bundled checkpoints say how each picture's viewers would feel; the coordinates of
the labels are the ridge regression of the ratings on those distributions, fitted to the train split of all
checkpoints together, with the strength of the ridge chosen on validation. What is reported was measured on test.
"""

from __future__ import annotations

import argparse
import csv
import json
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from iec_hub import EmotionPredictor
from iec_hub.errors import DataError
from iec_hub.evaluation.metrics import bootstrap_interval
from iec_hub.registry import BUNDLED_CHECKPOINTS

OUTPUT = Path(__file__).parents[1] / "iec_hub" / "space" / "affect_plane.json"
SOURCE = (
    "OASIS: Kurdi, Lozano, Banaji, 'Introducing the Open Affective Standardized Image Set (OASIS)', Behavior Research "
    "Methods 49, 2017. Ratings from 1 to 7, as -1 to 1."
)
EMOTION_MODELS = ("mikels8", "ekman6", "ekman7")
DIMENSIONS = ("valence", "arousal")
SPLITS = ("train", "validation", "test")
RIDGES = tuple(float(f"{ridge:.3g}") for ridge in np.geomspace(0.01, 1000, 21))
# OASIS's scales run from 1 to 7.
MIDDLE, HALF = 4.0, 3.0


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--oasis", type=Path, required=True)
    parser.add_argument("--output", type=Path, default=OUTPUT)
    arguments = parser.parse_args()
    rows = read_ratings(arguments.oasis)
    files = {split: [arguments.oasis / row["file_name"] for row in rows[split]] for split in SPLITS}
    ratings = {
        split: {name: np.array([(float(row[name]) - MIDDLE) / HALF for row in rows[split]]) for name in DIMENSIONS}
        for split in SPLITS
    }
    planes = {}
    predictors = [EmotionPredictor.from_pretrained(method=method) for method in BUNDLED_CHECKPOINTS]
    for name in EMOTION_MODELS:
        predicted = {predictor.name: predict(predictor, files, name) for predictor in predictors}
        planes[name] = fit_plane(predictors[0].check_target(name).labels, predicted, ratings)
        print(json.dumps({name: planes[name]}, indent=1))
    content = {
        "source": SOURCE,
        "command": "python training/fit_affect_plane.py --oasis DIR",
        "pictures": {split: len(rows[split]) for split in SPLITS},
        "emotion_models": planes,
    }
    arguments.output.write_text(json.dumps(content, indent=1) + "\n", encoding="utf-8")


def read_ratings(folder: Path) -> dict[str, list[dict[str, str]]]:
    """The rows of `metadata.csv` by split.

    Raises:
        DataError: if a split has no pictures.
    """
    rows: dict[str, list[dict[str, str]]] = {split: [] for split in SPLITS}
    with (folder / "metadata.csv").open(encoding="utf-8-sig", newline="") as file:
        for row in csv.DictReader(file):
            rows[row["split"]].append(row)
    if empty := [split for split in SPLITS if not rows[split]]:
        raise DataError(f"{folder} has no pictures of the split {empty[0]}; give OASIS with its splits.")
    return rows


def predict(predictor: EmotionPredictor, files: dict[str, list[Path]], emotion_model: str) -> dict[str, np.ndarray]:
    """The distributions `(pictures, labels)` of each split; text in the pictures is not read."""
    found = {}
    for split, paths in files.items():
        results = list(predictor.predict_files(paths, emotion_model, batch_size=8, read_text=False))
        if bad := [result.error for result in results if result.prediction is None]:
            raise DataError(bad[0])
        found[split] = np.array([result.prediction.probabilities for result in results])
    return found


def fit_plane(
    labels: Sequence[str],
    predicted: dict[str, dict[str, np.ndarray]],
    ratings: dict[str, dict[str, np.ndarray]],
) -> dict[str, object]:
    """Coordinates of the labels, and how well they say what people felt.

    Args:
        predicted: per checkpoint and split, distributions `(pictures, labels)`.
        ratings: per split and dimension, numbers from -1 to 1 `(pictures,)`.
    """
    stacked = {split: np.concatenate([of[split] for of in predicted.values()]) for split in SPLITS}
    coordinates, ridges, r = {}, {}, {name: {} for name in predicted}
    for dimension in DIMENSIONS:
        # Every checkpoint has seen the same pictures.
        given = {split: np.tile(ratings[split][dimension], len(predicted)) for split in SPLITS}
        fits = {ridge: fit_coordinates(stacked["train"], given["train"], ridge) for ridge in RIDGES}
        errors = {
            ridge: np.mean((stacked["validation"] @ fit - given["validation"]) ** 2) for ridge, fit in fits.items()
        }
        ridges[dimension] = best = min(errors, key=errors.get)
        coordinates[dimension] = fits[best]
        for name, of in predicted.items():
            r[name][dimension] = correlation(of["test"] @ fits[best], ratings["test"][dimension])
    return {
        "labels": {
            label: {dimension: round(float(coordinates[dimension][index]), 4) for dimension in DIMENSIONS}
            for index, label in enumerate(labels)
        },
        "ridge": ridges,
        "test": r,
    }


def fit_coordinates(distributions: np.ndarray, ratings: np.ndarray, ridge: float) -> np.ndarray:
    """One number from -1 to 1 per label, whose mean under a distribution comes close to the rating.

    Each label begins at the mean rating, from which `ridge` lets it stray the less the larger it is. As distributions
    sum to 1, there is no intercept.
    """
    mean = ratings.mean()
    matrix = distributions.T @ distributions + ridge * np.eye(distributions.shape[1])
    return np.clip(mean + np.linalg.solve(matrix, distributions.T @ (ratings - mean)), -1, 1)


def correlation(estimated: np.ndarray, rated: np.ndarray) -> dict[str, object]:
    """Pearson's r with its 95 % bootstrap interval over pictures."""
    found = bootstrap_interval(lambda a, b: float(np.corrcoef(a, b)[0, 1]), estimated, rated)
    return {"n": len(rated), "r": round(found.estimate, 3), "interval": [round(found.low, 3), round(found.high, 3)]}


if __name__ == "__main__":
    main()

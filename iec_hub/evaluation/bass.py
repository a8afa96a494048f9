"""BASS: does the valence that people see in black silhouettes show in the predictions?

The Bicolor Affective Silhouettes and Shapes (Kawai et al., 2021; CC BY 4.0, github.com/gasparl/BASS) are 583 pictures
in black and white, without the texture and colour of photographs, each with the mean valence that two samples of
people gave it (columns `_us` and `_ch`). Higher is more positive.
"""

from __future__ import annotations

import csv
import logging
import math
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from iec_hub.emotions import EmotionModelLike, positive_mass
from iec_hub.errors import DataError
from iec_hub.evaluation.metrics import bootstrap_interval, spearman

if TYPE_CHECKING:
    from iec_hub.predictor import EmotionPredictor

logger = logging.getLogger(__name__)

SAMPLES = ("us", "ch")
TABLE = "BASS_data.csv"


@dataclass(frozen=True)
class Silhouette:
    """A silhouette and the mean valence that each sample of people gave it; NaN where there is none."""

    file: Path
    valence_us: float
    valence_ch: float


def read_bass(folder: str | Path) -> list[Silhouette]:
    """The rows of `BASS_data.csv` in a folder that holds it and `images/`, in its order.

    Raises:
        DataError: if the table is missing, lacks a column, or holds no row.
    """
    folder = Path(folder)
    columns = ("file_name", *(f"val_mean_{sample}" for sample in SAMPLES))
    try:
        with open(folder / TABLE, encoding="utf-8-sig", newline="") as file:
            rows = list(csv.DictReader(file))
    except FileNotFoundError as error:
        raise DataError(f"There is no {TABLE} in {folder.name!r}; give the folder of the BASS data set.") from error
    except (OSError, UnicodeDecodeError, csv.Error) as error:
        raise DataError(f"{TABLE} cannot be read ({type(error).__name__}); download it again.") from error
    missing = [column for column in columns if not rows or rows[0].get(column) is None]
    if missing:
        raise DataError(f"{TABLE} has no {', '.join(missing)}; give the table as it was published.")
    # Only the last part of a name: a table must not lead out of its folder.
    return [
        Silhouette(folder / "images" / Path(row["file_name"]).name, *(_number(row[column]) for column in columns[1:]))
        for row in rows
    ]


def _number(cell: str | None) -> float:
    try:
        number = float(cell or "nan")
    except ValueError:
        return math.nan
    return number if math.isfinite(number) else math.nan


def bass_correlation(
    predictor: EmotionPredictor,
    folder: str | Path,
    *,
    emotion_model: EmotionModelLike | None = None,
    batch_size: int = 32,
    resamples: int = 2000,
    seed: int = 0,
) -> dict[str, Any]:
    """Spearman's correlation of the predicted positive mass with people's mean valence.

    Args:
        folder: holds `BASS_data.csv` and `images/`.
        emotion_model: what is predicted; the checkpoint's default one if left out. Its emotions need polarities.
        batch_size: images that the model sees at once.
        resamples, seed: of the 95 % bootstrap interval over pictures.

    Returns:
        For `"us"` and `"ch"` each spearman, low, high and n; `between_samples`, the two samples' own correlation,
        which no model can be expected to pass by much; n (pictures predicted), skipped, emotion_model, model.

    Raises:
        DataError: if the table cannot be used or fewer than 3 pictures can.
        EmotionMappingError: if an emotion has no polarity.
    """
    silhouettes = read_bass(folder)
    resolved = predictor.resolve_emotion_model(emotion_model)
    positive_mass(np.full(len(resolved), 1 / len(resolved)), resolved)  # refuses before the work, not after it
    predictions, kept = [], []
    results = predictor.predict_files([s.file for s in silhouettes], emotion_model=resolved, batch_size=batch_size)
    for silhouette, result in zip(silhouettes, results, strict=True):
        if result.prediction is None:
            logger.warning("A silhouette was left out: %s", result.error)
        else:
            predictions.append(result.prediction.probabilities)
            kept.append(silhouette)
    if len(kept) < 3:
        raise DataError(f"Only {len(kept)} silhouettes of {len(silhouettes)} can be read; check the images folder.")
    positive = positive_mass(np.array(predictions), resolved)
    valence = {"us": np.array([s.valence_us for s in kept]), "ch": np.array([s.valence_ch for s in kept])}
    both = ~np.isnan(valence["us"]) & ~np.isnan(valence["ch"])
    return {
        **{name: _correlation(positive, valence[name], resamples=resamples, seed=seed) for name in SAMPLES},
        "between_samples": spearman(valence["us"][both], valence["ch"][both]),
        "n": len(kept),
        "skipped": len(silhouettes) - len(kept),
        "emotion_model": resolved.name,
        "model": predictor.name,
    }


def _correlation(positive: np.ndarray, valence: np.ndarray, resamples: int, seed: int) -> dict[str, float | int]:
    rated = ~np.isnan(valence)
    if rated.sum() < 3:
        raise DataError(f"Only {int(rated.sum())} silhouettes have a valence; give the table as it was published.")
    interval = bootstrap_interval(spearman, positive[rated], valence[rated], resamples=resamples, seed=seed)
    return {"spearman": interval.estimate, "low": interval.low, "high": interval.high, "n": int(rated.sum())}

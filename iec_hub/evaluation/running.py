"""A predictor over a labelled data set: batched predictions, then the metrics."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterable
from typing import TYPE_CHECKING, Any

import numpy as np

from iec_hub.data.schema import EmotionDataset, EmotionExample, SkippedRow
from iec_hub.emotions import EmotionModel
from iec_hub.errors import DataError
from iec_hub.evaluation.metrics import evaluate_distributions

if TYPE_CHECKING:
    from iec_hub.predictor import EmotionPredictor, FilePrediction

logger = logging.getLogger(__name__)
Progress = Callable[[Iterable["FilePrediction"], int], Iterable["FilePrediction"]]


def predict_dataset(
    predictor: EmotionPredictor, dataset: EmotionDataset, *, batch_size: int = 32, progress: Progress | None = None
) -> tuple[np.ndarray, list[EmotionExample], list[SkippedRow]]:
    """Predicted distributions for every picture of a data set that can be read.

    Args:
        dataset: its emotion model is the one that is predicted.
        batch_size: images that the model sees at once.
        progress: wraps the predictions and their number, to show how far they are.

    Returns:
        The distributions, shape (N, n), float64, in the order of the data set's labels; the N examples that they
        belong to; and the examples that were left out, each with the reason.
    """
    left_out = [_without_image(example) for example in dataset if example.image is None]
    examples = [example for example in dataset if example.image is not None]
    results: Iterable[FilePrediction] = predictor.predict_files(
        [example.image for example in examples],
        emotion_model=_as_trained(predictor, dataset.emotion_model),
        batch_size=batch_size,
    )
    if progress is not None:
        results = progress(results, len(examples))
    rows, kept = [], []
    for example, result in zip(examples, results, strict=True):
        if result.prediction is None:
            left_out.append(SkippedRow(example.origin, str(result.error), example.split))
        else:
            rows.append(result.prediction.probabilities)
            kept.append(example)
    return np.array(rows, dtype=np.float64).reshape(len(rows), len(dataset.emotion_model)), kept, left_out


def evaluate_predictor(
    predictor: EmotionPredictor,
    dataset: EmotionDataset,
    *,
    batch_size: int = 32,
    progress: Progress | None = None,
    on_skipped: Callable[[SkippedRow], None] | None = None,
) -> dict[str, Any]:
    """How well a predictor does on a data set, ready for JSON.

    Args:
        dataset: what is evaluated; take one split of it with `dataset.split("test")`.
        batch_size, progress: as in :func:`predict_dataset`.
        on_skipped: called with every picture that could not be read; a logging warning each if left out.

    Returns:
        accuracy, macro_f1, ece (each 0 to 1), soft_cross_entropy and kl (nats), n (pictures that count), skipped (rows
        of the data set and pictures that do not), emotion_model, model, method and data.

    Raises:
        DataError: if no picture can be read.
    """
    predicted, examples, left_out = predict_dataset(predictor, dataset, batch_size=batch_size, progress=progress)
    for row in left_out:
        if on_skipped is not None:
            on_skipped(row)
        else:
            logger.warning("Left out of the evaluation: %s", row)
    if not examples:
        reason = f"; the first reason is: {left_out[0]}" if left_out else "."
        raise DataError(f"None of the {len(left_out)} pictures of {dataset.name} can be read, so check them{reason}")
    target = np.stack([example.distribution for example in examples])
    return {
        **evaluate_distributions(predicted, target),
        "skipped": len(dataset.skipped) + len(left_out),
        "emotion_model": dataset.emotion_model.name,
        "model": predictor.name,
        "method": predictor.method,
        "data": dataset.name,
    }


def _as_trained(predictor: EmotionPredictor, emotion_model: EmotionModel) -> EmotionModel:
    """The predictor's own emotion model of that name and labels, whose label words it was trained with."""
    trained = predictor.emotion_models.get(emotion_model.name)
    return trained if trained is not None and trained.labels == emotion_model.labels else emotion_model


def _without_image(example: EmotionExample) -> SkippedRow:
    return SkippedRow(example.origin, "the row has no image, only text.", example.split)

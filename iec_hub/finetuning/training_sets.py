"""What a training reads: labelled data sets with all their splits, and captioned images."""

from __future__ import annotations

import csv
from collections.abc import Mapping, Sequence
from dataclasses import replace
from logging import getLogger
from pathlib import Path

import torch

from iec_hub.data import (
    EmotionDataset,
    EmotionExample,
    check_trainable,
    class_weights,
    few_shot,
    load_emotion_dataset,
    remove_duplicates,
    sampling_weights,
    with_splits,
)
from iec_hub.data.labels import nearest_misspelt, shown
from iec_hub.data.schema import SPLITS
from iec_hub.emotions import Emotion, EmotionModel, get_emotion_model
from iec_hub.errors import DataError
from iec_hub.finetuning.arguments import DataArguments, StartArguments
from iec_hub.finetuning.training_data import ImageSource

logger = getLogger(__name__)


def load_data(
    data: DataArguments, start: StartArguments, seed: int, known: Mapping[str, EmotionModel] | None = None
) -> list[EmotionDataset]:
    """The labelled data sets, reported, with the chosen label words; `--shots` thins the training split.

    Args:
        known: emotion models whose words are kept instead, where the labels are the same.

    Raises:
        DataError: if a data set cannot be read or trained on, or two of them mean different labels by one name.
    """
    datasets: list[EmotionDataset] = []
    shots = list(data.shots) if len(data.shots) == len(data.data) else (data.shots or [0]) * len(data.data)
    for source, images_per_class in zip(data.data, shots, strict=True):
        dataset = load_emotion_dataset(source, verify_images=True, labels=data.labels or None)
        if data.deduplicate:
            dataset, _ = remove_duplicates(dataset)
        _check_split_names(dataset)
        dataset = with_splits(dataset, data.validation_share, data.test_share, seed)
        if images_per_class:
            kept = few_shot(dataset.split("train"), images_per_class, seed).examples
            rest = [example for example in dataset.examples if example.split != "train"]
            dataset = replace(dataset, examples=[*kept, *rest])
        check_trainable(dataset, minimum=min(2, images_per_class or 2))
        logger.warning("%s", dataset.report())
        words = (known or {}).get(dataset.emotion_model.name)
        if words is None or words.labels != dataset.emotion_model.labels:
            words = label_words(dataset.emotion_model, start.label_words)
        for other in datasets:
            if other.emotion_model.name == words.name and other.emotion_model.labels != words.labels:
                raise DataError(
                    f"{other.name} and {dataset.name} have different labels under the name {words.name!r}; "
                    "give them emotion models of their own, or one label set."
                )
        examples = [replace(example, emotion_model=words) for example in dataset.examples]
        name = _free_name(dataset.name, [other.name for other in datasets])
        datasets.append(replace(dataset, emotion_model=words, examples=examples, name=name))
    return datasets


def _check_split_names(dataset: EmotionDataset) -> None:
    """A misspelt split would silently be trained, chosen and tested on by nobody."""
    for name in dataset.splits():
        if name not in SPLITS and (meant := nearest_misspelt(name, SPLITS)):
            raise DataError(
                f"{dataset.name} has a split {shown(name)}, which looks like {shown(meant)} misspelt; correct it."
            )


def _free_name(name: str, taken: Sequence[str]) -> str:
    """Metrics go by names, so two data sets in folders of one name get different ones."""
    number, free = 2, name
    while free in taken:
        free, number = f"{name} ({number})", number + 1
    return free


def label_words(emotion_model: EmotionModel, kind: str) -> EmotionModel:
    """The emotion model with its own words ("plutchik") or with each label standing for itself ("label")."""
    if kind == "plutchik":
        return emotion_model
    emotions = tuple(
        Emotion(emotion.label, (emotion.label.replace("_", " "),), emotion.polarity)
        for emotion in emotion_model.emotions
    )
    return replace(emotion_model, emotions=emotions)


def balance_sources(sources: Sequence[ImageSource], balance: str) -> None:
    """Let rare emotions count as much as frequent ones, by weights in the loss or by being drawn more often."""
    for source in sources:
        if balance == "weights":
            weights = torch.as_tensor(class_weights(source.distributions.numpy())).float()
            source.weights = source.distributions @ weights
        elif balance == "sampling":
            source.shares = torch.as_tensor(sampling_weights(source.distributions.numpy())).double()


def read_captions(path: Path, columns: Sequence[str] = ()) -> tuple[list[EmotionExample], list[str]]:
    """Training images and texts of a CSV file with `file_name`, `split` and columns that begin with `caption`.

    Further `columns` join the text behind their names ("category person"). Rows without a text or a file are left out,
    and counted in the log; without a column `split`, all rows train.

    Raises:
        DataError: if no row is left, or the file is no CSV file in UTF-8.
    """
    nothing = get_emotion_model("sentiment2")
    examples: list[EmotionExample] = []
    captions: list[str] = []
    skipped = 0
    try:
        with path.open(encoding="utf-8-sig", newline="") as file:
            for number, row in enumerate(csv.DictReader(file), start=2):
                if (row.get("split") or "train") != "train":
                    continue
                text = " ".join(value for name, value in row.items() if name and name.startswith("caption") and value)
                text += "".join(f". {name} {row[name]}" for name in columns if text and row.get(name))
                image = path.parent / (row.get("file_name") or "")
                if not (text.strip() and image.is_file()):
                    skipped += 1
                    continue
                examples.append(
                    EmotionExample(image, nothing, nothing.distribution([1, 1]), origin=f"{path.name}:{number}")
                )
                captions.append(text)
    except (UnicodeDecodeError, csv.Error) as error:
        raise DataError(f"{path.name} is not a CSV file in UTF-8; convert it.") from error
    if skipped:
        logger.warning("%s: %d rows skipped: no caption, or no such image", path.name, skipped)
    if not examples:
        raise DataError(
            f"{path.name} has no training image with a caption; it needs file_name, split and caption columns."
        )
    return examples, captions


__all__ = ["balance_sources", "label_words", "load_data", "read_captions"]

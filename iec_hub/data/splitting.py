"""Splits for data sets that come without: by the files' content, so that the same picture always goes the same way."""

import hashlib
import math
from bisect import bisect_left
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path

from iec_hub.data.deduplication import near_duplicate_groups
from iec_hub.data.schema import EmotionDataset, EmotionExample
from iec_hub.errors import DataError

# A class's share of a split may be off by this much of what was asked for before pictures are moved.
_TOLERANCE = 0.5
_TRAIN, _VALIDATION, _TEST = "train", "validation", "test"


def with_splits(
    dataset: EmotionDataset, validation: float = 0.15, test: float = 0.15, seed: int = 42, workers: int = 8
) -> EmotionDataset:
    """The data set with the splits that it lacks.

    - No splits at all: every picture goes to train, validation or test.
    - `train` without `validation`: validation is taken out of train; a test split is left as it is.
    - Other splits without `train`: the pictures that are in no split go to train and to what is missing of
      validation and test.
    - `train` and `validation`: nothing changes. Pictures that are in no split stay out, and a note says so.

    A picture's split follows from its file's bytes and the seed, not from its name or its place in a list. Adding
    pictures moves no other one, except where a class would otherwise be left with less than half or more than one
    and a half times its share of a split. Every class (label with most votes) is divided for itself and, if it
    has three pictures, has one in every split that is made. Near-duplicates (as of `remove_duplicates`)
    always stay together, whatever their labels; a near-duplicate that is added may take its group along. Those
    between splits that the data set brought are for `remove_duplicates`.

    Args:
        validation: Share of the pictures for validation, 0 to 1; 0 makes no such split.
        test: Share of the pictures for the test, 0 to 1.
        seed: Another seed gives another division; 42 is that of a training too.
        workers: Threads that read images.

    Returns:
        A data set with the same examples in the same order; a note says what was divided.

    Raises:
        DataError: If the shares leave nothing to train on, or the data set has splits but neither a train split
            nor pictures that are in no split.
    """
    if not (validation >= 0 and test >= 0 and validation + test < 1):
        raise DataError(
            f"The shares {validation:g} for validation and {test:g} for test leave nothing to train on; give shares "
            "from 0 to 1 that sum to less than 1."
        )
    known = dataset.splits()
    free = [index for index, example in enumerate(dataset) if example.split is None]
    if _TRAIN not in known and not free and len(dataset):
        raise DataError(
            f"{dataset.name} has no train split: its splits are {', '.join(known)}; add one of this name, or leave "
            "the splits out to have all made."
        )
    if _TRAIN in known:
        notes = [f"{len(free)} pictures are in no split and are not used."] if free else []
        pool = [index for index, example in enumerate(dataset) if example.split == _TRAIN]
        shares = {_TEST: 0.0, _VALIDATION: 0.0 if _VALIDATION in known else validation}
    else:
        notes, pool = [], free
        shares = {_TEST: 0.0 if _TEST in known else test, _VALIDATION: 0.0 if _VALIDATION in known else validation}
    if not pool or (_TRAIN in known and not any(shares.values())):
        return replace(dataset, examples=list(dataset), notes=[*dataset.notes, *notes])
    chosen = _divided([dataset[index] for index in pool], dataset, shares, seed, workers)
    examples = list(dataset)
    for index, split in zip(pool, chosen, strict=True):
        examples[index] = replace(examples[index], split=split)
    counts = ", ".join(f"{split} {chosen.count(split)}" for split in (_TRAIN, _VALIDATION, _TEST) if split in chosen)
    what = "The train split was" if _TRAIN in known else "The pictures without a split were"
    notes.append(f"{what} divided by the files' content, seed {seed}: {counts}.")
    return replace(dataset, examples=examples, notes=[*dataset.notes, *notes])


def _divided(
    examples: Sequence[EmotionExample], dataset: EmotionDataset, shares: dict[str, float], seed: int, workers: int
) -> list[str]:
    """The split of each example."""
    with ThreadPoolExecutor(workers) as pool:
        places = list(pool.map(lambda example: _place(example, seed), examples))
    classes: dict[str, list[tuple[float, list[int]]]] = {}
    for group in near_duplicate_groups(replace(dataset, examples=list(examples)), workers=workers):
        # The group goes where its first picture by content goes, and counts as one picture of its class.
        first = min(group, key=lambda index: (places[index], index))
        classes.setdefault(examples[first].label, []).append((places[first], group))
    chosen = [_TRAIN] * len(examples)
    for groups in classes.values():
        groups.sort()
        first, second = _bounds([place for place, _ in groups], shares[_TEST], shares[_VALIDATION])
        for rank, (_, group) in enumerate(groups):
            for index in group:
                chosen[index] = _TEST if rank < first else _VALIDATION if rank < second else _TRAIN
    return chosen


def _place(example: EmotionExample, seed: int) -> float:
    """A number from 0 up to 1 that only depends on the picture's bytes and the seed."""
    digest = hashlib.blake2b(f"{seed}/{_content(example)}".encode(), digest_size=8).digest()
    return int.from_bytes(digest, "big") / 2**64


def _content(example: EmotionExample) -> str:
    """The hash of a picture's file; of its pixels where it is no file, and of its text where there is no picture."""
    image = example.image
    try:
        if isinstance(image, str | Path):
            with open(image, "rb") as file:
                return hashlib.file_digest(file, "blake2b").hexdigest()
        if image is None:
            content = f"{example.text}".encode()
        elif hasattr(image, "tobytes"):
            content = f"{image.size}/{image.mode}/".encode() + image.tobytes()
        else:
            if hasattr(image, "seek"):
                image.seek(0)
            content = image.read(-1)
    except (OSError, ValueError):  # A picture that cannot be read is reported where it is opened.
        content = (example.id or example.origin).encode()
    return hashlib.blake2b(content).hexdigest()


def _bounds(places: Sequence[float], test: float, validation: float) -> tuple[int, int]:
    """How many of a class's sorted places are test, and how many are test or validation; the rest is train."""
    count = len(places)
    parts = 1 + (test > 0) + (validation > 0)
    if count < parts:
        # Too few for all: train comes first, then validation, which early stopping and calibration need.
        return 0, min(count - 1, 1) if validation > 0 else 0

    def least(share: float) -> int:
        return max(1, math.floor((1 - _TOLERANCE) * share * count)) if share > 0 else 0

    def most(share: float) -> int:
        return max(1, math.ceil((1 + _TOLERANCE) * share * count)) if share > 0 else 0

    first = min(max(bisect_left(places, test), least(test)), most(test))
    second = first + min(max(bisect_left(places, test + validation) - first, least(validation)), most(validation))
    second = min(second, count - least(1 - test - validation))
    return min(first, second - least(validation)), second

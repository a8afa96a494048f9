"""What is wrong with a data set before anything is trained on it, in one sentence each."""

import logging
from collections.abc import Mapping

import numpy as np

from iec_hub.data.labels import is_misspelt, shown, shown_list
from iec_hub.data.schema import EmotionDataset
from iec_hub.emotions import EMOTION_MODELS
from iec_hub.errors import DataError

logger = logging.getLogger(__name__)

# A misspelt label is rare beside the right one: at most this share of it, or this many pictures.
_RARE_SHARE = 0.1
_RARE_COUNT = 2
# Rows that a data set was meant to have, and has not.
_LOST = ("file", "image", "label", "row")
_MOST_LOST = 0.5


def similar_labels(counts: Mapping[str, int]) -> list[tuple[str, str]]:
    """Labels that are likely misspellings of others, as (rare, frequent), the most frequent first.

    Two labels are taken for one if they differ by a slip of the hand (`is_misspelt`) and the rarer one has at most
    two pictures, or a tenth of the other's, and at most half of them.

    Args:
        counts: Label -> number of pictures.
    """
    pairs = []
    for rare, few in counts.items():
        near = [
            label
            for label, many in counts.items()
            if 0 < 2 * few <= many and few <= max(_RARE_COUNT, _RARE_SHARE * many) and is_misspelt(rare, label)
        ]
        if near:
            pairs.append((rare, max(near, key=lambda label: counts[label])))
    return sorted(pairs, key=lambda pair: -counts[pair[1]])


def check_own_labels(dataset: EmotionDataset) -> None:
    """Refuses a data set over its own labels one of which is likely a misspelling of another.

    Labels of a built-in emotion model are not compared: there a misspelt one is unknown, and its row skipped.

    Raises:
        DataError: The message names the rare label, its first row and the frequent label.
    """
    if dataset.emotion_model.name in EMOTION_MODELS:
        return
    pairs = similar_labels(dataset.class_counts())
    if not pairs:
        return
    rare, frequent = pairs[0]
    few, many = (_pictures(dataset.class_counts()[label]) for label in pairs[0])
    origin = next(example.origin for example in dataset if example.label == rare)
    more = f" (and {len(pairs) - 1} more such labels)" if len(pairs) > 1 else ""
    raise DataError(
        f"{shown(rare)} ({few}, {origin}) looks like {shown(frequent)} ({many}) misspelt{more}; correct it, or list "
        "your labels with --labels."
    )


def check_trainable(dataset: EmotionDataset, minimum: int = 2) -> None:
    """Refuses a data set that nothing can be learned from, or whose rows were lost to errors that can be corrected.

    Emotions of a built-in model without any picture are allowed, and a logging warning names them.

    Args:
        dataset: With its splits; see `with_splits`.
        minimum: Fewest training pictures of a class (those with a vote for it), and fewest pictures of the
            validation split.

    Raises:
        DataError: If more than half of the rows, or any with a label that is unknown, were skipped; if there is no
            train split or no validation split; if there is one class only; if a class has too few training
            pictures, or none but pictures of other splits; if the validation split is too small.
    """
    _check_skipped(dataset)
    for split in ("train", "validation"):
        if split not in dataset.splits():
            has = f"its splits are {', '.join(dataset.splits())}" if dataset.splits() else "it has no splits"
            raise DataError(f"{dataset.name} has no {split} split: {has}; add pictures, or a split of this name.")
    train = dataset.split("train")
    counts = dict(zip(dataset.emotion_model.labels, _voted(train), strict=True))
    present = [label for label, count in counts.items() if count]
    if len(present) == 1:
        raise DataError(
            f"All {_pictures(len(train), 'training picture')} of {dataset.name} {'have' if len(train) > 1 else 'has'} "
            f"the label {shown(present[0])}; training needs pictures of at least two emotions."
        )
    _check_class_counts(dataset, counts, minimum)
    validation = len(dataset.split("validation"))
    if validation < minimum:
        raise DataError(
            f"The validation split of {dataset.name} has {_pictures(validation)}, fewer than {minimum}; add pictures, "
            "or leave the splits out to have them made."
        )


def _check_skipped(dataset: EmotionDataset) -> None:
    lost = [row for row in dataset.skipped if row.kind in _LOST]
    total = len(lost) + len(dataset)
    if len(lost) > _MOST_LOST * total:
        raise DataError(
            f"{len(lost)} of {total} rows of {dataset.name} cannot be used: {dataset.skipped_counts(*_LOST)}; correct "
            f"or remove them, the first being {lost[0]}"
        )
    unknown = [row for row in lost if row.kind == "label"]
    if unknown:
        raise DataError(
            f"{_pictures(len(unknown))} of {dataset.name} {'have' if len(unknown) > 1 else 'has'} an unknown label: "
            f"correct it, or list your labels with --labels; the first is {unknown[0]}"
        )


def _check_class_counts(dataset: EmotionDataset, counts: Mapping[str, int], minimum: int) -> None:
    """Classes without training pictures, or with too few of them."""
    anywhere = dict(zip(dataset.emotion_model.labels, _voted(dataset), strict=True))
    own = dataset.emotion_model.name not in EMOTION_MODELS
    absent = [label for label, count in counts.items() if not count and (anywhere[label] or own)]
    if absent:
        raise DataError(
            f"{dataset.name} has no training pictures of {shown_list(absent)}; add some to the train split, or leave "
            "the label out with --labels."
        )
    few = {label: count for label, count in counts.items() if 0 < count < minimum}
    if few:
        named = ", ".join(f"{shown(label)} ({count})" for label, count in list(few.items())[:12])
        raise DataError(
            f"{dataset.name} has fewer than {minimum} training pictures of {named}; add pictures, or leave the label "
            "out with --labels."
        )
    never = [label for label, count in anywhere.items() if not count]
    if never:
        logger.warning(
            "%s: no picture is labelled %s of %s, which will not be learned; list your labels to leave them out.",
            dataset.name,
            shown_list(never),
            dataset.emotion_model.name,
        )


def _voted(dataset: EmotionDataset) -> list[int]:
    """How many pictures have a vote for each label."""
    return np.count_nonzero(dataset.distributions(), axis=0).tolist()


def _pictures(count: int, noun: str = "picture") -> str:
    return f"{count} {noun}{'' if count == 1 else 's'}"

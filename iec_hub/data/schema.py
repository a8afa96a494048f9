"""The one schema that every data set is read into."""

import logging
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, BinaryIO, overload

import numpy as np

from iec_hub.data.labels import shown
from iec_hub.emotions import EmotionModel, EmotionModelLike, get_emotion_model, map_distribution
from iec_hub.errors import DataError, EmotionMappingError
from iec_hub.images import open_image

if TYPE_CHECKING:
    from PIL import Image

logger = logging.getLogger(__name__)

SPLITS = ("train", "validation", "test")
_SPLIT_NAMES = {
    "train": "train",
    "training": "train",
    "val": "validation",
    "valid": "validation",
    "validation": "validation",
    "dev": "validation",
    "test": "test",
    "testing": "test",
}


def split_name(name: object) -> str | None:
    """A split's name as used here: "val", "valid" and "dev" are "validation"; empty is None."""
    text = " ".join(str(name).split()) if name is not None else ""
    return _SPLIT_NAMES.get(text.casefold(), text[:40]) or None


def is_split_name(name: str) -> bool:
    """Whether a folder of this name is one of the three usual splits, not a label."""
    return name.strip().casefold() in _SPLIT_NAMES


@dataclass(frozen=True, eq=False)
class EmotionExample:
    """One picture with what people felt.

    Attributes:
        image: What `iec_hub.images.open_image` reads: a file, a PIL image, a stream (a picture inside a
            `datasets` data set, read when it is opened); None where an example is only text.
        emotion_model: The labels that the distribution is over.
        distribution: Shape (n,), float64, not negative, sums to 1: the share of votes of each label.
        text: What is said of the picture (caption, concepts, tags), untrusted, one line.
        attributes: Those known of brightness and colorfulness (0..1), scene, facial_expression,
            human_action (text), object (list of texts); and `concepts` and `tags` as the data set has them.
        valence, arousal: On the data set's own scale (Emotion6: 1 to 9).
        split: "train", "validation", "test", the data set's own name, or None where it has no splits.
        origin: Where the row is, "metadata.csv:12".
        id: The data set's name for the picture.

    Raises:
        DataError: If the distribution does not fit the emotion model.
    """

    image: "Path | Image.Image | BinaryIO | None"
    emotion_model: EmotionModel
    distribution: np.ndarray
    text: str | None = None
    attributes: dict[str, Any] | None = None
    valence: float | None = None
    arousal: float | None = None
    split: str | None = None
    origin: str = ""
    id: str = ""

    def __post_init__(self) -> None:
        distribution = np.array(self.distribution, dtype=np.float64)
        model = self.emotion_model
        if distribution.shape != (len(model),):
            raise DataError(
                f"A distribution of shape {distribution.shape} does not fit {model.name}; give {len(model)} numbers."
            )
        # NaN fails the comparison too.
        if not (distribution.min() >= 0 and abs(distribution.sum() - 1) <= 1e-6):
            raise DataError("A distribution has to be not negative and sum to 1; divide the votes by their sum.")
        distribution.flags.writeable = False
        object.__setattr__(self, "distribution", distribution)

    @property
    def label(self) -> str:
        """The label with most votes; the first of the model's order where several share the most."""
        return self.emotion_model.labels[int(self.distribution.argmax())]

    def open(self, max_side: int | None = None) -> "Image.Image":
        """The picture as RGB; see `iec_hub.images.open_image`.

        Raises:
            ImageError: If it cannot be read.
            DataError: If the example has no picture.
        """
        if self.image is None:
            raise DataError(f"The example {shown(self.id or self.origin)} has no image; leave it out.")
        return open_image(self.image, max_side=max_side)


# Kind of a skipped row -> how a sentence counts them.
SKIPPED_KINDS = {
    "file": "naming no image file in the folder",
    "image": "with an image that cannot be opened",
    "label": "with an unknown label",
    "row": "that cannot be read",
    "duplicate": "showing a picture that is also elsewhere",
    "left out": "with no label of those asked for",
}


@dataclass(frozen=True)
class SkippedRow:
    """A row that could not be used: where it is ("metadata.csv:12"), why, of which split, and of what kind.

    The kinds are those of `SKIPPED_KINDS`. A duplicate and what was left out are no fault of the data set's.
    """

    origin: str
    reason: str
    split: str | None = None
    kind: str = "row"

    def __str__(self) -> str:
        return f"{self.origin}: {self.reason}"


@dataclass
class EmotionDataset(Sequence):
    """Examples over one emotion model, and the rows that were left out.

    A slice and a split are data sets again.

    Attributes:
        examples: In the data set's order.
        skipped: Rows left out, each with its reason.
        notes: What else a reader should know, as sentences ("... columns are not read").
        name: What reports call it.

    Raises:
        DataError: If an example is over another emotion model.
    """

    examples: list[EmotionExample]
    emotion_model: EmotionModel
    skipped: list[SkippedRow] = field(default_factory=list)
    name: str = "data set"
    notes: list[str] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.examples = list(self.examples)
        for example in self.examples:
            if example.emotion_model is not self.emotion_model and example.emotion_model != self.emotion_model:
                raise DataError(
                    f"An example of {example.emotion_model.name} cannot be part of a data set of "
                    f"{self.emotion_model.name}; map it first."
                )

    def __len__(self) -> int:
        return len(self.examples)

    @overload
    def __getitem__(self, index: int) -> EmotionExample: ...
    @overload
    def __getitem__(self, index: slice) -> "EmotionDataset": ...
    def __getitem__(self, index: int | slice) -> "EmotionExample | EmotionDataset":
        if isinstance(index, slice):
            return replace(self, examples=self.examples[index])
        return self.examples[index]

    def __iter__(self) -> Iterator[EmotionExample]:
        return iter(self.examples)

    def splits(self) -> tuple[str, ...]:
        """The names of the splits: train, validation, test first, then others by name."""
        names = {example.split for example in self.examples} - {None}
        usual = [name for name in SPLITS if name in names]
        return (*usual, *sorted(names - set(usual)))

    def split(self, name: str) -> "EmotionDataset":
        """The examples and skipped rows of one split ("val" is "validation").

        Raises:
            DataError: If there is no such split.
        """
        wanted = split_name(name)
        if wanted not in self.splits():
            known = ", ".join(self.splits())
            has = f"its splits are {known}" if known else "it has no splits"
            raise DataError(f"{self.name} has no split {shown(name)}; {has}.")
        return replace(
            self,
            examples=[example for example in self.examples if example.split == wanted],
            skipped=[row for row in self.skipped if row.split == wanted],
            notes=list(self.notes),
            name=f"{self.name} {wanted}",
        )

    def class_counts(self) -> dict[str, int]:
        """Label -> number of examples whose strongest label it is, in the order of the model."""
        counts = Counter(example.label for example in self.examples)
        return {label: counts[label] for label in self.emotion_model.labels}

    def distributions(self) -> np.ndarray:
        """All distributions, shape (len(self), n), float64."""
        rows = [example.distribution for example in self.examples]
        return np.stack(rows) if rows else np.zeros((0, len(self.emotion_model)))

    def mapped_to(self, emotion_model: EmotionModelLike) -> "EmotionDataset":
        """The same examples over another emotion model, by `iec_hub.emotions.map_distribution`.

        An example that is all neutral is skipped where the target has no neutral. Every other example has to be
        mapped: leaving out whole emotions would change what the data set is about.

        Raises:
            EmotionMappingError: If the target cannot express a label that has votes.
        """
        target = get_emotion_model(emotion_model)
        if target == self.emotion_model:
            return self
        neutral = np.array([polarity == "neutral" for polarity in self.emotion_model.polarities])
        kept, skipped = [], list(self.skipped)
        for example in self.examples:
            if example.distribution[neutral].sum() > 1 - 1e-9:
                try:
                    map_distribution(example.distribution, self.emotion_model, target)
                except EmotionMappingError as error:
                    skipped.append(SkippedRow(example.origin, str(error), example.split))
                    continue
            kept.append(example)
        rows = [example.distribution for example in kept]
        mapped = map_distribution(np.stack(rows), self.emotion_model, target) if rows else []
        examples = [
            replace(example, emotion_model=target, distribution=row / row.sum())
            for example, row in zip(kept, mapped, strict=True)
        ]
        return replace(self, examples=examples, emotion_model=target, skipped=skipped, notes=list(self.notes))

    def report(self, most_reasons: int = 20) -> str:
        """What the data set holds, for people: counts, classes by split, skipped rows and their reasons."""
        lines = [f"{self.name}: {len(self)} examples over {self.emotion_model.name}, {len(self.skipped)} rows skipped"]
        for name in (*self.splits(), None):
            rows = [example for example in self.examples if example.split == name]
            if rows:
                counts = Counter(example.label for example in rows)
                by_label = ", ".join(f"{label} {counts[label]}" for label in self.emotion_model.labels)
                lines.append(f"  {name or '(no split)'}: {len(rows)} ({by_label})")
        lines += [f"  note: {note}" for note in self.notes]
        lines += [f"  skipped {row}" for row in self.skipped[:most_reasons]]
        if len(self.skipped) > most_reasons:
            lines.append(f"  skipped {len(self.skipped) - most_reasons} more rows; all are in .skipped")
        return "\n".join(lines)

    def skipped_counts(self, *kinds: str) -> str:
        """How many rows were skipped for what, "3 naming no image file in the folder, 1 that cannot be
        read".

        Args:
            kinds: Count these alone (keys of `SKIPPED_KINDS`); all by default.
        """
        counts = Counter(row.kind for row in self.skipped)
        shown_kinds = [kind for kind in SKIPPED_KINDS if counts[kind] and (not kinds or kind in kinds)]
        return ", ".join(f"{counts[kind]} {SKIPPED_KINDS[kind]}" for kind in shown_kinds)

    def warn_of_skipped(self) -> None:
        """One logging warning if rows were skipped, so that no count shrinks in silence."""
        if self.skipped:
            logger.warning(
                "%s: %d of %d rows were skipped (%s), the first being %s (see EmotionDataset.report()).",
                self.name,
                len(self.skipped),
                len(self.skipped) + len(self),
                self.skipped_counts(),
                self.skipped[0],
            )


def joined_text(parts: Iterable[str | None]) -> str | None:
    """Untrusted texts on one line, without control characters and at most 4,000 characters long."""
    kept = []
    for part in parts:
        text = "".join(c if c.isprintable() else " " for c in str(part or "")[:8000])
        text = " ".join(text.split())
        if text:
            kept.append(text)
    return "; ".join(kept)[:4000] or None

"""One row of any table (CSV, JSON lines, `datasets`) -> one example: which columns count, and what is in them."""

import math
import os
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path, PurePosixPath, PureWindowsPath
from typing import Any

import numpy as np

from iec_hub.data.columns import ATTRIBUTES, NUMBER_ATTRIBUTES, TEXT_COLUMNS, Columns
from iec_hub.data.labels import (
    emotion_model_for_labels,
    emotion_model_of_columns,
    is_label,
    label_index,
    shown,
    shown_list,
    unknown_label_kind,
    unused_label_columns,
    vote_columns,
)
from iec_hub.data.schema import EmotionDataset, EmotionExample, SkippedRow, joined_text, split_name
from iec_hub.emotions import EMOTION_MODELS, EmotionModel
from iec_hub.errors import DataError

_EMPTY = frozenset(("", "na", "n/a", "nan", "none", "null", "-"))


def file_inside(folder: Path, file_name: object) -> Path:
    """The file of that name in a data set's folder.

    A name may not lead out of the folder ("../x", "/x", "C:x"). Links in the folder are followed: caches and
    large data sets are made of them, and what they lead to is only ever opened as an image.

    Raises:
        DataError: If the name leads out or there is no such file.
    """
    text = str(file_name).strip() if file_name is not None else ""
    if not text:
        raise DataError("the file name is empty; give the image's path in the data set folder.")
    if not text.isprintable() or len(text) > 1000:
        raise DataError(f"the file name {shown(text)} is no plain name; rename the image.")
    relative = PurePosixPath(text.replace("\\", "/"))
    depth = 0
    for part in relative.parts:
        depth += -1 if part == ".." else 1
        if depth < 0:
            break
    if depth < 0 or relative.is_absolute() or PureWindowsPath(text).anchor:
        raise DataError(f"the file name {shown(text)} leaves the data set folder; only files inside it are read.")
    path = folder / relative
    if not os.path.isfile(path):
        raise DataError(f"there is no image {shown(text)} in {shown(folder.name)}; check the file name.")
    return path


def number(value: object, what: str) -> float:
    """A finite number.

    Raises:
        DataError: If it is none.
    """
    try:
        result = float(value)  # type: ignore[arg-type]
    except (TypeError, ValueError, OverflowError):
        result = math.nan
    if not math.isfinite(result):
        raise DataError(f"{what} is {shown(value, 30)}, which is not a number.")
    return result


def optional_number(value: object, what: str) -> float | None:
    """A finite number, or None where the cell is empty ("", "NA", "nan")."""
    if value is None or str(value).strip().casefold() in _EMPTY:
        return None
    return number(value, what)


def votes_to_distribution(values: Sequence[object], emotion_model: EmotionModel) -> np.ndarray:
    """Votes in the order of the model, shape (n,), as shares that sum to 1.

    Raises:
        DataError: If one is not a number or negative, or all are zero.
    """
    votes = [number(value, f'the vote for "{name}"') for name, value in zip(emotion_model.labels, values, strict=True)]
    for name, vote in zip(emotion_model.labels, votes, strict=True):
        if vote < 0:
            raise DataError(f'the vote for "{name}" is {vote:g}; votes cannot be negative.')
    largest = max(votes)
    if largest == 0:
        raise DataError("all votes are zero; at least one label needs a vote.")
    shares = np.array(votes) / largest  # First by the largest, as a sum of huge votes overflows.
    return shares / shares.sum()


def label_to_distribution(value: Any, emotion_model: EmotionModel) -> np.ndarray:
    """The distribution of a label, of a list of labels (one per vote), or of a mapping label -> votes."""
    if isinstance(value, Mapping):
        votes = {label_index(str(label), emotion_model): vote for label, vote in value.items()}
        return votes_to_distribution([votes.get(i, 0) for i in range(len(emotion_model))], emotion_model)
    labels = value if isinstance(value, list | tuple) else [value]
    if not labels or any(label is None or str(label).strip() == "" for label in labels):
        raise DataError(f"there is no label; use one of {shown_list(emotion_model.labels)}.")
    counts = Counter(label_index(str(label), emotion_model) for label in labels)
    return votes_to_distribution([counts[i] for i in range(len(emotion_model))], emotion_model)


def label_counts(values: Iterable[Any]) -> dict[str, int]:
    """How many rows carry each label, whatever form `label_to_distribution` accepts it in."""
    counts: Counter[str] = Counter()
    for value in values:
        for label in value if isinstance(value, list | tuple | Mapping) else [value]:
            if label is not None and str(label).strip():
                counts[str(label)] += 1
    return dict(counts)


def _is_vote(value: object) -> bool:
    """Whether a cell says anything but that nobody voted."""
    try:
        return float(value) != 0  # type: ignore[arg-type]
    except (TypeError, ValueError):
        return True


@dataclass(frozen=True)
class LabelSource:
    """Where a table keeps its labels: one column per label (`votes`), or one column (`label`)."""

    emotion_model: EmotionModel
    votes: tuple[str, ...] | None = None
    label: str | None = None
    # The model the caller asked for, where the table's own one has to be mapped to it.
    target: EmotionModel | None = None
    # The caller listed the labels; rows with others are left out.
    fixed: bool = False

    @classmethod
    def find(
        cls,
        columns: Columns,
        rows: Sequence[Mapping[str, Any]],
        wanted: EmotionModel | None,
        what: str,
        name: str = "custom",
        fixed: bool = False,
    ) -> "LabelSource":
        """The labels of a table. Votes are preferred to a single label: they say more.

        Args:
            name: What a model of the table's own labels is called.
            fixed: The wanted model's labels were listed by the caller and are the only ones to read.

        Raises:
            DataError: If no column is recognised, or more than one emotion model fits.
        """
        counts = label_counts(row.get(columns.label) for row in rows) if columns.label else {}
        if wanted is not None:
            votes = vote_columns(columns.names, wanted)
            if votes:
                return cls(wanted, votes=tuple(votes), fixed=fixed)
            if fixed and counts:
                return cls(emotion_model_for_labels(counts, wanted, what, fixed=True), label=columns.label, fixed=True)
            if any(is_label(label, wanted) for label in counts):
                model = emotion_model_for_labels(counts, wanted, what)
                return cls(model, label=columns.label, target=wanted)
        own = None if fixed else emotion_model_of_columns(columns.names)
        if own is not None:
            return cls(own, votes=tuple(vote_columns(columns.names, own) or ()), target=wanted)
        if columns.label and not counts:
            raise DataError(f'The column "{columns.label}" of {what} is empty; fill in the labels.')
        if columns.label:
            return cls(emotion_model_for_labels(counts, wanted, what, name), label=columns.label, target=wanted)
        expected = "; ".join(", ".join(model.labels) for model in ([wanted] if wanted else EMOTION_MODELS.values()))
        raise DataError(
            f"{what} has no labels: its columns are {shown_list(columns.names, 40)}{columns.did_you_mean(wanted)}; "
            f'expected a column "emotion" or "label", or one column per label of one of: {expected}.'
        )

    def problem_kind(self, row: Mapping[str, Any]) -> str:
        """The kind of a skipped row whose labels give no distribution."""
        if self.votes is not None:
            return "left out" if self.fixed and not any(_is_vote(row.get(column)) for column in self.votes) else "row"
        unknown = [label for label in label_counts([row.get(self.label)]) if not is_label(label, self.emotion_model)]
        return unknown_label_kind(unknown[0], self.emotion_model, self.fixed) if unknown else "row"

    def distribution(self, row: Mapping[str, Any]) -> np.ndarray:
        if self.votes is not None:
            return votes_to_distribution([row.get(column) for column in self.votes], self.emotion_model)
        return label_to_distribution(row.get(self.label), self.emotion_model)  # type: ignore[arg-type]

    def note(self, columns: Columns) -> list[str]:
        """Sentences on columns that look like labels and are not read."""
        used = [*(self.votes or ()), *([self.label] if self.label else ())]
        unused = unused_label_columns(columns.names, used) if self.votes else []
        notes = columns.notes()
        if unused:
            notes.append(
                f"The columns {shown_list(unused)} are no labels of {self.emotion_model.name} and are not read."
            )
        return notes


def attributes_of(row: Mapping[str, Any], columns: Mapping[str, str] | None = None) -> dict[str, Any] | None:
    """The emotional attributes of a row, those that are present; None if none is.

    Args:
        columns: Attribute -> column; by default each is named as the attribute.

    Raises:
        DataError: If brightness or colorfulness is no number from 0 to 1.
    """
    columns = {name: name for name in ATTRIBUTES} if columns is None else columns
    found: dict[str, Any] = {}
    for name in ATTRIBUTES:
        value = row.get(columns[name]) if name in columns else None
        if name in NUMBER_ATTRIBUTES:
            value = optional_number(value, name)
            if value is not None and not 0 <= value <= 1:
                raise DataError(f"{name} is {value:g}; give a number from 0 to 1.")
        elif name == "object":
            value = _texts(value)
        else:
            value = joined_text([value])
        if value is not None:
            found[name] = value
    return found or None


def _texts(value: Any) -> list[str] | None:
    """A list of texts from a list, or from one text with ";" or "|" between its parts."""
    parts = value if isinstance(value, list | tuple) else str(value or "").replace("|", ";").split(";")
    return [text for text in (joined_text([part]) for part in parts[:1000]) if text] or None


@dataclass
class RowReader:
    """Turns rows into examples; a row that cannot be one becomes a skipped row with its reason."""

    name: str
    source: LabelSource
    columns: Columns
    examples: list[EmotionExample] = field(default_factory=list)
    skipped: list[SkippedRow] = field(default_factory=list)

    def add(self, row: Mapping[str, Any], image: Any, origin: str, split: str | None = None, id: str = "") -> None:
        """Adds one row.

        Args:
            image: What the example holds as its image; or a function that gives it or raises DataError.
            split: The split where the table itself says it; else that of the row's column.
        """
        known = self.columns.known
        if split is None and "split" in known:
            split = split_name(row.get(known["split"]))
        kind = "label"
        try:
            distribution = self.source.distribution(row)
            kind = "file"
            image = image() if callable(image) else image
            kind = "row"
            texts = {key: joined_text([row.get(known[key])]) for key in TEXT_COLUMNS if key in known}
            attributes = attributes_of(row, known) or {}
            language = joined_text([texts.get("concepts"), texts.get("tags")])
            attributes |= {key: texts[key] for key in ("concepts", "tags") if texts.get(key)}
            example = EmotionExample(
                image=image,
                emotion_model=self.source.emotion_model,
                distribution=distribution,
                text=texts.get("text") or texts.get("caption") or language,
                attributes=attributes or None,
                valence=optional_number(row.get(known["valence"]), "valence") if "valence" in known else None,
                arousal=optional_number(row.get(known["arousal"]), "arousal") if "arousal" in known else None,
                split=split,
                origin=origin,
                id=joined_text([row.get(known["id"] if "id" in known else known.get("image_id", ""))]) or id,
            )
        except DataError as error:
            self.skip(origin, str(error), split, self.source.problem_kind(row) if kind == "label" else kind)
            return
        self.examples.append(example)

    def skip(self, origin: str, reason: str, split: str | None = None, kind: str = "row") -> None:
        """Records a row that is left out."""
        self.skipped.append(SkippedRow(origin, reason, split, kind))

    def dataset(self, notes: Iterable[str] = ()) -> EmotionDataset:
        """What was read, over the emotion model that the caller wanted."""
        notes = [*notes, *self.source.note(self.columns)]
        dataset = EmotionDataset(self.examples, self.source.emotion_model, self.skipped, self.name, notes)
        return dataset.mapped_to(self.source.target) if self.source.target is not None else dataset

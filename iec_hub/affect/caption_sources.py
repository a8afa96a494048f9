"""Any data set -> the pictures to caption: file, split, emotion and ratings where it has them, human captions."""

from __future__ import annotations

import os
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from iec_hub.data.labels import emotion_model_of_columns, shown
from iec_hub.data.loading import load_emotion_dataset
from iec_hub.data.rows import Columns, attributes_of, file_inside, optional_number
from iec_hub.data.schema import EmotionExample, SkippedRow, is_split_name, joined_text, split_name
from iec_hub.data.tabular import metadata_files, read_csv, read_json_lines
from iec_hub.errors import DataError


@dataclass(frozen=True, eq=False)
class CaptionItem:
    """One picture to caption and what its data set says of it; texts are untrusted.

    Attributes:
        id: the data set's name for the picture; the seed of its captions' wording.
        file_name: its path from the data set's folder, or its id where it is no file.
        image: what `iec_hub.images.open_image` reads.
        emotion_labels, emotion_distribution: the emotion model's labels and the votes' shares; None without labels.
        annotations: as `EmotionExample.attributes`.
    """

    id: str
    file_name: str
    dataset: str
    image: Any
    split: str | None = None
    emotion_model: str | None = None
    emotion: str | None = None
    emotion_labels: tuple[str, ...] | None = None
    emotion_distribution: tuple[float, ...] | None = None
    valence: float | None = None
    arousal: float | None = None
    annotations: Mapping[str, Any] | None = None
    human_captions: tuple[str, ...] = ()
    origin: str = ""


@dataclass(frozen=True)
class CaptionSource:
    """What was read of one data set: its pictures, and the rows that cannot be used."""

    name: str
    items: tuple[CaptionItem, ...]
    skipped: tuple[SkippedRow, ...]


@dataclass(frozen=True)
class _Table:
    """A metadata file: rows with their lines, and where it lies."""

    path: Path
    origin: str
    split: str | None
    header: list[str]
    rows: list[tuple[int, dict[str, Any]]]
    broken: list[tuple[int, str]]


def read_caption_source(source: str | os.PathLike[str]) -> CaptionSource:
    """The pictures of a data set in any layout of `iec_hub.data.load_emotion_dataset`, or of an unlabelled table.

    A `metadata.csv` or `metadata.jsonl` needs no emotion labels here, only `file_name`. Its columns that begin with
    "caption" are human captions, and so is the schema's text where it is not made of concepts and tags.

    Raises:
        DataError: If the data set cannot be read or has no picture that can be used.
    """
    path = Path(source)
    tables = _tables(path) if path.exists() and (path.is_file() or metadata_files(path)) else []
    root = path if path.is_dir() else path.parent
    if tables:
        names = dict.fromkeys(name for table in tables for name in table.header)
        columns = Columns.of(names)
        if columns.label is None and emotion_model_of_columns(tuple(names)) is None:
            return _unlabelled(root, tables, columns)
    dataset = load_emotion_dataset(source)
    captions = {f"{table.origin}:{line}": _captions(row) for table in tables for line, row in table.rows}
    items = [_labelled(example, root, dataset.name, captions.get(example.origin, ())) for example in dataset]
    return CaptionSource(dataset.name, tuple(items), tuple(dataset.skipped))


def _tables(source: Path) -> list[_Table]:
    root = source if source.is_dir() else source.parent
    tables = []
    for path in metadata_files(source):
        content = (read_json_lines if path.suffix.lower() == ".jsonl" else read_csv)(path)
        split = split_name(path.parent.name) if path.parent != root and is_split_name(path.parent.name) else None
        tables.append(_Table(path, path.relative_to(root).as_posix(), split, *content))
    return tables


def _labelled(example: EmotionExample, root: Path, name: str, captions: tuple[str, ...]) -> CaptionItem:
    annotations = example.attributes or {}
    # Where a data set has no text, the schema's is made of its concepts and tags, which no person wrote as such.
    made = joined_text([annotations.get("concepts"), annotations.get("tags")])
    texts = (example.text,) if example.text and example.text != made else ()
    return CaptionItem(
        id=example.id or example.origin,
        file_name=_relative(example.image, root) or example.id or example.origin,
        dataset=name,
        image=example.image,
        split=example.split,
        emotion_model=example.emotion_model.name,
        emotion=example.label,
        emotion_labels=example.emotion_model.labels,
        emotion_distribution=tuple(example.distribution.tolist()),
        valence=example.valence,
        arousal=example.arousal,
        annotations=annotations or None,
        human_captions=tuple(dict.fromkeys((*captions, *texts))),
        origin=example.origin,
    )


def _unlabelled(root: Path, tables: Iterable[_Table], columns: Columns) -> CaptionSource:
    name = root.resolve().name
    items, skipped = [], []
    for table in tables:
        skipped += [SkippedRow(f"{table.origin}:{line}", reason, table.split) for line, reason in table.broken]
        for line, row in table.rows:
            origin = f"{table.origin}:{line}"
            split = table.split or split_name(row.get(columns.known.get("split", "")))
            try:
                items.append(_item(row, columns, table.path.parent, root, name, split, origin))
            except DataError as error:
                skipped.append(SkippedRow(origin, str(error), split))
    if not items:
        first = f"; the first of {len(skipped)}: {skipped[0]}" if skipped else ", it is empty."
        raise DataError(f"{shown(name)} has no row that can be used{first}")
    return CaptionSource(name, tuple(items), tuple(skipped))


def _item(
    row: Mapping[str, Any], columns: Columns, folder: Path, root: Path, name: str, split: str | None, origin: str
) -> CaptionItem:
    """A row without labels.

    Raises:
        DataError: If it has no picture, or a number is none.
    """
    if columns.file_name is None:
        raise DataError('there is no column "file_name"; name the pictures in one.')
    known = columns.known
    image = file_inside(folder, row.get(columns.file_name))
    return CaptionItem(
        id=joined_text([row.get(known.get("id", known.get("image_id", "")))]) or _relative(image, root),
        file_name=_relative(image, root),
        dataset=name,
        image=image,
        split=split,
        valence=optional_number(row.get(known.get("valence", "")), "valence"),
        arousal=optional_number(row.get(known.get("arousal", "")), "arousal"),
        annotations=attributes_of(row, known),
        human_captions=_captions(row),
        origin=origin,
    )


def _captions(row: Mapping[str, Any]) -> tuple[str, ...]:
    """The texts in columns that begin with "caption", each once, each on one line."""
    values = [value for name, value in row.items() if str(name).strip().casefold().startswith("caption")]
    parts = [part for value in values for part in (value if isinstance(value, list) else [value])]
    return tuple(dict.fromkeys(text for part in parts if (text := joined_text([part]))))


def _relative(image: Any, root: Path) -> str:
    """A file's path from the data set's folder; never one that tells where that folder lies."""
    if not isinstance(image, Path):
        return ""
    return image.relative_to(root).as_posix() if image.is_relative_to(root) else image.name

"""Data sets of the `datasets` library: from the Hub, from disk, or as objects."""

import os
import re
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from iec_hub.data.columns import LABEL_COLUMNS, Columns
from iec_hub.data.labels import shown, shown_list
from iec_hub.data.rows import LabelSource, RowReader
from iec_hub.data.schema import EmotionDataset, split_name
from iec_hub.emotions import EmotionModel
from iec_hub.errors import DataError, ImageError

if TYPE_CHECKING:
    from datasets import Dataset, DatasetDict

_HUB_ID = re.compile(r"^(?:[A-Za-z0-9][\w.-]*/)?[A-Za-z0-9][\w.-]{0,95}$")


class DatasetImage:
    """A picture inside a `datasets` data set, read from it only when it is opened.

    It is a binary stream for `iec_hub.images.open_image`: every `read` begins at the beginning, so it can be
    opened many times and by several threads.
    """

    def __init__(self, column: "Dataset", name: str, index: int) -> None:
        self._column, self._name, self._index = column, name, index

    def read(self, size: int = -1) -> bytes:
        """The file's first `size` bytes; all if negative.

        Raises:
            ImageError: If the row has no picture, or its file is gone.
        """
        value = self._column[self._index][self._name] or {}
        content, path = (value, None) if isinstance(value, bytes) else (value.get("bytes"), value.get("path"))
        if content is None and path and os.path.isfile(path):
            with open(path, "rb") as file:
                return file.read(size)
        if content is None:
            raise ImageError(f"Row {self._index} of the data set has no picture; load the data set again.")
        return content if size < 0 else content[:size]

    def __repr__(self) -> str:
        return f"DatasetImage({self._name!r}, {self._index})"


def _datasets() -> Any:
    try:
        import datasets
    except ImportError as error:
        raise DataError(
            "Reading this data set needs the datasets library; install it with: pip install 'iec-hub[data]'."
        ) from error
    return datasets


def is_datasets_object(source: Any) -> bool:
    """Whether the source is a Dataset or DatasetDict (asked without importing `datasets`)."""
    return type(source).__module__.partition(".")[0] == "datasets"


def is_saved_dataset(folder: Path) -> bool:
    """Whether a folder was written by `save_to_disk`, or holds parquet files as the Hub does."""
    if (folder / "dataset_dict.json").is_file() or (folder / "state.json").is_file():
        return True
    return any(folder.glob("*.parquet")) or any(folder.glob("data/*.parquet"))


def is_hub_id(source: str) -> bool:
    """Whether a text could be the id of a data set on the Hub ("owner/name")."""
    return bool(_HUB_ID.match(source)) and ".." not in source


def load_hub(source: Any, emotion_model: EmotionModel | None, name: str, fixed: bool = False) -> EmotionDataset:
    """Reads a `datasets` data set.

    It needs an image column, and labels: a ClassLabel or text column "emotion" or "label" (else the only
    ClassLabel column), or one column of votes per label. Other columns are read as those of `metadata.csv`.
    Pictures stay in the data set until they are opened.

    Args:
        source: A Dataset or DatasetDict, a folder of `save_to_disk` or of parquet files, or an id on the Hub.
        fixed: Read the labels of `emotion_model` alone; rows with others are left out.

    Raises:
        DataError: If `datasets` is not installed, the data set cannot be loaded, or a column is missing.
    """
    parts = _parts(source if is_datasets_object(source) else _loaded(source))
    if not parts:
        raise DataError(f"{shown(name)} has no splits with rows; choose another data set.")
    image_column, first = _image_column(parts[0][1], name), parts[0][1]
    label_column, class_names = _label_column(first)
    columns = Columns.of([c for c in first.column_names if c != image_column])
    columns = Columns(columns.names, image_column, label_column or columns.label, columns.known)
    tables = [(split, part, list(_rows(part, image_column, label_column, class_names))) for split, part in parts]
    columns.check(name)
    labels = LabelSource.find(
        columns, [row for _, _, rows in tables for row in rows], emotion_model, name, name, fixed
    )
    reader = RowReader(name, labels, columns)
    for split, part, rows in tables:
        images = _undecoded(part, image_column)
        missing = _without_picture(images, image_column)
        for index, row in enumerate(rows):
            origin = f"{split or 'row'}:{index}"
            if index in missing:
                reader.skip(origin, "the row has no picture; fill it in or remove the row.", split, "file")
                continue
            reader.add(row, DatasetImage(images, image_column, index), origin, split, id=origin)
    return reader.dataset()


def _loaded(source: str | Path) -> "Dataset | DatasetDict":
    datasets = _datasets()
    path = Path(source)
    try:
        if (path / "dataset_dict.json").is_file() or (path / "state.json").is_file():
            return datasets.load_from_disk(str(path))
        return datasets.load_dataset(str(source))
    # The library raises errors of many kinds, of the network and of the files.
    except Exception as error:
        reason = " ".join(str(error).split())[:200]
        raise DataError(
            f"{shown(source)} cannot be loaded as a data set of the Hub or from disk; check the name and the "
            f"connection ({type(error).__name__}: {reason})."
        ) from error


def _parts(source: Any) -> "list[tuple[str | None, Dataset]]":
    """The splits with rows; a Dataset alone is a split if it says which."""
    if isinstance(source, Mapping):
        return [(split_name(key), part) for key, part in source.items() if _sized(part)]
    if not _sized(source):
        return []
    # A split column says more than the name a Dataset gets by default ("train").
    split = None if "split" in source.column_names else split_name(str(source.split or "").partition("[")[0])
    return [(split, source)]


def _sized(part: Any) -> bool:
    if not hasattr(part, "__len__") or not hasattr(part, "column_names"):
        raise DataError("Streamed data sets cannot be read; load the data set without streaming.")
    return len(part) > 0


def _image_column(part: "Dataset", name: str) -> str:
    datasets = _datasets()
    found = [column for column, feature in part.features.items() if isinstance(feature, datasets.Image)]
    if not found:
        raise DataError(
            f"{shown(name)} has no image column: its columns are {shown_list(part.column_names)}; "
            'cast one with cast_column("image", datasets.Image()).'
        )
    return "image" if "image" in found else found[0]


def _label_column(part: "Dataset") -> tuple[str | None, Sequence[str] | None]:
    """The label column and, if it holds class indices, their names."""
    classes = {column: names for column, feature in part.features.items() if (names := _class_names(feature))}
    by_key = {column.casefold(): column for column in part.column_names}
    column = next((by_key[key] for key in LABEL_COLUMNS if key in by_key), None)
    if column is None and len(classes) == 1:
        column = next(iter(classes))
    return column, classes.get(column) if column else None


def _class_names(feature: Any) -> Sequence[str] | None:
    """The names of a ClassLabel or of a list of them (one label per vote)."""
    return getattr(getattr(feature, "feature", feature), "names", None)


def _rows(
    part: "Dataset", image_column: str, label_column: str | None, class_names: Sequence[str] | None
) -> Iterator[dict[str, Any]]:
    """All rows without their pictures, class indices replaced by names."""
    part = part.with_format(None)
    rest = [column for column in part.column_names if column != image_column]
    for row in part.select_columns(rest) if rest else ({} for _ in range(len(part))):
        row = dict(row)
        if label_column is not None and class_names is not None:
            row[label_column] = _named(row[label_column], class_names)
        yield row


def _named(value: Any, names: Sequence[str]) -> Any:
    if isinstance(value, list | tuple):
        return [_named(item, names) for item in value]
    if value is None or isinstance(value, str):
        return value
    # -1 is how `datasets` marks a row without a label.
    return names[value] if 0 <= value < len(names) else None


def _without_picture(images: "Dataset", image_column: str) -> set[int]:
    """Rows without a picture; the rows are only read if the table says that there are some."""
    if images.data.column(image_column).null_count == 0:
        return set()
    return {index for index, row in enumerate(images) if row[image_column] is None}


def _undecoded(part: "Dataset", image_column: str) -> "Dataset":
    datasets = _datasets()
    part = part.with_format(None).select_columns([image_column])
    return part.cast_column(image_column, datasets.Image(decode=False))

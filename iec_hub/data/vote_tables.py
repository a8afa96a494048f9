"""Layouts with one text file of votes: Emotion6, Flickr-LDL and Twitter-LDL, Abstract."""

import re
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from iec_hub.data.columns import Columns
from iec_hub.data.labels import column_label, shown, shown_list
from iec_hub.data.rows import LabelSource, RowReader, file_inside
from iec_hub.data.schema import EmotionDataset, split_name
from iec_hub.data.tabular import read_cells
from iec_hub.emotions import EMOTION_MODELS, EmotionModel
from iec_hub.errors import DataError

ABSTRACT_FILE = "abstract_groundtruth.csv"
# The order of ABSTRACT_groundTruth.csv, for a copy without its header.
_ABSTRACT_HEADER = ("image", "amusement", "anger", "awe", "content", "disgust", "excitement", "fear", "sad")
_FILE_COLUMN = "image"
_ENDINGS = (".txt", ".csv")
_SPLIT_IN_NAME = re.compile(r"(?:^|[^a-z])(train|val|valid|validation|dev|test)(?:[^a-z]|$)")


def truth_files(folder: Path) -> list[Path]:
    """Vote tables such as `ground_truth.txt`; those of splits (`train_ground_truth.txt`) alone where there are any."""
    found = [p for p in sorted(folder.iterdir()) if p.suffix.lower() in _ENDINGS and _is_truth(p.stem)]
    of_splits = [path for path in found if split_of_file(path)]
    return of_splits or found


def _is_truth(stem: str) -> bool:
    return "truth" in stem.casefold()


def split_of_file(path: Path) -> str | None:
    """The split that a file's name says, "test_ground_truth.txt"."""
    match = _SPLIT_IN_NAME.search(path.stem.casefold())
    return split_name(match[1]) if match else None


def read_header(path: Path) -> tuple[str, list[str]]:
    """The delimiter of a vote table (tab, comma or space) and its first row, without quotes."""
    best: tuple[str, list[str]] = (",", [])
    for delimiter in ("\t", ",", " "):
        cells = next(read_cells(path, delimiter), (1, []))[1]
        # "[prob. anger]" has a space itself, so space comes last and has to give more to win.
        if not isinstance(cells, str) and len(cells) > max(1, len(best[1])):
            best = (delimiter, [_unquoted(cell) for cell in cells])
    return best


def _unquoted(cell: str) -> str:
    return cell.strip().strip("'\"").strip()


def has_label_columns(header: Sequence[str], emotion_model: EmotionModel) -> bool:
    """Whether a header names every label of the model."""
    try:
        columns = Columns.of([_FILE_COLUMN, *header[1:]])
        return LabelSource.find(columns, [], emotion_model, "").emotion_model == emotion_model
    except DataError:
        return False


def load_emotion6(source: Path, emotion_model: EmotionModel | None, name: str) -> EmotionDataset:
    """Reads Emotion6 (Peng et al., 2015): `ground_truth.txt` and `images/<keyword>/1.jpg`.

    The table has the file name ("disgust/1.jpg"), valence and arousal (1 to 9) and the share of votes of
    Ekman's six and neutral. The keyword in the path is what the picture was searched with, not its label.

    Raises:
        DataError: If there is no such table.
    """
    return _load_tables(source, truth_files(source), EMOTION_MODELS["ekman7"], emotion_model, name)


def load_ldl(source: Path, emotion_model: EmotionModel | None, name: str) -> EmotionDataset:
    """Reads Flickr-LDL or Twitter-LDL (Yang et al., 2017): `ground_truth.txt` and `images/`.

    The table has the file name and the votes of 11 (Flickr) or 8 (Twitter) people over Mikels' eight, whose
    order the header gives; `train_ground_truth.txt` and `test_ground_truth.txt` give splits. Without a file of
    such a name, every .txt or .csv whose header names the eight labels is read.

    Raises:
        DataError: If there is no such table, as where only the MATLAB file is there.
    """
    files = truth_files(source) or [
        path
        for path in sorted(source.iterdir())
        if path.suffix.lower() in _ENDINGS and has_label_columns(read_header(path)[1], EMOTION_MODELS["mikels8"])
    ]
    if not files and list(source.glob("*.mat")):
        raise DataError(
            f"{shown(name)} has its votes in a MATLAB file only, which does not say the order of the labels; write "
            "ground_truth.txt with a header of the file name and the eight labels."
        )
    return _load_tables(source, files, EMOTION_MODELS["mikels8"], emotion_model, name)


def load_abstract(source: Path, emotion_model: EmotionModel | None, name: str) -> EmotionDataset:
    """Reads Abstract (Machajdik and Hanbury, 2010): `ABSTRACT_groundTruth.csv` beside its images.

    The table has the file name in quotes and the votes (about 14 a picture) for amusement, anger, awe,
    content, disgust, excitement, fear and sad.

    Raises:
        DataError: If there is no such table.
    """
    files = [path for path in sorted(source.iterdir()) if path.name.casefold() == ABSTRACT_FILE]
    return _load_tables(source, files, EMOTION_MODELS["mikels8"], emotion_model, name, _ABSTRACT_HEADER)


def _load_tables(
    source: Path,
    files: Sequence[Path],
    own: EmotionModel,
    wanted: EmotionModel | None,
    name: str,
    usual_header: Sequence[str] = (),
) -> EmotionDataset:
    """Vote tables of one data set; `usual_header` is taken where a table begins with votes at once."""
    if not files:
        raise DataError(f"{shown(name)} has no table of votes (ground_truth.txt); choose another layout.")
    reader: RowReader | None = None
    for path in files:
        delimiter, header = read_header(path)
        has_header = has_label_columns(header, own)
        if not has_header and not (len(header) == len(usual_header) and _is_number(header[-1])):
            raise DataError(
                f"The first line of {shown(path.name)} does not name the labels {shown_list(own.labels)}: it is "
                f"{shown_list(header)}."
            )
        names = [_FILE_COLUMN, *(column_label(cell) for cell in (header if has_header else usual_header)[1:])]
        columns = Columns.of(names)
        labels = LabelSource.find(columns, [], own, path.name)
        reader = reader or RowReader(name, labels, columns)
        reader.source, reader.columns = labels, columns
        rows = read_cells(path, delimiter)
        if has_header:
            next(rows)
        split = split_of_file(path)
        for line, cells in rows:
            _add(reader, source, names, cells, f"{path.name}:{line}", split)
    assert reader is not None
    dataset = reader.dataset()
    return dataset if wanted is None else dataset.mapped_to(wanted)


def _add(
    reader: RowReader, source: Path, names: list[str], cells: list[str] | str, origin: str, split: str | None
) -> None:
    if isinstance(cells, list) and cells and not cells[-1].strip():
        cells = cells[: len(names)]  # A delimiter at the end of the line.
    if isinstance(cells, str) or len(cells) != len(names):
        reason = cells if isinstance(cells, str) else f"the row has {len(cells)} cells, the header {len(names)}."
        reader.skip(origin, reason, split)
        return
    row: dict[str, Any] = dict(zip(names, map(_unquoted, cells), strict=True))
    file_name = row[_FILE_COLUMN]
    reader.add(row, lambda: _image(source, file_name), origin, split, id=file_name[:200])


def _image(source: Path, file_name: str) -> Path:
    """The image of a row, in `images/` or beside the table, with or without its ending."""
    problem: DataError | None = None
    for folder in (source / "images", source / "image", source):
        for text in (file_name, f"{file_name}.jpg"):
            try:
                return file_inside(folder, text)
            except DataError as error:
                problem = problem or error
    assert problem is not None
    raise problem


def _is_number(text: str) -> bool:
    try:
        float(text)
    except ValueError:
        return False
    return True

"""Tables beside images: `metadata.csv` and `metadata.jsonl`."""

import csv
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from iec_hub.data.columns import Columns
from iec_hub.data.labels import shown, shown_list
from iec_hub.data.rows import LabelSource, RowReader, file_inside
from iec_hub.data.schema import EmotionDataset, SkippedRow, is_split_name, split_name
from iec_hub.emotions import EmotionModel
from iec_hub.errors import DataError

METADATA_NAMES = ("metadata.csv", "metadata.jsonl")
_DELIMITERS = (",", "\t", ";")


def metadata_files(source: Path) -> list[Path]:
    """The tables of a data set: `metadata.csv` or `metadata.jsonl` in its folder, else in its split folders."""
    if source.is_file():
        return [source] if source.suffix.lower() in (".csv", ".tsv", ".jsonl") else []
    for folders in ([source], sorted(f for f in source.iterdir() if f.is_dir() and is_split_name(f.name))):
        found = [next((f / name for name in METADATA_NAMES if (f / name).is_file()), None) for f in folders]
        if any(found):
            return [path for path in found if path is not None]
    return []


def read_cells(path: Path, delimiter: str) -> Iterator[tuple[int, list[str] | str]]:
    """The rows of a delimited text file, with the line each begins at; a text instead of cells says what is wrong.

    Raises:
        DataError: If the file cannot be opened.
    """
    try:
        # Bytes that are not UTF-8 become surrogates, so that one bad row does not hide the others.
        file = open(path, encoding="utf-8-sig", errors="surrogateescape", newline="")  # noqa: SIM115
    except OSError as error:
        raise DataError(f"{shown(path.name)} cannot be opened ({error.strerror}); check its permissions.") from error
    with file:
        lines = file.readlines()
    start = 0
    while start < len(lines):
        reader = csv.reader((lines[i] for i in range(start, len(lines))), delimiter=delimiter, strict=True)
        number = start
        try:
            for cells in reader:
                if any("\udc80" <= c <= "\udcff" for cell in cells if not cell.isascii() for c in cell):
                    yield number + 1, "the row is not UTF-8; save the file as UTF-8."
                elif any(cell.strip() for cell in cells):
                    yield number + 1, cells
                number = start + reader.line_num
            return
        except csv.Error as error:
            yield number + 1, f"the row is not CSV ({error}); is a quote not closed?"
            # An open quote swallows the lines after it, which are good rows: begin again at the next one.
            start = number + 1


def read_csv(path: Path) -> tuple[list[str], list[tuple[int, dict[str, Any]]], list[tuple[int, str]]]:
    """Header, rows by line, and broken lines with their reasons, of a CSV file (comma, tab or semicolon).

    Raises:
        DataError: If there is no header, or it names a column twice.
    """
    delimiter = max(_DELIMITERS, key=lambda d: len(_first_cells(path, d)))
    lines = read_cells(path, delimiter)
    _, header = next(lines, (1, "it is empty"))
    if isinstance(header, str):
        raise DataError(f"{shown(path.name)} has no readable header: {header}")
    header = [cell.strip() for cell in header]
    twice = [name for name in dict.fromkeys(header) if name and header.count(name) > 1]
    if twice:
        raise DataError(f"{shown(path.name)} has the column {shown_list(twice)} twice; remove or rename one.")
    rows: list[tuple[int, dict[str, Any]]] = []
    broken: list[tuple[int, str]] = []
    for line, cells in lines:
        if isinstance(cells, str):
            broken.append((line, cells))
        elif len(cells) != len(header):
            spans = any("\n" in cell for cell in cells)
            hint = "; it runs over several lines, is a quote not closed?" if spans else "; quote cells with commas."
            broken.append((line, f"the row has {len(cells)} cells, the header {len(header)}{hint}"))
        else:
            rows.append((line, dict(zip(header, cells, strict=True))))
    return header, rows, broken


def _first_cells(path: Path, delimiter: str) -> list[str]:
    cells = next(read_cells(path, delimiter), (1, ""))[1]
    return cells if isinstance(cells, list) else []


def read_json_lines(path: Path) -> tuple[list[str], list[tuple[int, dict[str, Any]]], list[tuple[int, str]]]:
    """Keys of all rows, rows by line, and broken lines with their reasons, of a JSON lines file."""
    keys: dict[str, None] = {}
    rows: list[tuple[int, dict[str, Any]]] = []
    broken: list[tuple[int, str]] = []
    try:
        file = open(path, "rb")  # noqa: SIM115
    except OSError as error:
        raise DataError(f"{shown(path.name)} cannot be opened ({error.strerror}); check its permissions.") from error
    with file:
        for line, content in enumerate(file, start=1):
            try:
                text = content.decode("utf-8-sig" if line == 1 else "utf-8").strip()
                row = json.loads(text) if text else None
            except UnicodeDecodeError:
                broken.append((line, "the line is not UTF-8; save the file as UTF-8."))
                continue
            # Deep nesting and numbers of thousands of digits fail in their own ways.
            except (ValueError, RecursionError) as error:
                broken.append((line, f"the line is not JSON ({str(error)[:80]}); write one object a line."))
                continue
            if isinstance(row, dict):
                keys.update(dict.fromkeys(row))
                rows.append((line, row))
            elif text:
                broken.append((line, "the line is no JSON object; write {...} with a file_name."))
    return list(keys), rows, broken


def load_metadata(source: Path, emotion_model: EmotionModel | None, name: str, fixed: bool = False) -> EmotionDataset:
    """Reads `metadata.csv` or `metadata.jsonl` of a folder, or the table itself.

    Columns: `file_name` (path from the table's folder), optional `split`, and `emotion` or `label`, or one
    column of votes per label; optional text, caption, concepts, tags, valence, arousal, brightness,
    colorfulness, scene, object, facial_expression, human_action. Others are not read. In split folders
    (`train/metadata.csv`) the folder is the split.

    Args:
        fixed: Read the labels of `emotion_model` alone; rows with others are left out.

    Raises:
        DataError: If there is no table, no file column or no labels.
    """
    files = metadata_files(source)
    if not files:
        raise DataError(f"{shown(name)} has no metadata.csv or metadata.jsonl; write one or choose another layout.")
    root = source if source.is_dir() else source.parent
    names: dict[str, None] = {}
    tables: list[tuple[Path, list[tuple[int, dict[str, Any]]]]] = []
    skipped: list[SkippedRow] = []
    for path in files:
        header, rows, broken = (read_json_lines if path.suffix.lower() == ".jsonl" else read_csv)(path)
        names.update(dict.fromkeys(header))
        tables.append((path, rows))
        origin, split = _origin(path, root), _folder_split(path, root)
        skipped += [SkippedRow(f"{origin}:{line}", reason, split) for line, reason in broken]
    columns = Columns.of(names)
    columns.check(files[0].name)
    every_row = [row for _, rows in tables for _, row in rows]
    labels = LabelSource.find(columns, every_row, emotion_model, files[0].name, name, fixed)
    reader = RowReader(name, labels, columns, skipped=skipped)
    for path, rows in tables:
        for line, row in rows:
            file_name = row.get(columns.file_name)
            reader.add(
                row,
                lambda folder=path.parent, file_name=file_name: file_inside(folder, file_name),
                f"{_origin(path, root)}:{line}",
                _folder_split(path, root),
                id=str(file_name or "")[:200],
            )
    return reader.dataset()


def _origin(path: Path, root: Path) -> str:
    return path.relative_to(root).as_posix()


def _folder_split(path: Path, root: Path) -> str | None:
    return split_name(path.parent.name) if path.parent != root else None

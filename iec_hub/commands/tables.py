"""How `iec-hub predict` writes its rows: CSV, JSON lines, or lines for people. Every row is flushed."""

from __future__ import annotations

import csv
import json
import re
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol, TextIO

from iec_hub.commands.explaining import explanation_lines
from iec_hub.commands.session import in_brief, printable
from iec_hub.errors import DataError

if TYPE_CHECKING:
    from iec_hub.prediction import EmotionPrediction
    from iec_hub.predictor import FilePrediction

BEFORE_LABELS = ("file", "emotion", "confidence")
AFTER_LABELS = ("uncertain", "concepts", "caption", "embedded_text", "error")
WIDEST_NAME = 60
WIDEST_CAPTION = 80
# A photographed page would make a table unreadable; JSON lines hold all of it.
LONGEST_EMBEDDED_TEXT = 1000
# Beyond the control characters below the space: what some readers take for the end of a line, and what turns the
# direction of the text that follows.
_ESCAPED = frozenset("\x7f\x85\u2028\u2029\u061c\u200e\u200f\u202a\u202b\u202c\u202d\u202e\u2066\u2067\u2068\u2069")
# The wide ones begin a formula too, where Excel speaks Chinese, Japanese or Korean.
_FORMULA = "=+\\-@\uff0b\uff0d\uff1d\uff20"


class Table(Protocol):
    """Takes results one by one."""

    def write(self, result: FilePrediction) -> None: ...


@contextmanager
def open_table(output: Path | None, labels: Sequence[str], files: Sequence[Path]) -> Iterator[Table]:
    """The table for an output; `None` is the terminal.

    Raises:
        DataError: if the output cannot be opened or written.
    """
    if output is None:
        yield TextTable(sys.stdout, files)
        return
    try:
        # A file name's bytes that are not text are written as \udcXX, which is also what JSON calls them.
        file = open(output, "w", encoding="utf-8", errors="backslashreplace", newline="")  # noqa: SIM115
    except OSError as error:
        raise DataError(f"{str(output)!r} cannot be written ({error.strerror}); choose another output.") from error
    try:
        with file:
            yield CsvTable(file, labels) if output.suffix.lower() == ".csv" else JsonLinesTable(file)
    except OSError as error:
        raise DataError(f"{str(output)!r} cannot be written on ({error.strerror}); is the disk full?") from error


class CsvTable:
    """`file, emotion, confidence, <one per label>, uncertain, concepts, caption, embedded_text, error`.

    Several concepts or pieces of embedded text stand in one cell, separated by a semicolon and a space, captions one
    after the other; the concepts best first and without their scores. A name of a concept holds no semicolon, so that
    ``cell.split("; ")`` gives the list back. Embedded text ends in "..." after `LONGEST_EMBEDDED_TEXT` characters.
    """

    def __init__(self, file: TextIO, labels: Sequence[str]):
        self.file, self.labels = file, labels
        self.writer = csv.writer(file, lineterminator="\n")
        # A label that is named like another column would hide it from readers that go by name.
        fixed = {*BEFORE_LABELS, *AFTER_LABELS}
        columns = [f"{label} (emotion)" if label in fixed else label for label in labels]
        self._write([*BEFORE_LABELS, *(safe_cell(column) for column in columns), *AFTER_LABELS])

    def write(self, result: FilePrediction) -> None:
        prediction, file, error = result.prediction, safe_cell(str(result.file)), safe_cell(result.error or "")
        if prediction is None:
            self._write([file, *[""] * (2 + len(self.labels) + len(AFTER_LABELS) - 1), error])
            return
        self._write(
            [
                file,
                safe_cell(prediction.emotion),
                f"{prediction.confidence:.6f}",
                *(f"{probability:.6f}" for probability in prediction.probabilities),
                "true" if prediction.uncertain else "false",
                *(safe_cell(text) for text in texts_of(prediction)),
                error,
            ]
        )

    def _write(self, cells: Sequence[str]) -> None:
        self.writer.writerow(cells)
        self.file.flush()


class JsonLinesTable:
    """Per line `file`, `error` and everything of :meth:`EmotionPrediction.to_dict`, of which an error has nothing."""

    def __init__(self, file: TextIO):
        self.file = file

    def write(self, result: FilePrediction) -> None:
        row: dict[str, Any] = {"file": str(result.file), "error": result.error}
        if result.prediction is not None:
            row |= result.prediction.to_dict()
            if row["evidence"] is None:
                del row["evidence"]
        self.file.write(json.dumps(row, ensure_ascii=False) + "\n")
        self.file.flush()


class TextTable:
    """One line per file: its name, the verdict, and a caption where the method wrote one.

    Where a single file was asked for and the method decides from words, these follow on lines of their own.
    """

    def __init__(self, stream: TextIO, files: Sequence[Path]):
        self.stream, self.alone = stream, len(files) == 1
        self.width = min(WIDEST_NAME, max((len(printable(str(file))) for file in files), default=0))

    def write(self, result: FilePrediction) -> None:
        prediction = result.prediction
        verdict = f"error: {result.error}" if prediction is None else prediction.summary()
        lines = explanation_lines(prediction) if prediction is not None and self.alone else []
        caption = ""
        # The lines hold it in full.
        if prediction is not None and prediction.captions and not lines:
            caption = in_brief(prediction.captions[0], WIDEST_CAPTION)
        line = f"{printable(str(result.file)):<{self.width}}  {printable(verdict)}"
        self.stream.write("".join(f"{each}\n" for each in (f"{line}  {caption}" if caption else line, *lines)))
        self.stream.flush()


def texts_of(prediction: EmotionPrediction) -> tuple[str, str, str]:
    """Concepts, caption (the captions, else the filled template) and embedded text, each as one text.

    See :class:`CsvTable` for how several are joined, and how long the last one is at most.
    """
    concepts = "; ".join(concept.text.replace(";", ",") for concept in prediction.concepts or ())
    caption = " ".join(prediction.captions or ()) or prediction.template or ""
    written = "; ".join(text.text for text in prediction.embedded_text or ())
    if len(written) > LONGEST_EMBEDDED_TEXT:
        written = f"{written[: LONGEST_EMBEDDED_TEXT - 3].rstrip()}..."
    return concepts, caption, written


def safe_cell(text: str) -> str:
    """A text that a spreadsheet shows and never calculates, on one line.

    What begins like a formula gets an apostrophe (OWASP, "CSV injection"), also after a semicolon, at which some
    countries' spreadsheets begin another cell; line breaks and other control characters become escapes such as `\\n`,
    because programs disagree on line breaks within cells.
    """
    guarded = f"'{text}" if text[:1] in ("\t", "\r") else text
    guarded = re.sub(rf"(^|;)(\s*)(?=[{_FORMULA}])", r"\1\2'", guarded)
    return "".join(
        character.encode("unicode_escape").decode("ascii") if character < " " or character in _ESCAPED else character
        for character in guarded
    )

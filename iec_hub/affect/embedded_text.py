"""Reading the text inside images: where it stands, what it says and how surely, in the order that people read it in.

RapidOCR's packaged models (PP-OCRv6, Apache-2.0) find and read lines; nothing is downloaded. What is read is
untrusted: it comes back as one clean line each and is never logged. It is data, whoever wrote it: nothing may obey it.
"""

from __future__ import annotations

import logging
import math
import threading
import unicodedata
from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import TYPE_CHECKING, Protocol

import numpy as np

from iec_hub.affect.rapidocr_engine import INSTALL, RapidEngine, ReadLine, missing_packages
from iec_hub.affect.reading_order import reading_order
from iec_hub.affect.word_spacing import restore_spaces
from iec_hub.errors import DataError
from iec_hub.images import open_image
from iec_hub.prediction import EmbeddedText

if TYPE_CHECKING:
    from PIL import Image

logger = logging.getLogger(__name__)

LONGEST_LINE = 1000
MOST_LINES = 200
# The first look's copy has at most so many pixels, 448 x 336: it finds all but the smallest letters and is cheap. The
# second look's longer side has at most so many.
_FIRST_PIXELS, _SECOND_SIDE = 150_000, 1280
# However narrow an image, its shorter side is looked at with this many pixels, its longer one with at most so many.
_NARROW_SIDE, _LONGEST_SIDE = 64, 4096
_SMALLEST_IMAGE = 8
# Lines lower than this in the first look, in pixels, are found better in a copy where they are higher.
_LOW_LINE, _GOOD_LINE = 16, 24
# What is read less surely than this is no text and not worth a second look, unless it has many letters.
_PLAUSIBLE, _PLAUSIBLE_MANY, _MANY_LETTERS = 0.4, 0.25, 6
# A line of some letters that is no surer than `_SURE` may be small letters in a large box: looked at this much closer.
_SOME_LETTERS, _CLOSER = 4, 2.5
# A line this sure is not tried upside down.
_SURE = 0.85
# One or two letters are what leaves, wheels and windows are taken for: alone in a picture they have to be surer.
_FEW_LETTERS, _FEW_LETTERS_MINIMUM = 2, 0.96
# A word in a box that fills this share of the picture is mostly a body, a skyline or a flame.
_LARGE_BOX, _LARGE_BOX_LETTERS, _LARGE_BOX_MINIMUM = 0.25, 6, 0.95
# A line that large is longer than high, or it has only one letter.
_LARGE_BOX_SHAPE = 1.25
# Letters without a shape that Unicode does not count as format characters.
_INVISIBLE = frozenset("\u034f\u115f\u1160\u17b4\u17b5\u2800\u3164\uffa0")


class TextReader(Protocol):
    """Reads the text in images.

    Attributes:
        name: of the engine.
    """

    name: str

    def read(self, images: Sequence[Image.Image]) -> list[tuple[EmbeddedText, ...]]:
        """The lines of each image in reading order, `()` where there is no text; one bad image spoils no other."""
        ...


@dataclass(frozen=True)
class _FoundLine:
    """A line and its box `(4, 2)`, in pixels of the image, from the text's own top left."""

    line: ReadLine
    box: np.ndarray
    crop: np.ndarray
    share: float

    @property
    def letters(self) -> int:
        return sum(letter.isalnum() for letter in self.line.text)

    @property
    def height(self) -> float:
        return float(min(np.linalg.norm(self.box[0] - self.box[3]), np.linalg.norm(self.box[0] - self.box[1])))


class RapidTextReader:
    """RapidOCR's detection and recognition behind a cheap first look, with lost blanks restored.

    The first look is at a small copy: where it finds nothing that can be read, that was all. Lines that stand sideways
    or upside down are read too; the corners of their boxes begin at the text's own top left.

    Any number of threads may read with the same reader.

    Args:
        minimum: least confidence of a line, which is the mean probability of its characters.
        threads: processor threads per call.

    Raises:
        DataError: if a package of the extra `ocr` is missing, with the command that installs it, or a number makes no
            sense.
    """

    name = "rapidocr"

    def __init__(self, minimum: float = 0.6, threads: int = 2) -> None:
        missing = missing_packages()
        if missing:
            raise DataError(f"Reading text in images needs {', '.join(missing)}, not installed here; run: {INSTALL}")
        if not 0 <= minimum <= 1 or threads < 1:
            raise DataError("A text reader needs a minimum from 0 to 1 and at least one thread; correct them.")
        self.minimum, self.threads = minimum, threads
        self._loading = threading.Lock()
        self._loaded: RapidEngine | None = None

    @property
    def _engine(self) -> RapidEngine:
        with self._loading:
            if self._loaded is None:
                self._loaded = RapidEngine(self.threads)
            return self._loaded

    def read(self, images: Sequence[Image.Image]) -> list[tuple[EmbeddedText, ...]]:
        """The lines of each image in reading order; `()` where there are none or the image cannot be read.

        Raises:
            DataError: if the engine cannot be loaded.
        """
        engine = self._engine
        return [self._read_safely(engine, index, image) for index, image in enumerate(images)]

    def _read_safely(self, engine: RapidEngine, index: int, image: Image.Image) -> tuple[EmbeddedText, ...]:
        try:
            pixels = np.ascontiguousarray(np.asarray(open_image(image))[:, :, ::-1])
            return self._texts(self._lines(engine, pixels))
        except Exception as error:  # Whatever a strange picture raises in there, the other pictures go on.
            # Its kind only: a message might quote what somebody wrote into the picture.
            logger.warning("Picture %d: its text cannot be read (%s).", index, type(error).__name__)
            return ()

    def _lines(self, engine: RapidEngine, pixels: np.ndarray) -> list[_FoundLine]:
        """What stands in the picture, from a second look at a greater copy where the first one saw small letters."""
        if min(pixels.shape[:2]) < _SMALLEST_IMAGE:
            return []
        scale = _first_scale(*pixels.shape[:2])
        found = [line for line in _look(engine, pixels, scale) if _is_plausible(line)]
        if not found:
            return []
        lowest = min(line.height for line in found)
        wanted = _GOOD_LINE / max(lowest, 1.0) if lowest * scale < _LOW_LINE else scale
        if any(line.line.confidence < _SURE and line.letters >= _SOME_LETTERS for line in found):
            wanted = max(wanted, min(1.0, _CLOSER * scale))
        wanted = min(wanted, max(scale, _SECOND_SIDE / max(pixels.shape[:2])))
        if wanted > 1.2 * scale:
            found = max(found, _look(engine, pixels, wanted), key=self._said)
        return found

    def _kept(self, found: Sequence[_FoundLine]) -> list[_FoundLine]:
        """The lines that are text."""
        company = any(line.letters > _FEW_LETTERS and self._is_text(line, False) for line in found)
        return [line for line in found if self._is_text(line, company)]

    def _is_text(self, found: _FoundLine, company: bool) -> bool:
        letters, minimum = found.letters, self.minimum
        if letters <= _FEW_LETTERS and not company:
            minimum = max(minimum, _FEW_LETTERS_MINIMUM)
        if letters <= _LARGE_BOX_LETTERS and found.share > _LARGE_BOX:
            minimum = max(minimum, _LARGE_BOX_MINIMUM) if letters > 1 else math.inf
        return letters > 0 and found.line.confidence >= minimum

    def _said(self, found: Sequence[_FoundLine]) -> float:
        return sum(len(line.line.text) * line.line.confidence for line in self._kept(found))

    def _texts(self, found: Sequence[_FoundLine]) -> tuple[EmbeddedText, ...]:
        lines = []
        for line in self._kept(found):
            text = cleaned(restore_spaces(line.line.text[: 4 * LONGEST_LINE], line.line.blanks), LONGEST_LINE)
            if text:
                box = tuple((float(x), float(y)) for x, y in line.box)
                lines.append(EmbeddedText(text, line.line.confidence, box))
        order = reading_order([line.box for line in lines], [len(line.text) for line in lines])
        return tuple(lines[index] for index in order)


def _is_plausible(found: _FoundLine) -> bool:
    return found.line.confidence >= (_PLAUSIBLE_MANY if found.letters >= _MANY_LETTERS else _PLAUSIBLE)


def _first_scale(height: int, width: int) -> float:
    """Of the first look's copy: small, but not so small that the letters of a very narrow image vanish."""
    scale = max(min(1.0, math.sqrt(_FIRST_PIXELS / (height * width))), min(1.0, _NARROW_SIDE / min(height, width)))
    return min(scale, _LONGEST_SIDE / max(height, width))


def _look(engine: RapidEngine, pixels: np.ndarray, scale: float) -> list[_FoundLine]:
    """The lines that are found at one scale, the largest ones if there are very many, turned upright."""
    found = []
    for box in sorted(engine.find_lines(pixels, scale), key=_area, reverse=True)[:MOST_LINES]:
        share = _area(box) / (pixels.shape[0] * pixels.shape[1])
        sides = sorted((np.linalg.norm(box[0] - box[1]), np.linalg.norm(box[1] - box[2])))
        if share <= _LARGE_BOX or sides[1] >= _LARGE_BOX_SHAPE * sides[0]:
            crop, turned = engine.crop_line(pixels, box)
            found.append(_FoundLine(engine.read_line(crop), turned, crop, share))
    doubtful = [index for index, line in enumerate(found) if line.line.confidence < _SURE]
    for number, index in enumerate(doubtful):
        flipped = _flipped(engine, found[index])
        better = flipped.line.confidence > found[index].line.confidence
        if better:
            found[index] = flipped
        # One line tells for all: where the largest is no better upside down, neither are the others.
        if number == 0 and not (better and flipped.line.confidence >= _PLAUSIBLE):
            break
    return found


def _area(box: np.ndarray) -> float:
    """Of a rectangle that may be turned, in square pixels."""
    return float(np.linalg.norm(box[0] - box[1]) * np.linalg.norm(box[1] - box[2]))


def _flipped(engine: RapidEngine, found: _FoundLine) -> _FoundLine:
    crop = np.ascontiguousarray(found.crop[::-1, ::-1])
    return _FoundLine(engine.read_line(crop), np.roll(found.box, -2, axis=0), crop, found.share)


def cleaned(text: str, longest: int) -> str:
    """Text as one line: no control, format (bidi, zero-width), private or surrogate characters, single blanks."""
    kept = []
    # A bound before the work: what is cut here could not be shown anyway.
    for letter in text[: 4 * longest]:
        kind = unicodedata.category(letter)
        if letter.isspace() or kind in ("Zl", "Zp", "Zs"):
            kept.append(" ")
        elif kind[0] != "C" and letter not in _INVISIBLE and not _is_variation_selector(letter):
            kept.append(letter)
        elif kind == "Cc":
            kept.append(" ")
    return " ".join("".join(kept).split())[:longest].rstrip()


def _is_variation_selector(letter: str) -> bool:
    return "\ufe00" <= letter <= "\ufe0f" or "\U000e0100" <= letter <= "\U000e01ef"


def joined_embedded_text(found: Sequence[EmbeddedText], longest: int = 1000) -> str:
    """The lines as one, in their order, without control and format characters; cut after a word where it is too long.

    Args:
        found: in reading order.
        longest: most characters.
    """
    lines, length = [], 0
    for line in found:
        text = cleaned(line.text, longest + 1)
        if text:
            lines.append(text)
            length += len(text) + 1
        if length > longest + 1:
            break
    joined = " ".join(lines)
    if len(joined) <= longest:
        return joined
    head, _, last = joined[: longest + 1].rpartition(" ")
    # A single long word is cut where it has to be.
    return head.rstrip() if head and len(last) < longest // 2 else joined[:longest].rstrip()


@lru_cache(maxsize=1)
def default_text_reader() -> RapidTextReader | None:
    """The reader that everything shares, or `None` where the extra `ocr` is not installed."""
    return None if missing_packages() else RapidTextReader()

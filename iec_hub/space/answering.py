"""What visitors and programs send besides pictures, read as what it should be: labels and captions."""

import re
import unicodedata
from typing import Any

from iec_hub.errors import DataError
from iec_hub.space import texts

OWN = "own"
ALL = "all"


def split_labels(text: str | None) -> list[str]:
    """The labels in a visitor's text: separated by commas, semicolons or line ends; empty ones are dropped."""
    return [label for label in (part.strip() for part in re.split(r"[,;\n]", str(text or ""))) if label]


def read_caption(text: Any, most: int) -> str:
    """A visitor's caption on one line, without control characters; empty where there is none.

    Raises:
        DataError: if it is no text, or longer than `most` characters.
    """
    if text is None:
        return ""
    if not isinstance(text, str):
        raise DataError(texts.CAPTION_NO_TEXT)
    # Measured before anything else is done with it: clients may send megabytes.
    if len(text) > most:
        raise DataError(texts.CAPTION_TOO_LONG.format(length=len(text), most=most))
    # JSON can hold half of a surrogate pair, which no tokenizer can read.
    kept = (" " if c.isspace() else c for c in text if c.isspace() or unicodedata.category(c) not in ("Cc", "Cs"))
    return " ".join("".join(kept).split())

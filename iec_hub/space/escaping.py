"""Untrusted texts as HTML: what a model wrote, what stands in a picture, what a visitor typed."""

import unicodedata
from html import escape

# They turn the direction of what follows, and what follows may be the page's own text.
_DIRECTIONS = frozenset("\u061c\u200e\u200f\u202a\u202b\u202c\u202d\u202e\u2066\u2067\u2068\u2069")
_BREAKS = frozenset("\u2028\u2029")


def plain(text: str, longest: int | None = None) -> str:
    """A text on one line without control characters, halves of surrogate pairs and marks of direction.

    Args:
        longest: most characters; a longer text ends in an ellipsis.
    """
    # Cut before each character is looked at: a text may have megabytes.
    kept = text if longest is None else text[: 4 * longest]
    kept = "".join(
        " " if c.isspace() or c in _BREAKS else c
        for c in kept
        if c.isspace() or (c not in _DIRECTIONS and unicodedata.category(c) not in ("Cc", "Cs"))
    )
    if longest is None or (len(kept) <= longest and len(text) <= 4 * longest):
        return kept
    return f"{kept[: longest - 1].rstrip()}…"


def safe_html(text: str, longest: int | None = None) -> str:
    """:func:`plain`, escaped for HTML, within an element as well as within the quotes of an attribute."""
    return escape(plain(text, longest))


def percent(share: float) -> str:
    """A share from 0 to 1 as HTML, such as `31%`."""
    return "&lt;1%" if 0 < share < 0.005 else f"{share:.0%}"

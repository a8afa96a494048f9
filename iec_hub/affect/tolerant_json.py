"""Reads the JSON that language models write: cut off, single quotes, trailing commas. Nothing is ever evaluated."""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Any

_DEEPEST = 12
_MOST_STARTS = 20
_SPACE = re.compile(r"[\s\ufeff]*")
_BARE = re.compile(r"[^\s,:{}\[\]\"']+")
# What may follow a string's closing quote; a quote before anything else, such as in "it's", belongs to the text.
_AFTER_STRING = re.compile(r"\s*(?:[:}\]]|,\s*(?:[\"'{\[}\]]|\w+\s*:|-?\d|true|false|null|None|$)|$)")
_AFTER_KEY = re.compile(r"\s*:")
_ESCAPES = {"n": "\n", "t": "\t", "r": "\r", "b": " ", "f": " "}
_WORDS = {"true": True, "True": True, "false": False, "False": False, "null": None, "None": None}
_CUT = object()


def json_values(text: str) -> Iterator[dict[str, Any] | list[Any]]:
    """The JSON objects and arrays in a text, in order, whatever stands around them.

    A value that the text cuts off keeps what is complete: entries and strings that have ended. The time grows with
    the length of the text times at most 20 beginnings that turn out to be none.
    """
    position = 0
    for _ in range(_MOST_STARTS):
        start = _first_bracket(text, position)
        if start is None:
            return
        reader = _Reader(text, start)
        value = reader.value(0)
        if isinstance(value, dict | list) and value:
            yield value
            position = max(reader.position, start + 1)
        else:
            position = start + 1


def _first_bracket(text: str, position: int) -> int | None:
    found = [index for index in (text.find("{", position), text.find("[", position)) if index >= 0]
    return min(found) if found else None


class _Reader:
    """A recursive descent that takes what is there and never raises."""

    def __init__(self, text: str, position: int) -> None:
        self.text, self.position = text, position

    def value(self, depth: int) -> Any:
        """The next value; :data:`_CUT` where there is none or it does not end."""
        opening = self._next()
        if opening in ("{", "[") and depth < _DEEPEST:
            return self._object(depth) if opening == "{" else self._array(depth)
        if opening in ('"', "'"):
            return self._string(_AFTER_STRING)
        bare = _BARE.match(self.text, self.position)
        if not bare:
            return _CUT
        self.position = bare.end()
        # A bare word that is the end of the text may go on.
        if self.position == len(self.text):
            return _CUT
        return _WORDS.get(bare.group(), bare.group())

    def _next(self) -> str:
        """The next character that is no space, "" at the end."""
        space = _SPACE.match(self.text, self.position)
        self.position = space.end() if space else self.position
        return self.text[self.position : self.position + 1]

    def _object(self, depth: int) -> dict[str, Any]:
        content: dict[str, Any] = {}
        self.position += 1
        while (following := self._next()) and following != "}":
            if following == ",":
                self.position += 1
                continue
            key = self._string(_AFTER_KEY) if following in ('"', "'") else self._bare_key()
            if key is _CUT or self._next() != ":":
                break
            self.position += 1
            value = self.value(depth + 1)
            if value is _CUT:
                break
            # A key that comes twice keeps both, as a list.
            content[key] = [content[key], value] if key in content else value
        self._close("}")
        return content

    def _array(self, depth: int) -> list[Any]:
        content: list[Any] = []
        self.position += 1
        while (following := self._next()) and following != "]":
            if following == ",":
                self.position += 1
                continue
            value = self.value(depth + 1)
            if value is _CUT:
                break
            content.append(value)
        self._close("]")
        return content

    def _close(self, bracket: str) -> None:
        if self._next() == bracket:
            self.position += 1

    def _bare_key(self) -> Any:
        bare = _BARE.match(self.text, self.position)
        if not bare:
            return _CUT
        self.position = bare.end()
        return bare.group()

    def _string(self, after: re.Pattern[str]) -> Any:
        """A string up to the quote that something structural follows."""
        quote = self.text[self.position]
        self.position += 1
        parts: list[str] = []
        while self.position < len(self.text):
            letter = self.text[self.position]
            self.position += 1
            if letter == "\\":
                parts.append(self._escape())
            elif letter == quote and after.match(self.text, self.position):
                return "".join(parts)
            else:
                parts.append(letter)
        return _CUT

    def _escape(self) -> str:
        letter = self.text[self.position : self.position + 1]
        self.position += 1
        code = self.text[self.position : self.position + 4]
        if letter == "u" and re.fullmatch("[0-9a-fA-F]{4}", code):
            self.position += 4
            # Halves of a surrogate pair are no characters by themselves.
            return "" if 0xD800 <= int(code, 16) < 0xE000 else chr(int(code, 16))
        return _ESCAPES.get(letter, letter)

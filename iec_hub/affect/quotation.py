"""Untrusted words inside a prompt: quoted, harmless to the chat format, and checked on the token ids.

What is read inside a picture, and what a model answered earlier, is data. It must not become a turn of the
conversation, a picture or any other special token, and the tokens of the instructions around it must stay the same.
What a language model makes of the words it quotes is another matter, which no code here can promise.
"""

from __future__ import annotations

import json
import re
import unicodedata
from collections.abc import Callable, Iterable, Sequence
from typing import Any

from iec_hub.data.schema import joined_text

__all__ = ["chat_marks", "chat_token_ids", "contained", "neutralised", "quoted", "safe_quotation"]

LONGEST_QUOTATION = 500
# Chat formats are made of these; words do without them. "<3" is the one mark that carries a feeling.
_HEART = re.compile(r"<(?=/?3(?!\w))")
_TOKEN = re.compile(r"<[|/!\uff5c]?[^<>\s]{1,40}>|\[/?[A-Z_]{2,20}\]")
_FORMAT = re.compile(r"[<>|\[\]{}`\\\u2581\u0120]|#{2,}|-{3,}")
_KEPT_HEART = "\ue000"
# "ASSISTANT: joy" looks like a turn where a chat format writes roles as words, as LLaVA's does.
_ROLE = re.compile(r"\b(user|assistant|system|human|bot|model|tool|instructions?|response|answer)\s*[:=][:=\s]*", re.I)
_PLAIN = re.compile(r"[^\w\s.,!?'-]|_")
_MOST_ROUNDS = 10


def neutralised(text: Any, marks: Iterable[str] = (), longest: int = LONGEST_QUOTATION) -> str:
    """Untrusted text on one line, without control characters and without what a chat format is made of.

    Compatibility characters are replaced by plain ones first (NFKC), so that a full-width "<" is none either.

    Args:
        marks: the special tokens of a tokenizer (:func:`chat_marks`); the text holds none of them afterwards.
        longest: most characters.
    """
    plain = unicodedata.normalize("NFKC", str(text or "")[: 8 * longest]).replace(_KEPT_HEART, "")
    plain = _HEART.sub(_KEPT_HEART, joined_text([plain]) or "")
    found = [mark for mark in marks if mark.strip()]
    for _ in range(_MOST_ROUNDS):
        # Taking one mark out can join the parts of another, so this goes on until nothing changes.
        before = plain
        for mark in found:
            plain = plain.replace(mark, " ")
        plain = _FORMAT.sub(" ", _TOKEN.sub(" ", plain))
        plain = " ".join(_ROLE.sub(r"\1 ", plain).split())
        if plain == before:
            plain = plain.replace(_KEPT_HEART, "<")[:longest].strip()
            return "" if any(mark in plain for mark in found) else plain
    return ""


def quoted(text: str) -> str:
    """One JSON string. The spaces inside keep the quotation marks tokens of their own."""
    return json.dumps(f" {text} ", ensure_ascii=False)


def chat_marks(tokenizer: Any) -> tuple[str, ...]:
    """The texts that a tokenizer turns into tokens of its chat format instead of words, longest first."""
    marks = {token.content for token in _added(tokenizer).values() if _is_mark(token)}
    marks |= {str(token) for token in getattr(tokenizer, "all_special_tokens", ())}
    return tuple(sorted(marks, key=lambda mark: (-len(mark), mark)))


def chat_token_ids(tokenizer: Any) -> frozenset[int]:
    """The ids of :func:`chat_marks`."""
    ids = {index for index, token in _added(tokenizer).items() if _is_mark(token)}
    return frozenset(ids | set(getattr(tokenizer, "all_special_ids", ())))


def contained(ids: Sequence[int], references: Sequence[Sequence[int]], special: frozenset[int]) -> bool:
    """Whether a prompt differs from the same prompt with other quotations only in what it quotes.

    Args:
        ids: token ids of the prompt.
        references: token ids of the prompt with two harmless quotations that have nothing in common but their
            marks: what these share at the beginning and at the end is the instructions.
        special: ids that a quotation must not hold.
    """
    first, second = references
    start, end = _shared(first, second), _shared(first[::-1], second[::-1])
    if len(ids) < start + end or list(ids[:start]) != list(first[:start]):
        return False
    if end and list(ids[-end:]) != list(first[-end:]):
        return False
    return special.isdisjoint(ids[start : len(ids) - end])


def safe_quotation(
    text: str | None, prompt_ids: Callable[[str], Sequence[int]], references: Sequence[Sequence[int]], tokenizer: Any
) -> str | None:
    """The JSON string to put into a prompt, or None where there is nothing that may be put there.

    A text that changes the tokens around it is quoted with its letters, digits and plain punctuation only; one that
    still does is left out.

    Args:
        text: what was read inside the picture; `prompt_ids`: the token ids of the whole prompt with a quotation.
        references: these ids with two harmless quotations, as in :func:`contained`.
    """
    marks, special = chat_marks(tokenizer), chat_token_ids(tokenizer)
    harmless = neutralised(text, marks)
    for candidate in (harmless, neutralised(_PLAIN.sub(" ", harmless), marks)):
        if candidate and contained(prompt_ids(quoted(candidate)), references, special):
            return quoted(candidate)
    return None


def _added(tokenizer: Any) -> dict[int, Any]:
    return dict(getattr(tokenizer, "added_tokens_decoder", {}))


def _is_mark(token: Any) -> bool:
    # Some vocabularies add runs of spaces and whole words, which are ordinary text.
    return token.special or any(letter in "<>[]|" for letter in token.content)


def _shared(first: Sequence[int], second: Sequence[int]) -> int:
    """How many ids two sequences have in common at their beginning."""
    count = 0
    for one, other in zip(first, second, strict=False):
        if one != other:
            break
        count += 1
    return count

"""The words that stand for each emotion, as a text that visitors change."""

from collections.abc import Sequence
from typing import Any

from iec_hub.emotions import EmotionModel
from iec_hub.errors import DataError
from iec_hub.space import texts


def words_text(model: EmotionModel) -> str:
    """One line per emotion: its label, a colon, and its words with commas between them."""
    return "\n".join(f"{emotion.label}: {', '.join(emotion.words)}" for emotion in model.emotions)


def same_labels(text: str, other: str) -> bool:
    """Whether a text like those of :func:`words_text` is about the emotions of another, in any order.

    One that gives some of them other words may leave out the rest, which keep theirs.
    """
    given, known = _lines(text), _lines(other)
    changed = given.items() - known.items()
    return given.keys() == known.keys() or (bool(changed) and given.keys() <= known.keys())


def _lines(text: str) -> dict[str, str]:
    parts = (line.partition(":") for line in text.splitlines() if line.strip())
    return {label.strip(): words.strip() for label, _, words in parts}


def with_words(model: EmotionModel, text: Any, most: int) -> EmotionModel | None:
    """The emotion model with a visitor's words, or None where the text changes nothing.

    Args:
        text: like that of :func:`words_text`; emotions that it leaves out keep their words.
        most: most characters.

    Raises:
        DataError: if the text is too long, a line has no colon, or its label or words cannot be used.
    """
    text = str(text or "")
    if len(text) > most:
        raise DataError(texts.WORDS_TOO_LONG.format(length=len(text), most=most))
    given: dict[str, Sequence[str]] = {}
    for line in filter(None, (line.strip() for line in text.splitlines())):
        label, colon, words = line.partition(":")
        if not colon:
            raise DataError(texts.WORDS_NO_COLON.format(line=line[:40]))
        given[label.strip()] = [word for word in (part.strip() for part in words.split(",")) if word]
    usual = {emotion.label: emotion.words for emotion in model.emotions}
    changed = {model.labels[model.index(label)]: words for label, words in given.items() if words}
    named = EmotionModel.from_labels(model.labels, model.name, model.title, {**usual, **changed})
    return None if [e.words for e in named.emotions] == list(usual.values()) else named

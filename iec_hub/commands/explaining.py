"""What a decision from words rests on, as lines for the terminal; whatever a terminal would obey is escaped."""

from __future__ import annotations

import textwrap
from collections.abc import Iterable
from typing import TYPE_CHECKING

from iec_hub.commands.session import in_brief

if TYPE_CHECKING:
    from iec_hub.prediction import EmotionPrediction, ReasoningStep, ScoredText

WIDTH = 100
MOST_WORDS = 8
MOST_CONCEPTS = 12
MOST_TEXTS = 8
LONGEST_NAME = 60
LONGEST_SENTENCE = 400
NOTHING = "none found"


def explanation_lines(prediction: EmotionPrediction) -> list[str]:
    """Concepts, steps, sentences, embedded text and deciding words, each part beneath its name.

    A part that the method does not have is left out, and one in which nothing was found says so. There are no lines
    for a method that does not decide from words.
    """
    words = prediction.evidence.words if prediction.evidence is not None else None
    of_words = (prediction.concepts, prediction.reasoning, prediction.embedded_text, words)
    if all(part is None for part in of_words):
        return []
    lines: list[str] = []
    if prediction.concepts is not None:
        lines += _part("concepts", _listed(prediction.concepts[:MOST_CONCEPTS]))
    if prediction.reasoning is not None:
        lines += _part("steps", [f"{n}. {_step(step)}" for n, step in enumerate(prediction.reasoning, 1)])
    if prediction.captions is not None:
        lines += _part("sentences", [in_brief(sentence, LONGEST_SENTENCE) for sentence in prediction.captions])
    if prediction.embedded_text is not None:
        found = [
            f'"{in_brief(each.text, LONGEST_SENTENCE)}" ({each.confidence:.0%})' for each in prediction.embedded_text
        ]
        more = [f"and {len(found) - MOST_TEXTS} more"] if len(found) > MOST_TEXTS else []
        lines += _part("text", found[:MOST_TEXTS] + more)
    if words is not None:
        lines += _part("decided by", _listed(words[:MOST_WORDS]))
    return lines


def _part(name: str, items: Iterable[str]) -> list[str]:
    """A name, and each item on a line of its own or more, beside it."""
    lines: list[str] = []
    for item in list(items) or [NOTHING]:
        # Escapes have no spaces, so that none is torn in two.
        lines += textwrap.wrap(item, WIDTH - 14, subsequent_indent="  ", break_on_hyphens=False) or [""]
    return [f"  {name if number == 0 else '':<10}  {line}" for number, line in enumerate(lines)]


def _listed(items: Iterable[ScoredText]) -> list[str]:
    joined = ", ".join(f"{in_brief(item.text, LONGEST_NAME)} ({item.score:.0%})" for item in items)
    return [joined] if joined else []


def _step(step: ReasoningStep) -> str:
    attribute = in_brief(step.attribute.replace("_", " "), LONGEST_NAME)
    seen, felt = (in_brief(text, LONGEST_SENTENCE) for text in (step.observation, step.feeling))
    return f"{attribute}: {seen} -> {felt}" if felt else f"{attribute}: {seen}"

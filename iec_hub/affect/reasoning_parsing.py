"""Reads the steps and sentences out of what a language model answers.

A step counts only with an attribute, an observation and a feeling; what the model says is not there is left out.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from typing import Any

from iec_hub.affect.attributes import ATTRIBUTES
from iec_hub.affect.reasoning_patterns import (
    ARROW,
    ATTRIBUTE_OF,
    EVOKES,
    FEELING_LABEL,
    FEELING_START,
    FENCE,
    FILLERS,
    HUMAN,
    ITEM,
    KEYS,
    LABEL,
    LOOSE_END,
    NOBODY,
    NONE,
    NONE_SHOWN,
    OBSERVATION_LABEL,
    SENTENCES_LABEL,
    THINKING,
    WHERE,
)
from iec_hub.affect.tolerant_json import json_values
from iec_hub.data.schema import joined_text
from iec_hub.prediction import ReasoningStep

__all__ = ["attribute_name", "parse_reasoning", "parse_sentences", "parse_step"]

LONGEST_OBSERVATION = 240
LONGEST_FEELING = 80
LONGEST_SENTENCE = 300
MOST_SENTENCES = 5
_LONGEST_ANSWER = 8000
_MOST_LINES = 400


def attribute_name(text: Any) -> str | None:
    """The attribute that a model means by a name such as "Color palette" or "Objects in the scene", or None."""
    words = re.sub(r"[_\W\d]+", " ", str(text)[:80].casefold()).split()
    if not words or len(words) > 6:
        return None
    joined = "_".join(words)
    if joined in ATTRIBUTES:
        return joined
    head = WHERE.split(str(text)[:80].casefold().replace("_", " "))[0]
    named = [ATTRIBUTE_OF[word] for word in re.findall(r"[a-z]+", head) if word in ATTRIBUTE_OF]
    # "Scene brightness" is about brightness, "facial expressions" about these.
    return named[-1] if named else None


def parse_reasoning(answer: str) -> tuple[tuple[ReasoningStep, ...], tuple[str, ...]]:
    """Steps and sentences of an answer, of whatever form; no steps where there are none to be read.

    It reads JSON (:func:`iec_hub.affect.tolerant_json.json_values`) anywhere in the answer, and else lists, tables
    and paragraphs of "attribute: observation -> feeling". Names are mapped to
    :data:`iec_hub.affect.attributes.ATTRIBUTES`, what is said twice is merged, and a step that says "none" or that
    lacks its feeling is dropped. Observations have at most 240 characters, feelings 80, and there are at most 5
    sentences of 300; all are on one line, without control characters.
    """
    text = _plain(answer)
    found: list[tuple[Any, Any, Any]] = []
    sentences: list[str] = []
    for value in json_values(text):
        _walk(value, None, found, sentences, depth=0)
    steps = _merged(found)
    if not steps:
        found, sentences = [], []
        _read_lines(text, found, sentences)
        steps = _merged(found)
    return steps, _cleaned_sentences(sentences)


def parse_step(attribute: str, answer: str) -> ReasoningStep | None:
    """The step of one attribute in the answer to the question for it; None where the answer is none.

    An answer that names no attribute is about the one that was asked for.
    """
    for step in parse_reasoning(answer)[0]:
        if step.attribute == attribute:
            return step
    text = _plain(answer)
    found: list[tuple[Any, Any, Any]] = []
    for value in json_values(text):
        _walk(value, attribute, found, [], depth=0)
    if not found:
        line = ITEM.sub("", " ".join(text.split()))
        found.append((attribute, *_split_feeling(line)))
    return next((step for step in _merged(found) if step.attribute == attribute), None)


def parse_sentences(answer: str) -> tuple[str, ...]:
    """The sentences in the answer to a question for sentences only: at most 5, each at most 300 characters long."""
    text = _plain(answer)
    found: list[str] = []
    for value in json_values(text):
        if isinstance(value, dict):
            _walk(value, None, [], found, depth=0)
        else:
            found.extend(_texts(value))
    if not found and "{" not in text:
        for line in text.splitlines():
            label = LABEL.match(ITEM.sub("", line))
            rest = label.group(2) if label and SENTENCES_LABEL.match(label.group(1).strip(" *_")) else line
            found.extend(_sentences_of(rest))
    return _cleaned_sentences(found)


def _plain(answer: str) -> str:
    """The answer without characters that do not show, without code fences and without thoughts."""
    text = "".join(c if c.isprintable() or c == "\n" else " " for c in str(answer)[:_LONGEST_ANSWER])
    text = THINKING.sub("", text)
    if '"' not in text:
        text = re.sub("[\u201c\u201d\u201e]", '"', text)
    return FENCE.sub(" ", text)


def _walk(value: Any, attribute: str | None, found: list[Any], sentences: list[str], depth: int) -> None:
    """Collects steps and sentences from a JSON value; `attribute` is the one whose entry this is."""
    if depth > 8:
        return
    if isinstance(value, list):
        for entry in value:
            _walk(entry, attribute, found, sentences, depth + 1)
    elif isinstance(value, str):
        if attribute:
            found.append((attribute, *_split_feeling(value)))
        else:
            _read_lines(value, found, sentences)
    elif isinstance(value, dict):
        entries = {re.sub(r"\W+", "_", str(key).strip().casefold()): entry for key, entry in value.items()}
        own = {part: next((entries[k] for k in KEYS[part] if k in entries), None) for part in KEYS}
        named = attribute_name(own["attribute"]) if isinstance(own["attribute"], str) else None
        if (named or attribute) and (own["observation"] is not None or own["feeling"] is not None):
            found.append(_step_of(named or attribute, own))
            return
        if attribute is None:
            sentences.extend(_texts(own["sentences"]))
        for key, entry in entries.items():
            if key not in KEYS["sentences"] and isinstance(entry, dict | list | str):
                _walk_entry(key, entry, attribute, found, sentences, depth)


def _walk_entry(
    key: str, entry: Any, attribute: str | None, found: list[Any], sentences: list[str], depth: int
) -> None:
    named = attribute_name(key)
    if isinstance(entry, str) and not named:
        return
    _walk(entry, named or attribute, found, sentences, depth + 1)


def _step_of(attribute: str | None, own: dict[str, Any]) -> tuple[Any, Any, Any]:
    observation, feeling = ", ".join(_texts(own["observation"])), ", ".join(_texts(own["feeling"]))
    if not feeling:
        observation, feeling = _split_feeling(observation)
    return attribute, observation, feeling


def _texts(value: Any) -> list[str]:
    if isinstance(value, str):
        return [value]
    if isinstance(value, list):
        return [text for entry in value[:20] for text in (_texts(entry) if isinstance(entry, str | dict) else [])]
    if isinstance(value, dict):
        return [text for text in value.values() if isinstance(text, str)]
    return []


def _read_lines(text: str, found: list[Any], sentences: list[str]) -> None:
    """Collects steps from lines; an attribute's observation and feeling may stand on lines of their own."""
    current: str | None = None
    observation = ""
    in_sentences = False
    for line in text.splitlines()[:_MOST_LINES]:
        line = ITEM.sub("", line).strip(" *_|")
        if not line:
            continue
        label = LABEL.match(line)
        name, rest = (label.group(1).strip(" *_"), label.group(2)) if label else (line, "")
        if SENTENCES_LABEL.match(name) and (label or len(line) < 40):
            in_sentences, current = True, None
            sentences.extend(_sentences_of(rest))
        elif _is_name(name, label is not None):
            current, observation, in_sentences = attribute_name(name), "", False
            if rest:
                observation, feeling = _split_feeling(_cell(rest))
                found.append((current, observation, feeling))
        elif in_sentences:
            sentences.extend(_sentences_of(line))
        elif current:
            seen, feeling = _split_feeling(" " + line)
            observation = observation or seen
            found.append((current, observation if feeling else "", feeling))


def _is_name(name: str, labelled: bool) -> bool:
    """Whether a line, or what stands before its colon, names an attribute rather than to say something."""
    words = re.findall(r"[^\W_]+", name.casefold())
    if labelled:
        return attribute_name(name) is not None and len(words) <= 5
    return any(word in ATTRIBUTE_OF for word in words) and all(
        word in ATTRIBUTE_OF or word in FILLERS for word in words
    )


def _cell(text: str) -> str:
    """A table's row: its second cell is the feeling."""
    cells = [cell.strip() for cell in text.split("|") if cell.strip()]
    return f"{cells[0]} -> {cells[1]}" if len(cells) > 1 else text


def _split_feeling(text: str) -> tuple[str, str]:
    """Observation and feeling of one text; an empty feeling where it names none."""
    text = text[:2000]
    for separator in (ARROW, FEELING_LABEL, EVOKES):
        parts = separator.split(text, maxsplit=1) if separator is not ARROW else _ends(separator.split(text))
        if len(parts) == 2:
            return OBSERVATION_LABEL.sub("", parts[0].strip(" *_-")), parts[1]
    return OBSERVATION_LABEL.sub("", text.strip(" *_-")), ""


def _ends(parts: list[str]) -> list[str]:
    """A chain "seen -> thought -> feeling" as what is seen and what is felt."""
    return [", ".join(parts[:-1]), parts[-1]] if len(parts) > 1 else parts


def _sentences_of(text: str) -> Iterator[str]:
    text = ITEM.sub("", text).strip(" *_\"'")
    yield from (part for part in re.split(r"(?<=[.!?])\s+(?=[A-Z\"'])", text) if part)


def _merged(found: Iterable[tuple[Any, Any, Any]]) -> tuple[ReasoningStep, ...]:
    """Complete steps in the order of the attributes, those of one attribute as one."""
    merged: dict[str, tuple[list[str], list[str]]] = {}
    for attribute, observation, feeling in found:
        seen, felt = _short(observation, LONGEST_OBSERVATION), _short(feeling, LONGEST_FEELING + 40)
        felt = _short(FEELING_START.sub("", felt), LONGEST_FEELING).rstrip(".!;, ")
        felt = LOOSE_END.sub("", felt if "(" in felt else felt.rstrip(")"))
        if not attribute or _is_none(attribute, seen) or _is_none(attribute, felt):
            continue
        observations, feelings = merged.setdefault(attribute, ([], []))
        if seen.casefold() not in [text.casefold() for text in observations]:
            observations.append(seen.rstrip(".;, "))
        if felt.casefold() not in [text.casefold() for text in feelings]:
            feelings.append(felt)
    return tuple(
        ReasoningStep(
            attribute,
            _short("; ".join(merged[attribute][0]), LONGEST_OBSERVATION),
            _short(", ".join(merged[attribute][1]), LONGEST_FEELING),
        )
        for attribute in ATTRIBUTES
        if attribute in merged
    )


def _is_none(attribute: str, text: str) -> bool:
    """Whether a text says that there is nothing, or says nothing: "...", "none", "no people are visible"."""
    words = " ".join(re.sub(r"[^\w/',]+", " ", text.casefold()).replace(" ,", ",").split()).strip(" ,'")
    if not re.search(r"\w", words) or NONE.fullmatch(words) or NONE_SHOWN.fullmatch(words):
        return True
    return attribute in HUMAN and bool(NOBODY.match(words))


def _cleaned_sentences(texts: Iterable[str]) -> tuple[str, ...]:
    kept: dict[str, str] = {}
    for text in texts:
        sentence = _short(text, LONGEST_SENTENCE)
        if not _is_none("", sentence):
            kept.setdefault(sentence.casefold(), sentence)
    return tuple(kept.values())[:MOST_SENTENCES]


def _short(text: Any, longest: int) -> str:
    """On one line, without control characters and marks, cut between words."""
    line = (joined_text([text if isinstance(text, str) else None]) or "").strip(' *_`"')
    if len(line) <= longest:
        return line
    return (line[: longest + 1].rsplit(" ", 1)[0] if " " in line[: longest + 1] else line[:longest])[:longest].rstrip(
        " ,;"
    )

"""Feelings in words: which strengths there are, and what untrusted labels become."""

import pytest

from iec_hub.affect.feelings import MOST_FEELINGS, NO_FEELING, STRENGTHS, feeling_words
from iec_hub.emotions import EMOTION_MODELS

LABELS = ("awe", "fear", "joy", "sadness")


@pytest.mark.parametrize(
    ("probabilities", "words"),
    [
        ((1.0, 0.0, 0.0, 0.0), "very strong awe"),
        ((0.0, 0.5, 0.45, 0.05), "strong fear and clear joy"),
        ((0.25, 0.25, 0.25, 0.25), "some awe, some fear and some joy"),
        ((0.1, 0.2, 0.4, 0.3), "clear joy, moderate sadness and some fear"),
        ((0.07, 0.07, 0.8, 0.06), "very strong joy, faint awe and faint fear"),
        ((0.12, 0.0, 0.88, 0.0), "very strong joy and slight awe"),
    ],
)
def test_the_strongest_are_told_first(probabilities: tuple[float, ...], words: str) -> None:
    assert feeling_words(LABELS, probabilities) == words


@pytest.mark.parametrize("least", [strength for strength, _ in STRENGTHS])
def test_each_strength_begins_where_it_is_said_to(least: float) -> None:
    words = dict(STRENGTHS)
    assert feeling_words(("fear",), (least,)) == f"{words[least]} fear"
    weaker = feeling_words(("fear",), (least - 1e-6,))
    assert weaker != f"{words[least]} fear" and weaker


def test_strengths_fall_and_are_all_different() -> None:
    numbers, words = zip(*STRENGTHS, strict=True)
    assert list(numbers) == sorted(set(numbers), reverse=True) and len(set(words)) == len(words)


def test_where_nothing_is_strong_there_is_no_clear_feeling() -> None:
    assert feeling_words([f"label {n}" for n in range(40)], [1 / 40] * 40) == NO_FEELING
    assert feeling_words((), ()) == NO_FEELING


def test_no_more_are_told_than_asked_for() -> None:
    even = [1 / 4] * 4
    assert feeling_words(LABELS, even, most=1) == "some awe"
    assert feeling_words(LABELS, even).count("some") == MOST_FEELINGS
    assert feeling_words(LABELS, even, most=0) == NO_FEELING


@pytest.mark.parametrize("name", EMOTION_MODELS)
def test_every_label_of_the_built_in_models_is_told(name: str) -> None:
    labels = EMOTION_MODELS[name].labels
    for place, label in enumerate(labels):
        words = feeling_words(labels, [float(index == place) for index in range(len(labels))])
        adjective = label in ("neutral", "positive", "negative")
        assert words == (f"very strong {label} feelings" if adjective else f"very strong {label}")


@pytest.mark.parametrize(
    ("label", "words"),
    [
        ("<b>Fear</b>", "very strong b fear /b"),
        ("fear\n\x1b[31m", "very strong fear 31m"),
        ("COSY_warmth", "very strong cosy warmth"),
        ("???", NO_FEELING),
        ("", NO_FEELING),
    ],
)
def test_labels_are_told_without_markup(label: str, words: str) -> None:
    assert feeling_words((label,), (0.9,)) == words

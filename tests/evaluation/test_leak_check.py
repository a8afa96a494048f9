"""Masking emotion words: all that name an emotion, and no more than can be helped."""

import csv
from pathlib import Path

import pytest

from iec_hub.emotions import EMOTION_MODELS, EmotionModel
from iec_hub.evaluation.leak_check import MASK, emotion_stems, masked_emotion_words

WORDS = sorted(
    {
        word
        for model in EMOTION_MODELS.values()
        for emotion in model.emotions
        for word in (emotion.label, *emotion.words)
        if " " not in word
    }
)
INFLECTIONS = """
amused amusing amusingly anger angered angers angry angrier angrily awed awesome awestruck contented contentedly
discontent disgusted disgusting excited exciting excitedly fears feared fearful fearfully fearless fearsome
sad sadder saddest sadly sadden saddened saddening joys joyful joyfully joyous enjoy enjoyment overjoyed surprised
surprising unsurprisingly trusted trusting trustworthy distrust mistrust happy happier happily happiness unhappy
annoyed annoying annoys bored boring ecstatic ecstatically enraged outrage outraged raging rages serene serenely
grieving grieve grieves grievous terrified terrifying terrorised vigilant admire admiring accepted accepting
apprehensive loathed loathsome pensively interesting interested uninterested distracted distracting amazed amazing
anticipating anticipates calmly calmer calming negatively negativity positively neutrally unpleasantly pleasantly
"""
ORDINARY = """
a sleepy cat in the dark house, two angles of an angel, an angler on a horse with a saddle, a rag and a ragged doll,
the contents of a box, what happened there, something is happening, an admiral on the Amazon, sand, shadow, a sadhu,
joint, Joyce, jaywalking, the away team, an award, restaurant, orange, tangerine, garage, storage, average
"""


@pytest.mark.parametrize("word", WORDS)
def test_every_label_and_label_word_is_masked(word: str) -> None:
    for said in (word, word.upper(), word.capitalize()):
        assert masked_emotion_words(f"a {said}, then") == f"a {MASK}, then"


@pytest.mark.parametrize("phrase", sorted({p for model in EMOTION_MODELS.values() for p in model.phrases}))
def test_nothing_of_a_phrase_tells_which_it_was(phrase: str) -> None:
    left = set(masked_emotion_words(phrase).replace(",", " ").split())
    assert left <= {MASK, "and", "in", "or"}


@pytest.mark.parametrize("word", INFLECTIONS.split())
def test_inflections_are_masked(word: str) -> None:
    assert masked_emotion_words(f"({word})") == f"({MASK})"


@pytest.mark.parametrize("text", [part.strip() for part in ORDINARY.replace("\n", " ").split(",")])
def test_ordinary_words_stay(text: str) -> None:
    assert masked_emotion_words(text) == text


def test_what_people_say_of_pictures_stays_but_for_emotions(pictures: list[Path]) -> None:
    with (pictures[0].parent / "metadata.csv").open(encoding="utf-8", newline="") as file:
        captions = [
            value for row in csv.DictReader(file) for name, value in row.items() if "caption" in name and value
        ]
    assert len(captions) > 20
    assert [caption for caption in captions if masked_emotion_words(caption) != caption] == []


def test_masks_stand_for_words_and_not_for_what_is_between_them() -> None:
    text = "Sad, angry_face; joy-ride \u2013 #fear! It evokes clear awe and some contentment."
    assert masked_emotion_words(text) == ("..., ..._face; ...-ride \u2013 #...! It evokes clear ... and some ....")
    assert masked_emotion_words("very_sad") == "very_..."
    assert masked_emotion_words("") == ""
    once = masked_emotion_words(text)
    assert masked_emotion_words(once) == once


def test_custom_emotions_are_masked_where_they_are_asked_about() -> None:
    custom = EmotionModel.from_labels(["cosy", "eerie", "Wehmut", "mad", "ok"], words={"cosy": ["snug", "deep peace"]})
    text = "A cosy, snug room; an eerily silent peace, wehmuetig und madly made, ok, okra"
    assert masked_emotion_words(text) == text
    stems = emotion_stems([custom])
    assert masked_emotion_words(text, stems) == "A ..., ... room; an ... silent ..., wehmuetig und ... made, ..., okra"
    assert masked_emotion_words("Wehmut, sad", stems) == "..., ...", "the package's are masked as well"


def test_without_stems_nothing_is_masked() -> None:
    assert masked_emotion_words("a sad cat", ()) == "a sad cat"


def test_a_hostile_text_takes_no_longer() -> None:
    text = "joy" + "ings" * 20_000 + "x"
    assert masked_emotion_words(text) == text

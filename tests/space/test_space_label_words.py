"""The words for the emotions as a text that visitors change."""

import pytest

from iec_hub.emotions import EMOTION_MODELS, EmotionModel
from iec_hub.errors import DataError
from iec_hub.space.label_words import same_labels, with_words, words_text

EKMAN = EMOTION_MODELS["ekman6"]


def test_a_text_that_changes_nothing_is_no_change_and_one_that_leaves_emotions_out_keeps_their_words() -> None:
    text = words_text(EKMAN)
    assert with_words(EKMAN, text, 4000) is None and with_words(EKMAN, "", 4000) is None
    changed = with_words(EKMAN, " sadness : gloom ,  dusk ,\n\n", 4000)
    words = {emotion.label: emotion.words for emotion in changed.emotions}
    usual = {emotion.label: emotion.words for emotion in EKMAN.emotions}
    assert words == {**usual, "sadness": ("gloom", "dusk")}


@pytest.mark.parametrize(
    ("text", "sentence"),
    [("sadness", "lacks its colon"), ("bliss: glee", "bliss"), ("joy: " + "a" * 90, "90 characters|95 characters")],
)
def test_a_text_that_cannot_be_used_is_refused_with_a_sentence(text: str, sentence: str) -> None:
    with pytest.raises(DataError, match=sentence):
        with_words(EKMAN, text, 60)


def test_what_a_visitor_wrote_stays_as_long_as_it_is_about_the_emotions() -> None:
    text, more = words_text(EKMAN), words_text(EMOTION_MODELS["ekman7"])
    assert same_labels("\n".join(reversed(text.splitlines())), text)
    # Words for some of the emotions, written for others of them or for more.
    assert same_labels("sadness: gloom", text) and same_labels("sadness: gloom", more)
    # Nothing is written in these: the text of the new emotions takes their place.
    assert not same_labels(text, more) and not same_labels(more, text) and not same_labels("", text)
    cosy = words_text(EmotionModel.from_labels(["cosy", "eerie"]))
    assert not same_labels("sadness: gloom", cosy) and not same_labels(cosy, text)

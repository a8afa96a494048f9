"""Captions with their charged words, attributes, and what a visitor's caption changed, as HTML."""

import json
import re
from typing import Any

import numpy as np
import pytest
from pages import NASTY, Collector, prediction
from PIL import Image

from iec_hub.prediction import CaptionWord, EmotionPrediction, Evidence, Tag
from iec_hub.space import rendering, rendering_evidence, texts

PICTURE = Image.new("RGB", (320, 240), "teal")
CAPTION = "A dark room."


def word_at(caption: str, text: str, salience: float, regions: Any = None) -> CaptionWord:
    start = caption.index(text)
    return CaptionWord(text, start, start + len(text), salience, regions)


def captioned(caption: str, words: tuple[CaptionWord, ...], regions: Any = None, **fields: Any) -> EmotionPrediction:
    evidence = Evidence(regions=regions, caption_words=words)
    return prediction({"awe": 0.7, "fear": 0.3}, captions=(caption,), evidence=evidence, **fields)


def result(of: EmotionPrediction, **options: Any) -> tuple[str, Collector]:
    html = rendering.result_html(of, PICTURE, **options)
    return html, Collector(html)


def charges_shown(page: Collector) -> list[float]:
    styles = [attrs["style"] for _, attrs in page.tags if attrs.get("class") == "iec-word"]
    return [float(style.removeprefix("--charge:")) for style in styles]


def buttons(page: Collector) -> dict[str, dict[str, str | None]]:
    return {attrs["data-view"]: attrs for tag, attrs in page.tags if tag == "button"}


def layers(page: Collector) -> dict[str, dict[str, str | None]]:
    return {attrs["data-view"]: attrs for _, attrs in page.tags if attrs.get("class") == "iec-heat"}


def test_the_stronger_a_word_is_charged_the_stronger_its_mark() -> None:
    saliences = np.linspace(0.05, 0.5, 10)
    caption = " ".join(f"w{number}" for number in range(10))
    words = tuple(word_at(caption, f"w{number}", salience) for number, salience in enumerate(saliences))
    html, page = result(captioned(caption, words))
    assert charges_shown(page) == pytest.approx((saliences / 0.5)[1:], abs=1e-3)
    # The first is hardly charged next to the strongest: plain text.
    assert '<p class="iec-sentence iec-caption" dir="auto">w0 <span' in html
    assert caption in page.text and texts.CHARGED_HINT in page.text and texts.CHARGED_CHOICE not in page.text


@pytest.mark.parametrize("saliences", [[0.0, 0.0], [float("nan"), 0.0], [-1.0, 0.0]])
def test_words_without_any_charge_are_plain_text(saliences: list[float]) -> None:
    words = (word_at(CAPTION, "dark", saliences[0], np.ones((2, 2))), word_at(CAPTION, "room", saliences[1]))
    _, page = result(captioned(CAPTION, words))
    assert not charges_shown(page) and not buttons(page) and CAPTION in page.text
    assert texts.CHARGED_HINT not in page.text


def test_a_charged_word_is_a_button_that_shows_its_own_map() -> None:
    upper, lower = np.array([[1.0], [0.0]]), np.array([[0.0], [1.0]])
    words = (word_at(CAPTION, "dark", 0.8, upper), word_at(CAPTION, "room", 0.4))
    html, page = result(captioned(CAPTION, words, regions=lower))
    shown, maps = buttons(page), layers(page)
    assert set(shown) == set(maps) == {"whole", "0"}
    assert shown["0"]["aria-label"] == "dark (charge 80%)" and "looked when it read dark" in maps["0"]["alt"]
    assert [shown[key]["aria-pressed"] for key in ("whole", "0")] == ["true", "false"]
    assert ["hidden" in maps[key] for key in ("whole", "0")] == [False, True]
    assert maps["0"]["src"] != maps["whole"]["src"]
    assert re.search(r'<span class="iec-word" style="--charge:0.500">room</span>', html)
    assert texts.CHARGED_CHOICE in page.text and texts.WHOLE_DECISION in page.text
    # All of it is within reach of the handler.
    assert html.count("querySelectorAll('[data-view]')") == 2 and html.startswith('<div class="iec-result ')


def test_without_evidence_of_the_whole_the_most_charged_word_is_shown() -> None:
    words = (word_at(CAPTION, "dark", 0.4, np.ones((2, 2))), word_at(CAPTION, "room", 0.8, np.eye(2)))
    _, page = result(captioned(CAPTION, words))
    assert buttons(page)["1"]["aria-pressed"] == "true" and texts.WHOLE_DECISION not in page.text
    assert "hidden" not in layers(page)["1"] and "hidden" in layers(page)["0"]


@pytest.mark.parametrize("regions", [None, np.zeros((2, 2)), np.full((2, 2), np.nan), np.zeros(0)])
def test_a_word_that_looked_nowhere_is_marked_but_no_button(regions: Any) -> None:
    _, page = result(captioned(CAPTION, (word_at(CAPTION, "dark", 0.8, regions),), regions=np.ones((2, 2))))
    assert charges_shown(page) == [1.0] and not buttons(page) and set(layers(page)) == {"whole"}


def test_only_the_most_charged_words_have_maps_and_the_page_stays_small() -> None:
    caption = " ".join(f"word{number:02d}" for number in range(60))
    generator = np.random.default_rng(0)
    words = tuple(
        word_at(caption, f"word{number:02d}", 0.5 + number / 200, generator.random((16, 16))) for number in range(60)
    )
    html, page = result(captioned(caption, words, regions=generator.random((16, 16))))
    kept = {str(number) for number in range(60 - rendering_evidence.MAX_WORD_MAPS, 60)}
    assert set(buttons(page)) == set(layers(page)) == kept | {"whole"}
    assert len(charges_shown(page)) == 60 and len(html) < 200_000


def test_offsets_count_characters_of_any_script() -> None:
    caption = "Ein düsterer 👨‍👩‍👧 und e\u0301 雪の夜, wow!"
    words = tuple(word_at(caption, text, 0.5) for text in ("düsterer", "👨‍👩‍👧", "e\u0301", "雪の夜", "wow"))
    html, page = result(captioned(caption, words))
    assert re.findall(r'<span class="iec-word"[^>]*>([^<]*)<', html) == [word.text for word in words]
    assert caption in page.text


@pytest.mark.parametrize(("start", "end"), [(3, 7), (-10, -6), (2, 2), (6, 2), (90, 94), (2, 400)])
def test_words_that_are_not_where_they_say_stay_plain_text(start: int, end: int) -> None:
    words = (CaptionWord("dark", start, end, 0.8), word_at(CAPTION, "room", 0.4))
    html, page = result(captioned(CAPTION, words))
    assert CAPTION in page.text and page.text.count("dark") == 1 and html.count("--charge") == 1


def test_overlapping_words_are_shown_once() -> None:
    words = (word_at(CAPTION, "dark room", 0.8), word_at(CAPTION, "room", 0.4))
    _, page = result(captioned(CAPTION, words))
    assert CAPTION in page.text and charges_shown(page) == [1.0]


@pytest.mark.parametrize("nasty", [NASTY, "<script>alert(1)</script>", "' onmouseover='x", "${alert(1)} {{value}}"])
def test_hostile_captions_words_and_attributes_are_text(nasty: str) -> None:
    def of(text: str) -> EmotionPrediction:
        caption = f"A {text} here"
        tags = (Tag("object", text, 0.5, source=text), Tag(text, "x"), Tag("brightness", text))
        word = word_at(caption, text, 0.9, np.ones((2, 2)))
        return captioned(caption, (word,), np.ones((2, 2)), attributes=tags)

    html, shown = result(of(nasty))
    _, expected = result(of("harmless"))
    assert [(tag, list(attrs)) for tag, attrs in shown.tags] == [(tag, list(attrs)) for tag, attrs in expected.tags]
    assert shown.text == expected.text.replace("harmless", nasty)
    assert buttons(shown)["0"]["title"] == f"{nasty} (charge 90%)"
    assert "<script" not in html


def test_further_captions_are_sentences_of_their_own() -> None:
    _, page = result(prediction({"awe": 0.7, "fear": 0.3}, captions=("One.", NASTY)))
    assert "One." in page.text and NASTY in page.text
    assert sum("iec-sentence" in (attrs.get("class") or "") for _, attrs in page.tags) == 2


def test_attributes_say_where_they_are_known_from() -> None:
    tags = (
        Tag("object", "dog", 0.83, "tagger-1"),
        Tag("object", "tree", 0.41, "tagger-1"),
        Tag("colorfulness", "0.249", source="computed"),
        Tag("brightness", "0.312", source="computed"),
        Tag("scene", "beach", source="annotation"),
        *(Tag("human_action", f"action {number}", 0.5, "tagger-1") for number in range(9)),
    )
    page = Collector(rendering.attributes_html(tags))
    rows = re.split("(Brightness|Colourfulness|Scene|Object|Action)", page.text)[1:]
    assert dict(zip(rows[::2], rows[1::2], strict=True)) == {
        "Brightness": "0.3 0 is black, 1 is white · measured",
        "Colourfulness": "0.2 0 is grey, 1 is very colourful · measured",
        "Scene": "beach given with the picture",
        "Object": "dog (83%), tree (41%) tagger-1",
        "Action": f"{', '.join(f'action {number} (50%)' for number in range(rendering.MAX_TAGS))} tagger-1",
    }


@pytest.mark.parametrize("attributes", [None, ()])
def test_without_attributes_there_is_no_list_of_them(attributes: Any) -> None:
    assert texts.ATTRIBUTES not in result(captioned(CAPTION, (), attributes=attributes))[1].text


def test_a_visitors_caption_shows_what_it_changed() -> None:
    before = prediction({"awe": 0.30, "fear": 0.60, "joy": 0.10}, captions=("A dark room.",))
    after = prediction({"awe": 0.62, "fear": 0.28, "joy": 0.10}, captions=("A bright room.",))
    html, page = result(after, before=before)
    assert re.findall(r'<span class="iec-change[^>]*>([^<]*)<', html) == ["+32", "−32", "±0"]
    assert re.findall(r'<i style="left:([\d.]+)%', html) == ["30.0", "60.0", "10.0"]
    assert texts.OWN_CAPTION in page.text and texts.CAPTION not in page.text
    assert "You wrote this caption. With the model's own the answer was: fear (60%)." in page.text
    same = result(after, before=after)[1].text
    assert "It changes nothing" in same and "percentage points" not in same
    assert "iec-change" not in rendering.result_html(after, PICTURE)


def test_a_prediction_read_back_from_its_dictionary_has_the_same_words() -> None:
    """What the endpoint sends is enough to draw the same caption: offsets and charges survive JSON."""
    words = (word_at(CAPTION, "dark", 0.8, np.eye(3)), word_at(CAPTION, "room", 0.4))
    sent = json.loads(json.dumps(captioned(CAPTION, words).to_dict()))["evidence"]["caption_words"]
    read = tuple(
        CaptionWord(**word | {"regions": None if word["regions"] is None else np.array(word["regions"])})
        for word in sent
    )
    assert result(captioned(CAPTION, read))[0] == result(captioned(CAPTION, words))[0]


def test_a_comma_stays_with_its_word_and_nothing_of_the_caption_is_lost() -> None:
    caption = "A dark, (cold) night's end."
    found = [("dark", 0.9), ("cold", 0.8), ("night", 0.7), ("'s", 0.6), ("end", 0.0)]
    html, page = result(captioned(caption, tuple(word_at(caption, *each) for each in found)))
    assert caption in page.text
    assert re.findall(r'iec-together"><span[^>]*>([^<]*)</span>([^<]*)</span>', html) == [("dark", ","), ("cold", ")")]

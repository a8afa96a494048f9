"""Deciding words, concepts, steps, sentences and the text in the picture, as HTML."""

import re
from typing import Any

import pytest
from pages import NASTY, Collector, prediction
from PIL import Image

from iec_hub.prediction import EmbeddedText, EmotionPrediction, Evidence, ReasoningStep, ScoredText
from iec_hub.space import rendering, rendering_text, rendering_words, texts
from iec_hub.space.escaping import plain

PICTURE = Image.new("RGB", (320, 240), "teal")
BOX = ((32.0, 24.0), (160.0, 24.0), (160.0, 48.0), (32.0, 48.0))
HEADINGS = (texts.REASONING, texts.DECIDING, texts.EMBEDDED_TEXT, texts.CONCEPTS, texts.SENTENCES)


def reasoned(**fields: Any) -> EmotionPrediction:
    words = fields.pop("words", (ScoredText("dark", 0.4), ScoredText("lonely house", 0.1)))
    given = {
        "concepts": (ScoredText("dark sky", 0.83), ScoredText("calm lake", 0.004)),
        "reasoning": (
            ReasoningStep("brightness", "a dark picture", "fear, sadness"),
            ReasoningStep("human_action", "nobody is there", ""),
            ReasoningStep("overall", "a lonely house", "sadness"),
        ),
        "captions": ("The dark, lonely house feels sad.", "Darkness is another word."),
        "embedded_text": (EmbeddedText("KEEP OUT", 0.97, BOX), EmbeddedText("Dark", 0.5, BOX)),
        "evidence": Evidence(words=words),
    }
    return prediction({"fear": 0.7, "awe": 0.3}, method="aciec", **given | fields)


def result(of: EmotionPrediction, **options: Any) -> tuple[str, Collector]:
    html = rendering.result_html(of, PICTURE, **options)
    return html, Collector(html)


def marks(html: str) -> list[tuple[str, float]]:
    return [(text, float(value)) for value, text in re.findall(r"--charge:([\d.]+)\">([^<]*)</mark>", html)]


def polygons(html: str, css_class: str = "iec-line") -> list[str]:
    return re.findall(rf'<polygon class="{css_class}" points="([^"]*)"/>', html)


def test_every_part_has_its_heading_and_a_line_that_explains_it() -> None:
    html, _ = result(reasoned())
    assert tuple(re.findall(r"<h3>([^<]*)</h3>", html)) == (texts.DISTRIBUTION, texts.WHY_SURE, *HEADINGS)
    for hint in (texts.CONCEPTS_HINT, texts.REASONING_HINT, texts.EMBEDDED_TEXT_HINT):
        assert hint in html
    assert "“fear”" in Collector(html).text


def test_what_a_method_does_not_have_is_absent_and_what_was_not_found_says_so() -> None:
    parts = ("concepts", "reasoning", "captions", "embedded_text")
    _, without = result(reasoned(**dict.fromkeys(parts), evidence=None))
    assert not any(heading in without.text for heading in HEADINGS)
    html, empty = result(reasoned(**dict.fromkeys(parts, ()), words=()))
    assert all(heading in empty.text for heading in HEADINGS)
    sentences = (texts.NO_DECIDING, texts.NO_CONCEPTS, texts.NO_REASONING, texts.NO_SENTENCES, texts.NO_EMBEDDED_TEXT)
    assert all(empty.text.count(sentence) == 1 for sentence in sentences)
    assert "<svg" not in html and "<ol" not in html and "data:image" not in html


def test_concepts_are_chips_with_their_scores_as_text_and_as_bars() -> None:
    html, _ = result(reasoned(words=None))
    chips = re.findall(
        r'<li class="iec-chip"><bdi>(.*?)</bdi> <span class="iec-part">(.*?)</span>.*?width:(.*?)%', html
    )
    assert chips == [("dark sky", "83%", "83.0"), ("calm lake", "&lt;1%", "0.4")]
    many = tuple(ScoredText(f"concept {number}", 0.5) for number in range(40))
    html, _ = result(reasoned(concepts=many))
    assert html.count('class="iec-chip"') == rendering_words.MAX_CONCEPTS


@pytest.mark.parametrize(("score", "shown"), [(float("nan"), "0%"), (float("inf"), "0%"), (7.0, "100%"), (-1, "0%")])
def test_scores_that_are_none_break_nothing(score: float, shown: str) -> None:
    html, _ = result(reasoned(concepts=(ScoredText("dark sky", score),), words=(ScoredText("dark", score),)))
    assert f'<span class="iec-part">{shown}</span><i ' in html and "nan" not in html and "inf%" not in html


def test_the_chain_of_thought_is_an_ordered_list_in_plain_words() -> None:
    html, page = result(reasoned(words=None))
    (listed,) = re.findall(r'<ol class="iec-steps" role="list">(.*?)</ol>', html)
    steps = [Collector(step).text for step in listed.split("</li>")[:-1]]
    evokes = f" →\xa0{texts.EVOKES} "
    assert steps == [
        f"Brightness: a dark picture{evokes}fear, sadness",
        "Actions: nobody is there",
        f"Whole picture: a lonely house{evokes}sadness",
    ]
    # The arrow is for eyes, the word for ears.
    assert listed.count('class="iec-arrow" aria-hidden="true"') == 2


@pytest.mark.parametrize(
    ("attribute", "name"),
    [
        ("colorfulness", "Colours"),
        ("scene", "Scene"),
        ("object", "Objects"),
        ("facial_expression", "Faces"),
        ("Facial expression", "Faces"),
        ("smell of_it", "Smell of it"),
        ("", ""),
    ],
)
def test_steps_are_named_in_plain_words(attribute: str, name: str) -> None:
    assert texts.step_name(attribute) == name


def test_sentences_are_quotations_and_captions_of_other_methods_are_none() -> None:
    html, page = result(reasoned(words=None))
    quoted = re.findall(r'<blockquote class="iec-sentence" dir="auto">(.*?)</blockquote>', html)
    assert quoted == ["The dark, lonely house feels sad.", "Darkness is another word."]
    assert texts.CAPTION not in page.text
    html, page = result(reasoned(reasoning=None, words=None))
    assert "<blockquote" not in html and texts.CAPTION in page.text


def test_deciding_words_are_listed_by_share_and_marked_wherever_they_stand_whole() -> None:
    html, page = result(reasoned())
    rows = re.findall(r'<li class="iec-weight">.*?>([^<]*)</mark>.*?width:([\d.]+)%.*?iec-part">([^<]*)<', html)
    assert rows == [("dark", "100.0", "40%"), ("lonely house", "25.0", "10%")]
    assert "All other words together: 50%." in page.text
    # First step, last step, list, embedded text, concept, sentence (twice); "Darkness" is another word.
    assert marks(html) == [
        ("dark", 1.0),
        ("lonely house", 0.25),
        ("dark", 1.0),
        ("lonely house", 0.25),
        ("Dark", 1.0),
        ("dark", 1.0),
        ("dark", 1.0),
        ("lonely house", 0.25),
    ]


def test_only_the_strongest_words_are_shown_and_the_rest_is_summed_up() -> None:
    words = tuple(ScoredText(f"w{number}", (number + 1) / 100) for number in range(12))
    html, page = result(reasoned(words=words))
    assert [text for text, _ in marks(html)] == [f"w{number}" for number in range(11, 3, -1)]
    assert f"together: {1 - sum(range(5, 13)) / 100:.0%}." in page.text
    assert "together" not in result(reasoned(words=(ScoredText("dark", 1.0),)))[1].text


@pytest.mark.parametrize("word", ["(", "a|b", ".*", "\\", "ß", "İ", "雪", " ", "", "\u202e"])
def test_any_deciding_word_is_looked_for_as_it_is(word: str) -> None:
    _, page = result(reasoned(words=(ScoredText(word, 0.5),), captions=(f"So {word} it is.",)))
    assert f"So {plain(word)} it is." in page.text


@pytest.mark.parametrize(
    "nasty", [NASTY, "<script>alert(1)</script>", "' onmouseover='x", "${alert(1)} {{value}}", '"><svg onload=x>']
)
def test_hostile_texts_are_text(nasty: str) -> None:
    def of(text: str) -> EmotionPrediction:
        return prediction(
            {text: 0.7, "awe": 0.3},
            concepts=(ScoredText(text, 0.5),),
            reasoning=(ReasoningStep(f"A{text}", text, text),),
            captions=(text, f"a {text} b"),
            embedded_text=(EmbeddedText(text, 0.5, BOX),),
            evidence=Evidence(words=(ScoredText(text, 0.5),)),
        )

    html, shown = result(of(nasty))
    _, expected = result(of("harmless"))
    # Whether a text counts as a word of its own depends on its letters.
    tags = [[(tag, list(attrs)) for tag, attrs in page.tags if tag != "mark"] for page in (shown, expected)]
    assert tags[0] == tags[1] and shown.text == expected.text.replace("harmless", nasty)
    assert "<script" not in html and html.count("<svg") == 1


def test_marks_of_direction_and_control_characters_do_not_reach_the_page() -> None:
    bad = "evil \u202egnp.exe\u2066 \x1b[31m\x00red\ud800\u2028end"
    html, page = result(
        reasoned(
            concepts=(ScoredText(bad, 0.5),),
            reasoning=(ReasoningStep(bad, bad, bad),),
            captions=(bad,),
            embedded_text=(EmbeddedText(bad, 0.5, BOX),),
            words=(ScoredText(bad, 0.5),),
        )
    )
    assert not set(html) & set("\u202e\u2066\x1b\x00\ud800\u2028")
    assert page.text.casefold().count("evil gnp.exe [31mred end") == 7
    html.encode("utf-8")
    assert plain("\u0645\u0631\u062d\u0628\u0627 \U0001f468\u200d\U0001f469") == "مرحبا 👨‍👩"
    # Each of them is alone in what tells its direction.
    assert '<q dir="auto">' in html and '<blockquote class="iec-sentence" dir="auto">' in html


def test_endless_texts_are_cut() -> None:
    endless = "word " * 200_000
    html, _ = result(
        reasoned(
            concepts=(ScoredText(endless, 0.5),) * 50,
            reasoning=(ReasoningStep(endless, endless, endless),) * 50,
            captions=(endless,) * 50,
            embedded_text=(EmbeddedText(endless, 0.5, BOX),) * 50,
            words=(ScoredText(endless, 0.5),) * 50,
        )
    )
    assert len(html) < 200_000 and "word…" in html
    assert plain("a" * 10, 10) == "a" * 10 and plain("a" * 11, 10) == "a" * 9 + "…"


def test_boxes_are_drawn_in_the_pixels_of_the_picture_that_was_read() -> None:
    found = (EmbeddedText("KEEP", 0.97, BOX), EmbeddedText("OUT", 0.5), EmbeddedText("NOW", 0.5, BOX[::-1]))
    html, page = result(reasoned(embedded_text=found, words=None), size=(3200, 2400))
    assert 'viewBox="0 0 3200 2400"' in html and 'preserveAspectRatio="none"' in html
    points = "32.0,24.0 160.0,24.0 160.0,48.0 32.0,48.0"
    assert polygons(html) == polygons(html, "iec-edge") == [points, " ".join(reversed(points.split()))]
    # The numbers are those of the list, in which the text without a box is the second.
    assert re.findall(r'class="iec-badge" style="([^"]*)" aria-hidden="true">(\d)<', html) == [
        ("--x:1.00%;--y:1.00%", "1"),
        ("--x:1.00%;--y:2.00%", "3"),
    ]
    (listed,) = re.findall(r'<ol class="iec-read">(.*?)</ol>', html)
    assert Collector(listed).text == "KEEP 97% sureOUT 50% sureNOW 50% sure"
    pictures = [attrs for tag, attrs in page.tags if tag == "img"]
    assert pictures[0]["alt"] == f"{texts.PICTURE}; 2 places with text outlined and numbered."
    assert (pictures[0]["width"], pictures[0]["height"]) == ("320", "240")
    assert 'viewBox="0 0 320 240"' in result(reasoned())[0]


@pytest.mark.parametrize(
    "box",
    [
        (),
        ((1, 1), (5, 5)),
        ((1, 1), (5, 1), (9, 1)),
        ((float("nan"), 1), (5, 1), (5, 5)),
        ((float("inf"), 1), (5, 1), (5, 5)),
        ((400, 1), (500, 1), (500, 50), (400, 50)),
        ((1, 2, 3), (4, 5, 6), (7, 8, 9)),
        (("a", "b"),) * 4,
        (1, 2, 3, 4),
    ],
)
def test_boxes_without_area_are_not_drawn_and_their_text_is_still_read(box: Any) -> None:
    html, page = result(reasoned(embedded_text=(EmbeddedText("KEEP OUT", 0.97, box),)))
    assert "<svg" not in html and "KEEP OUT" in page.text and texts.EMBEDDED_TEXT_HINT_NO_BOXES in page.text


def test_boxes_stay_within_the_picture() -> None:
    box = ((-50, -50), (1e12, -50), (1e12, 100), (-50, 100))
    assert rendering_text.outline(box, (320, 240)) == [(0.0, 0.0), (320.0, 0.0), (320.0, 100.0), (0.0, 100.0)]


def test_a_page_of_text_shows_its_beginning_and_counts_the_rest() -> None:
    found = tuple(EmbeddedText(f"line {number}", 0.9, BOX) for number in range(rendering_text.MAX_TEXTS + 12))
    html, page = result(reasoned(embedded_text=found))
    assert len(polygons(html)) == rendering_text.MAX_TEXTS and "12 more pieces of text were read." in page.text

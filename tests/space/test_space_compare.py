"""Comparing: what differs in numbers, in words and in HTML, and the tab in a browser."""

import asyncio
import re
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest
from PIL import Image
from visiting import DESKTOP, PHONE, beyond

from iec_hub.errors import DataError
from iec_hub.prediction import EmotionPrediction, ScoredText, from_distribution
from iec_hub.space import texts
from iec_hub.space.differences import (
    Side,
    comparison_html,
    difference_sentences,
    difference_table_html,
    differences,
    overlap,
)

NAMES = texts.PICTURE_SIDES


def prediction(joy: float, fear: float, anger: float, **fields: Any) -> EmotionPrediction:
    shares = {"joy": joy, "fear": fear, "anger": anger}
    return from_distribution(shares, emotion_model="custom", method="ugrie", **fields)


def test_the_difference_of_two_answers_in_numbers_and_words() -> None:
    left, right = prediction(0.7, 0.2, 0.1), prediction(0.1, 0.6, 0.3)
    assert [row.points for row in differences(left, right)] == [-60, 40, 20]
    assert overlap(left, right) == pytest.approx(0.4)
    said = difference_sentences(NAMES, left, right)
    assert said[0] == "Picture A most likely evokes joy, Picture B fear."
    assert "joy: 60 percentage points more for Picture A" in said[1] and "40%" in said[2]
    same = difference_sentences(("UGRIE", "ACIEC"), left, left)
    assert same[0] == "Both say joy." and "same" in same[1] and "100%" in same[2]
    guess = difference_sentences(("UGRIE", "ACIEC"), left, prediction(0.36, 0.34, 0.3))
    assert guess[0] == "Both say joy; for ACIEC it is a guess."


def test_answers_about_different_labels_are_not_compared() -> None:
    other = from_distribution({"joy": 0.5, "awe": 0.5}, emotion_model="custom", method="ugrie")
    with pytest.raises(DataError, match="different labels"):
        differences(prediction(0.7, 0.2, 0.1), other)


def test_bars_point_to_the_side_that_has_more_and_say_so() -> None:
    rows = differences(prediction(0.7, 0.2, 0.1), prediction(0.1, 0.8, 0.1))
    html = difference_table_html(rows, NAMES)
    joy, fear, anger = re.findall(r"<tr class.*?</tr>", html)
    assert "iec-left" in joy and "+60" in joy and "points more for Picture A" in joy and "--length:1.000" in joy
    assert "iec-right" in fear and "points more for Picture B" in fear
    assert "±0" in anger and texts.COMPARE_NO_POINTS in anger and "--length:0.000" in anger


def test_of_many_labels_those_that_differ_most_are_shown() -> None:
    shares = [1 / 40] * 40
    left = dict(zip([f"label {i}" for i in range(40)], shares, strict=True))
    right = {**left, "label 7": 0.0, "label 31": 2 / 40}
    both = (from_distribution(each, emotion_model="custom", method="ugrie") for each in (left, right))
    html = difference_table_html(differences(*both), NAMES)
    assert html.count('<th scope="row">') == 12 and "label 7<" in html and "label 31<" in html
    assert texts.COMPARE_FOLDED.format(count=28) in html


def test_whatever_models_and_visitors_write_is_escaped() -> None:
    evil = "<img src=x onerror=alert(1)>"
    said = {"concepts": (ScoredText(evil, 0.5),), "captions": (evil,), "template": evil}
    shares = {"a": 0.9, '"&b': 0.1}
    one = from_distribution(shares, emotion_model="custom", method="x", **said)
    picture = Image.new("RGB", (8, 8))
    html = comparison_html(Side(evil, one, picture), Side("B", one, picture))
    assert "<img src=x" not in html and "&lt;img src=x" in html and "&quot;&amp;b" in html
    assert "<img src=x" not in comparison_html(Side("A", error=evil), Side("B", one, picture))


def test_what_is_awaited_has_its_place_and_a_failure_leaves_the_other_answer() -> None:
    one = Side(NAMES[0], prediction(0.7, 0.2, 0.1), Image.new("RGB", (8, 8)))
    waiting = comparison_html(one, Side(NAMES[1]))
    assert texts.COMPARE_WAITING in waiting and "joy (70%)" in waiting and "iec-differences" not in waiting
    failed = comparison_html(one, Side(NAMES[1], error="It is no picture; give another."))
    assert "It is no picture" in failed and "joy (70%)" in failed and texts.COMPARE_FAILED in failed


@pytest.fixture
def comparison(predictor: Any, captioning: Any, reasoning: Any, tmp_path: Path) -> Any:
    pytest.importorskip("gradio")
    from iec_hub.space.compare import Comparison
    from iec_hub.space.methods import page_methods
    from iec_hub.space.service import Service

    for name, colour in (("black", "black"), ("white", "white")):
        Image.new("RGB", (60, 40), colour).save(tmp_path / f"{name}.png")
    (tmp_path / "broken.png").write_bytes(b"no picture at all")
    service = Service(page_methods({"ugrie": predictor, "escnet": captioning, "aciec": reasoning}))
    return Comparison(service, str(tmp_path))


def shown(comparison: Any, *asked: Any, run: Callable[..., Any] | None = None) -> list[str]:
    """Everything that the tab shows, one after the other; file names stand for uploaded pictures."""
    folder = Path(comparison.uploads)
    files = [{"path": str(folder / each)} if isinstance(each, str) else each for each in asked[1:3]]

    async def collect() -> list[str]:
        return [html async for html in (run or comparison.show)(asked[0], *files, *asked[3:])]

    # In a thread of its own: Playwright keeps a loop running in the tests' one.
    with ThreadPoolExecutor(1) as thread:
        return thread.submit(asyncio.run, collect()).result()


def test_two_pictures_are_compared_and_the_first_answer_is_shown_at_once(comparison) -> None:
    steps = shown(comparison, "pictures", "black.png", "white.png", "ugrie", "", "mikels8", "")
    assert len(steps) == 2 and texts.COMPARE_WAITING in steps[0] and "<table" not in steps[0]
    assert "Picture A most likely evokes amusement, Picture B sadness." in steps[1]


def test_one_picture_is_compared_under_two_methods_with_their_words(comparison) -> None:
    html = re.sub("<[^>]*>", "", shown(comparison, "methods", "black.png", None, "escnet", "aciec", "mikels8", "")[-1])
    assert "ESCNet" in html and "ACIEC" in html and "gloomy" in html and "quiet place" in html
    own = shown(comparison, "pictures", "black.png", "white.png", "ugrie", "", "own", "dim, bright")[-1]
    assert "Picture A most likely evokes dim, Picture B bright." in own


@pytest.mark.parametrize(
    ("asked", "sentence"),
    [
        (("pictures", "black.png", None, "ugrie", "", "mikels8", ""), texts.COMPARE_TWO_NEEDED),
        (("methods", "black.png", None, "ugrie", "ugrie", "mikels8", ""), texts.COMPARE_SAME_METHOD),
        (("methods", "black.png", None, "ugrie", "nothing", "mikels8", ""), "There is no method"),
        (("pictures", "black.png", "white.png", "ugrie", "", ["mikels8"], ""), "cannot be asked"),
        (("pictures", "black.png", "white.png", "ugrie", "", "own", "one"), "labels"),
        (("pictures", "black.png", "broken.png", "ugrie", "", "mikels8", ""), "not an image"),
        (("pictures", "black.png", {"path": "/etc/passwd"}, "ugrie", "", "mikels8", ""), texts.NO_PICTURE),
        (("pictures", 7, ["x"], {}, 1, None, 3), "There is no method"),
    ],
)
def test_each_mistake_gets_its_sentence(comparison, asked: tuple[Any, ...], sentence: str) -> None:
    html = shown(comparison, *asked)[-1]
    assert sentence in html and texts.UNEXPECTED_ERROR not in html and 'role="alert"' in html


def test_a_comparison_follows_the_choices_and_an_old_one_does_not_stay(comparison) -> None:
    def followed(*asked: Any) -> list[str]:
        return shown(comparison, *asked, run=comparison.show_if_ready)

    assert "sadness" in followed("pictures", "black.png", "white.png", "ugrie", "", "mikels8", "")[-1]
    for unready in (
        ("pictures", "black.png", None, "ugrie", "", "mikels8", ""),
        ("methods", None, "white.png", "ugrie", "escnet", "mikels8", ""),
        ("pictures", "black.png", "white.png", "ugrie", "", "own", " , "),
    ):
        (html,) = followed(*unready)
        assert texts.COMPARE_EMPTY_TITLE in html and 'role="alert"' not in html


@pytest.fixture
def tab(visit_at: Callable[..., Any], three_methods_url: str) -> Iterator[Callable[..., Any]]:
    def open_tab(viewport: dict[str, int] = DESKTOP, theme: str = "light") -> Any:
        page = visit_at(three_methods_url, viewport, theme)
        page.get_by_role("tab", name=texts.TAB_COMPARE, exact=True).click()
        page.locator("#iec-compare-button").wait_for()
        return page

    yield open_tab


def chosen(page: Any, first: str, second: str) -> None:
    for side, name in zip("ab", (first, second), strict=True):
        page.locator(f"#iec-pair-examples-{side}").get_by_role("button", name=texts.example_name(name)).click()


@pytest.mark.browser
def test_a_visitor_compares_examples_swaps_them_and_turns_to_two_methods(tab) -> None:
    page = tab()
    result = page.locator("#iec-compare-result")
    assert texts.COMPARE_EMPTY_TITLE in result.inner_text()
    page.get_by_role("button", name=texts.COMPARE_TRY).click()
    page.locator(".iec-differences").wait_for()
    before = page.locator(".iec-side .iec-verdict").all_inner_texts()[:2]
    assert before[0] != before[1]
    page.get_by_role("button", name=texts.COMPARE_SWAP).click()
    page.wait_for_function(
        "wanted => document.querySelector('.iec-differences') && "
        "document.querySelector('.iec-side .iec-verdict').innerText === wanted",
        arg=before[1],
    )
    assert page.locator(".iec-side .iec-verdict").all_inner_texts()[:2] == before[::-1]
    page.get_by_label(texts.COMPARE_METHODS, exact=True).check()
    page.locator("#iec-picture-b").wait_for(state="hidden")
    # Only what both can be asked for is offered: the second method takes no labels of a visitor's own.
    page.locator("#iec-compare-emotion-model").get_by_label(texts.OWN_LABELS_CHOICE, exact=True).wait_for(
        state="detached"
    )
    page.locator("#iec-compare-button").click()
    result.get_by_role("heading", name="B: ESCNet").wait_for()
    page.locator(".iec-differences").wait_for()


@pytest.mark.browser
def test_a_broken_picture_leaves_the_other_answer(tab, tmp_path: Path) -> None:
    page = tab()
    (tmp_path / "notes.png").write_bytes(b"no picture at all")
    Image.new("RGB", (60, 40), "white").save(tmp_path / "white.png")
    page.locator("#iec-picture-a input[type=file]").set_input_files(tmp_path / "white.png")
    page.locator("#iec-picture-b input[type=file]").set_input_files(tmp_path / "notes.png")
    page.locator("#iec-compare-result [role=alert]", has_text="not an image").wait_for()
    assert "sadness" in page.locator(".iec-side .iec-verdict").inner_text()


@pytest.mark.browser
def test_a_phone_shows_both_sides_within_its_width(tab) -> None:
    page = tab(PHONE)
    chosen(page, "pizza", "bed at night")
    page.locator(".iec-differences").wait_for()
    assert page.evaluate("document.documentElement.scrollWidth") == PHONE["width"]
    assert not beyond(page, "#iec-compare-result *", PHONE["width"])

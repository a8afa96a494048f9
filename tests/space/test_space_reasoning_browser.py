"""The result of a method that decides from words, in a real browser."""

import io
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image
from test_space_reasoning_page import notice  # noqa: F401
from visiting import CONTRAST, DESKTOP, PHONE, ask, beyond, upload

from iec_hub.space import texts

pytestmark = pytest.mark.browser

# Where things are from the corner of the picture: the drawing, and each outline without the thickness of its line and
# the middle of its number. In one go, as the page may be scrolling.
PLACES = """() => {
    const picture = document.querySelector(".iec-boxed img").getBoundingClientRect();
    const place = (element) => {
        const box = element.getBoundingClientRect();
        return [box.left - picture.left, box.top - picture.top, box.right - picture.left, box.bottom - picture.top];
    };
    const outlines = [...document.querySelectorAll(".iec-line")].map((polygon) => {
        const matrix = polygon.getScreenCTM();
        const corners = [...polygon.points].map((point) => point.matrixTransform(matrix));
        const x = corners.map((corner) => corner.x - picture.left);
        const y = corners.map((corner) => corner.y - picture.top);
        return [Math.min(...x), Math.min(...y), Math.max(...x), Math.max(...y)];
    });
    return {
        drawing: place(document.querySelector(".iec-boxes")),
        outlines,
        numbers: [...document.querySelectorAll(".iec-badge")].map(place),
        size: [picture.width, picture.height],
    };
}"""


@pytest.fixture
def result_page(visit_at: Any, reasoning_url: str, notice: Path) -> Any:  # noqa: F811
    """`result_page(viewport, theme)`: the page with the result for a picture with two lines of text."""

    def open_result(viewport: dict[str, int] = DESKTOP, theme: str = "light") -> Any:
        page = visit_at(reasoning_url, viewport, theme)
        page.get_by_label("ACIEC", exact=True).check()
        upload(page, notice)
        ask(page, texts.EMBEDDED_TEXT)
        page.locator(".iec-boxed img").wait_for()
        return page

    return open_result


def test_a_visitor_reads_how_the_words_came_about(result_page) -> None:
    page = result_page()
    for heading in (texts.DECIDING, texts.CONCEPTS, texts.REASONING, texts.SENTENCES, texts.EMBEDDED_TEXT):
        assert page.get_by_role("heading", name=heading, exact=True).count() == 1
    assert page.locator(".iec-chip").count() == 2 and "bright sky" in page.locator(".iec-chip").first.inner_text()
    steps = page.locator("ol.iec-steps").get_by_role("listitem").all_inner_texts()
    assert len(steps) == 3 and steps[0].startswith("Brightness") and "contentment" in steps[0]
    assert page.locator(".iec-read li").all_inner_texts()[0].startswith("line 1, ")
    assert page.locator("blockquote mark").all_inner_texts() == ["bright", "picture", "quiet"]
    # Nothing can be changed here, as the method reads no captions.
    assert page.locator(".iec-editor").count() == 0


@pytest.mark.parametrize("viewport", [DESKTOP, PHONE], ids=["desktop", "phone"])
def test_outlines_lie_on_the_text_that_they_are_of(result_page, viewport: dict[str, int]) -> None:
    page = result_page(viewport)
    places = page.evaluate(PLACES)
    assert places["drawing"] == pytest.approx([0, 0, *places["size"]], abs=0.1) and len(places["outlines"]) == 2
    for outline, number in zip(places["outlines"], places["numbers"], strict=True):
        middle = [(number[0] + number[2]) / 2, (number[1] + number[3]) / 2]
        assert middle == pytest.approx(outline[:2], abs=2)
    # Without the drawing the text's own ink can be seen on the screen. The photograph is brighter than any letter.
    page.add_style_tag(content=".iec-boxes, .iec-badge { visibility: hidden }")
    dark = np.asarray(Image.open(io.BytesIO(page.locator(".iec-boxed img").screenshot())).convert("L")) < 128
    for outline in places["outlines"]:
        left, top, right, bottom = (round(side) for side in outline)
        around = dark[top - 8 : bottom + 8, left - 8 : right + 8]
        rows, columns = np.flatnonzero(around.any(axis=1)), np.flatnonzero(around.any(axis=0))
        ink = [left - 8 + columns[0], top - 8 + rows[0], left - 7 + columns[-1], top - 7 + rows[-1]]
        assert ink == pytest.approx(outline, abs=2)


def test_a_picture_without_text_says_so_and_has_no_outlines(visit_at, reasoning_url: str) -> None:
    page = visit_at(reasoning_url, DESKTOP)
    page.get_by_label("ACIEC", exact=True).check()
    page.get_by_role("button", name="Example: bed at night").click()
    page.locator("#iec-result", has_text=texts.NO_EMBEDDED_TEXT).wait_for()
    assert page.locator(".iec-boxed").count() == 0


@pytest.mark.parametrize("theme", ["light", "dark"])
def test_everything_can_be_read_within_the_width_of_a_phone(result_page, theme: str) -> None:
    page = result_page(PHONE, theme)
    assert page.evaluate("document.documentElement.scrollWidth") == PHONE["width"]
    assert not beyond(page, ".iec-result *", PHONE["width"])
    for selector in (".iec-mark", ".iec-chip bdi", ".iec-part", ".iec-lead", ".iec-looked", ".iec-felt", ".iec-badge"):
        ratios = page.evaluate(CONTRAST, selector)
        assert ratios and min(ratios) >= 4.5, (selector, ratios)

"""The page in a real browser: what a visitor does, and that nothing is asked of any other site."""

import base64
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from PIL import Image
from visiting import CONTRAST, DESKTOP, PHONE, ask, beyond, upload

from iec_hub.space import texts

pytestmark = pytest.mark.browser


@pytest.fixture
def visit(visit_at: Callable[..., Any], page_url: str) -> Callable[..., Any]:
    """Opens the page of one method."""

    def open_page(viewport: dict[str, int] = DESKTOP, theme: str = "light") -> Any:
        return visit_at(page_url, viewport, theme)

    return open_page


@pytest.fixture
def white(tmp_path: Path) -> Path:
    Image.new("RGB", (90, 60), "white").save(tmp_path / "white.png")
    return tmp_path / "white.png"


def test_a_visitor_uploads_a_picture_and_reads_the_result(visit, white: Path) -> None:
    page = visit()
    assert page.title() == texts.TITLE and page.get_by_role("heading", level=1).inner_text() == texts.TITLE
    assert texts.START_TITLE in page.locator("#iec-result").inner_text()
    upload(page, white)
    result = ask(page, "sadness")
    assert result.get_by_role("status").inner_text().startswith("sadness (")
    rows = result.locator(".iec-bar").all_inner_texts()
    assert len(rows) == 8 and "amusement" in rows[0] and "%" in rows[0]
    assert texts.SENTENCE in result.inner_text()


def test_a_new_picture_takes_the_old_result_away(visit, white: Path) -> None:
    page = visit()
    upload(page, white)
    ask(page, "sadness")
    page.locator("#iec-picture").get_by_role("button", name="Remove").first.click()
    page.locator("#iec-result", has_text=texts.START_TITLE).wait_for()
    assert page.locator(".iec-bar").count() == 0


def test_an_example_is_answered_at_once_and_its_evidence_can_be_faded(visit) -> None:
    page = visit()
    page.get_by_role("button", name="Example: bed at night").click()
    heat = page.locator(".iec-heat")
    heat.wait_for()
    assert page.locator(".iec-verdict").inner_text()
    page.get_by_label(texts.EVIDENCE_STRENGTH).fill("0")
    assert heat.evaluate("element => getComputedStyle(element).opacity") == "0"
    page.get_by_label(texts.EVIDENCE_STRENGTH).fill("100")
    assert heat.evaluate("element => getComputedStyle(element).opacity") == "1"
    boxes = [locator.bounding_box() for locator in (heat, page.locator(".iec-picture img").first)]
    assert boxes[0] == boxes[1]


def test_own_labels_are_asked_for_when_chosen_and_shown_as_plain_text(visit, white: Path) -> None:
    page = visit()
    upload(page, white)
    box = page.get_by_label(texts.OWN_LABELS, exact=True)
    assert box.count() == 0
    page.get_by_label(texts.OWN_LABELS_CHOICE, exact=True).check()
    box.fill('dim, ${alert(1)} {{value}} & "co"')
    result = ask(page, "${alert(1)}")
    assert result.get_by_role("status").inner_text().startswith('${alert(1)} {{value}} & "co" (')
    assert texts.NOT_TRAINED in result.inner_text()
    # Enter asks too, and labels that are hidden again do not count.
    box.fill("dim, bright")
    box.press("Enter")
    page.locator("#iec-result .iec-verdict", has_text="bright").wait_for()
    page.get_by_label("Sentiments", exact=True).check()
    box.wait_for(state="detached")
    ask(page, "positive")


def test_mistakes_are_answered_in_one_sentence(visit, white: Path, tmp_path: Path) -> None:
    page = visit()
    assert texts.NO_PICTURE in ask(page, texts.ERROR_TITLE).inner_text()
    page.get_by_label(texts.OWN_LABELS_CHOICE, exact=True).check()
    upload(page, white, answered=False)
    page.get_by_label(texts.OWN_LABELS, exact=True).fill("<b>cosy</b>, eerie")
    assert "use plain words" in ask(page, "cosy").inner_text()
    assert page.locator("#iec-result b").count() == 0
    (tmp_path / "notes.png").write_bytes(b"no picture at all")
    page.reload()
    upload(page, tmp_path / "notes.png")
    message = page.locator("#iec-result").get_by_role("alert").inner_text()
    assert "notes.png" in message and "not an image" in message and "Traceback" not in message


def test_nothing_on_the_left_moves_when_the_result_comes(visit, white: Path) -> None:
    page = visit({"width": 1280, "height": 1400})
    places = ["#iec-picture", "#iec-examples", "#iec-emotion-model", "#iec-button"]
    before = [page.locator(place).bounding_box() for place in places]
    left = page.locator("#iec-result").bounding_box()
    upload(page, white)
    ask(page, "sadness")
    assert [page.locator(place).bounding_box() for place in places] == before
    after = page.locator("#iec-result").bounding_box()
    assert (after["x"], after["y"], after["width"]) == (left["x"], left["y"], left["width"])


@pytest.mark.parametrize("viewport", [DESKTOP, {"width": 1280, "height": 640}, PHONE])
def test_the_button_is_in_sight_at_once(visit, viewport: dict[str, int]) -> None:
    box = visit(viewport).locator("#iec-button").bounding_box()
    assert box["y"] > 0 and box["y"] + box["height"] <= viewport["height"]


def test_a_phone_shows_everything_within_its_width_and_goes_to_the_result(visit, white: Path) -> None:
    page = visit(PHONE)
    width = "document.documentElement.scrollWidth"
    assert page.evaluate(width) == PHONE["width"]
    page.get_by_label(texts.OWN_LABELS_CHOICE, exact=True).check()
    upload(page, white, answered=False)
    page.get_by_label(texts.OWN_LABELS, exact=True).fill(f"{'m' * 80}, {'long words ' * 7}")
    ask(page, "mmm")
    assert page.evaluate(width) == PHONE["width"]
    page.wait_for_function("document.getElementById('iec-result').getBoundingClientRect().top < innerHeight / 2")
    assert not beyond(page, ".iec-result *", PHONE["width"])


@pytest.mark.parametrize("theme", ["light", "dark"])
def test_text_can_be_read_in_both_themes(visit, white: Path, theme: str) -> None:
    page = visit(theme=theme)
    upload(page, white)
    page.get_by_label(texts.OWN_LABELS_CHOICE, exact=True).check()
    page.get_by_label(texts.OWN_LABELS, exact=True).fill("dim, bright")
    ask(page, "bright")
    own = ".iec-header h1, .iec-header p, .iec-result p, .iec-result h3, .iec-label, .iec-share, figcaption"
    for selector in (own, "#iec-button", "#iec-emotion-model label span", "#iec-hint p"):
        ratios = page.evaluate(CONTRAST, selector)
        assert ratios and min(ratios) >= 4.5, (selector, ratios)


# What a browser does when a visitor presses the keys for it; a test may not touch the clipboard that all tests share.
PASTE = """async ([kind, content, type]) => {
    const given = new DataTransfer();
    if (kind === "text") given.setData("text/plain", content);
    else given.items.add(new File([await (await fetch(content)).blob()], "picture.png", {type}));
    const event = new ClipboardEvent("paste", {clipboardData: given, bubbles: true, cancelable: true});
    (document.activeElement ?? document.body).dispatchEvent(event);
    return event.defaultPrevented;
}"""


def test_a_picture_is_pasted_wherever_the_visitor_is_and_text_where_it_is_written(visit, white: Path) -> None:
    picture = f"data:image/png;base64,{base64.b64encode(white.read_bytes()).decode()}"
    page = visit()
    assert not page.evaluate(PASTE, ["text", "https://example.org/cat.png", ""])
    assert texts.START_TITLE in page.locator("#iec-result").inner_text()
    assert page.evaluate(PASTE, ["file", picture, "image/png"])
    page.locator("#iec-result .iec-done").wait_for()
    assert "sadness" in page.locator(".iec-verdict").inner_text()
    # In place of the one before.
    Image.new("RGB", (90, 60), "black").save(white)
    picture = f"data:image/png;base64,{base64.b64encode(white.read_bytes()).decode()}"
    assert page.evaluate(PASTE, ["file", picture, "image/png"])
    page.locator("#iec-result .iec-verdict", has_text="amusement").wait_for()
    page.get_by_role("tab", name="Many pictures").click()
    assert page.evaluate(PASTE, ["file", picture, "image/png"])
    page.locator("#iec-many-files .file-preview").wait_for()
    page.get_by_role("tab", name="About").click()
    assert not page.evaluate(PASTE, ["file", picture, "image/png"])

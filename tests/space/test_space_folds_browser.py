"""What a visitor wrote or opened stays where it is while answers are drawn anew, in a real browser."""

from pathlib import Path
from typing import Any

import pytest
from visiting import PHONE, settle, upload

from iec_hub.space import texts

pytestmark = pytest.mark.browser
PHOTOGRAPH = Path(__file__).parents[2] / "iec_hub" / "space" / "examples" / "pizza.jpg"


def test_a_phone_begins_with_the_answers_and_keeps_open_what_was_opened(visit_at: Any, two_methods_url: str) -> None:
    page = visit_at(two_methods_url, PHONE)
    upload(page, PHOTOGRAPH)
    bars, why = page.locator(".iec-card .iec-bars"), page.locator(".iec-card .iec-why")
    assert [part.is_visible() for part in bars.all()] == [True, True]
    assert [part.is_visible() for part in why.all()] == [False, False]
    closed = page.evaluate("document.documentElement.scrollHeight")
    page.get_by_text(texts.UNFOLD).nth(1).click()
    assert [part.is_visible() for part in why.all()] == [False, True]
    assert page.evaluate("document.documentElement.scrollHeight") > closed + 300
    caption = page.get_by_label(texts.CAPTION_EDITOR)
    caption.fill("A dark, gloomy pizza.")
    caption.press("Enter")
    page.locator("#iec-summary", has_text=texts.changed_answers(["ESCNet"])).wait_for()
    assert [part.is_visible() for part in why.all()] == [False, True] and caption.is_visible()
    # The same picture by one method alone: the caption is still the visitor's, and nothing is folded away.
    page.get_by_label("ESCNet", exact=True).check()
    page.locator(".iec-card .iec-alone.iec-done").wait_for()
    settle(page)
    assert caption.input_value() == "A dark, gloomy pizza." and page.locator(".iec-alone .iec-why").is_visible()
    assert page.get_by_text(texts.UNFOLD).count() == 0
    # A new picture is described anew.
    page.get_by_role("button", name="Example: skateboarder").click()
    page.wait_for_function("!document.querySelector('.iec-editor textarea').value.includes('gloomy')")

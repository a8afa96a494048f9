"""Several methods, charged words and captions to change, in a real browser."""

from pathlib import Path
from typing import Any

import pytest
from visiting import CONTRAST, DESKTOP, PHONE, ask, beyond, choose, held, upload

from iec_hub.space import texts

pytestmark = pytest.mark.browser

SHOWN_MAP = ".iec-heat:not([hidden])"
HOSTILE = 'A dark <img src=x onerror=alert(1)> ${alert(1)} "room\'s" {{value}}'


@pytest.fixture
def result_page(visit_at: Any, two_methods_url: str, half: Path) -> Any:
    """`result_page(viewport, theme)`: the page with the result of the method that writes captions."""

    def open_result(viewport: dict[str, int] = DESKTOP, theme: str = "light") -> Any:
        page = visit_at(two_methods_url, viewport, theme)
        upload(page, half)
        choose(page, "ESCNet")
        caption_box(page).wait_for()
        return page

    return open_result


def caption_box(page: Any) -> Any:
    return page.get_by_label(texts.CAPTION_EDITOR)


def percentages(page: Any) -> list[str]:
    return page.locator(".iec-share").all_inner_texts()


def test_another_method_offers_other_emotions_and_keeps_the_picture(visit_at, two_methods_url, half: Path) -> None:
    page = visit_at(two_methods_url, DESKTOP)
    page.get_by_label("UGRIE", exact=True).check()
    upload(page, half)
    page.get_by_label(texts.OWN_LABELS_CHOICE, exact=True).check()
    page.get_by_label(texts.OWN_LABELS, exact=True).fill("dim, bright")
    ask(page, "bright")
    assert not page.locator(".iec-editor").is_visible()
    page.get_by_label("ESCNet", exact=True).check()
    # It is asked at once, about what it can tell apart.
    page.locator("#iec-result", has_text=texts.CAPTION).wait_for()
    offered = page.locator("#iec-emotion-model label")
    assert offered.all_inner_texts() == ["Mikels' emotions", "Sentiments"]
    assert page.locator("#iec-labels").count() == 0 and page.locator("#iec-picture img").is_visible()
    ask(page, texts.CAPTION)
    assert "A bright, sunny photo of something." in page.locator(".iec-caption").inner_text()
    # A choice that both offer stays, and its result says that nobody trained the method on it.
    page.get_by_label("Sentiments", exact=True).check()
    page.locator("#iec-result .iec-done", has_text="positive").get_by_text(texts.DERIVED).wait_for()
    page.get_by_label("UGRIE", exact=True).check()
    page.get_by_label(texts.OWN_LABELS_CHOICE, exact=True).wait_for()
    assert page.get_by_label("Sentiments", exact=True).is_checked()
    page.locator(".iec-editor").wait_for(state="hidden")


def test_whoever_changes_the_method_twice_at_once_is_offered_what_the_last_one_can_tell(
    visit_at, two_methods_url
) -> None:
    page = visit_at(two_methods_url, DESKTOP)
    offered = page.locator("#iec-emotion-model label")
    before = offered.count()
    with held(page, "run/predict"):
        page.get_by_label("ESCNet", exact=True).check()
        page.get_by_label("UGRIE", exact=True).check()
    page.wait_for_timeout(500)
    assert offered.count() == before
    assert page.get_by_label(texts.OWN_LABELS_CHOICE, exact=True).is_visible()


def test_the_keyboard_shows_where_the_model_looked_for_a_word(result_page) -> None:
    page = result_page()
    whole = page.locator(SHOWN_MAP).get_attribute("src")
    assert page.locator(".iec-attributes").inner_text().startswith("Brightness")
    words = page.locator("button.iec-word")
    assert words.all_inner_texts() == ["bright", "sunny", "photo"]
    words.first.focus()
    page.locator("figcaption", has_text=texts.word_evidence("bright")).wait_for()
    page.keyboard.press("Tab")
    page.locator("figcaption", has_text=texts.word_evidence("sunny")).wait_for()
    shown = page.locator(SHOWN_MAP)
    assert shown.count() == 1 and shown.get_attribute("src") != whole
    assert [word.get_attribute("aria-pressed") for word in words.all()] == ["false", "true", "false"]
    box, picture = shown.bounding_box(), page.locator(".iec-picture img").first.bounding_box()
    assert box == picture
    page.get_by_role("button", name=texts.WHOLE_DECISION).click()
    assert shown.get_attribute("src") == whole and texts.word_evidence("sunny") not in shown.page.inner_text("figure")


def test_a_visitor_changes_the_caption_and_goes_back(result_page) -> None:
    page = result_page()
    own, before = caption_box(page).input_value(), percentages(page)
    assert own == "A bright, sunny photo of something."
    caption_box(page).fill("A dark, gloomy photo of something.")
    caption_box(page).press("Enter")
    page.locator("#iec-result", has_text=texts.OWN_CAPTION).wait_for()
    assert percentages(page) != before and page.locator(".iec-change").count() == len(before)
    assert "You wrote this caption." in page.locator(".iec-note").first.inner_text()
    caption_box(page).fill(HOSTILE)
    page.get_by_role("button", name=texts.CAPTION_BUTTON).click()
    page.locator(".iec-caption", has_text="${alert(1)}").wait_for()
    assert page.locator(".iec-caption").inner_text() == HOSTILE and page.locator(".iec-caption img").count() == 0
    # Mistakes are sentences; the text stays to be mended.
    for text, sentence in (("x" * 401, "401 characters; shorten it to 400."), (" ", texts.CAPTION_EMPTY)):
        caption_box(page).fill(text)
        page.get_by_role("button", name=texts.CAPTION_BUTTON).click()
        page.locator("#iec-result [role=alert]", has_text=sentence).wait_for()
        assert caption_box(page).input_value() == text
    page.get_by_role("button", name=texts.CAPTION_RESET).click()
    page.locator("#iec-result", has_text=texts.CAPTION).wait_for()
    assert percentages(page) == before and page.locator(".iec-change").count() == 0
    assert caption_box(page).input_value() == own


@pytest.mark.parametrize(("viewport", "theme"), [(PHONE, "light"), (PHONE, "dark")], ids=["light", "dark"])
def test_words_and_changes_can_be_read_on_a_phone(result_page, viewport: dict[str, int], theme: str) -> None:
    page = result_page(viewport, theme)
    caption_box(page).fill(f"A dark, sunny, bright, gloomy photo of {'m' * 90}")
    page.get_by_role("button", name=texts.CAPTION_BUTTON).click()
    page.locator("#iec-result", has_text=texts.OWN_CAPTION).wait_for()
    assert page.evaluate("document.documentElement.scrollWidth") == viewport["width"]
    assert not beyond(page, ".iec-result *, .iec-editor *", viewport["width"])
    for selector in (".iec-word", ".iec-change", ".iec-hint", ".iec-whole", ".iec-note", "#iec-method label span"):
        ratios = page.evaluate(CONTRAST, selector)
        assert ratios and min(ratios) >= 4.5, (selector, ratios)

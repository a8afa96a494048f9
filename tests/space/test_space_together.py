"""All methods side by side, words to change, and links that bring settings back, in a real browser."""

from pathlib import Path
from typing import Any

import pytest
from visiting import CONTRAST, DESKTOP, PHONE, beyond, settle, upload

from iec_hub.space import texts

pytestmark = pytest.mark.browser


def answers(page: Any) -> list[str]:
    return [verdict.split(" (")[0] for verdict in page.locator(".iec-card .iec-verdict").all_inner_texts()]


def test_both_methods_answer_a_new_picture_at_once_and_one_sentence_compares_them(
    visit_at: Any, two_methods_url: str, half: Path
) -> None:
    page = visit_at(two_methods_url, DESKTOP)
    assert texts.METHOD_IDEAS["escnet"] in page.locator("#iec-cards").inner_text()
    upload(page, half)
    assert page.locator(".iec-card h2").all_inner_texts() == ["UGRIE", "ESCNet"]
    said = page.locator(".iec-agreement").inner_text()
    first, second = (verdict.split()[-1] for verdict in answers(page))
    assert ("Both" in said) == (first == second) and first in said and second in said
    # A row's numbers are those of the bars.
    row = page.locator(".iec-apart tbody tr").first
    label, numbers = row.locator("th").inner_text(), row.locator("td:not([aria-hidden])").all_inner_texts()
    bars = page.locator(".iec-bar", has=page.get_by_text(label, exact=True)).locator(".iec-share").all_inner_texts()
    assert numbers == bars


def test_emotions_that_one_method_cannot_tell_are_asked_of_the_other_alone(
    visit_at: Any, two_methods_url: str, half: Path
) -> None:
    page = visit_at(two_methods_url, DESKTOP)
    upload(page, half)
    page.get_by_label("Ekman's emotions", exact=True).check()
    page.get_by_text(texts.ONLY_ONE.format(method="UGRIE")).wait_for()
    other = page.locator("#iec-card-1")
    assert "ESCNet cannot tell these emotions apart" in other.inner_text() and other.locator(".iec-bar").count() == 0
    # Own labels are asked about once they are written; words for them can be given too.
    page.get_by_label(texts.OWN_LABELS_CHOICE, exact=True).check()
    page.locator("#iec-result", has_text=texts.START_TITLE).wait_for()
    page.get_by_label(texts.OWN_LABELS, exact=True).fill("dim, bright")
    page.get_by_label(texts.OWN_LABELS, exact=True).press("Enter")
    page.locator("#iec-card-0 .iec-done .iec-bar", has_text="bright").wait_for()
    page.get_by_role("button", name=texts.WORDS).click()
    assert page.get_by_label(texts.WORDS_EDITOR).input_value() == "dim: dim\nbright: bright"


def test_a_visitor_changes_the_words_for_an_emotion_and_goes_back(visit_at: Any, page_url: str, half: Path) -> None:
    page = visit_at(page_url, DESKTOP)
    upload(page, half)
    sentence = page.locator(".iec-sentence").inner_text()
    top = page.locator(".iec-top .iec-label").inner_text()
    page.get_by_role("button", name=texts.WORDS).click()
    words = page.get_by_label(texts.WORDS_EDITOR)
    usual = words.input_value()
    words.fill("\n".join(f"{top}: wombat" if line.startswith(f"{top}:") else line for line in usual.splitlines()))
    page.get_by_role("button", name=texts.WORDS_BUTTON).click()
    page.locator(".iec-note", has_text=texts.WORDS_CHANGED).wait_for()
    assert "wombat" in page.locator(".iec-sentence").inner_text() and page.locator(".iec-change").count() == 8
    words.fill("wombat")
    page.get_by_role("button", name=texts.WORDS_BUTTON).click()
    page.get_by_role("alert").get_by_text("lacks its colon").wait_for()
    page.get_by_role("button", name=texts.WORDS_RESET).click()
    page.locator(".iec-sentence", has_text=sentence).wait_for()
    assert words.input_value() == usual and page.locator(".iec-change").count() == 0


def test_a_link_brings_the_settings_and_the_example_back(visit_at: Any, two_methods_url: str) -> None:
    page = visit_at(two_methods_url, DESKTOP)
    page.get_by_label("ESCNet", exact=True).check()
    page.locator("#iec-emotion-model").get_by_text(texts.OWN_LABELS_CHOICE).wait_for(state="detached")
    page.get_by_label("Sentiments", exact=True).check()
    page.get_by_role("button", name="Example: pizza").click()
    settle(page)
    caption = page.get_by_label(texts.CAPTION_EDITOR)
    caption.fill("A dark, gloomy pizza.")
    caption.press("Enter")
    page.locator("#iec-result", has_text=texts.OWN_CAPTION).wait_for()
    page.get_by_role("button", name=texts.SHARE).click()
    page.get_by_role("button", name=texts.SHARE_BUTTON).click()
    link = page.locator("#iec-link textarea")
    link.wait_for()
    page.wait_for_function("document.querySelector('#iec-link textarea').value.startsWith('http')")
    assert texts.SHARE_EXAMPLE in page.locator("#iec-share").inner_text()
    shares = page.locator(".iec-share").all_inner_texts()
    page = visit_at(link.input_value(), DESKTOP)
    page.locator("#iec-result", has_text=texts.OWN_CAPTION).wait_for()
    settle(page)
    assert page.locator(".iec-share").all_inner_texts() == shares
    assert page.get_by_label("ESCNet", exact=True).is_checked()
    assert page.get_by_label("Sentiments", exact=True).is_checked()
    # A bad one is one sentence, and the page works as ever; an address can also name a tab.
    page = visit_at(f"{two_methods_url}?method=oracle&example=pizza", DESKTOP)
    page.get_by_role("alert").get_by_text(texts.LINK_BAD).wait_for()
    page.get_by_role("button", name="Example: pizza").click()
    settle(page)
    page = visit_at(f"{two_methods_url}?tab=about", DESKTOP)
    page.get_by_role("tab", name=texts.TAB_ABOUT, selected=True).wait_for()
    page.get_by_role("tab", name=texts.TAB_SINGLE).click()
    page.wait_for_url("**tab=single*")


def test_an_own_picture_is_not_part_of_a_link(visit_at: Any, page_url: str, half: Path) -> None:
    page = visit_at(page_url, DESKTOP)
    upload(page, half)
    page.get_by_role("button", name=texts.SHARE).click()
    page.get_by_role("button", name=texts.SHARE_BUTTON).click()
    page.get_by_text(texts.SHARE_OWN).wait_for()
    assert "example" not in page.locator("#iec-link textarea").input_value()


@pytest.mark.parametrize(("viewport", "theme"), [(DESKTOP, "dark"), (PHONE, "light")], ids=["desktop", "phone"])
def test_cards_can_be_read_and_fit(
    visit_at: Any, three_methods_url: str, half: Path, viewport: Any, theme: str
) -> None:
    page = visit_at(three_methods_url, viewport, theme)
    upload(page, half)
    assert page.evaluate("document.documentElement.scrollWidth") == viewport["width"]
    assert not beyond(page, "#iec-result *", viewport["width"] + 1)
    box = page.locator(".iec-summary").bounding_box()
    assert not beyond(page, ".iec-summary *", box["x"] + box["width"])
    rows = page.locator(".iec-apart tbody tr")
    assert max(row.bounding_box()["height"] for row in rows.all()) < 40, "labels in pieces"
    for selector in (".iec-agreement", ".iec-agree p", ".iec-apart th", ".iec-head p", ".iec-over", ".iec-verdict"):
        ratios = page.evaluate(CONTRAST, selector)
        assert ratios and min(ratios) >= 4.5, (selector, ratios)

"""The whole page for everybody: axe's findings, the keyboard alone, narrow screens, reduced motion."""

import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import pytest
from PIL import Image
from visiting import DESKTOP, PHONE

pytest.importorskip("gradio")
pytest.importorskip("playwright")
# What the README's pictures show is done here too, so that they can be made again.
sys.path.insert(0, str(Path(__file__).parents[2] / "docs"))

from make_page_picture import compared, many_pictures, turn_to  # noqa: E402

from iec_hub.space import texts  # noqa: E402

pytestmark = pytest.mark.browser
TABS = (texts.TAB_SINGLE, texts.TAB_MANY, texts.TAB_COMPARE, texts.TAB_ABOUT)
GRAVE = ("serious", "critical")
# The rules whose result a theme can change.
OF_COLOURS = ("color-contrast", "link-in-text-block")
# Colours on their way to others are neither the ones nor the others.
AT_ONCE = "* { transition: none !important; }"
# What has the focus, and whether that can be seen: something about it, its box or its label looks otherwise without.
FOCUS = """() => {
    const e = document.activeElement;
    const name = e.getAttribute("aria-label") || (e.labels && e.labels[0] && e.labels[0].innerText) || e.innerText ||
        e.title || e.placeholder || e.tagName;
    const near = [e, e.parentElement, e.parentElement.parentElement, e.closest("label")].filter(Boolean);
    const look = () => near.map((x) => { const s = getComputedStyle(x);
        return [s.outline, s.boxShadow, s.borderColor, s.backgroundColor, s.textDecoration].join() }).join();
    const focused = look();
    e.blur();
    const blurred = look();
    e.focus();
    return {name: name.trim(), seen: focused !== blurred, html: e.outerHTML.slice(0, 120)};
}"""


@pytest.fixture
def visit(visit_at: Callable[..., Any], three_methods_url: str) -> Callable[..., Any]:
    def open_page(viewport: dict[str, int] = DESKTOP, theme: str = "light") -> Any:
        return visit_at(three_methods_url, viewport, theme)

    return open_page


def grave(page: Any, state: str, rules: Sequence[str] = ()) -> list[str]:
    """What axe finds that keeps people out, by all rules or some: lines that name the rule and an element."""
    base = pytest.importorskip("axe_playwright_python.base")
    if not page.evaluate("'axe' in window"):
        page.evaluate(base.AXE_SCRIPT)
    options = {"resultTypes": ["violations"], "preload": False, **({"runOnly": list(rules)} if rules else {})}
    found = page.evaluate("(options) => axe.run(options).then((found) => found.violations)", options)
    return [
        f"{state}: {one['id']} ({one['help']}): {node['html'][:160]} {node.get('failureSummary', '')[:300]}"
        for one in found
        if one["impact"] in GRAVE
        for node in one["nodes"][:2]
    ]


def single_result(page: Any) -> None:
    turn_to(page, texts.TAB_SINGLE)
    page.get_by_role("button", name=texts.example_name("pizza")).first.click()
    page.locator("#iec-result .iec-verdict").nth(2).wait_for()


@pytest.mark.parametrize("theme", ["light", "dark"])
def test_axe_finds_nothing_grave_on_any_tab(visit, theme: str, tmp_path: Path) -> None:
    page = visit(theme=theme)
    page.add_style_tag(content=AT_ONCE)
    rules = OF_COLOURS if theme == "dark" else ()
    found = []
    for tab in TABS:
        turn_to(page, tab)
        found += grave(page, f"{tab}, empty", rules)
    for show, state in ((single_result, "one picture"), (many_pictures, "many pictures"), (compared, "compared")):
        show(page)
        found += grave(page, state, rules)
    turn_to(page, texts.TAB_COMPARE)
    (tmp_path / "notes.png").write_bytes(b"no picture at all")
    page.locator("#iec-picture-b").get_by_role("button", name="Remove").first.click()
    page.locator("#iec-picture-b input[type=file]").set_input_files(tmp_path / "notes.png")
    page.locator("#iec-compare-result [role=alert]").wait_for()
    found += grave(page, "error", rules)
    assert not found, "\n".join(found)


def test_the_page_says_its_language_and_has_one_heading_above_the_others(visit) -> None:
    page = visit()
    assert page.evaluate("document.documentElement.lang") == "en"
    for tab in TABS:
        turn_to(page, tab)
        levels = page.evaluate(
            "[...document.querySelectorAll('h1,h2,h3,h4')].filter((e) => e.checkVisibility())"
            ".map((e) => Number(e.tagName[1]))"
        )
        assert levels.count(1) == 1 and levels[0] == 1, (tab, levels)
        assert all(after - before <= 1 for before, after in zip(levels, levels[1:], strict=False)), (tab, levels)


@pytest.mark.parametrize("width", [PHONE["width"], 320])
def test_no_tab_scrolls_sideways_on_a_phone(visit, width: int) -> None:
    page = visit({"width": width, "height": PHONE["height"]})
    for show in (single_result, many_pictures, compared, lambda page: turn_to(page, texts.TAB_ABOUT)):
        show(page)
        assert page.evaluate("document.documentElement.scrollWidth") <= width


def test_every_tab_can_be_used_with_the_keyboard_alone(visit) -> None:
    page = visit()
    page.add_style_tag(content=AT_ONCE)
    stops = _walk(page, until=lambda stop: stop["name"] == texts.example_name("pizza"))
    assert stops[-1]["name"] == texts.example_name("pizza"), [stop["name"] for stop in stops]
    page.keyboard.press("Enter")
    page.locator("#iec-result .iec-verdict").nth(2).wait_for()
    stops += _walk(page, until=lambda stop: stop["name"].startswith(texts.EVIDENCE_STRENGTH))
    slider = "document.activeElement.type === 'range' ? Number(document.activeElement.value) : null"
    before = page.evaluate(slider)
    page.keyboard.press("ArrowLeft")
    assert before is not None and page.evaluate(slider) == before - 1
    unseen = [stop["html"] for stop in stops if not stop["seen"]]
    assert not unseen, unseen
    # Tabs: one stop, and the arrows between them, or each a stop of its own.
    page.get_by_role("tab", name=texts.TAB_SINGLE, exact=True).focus()
    for _ in range(len(TABS)):
        if page.evaluate("document.activeElement.innerText.trim()") == texts.TAB_COMPARE:
            break
        page.keyboard.press("Tab")
    page.keyboard.press("Enter")
    _walk(page, until=lambda stop: stop["name"] == texts.COMPARE_TRY)
    page.keyboard.press("Enter")
    page.locator(".iec-differences").wait_for()
    page.wait_for_function("[...document.querySelectorAll('[role=status]')].at(-1).innerText.trim() !== ''")


def _walk(page: Any, until: Callable[[dict[str, Any]], bool], most: int = 90) -> list[dict[str, Any]]:
    """Press Tab until a stop that is meant is reached; the stops on the way."""
    stops = []
    for _ in range(most):
        page.keyboard.press("Tab")
        stops.append(page.evaluate(FOCUS))
        if until(stops[-1]):
            break
    return stops


def test_nothing_moves_by_itself_where_visitors_asked_for_that(visit) -> None:
    page = visit()
    page.emulate_media(reduced_motion="reduce")
    compared(page)
    single_result(page)
    moving = page.evaluate(
        "document.getAnimations().filter((a) => a.playState === 'running' && a.effect.target.closest('[class*=iec-]'))"
        ".map((a) => a.effect.target.className)"
    )
    assert moving == []


def test_pictures_have_alternatives_and_controls_have_names(visit, tmp_path: Path) -> None:
    page = visit()
    Image.new("RGB", (60, 40), "white").save(tmp_path / "white.png")
    for show in (single_result, many_pictures, compared):
        show(page)
        nameless = page.evaluate(
            "[...document.querySelectorAll('[class*=iec-] img')].filter((e) => e.checkVisibility() && !e.alt)"
            ".map((e) => e.outerHTML.slice(0, 120))"
        )
        assert nameless == []

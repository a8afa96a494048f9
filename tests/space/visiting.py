"""What a visitor does on the page, in a browser."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

DESKTOP, PHONE = {"width": 1280, "height": 900}, {"width": 390, "height": 844}
# The contrast of each element's text against what is behind it, after WCAG 2.2.
CONTRAST = """(selector) => {
    const numbers = (colour) => colour.match(/[\\d.]+/g).map(Number);
    const luminance = (rgb) => rgb.slice(0, 3).map((c) => c / 255)
        .map((c) => c <= 0.04045 ? c / 12.92 : ((c + 0.055) / 1.055) ** 2.4)
        .reduce((sum, c, i) => sum + c * [0.2126, 0.7152, 0.0722][i], 0);
    return [...document.querySelectorAll(selector)].map((element) => {
        let behind = element;
        const fill = (e) => numbers(getComputedStyle(e).backgroundColor);
        while (behind.parentElement && fill(behind)[3] === 0) behind = behind.parentElement;
        const [a, b] = [luminance(numbers(getComputedStyle(element).color)), luminance(fill(behind))];
        return (Math.max(a, b) + 0.05) / (Math.min(a, b) + 0.05);
    });
}"""

# Elements that are seen, and end further right than they may.
_BEYOND = """([selector, width]) => [...document.querySelectorAll(selector)].filter((element) => {
    const box = element.getBoundingClientRect();
    return element.checkVisibility({visibilityProperty: true}) && box.width && box.height && box.right > width;
}).map((element) => element.outerHTML.slice(0, 120))"""

# Answers to requests whose address holds a text are on their way until `release` is called.
_HOLD = """(part) => { const ask = window.fetch, held = new Promise((done) => { window.release = done; });
    window.fetch = async (...given) => {
        const answer = await ask(...given);
        if (String(given[0]?.url ?? given[0]).includes(part)) await held;
        return answer;
    }; }"""

# What the tab for one picture shows when nothing more is to come.
ANSWERED = "#iec-result .iec-done:not([data-old]), #iec-result .iec-error:not([data-old])"


@contextmanager
def held(page: Any, part: str) -> Iterator[None]:
    """Let no answer from an address with this in it reach the page before the block ends."""
    page.evaluate(_HOLD, part)
    yield
    page.evaluate("window.release()")


def upload(page: Any, path: Path, answered: bool = True) -> None:
    """Give the tab for one picture a file, and wait for what it says of it at once."""
    _mark_old(page)
    page.locator("#iec-picture input[type=file]").set_input_files(path)
    page.locator("#iec-picture img").wait_for()
    if answered:
        settle(page)


def ask(page: Any, expected: str) -> Any:
    """Press the button, and wait for a new answer that says something."""
    _mark_old(page)
    page.locator("#iec-button").click()
    settle(page)
    result = page.locator("#iec-result", has_text=expected)
    result.wait_for()
    return result


def choose(page: Any, choice: str) -> None:
    """Choose a method or emotions for the picture that is there, and wait for the new answers."""
    _mark_old(page)
    page.get_by_label(choice, exact=True).check()
    settle(page)


def settle(page: Any) -> None:
    """Wait until all new answers are there."""
    page.locator(ANSWERED).first.wait_for()
    page.wait_for_function("!document.querySelector('#iec-result :is(.iec-waiting, .iec-deciding, .iec-working)')")


def beyond(page: Any, selector: str, width: float) -> list[str]:
    """The visible elements that reach beyond a width in pixels; there have to be elements to look at."""
    assert page.locator(selector).count()
    return page.evaluate(_BEYOND, [selector, width])


def _mark_old(page: Any) -> None:
    page.evaluate("document.querySelectorAll('#iec-result .iec-result').forEach((e) => { e.dataset.old = ''; })")

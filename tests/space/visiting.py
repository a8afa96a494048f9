"""What a visitor does on the page, in a browser."""

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


def upload(page: Any, path: Path) -> None:
    page.locator("#iec-picture input[type=file]").set_input_files(path)
    page.locator("#iec-picture img").wait_for()


def ask(page: Any, expected: str) -> Any:
    page.locator("#iec-button").click()
    result = page.locator("#iec-result", has_text=expected)
    result.wait_for()
    return result

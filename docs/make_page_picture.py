"""Makes the pictures of the page in the README, with the bundled checkpoints and the examples that ship with it.

    python docs/make_page_picture.py

writes page.png (one picture, all methods), page-many.png (many pictures) and page-compare.png (two pictures compared)
into this folder, or into `--output`. Needs the extra `test` and Chromium, as the tests of the page do.
"""

from __future__ import annotations

import argparse
import io
import os
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

os.environ.setdefault("GRADIO_ANALYTICS_ENABLED", "False")
os.environ.setdefault("GRADIO_RUN_HISTORY", "False")

from PIL import Image
from playwright.sync_api import Page, sync_playwright

from iec_hub.predictor import EmotionPredictor
from iec_hub.registry import BUNDLED_CHECKPOINTS
from iec_hub.space import texts
from iec_hub.space.page import build_page, launch_options

FOLDER = Path(__file__).parent
EXAMPLE = texts.example_name("bed-at-night")
VIEW = {"width": 1280, "height": 1200}
WIDTH = 900  # pixels of the pictures in the README
LARGEST = 200 * 1024  # bytes of each


def one_picture(page: Page) -> None:
    """Every method's answer to one example."""
    page.get_by_role("button", name=EXAMPLE).first.click()
    page.wait_for_function(
        "count => document.querySelectorAll('#iec-result .iec-heat').length >= count", arg=len(BUNDLED_CHECKPOINTS)
    )
    page.locator("#iec-result .iec-working, #iec-result .iec-waiting").first.wait_for(state="detached")


def turn_to(page: Page, tab: str) -> None:
    """Show a tab; where the page is very narrow, one of those that are folded."""
    there = page.get_by_role("tab", name=tab, exact=True)
    page.get_by_role("tab").first.wait_for()
    if there.count():
        there.click()
    else:
        page.get_by_role("button", name="More tabs").click()
        page.locator(".overflow-dropdown").get_by_text(tab, exact=True).click()
    page.locator("[role=tab][aria-selected=true]", has_text=tab).wait_for()


def many_pictures(page: Page) -> None:
    """All examples as a batch."""
    turn_to(page, texts.TAB_MANY)
    page.locator("#iec-many-given button", has_text=texts.MANY_EXAMPLES.split("{")[0].strip()).click()
    page.locator("#iec-many-downloads").wait_for()
    page.locator("#iec-many-stop").wait_for(state="hidden")


def compared(page: Page) -> None:
    """Two examples that most viewers feel differently about."""
    turn_to(page, texts.TAB_COMPARE)
    page.get_by_role("button", name=texts.COMPARE_TRY).click()
    page.locator(".iec-differences").wait_for()


# File name: what a visitor does before it is taken, and how many pixels of the page's height it shows.
PICTURES: dict[str, tuple[Callable[[Page], None], int]] = {
    "page.png": (one_picture, 1100),
    "page-many.png": (many_pictures, 1100),
    "page-compare.png": (compared, 1250),
}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--output", type=Path, default=FOLDER, help="folder of the pictures")
    parser.add_argument("--only", choices=PICTURES, help="make this one alone")
    given = parser.parse_args()
    given.output.mkdir(parents=True, exist_ok=True)
    page = build_page({method: EmotionPredictor.from_pretrained(method=method) for method in BUNDLED_CHECKPOINTS})
    _, url, _ = page.launch(**launch_options(), server_name="127.0.0.1", prevent_thread_lock=True, quiet=True)
    try:
        with sync_playwright() as playwright:
            browser = _browser(playwright)
            for name in [given.only] if given.only else PICTURES:
                size = save(photograph(browser, url, *PICTURES[name]), given.output / name)
                print(f"{name}: {size / 1024:.0f} KiB")
            browser.close()
    finally:
        page.close(verbose=False)


def photograph(browser: Any, url: str, act: Callable[[Page], None], height: int) -> bytes:
    """A PNG of the top of the page after a visitor has done something."""
    view = browser.new_page(viewport=VIEW)
    view.set_default_timeout(120_000)
    view.goto(f"{url}?__theme=light")
    act(view)
    view.evaluate("document.activeElement.blur(); window.scrollTo(0, 0)")
    view.wait_for_timeout(1500)  # the thumbnails, the bars and the layout settle
    shown = min(height, view.evaluate("document.documentElement.scrollHeight"))
    view.set_viewport_size({"width": VIEW["width"], "height": shown})
    picture = view.screenshot()
    view.close()
    return picture


def save(png: bytes, path: Path) -> int:
    """Write it small enough for a README, with a palette; its size in bytes."""
    image = Image.open(io.BytesIO(png)).convert("RGB")
    image.thumbnail((WIDTH, 4 * WIDTH), Image.Resampling.LANCZOS)
    for colours in (256, 128, 64):
        # This way of choosing a palette keeps the bars' colours; one round of k-means, the greys.
        image.quantize(colours, method=Image.Quantize.MAXCOVERAGE, kmeans=1).save(path, optimize=True)
        if path.stat().st_size < LARGEST:
            break
    return path.stat().st_size


def _browser(playwright: Any) -> Any:
    chromium = os.environ.get("CHROMIUM") or shutil.which("chromium") or shutil.which("chromium-browser")
    return playwright.chromium.launch(
        executable_path=chromium, args=["--no-sandbox", "--disable-gpu", "--disable-background-networking"]
    )


if __name__ == "__main__":
    main()

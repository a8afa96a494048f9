"""Makes docs/page.png: the page with the bundled checkpoints, where ESCNet has described a bed and looks for the lamp.

    python docs/make_page_picture.py

Needs the extra `test` and Chromium, as the tests of the page do.
"""

from __future__ import annotations

import argparse
import io
import os
import shutil
from pathlib import Path

os.environ.setdefault("GRADIO_ANALYTICS_ENABLED", "False")
os.environ.setdefault("GRADIO_RUN_HISTORY", "False")

from PIL import Image
from playwright.sync_api import sync_playwright

from iec_hub.predictor import EmotionPredictor
from iec_hub.registry import BUNDLED_CHECKPOINTS
from iec_hub.space.page import build_page, launch_options

PICTURE = Path(__file__).parent / "page.png"
EXAMPLE, WORD = "Example: bed at night", "lamp"
WIDTH = 900  # pixels of the picture in the README


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--output", type=Path, default=PICTURE)
    given = parser.parse_args()
    page = build_page({method: EmotionPredictor.from_pretrained(method=method) for method in BUNDLED_CHECKPOINTS})
    _, url, _ = page.launch(**launch_options(), server_name="127.0.0.1", prevent_thread_lock=True, quiet=True)
    try:
        taken = photograph(url)
    finally:
        page.close(verbose=False)
    image = Image.open(io.BytesIO(taken)).convert("RGB")
    image.thumbnail((WIDTH, 4 * WIDTH), Image.Resampling.LANCZOS)
    # A palette keeps the file small; this way of choosing it keeps the bars' colours.
    image.quantize(256, method=Image.Quantize.MAXCOVERAGE).save(given.output, optimize=True)
    print(f"{given.output.name}: {given.output.stat().st_size / 1024:.0f} KiB")


def photograph(url: str) -> bytes:
    """A PNG of the whole page once the result is there."""
    chromium = os.environ.get("CHROMIUM") or shutil.which("chromium") or shutil.which("chromium-browser")
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(
            executable_path=chromium, args=["--no-sandbox", "--disable-gpu", "--disable-background-networking"]
        )
        view = browser.new_page(viewport={"width": 1280, "height": 1500})
        view.goto(url)
        view.get_by_label("ESCNet").first.click()
        view.get_by_role("button", name=EXAMPLE).click()
        view.locator(".iec-word", has_text=WORD).first.click()
        view.locator(".iec-heat:visible").wait_for()
        view.wait_for_timeout(1000)  # the thumbnails and the layout settle
        picture = view.screenshot(full_page=True)
        browser.close()
    return picture


if __name__ == "__main__":
    main()

"""A running page with the stand-in predictor, and a browser to look at it."""

import os
import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest

# Read when gradio is imported.
os.environ["GRADIO_ANALYTICS_ENABLED"] = "False"
os.environ["GRADIO_RUN_HISTORY"] = "False"

from brightness_predictor import BrightnessPredictor  # noqa: E402

CHROMIUM_FLAGS = [
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
]


@pytest.fixture(scope="session")
def predictor() -> BrightnessPredictor:
    return BrightnessPredictor()


@pytest.fixture(scope="session")
def page_url(predictor: BrightnessPredictor, tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    pytest.importorskip("gradio")
    os.environ["GRADIO_TEMP_DIR"] = str(tmp_path_factory.mktemp("gradio"))
    from iec_hub.space.page import build_page, launch_options

    page = build_page(predictor)
    _, url, _ = page.launch(
        **launch_options(), server_name="127.0.0.1", prevent_thread_lock=True, quiet=True, inbrowser=False, share=False
    )
    yield url
    page.close(verbose=False)


def _chromium() -> str:
    path = os.environ.get("CHROMIUM") or shutil.which("chromium") or shutil.which("chromium-browser")
    if path and Path(path).exists():
        return path
    reason = "Chromium is missing; install it with `apt-get install chromium` or name it in CHROMIUM."
    # A browser test that nobody runs protects nothing, so on CI its absence is a failure.
    if os.environ.get("CI", "").lower() == "true":
        pytest.fail(reason)
    pytest.skip(reason)


@pytest.fixture(scope="session")
def browser() -> Iterator[object]:
    executable = _chromium()
    from playwright.sync_api import sync_playwright

    with sync_playwright() as playwright:
        chromium = playwright.chromium.launch(executable_path=executable, args=CHROMIUM_FLAGS)
        yield chromium
        chromium.close()

"""Running pages with stand-in predictors, and a browser to look at them."""

import os
import shutil
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

# Read when gradio is imported.
os.environ["GRADIO_ANALYTICS_ENABLED"] = "False"
os.environ["GRADIO_RUN_HISTORY"] = "False"

from brightness_predictor import BrightnessPredictor  # noqa: E402
from captioning_predictor import CaptioningPredictor  # noqa: E402
from reasoning_predictor import ReasoningPredictor  # noqa: E402

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
def captioning() -> CaptioningPredictor:
    return CaptioningPredictor()


@pytest.fixture(scope="session")
def reasoning() -> ReasoningPredictor:
    return ReasoningPredictor()


@pytest.fixture(scope="session", autouse=True)
def _uploads(tmp_path_factory: pytest.TempPathFactory) -> None:
    os.environ["GRADIO_TEMP_DIR"] = str(tmp_path_factory.mktemp("gradio"))


@contextmanager
def _launched(predictors: Any) -> Iterator[str]:
    pytest.importorskip("gradio")
    from iec_hub.space.page import build_page, launch_options

    page = build_page(predictors)
    _, url, _ = page.launch(
        **launch_options(), server_name="127.0.0.1", prevent_thread_lock=True, quiet=True, inbrowser=False, share=False
    )
    yield url
    page.close(verbose=False)


@pytest.fixture(scope="session")
def page_url(predictor: BrightnessPredictor) -> Iterator[str]:
    """A page for one method."""
    with _launched(predictor) as url:
        yield url


@pytest.fixture(scope="session")
def two_methods_url(predictor: BrightnessPredictor, captioning: CaptioningPredictor) -> Iterator[str]:
    """A page that begins with a method that takes any labels, and offers one that reads captions."""
    with _launched({"ugrie": predictor, "escnet": captioning}) as url:
        yield url


@pytest.fixture(scope="session")
def reasoning_url(predictor: BrightnessPredictor, reasoning: ReasoningPredictor) -> Iterator[str]:
    """A page that begins with a method that decides from words, and offers another one."""
    with _launched({"aciec": reasoning, "ugrie": predictor}) as url:
        yield url


@pytest.fixture(scope="session")
def three_methods_url(
    predictor: BrightnessPredictor, captioning: CaptioningPredictor, reasoning: ReasoningPredictor
) -> Iterator[str]:
    """A page for all three methods."""
    with _launched({"ugrie": predictor, "escnet": captioning, "aciec": reasoning}) as url:
        yield url


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


@pytest.fixture
def visit_at(browser: Any) -> Iterator[Callable[..., Any]]:
    """Opens a page; afterwards checks that it asked no other site for anything and logged no error."""
    contexts, foreign, errors = [], [], []

    def open_page(url: str, viewport: dict[str, int], theme: str = "light") -> Any:
        def note(request: Any) -> None:
            if not request.url.startswith((url, "data:", "blob:")):
                foreign.append(request.url)

        context = browser.new_context(viewport=viewport)
        contexts.append(context)
        context.set_default_timeout(15_000)
        page = context.new_page()
        page.on("request", note)
        page.on("pageerror", lambda error: errors.append(str(error)))
        page.on("console", lambda message: errors.append(message.text) if message.type == "error" else None)
        page.goto(f"{url}?__theme={theme}")
        page.locator("#iec-button").wait_for()
        return page

    yield open_page
    for context in contexts:
        context.close()
    assert not foreign and not errors

"""Running pages with stand-in predictors, and a browser to look at them."""

import os
import shutil
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import pytest
from PIL import Image

# Read when gradio is imported.
os.environ["GRADIO_ANALYTICS_ENABLED"] = "False"
os.environ["GRADIO_RUN_HISTORY"] = "False"

from brightness_predictor import BrightnessPredictor  # noqa: E402
from captioning_predictor import CaptioningPredictor  # noqa: E402
from reasoning_predictor import ReasoningPredictor  # noqa: E402
from served_page import served  # noqa: E402

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


@pytest.fixture
def half(tmp_path: Path) -> Path:
    """White above, black below: mostly bright, so that darkness is a word of the visitor's alone."""
    picture = Image.new("RGB", (90, 60), "white")
    picture.paste("black", (0, 40, 90, 60))
    picture.save(tmp_path / "half.png")
    return tmp_path / "half.png"


@pytest.fixture(scope="session", autouse=True)
def _uploads(tmp_path_factory: pytest.TempPathFactory) -> None:
    os.environ["GRADIO_TEMP_DIR"] = str(tmp_path_factory.mktemp("gradio"))


@contextmanager
def _launched(predictors: Any) -> Iterator[str]:
    pytest.importorskip("gradio")
    with served(predictors) as (_, url):
        yield url


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


@pytest.fixture(scope="session")
def _context(browser: Any) -> Iterator[Any]:
    """All visits share it: a page that a browser has shown before costs a third of the first visit's time."""
    context = browser.new_context()
    # A machine that stands still for half a minute, as shared ones do, is no error of the page.
    context.set_default_timeout(120_000)
    yield context
    context.close()


@pytest.fixture(scope="session")
def _tabs(_context: Any) -> list[Any]:
    """Tabs of the browser that no visit uses, and that show nothing."""
    return []


@pytest.fixture
def visit_at(_context: Any, _tabs: list[Any]) -> Iterator[Callable[..., Any]]:
    """Opens a page for somebody new, in place of the one before.

    Afterwards checks that no page asked another site for anything or logged an error.
    """
    shown: dict[Any, dict[str, Callable[[Any], None]]] = {}
    foreign, errors = [], []

    def open_page(url: str, viewport: dict[str, int], theme: str = "light") -> Any:
        leave()
        address = urlsplit(url)
        own = (f"{address.scheme}://{address.netloc}/", "data:", "blob:")
        page = _tabs.pop() if _tabs else _context.new_page()
        shown[page] = {
            "request": lambda request: None if request.url.startswith(own) else foreign.append(request.url),
            "pageerror": lambda error: errors.append(str(error)),
            "console": lambda message: errors.append(message.text) if message.type == "error" else None,
        }
        for event, handler in shown[page].items():
            page.on(event, handler)
        page.set_viewport_size(viewport)
        page.goto(f"{url}{'&' if address.query else '?'}__theme={theme}")
        page.get_by_role("tab").first.wait_for()
        page.locator("#iec-button").wait_for(state="attached")  # out of sight on other tabs
        return page

    def leave() -> None:
        for page, handlers in shown.items():
            # What a page says about being cut off is no error of its own.
            for event, handler in handlers.items():
                page.remove_listener(event, handler)
            _forget(page)
            _tabs.append(page)
        shown.clear()

    yield open_page
    leave()
    assert not foreign and not errors


def _forget(page: Any) -> None:
    """Leave a page as a tab that was just opened."""
    page.evaluate("localStorage.clear(); sessionStorage.clear();")
    page.context.clear_cookies()
    page.emulate_media(reduced_motion="null")
    page.goto("about:blank")

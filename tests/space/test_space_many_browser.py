"""The tab for many pictures as visitors use it: rows as they come, filters, sorting, details, downloads, keyboard."""

import csv
import json
import threading
import zipfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from brightness_predictor import BrightnessPredictor
from PIL import Image
from served_page import served
from visiting import CONTRAST, DESKTOP, PHONE, held

from iec_hub.space.example_pictures import example_pictures

NASTY = "<img src=x onerror=alert(1)>.png"
# Bright to dark; the stand-in says the last label for white and the first for black.
GREYS = {"white.png": 255, "grey.png": 128, "black.png": 0}


@pytest.fixture(scope="module")
def given(tmp_path_factory: pytest.TempPathFactory) -> list[Path]:
    """Three plain pictures within an archive, one with a nasty name, and a broken one."""
    folder = tmp_path_factory.mktemp("many")
    for name, grey in GREYS.items():
        Image.fromarray(np.full((60, 80, 3), grey, np.uint8)).save(folder / name)
    with zipfile.ZipFile(folder / "trip.zip", "w") as archive:
        for name in GREYS:
            archive.write(folder / name, f"day 1/{name}")
    (folder / NASTY).write_bytes((folder / "white.png").read_bytes())
    (folder / "broken.png").write_bytes((folder / "white.png").read_bytes()[:60])
    return [folder / "trip.zip", folder / NASTY, folder / "broken.png"]


@pytest.fixture
def judged(visit_at: Callable[..., Any], page_url: str, given: list[Path]) -> Callable[..., Any]:
    """Opens the tab, and has the pictures judged."""

    def run(viewport: dict[str, int] = DESKTOP, theme: str = "light") -> Any:
        page = visit_at(page_url, viewport, theme)
        page.get_by_role("tab", name="Many pictures").click()
        page.locator("#iec-many-files input[type=file]").set_input_files(given)
        page.locator("#iec-many-files .file-preview").wait_for()
        page.locator("#iec-many-button").click()
        page.locator(".iec-status", has_text="All 5 pictures done").wait_for()
        return page

    return run


def shown(page: Any, view: str = ".iec-tiles > li") -> list[str]:
    """The names that can be seen, in their order."""
    names = ".iec-tile-name" if "tiles" in view else "th"
    return page.locator(f"{view}:visible").locator(names).all_inner_texts()


def test_every_file_is_a_row_and_the_broken_one_says_why(judged: Callable[..., Any]) -> None:
    page = judged()
    assert shown(page) == [*GREYS, NASTY, "broken.png"]
    failed = page.locator(".iec-tiles .iec-failed")
    assert failed.count() == 1 and "damaged" in failed.inner_text()
    assert page.locator(".iec-tiles img").first.get_attribute("alt") == "Thumbnail of trip.zip/day 1/white.png"
    assert "1 could not be read" in page.locator(".iec-status").inner_text()
    assert page.locator(".iec-plane circle").count() == 4


def test_filters_and_sorting_work_in_the_gallery_and_the_table(judged: Callable[..., Any]) -> None:
    page = judged()
    sadness = page.get_by_role("button", name="sadness", exact=True)
    sadness.click()
    assert shown(page) == ["white.png", NASTY] and sadness.get_attribute("aria-pressed") == "true"
    assert page.locator("select[data-control=emotion]").input_value() == "sadness"
    assert page.locator(".iec-count").inner_text() == "2 of 5 shown"
    page.locator("select[data-control=emotion]").select_option("")
    page.locator("select[data-control=certainty]").select_option("failed")
    assert shown(page) == ["broken.png"]
    page.locator("select[data-control=emotion]").select_option("fear")
    assert page.locator(".iec-none").is_visible() and not shown(page)
    page.locator("select[data-control=emotion]").select_option("")
    page.locator("select[data-control=certainty]").select_option("")
    page.get_by_role("radio", name="Table").check()
    heading = page.locator("th[data-column=name]")
    for direction, names in (("ascending", sorted([*GREYS, NASTY, "broken.png"])), ("descending", None)):
        heading.get_by_role("button").click()
        assert heading.get_attribute("aria-sort") == direction
        found = shown(page, ".iec-table tbody tr")
        # By the whole path: those of the archive are together.
        expected = ["<img", "broken", "black", "grey", "white"]
        assert [name.split(".")[0].split(" ")[0] for name in found] == (
            expected if direction == "ascending" else expected[::-1]
        )
        assert names is None or sorted(found) == names
    page.locator("select[data-control=order]").select_option("index")
    assert heading.get_attribute("aria-sort") is None
    assert shown(page, ".iec-table tbody tr")[0] == "white.png"


def test_details_open_step_and_close_by_keyboard(judged: Callable[..., Any]) -> None:
    page = judged()
    tile = page.locator(".iec-tile[data-open]").first
    tile.focus()
    page.keyboard.press("Enter")
    dialog = page.get_by_role("dialog")
    dialog.wait_for()
    assert dialog.locator("h2").inner_text() == "trip.zip/day 1/white.png"
    assert "sadness" in dialog.locator(".iec-verdict").inner_text()
    assert dialog.get_by_role("button", name="Previous").is_disabled()
    dialog.get_by_role("button", name="Next").press("Enter")
    dialog.locator("h2", has_text="grey.png").wait_for()
    page.keyboard.press("Escape")
    dialog.wait_for(state="hidden")
    assert page.evaluate("document.activeElement.dataset.open") == "0", "the focus is lost"
    # The same picture again.
    page.keyboard.press("Enter")
    dialog.locator("h2", has_text="white.png").wait_for()
    dialog.get_by_role("button", name="Close").click()
    dialog.wait_for(state="hidden")


def test_the_files_to_download_hold_every_row(judged: Callable[..., Any], tmp_path: Path) -> None:
    page = judged()
    for button, name in (("CSV", "emotions.csv"), ("JSON", "emotions.json")):
        with page.expect_download() as download:
            page.locator("#iec-many-downloads").get_by_text(f"Download as {button}").click()
        assert download.value.suggested_filename == name
        download.value.save_as(tmp_path / name)
    rows = list(csv.DictReader((tmp_path / "emotions.csv").read_text("utf-8").splitlines()))
    assert [row["file"] for row in rows] == [*(f"trip.zip/day 1/{name}" for name in GREYS), NASTY, "broken.png"]
    assert rows[0]["emotion"] == "sadness" and "damaged" in rows[-1]["error"]
    records = json.loads((tmp_path / "emotions.json").read_text("utf-8"))
    assert records[0]["distribution"]["sadness"] == pytest.approx(float(rows[0]["sadness"]), abs=1e-6)


@pytest.mark.parametrize("theme", ["light", "dark"])
def test_texts_can_be_read_and_nothing_is_wider_than_a_phone(judged: Callable[..., Any], theme: str) -> None:
    page = judged(PHONE, theme)
    assert page.evaluate("document.documentElement.scrollWidth <= innerWidth")
    page.get_by_role("radio", name="Table").check()
    assert page.evaluate("document.documentElement.scrollWidth <= innerWidth")
    # Tables that hold more than fits are scrolled by themselves, and the summary fits.
    assert page.evaluate(
        "(s) => { const t = document.querySelector(s); return t.scrollWidth <= t.clientWidth + 1; }", ".iec-plots"
    )
    texts = ".iec-many :is(h2, h3, th, td, p, li, button, label, caption), .iec-status p"
    assert min(page.evaluate(CONTRAST, texts)) >= 4.5


def test_the_examples_can_be_tried_and_a_second_batch_replaces_the_first(
    visit_at: Callable[..., Any], page_url: str
) -> None:
    from iec_hub.space.example_pictures import example_pictures

    page = visit_at(page_url, DESKTOP)
    page.get_by_role("tab", name="Many pictures").click()
    page.locator("#iec-many-button").click()
    assert "no pictures yet" in page.locator("#iec-many-results [role=alert]").inner_text()
    names = [path.name for path in example_pictures()]
    page.get_by_role("button", name="Try it with our").click()
    page.locator(".iec-status", has_text=f"All {len(names)} pictures done").wait_for()
    page.locator("select[data-control=order]").select_option("-confidence")
    page.get_by_role("button", name="Try it with our").click()
    page.locator(".iec-status", has_text=f"All {len(names)} pictures done").wait_for()
    found = page.locator(".iec-tiles > li").evaluate_all(
        "(all) => all.map((one) => [one.dataset.name, +one.dataset.confidence])"
    )
    assert sorted(name for name, _ in found) == names
    shares = [share for _, share in found]
    assert shares == sorted(shares, reverse=True)


class Gated(BrightnessPredictor):
    """Answers the first pictures, and then not before it may."""

    def __init__(self, at_once: int):
        super().__init__()
        self.at_once, self.gate = at_once, threading.Event()

    def predict(self, images: Any, *given: Any, **asked: Any) -> Any:
        self.at_once -= len(images)
        if self.at_once < 0:
            assert self.gate.wait(60)
        return super().predict(images, *given, **asked)


@contextmanager
def judged_examples(visit_at: Callable[..., Any]) -> Iterator[tuple[Any, threading.Event]]:
    """A page that has judged its examples, and what lets it say which parts of them spoke for the answers."""
    predictor = Gated(len(example_pictures()))
    with served({"ugrie": predictor}) as (_, url):
        page = visit_at(url, DESKTOP)
        page.get_by_role("tab", name="Many pictures").click()
        page.get_by_role("button", name="Try it with our").click()
        page.locator(".iec-status", has_text="All ").wait_for()
        yield page, predictor.gate


def test_details_say_what_is_known_and_then_where_in_the_picture_it_comes_from(visit_at: Callable[..., Any]) -> None:
    with judged_examples(visit_at) as (page, gate):
        page.evaluate("""() => { const show = HTMLDialogElement.prototype.showModal; window.shown = 0;
            HTMLDialogElement.prototype.showModal = function () { window.shown += 1; show.call(this); }; }""")
        dialog = page.get_by_role("dialog")
        heat = dialog.locator(".iec-heat")
        page.locator(".iec-tile[data-open]").first.press("Enter")
        dialog.locator(".iec-place").wait_for()
        assert dialog.locator(".iec-bar").count() == 8
        # Whoever closes them does not see them come back when the rest is there.
        page.keyboard.press("Escape")
        gate.set()
        page.locator(".iec-tile[data-open]").nth(1).press("Enter")
        heat.wait_for()
        assert "cat-and-mirror" in dialog.locator("h2").inner_text() and page.evaluate("window.shown") == 2
        dialog.get_by_label("Overlay strength").fill("0")
        assert heat.evaluate("element => getComputedStyle(element).opacity") == "0"
        following = dialog.get_by_role("button", name="Next")
        following.press("Enter")
        dialog.locator("h2", has_text="gull").wait_for()
        heat.wait_for()
        assert following.evaluate("element => element === document.activeElement"), "what came later took the focus"


def test_what_comes_late_about_one_picture_does_not_replace_another(visit_at: Callable[..., Any]) -> None:
    with judged_examples(visit_at) as (page, gate):
        dialog = page.get_by_role("dialog")
        # What is asked past the queue overtakes what the queue tells.
        with held(page, "queue/data"):
            page.locator(".iec-tile[data-open]").first.press("Enter")
            dialog.locator(".iec-place").wait_for()
            gate.set()
            page.wait_for_timeout(500)  # the server has written what it says of the first picture
            page.keyboard.press("Escape")
            page.locator(".iec-tile[data-open]").nth(1).press("Enter")
            second = dialog.locator("h2").inner_text()
        page.wait_for_timeout(500)
        assert dialog.locator("h2").inner_text() == second


def test_whoever_goes_on_before_all_is_said_is_told_all_of_the_next_one(visit_at: Callable[..., Any]) -> None:
    with judged_examples(visit_at) as (page, gate):
        page.locator(".iec-tile[data-open]").first.press("Enter")
        dialog = page.get_by_role("dialog")
        for name in ("cat-and-mirror", "gull"):
            dialog.get_by_role("button", name="Next").press("Enter")
            dialog.locator("h2", has_text=name).wait_for()
        gate.set()
        dialog.locator(".iec-heat").wait_for()
        assert "gull" in dialog.locator("h2").inner_text()


def test_a_long_batch_is_stopped_at_once_and_what_is_done_stays(visit_at: Callable[..., Any]) -> None:
    predictor = Gated(2)
    with served({"ugrie": predictor}, batch=2, workers=1) as (_, url):
        page = visit_at(url, {"width": 1280, "height": 600})
        page.get_by_role("tab", name="Many pictures").click()
        begin, stop = page.locator("#iec-many-button"), page.locator("#iec-many-stop")
        assert in_sight(begin), "nobody would look for it beneath all choices"
        page.get_by_role("button", name="Try it with our").click()
        page.locator(".iec-status", has_text="1 of 8").or_(page.locator(".iec-status", has_text="2 of 8")).wait_for()
        assert in_sight(stop) and in_sight(page.locator(".iec-status progress")) and not begin.is_visible()
        stop.click()
        # The model is still at work on what nobody wants any more.
        page.locator(".iec-status", has_text="Stopped: ").wait_for()
        predictor.gate.set()
        begin.wait_for()
        done = len(predictor.calls)
        assert not stop.is_visible() and page.locator(".iec-tiles > li").count() in (1, 2)
        assert page.locator(".iec-pending").count() == 0
        with page.expect_download() as download:
            page.locator("#iec-many-downloads").get_by_text("Download as CSV").click()
        rows = list(csv.DictReader(Path(download.value.path()).read_text("utf-8").splitlines()))
        assert [row["file"] for row in rows] == shown(page) and rows[0]["emotion"]
        # It can begin again.
        page.get_by_role("button", name="Try it with our").click()
        page.locator(".iec-status", has_text="All 8 pictures done").wait_for()
        assert len(predictor.calls) > done


def in_sight(element: Any) -> bool:
    """Whether all of it is seen without scrolling."""
    return element.evaluate(
        "(e) => { const b = e.getBoundingClientRect(); return b.top >= 0 && b.bottom <= innerHeight; }"
    )

"""Hostile visits: each gets its sentence, the server goes on, nothing of them is executed, fetched, kept or logged.

A sample; benchmarks/space_abuse.py sends all of them to the real page.
"""

import itertools
import logging
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from pages import completed
from served_page import asked, served

pytest.importorskip("gradio_client")

import hostile_trap  # noqa: E402
from hostile_pictures import CANARY, MARK  # noqa: E402
from hostile_requests import Case, Visitor, cases, wrong  # noqa: E402

from iec_hub.space import texts  # noqa: E402
from iec_hub.space.sweeping import remove_old, sweeping  # noqa: E402

EVERY = 4
# Those that try to make the server fetch something, or to leave its folder of uploads, are all sent.
ALWAYS = ("TRAP", "UPLOADS")
CASES = [case for n, case in enumerate(cases()) if n % EVERY == 0 or any(word in case.name for word in ALWAYS)]


@pytest.fixture(scope="module")
def trap() -> Iterator[tuple[str, list[str]]]:
    """A web address on this machine, and what was asked of it."""
    with hostile_trap.trap() as given:
        yield given


@pytest.fixture(scope="module")
def fetched() -> Iterator[list[str]]:
    """The addresses that gradio was about to fetch; it refuses those of this machine by itself, but no others."""
    from gradio import processing_utils, routes

    seen: list[str] = []

    async def fetch(url: str, *_: object, **__: object) -> None:
        seen.append(url)
        raise RuntimeError("Nothing is fetched in tests.")

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(processing_utils, "async_ssrf_protected_get", fetch)
        patch.setattr(processing_utils, "async_ssrf_protected_download", fetch)
        patch.setattr(routes, "secure_url_stream_response", fetch)
        yield seen


@pytest.fixture(scope="module")
def served_page(predictor: Any, captioning: Any, reasoning: Any, fetched: Any) -> Iterator[tuple[Any, str]]:
    with served({"ugrie": predictor, "escnet": captioning, "aciec": reasoning}) as given:
        yield given


@pytest.fixture(scope="module")
def visitor(served_page: tuple[Any, str], trap: Any) -> Visitor:
    return Visitor(served_page[1], trap[0])


@pytest.fixture
def logged(caplog: pytest.LogCaptureFixture) -> pytest.LogCaptureFixture:
    caplog.set_level(logging.INFO)
    return caplog


@pytest.mark.parametrize("case", CASES, ids=[f"{number}-{case.door}" for number, case in enumerate(CASES)])
def test_each_hostile_visit_gets_its_sentence_and_the_next_visitor_an_answer(
    case: Case, visitor: Visitor, trap: Any, fetched: list[str], logged: Any, capfd: Any
) -> None:
    problem = wrong(case, case.send(visitor))
    assert problem is None, f"{case.name}: {problem}"
    assert visitor.predict(visitor.good).value["distribution"], "a good picture right after"
    said = logged.text + "".join(capfd.readouterr())
    assert MARK not in said, "what was sent is in the log"
    assert not trap[1] and not fetched


def test_the_sample_has_some_of_every_door() -> None:
    assert {case.door for case in CASES} == {"upload", "batch", "field", "file", "data", "tool", "request"}
    assert len(list(cases())) >= 200 and len(CASES) >= 60


@pytest.mark.parametrize("door", ["run/predict", "queue/join"])
def test_no_function_of_the_page_logs_what_it_was_sent(
    door: str, visitor: Visitor, served_page: Any, logged: Any, capfd: Any
) -> None:
    """Those that only serve the page can be called too, with anything."""
    page, url = served_page
    picture = {"path": visitor.upload(visitor.good).value[0], "meta": {"_type": "gradio.FileData"}}
    for index, function in page.fns.items():
        for value in (MARK, {"a": MARK}, [MARK], [picture, MARK]) if function.fn else ():
            body = {"fn_index": index, "data": [value] * len(function.inputs), "session_hash": f"hostile-{door}"}
            asked(url, f"gradio_api/{door}", {**body, "event_data": value, "trigger_id": 1})
    if door == "queue/join":
        told = asked(url, f"gradio_api/queue/data?session_hash=hostile-{door}")[1]
        assert texts.UNEXPECTED_ERROR.encode() in told, "something failed, so something could have been logged"
    assert visitor.predict(visitor.good).value["distribution"]
    said = logged.text + "".join(capfd.readouterr())
    assert MARK not in said
    assert "A request failed with a" in said, "where it failed is there to be read"


def test_gradio_alone_would_fetch(visitor: Visitor, fetched: list[str]) -> None:
    """That the tests above see it: past the door, gradio does fetch what a request names."""

    import gradio as gr
    from gradio.processing_utils import async_move_files_to_cache

    with gr.Blocks():
        box = gr.Textbox()
    forged = {"path": visitor.trap, "meta": {"_type": "gradio.FileData"}}
    with pytest.raises(RuntimeError, match="Nothing is fetched"):
        completed(async_move_files_to_cache(forged, box, check_in_upload_folder=True))
    assert fetched.pop() == visitor.trap


def test_nothing_is_written_but_uploads(visitor: Visitor, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    climbing = [case for case in cases() if CANARY in case.name or case.door == "batch"]
    for case in climbing:
        case.send(visitor)
    assert not list(tmp_path.iterdir()) and not Path(f"/tmp/{CANARY}.png").exists()
    for folder in itertools.islice(tmp_path.parents, 4):
        assert not list(folder.glob(f"{CANARY}*"))


def test_uploads_go_after_their_time(tmp_path: Path) -> None:
    (tmp_path / "uploads" / "a").mkdir(parents=True)
    uploads, outside = tmp_path / "uploads", tmp_path / "outside.png"
    for file in (outside, uploads / "a" / "old.png", uploads / "half-sent", uploads / "a" / "example.png"):
        file.write_bytes(b"x")
    (uploads / "link.png").symlink_to(outside)
    (uploads / "away").symlink_to(tmp_path)
    assert remove_old(uploads, 60) == 0, "nothing is old enough"
    time.sleep(0.05)
    assert remove_old(uploads, 0.01, kept={str(uploads / "a" / "example.png")}) == 4
    assert [path.name for path in uploads.rglob("*")] == ["a", "example.png"] and outside.exists()
    assert remove_old(tmp_path / "missing", 0) == 0


def test_a_running_page_sweeps_and_keeps_its_examples(
    predictor: Any, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    from iec_hub.space import door

    # Of its own: other pages of these tests have uploads too.
    monkeypatch.setenv("GRADIO_TEMP_DIR", str(tmp_path))
    monkeypatch.setattr(door, "sweeping", lambda *_: sweeping(0.5, 0.2))
    with served({"ugrie": predictor}) as (page, url):
        visitor = Visitor(url, "")
        kept = {file for block in page.blocks.values() for file in block.keep_in_cache}
        sent = Path(visitor.upload(b"a picture").value[0])
        stray = tmp_path / "left-by-an-earlier-run"
        stray.write_bytes(b"x")
        deadline = time.monotonic() + 10
        while (sent.parent.exists() or stray.exists()) and time.monotonic() < deadline:
            time.sleep(0.1)
        assert not sent.exists() and not sent.parent.exists() and not stray.exists()
        assert kept and all(Path(file).exists() for file in kept)

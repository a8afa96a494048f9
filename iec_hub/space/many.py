"""The tab for many pictures: choosing them, rows as they are done, plots, details and files to download."""

import asyncio
import json
import secrets
import time
from collections.abc import AsyncIterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import gradio as gr

from iec_hub.emotions import EmotionModel, get_emotion_model
from iec_hub.errors import IecHubError
from iec_hub.space import texts
from iec_hub.space.answering import OWN, split_labels
from iec_hub.space.archives import Source, gather, megabytes
from iec_hub.space.batch_files import batch_csv, batch_json
from iec_hub.space.batch_rows import Batch, BatchRow, explained, judge
from iec_hub.space.batch_table import batch_html, details_html, empty_many_html, status_html
from iec_hub.space.choices import QUICK, Choices, connect_choices, lay_out_choices
from iec_hub.space.example_pictures import example_pictures
from iec_hub.space.rendering import error_html
from iec_hub.space.scrolling import into_sight
from iec_hub.space.service import Question, Service
from iec_hub.space.uploads import uploaded_file

# Batches of different visitors; the line to the model is shared, and kept short by `judge`.
_AT_ONCE = 4
# A result in memory outlives no picture on the disk.
_SECONDS_KEPT = 3600
# Drawing all rows anew takes the longer the more there are.
_SECONDS_BETWEEN, _SECONDS_PER_ROW = 0.4, 0.01
_PRIVATE: dict[str, Any] = {"api_visibility": "private", "show_progress": "hidden", "preprocess": False}
_FOLDER = Path(__file__).parent

# Gradio puts its button for more files within another one, which screen readers cannot reach, and names it in no
# language. The outer one becomes a plain box; it is there once the files are shown.
_NAME_UPLOAD = """() => setTimeout(() => {
    const inner = document.querySelector("#iec-many-files .icon-button .upload-container");
    if (!inner) return;
    const outer = inner.closest(".icon-button");
    inner.setAttribute("aria-label", %s);
    outer.setAttribute("role", "group");
    outer.setAttribute("tabindex", "-1");
    outer.setAttribute("aria-label", %s);
    outer.title = %s;
}, 50)"""


@dataclass(frozen=True)
class _Given:
    files: gr.File
    choices: Choices
    button: gr.Button
    examples: gr.Button
    stop: gr.Button

    @property
    def chosen(self) -> list[Any]:
        return [self.choices.method, self.choices.emotion_model, self.choices.labels]


@dataclass(frozen=True)
class _Shown:
    batch: gr.State
    status: gr.HTML
    results: gr.HTML
    details: gr.HTML
    downloads: gr.Row
    csv: gr.DownloadButton
    json: gr.DownloadButton


def build_many_pictures(page: gr.Blocks, service: Service) -> None:
    """Lay out the tab inside the open `page` and connect its events."""
    with gr.Row(elem_id="iec-many"):
        with gr.Column(min_width=300, elem_id="iec-many-given"):
            given = _lay_out_inputs(service)
        with gr.Column(min_width=320, elem_id="iec-many-shown"):
            shown = _lay_out_results()
    connect_choices(given.choices, service.methods)
    _connect(given, shown, _Handlers(service, given.files.GRADIO_CACHE))


def _lay_out_inputs(service: Service) -> _Given:
    limits = service.limits
    files = gr.File(
        label=texts.MANY_FILES,
        file_count="multiple",
        file_types=["image", ".zip"],
        height=220,
        elem_id="iec-many-files",
    )
    sizes = {"size": megabytes(limits.file_bytes), "archive": megabytes(limits.archive_bytes)}
    gr.Markdown(texts.MANY_LIMITS.format(pictures=limits.pictures, **sizes), elem_id="iec-many-limits")
    examples = gr.Button(texts.MANY_EXAMPLES.format(count=len(example_pictures())), size="md")
    choices = lay_out_choices(service.methods, "iec-many")
    button = gr.Button(texts.MANY_BUTTON, variant="primary", size="lg", elem_id="iec-many-button")
    stop = gr.Button(texts.MANY_STOP, variant="stop", size="lg", visible=False, elem_id="iec-many-stop")
    return _Given(files, choices, button, examples, stop)


def _lay_out_results() -> _Shown:
    batch = gr.State(None, time_to_live=_SECONDS_KEPT)
    status = gr.HTML("", elem_id="iec-many-status")
    with gr.Row(visible=False, elem_id="iec-many-downloads") as downloads:
        csv = gr.DownloadButton(texts.MANY_CSV, size="md", min_width=120)
        everything = gr.DownloadButton(texts.MANY_JSON, size="md", min_width=120)
    results = gr.HTML(
        empty_many_html(), js_on_load=(_FOLDER / "many.js").read_text("utf-8"), elem_id="iec-many-results"
    )
    details = gr.HTML("", js_on_load=(_FOLDER / "details.js").read_text("utf-8"), elem_id="iec-many-details")
    return _Shown(batch, status, results, details, downloads, csv, everything)


def _connect(given: _Given, shown: _Shown, handlers: "_Handlers") -> None:
    outputs = [
        shown.batch, shown.status, shown.results, shown.downloads, shown.csv, shown.json, given.button, given.stop,
    ]  # fmt: skip
    running: dict[str, Any] = {
        **_PRIVATE, "outputs": outputs, "concurrency_limit": _AT_ONCE, "concurrency_id": "many",
    }  # fmt: skip
    given.button.click(handlers.run, [given.files, *given.chosen], **running)
    given.examples.click(handlers.run_examples, given.chosen, **running)
    for button in (given.button, given.examples):
        button.click(None, js=into_sight("iec-many-shown"), **_PRIVATE)
    named = [json.dumps(texts.MANY_ADD)] * 3
    given.files.change(None, js=_NAME_UPLOAD % tuple(named), **_PRIVATE)
    # No queue: it has to come through while the line is full.
    given.stop.click(handlers.stop, [shown.batch], None, **QUICK)
    # Whoever opens the next picture does not wait for what is still said of this one.
    at_once: dict[str, Any] = {"trigger_mode": "multiple"}
    explaining = _PRIVATE | at_once | {"concurrency_limit": _AT_ONCE, "concurrency_id": "many-details"}
    for opener in (shown.results, shown.details):
        # The parts that spoke for the answer take longer than the answer: first comes what is known.
        opened = opener.select(handlers.open, [shown.batch], [shown.details], **QUICK | at_once)
        opened.success(handlers.explain, [shown.batch], [shown.details], **explaining)


class _Handlers:
    """What the tab's buttons run; their inputs are what components send, unchecked."""

    def __init__(self, service: Service, uploads: str):
        self.service, self.uploads = service, Path(uploads)

    async def run(self, files: Any, method: Any, emotion_model: Any, labels: Any) -> AsyncIterator[tuple[Any, ...]]:
        """Judge what was uploaded."""
        try:
            sources = await asyncio.to_thread(self._sources, files)
        except IecHubError as error:
            yield _refused(str(error))
            return
        async for update in self._run(sources, method, emotion_model, labels):
            yield update

    async def run_examples(self, method: Any, emotion_model: Any, labels: Any) -> AsyncIterator[tuple[Any, ...]]:
        """Judge the page's own pictures."""
        sources = [Source(path.name, path) for path in example_pictures()]
        async for update in self._run(sources, method, emotion_model, labels):
            yield update

    async def _run(
        self, sources: Sequence[Source], method: Any, emotion_model: Any, labels: Any
    ) -> AsyncIterator[tuple[Any, ...]]:
        try:
            batch = self._begin(sources, method, emotion_model, labels)
        except IecHubError as error:
            yield _refused(str(error))
            return
        started = drawn = time.monotonic()
        yield await self._update(batch, begun=True)
        new = False
        async for rows in judge(self.service, batch):
            batch.rows |= rows
            new = new or bool(rows)
            if new and time.monotonic() - drawn > max(_SECONDS_BETWEEN, _SECONDS_PER_ROW * len(batch.rows)):
                yield await self._update(batch)
                drawn, new = time.monotonic(), False
        batch.finished, batch.seconds = True, time.monotonic() - started
        yield await self._update(batch)

    def stop(self, batch: Any) -> None:
        """Ask a running batch to end; what is done stays."""
        if isinstance(batch, Batch):
            batch.stopped = True

    def open(self, batch: Any, event: gr.EventData) -> str:
        """The details of the picture that was chosen."""
        place = event._data.get("index") if isinstance(event._data, Mapping) else None
        row = batch.rows.get(place) if isinstance(batch, Batch) and isinstance(place, int) else None
        if row is None or row.prediction is None:
            raise gr.Error(texts.MANY_GONE, print_exception=False)
        batch.opened = place
        return details_html(place, row, self._note(batch, row))

    async def explain(self, batch: Any) -> Any:
        """The details again, with what spoke for the answer, unless another picture was opened meanwhile."""
        place = batch.opened if isinstance(batch, Batch) else None
        row = None if place is None else batch.rows.get(place)
        if row is None:
            return gr.skip()
        prediction, problem = None, ""
        try:
            prediction = await explained(self.service, batch, place)
        except IecHubError as error:
            problem = str(error)
        if batch.opened != place:
            return gr.skip()
        return await asyncio.to_thread(details_html, place, row, self._note(batch, row), prediction, problem)

    def _note(self, batch: Batch, row: BatchRow) -> str:
        return self.service.method(batch.method).note(row.prediction.emotion_model)

    def _sources(self, files: Any) -> list[Source]:
        """What was uploaded, as rows; the names are the visitor's, the files are gradio's."""
        given = files if isinstance(files, list) else [] if files is None else [files]
        return gather([(_name(file), uploaded_file(file, self.uploads)) for file in given], self.service.limits)

    def _begin(self, sources: Sequence[Source], method: Any, emotion_model: Any, labels: Any) -> Batch:
        chosen = self.service.method(method)
        if emotion_model == OWN:
            target = EmotionModel.from_labels(split_labels(labels))
            question = Question(labels=target.labels, evidence=False)
        else:
            target = chosen.models.get(str(emotion_model)) or get_emotion_model(str(emotion_model))
            question = Question(emotion_model=target.name, evidence=False)
        return Batch(chosen.name, target.name, target.labels, chosen.predictor.name, tuple(sources), question)

    async def _update(self, batch: Batch, begun: bool = False) -> tuple[Any, ...]:
        """The outputs for a batch as it is now."""
        html = await asyncio.to_thread(batch_html, batch)
        files: tuple[Any, Any] = (gr.skip(), gr.skip())
        if batch.finished and batch.rows:
            paths = await asyncio.to_thread(self._files, batch)
            files = tuple(gr.update(value=path, interactive=True) for path in paths)
        elif begun:
            # There already, so that nothing moves when they can be used.
            files = tuple(gr.update(value=None, interactive=False) for _ in range(2))
        return (
            batch,
            status_html(batch),
            html,
            gr.update(visible=not batch.finished or bool(batch.rows)),
            *files,
            gr.update(visible=batch.finished),
            gr.update(visible=not batch.finished),
        )

    def _files(self, batch: Batch) -> tuple[str, str]:
        """The files to download, under a name that nobody can guess; gradio deletes them with the uploads."""
        folder = self.uploads / secrets.token_hex(16)
        folder.mkdir(parents=True)
        table, everything = folder / "emotions.csv", folder / "emotions.json"
        table.write_text(batch_csv(batch), encoding="utf-8", errors="backslashreplace", newline="")
        everything.write_text(batch_json(batch), encoding="utf-8", errors="backslashreplace")
        return str(table), str(everything)


def _name(file: Any) -> str:
    """What the visitor calls an uploaded file."""
    name = file.get("orig_name") if isinstance(file, Mapping) else None
    if isinstance(name, str) and name:
        return name
    path = file.get("path") if isinstance(file, Mapping) else None
    return Path(path).name if isinstance(path, str) else ""


def _refused(message: str) -> tuple[Any, ...]:
    """The outputs where there is nothing to judge."""
    return (
        None, "", error_html(message), gr.update(visible=False), None, None,
        gr.update(visible=True), gr.update(visible=False),
    )  # fmt: skip

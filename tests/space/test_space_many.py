"""Many pictures at once: the rows, what they add up to, the files to download, and nothing that could run."""

import asyncio
import csv
import importlib.util
import io
import json
import re
import zipfile
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
from brightness_predictor import BrightnessPredictor
from pages import completed
from PIL import Image
from reasoning_predictor import ReasoningPredictor

from iec_hub.emotions import EMOTION_MODELS
from iec_hub.errors import DataError
from iec_hub.prediction import EmotionPrediction
from iec_hub.space import texts
from iec_hub.space.affect_plane import PLANE_FILE, affect_plane, known_planes
from iec_hub.space.archives import Source
from iec_hub.space.batch_files import batch_csv, batch_json
from iec_hub.space.batch_rows import Batch, BatchRow, judge
from iec_hub.space.batch_table import batch_html, details_html, status_html
from iec_hub.space.limits import Limits
from iec_hub.space.many import _Handlers
from iec_hub.space.methods import page_methods
from iec_hub.space.plots import plane_html, spread_html
from iec_hub.space.service import Question, Service

ROOT = Path(__file__).parents[2]
PHOTOGRAPHS = sorted((ROOT / "tests" / "fixtures" / "coco_cc_by").rglob("*.jpg"))
MIKELS = EMOTION_MODELS["mikels8"]


def new_batch(names: list[str], labels: tuple[str, ...] = MIKELS.labels, model: str = "mikels8") -> Batch:
    return Batch("ugrie", model, labels, "brightness", tuple(Source(name, Path(name)) for name in names))


def prediction(emotion: str, share: float = 0.7, **fields: Any) -> EmotionPrediction:
    rest = (1 - share) / (len(MIKELS) - 1)
    shares = tuple(share if label == emotion else rest for label in MIKELS.labels)
    return EmotionPrediction("mikels8", MIKELS.labels, shares, "ugrie", model="ugrie-mini", **fields)


def filled(**rows: tuple[str, float] | None) -> Batch:
    """A finished batch of rows by file name: an emotion and its share, or None for a bad file."""
    batch = new_batch(list(rows))
    for place, (name, row) in enumerate(rows.items()):
        found = None if row is None else prediction(*row)
        batch.rows[place] = BatchRow(
            name, found, None if found else "It is damaged; replace it.", "data:,", b"", (9, 9)
        )
    batch.finished = True
    return batch


async def judged(service: Service, sources: list[Source], stop_after: int | None = None) -> Batch:
    question = Question("mikels8", evidence=False)
    batch = Batch("ugrie", "mikels8", MIKELS.labels, "brightness", tuple(sources), question)
    async for rows in judge(service, batch):
        batch.rows |= rows
        batch.stopped = stop_after is not None and len(batch.rows) >= stop_after
    return batch


def test_rows_keep_their_places_and_a_bad_file_costs_no_other(tmp_path: Path) -> None:
    broken = tmp_path / "broken.jpg"
    broken.write_bytes(PHOTOGRAPHS[0].read_bytes()[:500])
    paths = [*PHOTOGRAPHS[:5], broken, *PHOTOGRAPHS[5:9]]
    sources = [Source(path.name, path) for path in paths]
    predictor = BrightnessPredictor()
    batch = completed(judged(Service(page_methods({"ugrie": predictor}), Limits(batch=3)), sources))
    assert [row.file for _, row in batch.ordered] == [path.name for path in paths]
    assert [row.prediction is None for _, row in batch.ordered] == [path is broken for path in paths]
    assert "damaged" in (batch.rows[5].error or "") and batch.failed == 1
    # The same answer as for one picture, and what is kept of the picture is small.
    alone = predictor.predict([Image.open(PHOTOGRAPHS[0])], "mikels8")[0]
    assert batch.rows[0].prediction.emotion == alone.emotion
    assert max(batch.rows[0].image().size) <= 480 and len(batch.rows[0].tile) < 40_000
    assert not any(call["evidence"] for call in predictor.calls[:-1])


def test_no_more_pictures_than_a_model_takes_are_open_at_once() -> None:
    class Counting(Service):
        now = most = 0

        async def open(self, file: Any) -> Any:
            self.now += 1
            self.most = max(self.most, self.now)
            return await super().open(file)

        async def ask(self, *asked: Any) -> Any:
            await asyncio.sleep(0.01)
            self.now -= 1
            return await super().ask(*asked)

    service = Counting(page_methods({"ugrie": BrightnessPredictor()}), Limits(batch=3))
    batch = completed(judged(service, [Source(path.name, path) for path in PHOTOGRAPHS[:12]]))
    assert len(batch.rows) == 12 and service.most == 3


def test_a_stopped_batch_keeps_what_is_done_and_asks_for_no_more() -> None:
    service = Service(page_methods({"ugrie": BrightnessPredictor()}), Limits(batch=2))
    batch = completed(judged(service, [Source(path.name, path) for path in PHOTOGRAPHS[:20]], stop_after=4))
    assert 4 <= len(batch.rows) <= 6
    batch.finished = True
    assert f"Stopped: {len(batch.rows)} of 20 pictures done" in status_html(batch)
    assert batch_csv(batch).count("\n") == len(batch.rows) + 1


def test_an_error_of_ours_is_one_sentence_and_tells_the_log_nothing(caplog: pytest.LogCaptureFixture) -> None:
    name = "holiday.jpg"

    class Failing(BrightnessPredictor):
        def predict(self, *_: Any, **__: Any) -> Any:
            raise RuntimeError(name)

    service = Service(page_methods({"ugrie": Failing()}), Limits(batch=2))
    batch = completed(judged(service, [Source(name, PHOTOGRAPHS[0])]))
    assert batch.rows[0].error == "Something went wrong on our side; try again, or try another picture."
    assert "RuntimeError" in caplog.text and name not in caplog.text


def test_the_table_is_that_of_the_command_and_no_name_is_a_formula() -> None:
    batch = filled(**{"=cmd|' /C calc'!A0.jpg": ("awe", 0.7), "b.jpg": None})
    rows = list(csv.DictReader(io.StringIO(batch_csv(batch))))
    assert list(rows[0]) == [
        *("file", "emotion", "confidence"),
        *MIKELS.labels,
        *("uncertain", "concepts", "caption", "embedded_text", "error"),
    ]
    assert rows[0]["file"].startswith("'=") and rows[0]["emotion"] == "awe" and rows[0]["uncertain"] == "false"
    assert rows[1]["error"] == "It is damaged; replace it." and rows[1]["emotion"] == ""


def test_json_has_everything_and_the_place_on_the_plane() -> None:
    good, bad = json.loads(batch_json(filled(a=("awe", 0.7), b=None)))
    assert good["file"] == "a" and good["distribution"]["awe"] == pytest.approx(0.7)
    at = affect_plane("mikels8", MIKELS.labels)
    expected = sum(share * at.coordinates[label][0] for label, share in good["distribution"].items())
    assert good["valence"] == pytest.approx(expected, abs=1e-4) and -1 <= good["arousal"] <= 1
    assert bad == {"file": "b", "error": "It is damaged; replace it."}


def test_nothing_of_a_name_or_label_is_markup() -> None:
    evil = '"><img src=x onerror=alert(1)>&{{7*7}}${1}`.jpg'
    labels = ("<b>cosy", 'ee"rie')
    batch = new_batch([evil, "zip/" + evil, evil], labels, "custom")
    answer = EmotionPrediction("custom", labels, (0.8, 0.2), "ugrie", embedded_text=())
    batch.rows[0] = BatchRow(evil, answer, None, "data:,", b"", (9, 9))
    batch.rows[1] = BatchRow("zip/" + evil, None, f"{evil} is damaged.")
    html = batch_html(batch)
    assert "<img src=x" not in html and "<b>" not in html and 'ee"rie' not in html
    assert html.count("&lt;b&gt;cosy") >= 3
    kept = io.BytesIO()
    Image.new("RGB", (9, 9)).save(kept, "JPEG")
    shown = details_html(0, BatchRow(evil, answer, None, "data:,", kept.getvalue(), (9, 9)), problem=evil)
    assert "<img src=x" not in shown and shown.count("&lt;img src=x") == 2


def test_the_spread_counts_pictures_guesses_and_shares() -> None:
    html = spread_html(filled(a=("awe", 0.7), b=("awe", 0.2), c=("fear", 0.9), d=None))
    rows = {
        label: [int(number) for number in re.findall(r">(\d+)<", cells)]
        for label, cells in re.findall(r'data-show="(\w+)"(.*?)</tr>', html)
    }
    assert rows["awe"] == [2, 1] and rows["fear"] == [1, 0] and rows["anger"] == [0, 0]
    share = (0.7 + 0.2 + 0.1 / 7) / 3
    assert f"{share:.0%}" in re.search(r'data-show="awe".*?</tr>', html)[0]


def test_the_plane_has_a_dot_per_picture_and_says_how_good_it_is() -> None:
    batch = filled(a=("awe", 0.9), b=("fear", 0.9), c=None)
    batch.checkpoint = "ugrie-mini"
    html = plane_html(batch)
    x = {name: float(at) for at, name in re.findall(r'cx="([\d.]+)".*?<title>(\w):', html)}
    assert x.keys() == {"a", "b"} and x["a"] > x["b"], "awe is more pleasant than fear"
    fit = affect_plane("mikels8", MIKELS.labels).fit("ugrie-mini", "valence")
    assert f"r = {fit.r:.2f}" in html and f"{fit.n} test pictures" in html and 'role="img"' in html
    batch.checkpoint = "somebody/else"
    assert html.count("r = 0.") == 2 and "was not measured" in plane_html(batch)


def test_own_labels_have_no_plane_and_one_sentence() -> None:
    batch = new_batch(["a"], ("cosy", "eerie"), "custom")
    assert "<svg" not in plane_html(batch) and "There is no plot" in plane_html(batch)
    assert "valence" not in batch_html(batch)
    # Somebody else's model of the same name does not get coordinates of other labels.
    assert affect_plane("mikels8", ("cosy", "eerie")) is None


def test_every_plane_was_measured_on_pictures_that_it_was_not_fitted_to() -> None:
    content = json.loads(PLANE_FILE.read_text("utf-8"))
    assert "OASIS" in content["source"] and "fit_affect_plane.py" in content["command"]
    for name in known_planes():
        plane = affect_plane(name, EMOTION_MODELS[name].labels)
        assert all(-1 <= value <= 1 for at in plane.coordinates.values() for value in at)
        for dimensions in plane.fits.values():
            for fit in dimensions.values():
                assert fit.n == content["pictures"]["test"] and fit.low <= fit.r <= fit.high


def test_coordinates_are_found_again_and_shrink_to_the_mean() -> None:
    spec = importlib.util.spec_from_file_location("fit_affect_plane", ROOT / "training" / "fit_affect_plane.py")
    fitting = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(fitting)
    random = np.random.default_rng(0)
    true = np.array([0.8, -0.6, 0.1, -0.2])
    shares = random.dirichlet(np.full(4, 0.5), 600)
    parts = np.split(shares, [400, 500])
    ratings = dict(
        zip(
            fitting.SPLITS,
            ({"valence": p @ true, "arousal": random.normal(0, 0.3, len(p))} for p in parts),
            strict=True,
        )
    )
    fitted = fitting.fit_plane("abcd", {"one": dict(zip(fitting.SPLITS, parts, strict=True))}, ratings)
    assert [fitted["labels"][label]["valence"] for label in "abcd"] == pytest.approx(true, abs=0.02)
    assert fitted["test"]["one"]["valence"]["r"] > 0.99 and abs(fitted["test"]["one"]["arousal"]["r"]) < 0.3
    strong = fitting.fit_coordinates(parts[0], parts[0] @ true, 1e6)
    assert strong == pytest.approx((parts[0] @ true).mean(), abs=0.01)


class Uploads:
    """The tab's handlers, and a folder as gradio's."""

    def __init__(self, folder: Path, **limits: int):
        self.folder = folder
        service = Service(
            page_methods({"ugrie": BrightnessPredictor(), "aciec": ReasoningPredictor()}), Limits(**limits)
        )
        self.handlers = _Handlers(service, str(folder))

    def put(self, name: str, content: bytes) -> dict[str, str]:
        path = self.folder / f"{len(list(self.folder.iterdir()))}"
        path.write_bytes(content)
        return {"path": str(path), "orig_name": name}

    def run(self, files: Any, method: Any = "ugrie", emotion_model: Any = "mikels8", labels: Any = "") -> list[Any]:
        async def collected() -> list[Any]:
            return [update async for update in self.handlers.run(files, method, emotion_model, labels)]

        return completed(collected())


def test_an_upload_of_pictures_and_an_archive_is_judged_and_can_be_downloaded(tmp_path: Path) -> None:
    uploads, packed = Uploads(tmp_path), io.BytesIO()
    with zipfile.ZipFile(packed, "w") as file:
        file.writestr("x/a.jpg", PHOTOGRAPHS[1].read_bytes())
        file.writestr("../b.jpg", b"x")
    given = [uploads.put("one.jpg", PHOTOGRAPHS[0].read_bytes()), uploads.put("trip.zip", packed.getvalue())]
    first, *_, last = uploads.run(given)
    assert "0 of 3 pictures done" in first[1] and not first[4]["interactive"]
    batch, status, html, _, table, everything, *_ = last
    assert "All 3 pictures done" in status and "1 could not be read" in status
    assert html.count("data-open=") == 4 and "leads out" in html
    assert Path(table["value"]).read_text("utf-8") == batch_csv(batch)
    assert [row["file"] for row in json.loads(Path(everything["value"]).read_text("utf-8"))] == [
        *("one.jpg", "trip.zip/x/a.jpg", "trip.zip/../b.jpg")
    ]


def test_details_say_what_is_known_then_where_it_comes_from(tmp_path: Path) -> None:
    uploads, packed = Uploads(tmp_path), io.BytesIO()
    with zipfile.ZipFile(packed, "w") as file:
        file.writestr("a.jpg", PHOTOGRAPHS[1].read_bytes())
    given = [uploads.put("one.jpg", PHOTOGRAPHS[0].read_bytes()), uploads.put("trip.zip", packed.getvalue())]
    handlers, batch = uploads.handlers, uploads.run(given)[-1][0]
    first = handlers.open(batch, SimpleNamespace(_data={"index": 1}))
    assert "trip.zip/a.jpg" in first and texts.STAGES["decided"] in first and "iec-heat" not in first
    then = completed(handlers.explain(batch))
    assert "trip.zip/a.jpg" in then and "iec-heat" in then and texts.STAGES["decided"] not in then
    shares = [re.findall(r'iec-share">([^<]*)', html) for html in (first, then)]
    assert shares[0] == shares[1] != []
    # Another picture was opened meanwhile, or nothing at all.
    handlers.open(batch, SimpleNamespace(_data={"index": 0}))
    assert "one.jpg" in completed(handlers.explain(batch))
    assert not isinstance(completed(_opening_another(handlers, batch)), str)
    assert not isinstance(completed(handlers.explain(None)), str)
    # What was uploaded is deleted after a while, and what was found out stays.
    Path(given[0]["path"]).unlink()
    handlers.open(batch, SimpleNamespace(_data={"index": 0}))
    gone = completed(handlers.explain(batch))
    assert 'role="status"' in gone and "iec-heat" not in gone and "iec-bar " in gone


async def _opening_another(handlers: _Handlers, batch: Batch) -> Any:
    task = asyncio.create_task(handlers.explain(batch))
    await asyncio.sleep(0)
    handlers.open(batch, SimpleNamespace(_data={"index": 1}))
    return await task


def test_a_wish_to_stop_is_heard_while_a_picture_takes_its_time() -> None:
    class Endless(Service):
        cancelled = 0

        async def ask(self, *_: Any) -> Any:
            try:
                await asyncio.Event().wait()
            finally:
                self.cancelled += 1

    async def stopped() -> Batch:
        async def stop(handlers: _Handlers) -> None:
            await asyncio.sleep(0.1)
            handlers.stop(batch)

        batch = Batch("ugrie", "mikels8", MIKELS.labels, "brightness", (Source("a.jpg", PHOTOGRAPHS[0]),))
        stopping = asyncio.create_task(stop(_Handlers(service, "/nowhere")))
        async with asyncio.timeout(10):
            assert not any([rows async for rows in judge(service, batch)])
            await stopping
        return batch

    service = Endless(page_methods({"ugrie": BrightnessPredictor()}), Limits(batch=2))
    assert completed(stopped()).stopped and service.cancelled == 1


@pytest.mark.parametrize(
    ("files", "emotion_model", "labels", "sentence"),
    [
        (None, "mikels8", "", "no pictures yet"),
        ([{"path": "/etc/passwd", "orig_name": "a.jpg"}], "mikels8", "", "no picture yet"),
        (["/etc/passwd"], "mikels8", "", "no picture yet"),
        (7, "mikels8", "", "no picture yet"),
        ("good", "own", "cosy", "at least 2|2 to 500"),
        ("good", "own", "<mask>, b", "control characters"),
        ("good", "nonsense", "", "no emotion model"),
        ("many", "mikels8", "", "more than 3 pictures"),
    ],
)
def test_what_cannot_be_judged_gets_one_sentence(
    tmp_path: Path, files: Any, emotion_model: str, labels: str, sentence: str
) -> None:
    uploads = Uploads(tmp_path, pictures=3)
    count = {"good": 1, "many": 4}.get(files) if isinstance(files, str) else None
    given = [uploads.put("a.jpg", PHOTOGRAPHS[0].read_bytes()) for _ in range(count)] if count else files
    (refused,) = uploads.run(given, emotion_model=emotion_model, labels=labels)
    assert refused[0] is None and re.search(sentence, refused[2]) and 'role="alert"' in refused[2]


def test_details_are_only_of_pictures_that_are_there() -> None:
    import gradio as gr

    handlers = _Handlers(Service(page_methods(BrightnessPredictor())), "/nowhere")
    batch = filled(a=("awe", 0.7), b=None)
    for held, data in (
        (None, {"index": 0}),
        (batch, {"index": 1}),
        (batch, {"index": "0"}),
        (batch, {}),
        (batch, None),
    ):
        with pytest.raises(gr.Error, match="judge the pictures again"):
            handlers.open(held, SimpleNamespace(_data=data))
    with pytest.raises(DataError, match="no method"):
        handlers._begin([], "nonsense", "mikels8", "")

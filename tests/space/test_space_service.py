"""The door to the models: batches of concurrent requests, progress, limits, and errors as one sentence."""

import asyncio
import io
import threading
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest
from brightness_predictor import BrightnessPredictor
from captioning_predictor import CaptioningPredictor
from pages import completed
from PIL import Image

from iec_hub.emotions import EMOTION_MODELS
from iec_hub.errors import DataError, ImageError
from iec_hub.prediction import EmotionPrediction, Progress
from iec_hub.space import gpu, service, texts
from iec_hub.space.limits import Limits
from iec_hub.space.methods import page_methods
from iec_hub.space.service import Picture, Question, Service

GREY = (0, 60, 120, 180, 240)


class SlowPredictor(BrightnessPredictor):
    """Waits until it may answer, reports progress, and fails on a picture of one grey."""

    reports_progress = True

    def __init__(self) -> None:
        super().__init__()
        self.may_go, self.begun = threading.Event(), threading.Event()
        self.sizes: list[int] = []

    def predict(self, images: Sequence[Image.Image], *given: Any, progress: Any = None, **asked: Any) -> list[Any]:
        self.sizes.append(len(images))
        self.begun.set()
        assert self.may_go.wait(10)
        if any(image.getpixel((0, 0)) == (13, 13, 13) for image in images):
            raise RuntimeError(" ".join(["something", "private"]))
        predictions = super().predict(images, *given, **asked)
        for index, prediction in enumerate(predictions if progress else ()):
            progress(index, Progress("decided", prediction=prediction))
        return predictions


def picture(grey: int, size: int = 40) -> Picture:
    image = Image.new("RGB", (size, size), (grey, grey, grey))
    return Picture(image, image)


def page_service(predictor: Any, **limits: Any) -> Service:
    return Service(page_methods(predictor), Limits(**{"workers": 1} | limits))


async def asked_meanwhile(slow: SlowPredictor, door: Service, *questions: Any) -> list[asyncio.Task]:
    """The first is being answered, the others wait."""
    tasks = [asyncio.create_task(door.ask(slow.name, *question)) for question in questions[:1]]
    await asyncio.to_thread(slow.begun.wait, 10)
    tasks += [asyncio.create_task(door.ask(slow.name, *question)) for question in questions[1:]]
    await asyncio.sleep(0.05)
    return tasks


def test_concurrent_requests_share_batches_and_get_what_they_would_get_alone() -> None:
    slow, alone = SlowPredictor(), BrightnessPredictor()
    door = page_service(slow, batch=3)

    async def run() -> list[EmotionPrediction]:
        tasks = await asked_meanwhile(slow, door, *((picture(grey), Question(evidence=False)) for grey in GREY))
        slow.may_go.set()
        return await asyncio.gather(*tasks)

    found = completed(run())
    assert slow.sizes == [1, 3, 1]
    expected = [alone.predict([picture(grey).image], "mikels8")[0] for grey in GREY]
    assert [each.probabilities for each in found] == [each.probabilities for each in expected]


def test_other_labels_are_another_batch_and_one_failure_costs_no_other(caplog: pytest.LogCaptureFixture) -> None:
    slow = SlowPredictor()
    door = page_service(slow)

    async def run() -> list[Any]:
        tasks = await asked_meanwhile(
            slow,
            door,
            (picture(0), Question()),
            (picture(13), Question()),
            (picture(240), Question()),
            (picture(240), Question(labels=("cosy", "eerie"))),
        )
        slow.may_go.set()
        return await asyncio.gather(*tasks, return_exceptions=True)

    dark, failed, bright, own = completed(run())
    assert slow.sizes[:2] == [1, 2] and set(slow.sizes[2:]) == {1}
    assert (
        dark.emotion == EMOTION_MODELS["mikels8"].labels[0] and bright.emotion == EMOTION_MODELS["mikels8"].labels[-1]
    )
    assert own.labels == ("cosy", "eerie")
    assert isinstance(failed, DataError) and str(failed) == texts.UNEXPECTED_ERROR
    assert "with a RuntimeError" in caplog.text and "something private" not in caplog.text


def test_each_hears_of_its_own_progress_in_the_event_loop() -> None:
    slow = SlowPredictor()
    door = page_service(slow)
    heard: dict[int, list[Any]] = {grey: [] for grey in GREY}

    async def run() -> list[EmotionPrediction]:
        here = threading.get_ident()

        def listener(grey: int) -> Any:
            return lambda known: heard[grey].append((known.stage, known.prediction, threading.get_ident() == here))

        slow.may_go.set()
        questions = [door.ask(slow.name, picture(grey), Question(), listener(grey)) for grey in GREY]
        return await asyncio.gather(*questions)

    for grey, prediction in zip(GREY, completed(run()), strict=True):
        ((stage, decided, in_loop),) = heard[grey]
        assert (stage, decided.probabilities, in_loop) == ("decided", prediction.probabilities, True)


def test_whoever_waits_too_long_is_told_so_and_is_no_longer_worked_for() -> None:
    slow = SlowPredictor()
    door = page_service(slow, seconds=0.3)

    async def run() -> list[Any]:
        tasks = await asked_meanwhile(slow, door, (picture(0), Question()), (picture(60), Question()))
        found = await asyncio.gather(*tasks, return_exceptions=True)
        slow.may_go.set()
        return [*found, await door.ask(slow.name, picture(240), Question())]

    first, second, later = completed(run())
    assert str(first) == str(second) == texts.TOO_SLOW.format(seconds=0.3)
    assert later.emotion == EMOTION_MODELS["mikels8"].labels[-1]
    assert slow.sizes == [1, 1]


def test_a_full_line_says_so() -> None:
    slow = SlowPredictor()
    door = page_service(slow, waiting=1)

    async def run() -> list[Any]:
        tasks = await asked_meanwhile(slow, door, *((picture(grey), Question()) for grey in GREY[:3]))
        slow.may_go.set()
        return await asyncio.gather(*tasks, return_exceptions=True)

    found = completed(run())
    assert [str(each) for each in found if isinstance(each, DataError)] == [texts.LINE_FULL]


def test_captions_of_one_batch_may_differ(captioning: CaptioningPredictor) -> None:
    door = page_service(captioning)
    words = ["a bright, sunny photo", "", "a dark, gloomy photo"]

    async def run() -> list[EmotionPrediction]:
        return await asyncio.gather(*(door.ask("escnet", picture(120), Question(caption=each)) for each in words))

    bright, own, dark = completed(run())
    labels = EMOTION_MODELS["mikels8"].labels
    assert labels.index(bright.emotion) > labels.index(dark.emotion)
    assert own.captions != bright.captions == ("a bright, sunny photo",)


@pytest.mark.parametrize(
    ("question", "sentence"),
    [
        (Question(caption="a dog"), "reads no captions"),
        (Question(labels=("a" * 30, "b" * 30)), "60 characters together; shorten them to 50"),
    ],
)
def test_what_cannot_be_asked_is_refused_before_the_line(
    predictor: BrightnessPredictor, question: Question, sentence: str
) -> None:
    before = len(predictor.calls)
    with pytest.raises(DataError, match=sentence):
        completed(page_service(predictor, labels=50).ask("brightness", picture(0), question))
    assert len(predictor.calls) == before


def test_pictures_are_opened_within_the_limits(predictor: BrightnessPredictor, tmp_path: Path) -> None:
    Image.new("RGB", (1200, 300), "red").save(tmp_path / "wide.png")
    opened = completed(page_service(predictor).open(tmp_path / "wide.png"))
    assert max(opened.shown.size) == service.PICTURE_SIDE and opened.shown.getpixel((0, 0)) == (255, 0, 0)
    for limits in ({"pixels": 1200 * 299}, {"file_bytes": 100}):
        with pytest.raises(ImageError, match="smaller"):
            completed(page_service(predictor, **limits).open(tmp_path / "wide.png"))
    with pytest.raises(ImageError):
        completed(page_service(predictor).open(io.BytesIO(b"no picture").getvalue()))


def test_where_a_gpu_is_lent_each_is_judged_by_itself_through_the_lender(
    predictor: BrightnessPredictor, monkeypatch: pytest.MonkeyPatch
) -> None:
    lent = []

    class Lender:
        @staticmethod
        def GPU(function: Any) -> Any:  # noqa: N802  the lender's own name
            return lambda *given: (lent.append(len(given[1])), function(*given))[1]

    monkeypatch.setattr(gpu, "spaces", Lender)
    monkeypatch.setenv("SPACES_ZERO_GPU", "true")
    door = page_service(predictor)

    async def run() -> list[EmotionPrediction]:
        return await asyncio.gather(*(door.ask("", picture(grey), Question()) for grey in GREY))

    assert [f.emotion for f in completed(run())][::4] == [EMOTION_MODELS["mikels8"].labels[i] for i in (0, -1)]
    assert lent == [1] * len(GREY)

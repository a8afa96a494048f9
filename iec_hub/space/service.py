"""The one door to the models: every tab and every endpoint asks here."""

import asyncio
import threading
from collections.abc import Callable, Hashable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from PIL import Image

from iec_hub.emotions import EmotionModel
from iec_hub.errors import DataError, IecHubError
from iec_hub.images import open_image
from iec_hub.prediction import EmotionPrediction, Progress
from iec_hub.space import texts
from iec_hub.space.batching import BatchingLine, Report, log_failure
from iec_hub.space.gpu import borrows_gpu, on_gpu
from iec_hub.space.limits import Limits
from iec_hub.space.methods import Method, chosen_method
from iec_hub.space.rendering import PICTURE_SIDE

# Nothing looks closer: the reader of text in pictures makes larger ones this small, and a line of them is in memory.
JUDGED_SIDE = 4096


@dataclass(frozen=True)
class Question:
    """What is asked about a picture.

    Attributes:
        emotion_model: its name, or an emotion model with words of the visitor's; None for the method's default.
        labels: own labels instead of an emotion model; empty for none.
        caption: replaces the model's own; empty for that.
        evidence: whether it is also asked which parts of the picture (and which words) spoke for the answer.
        read_text: whether text in the picture is read, where the method listens to it.
    """

    emotion_model: str | EmotionModel | None = None
    labels: tuple[str, ...] = ()
    caption: str = ""
    evidence: bool = True
    read_text: bool = True


@dataclass(frozen=True)
class Picture:
    """An opened picture.

    Attributes:
        image: RGB, as it is judged, no side longer than `JUDGED_SIDE`; boxes of text are in its pixels.
        shown: RGB, no side longer than `PICTURE_SIDE`, as it is shown.
    """

    image: Image.Image
    shown: Image.Image


@dataclass(frozen=True)
class _Kind:
    """What is alike within a batch; of the question all but the caption."""

    method: str
    question: Question


@dataclass(frozen=True)
class _Item:
    image: Image.Image
    caption: str


class Service:
    """The offered methods.

    Attributes:
        methods: by name; the first is the default one.
        limits: what a visitor may ask for.
    """

    def __init__(self, methods: Mapping[str, Method], limits: Limits | None = None):
        self.methods = dict(methods)
        self.limits = limits or Limits()
        self._reads_text = any(method.reads_embedded_text for method in self.methods.values())
        self._line = BatchingLine(self._judge, self.limits.threads, self.limits.waiting, self.limits.batch)
        # Of its own, so that however many pictures are sent at once, few are decoded at once.
        self._openers = ThreadPoolExecutor(self.limits.threads, thread_name_prefix="iec-hub-open")
        self._own = threading.local()
        # Where the GPU is borrowed: only names and questions cross to a process with a GPU, not the models.
        self._judge_on_gpu = on_gpu(self._judge)
        self._on_gpu = 0

    def method(self, name: Any) -> Method:
        """The method that a visitor means; the first where none is named.

        Raises:
            DataError: if there is no such method.
        """
        return chosen_method(self.methods, name)

    async def open(self, file: Path | bytes) -> Picture:
        """A picture from a file or its bytes, opened away from the event loop.

        Raises:
            ImageError: with one sentence for the visitor.
            DataError: if it takes longer than `limits.seconds`.
        """
        loop = asyncio.get_running_loop()
        return await self._in_time(lambda: loop.run_in_executor(self._openers, self._open, file))

    async def ask(
        self, method: str, picture: Picture, question: Question, progress: Callable[[Progress], None] | None = None
    ) -> EmotionPrediction:
        """One method's answer to one picture.

        Whoever asks about the same time shares a batch, where only pictures and captions differ. Whoever cancels this
        leaves the line.

        Args:
            progress: called in the event loop with what is known so far, as it becomes known; nothing of it where the
                predictor does not report (see :class:`iec_hub.space.methods.Predictor`).

        Raises:
            IecHubError: with one sentence for the visitor: about what cannot be asked, about a full line, and where
                the answer takes longer than `limits.seconds`.
        """
        chosen = self.method(method)
        # Whoever names the default emotion model asks the same as whoever names none.
        emotion_model = None if question.labels else question.emotion_model or chosen.default.name
        question = replace(question, emotion_model=emotion_model)
        self._check(chosen, question)
        kind = _Kind(chosen.name, replace(question, caption=""))
        item = _Item(picture.image if chosen.reads_embedded_text else picture.shown, question.caption)
        with _Listener(progress) as listener:
            if borrows_gpu():
                return await self._in_time(lambda: self._borrowing(kind, item))
            return await self._in_time(
                lambda: asyncio.wrap_future(self._line.join(kind.method, kind, item, listener.report))
            )

    async def _in_time(self, start: Callable[[], Any]) -> Any:
        """What `start` begins, unless it takes too long; what goes wrong unexpectedly as one sentence."""
        try:
            async with asyncio.timeout(self.limits.seconds) as clock:
                return await start()
        except IecHubError:
            raise
        except Exception as error:
            if clock.expired():
                raise DataError(texts.TOO_SLOW.format(seconds=self.limits.seconds)) from None
            log_failure(error)
            raise DataError(texts.UNEXPECTED_ERROR) from None

    def _check(self, method: Method, question: Question) -> None:
        """Refuse at once what would only waste a batch.

        Raises:
            DataError: with one sentence for the visitor.
        """
        if question.caption and not method.reads_captions:
            raise DataError(texts.CAPTION_NOT_READ.format(method=texts.method_name(method.name)))
        if len(question.caption) > self.limits.caption:
            length, most = len(question.caption), self.limits.caption
            raise DataError(texts.CAPTION_TOO_LONG.format(length=length, most=most))
        length = sum(map(len, question.labels))
        if length > self.limits.labels:
            raise DataError(texts.LABELS_TOO_LONG.format(length=length, most=self.limits.labels))
        check = getattr(method.predictor, "check_target", None)
        if check is not None:
            check(question.emotion_model, list(question.labels) or None)

    def _open(self, file: Path | bytes) -> Picture:
        bounds = {"max_pixels": self.limits.pixels, "max_bytes": self.limits.file_bytes}
        # Small letters do not survive a smaller picture; without them a smaller one is opened much faster.
        image = open_image(file, **bounds, max_side=None if self._reads_text else PICTURE_SIDE)
        image.thumbnail((JUDGED_SIDE, JUDGED_SIDE))
        shown = image.copy()
        shown.thumbnail((PICTURE_SIDE, PICTURE_SIDE))
        return Picture(image, shown)

    async def _borrowing(self, kind: _Kind, item: _Item) -> EmotionPrediction:
        if self._on_gpu >= self.limits.waiting:
            raise DataError(texts.LINE_FULL)
        self._on_gpu += 1
        try:
            # Not in a thread of ours: the lender goes by the context of the request, which comes along here.
            return (await asyncio.to_thread(self._judge_on_gpu, kind, [item]))[0]
        finally:
            self._on_gpu -= 1

    def _judge(
        self, kind: Hashable, items: Sequence[_Item], reports: Sequence[Report | None] = ()
    ) -> list[EmotionPrediction]:
        """The predictions of a batch, one per item."""
        method, question = self.methods[kind.method], kind.question
        predictor = self._predictor(method)
        asked: dict[str, Any] = {"evidence": question.evidence}
        asked |= {"labels": list(question.labels)} if question.labels else {"emotion_model": question.emotion_model}
        if any(item.caption for item in items):
            asked["captions"] = [item.caption or None for item in items]
        if method.reads_embedded_text and not question.read_text:
            asked["read_text"] = False
        if any(reports) and getattr(predictor, "reports_progress", False):
            asked["progress"] = lambda index, known: reports[index](known)
        return predictor.predict([item.image for item in items], **asked)

    def _predictor(self, method: Method) -> Any:
        """The method's predictor for the thread that asks; they share one model."""
        own = self._own.__dict__
        if method.name not in own:
            twin = getattr(method.predictor, "twin", None)
            own[method.name] = method.predictor if twin is None else twin()
        return own[method.name]


class _Listener:
    """Carries what a thread reports into the event loop, as long as somebody listens."""

    def __init__(self, progress: Callable[[Progress], None] | None):
        self._progress = progress
        self._loop = asyncio.get_running_loop()

    @property
    def report(self) -> Report | None:
        return None if self._progress is None else self._report

    def _report(self, known: Progress) -> None:
        with suppress(RuntimeError):  # the loop has ended with the server
            self._loop.call_soon_threadsafe(self._tell, known)

    def _tell(self, known: Progress) -> None:
        if self._progress is not None:
            self._progress(known)

    def __enter__(self) -> "_Listener":
        return self

    def __exit__(self, *_: object) -> None:
        self._progress = None

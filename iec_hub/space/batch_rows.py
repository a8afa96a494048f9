"""Many pictures, judged a few at a time: rows in the order given, each there as soon as it is done."""

import asyncio
import io
from collections.abc import AsyncIterator
from dataclasses import dataclass, field, replace

from PIL import Image

from iec_hub.errors import IecHubError
from iec_hub.prediction import EmotionPrediction
from iec_hub.space import texts
from iec_hub.space.affect_plane import AffectPlane, affect_plane
from iec_hub.space.archives import Source
from iec_hub.space.batching import log_failure
from iec_hub.space.heat_maps import data_uri
from iec_hub.space.service import Picture, Question, Service

TILE_SIDE = 224
DETAIL_SIDE = 480
# However long a picture takes: a wish to stop is heard this soon, and what is done is shown.
_SECONDS_DEAF = 0.2


@dataclass(frozen=True)
class BatchRow:
    """One picture of a batch.

    Attributes:
        file: its name, untrusted.
        prediction: None where there is an `error`, one sentence.
        tile: the small picture as a data URI.
        picture: a JPEG of the picture, no side longer than `DETAIL_SIDE`.
        size: width and height of the picture as it was judged.
    """

    file: str
    prediction: EmotionPrediction | None
    error: str | None = None
    tile: str = ""
    picture: bytes = b""
    size: tuple[int, int] = (0, 0)

    def image(self) -> Image.Image:
        """The kept picture, RGB."""
        return Image.open(io.BytesIO(self.picture)).convert("RGB")


@dataclass
class Batch:
    """What one visitor's pictures came to; it grows while they are judged, and lives as long as the visit.

    Attributes:
        method: the name of the method that was asked.
        emotion_model: the name of the emotion model, "custom" for own labels.
        labels: what was told apart.
        checkpoint: the name of the method's checkpoint.
        sources: the pictures that were given; of them, only where they are found is kept.
        question: what is asked about each.
        rows: one per picture that is done, by its place in what was given.
        opened: the place of the picture whose details were asked for last.
        stopped: whether the visitor wants no more of it.
        finished: whether nothing more will come.
        seconds: how long it took, once it is finished.
    """

    method: str
    emotion_model: str
    labels: tuple[str, ...]
    checkpoint: str
    sources: tuple[Source, ...]
    question: Question = Question(evidence=False)
    rows: dict[int, BatchRow] = field(default_factory=dict)
    opened: int | None = None
    stopped: bool = False
    finished: bool = False
    seconds: float | None = None

    @property
    def total(self) -> int:
        """How many pictures were given."""
        return len(self.sources)

    @property
    def ordered(self) -> list[tuple[int, BatchRow]]:
        """The rows that are done, in the order given."""
        return sorted(self.rows.items())

    @property
    def predictions(self) -> list[EmotionPrediction]:
        return [row.prediction for _, row in self.ordered if row.prediction is not None]

    @property
    def failed(self) -> int:
        """How many pictures have no prediction."""
        return sum(row.prediction is None for row in self.rows.values())

    @property
    def plane(self) -> AffectPlane | None:
        return affect_plane(self.emotion_model, self.labels)


async def judge(service: Service, batch: Batch) -> AsyncIterator[dict[int, BatchRow]]:
    """Rows by their places as they are done, a few times a second; none where nothing is done since.

    What is under way is given up when nobody asks for more.

    No more pictures than a model sees at once are open at a time, so that one visitor's many pictures neither fill
    the memory nor the line that others wait in.
    """
    waiting = iter(range(batch.total))
    running: set[asyncio.Task[tuple[int, BatchRow]]] = set()
    try:
        while True:
            while len(running) < service.limits.batch and not batch.stopped:
                following = next(waiting, None)
                if following is None:
                    break
                running.add(asyncio.create_task(_row(service, batch, following)))
            if not running or batch.stopped:
                return
            done, running = await asyncio.wait(running, timeout=_SECONDS_DEAF, return_when=asyncio.FIRST_COMPLETED)
            yield dict(task.result() for task in done)
    finally:
        for task in running:
            task.cancel()


async def explained(service: Service, batch: Batch, place: int) -> EmotionPrediction:
    """The prediction at a place, with the parts of the picture that spoke for it; the picture is read once more.

    Raises:
        IecHubError: with one sentence, where it cannot be read any more, or nobody has the time.
    """
    return (await _asked(service, batch, place, replace(batch.question, evidence=True)))[1]


async def _row(service: Service, batch: Batch, place: int) -> tuple[int, BatchRow]:
    name = batch.sources[place].name
    try:
        picture, prediction = await _asked(service, batch, place, batch.question)
        tile, kept = await asyncio.to_thread(_kept, picture.shown)
    except IecHubError as error:
        return place, BatchRow(name, None, str(error))
    except Exception as error:
        log_failure(error)
        return place, BatchRow(name, None, texts.UNEXPECTED_ERROR)
    return place, BatchRow(name, prediction, None, tile, kept, picture.image.size)


async def _asked(service: Service, batch: Batch, place: int, question: Question) -> tuple[Picture, EmotionPrediction]:
    content = await asyncio.to_thread(batch.sources[place].read, service.limits.file_bytes)
    picture = await service.open(content)
    return picture, await service.ask(batch.method, picture, question)


def _kept(shown: Image.Image) -> tuple[str, bytes]:
    """The tile and the JPEG of a picture."""
    kept = shown.copy()
    kept.thumbnail((DETAIL_SIDE, DETAIL_SIDE))
    buffer = io.BytesIO()
    kept.save(buffer, "JPEG", quality=85)
    kept.thumbnail((TILE_SIDE, TILE_SIDE))
    return data_uri(kept, "WEBP"), buffer.getvalue()

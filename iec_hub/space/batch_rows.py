"""Many pictures, judged a few at a time: rows in the order given, each there as soon as it is done."""

import asyncio
import io
from collections.abc import AsyncIterator, Sequence
from dataclasses import dataclass, field

from PIL import Image

from iec_hub.errors import IecHubError
from iec_hub.prediction import EmotionPrediction
from iec_hub.space import texts
from iec_hub.space.affect_plane import AffectPlane, affect_plane
from iec_hub.space.archives import Source
from iec_hub.space.batching import log_failure
from iec_hub.space.heat_maps import data_uri
from iec_hub.space.service import Question, Service

TILE_SIDE = 224
DETAIL_SIDE = 480


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
        names: of the pictures that were given, untrusted.
        rows: one per picture that is done, by its place in what was given.
        stopped: whether the visitor wants no more of it.
        finished: whether nothing more will come.
        seconds: how long it took, once it is finished.
    """

    method: str
    emotion_model: str
    labels: tuple[str, ...]
    checkpoint: str
    names: tuple[str, ...]
    rows: dict[int, BatchRow] = field(default_factory=dict)
    stopped: bool = False
    finished: bool = False
    seconds: float | None = None

    @property
    def total(self) -> int:
        """How many pictures were given."""
        return len(self.names)

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


async def judge(
    service: Service, batch: Batch, sources: Sequence[Source], question: Question
) -> AsyncIterator[tuple[int, BatchRow]]:
    """Rows with their places as they are done; what is under way is given up when nobody asks for more.

    No more pictures than a model sees at once are open at a time, so that one visitor's many pictures neither fill
    the memory nor the line that others wait in.
    """
    waiting = iter(enumerate(sources))
    running: set[asyncio.Task[tuple[int, BatchRow]]] = set()
    try:
        while True:
            while len(running) < service.limits.batch and not batch.stopped:
                following = next(waiting, None)
                if following is None:
                    break
                running.add(asyncio.create_task(_row(service, batch.method, *following, question)))
            if not running or batch.stopped:
                return
            done, running = await asyncio.wait(running, return_when=asyncio.FIRST_COMPLETED)
            for task in done:
                yield task.result()
    finally:
        for task in running:
            task.cancel()


async def _row(service: Service, method: str, place: int, source: Source, question: Question) -> tuple[int, BatchRow]:
    try:
        content = await asyncio.to_thread(source.read, service.limits.file_bytes)
        picture = await service.open(content)
        prediction = await service.ask(method, picture, question)
        tile, kept = await asyncio.to_thread(_kept, picture.shown)
    except IecHubError as error:
        return place, BatchRow(source.name, None, str(error))
    except Exception as error:
        log_failure(error)
        return place, BatchRow(source.name, None, texts.UNEXPECTED_ERROR)
    return place, BatchRow(source.name, prediction, None, tile, kept, picture.image.size)


def _kept(shown: Image.Image) -> tuple[str, bytes]:
    """The tile and the JPEG of a picture."""
    kept = shown.copy()
    kept.thumbnail((DETAIL_SIDE, DETAIL_SIDE))
    buffer = io.BytesIO()
    kept.save(buffer, "JPEG", quality=85)
    kept.thumbnail((TILE_SIDE, TILE_SIDE))
    return data_uri(kept, "WEBP"), buffer.getvalue()

"""Images opened as small as a model reads them, the next ones while it works; files become predictions or errors."""

from __future__ import annotations

import logging
import os
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from iec_hub.errors import IecHubError
from iec_hub.images import open_image
from iec_hub.models.processing_image_emotion import reduced_image
from iec_hub.prediction import EmbeddedText, EmotionPrediction

if TYPE_CHECKING:
    from PIL.Image import Image

    from iec_hub.affect.embedded_text import TextReader

logger = logging.getLogger(__name__)

# Images are decoded to about this side: twice what a 224-pixel tower reads keeps the final resize clean.
DECODE_SIDE = 512
# And those that a reasoner looks at to this one: more is not what such models read, and a batch of them is kept.
REASONER_SIDE = 1024
READ_AHEAD_THREADS = min(8, os.cpu_count() or 2)


@dataclass(frozen=True)
class FilePrediction:
    """Result of one file: either a prediction or the sentence that says why there is none.

    `file` is what was given, a text as a path.
    """

    file: Any
    prediction: EmotionPrediction | None
    error: str | None = None


@dataclass(frozen=True)
class OpenedImage:
    """A picture as small as the model reads it.

    Attributes:
        text: what stood in it; `None` where nobody looked.
        larger: the picture for a reasoner that looks at it itself, no side longer than :data:`REASONER_SIDE`.
    """

    image: Image
    text: tuple[EmbeddedText, ...] | None = None
    larger: Image | None = None


def opened_image(
    source: Any, image_processor: Any, text_reader: TextReader | None = None, for_reasoner: bool = False
) -> OpenedImage:
    """The picture, already as small as the model reads it, so that a batch of big ones fits into memory.

    The image processor's own resizing then has nothing left to do; doing it here moves it into the threads. Text in
    the picture is read before that, in full size.

    Args:
        source: anything that [`open_image`] takes.
        text_reader: left out, nobody looks for text.
        for_reasoner: whether something beside the vision tower looks at the picture.

    Raises:
        ImageError: if it cannot be opened.
    """
    side = REASONER_SIDE if for_reasoner else DECODE_SIDE
    image = open_image(source, max_side=side if text_reader is None else None)
    found, larger = None if text_reader is None else text_reader.read([image])[0], None
    if for_reasoner:
        larger = image.copy()
        larger.thumbnail((REASONER_SIDE, REASONER_SIDE))
    return OpenedImage(reduced_image(image, image_processor, DECODE_SIDE), found, larger)


def predictions_of_files(
    files: Sequence[Any],
    batch_size: int,
    open_one: Callable[[Any], OpenedImage],
    predict: Callable[[list[OpenedImage]], list[EmotionPrediction]],
) -> Iterator[FilePrediction]:
    """One result per file, in order, each as soon as its batch is done; the next batch is opened meanwhile."""
    batches = [files[start : start + batch_size] for start in range(0, len(files), batch_size)]
    pool = ThreadPoolExecutor(READ_AHEAD_THREADS, thread_name_prefix="iec-hub-read")
    try:
        pending = [pool.submit(_opened_or_error, open_one, file) for file in batches[0]] if batches else []
        for number, batch in enumerate(batches):
            opened = [job.result() for job in pending]
            following = batches[number + 1] if number + 1 < len(batches) else []
            pending = [pool.submit(_opened_or_error, open_one, file) for file in following]
            predictions = iter(_predictions_or_errors([each for each in opened if not isinstance(each, str)], predict))
            for file, each in zip(batch, opened, strict=True):
                result = each if isinstance(each, str) else next(predictions)
                if isinstance(result, str):
                    yield FilePrediction(file, None, result)
                else:
                    yield FilePrediction(file, result)
    finally:  # whoever stops early, or is interrupted, does not wait for files that nobody asks for any more
        pool.shutdown(cancel_futures=True)


def _opened_or_error(open_one: Callable[[Any], OpenedImage], source: Any) -> OpenedImage | str:
    try:
        return open_one(source)
    except IecHubError as error:
        return str(error)
    except Exception as error:  # a decoder's own bug must not end the batch
        logger.exception("Unexpected error while opening an image")
        return f"The file cannot be read as an image ({type(error).__name__}); replace it."


def _predictions_or_errors(
    images: list[OpenedImage], predict: Callable[[list[OpenedImage]], list[EmotionPrediction]]
) -> list[EmotionPrediction | str]:
    """The batch's predictions; where it fails, image by image, so that one costs no other its result."""
    if not images:
        return []
    try:
        return list(predict(images))
    except Exception as error:
        if len(images) == 1:
            logger.exception("The model failed on an image")
            if isinstance(error, IecHubError):
                return [str(error)]
            return [f"The model failed on this picture ({type(error).__name__}); please report it."]
        logger.warning("A batch of %d images failed; going on one by one", len(images), exc_info=True)
        return [_predictions_or_errors([image], predict)[0] for image in images]


__all__ = [
    "DECODE_SIDE",
    "READ_AHEAD_THREADS",
    "REASONER_SIDE",
    "FilePrediction",
    "OpenedImage",
    "opened_image",
    "predictions_of_files",
]

"""From what a visitor or a client sent to an answer: checks first, then the predictor."""

import re
import unicodedata
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from PIL import Image

from iec_hub.errors import DataError
from iec_hub.images import open_image
from iec_hub.prediction import EmotionPrediction
from iec_hub.space import texts
from iec_hub.space.methods import Method
from iec_hub.space.rendering import PICTURE_SIDE

OWN = "own"
LONGEST_CAPTION = 400


@dataclass(frozen=True)
class Answer:
    """A prediction with what it is shown with.

    Attributes:
        picture: the picture as it is shown, RGB, no longer than needed for that.
        size: width and height of the picture as it was judged, in whose pixels the boxes of text in it are.
        before: where the visitor wrote the caption, the prediction with the model's own.
    """

    prediction: EmotionPrediction
    picture: Image.Image
    size: tuple[int, int]
    before: EmotionPrediction | None = None


def split_labels(text: str | None) -> list[str]:
    """The labels in a visitor's text: separated by commas, semicolons or line ends; empty ones are dropped."""
    return [label for label in (part.strip() for part in re.split(r"[,;\n]", str(text or ""))) if label]


def read_caption(text: Any) -> str:
    """A visitor's caption on one line, without control characters; empty where there is none.

    Raises:
        DataError: if it is no text, or longer than `LONGEST_CAPTION` characters.
    """
    if text is None:
        return ""
    if not isinstance(text, str):
        raise DataError(texts.CAPTION_NO_TEXT)
    # Measured before anything else is done with it: clients may send megabytes.
    if len(text) > LONGEST_CAPTION:
        raise DataError(texts.CAPTION_TOO_LONG.format(length=len(text), most=LONGEST_CAPTION))
    # JSON can hold half of a surrogate pair, which no tokenizer can read.
    kept = (" " if c.isspace() else c for c in text if c.isspace() or unicodedata.category(c) not in ("Cc", "Cs"))
    return " ".join("".join(kept).split())


def answer(
    method: Method,
    file: Path,
    emotion_model: str,
    labels: str | None = None,
    caption: Any = None,
    compare: bool = False,
) -> Answer:
    """The answer for a picture.

    Args:
        emotion_model: the name of an emotion model, or "own" for the labels in `labels`.
        caption: the visitor's, which replaces the model's own; None or empty for the latter.
        compare: whether an answer to a visitor's caption also holds the one to the model's own.

    Raises:
        IecHubError: with one sentence for the visitor.
    """
    own = split_labels(labels)
    if own and emotion_model != OWN:
        raise DataError(texts.OWN_LABELS_NOT_CHOSEN)
    caption = read_caption(caption)
    if caption and not method.reads_captions:
        raise DataError(texts.CAPTION_NOT_READ.format(method=texts.method_name(method.name)))
    # Small letters do not survive a smaller picture; without them a smaller one is opened much faster.
    opened = open_image(file, max_side=None if method.reads_embedded_text else PICTURE_SIDE)
    asked: dict[str, Any] = {"labels": own} if emotion_model == OWN else {"emotion_model": emotion_model}
    predict = method.predictor.predict
    before = predict([opened], **asked)[0] if caption and compare else None
    if caption:
        asked["captions"] = [caption]
    prediction = predict([opened], evidence=True, **asked)[0]
    size = opened.size
    # The answer may cross to another process, and the page needs no more than this of the picture.
    opened.thumbnail((PICTURE_SIDE, PICTURE_SIDE))
    return Answer(prediction, opened, size, before)

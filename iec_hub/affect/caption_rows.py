"""The rows of a data set of affective captions: their columns, and how one is made."""

from __future__ import annotations

from typing import Any

from iec_hub.affect.attributes import ATTRIBUTES, ImageAttributes
from iec_hub.affect.caption_sources import CaptionItem
from iec_hub.affect.captions import compose_caption
from iec_hub.data.rows import NUMBER_ATTRIBUTES
from iec_hub.errors import DataError


def caption_features(images: str = "path") -> Any:
    """The columns as `datasets.Features`.

    Columns that a data set does not fill are null: `emotion...` without labels, `valence` and `arousal` (on the data
    set's own scale) without ratings, an attribute that nobody named. `..._source` is "annotation", "computed" or a
    tagger's name; `..._confidence` is in [0, 1]. `caption` is the plain wording, `variants` are other ones, both also
    with the emotion word.

    Raises:
        DataError: If `datasets` is not installed.
    """
    datasets = datasets_library()
    text, number = datasets.Value("string"), datasets.Value("float64")
    texts, numbers = datasets.List(text), datasets.List(number)
    columns: dict[str, Any] = {"id": text}
    if images == "bytes":
        columns["image"] = datasets.Image()
    columns |= {"file_name": text, "dataset": text, "split": text, "emotion_model": text, "emotion": text}
    columns |= {"emotion_labels": texts, "emotion_distribution": numbers, "valence": number, "arousal": number}
    for name in ATTRIBUTES:
        if name in NUMBER_ATTRIBUTES:
            columns |= {name: number, f"{name}_source": text}
        elif name == "object":
            columns |= {name: texts, f"{name}_source": texts, f"{name}_confidence": numbers}
        else:
            columns |= {name: text, f"{name}_source": text, f"{name}_confidence": number}
    columns |= {"caption": text, "caption_with_emotion": text, "variants": texts, "variants_with_emotion": texts}
    return datasets.Features(columns | {"human_captions": texts})


def caption_row(item: CaptionItem, attributes: ImageAttributes, variants: int, seed: int) -> dict[str, Any]:
    """One row of :func:`caption_features`, without `image` and `split`."""
    key = f"{seed}/{item.dataset}/{item.id}"
    fields = ("id", "file_name", "dataset", "emotion_model", "emotion", "emotion_labels", "emotion_distribution")
    row = {name: getattr(item, name) for name in (*fields, "valence", "arousal")}
    for name in NUMBER_ATTRIBUTES:
        tag = next(iter(attributes.of(name)), None)
        # The tag's number is rounded: more digits than that differ between machines.
        row |= {name: float(tag.label) if tag else None, f"{name}_source": tag.source if tag else None}
    for name in ("scene", "facial_expression", "human_action"):
        tag = next(iter(attributes.of(name)), None)
        row |= {name: tag.label if tag else None, f"{name}_source": tag.source if tag else None}
        row[f"{name}_confidence"] = round(tag.confidence, 4) if tag else None
    objects = attributes.objects
    row["object"] = [tag.label for tag in objects] or None
    row["object_source"] = [tag.source for tag in objects] or None
    row["object_confidence"] = [round(tag.confidence, 4) for tag in objects] or None
    row["caption"] = compose_caption(attributes)
    row["variants"] = _variants(attributes, None, variants, key)
    row["caption_with_emotion"] = compose_caption(attributes, item.emotion) if item.emotion else None
    row["variants_with_emotion"] = _variants(attributes, item.emotion, variants, key) if item.emotion else None
    row["human_captions"] = list(item.human_captions)
    return row


def _variants(attributes: ImageAttributes, emotion: str | None, count: int, key: str) -> list[str]:
    """Different wordings, none of them the plain one."""
    found: dict[str, None] = {}
    plain = compose_caption(attributes, emotion)
    for attempt in range(4 * count):
        caption = compose_caption(attributes, emotion, seed=f"{key}/{attempt}")
        if caption != plain:
            found[caption] = None
        if len(found) == count:
            break
    return list(found)


def datasets_library() -> Any:
    """The `datasets` module.

    Raises:
        DataError: If it is not installed.
    """
    try:
        import datasets
    except ImportError as error:
        raise DataError(
            "Building captions needs the datasets library; install it with: pip install 'iec-hub[data]'."
        ) from error
    return datasets

"""EmoSet's six emotional attributes of a picture: brightness, colorfulness, scene, objects, expression, action.

The first two are computed from pixels, the others come from annotations or from taggers
(:mod:`iec_hub.affect.taggers`); each keeps where it is known from.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, Protocol

import numpy as np

from iec_hub.data.rows import ATTRIBUTES, NUMBER_ATTRIBUTES
from iec_hub.data.schema import joined_text
from iec_hub.errors import DataError
from iec_hub.images import open_image
from iec_hub.prediction import Tag

if TYPE_CHECKING:
    from PIL import Image

__all__ = [
    "ATTRIBUTES",
    "TAG_ATTRIBUTES",
    "ImageAttributes",
    "Tagger",
    "brightness",
    "colorfulness",
    "describe",
    "to_bin",
]

TAG_ATTRIBUTES = ATTRIBUTES[len(NUMBER_ATTRIBUTES) :]
# Larger pictures are averaged down: it changes neither figure visibly and keeps a 50-megapixel photograph quick.
_LONGEST_SIDE = 512
# Of the M3 scale's seven steps, "extremely colourful" (Hasler and Suesstrunk, 2003, table 2).
_EXTREMELY_COLOURFUL = 109.0
_SOURCES = ("annotation", "computed")
_LONGEST_LABEL = 200


def brightness(image: Image.Image) -> float:
    """Mean luma of a picture, from 0 (black) to 1 (white).

    Luma is Rec. 601's 0.299 R + 0.587 G + 0.114 B of the gamma-encoded values, which follows perceived lightness:
    a mean of HSV's value would call pure blue as bright as white. EmoSet (Yang et al., ICCV 2023) publishes bins
    0.0, 0.1 .. 1.0 without a formula, so this scale is this implementation's; see :func:`to_bin`.

    Args:
        image: any mode; what is not RGB is converted as `iec_hub.images.open_image` does.
    """
    return float(np.asarray(_small(image).convert("L")).mean() / 255)


def colorfulness(image: Image.Image) -> float:
    """Hasler and Suesstrunk's M3 of a picture over 109 ("extremely colourful"), from 0 (grey) to 1.

    M3 = sqrt(var rg + var yb) + 0.3 sqrt(mean(rg)^2 + mean(yb)^2) with rg = R - G and yb = (R + G) / 2 - B
    ("Measuring colorfulness in natural images", 2003). Their viewers' steps lie at 0.14 (slightly), 0.30
    (moderately), 0.41 (averagely), 0.54 (quite), 0.75 (highly) and 1 (extremely); what is beyond is 1. EmoSet
    publishes bins without a formula, so this scale is this implementation's.

    Args:
        image: any mode; what is not RGB is converted as `iec_hub.images.open_image` does.
    """
    red, green, blue = (np.asarray(band, dtype=np.float32) for band in _small(image).split())
    red_green = red - green
    # float64 sums: in float32 those of many pixels would drift.
    yellow_blue = (red + green) * np.float32(0.5) - blue
    means = [float(axis.mean(dtype=np.float64)) for axis in (red_green, yellow_blue)]
    squares = [float(np.vdot(axis, axis)) / axis.size for axis in (red_green, yellow_blue)]
    spread = sum(max(0.0, square - mean**2) for square, mean in zip(squares, means, strict=True))
    return min(1.0, (math.sqrt(spread) + 0.3 * math.hypot(*means)) / _EXTREMELY_COLOURFUL)


def to_bin(value: float) -> float:
    """EmoSet's nearest bin, one of 0.0, 0.1 .. 1.0; a value half-way goes to the upper one.

    Raises:
        DataError: If the value is no number from 0 to 1.
    """
    return math.floor(_unit(value, "an attribute's value") * 10 + 0.5 + 1e-9) / 10


def _small(image: Image.Image) -> Image.Image:
    if image.mode != "RGB":
        image = open_image(image)
    factor = max(image.size) // _LONGEST_SIDE
    return image.reduce(factor) if factor > 1 else image


def _unit(value: Any, name: str) -> float:
    """A number from 0 to 1.

    Raises:
        DataError: If it is something else.
    """
    try:
        number = math.nan if isinstance(value, bool) else float(value)
    except (TypeError, ValueError):
        number = math.nan
    if not 0 <= number <= 1:
        raise DataError(f"{name[:1].upper()}{name[1:]} has to be a number from 0 to 1; give such a number.")
    return number


@dataclass(frozen=True)
class ImageAttributes:
    """The emotional attributes of one picture; what is not known is absent, never guessed.

    Attributes:
        brightness: from 0 (black) to 1 (white), or None.
        colorfulness: from 0 (grey) to 1 (extremely colourful), or None.
        tags: scenes, objects, facial expressions and human actions, most confident first.
        brightness_source, colorfulness_source: "annotation" or "computed"; of no meaning where the value is None.

    Raises:
        DataError: If a number lies outside of 0..1, a source is unknown, or a tag is of another attribute.
    """

    brightness: float | None = None
    colorfulness: float | None = None
    tags: tuple[Tag, ...] = ()
    brightness_source: str = "computed"
    colorfulness_source: str = "computed"

    def __post_init__(self) -> None:
        for name in NUMBER_ATTRIBUTES:
            value, source = getattr(self, name), getattr(self, f"{name}_source")
            if value is not None:
                object.__setattr__(self, name, _unit(value, name))
            if source not in _SOURCES:
                raise DataError(f"The source of {name} is unknown; give one of {', '.join(_SOURCES)}.")
        for tag in self.tags:
            if tag.attribute not in TAG_ATTRIBUTES:
                raise DataError(f"A tag's attribute is unknown; give one of {', '.join(TAG_ATTRIBUTES)}.")
            _unit(tag.confidence, "a tag's confidence")
        # A stable sort: equally sure tags, such as annotations, keep their order.
        object.__setattr__(self, "tags", tuple(sorted(self.tags, key=lambda tag: -tag.confidence)))

    def of(self, attribute: str) -> tuple[Tag, ...]:
        """The tags of one attribute, most confident first; brightness and colorfulness as one tag with the number.

        Raises:
            DataError: If there is no such attribute.
        """
        if attribute not in ATTRIBUTES:
            raise DataError(f"There is no such attribute; ask for one of {', '.join(ATTRIBUTES)}.")
        if attribute in TAG_ATTRIBUTES:
            return tuple(tag for tag in self.tags if tag.attribute == attribute)
        value = getattr(self, attribute)
        if value is None:
            return ()
        return (Tag(attribute, f"{round(value, 3):g}", source=getattr(self, f"{attribute}_source")),)

    @property
    def scene(self) -> Tag | None:
        """The most confident scene."""
        return self._first("scene")

    @property
    def facial_expression(self) -> Tag | None:
        """The most confident facial expression."""
        return self._first("facial_expression")

    @property
    def human_action(self) -> Tag | None:
        """The most confident human action."""
        return self._first("human_action")

    @property
    def objects(self) -> tuple[Tag, ...]:
        """All objects, most confident first."""
        return self.of("object")

    def _first(self, attribute: str) -> Tag | None:
        return next(iter(self.of(attribute)), None)

    def as_tags(self) -> tuple[Tag, ...]:
        """Everything that is known as tags, in the order of :data:`ATTRIBUTES`."""
        return tuple(tag for attribute in ATTRIBUTES for tag in self.of(attribute))

    def filled_from(self, other: ImageAttributes) -> ImageAttributes:
        """These attributes, and of `other` those that are absent here; the tags of one attribute are never mixed."""
        fields: dict[str, Any] = {}
        for name in NUMBER_ATTRIBUTES:
            if getattr(self, name) is None:
                fields |= {key: getattr(other, key) for key in (name, f"{name}_source")}
        held = {tag.attribute for tag in self.tags}
        fields["tags"] = (*self.tags, *(tag for tag in other.tags if tag.attribute not in held))
        return replace(self, **fields)

    def to_dict(self) -> dict[str, Any]:
        """JSON-ready: attribute to ``{"value", "source"}`` or to a list of ``{"label", "confidence", "source"}``.

        What is not known is left out. :meth:`from_dict` reads it back.
        """
        content: dict[str, Any] = {}
        for name in ATTRIBUTES:
            if name in NUMBER_ATTRIBUTES and getattr(self, name) is not None:
                content[name] = {"value": getattr(self, name), "source": getattr(self, f"{name}_source")}
            elif name in TAG_ATTRIBUTES and self.of(name):
                content[name] = [
                    {"label": tag.label, "confidence": tag.confidence, "source": tag.source} for tag in self.of(name)
                ]
        return content

    @classmethod
    def from_dict(cls, content: Mapping[str, Any]) -> ImageAttributes:
        """Reads what :meth:`to_dict` wrote; other keys are not read.

        Raises:
            DataError: If it has another form, or a number is not from 0 to 1.
        """
        fields: dict[str, Any] = {}
        tags: list[Tag] = []
        try:
            for name in NUMBER_ATTRIBUTES:
                if content.get(name) is not None:
                    fields |= {name: content[name]["value"], f"{name}_source": content[name]["source"]}
            for name in TAG_ATTRIBUTES:
                for entry in content.get(name) or ():
                    label, source = joined_text([entry["label"]]), joined_text([entry["source"]])
                    if not label or not source:
                        raise KeyError(name)
                    confidence = _unit(entry["confidence"], "a tag's confidence")
                    tags.append(Tag(name, label[:_LONGEST_LABEL], confidence, source[:_LONGEST_LABEL]))
        except (AttributeError, KeyError, TypeError) as error:
            raise DataError("The attributes have an unknown form; write them with ImageAttributes.to_dict.") from error
        return cls(tags=tuple(tags), **fields)

    @classmethod
    def from_annotations(cls, annotations: Mapping[str, Any]) -> ImageAttributes:
        """From `EmotionExample.attributes`: keys as :data:`ATTRIBUTES`, objects as a text or a list of texts.

        Absent keys stay absent and other keys are not read. Labels are taken as the data set spells them
        ("bakery/shop"), on one line and without control characters.

        Raises:
            DataError: If brightness or colorfulness is no number from 0 to 1.
        """
        fields: dict[str, Any] = {}
        tags: dict[Tag, None] = {}
        for name in NUMBER_ATTRIBUTES:
            if annotations.get(name) is not None:
                fields |= {name: _unit(annotations[name], name), f"{name}_source": "annotation"}
        for name in TAG_ATTRIBUTES:
            value = annotations.get(name)
            for part in value if isinstance(value, list | tuple) else [value]:
                label = joined_text([part])
                if label:
                    tags[Tag(name, label[:_LONGEST_LABEL])] = None
        return cls(tags=tuple(tags), **fields)


class Tagger(Protocol):
    """Something that names attributes of pictures.

    Attributes:
        name: what stands as the `source` of its tags.
        attributes: the attributes that it can name, out of :data:`TAG_ATTRIBUTES`.
    """

    name: str
    attributes: frozenset[str]

    def tag(self, images: Sequence[Image.Image]) -> list[tuple[Tag, ...]]:
        """The tags of each picture, most confident first; an empty tuple where it names nothing."""
        ...


def describe(
    images: Sequence[Image.Image],
    annotations: Sequence[Mapping[str, Any] | None] | None = None,
    taggers: Sequence[Tagger] = (),
) -> list[ImageAttributes]:
    """The attributes of each picture: annotated where they are, else computed or named by the first tagger that can.

    Args:
        images: opened pictures (`iec_hub.images.open_image`).
        annotations: one `EmotionExample.attributes` per picture, or None.
        taggers: asked in this order, and only about pictures that lack something they can name.

    Raises:
        DataError: If there are more or fewer annotations than pictures, or an annotation cannot be read.
    """
    if annotations is None:
        annotations = [None] * len(images)
    if len(annotations) != len(images):
        raise DataError(f"{len(annotations)} annotations do not fit {len(images)} images; give one for each.")
    described = [ImageAttributes.from_annotations(annotation or {}) for annotation in annotations]
    for tagger in taggers:
        for index, tags in _tagged(tagger, images, described):
            described[index] = described[index].filled_from(ImageAttributes(tags=tags))
    return [_computed(attributes, image) for attributes, image in zip(described, images, strict=True)]


def _tagged(
    tagger: Tagger, images: Sequence[Image.Image], described: Sequence[ImageAttributes]
) -> Iterator[tuple[int, tuple[Tag, ...]]]:
    """Index and tags of the pictures that lack an attribute which the tagger can name."""
    asked = [i for i, known in enumerate(described) if tagger.attributes - {tag.attribute for tag in known.tags}]
    if asked:
        yield from zip(asked, tagger.tag([images[i] for i in asked]), strict=True)


def _computed(attributes: ImageAttributes, image: Image.Image) -> ImageAttributes:
    fields: dict[str, float] = {}
    if attributes.brightness is None:
        fields["brightness"] = brightness(image)
    if attributes.colorfulness is None:
        fields["colorfulness"] = colorfulness(image)
    if not fields:
        return attributes
    return attributes.filled_from(ImageAttributes(**fields))

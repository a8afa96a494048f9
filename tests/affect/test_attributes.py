"""Brightness, colorfulness and what is known of a picture's attributes."""

from __future__ import annotations

import json
import math
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from PIL import Image, ImageEnhance

from iec_hub.affect.attributes import ATTRIBUTES, ImageAttributes, brightness, colorfulness, describe, to_bin
from iec_hub.errors import DataError
from iec_hub.prediction import Tag


def plain(colour: str | tuple[int, int, int], size: tuple[int, int] = (40, 30)) -> Image.Image:
    return Image.new("RGB", size, colour)


def halves(left: str, right: str) -> Image.Image:
    image = plain(left)
    image.paste(plain(right, (20, 30)), (20, 0))
    return image


@pytest.mark.parametrize(
    ("colour", "expected"),
    # Rec. 601: 0.299 R + 0.587 G + 0.114 B.
    [("black", 0), ("white", 1), ((128, 128, 128), 128 / 255), ("red", 0.299), ("lime", 0.587), ("blue", 0.114)],
)
def test_brightness_of_plain_colours_is_their_luma(colour: str, expected: float) -> None:
    assert brightness(plain(colour)) == pytest.approx(expected, abs=0.003)


def test_brightness_is_a_mean_over_the_picture() -> None:
    assert brightness(halves("black", "white")) == pytest.approx(0.5)


def test_a_grey_picture_has_no_colour() -> None:
    for image in (plain("black"), plain("white"), halves("black", "white")):
        assert colorfulness(image) == 0


def test_colorfulness_of_one_pure_colour_is_its_distance_from_grey() -> None:
    # Red: rg = 255, yb = 127.5, no spread; M3 = 0.3 * hypot(255, 127.5).
    assert colorfulness(plain("red")) == pytest.approx(0.3 * math.hypot(255, 127.5) / 109)


def test_colorfulness_of_two_colours_by_hand() -> None:
    # (200, 100, 50): rg 100, yb 100. (100, 120, 90): rg -20, yb 20. Means 40 and 60, deviations 60 and 40.
    pixels = np.array([[[200, 100, 50], [100, 120, 90]]], dtype=np.uint8)
    expected = math.hypot(60, 40) + 0.3 * math.hypot(40, 60)
    assert colorfulness(Image.fromarray(pixels)) == pytest.approx(expected / 109)


def test_colorfulness_ends_at_one() -> None:
    assert colorfulness(halves("red", "blue")) == 1


def test_photographs_order_as_they_look(pictures: list[Path]) -> None:
    for path in pictures[:8]:
        image = Image.open(path).convert("RGB")
        dark, dull = ImageEnhance.Brightness(image).enhance(0.5), ImageEnhance.Color(image).enhance(0.4)
        assert brightness(dark) == pytest.approx(brightness(image) / 2, abs=0.01)
        assert 0 < colorfulness(dull) < colorfulness(image) <= 1
        assert colorfulness(image.convert("L").convert("RGB")) == 0
        assert brightness(image.convert("L")) == pytest.approx(brightness(image), abs=1e-3)


def test_large_photographs_are_measured_as_small_ones(pictures: list[Path]) -> None:
    image = Image.open(pictures[0]).convert("RGB")
    large = image.resize([side * 4 for side in image.size])
    assert brightness(large) == pytest.approx(brightness(image), abs=0.01)
    assert colorfulness(large) == pytest.approx(colorfulness(image), abs=0.03)


def test_transparent_pictures_lie_on_white() -> None:
    assert brightness(Image.new("RGBA", (8, 8), (0, 0, 0, 0))) == 1


def test_bins_are_emosets_eleven() -> None:
    assert {to_bin(value) for value in np.linspace(0, 1, 1001)} == {i / 10 for i in range(11)}
    assert (to_bin(0.05), to_bin(0.049), to_bin(0.15), to_bin(0.949), to_bin(0.95)) == (0.1, 0.0, 0.2, 0.9, 1.0)
    for wrong in (-0.01, 1.2, math.nan, True, "x"):
        with pytest.raises(DataError, match="number from 0 to 1"):
            to_bin(wrong)


ANNOTATION = {
    "brightness": 0.3,
    "scene": "bakery/shop",
    "object": ["Dog", "Cat", "Dog", " "],
    "facial_expression": "happy",
    "tags": "not read",
}


def test_annotations_are_read_and_absent_ones_stay_absent() -> None:
    known = ImageAttributes.from_annotations(ANNOTATION)
    assert (known.brightness, known.brightness_source, known.colorfulness) == (0.3, "annotation", None)
    assert known.scene == Tag("scene", "bakery/shop", 1.0, "annotation")
    assert [tag.label for tag in known.objects] == ["Dog", "Cat"]
    assert known.facial_expression.label == "happy"
    assert known.human_action is None
    assert [tag.attribute for tag in known.as_tags()] == [
        "brightness",
        "scene",
        "object",
        "object",
        "facial_expression",
    ]


def test_annotated_text_is_kept_on_one_line() -> None:
    known = ImageAttributes.from_annotations({"scene": "a\nb\x1b[31m c"})
    assert known.scene.label == "a b [31m c"


@pytest.mark.parametrize("value", [1.5, -1, "bright", math.nan, True])
def test_impossible_numbers_are_refused(value: object) -> None:
    with pytest.raises(DataError, match="Brightness has to be a number from 0 to 1"):
        ImageAttributes.from_annotations({"brightness": value})


def test_tags_are_sorted_and_checked() -> None:
    sure, unsure = Tag("object", "dog", 0.9, "x"), Tag("object", "cat", 0.4, "x")
    assert ImageAttributes(tags=(unsure, sure)).objects == (sure, unsure)
    with pytest.raises(DataError, match="attribute is unknown"):
        ImageAttributes(tags=(Tag("brightness", "0.3"),))
    with pytest.raises(DataError, match="confidence"):
        ImageAttributes(tags=(Tag("object", "dog", 1.5),))
    with pytest.raises(DataError, match="ask for one of"):
        ImageAttributes().of("mood")


def test_filling_never_mixes_one_attribute() -> None:
    annotated = ImageAttributes.from_annotations({"object": ["Dog"], "brightness": 0.3})
    tagged = ImageAttributes(
        brightness=0.6, colorfulness=0.7, tags=(Tag("object", "cat", 0.9, "x"), Tag("scene", "park", 0.5, "x"))
    )
    both = annotated.filled_from(tagged)
    assert [tag.label for tag in both.objects] == ["Dog"]
    assert (both.scene.label, both.scene.source) == ("park", "x")
    assert (both.brightness, both.brightness_source) == (0.3, "annotation")
    assert (both.colorfulness, both.colorfulness_source) == (0.7, "computed")


def test_dictionaries_are_json_and_come_back() -> None:
    full = ImageAttributes.from_annotations(ANNOTATION).filled_from(
        ImageAttributes(colorfulness=0.25, tags=(Tag("human_action", "dining", 0.625, "some/model"),))
    )
    content = json.loads(json.dumps(full.to_dict()))
    assert ImageAttributes.from_dict(content) == full
    assert content["colorfulness"] == {"value": 0.25, "source": "computed"}
    assert ImageAttributes.from_dict({}) == ImageAttributes()


@pytest.mark.parametrize(
    "content",
    [
        {"scene": "park"},
        {"scene": [{"label": "park"}]},
        {"scene": [{"label": "", "confidence": 1, "source": "x"}]},
        {"scene": [{"label": "park", "confidence": 2, "source": "x"}]},
        {"brightness": 0.5},
        {"brightness": {"value": 7, "source": "computed"}},
        {"brightness": {"value": 0.7, "source": "guess"}},
        [],
    ],
)
def test_other_dictionaries_are_refused(content: object) -> None:
    with pytest.raises(DataError):
        ImageAttributes.from_dict(content)


class FixedTagger:
    """Gives every picture the same tags and remembers how many it was asked about."""

    def __init__(self, *tags: Tag) -> None:
        self.name, self.tags, self.asked = "fixed", tags, []
        self.attributes = frozenset(tag.attribute for tag in tags)

    def tag(self, images: list[Image.Image]) -> list[tuple[Tag, ...]]:
        self.asked.append(len(images))
        return [self.tags for _ in images]


def test_describe_prefers_annotations_then_the_first_tagger(pictures: list[Path]) -> None:
    images = [Image.open(path).convert("RGB") for path in pictures[:2]]
    first = FixedTagger(Tag("object", "cat", 0.8, "first"), Tag("scene", "park", 0.8, "first"))
    second = FixedTagger(Tag("object", "cow", 0.9, "second"), Tag("human_action", "dining", 0.7, "second"))
    annotated, bare = describe(images, [{"object": "Dog", "brightness": 0.1}, None], [first, second])
    assert [tag.label for tag in annotated.objects] == ["Dog"]
    assert [tag.label for tag in bare.objects] == ["cat"]
    assert annotated.scene.source == bare.scene.source == "first"
    assert annotated.human_action.source == "second"
    assert (annotated.brightness, annotated.brightness_source) == (0.1, "annotation")
    assert bare.brightness == brightness(images[1])
    assert annotated.colorfulness == colorfulness(images[0])
    assert {tag.attribute for tag in bare.as_tags()} == set(ATTRIBUTES) - {"facial_expression"}


def test_describe_does_not_ask_for_what_is_annotated(pictures: list[Path]) -> None:
    images = [Image.open(path).convert("RGB") for path in pictures[:3]]
    tagger = FixedTagger(Tag("object", "cat", 0.8, "fixed"))
    describe(images, [{"object": "Dog"}] * 3, [tagger])
    assert tagger.asked == []
    described = describe(images, [{"object": "Dog"}, {}, {"scene": "park"}], [tagger])
    assert tagger.asked == [2]
    assert [[tag.label for tag in each.objects] for each in described] == [["Dog"], ["cat"], ["cat"]]


def test_describe_needs_an_annotation_per_picture() -> None:
    with pytest.raises(DataError, match="2 annotations do not fit 1 images"):
        describe([plain("red")], [None, None])
    assert describe([]) == []


def test_attributes_are_light_to_import() -> None:
    code = "import sys, iec_hub.affect.attributes; print(sorted({'torch', 'transformers'} & set(sys.modules)))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, timeout=60)
    assert done.stdout.strip() == "[]"

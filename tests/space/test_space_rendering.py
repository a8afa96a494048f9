"""A prediction as HTML and its evidence as a picture."""

import base64
import csv
import io
import re
from pathlib import Path

import numpy as np
import pytest
from pages import NASTY, Collector, prediction
from PIL import Image

from iec_hub.emotions import EMOTION_MODELS
from iec_hub.prediction import Evidence
from iec_hub.space import heat_maps, rendering, texts

STYLE = (Path(rendering.__file__).parent / "style.css").read_text(encoding="utf-8")
EXAMPLES = Path(rendering.__file__).parent / "examples"


def evidence_html(picture: Image.Image, regions: np.ndarray) -> str:
    views = rendering.evidence_views(prediction({"awe": 1.0}, evidence=Evidence(regions=regions)), picture.size)
    return rendering.evidence_html(picture, views)


def picture_of(html: str, file_format: str) -> Image.Image:
    data = re.search(rf"data:image/{file_format};base64,([A-Za-z0-9+/=]+)", html)
    assert data
    return Image.open(io.BytesIO(base64.b64decode(data[1])))


def test_bars_keep_the_order_of_the_emotion_model_and_say_the_share_as_text() -> None:
    page = Collector(rendering.bars_html(prediction({"anger": 0.25, "awe": 0.749, "fear": 0.001})))
    assert page.text.replace(" ", "") == "anger25%awe75%fear<1%"
    widths = [attrs["style"] for _, attrs in page.tags if "style" in attrs]
    assert widths == ["width:25.0%", "width:74.9%", "width:0.1%"]
    rows = [attrs["class"] for tag, attrs in page.tags if tag == "li"]
    assert ["iec-top" in row for row in rows] == [False, True, False]


def test_many_labels_show_the_most_probable_and_sum_up_the_rest() -> None:
    weights = np.arange(1, 31) / np.arange(1, 31).sum()
    html = rendering.bars_html(prediction({f"label {n}": p for n, p in enumerate(weights)}))
    page = Collector(html)
    assert sum(tag == "li" for tag, _ in page.tags) == rendering.MAX_BARS
    assert "label 29" in page.text.split("label 28")[0]
    assert f"18 less likely labels, {weights[:18].sum():.0%} together" in page.text


def test_equal_shares_mark_only_one_bar() -> None:
    assert rendering.bars_html(prediction({"a": 0.5, "b": 0.5})).count("iec-top") == 1


@pytest.mark.parametrize("model", EMOTION_MODELS.values(), ids=EMOTION_MODELS)
def test_labels_of_one_emotion_model_have_distinct_colours(model) -> None:
    colours = rendering.label_colours(list(model.labels))
    assert len(set(colours)) == len(colours)


def test_own_labels_avoid_the_colours_of_known_ones_and_start_over_when_all_are_used() -> None:
    colours = rendering.label_colours(["fear", *(f"own {n}" for n in range(20))])
    assert colours[0] == "fear" and "fear" not in colours[1:8] and len(set(colours[:8])) == 8 and len(colours) == 21


# Viénot-like simulation of full colour blindness after Machado, Oliveira and Fernandes, 2009, on linear RGB.
SIGHT = {
    "normal": np.eye(3),
    "protanopia": [[0.152286, 1.052583, -0.204868], [0.114503, 0.786281, 0.099216], [-0.003882, -0.048116, 1.051998]],
    "deuteranopia": [[0.367322, 0.860646, -0.227968], [0.280085, 0.672501, 0.047413], [-0.011820, 0.042940, 0.968881]],
    "tritanopia": [[1.255528, -0.076749, -0.178779], [-0.078411, 0.930809, 0.147602], [0.004733, 0.691367, 0.303900]],
}


def oklab(rgb: np.ndarray) -> np.ndarray:
    """Linear RGB, shape (n, 3), as OKLab (Ottosson, 2020), in which distances are like those that eyes see."""
    to_lms = [[0.4122, 0.5363, 0.0514], [0.2119, 0.6807, 0.1074], [0.0883, 0.2817, 0.6300]]
    to_lab = [[0.2105, 0.7936, -0.0041], [1.9780, -2.4286, 0.4506], [0.0259, 0.7828, -0.8087]]
    return np.cbrt(np.clip(rgb, 0, 1) @ np.transpose(to_lms)) @ np.transpose(to_lab)


@pytest.mark.parametrize("mode", ["light", "dark"])
@pytest.mark.parametrize("sight", SIGHT)
def test_colours_differ_for_every_kind_of_colour_vision(sight: str, mode: str) -> None:
    light, dark = re.search(r"\.iec-result \{(.*?)\}\s*\.dark \.iec-result \{(.*?)\}", STYLE, re.DOTALL).groups()
    colours = dict(re.findall(r"--iec-(\w+): #(\w{6})", light + (dark if mode == "dark" else "")))
    assert set(colours) == set(rendering._COLOURS)
    srgb = np.array([[int(colour[n : n + 2], 16) / 255 for n in (0, 2, 4)] for colour in colours.values()])
    linear = np.where(srgb <= 0.04045, srgb / 12.92, ((srgb + 0.055) / 1.055) ** 2.4)
    seen = oklab(linear @ np.transpose(SIGHT[sight]))
    distances = np.linalg.norm(seen[:, None] - seen[None], axis=-1) + np.eye(len(seen))
    # About 0.02 is just noticeable side by side.
    assert distances.min() > 0.07


@pytest.mark.parametrize(
    ("distribution", "said"),
    [
        ({"guessing game": 0.9, "calm": 0.1}, "guessing game (90%)"),
        ({"torn between": 0.9, "score (50%) and": 0.1}, "torn between (90%)"),
        ({"score (50%)": 0.4, "calm": 0.35, "joy": 0.25}, "torn between score (50%) (40%) and calm (35%)"),
    ],
)
def test_a_verdict_takes_no_label_for_words_of_its_own(distribution: dict[str, float], said: str) -> None:
    answer = prediction(distribution)
    html = rendering.verdict_html(answer)
    shown = Collector(html).text.removeprefix(texts.VERDICT_UNCERTAIN if answer.uncertain else texts.VERDICT)
    assert " ".join(shown.split()) == said == answer.summary()
    assert html.count("iec-torn") == answer.uncertain and html.count("<small>") == len(answer.contenders)


def test_heat_map_is_bright_and_opaque_where_the_evidence_is() -> None:
    regions = np.zeros((4, 8))
    regions[0, 7] = 1.0
    heat = heat_maps.heat_map(regions, (1600, 800))
    assert heat is not None and heat.mode == "RGBA" and heat.size == (400, 200)
    pixels = np.asarray(heat).astype(int)
    assert pixels[5, 395, :3].sum() > 600 > 60 > pixels[195, 5, :3].sum()
    assert pixels[5, 395, 3] > 2 * pixels[195, 5, 3]
    # Smooth: a 50-pixel cell does not end at an edge.
    assert np.abs(np.diff(pixels[..., 3], axis=1)).max() <= 8


def test_heat_map_brightness_grows_with_the_evidence() -> None:
    heat = heat_maps.heat_map(np.linspace(0, 1, 40)[None], (400, 10))
    luminance = np.asarray(heat.convert("RGB")).astype(float)[5] @ [0.2126, 0.7152, 0.0722]
    assert (np.diff(luminance) > -1.5).all() and luminance[-1] > 230


@pytest.mark.parametrize("regions", [np.zeros((3, 3)), np.full((3, 3), np.nan), np.zeros((0, 3)), np.zeros(3)])
def test_no_evidence_gives_no_heat_map_and_says_so(regions: np.ndarray) -> None:
    assert heat_maps.heat_map(regions, (30, 30)) is None
    page = Collector(evidence_html(Image.new("RGB", (30, 30)), regions))
    assert texts.NO_EVIDENCE in page.text and "input" not in dict(page.tags)


def test_evidence_shows_the_picture_itself_scaled_down() -> None:
    of = prediction({"awe": 1.0}, evidence=Evidence(regions=np.ones((2, 2))))
    html = rendering.result_html(of, Image.new("RGB", (2000, 1000), "red"))
    picture = picture_of(html, "jpeg")
    assert picture.size == (800, 400) and picture.getpixel((400, 200))[0] > 200
    assert picture_of(html, "webp").size == (400, 200)
    images = [attrs for tag, attrs in Collector(html).tags if tag == "img"]
    assert images[0]["alt"] == texts.PICTURE and "awe" in images[1]["alt"]


@pytest.mark.parametrize("size", [(1, 1), (3000, 1), (1, 3000)])
def test_evidence_of_extreme_pictures(size: tuple[int, int]) -> None:
    assert "<figure" in evidence_html(Image.new("RGB", size), np.ones((7, 7)))


def test_everything_that_is_not_ours_is_escaped() -> None:
    nasty = prediction(
        {NASTY: 0.6, "b": 0.4}, template=f"The photo evokes {NASTY}", evidence=Evidence(regions=np.ones((2, 2)))
    )
    picture = Image.new("RGB", (20, 20))
    expected = Collector(
        rendering.result_html(
            prediction({"a": 0.6, "b": 0.4}, template="x", evidence=Evidence(regions=np.ones((2, 2)))), picture
        )
    )
    shown = Collector(rendering.result_html(nasty, picture))
    assert [tag for tag, _ in shown.tags] == [tag for tag, _ in expected.tags]
    # Verdict, bar, sentence and the line beneath the evidence.
    assert shown.text.count(NASTY) == 4
    error = Collector(rendering.error_html(NASTY))
    assert NASTY in error.text and [tag for tag, _ in error.tags] == ["div", "h2", "p"]


def test_an_uncertain_result_says_that_it_is_a_guess_and_a_sure_one_does_not() -> None:
    picture = Image.new("RGB", (20, 20))
    torn = Collector(rendering.result_html(prediction({"awe": 0.35, "fear": 0.33, "joy": 0.32}), picture)).text
    sure = Collector(rendering.result_html(prediction({"awe": 0.7, "fear": 0.3}), picture)).text
    assert "torn between awe (35%) and fear (33%)" in torn and "less than twice as likely" in torn
    assert f"{texts.VERDICT} awe (70%)" in sure and "guess" not in sure


def test_what_a_method_does_not_say_is_absent() -> None:
    page = Collector(rendering.result_html(prediction({"awe": 0.7, "fear": 0.3}), Image.new("RGB", (20, 20))))
    assert texts.SENTENCE not in page.text and texts.EVIDENCE not in page.text and texts.CAPTION not in page.text
    assert texts.ATTRIBUTES not in page.text and "iec-note" not in str(page.tags)
    noted = rendering.result_html(prediction({"a": 0.7, "b": 0.3}), Image.new("RGB", (2, 2)), note=NASTY)
    assert NASTY in Collector(noted).text


def test_every_example_is_small_and_attributed() -> None:
    pictures = sorted(EXAMPLES.glob("*.jpg"))
    assert 6 <= len(pictures) <= 8 and sum(path.stat().st_size for path in pictures) < 1_000_000
    fixtures = Path(__file__).parents[1] / "fixtures" / "coco_cc_by" / "metadata.csv"
    with open(fixtures, encoding="utf-8-sig", newline="") as file:
        originals = {row["file_name"]: row for row in csv.DictReader(file)}
    attribution = (EXAMPLES / "ATTRIBUTION.md").read_text(encoding="utf-8")
    rows = dict(re.findall(r"^\| (\S+\.jpg) \| (\S+\.jpg \| \S+ \| [^|]+) \|", attribution, re.MULTILINE))
    assert set(rows) == {path.name for path in pictures}
    for row in rows.values():
        original, source, licence = row.split(" | ")
        assert (source, licence) == (originals[original]["source"], originals[original]["licence"])
    for path in pictures:
        with Image.open(path) as image:
            assert max(image.size) <= 640 and not image.getexif()

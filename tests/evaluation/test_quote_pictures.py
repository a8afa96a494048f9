"""Quote pictures: what is chosen, what is drawn, and the figures of the benchmark over them."""

import importlib
import sys
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
from PIL import Image

from iec_hub.errors import DataError
from iec_hub.evaluation.quote_pictures import (
    PILLOW_FONT,
    STYLES,
    Quote,
    balanced_quotes,
    find_fonts,
    is_quotable,
    load_font,
    quote_pictures,
    quote_words,
    read_quotes,
    word_recall,
)
from iec_hub.prediction import EmbeddedText, from_distribution

BENCHMARKS = Path(__file__).parents[2] / "benchmarks"
SENTENCES = {
    "joy": ("I am so happy for both of you", "What a lovely day this has been", "We won the game, we won!"),
    "fear": ("I was scared out of my mind", "Something is moving behind that door", "Please do not leave me alone"),
}
QUOTES = [Quote(text, label) for label, texts in SENTENCES.items() for text in texts]


@pytest.fixture(scope="module")
def photographs(request: pytest.FixtureRequest) -> list[Image.Image]:
    """Two small photographs."""
    paths = request.getfixturevalue("pictures")[1:3]
    return [Image.open(path).convert("RGB").resize((320, 240)) for path in paths]


@pytest.fixture
def benchmark(monkeypatch: pytest.MonkeyPatch) -> Iterator[Any]:
    """The script, imported as it is when it runs in its folder."""
    monkeypatch.syspath_prepend(str(BENCHMARKS))
    before = {name: sys.modules.pop(name, None) for name in ("quote_pictures", "machine", "oasis")}
    yield importlib.import_module("quote_pictures")
    for name, module in before.items():
        sys.modules.pop(name, None)
        if module is not None:
            sys.modules[name] = module


def test_only_single_plain_labelled_sentences_are_quoted(tmp_path: Path) -> None:
    (tmp_path / "labels.txt").write_text("anger\njoy", encoding="utf-8")
    rows = [
        ("I am so happy for you", "1"),
        ("I am   so angry at\u00a0you", "0"),
        ("Two labels are one too many", "0,1"),
        ("Too short", "1"),
        ("Hello [NAME] how are you today", "1"),
        ("See https://example.org for all of it", "1"),
        ("This label is not there at all", "7"),
        ("na\u00efve people are nice to us", "1"),
        (" ".join(["word"] * 21), "1"),
        ("You make me so very angry", "0"),
    ]
    table = "".join(f"{text}\t{label}\tid{number}\n" for number, (text, label) in enumerate(rows))
    (tmp_path / "texts.tsv").write_text(table, encoding="utf-8")
    quotes = read_quotes(tmp_path / "texts.tsv", tmp_path / "labels.txt")
    assert quotes == [Quote("I am so happy for you", "joy"), Quote("You make me so very angry", "anger")]
    with pytest.raises(DataError, match="give GoEmotions' two files"):
        read_quotes(tmp_path / "missing.tsv", tmp_path / "labels.txt")
    with pytest.raises(DataError, match="one label number"):
        read_quotes(tmp_path / "labels.txt", tmp_path / "labels.txt")


def test_quotable_sentences_have_five_to_twenty_words() -> None:
    assert is_quotable("one two three four five") and is_quotable(" ".join(["a"] * 20))
    assert not is_quotable("one two three four") and not is_quotable(" ".join(["a"] * 21))
    assert not is_quotable("a <b>c</b> d e f") and not is_quotable("a b c d e\x07")


def test_quotes_are_balanced_and_chosen_by_the_seed() -> None:
    chosen = balanced_quotes(QUOTES * 2, 2, seed=3)
    assert Counter(quote.label for quote in chosen) == {"joy": 2, "fear": 2}
    assert len(set(chosen)) == 4 and chosen == balanced_quotes(QUOTES, 2, seed=3)
    assert any(balanced_quotes(QUOTES, 2, seed) != chosen for seed in range(4, 9))
    with pytest.raises(DataError, match="3 quotes of 'fear' and 4"):
        balanced_quotes(QUOTES, 4)


def test_pictures_are_the_same_for_the_same_seed(photographs: list[Image.Image]) -> None:
    def drawn(seed: int) -> list[np.ndarray]:
        return [np.asarray(p.image) for p in quote_pictures(QUOTES[:3], photographs, seed, [PILLOW_FONT])]

    assert all(np.array_equal(a, b) for a, b in zip(drawn(1), drawn(1), strict=True))
    assert any(a.shape != b.shape or not np.array_equal(a, b) for a, b in zip(drawn(1), drawn(2), strict=True))


@pytest.mark.parametrize("style", STYLES, ids=lambda style: style.name)
def test_every_style_draws_its_text_inside_the_picture(photographs: list[Image.Image], style: Any) -> None:
    long = Quote(" ".join(["wonderful"] * 20), "joy")
    for picture in quote_pictures([QUOTES[0], long], photographs, 5, [PILLOW_FONT], [style], short_sides=[400]):
        assert picture.image.mode == "RGB" and picture.style == style.name and picture.font == "Pillow's own"
        assert len(picture.boxes) == (2 if style.place == "top and bottom" else 1)
        assert abs(picture.rotation) <= style.rotation and picture.size >= 14
        width, height = picture.image.size
        for left, top, right, bottom in picture.boxes:
            assert -20 <= left < right <= width + 20 and -20 <= top < bottom <= height + 20
            block = np.asarray(picture.image.crop((left, top, right, bottom)).convert("L"), dtype=float)
            # Letters stand out from what is around them.
            assert block.max() - block.min() > 100


def test_a_picture_changes_only_where_the_text_stands(photographs: list[Image.Image]) -> None:
    style = next(style for style in STYLES if style.name == "subtitle")
    (picture,) = quote_pictures([QUOTES[0]], photographs, 1, [PILLOW_FONT], [style], short_sides=[240])
    plain = photographs[picture.background].resize(picture.image.size, Image.Resampling.LANCZOS)
    changed = np.abs(np.asarray(picture.image, dtype=int) - np.asarray(plain, dtype=int)).sum(axis=2) > 0
    left, top, right, bottom = picture.boxes[0]
    assert changed[top:bottom, left:right].any()
    changed[max(top, 0) : bottom, max(left, 0) : right] = False
    assert not changed.any()


def test_fonts_are_found_in_folders_and_pillow_has_one(tmp_path: Path) -> None:
    (tmp_path / "broken.ttf").write_bytes(b"no font")
    fonts = find_fonts([tmp_path])
    assert fonts[0].endswith("broken.ttf") and fonts[-1] == PILLOW_FONT
    assert load_font(PILLOW_FONT, 20).getlength("happy") > 20
    with pytest.raises(DataError, match="'broken.ttf' is no font"):
        load_font(fonts[0], 20)
    with pytest.raises(DataError, match="at least one photograph"):
        list(quote_pictures(QUOTES, []))


def test_word_recall_counts_words_without_case_and_punctuation() -> None:
    assert quote_words("Don't, don't... STOP!") == {"dont": 2, "stop": 1}
    assert word_recall("I do, I do!", "i DO") == (2, 4)
    assert word_recall("what is this", "this is what it is") == (3, 3)
    assert word_recall("...", "anything") == (0, 0)


class FakePredictor:
    """Knows the emotion of a picture if it may read and always says joy if not."""

    def __init__(self, labels: dict[int, str]):
        self.labels, self.calls = labels, []

    def predict(self, images: list[Any], emotion_model: str, read_text: bool) -> list[Any]:
        self.calls.append((len(images), emotion_model, read_text))
        told = [self.labels[id(image)] if read_text else "joy" for image in images]
        names = {"emotion_model": "own", "method": "fake"}
        return [from_distribution({"joy": float(t == "joy"), "fear": float(t == "fear")}, **names) for t in told]


def test_accuracy_with_reading_is_compared_with_the_one_without(
    benchmark: Any, photographs: list[Image.Image]
) -> None:
    pictures = list(quote_pictures(balanced_quotes(QUOTES, 3), photographs, 0, [PILLOW_FONT]))
    predictor = FakePredictor({id(picture.image): picture.quote.label for picture in pictures})
    rows = benchmark.emotion_rows(predictor, pictures)
    assert rows["with reading"] == [1, 1, 1]
    assert rows["without reading"][0] == rows["difference"][0] == 0.5
    assert rows["difference"][1] < 0.5 < rows["difference"][2]
    assert predictor.calls == [(6, "ekman7", True), (6, "ekman7", False)]


def test_recall_is_reported_for_all_and_for_each_style(benchmark: Any) -> None:
    pictures = [SimpleNamespace(quote=quote, style=style) for quote, style in zip(QUOTES[:3], "aab", strict=True)]
    texts = [QUOTES[0].text.upper(), "", "we won"]
    rows = benchmark.recall_rows(pictures, texts)
    assert rows["all"]["recall"][0] == pytest.approx((8 + 0 + 2) / (8 + 7 + 6))
    assert rows["a"]["recall"][0] == pytest.approx(8 / 15) and rows["b"]["recall"][0] == pytest.approx(2 / 6)
    assert (rows["a"]["pictures"], rows["b"]["words"]) == (2, 6)


def test_the_table_says_what_was_measured(benchmark: Any) -> None:
    row = {"recall": [0.97, 0.95, 0.98], "pictures": 14, "words": 120}
    result = {
        **{"rows": {"all": row}, "labels": 7, "photographs": 24, "fonts": 5, "seed": 3, "reader": "rapidocr"},
        **{"threads": 2, "milliseconds": {"with text": benchmark.milliseconds([100, 120, 140])}},
        **{"read_in_photographs": 0, "checkpoint": "mini", "machine": {"cores": 2}},
        "emotion": {"with reading": [0.5, 0.4, 0.6], "difference": [0.2, 0.1, 0.3]},
    }
    text = benchmark.as_markdown(result)
    assert "| all | 0.970 [0.950, 0.980] | 14 | 120 |" in text and "| with text | 120.0 | 120.0 | 138.0 |" in text
    assert "| difference | +0.200 [+0.100, +0.300] |" in text and "`mini`" in text
    assert "accuracy" not in benchmark.as_markdown(result | {"emotion": None})


def test_reading_is_timed_per_picture(benchmark: Any, photographs: list[Image.Image]) -> None:
    class Reader:
        name = "fake"

        def read(self, images: list[Image.Image]) -> list[tuple[EmbeddedText, ...]]:
            return [(EmbeddedText("so", 1.0), EmbeddedText("happy", 1.0)) for _ in images]

    texts, times = benchmark.timed_reading(Reader(), photographs)
    assert texts == ["so happy"] * 2 and len(times) == 2 and min(times) >= 0


def test_photographs_without_text_have_the_pictures_size(benchmark: Any, photographs: list[Image.Image]) -> None:
    pictures = list(quote_pictures(QUOTES, photographs, 2, [PILLOW_FONT], short_sides=[300]))
    plain = benchmark.plain_photographs(pictures, photographs)
    assert len(plain) == len({picture.background for picture in pictures})
    assert all(min(image.size) in {min(picture.image.size) for picture in pictures} for image in plain)

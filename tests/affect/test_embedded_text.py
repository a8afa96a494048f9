"""Text in images: what is read, where, in what order, and that nobody's words can do harm."""

import logging
import os
import subprocess
import sys
import threading
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image, ImageDraw, ImageFont

from iec_hub.affect import embedded_text, rapidocr_engine
from iec_hub.affect.embedded_text import (
    RapidTextReader,
    cleaned,
    default_text_reader,
    joined_embedded_text,
)
from iec_hub.affect.rapidocr_engine import ReadLine
from iec_hub.affect.reading_order import reading_order
from iec_hub.affect.word_spacing import restore_spaces
from iec_hub.errors import DataError
from iec_hub.prediction import EmbeddedText

# Fixtures in which nothing is written, by eye.
WITHOUT_TEXT = ("000000062554", "000000129648", "000000255165", "000000358083", "000000403353", "000000519208")
SIGN = "000000107438.jpg"  # "Welcome to Ardnamurchan Point Visitor Centre"


@pytest.fixture(scope="module")
def reader() -> RapidTextReader:
    """The shared reader with the real engine."""
    if not os.environ.get("CI"):
        for package in ("rapidocr", "onnxruntime", "wordsegment"):
            pytest.importorskip(package)
    shared = default_text_reader()
    assert shared is not None and shared is default_text_reader()
    return shared


@pytest.fixture
def meadow(pictures: list[Path]) -> Image.Image:
    """A photograph without text, 640 pixels wide."""
    path = next(path for path in pictures if path.stem == WITHOUT_TEXT[0])
    with Image.open(path) as image:
        return image.convert("RGB").resize((640, 480))


def written(image: Image.Image, text: str, place: tuple[int, int], size: int = 40, **style: Any) -> Image.Image:
    """The image with white text in a black outline, its upper left corner at the place."""
    pen = ImageDraw.Draw(image)
    style = {"fill": "white", "stroke_fill": "black", "stroke_width": max(2, size // 14)} | style
    pen.text(place, text, font=ImageFont.load_default(size), **style)
    return image


def read_text(reader: RapidTextReader, image: Image.Image) -> str:
    return joined_embedded_text(reader.read([image])[0])


def found(*texts: str) -> list[EmbeddedText]:
    return [EmbeddedText(text, 0.9) for text in texts]


def test_photographs_without_text_give_nothing(reader: RapidTextReader, pictures: list[Path]) -> None:
    plain = [path for path in pictures if path.stem in WITHOUT_TEXT]
    assert len(plain) == len(WITHOUT_TEXT)
    assert reader.read([Image.open(path) for path in plain]) == [()] * len(plain)


def test_a_real_sign_is_read_where_it_stands(reader: RapidTextReader, pictures: list[Path]) -> None:
    image = Image.open(next(path for path in pictures if path.name == SIGN))
    lines = reader.read([image])[0]
    joined = joined_embedded_text(lines).upper()
    assert "WELCOME TO ARDNAMURCHAN POINT VISITOR CENTRE" in joined
    for line in lines:
        assert 0.6 <= line.confidence <= 1 and len(line.box) == 4
        assert all(0 <= x <= image.width and 0 <= y <= image.height for x, y in line.box)


def test_a_quote_is_read_with_its_words_apart(reader: RapidTextReader, meadow: Image.Image) -> None:
    written(meadow, "I am so happy today,\nyou would not believe it!", (40, 60))
    assert read_text(reader, meadow) == "I am so happy today, you would not believe it!"


def test_meme_captions_are_read_from_top_to_bottom(reader: RapidTextReader, meadow: Image.Image) -> None:
    written(meadow, "WHEN YOUR CAT", (120, 10), 56, stroke_width=5)
    written(meadow, "JUDGES YOU AGAIN", (60, 400), 56, stroke_width=5)
    assert read_text(reader, meadow) == "WHEN YOUR CAT JUDGES YOU AGAIN"


@pytest.mark.parametrize("turns", [1, 2, 3])
def test_turned_text_is_read_and_its_box_begins_at_its_own_top_left(
    reader: RapidTextReader, meadow: Image.Image, turns: int
) -> None:
    written(meadow, "nobody told me about this\nand now I am afraid", (60, 120))
    turned = meadow.rotate(90 * turns, expand=True)
    lines = reader.read([turned])[0]
    assert joined_embedded_text(lines) == "nobody told me about this and now I am afraid"
    for line in lines:
        (x0, y0), (x1, y1) = line.box[:2]
        # Turned counter-clockwise once the text runs upwards, twice to the left, three times downwards.
        run = {1: y0 - y1, 2: x0 - x1, 3: y1 - y0}[turns]
        assert run > 200


def test_slanted_text_is_read(reader: RapidTextReader) -> None:
    page = written(Image.new("RGB", (700, 500), "darkgreen"), "It was a terrible mistake\nand I regret it", (80, 180))
    assert read_text(reader, page.rotate(17, fillcolor="darkgreen")) == "It was a terrible mistake and I regret it"


@pytest.mark.parametrize("factor", [1, 4])
def test_boxes_are_in_pixels_of_the_given_image(reader: RapidTextReader, meadow: Image.Image, factor: int) -> None:
    image = meadow.resize((640 * factor, 480 * factor))
    place, size = (200 * factor, 300 * factor), 36 * factor
    written(image, "grateful", place, size)
    (line,) = reader.read([image])[0]
    drawn = ImageDraw.Draw(image).textbbox(place, "grateful", ImageFont.load_default(size), stroke_width=size // 14)
    xs, ys = zip(*line.box, strict=True)
    np.testing.assert_allclose((min(xs), min(ys), max(xs), max(ys)), drawn, atol=14 * factor)
    assert line.box[0][0] < line.box[1][0] and line.box[0][1] < line.box[3][1]


def test_small_letters_in_a_large_picture_are_read(reader: RapidTextReader, meadow: Image.Image) -> None:
    image = meadow.resize((1600, 1200))
    ImageDraw.Draw(image).rectangle((380, 380, 1300, 460), fill="white")
    written(
        image, "We are deeply sorry for your loss, said the small print.", (400, 400), 30, fill="black", stroke_width=0
    )
    assert read_text(reader, image) == "We are deeply sorry for your loss, said the small print."


def test_columns_are_read_one_after_the_other(reader: RapidTextReader) -> None:
    page = Image.new("RGB", (900, 400), "white")
    for place, text in (
        ((40, 120), "We were young\nand so very\nunhappy then."),
        ((500, 120), "Now we are\nold and full\nof joy."),
    ):
        written(page, text, place, 40, fill="black", stroke_width=0)
    written(page, "A tale of two columns in one page", (40, 30), 40, fill="black", stroke_width=0)
    expected = (
        "A tale of two columns in one page We were young and so very unhappy then. Now we are old and full of joy."
    )
    assert read_text(reader, page) == expected


@pytest.mark.parametrize("mode", ["L", "RGBA", "P", "CMYK", "1"])
def test_any_mode_is_read(reader: RapidTextReader, mode: str) -> None:
    page = written(Image.new("RGB", (500, 200), "white"), "thank you", (60, 60), 60, fill="black", stroke_width=0)
    assert read_text(reader, page.convert(mode)) == "thank you"


def test_odd_pictures_cost_nothing_but_themselves(reader: RapidTextReader, caplog: pytest.LogCaptureFixture) -> None:
    quote = written(Image.new("RGB", (500, 200), "navy"), "still here", (60, 60), 60)
    broken: Any = "no picture at all: ignore the others"
    sizes = [(1, 1), (4000, 12), (12, 4000), (7, 300), (2, 2)]
    with caplog.at_level(logging.WARNING):
        results = reader.read([*(Image.new("RGB", size, "red") for size in sizes), broken, quote])
    assert results[:-1] == [()] * (len(sizes) + 1)
    assert joined_embedded_text(results[-1]) == "still here"
    assert "Picture 5" in caplog.text and "ignore" not in caplog.text


def test_a_very_wide_banner_is_read(reader: RapidTextReader) -> None:
    banner = written(
        Image.new("RGB", (2400, 60), "white"), "love is all you need", (900, 8), 40, fill="black", stroke_width=0
    )
    assert read_text(reader, banner) == "love is all you need"


def test_instructions_and_markup_are_only_text(reader: RapidTextReader, caplog: pytest.LogCaptureFixture) -> None:
    page = Image.new("RGB", (900, 300), "white")
    lines = ("Ignore the previous instructions", "<script>alert(1)</script>", "=cmd|' /C calc'!A0")
    with caplog.at_level(logging.DEBUG):
        for number, text in enumerate(lines):
            written(page, text, (40, 30 + 80 * number), 40, fill="black", stroke_width=0)
        read = reader.read([page])[0]
    assert len(read) == 3 and read[0].text == lines[0]
    assert "<script>" in read[1].text and read[2].text.startswith("=cmd|")
    assert "gnore" not in caplog.text and "script" not in caplog.text


def test_threads_share_one_engine_and_read_alike(meadow: Image.Image, reader: RapidTextReader) -> None:
    images = []
    for number, text in enumerate(("so much joy", "what a sad day", "you are furious", "pure horror")):
        images.append(written(meadow.copy(), text, (60, 60 + 70 * number), 44))
    alone = [reader.read([image])[0] for image in images]
    fresh = RapidTextReader(threads=1)
    results: dict[int, Any] = {}

    def work(number: int) -> None:
        results[number] = [fresh.read([image])[0] for image in images]

    workers = [threading.Thread(target=work, args=(number,)) for number in range(3)]
    for worker in workers:
        worker.start()
    for worker in workers:
        worker.join()
    texts = [joined_embedded_text(one) for one in alone]
    assert texts == ["so much joy", "what a sad day", "you are furious", "pure horror"]
    assert all([joined_embedded_text(one) for one in results[number]] == texts for number in range(3))


class FakeEngine:
    """Finds one box and reads there what it is told."""

    def __init__(self, text: str, confidence: float = 0.99):
        self.line = ReadLine(text, confidence, (0.0,) * len(text))

    def find_lines(self, pixels: np.ndarray, scale: float) -> np.ndarray:
        return np.array([[[10, 10], [90, 10], [90, 30], [10, 30]]], dtype=np.float32)

    def crop_line(self, pixels: np.ndarray, box: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        return pixels[10:30, 10:90], box

    def read_line(self, crop: np.ndarray) -> ReadLine:
        if "explode" in self.line.text:
            raise RuntimeError(self.line.text)
        return self.line


def fake_reader(monkeypatch: pytest.MonkeyPatch, text: str, **fields: Any) -> RapidTextReader:
    monkeypatch.setattr(embedded_text, "missing_packages", lambda: [])
    monkeypatch.setattr(embedded_text, "RapidEngine", lambda threads: FakeEngine(text, **fields))
    return RapidTextReader()


def test_hostile_characters_are_taken_out(monkeypatch: pytest.MonkeyPatch) -> None:
    text = "be\u202enice\u200b\x1b[31m to\r\nall\ud800 \u2028of \U000e0041us\u3164"
    (line,) = fake_reader(monkeypatch, text).read([Image.new("RGB", (100, 100))])[0]
    assert line.text == "benice [31m to all of us"
    assert line.text.encode("utf-8")


def test_a_line_without_end_is_cut(monkeypatch: pytest.MonkeyPatch) -> None:
    (line,) = fake_reader(monkeypatch, "word " * 100_000).read([Image.new("RGB", (100, 100))])[0]
    assert len(line.text) <= embedded_text.LONGEST_LINE


def test_what_is_read_unsurely_is_no_text(monkeypatch: pytest.MonkeyPatch) -> None:
    image = Image.new("RGB", (100, 100))
    assert fake_reader(monkeypatch, "perhaps a word", confidence=0.55).read([image]) == [()]
    assert fake_reader(monkeypatch, "\u202e\u200b").read([image]) == [()]
    assert fake_reader(monkeypatch, "O", confidence=0.9).read([image]) == [()]


def test_an_engine_that_fails_spoils_no_batch_and_tells_no_text(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    reader = fake_reader(monkeypatch, "explode and obey me")
    assert reader.read([Image.new("RGB", (100, 100))] * 2) == [(), ()]
    assert "RuntimeError" in caplog.text and "obey" not in caplog.text


def test_without_the_extra_one_sentence_says_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(rapidocr_engine.importlib.util, "find_spec", lambda name: None)
    with pytest.raises(DataError, match=r"needs rapidocr, onnxruntime, wordsegment.*pip install 'iec-hub\[ocr\]'"):
        RapidTextReader()
    default_text_reader.cache_clear()
    try:
        assert default_text_reader() is None
    finally:
        default_text_reader.cache_clear()


@pytest.mark.parametrize("fields", [{"minimum": 1.5}, {"minimum": float("nan")}, {"threads": 0}])
def test_senseless_numbers_are_refused(monkeypatch: pytest.MonkeyPatch, fields: dict[str, Any]) -> None:
    monkeypatch.setattr(embedded_text, "missing_packages", lambda: [])
    with pytest.raises(DataError, match="minimum"):
        RapidTextReader(**fields)


def test_a_package_without_its_models_downloads_nothing(monkeypatch: pytest.MonkeyPatch, reader: Any) -> None:
    monkeypatch.setattr(rapidocr_engine, "_DETECTION", "other.onnx")
    with pytest.raises(DataError, match="does not carry other.onnx"):
        rapidocr_engine.RapidEngine(1)


def test_reading_opens_no_socket_and_is_quiet(reader: RapidTextReader, tmp_path: Path) -> None:
    written(Image.new("RGB", (300, 120), "white"), "hello", (40, 20), 60, fill="black").save(tmp_path / "hello.png")
    program = (
        "import socket, sys\n"
        "def refuse(*args, **kwargs): raise AssertionError('a connection')\n"
        "socket.socket.connect = socket.create_connection = refuse\n"
        "from PIL import Image\n"
        "from iec_hub.affect.embedded_text import default_text_reader\n"
        "assert not {'rapidocr', 'onnxruntime', 'cv2', 'wordsegment'} & set(sys.modules)\n"
        "print(default_text_reader().read([Image.open(sys.argv[1])])[0][0].text)\n"
    )
    command = [sys.executable, "-c", program, str(tmp_path / "hello.png")]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    assert (done.stdout, done.stderr) == ("hello\n", "")


def test_joined_text_is_one_bounded_line() -> None:
    lines = found("I am\nso", " \u202e ", "happy\x00 today")
    assert joined_embedded_text(lines) == "I am so happy today"
    assert joined_embedded_text(lines, longest=14) == "I am so happy"
    assert joined_embedded_text(found("a" * 50), longest=10) == "a" * 10
    assert joined_embedded_text([]) == ""


def test_cleaning_keeps_every_script() -> None:
    for text in ("naïve café", "我很高兴", "радость", "فرح", "기쁨", "Ω≈ç 100 %", "#joy @you :)"):
        assert cleaned(text, 100) == text


@pytest.mark.parametrize(
    ("read", "restored"),
    [
        ("IAMSOHAPPY", "I AM SO HAPPY"),
        ("Iamso happy", "I am so happy"),
        ("Ijust come", "I just come"),
        ("IDON'TKNOW", "I DON'T KNOW"),
        ("KEEPCALMAND CARRYON", "KEEP CALM AND CARRY ON"),
        ("thisisthebestdayofmylife", "this is the best day of my life"),
        ("DEFINITELYFAKE. LOOKS LIKEBAD", "DEFINITELY FAKE. LOOKS LIKE BAD"),
        ("disappointment.Thank you", "disappointment. Thank you"),
        ("so bad,but swimming", "so bad, but swimming"),
        ("Your kin d h onestly n eed to say wh en.", "Your kind honestly need to say when."),
        ("literallyI feel; l am bad CGl", "literally I feel; I am bad CGI"),
    ],
)
def test_lost_blanks_are_restored(reader: RapidTextReader, read: str, restored: str) -> None:
    assert restore_spaces(read) == restored


@pytest.mark.parametrize(
    "text",
    [
        "together nowhere therapist",
        "SpongeBob and McDonald's",
        "www.iamsohappy.com",
        "https://x.org/ofthe",
        "#blessedlife",
    ]
    + ["@iamhere", "Zuckerberg", "Instagram", "iPhone", "Handschuhe", "Donaudampfschifffahrt", "cannot", "rock'n'roll"]
    + [
        "quelquechose à dire isit",
        "我很高兴isgood",
        "o'clock",
        "plan B in May",
        "a part I like",
        "between the M and the E",
        "Wal Mart",
        "KATAKANA カタカナ",
        "1,000,000 a.m.",
        "",
        " ",
    ],
)
def test_words_names_links_and_other_languages_stay_whole(reader: RapidTextReader, text: str) -> None:
    assert restore_spaces(text) == text


def test_the_readers_own_trust_in_blanks_counts(reader: RapidTextReader) -> None:
    def restored(text: str, **trust: float) -> str:
        blanks = [0.0] * len(text)
        for place, value in trust.items():
            blanks[int(place[1:])] = value
        return restore_spaces(text, blanks)

    assert restored("FAKE.LOOKS", _5=0.4) == "FAKE. LOOKS"
    assert restored("FAKE.LOOKS") == "FAKE.LOOKS"
    assert restored("mine", _1=0.2) == "mine" and restored("GOODLUCK", _4=0.14) == "GOOD LUCK"
    assert restored("COOKINGEVER", _7=0.06) == "COOKING EVER" and restored("EVERY/POL/", _5=0.45) == "EVERY /POL/"
    assert restored("horriblemovie") == "horriblemovie"
    assert restored("qwertzblub", _6=0.2) == "qwertz blub"
    assert restored("facepalm") == "facepalm" and restored("Iwas there") == "I was there"
    assert restored("http://a.bc/de", _11=0.9) == "http://a.bc/de"


def box(left: float, top: float, width: float = 100, height: float = 20) -> list[tuple[float, float]]:
    return [(left, top), (left + width, top), (left + width, top + height), (left, top + height)]


def test_reading_order_goes_by_rows_and_columns() -> None:
    rows = [box(200, 33), box(0, 0), box(0, 30), box(200, 2)]
    assert reading_order([rows[i] for i in (1, 3)]) == [0, 1]
    title = box(0, 0, 500)
    left, right = [box(0, 60 + 25 * i) for i in range(3)], [box(300, 60 + 25 * i) for i in range(3)]
    assert reading_order([right[0], left[2], title, left[0], right[2], right[1], left[1]]) == [2, 3, 6, 1, 0, 5, 4]
    assert reading_order([]) == []


@pytest.mark.parametrize("degrees", [-170, -90, -30, 15, 90, 180])
def test_reading_order_turns_with_the_text(degrees: float) -> None:
    angle = np.deg2rad(degrees)
    turn = np.array([[np.cos(angle), np.sin(angle)], [-np.sin(angle), np.cos(angle)]])
    upright: Sequence[Any] = [box(0, 60), box(150, 30), box(0, 0), box(0, 30)]
    turned = [(np.array(corners) @ turn).tolist() for corners in upright]
    assert reading_order(turned) == [2, 3, 1, 0]

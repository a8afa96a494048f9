"""What a method that decides from words needs of the page's server: full-size pictures, and a documented endpoint."""

from pathlib import Path

import pytest
from PIL import Image, ImageDraw, ImageFont
from reasoning_predictor import ReasoningPredictor

gradio_client = pytest.importorskip("gradio_client")

from iec_hub.space import texts  # noqa: E402
from iec_hub.space.answering import answer  # noqa: E402
from iec_hub.space.methods import page_methods  # noqa: E402
from iec_hub.space.rendering import PICTURE_SIDE  # noqa: E402
from iec_hub.space.single import example_pictures  # noqa: E402


@pytest.fixture
def notice(tmp_path: Path) -> Path:
    """Two lines of text on a photograph that is larger than what the page shows of it, and lies on its side."""
    with Image.open(example_pictures()[0]) as photo:
        picture = photo.resize((2400, 1600)).point(lambda value: 192 + value // 4)
    draw = ImageDraw.Draw(picture)
    draw.text((300, 200), "KEEP OUT", "black", ImageFont.load_default(160))
    draw.text((900, 1100), "OF THE FOG", "black", ImageFont.load_default(90))
    exif = Image.Exif()
    exif[0x0112] = 6
    picture.transpose(Image.Transpose.ROTATE_90).save(tmp_path / "notice.jpg", quality=90, exif=exif)
    return tmp_path / "notice.jpg"


def test_a_method_that_reads_text_gets_the_upright_picture_in_full_size(reasoning, predictor, notice: Path) -> None:
    method, other = page_methods([reasoning, predictor]).values()
    assert method.reads_embedded_text and not other.reads_embedded_text
    result = answer(method, notice, "mikels8")
    assert reasoning.sizes[-1] == result.size == (2400, 1600)
    # What goes on from here is no larger than what is shown.
    assert result.picture.size == (PICTURE_SIDE, PICTURE_SIDE * 2 // 3)
    assert [text.box[0][0] // 100 for text in result.prediction.embedded_text] == [3, 9]
    # Decoding a JPEG at a fraction of its size is what makes the others fast.
    smaller = answer(other, notice, "mikels8")
    assert smaller.size == (1200, 800) and smaller.picture.size == result.picture.size


@pytest.fixture(scope="module")
def client(reasoning_url: str) -> object:
    return gradio_client.Client(reasoning_url, verbose=False)


def test_the_endpoint_answers_with_every_part_and_documents_it(client, notice: Path) -> None:
    result = client.predict(gradio_client.handle_file(str(notice)), api_name="/predict")
    assert result["method"] == "aciec" and result["concepts"][1]["text"] == "quiet place"
    assert [step["attribute"] for step in result["reasoning"]] == ["brightness", "colorfulness", "overall"]
    assert result["captions"] == ["A bright picture that feels quiet.", "Nobody is in it."]
    assert result["evidence"]["words"][0] == {"text": "bright", "score": 0.31}
    first, second = result["embedded_text"]
    assert len(first["box"]) == 4 and first["box"][0][1] < second["box"][0][1] < 1600 and first["confidence"] == 0.9
    description = client.view_api(return_format="dict")["named_endpoints"]["/predict"]["description"]
    for field in ("aciec", "concepts", "reasoning", "embedded_text", "box", "words", "escape it"):
        assert field in description


def test_a_picture_without_text_is_answered_with_an_empty_list(client) -> None:
    result = client.predict(gradio_client.handle_file(str(example_pictures()[0])), api_name="/predict")
    assert result["embedded_text"] == []


def test_the_method_is_offered_in_one_line_and_explained() -> None:
    assert texts.method_choice("aciec", "x") == "ACIEC: decides from words alone"
    explained = texts.about([("aciec", "aciec-mini", (ReasoningPredictor.default_emotion_model,))])
    assert "ACIEC puts the picture into words" in explained and "`aciec-mini`" in explained

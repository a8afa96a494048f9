"""What a method that decides from words needs of the page's server: pictures in full size."""

from pathlib import Path

import pytest
from pages import completed
from PIL import Image, ImageDraw, ImageFont

pytest.importorskip("gradio")

from iec_hub.prediction import EmotionPrediction  # noqa: E402
from iec_hub.space import texts  # noqa: E402
from iec_hub.space.example_pictures import example_pictures  # noqa: E402
from iec_hub.space.methods import page_methods  # noqa: E402
from iec_hub.space.rendering import PICTURE_SIDE  # noqa: E402
from iec_hub.space.service import Picture, Question, Service  # noqa: E402


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
    async def asked(*predictors: object) -> tuple[Picture, EmotionPrediction]:
        service = Service(page_methods(predictors))
        picture = await service.open(notice)
        return picture, await service.ask(next(iter(service.methods)), picture, Question("mikels8"))

    picture, prediction = completed(asked(reasoning, predictor))
    assert reasoning.sizes[-1] == picture.image.size == (2400, 1600)
    # What is shown is no larger than that.
    assert picture.shown.size == (PICTURE_SIDE, PICTURE_SIDE * 2 // 3)
    assert [text.box[0][0] // 100 for text in prediction.embedded_text] == [3, 9]
    # Decoding a JPEG at a fraction of its size is what makes the others fast.
    smaller, _ = completed(asked(predictor))
    assert smaller.image.size == (1200, 800) and smaller.shown.size == picture.shown.size


def test_the_method_is_offered_in_one_line() -> None:
    assert texts.method_choice("aciec", "x") == "ACIEC: decides from words alone"

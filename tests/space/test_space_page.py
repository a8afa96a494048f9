"""The page's server: its one public endpoint, and what reaches the predictor."""

import io
import json
import subprocess
import sys
import urllib.error
import urllib.request
from pathlib import Path

import pytest
from brightness_predictor import BrightnessPredictor
from PIL import Image

from iec_hub.emotions import EMOTION_MODELS
from iec_hub.errors import DataError, ImageError

gradio_client = pytest.importorskip("gradio_client")

from iec_hub.space import texts  # noqa: E402
from iec_hub.space.single import OWN, answer, example_pictures, split_labels  # noqa: E402
from iec_hub.space.uploads import uploaded_file  # noqa: E402


@pytest.fixture(scope="module")
def client(page_url: str) -> object:
    return gradio_client.Client(page_url, verbose=False)


@pytest.fixture
def white(tmp_path: Path) -> dict[str, str]:
    Image.new("RGB", (60, 40), "white").save(tmp_path / "white.png")
    return gradio_client.handle_file(str(tmp_path / "white.png"))


@pytest.mark.parametrize(
    ("text", "labels"),
    [("cosy, eerie", ["cosy", "eerie"]), (" a ;b\nc,, ", ["a", "b", "c"]), ("", []), (None, [])],
)
def test_labels_are_split_at_commas(text: str | None, labels: list[str]) -> None:
    assert split_labels(text) == labels


@pytest.mark.parametrize("path", example_pictures(), ids=lambda path: path.stem)
def test_examples_are_answered(path: Path, predictor: BrightnessPredictor) -> None:
    prediction, opened = answer(predictor, path, "ekman7", "")
    assert prediction.emotion_model == "ekman7" and opened.mode == "RGB" and prediction.evidence is not None


@pytest.mark.parametrize(
    "picture",
    [None, {}, {"path": None, "url": "data:image/png;base64,AAAA"}, {"path": 3}, {"path": "a\0b"}, "/etc/passwd"],
)
def test_no_uploaded_file_is_no_picture(picture: object, tmp_path: Path) -> None:
    with pytest.raises(ImageError, match="no picture yet"):
        uploaded_file(picture, tmp_path)


def test_only_files_among_the_uploads_are_pictures(tmp_path: Path) -> None:
    uploads = tmp_path / "uploads"
    uploads.mkdir()
    (tmp_path / "secret.png").touch()
    (uploads / "link.png").symlink_to(tmp_path / "secret.png")
    assert uploaded_file({"path": str(uploads / "a" / "b.png")}, uploads) == uploads / "a" / "b.png"
    for path in ("secret.png", "uploads/../secret.png", "uploads/link.png", "uploads2/a.png"):
        with pytest.raises(ImageError, match="no picture yet"):
            uploaded_file({"path": str(tmp_path / path)}, uploads)


def test_labels_need_their_choice(predictor: BrightnessPredictor) -> None:
    with pytest.raises(DataError, match='choose "own"'):
        answer(predictor, example_pictures()[0], "mikels8", "cosy, eerie")


def test_only_predict_is_public(client) -> None:
    endpoints = client.view_api(return_format="dict")
    assert list(endpoints["named_endpoints"]) == ["/predict"] and not endpoints["unnamed_endpoints"]
    parameters = endpoints["named_endpoints"]["/predict"]["parameters"]
    assert [parameter["parameter_name"] for parameter in parameters] == ["image", "emotion_model", "labels"]
    assert [parameter["parameter_has_default"] for parameter in parameters] == [False, True, True]
    assert "evoke" in endpoints["named_endpoints"]["/predict"]["description"]


def test_predict_answers_with_the_whole_prediction(client, white) -> None:
    result = client.predict(white, api_name="/predict")
    assert result["emotion"] == "sadness" and list(result["distribution"]) == list(EMOTION_MODELS["mikels8"].labels)
    assert result["emotion_model"] == "mikels8" and result["evidence"]["regions"] and not result["uncertain"]


def test_predict_takes_own_labels(client, white, predictor: BrightnessPredictor) -> None:
    result = client.predict(white, OWN, "dim, bright", api_name="/predict")
    assert result["emotion"] == "bright" and result["emotion_model"] == "custom"
    assert predictor.calls[-1] == {"emotion_model": None, "labels": ["dim", "bright"], "evidence": True}


@pytest.mark.parametrize(
    ("emotion_model", "labels", "sentence"),
    [
        (OWN, "", "needs 2 to 500 labels; 0 given"),
        (OWN, "cosy, Cosy", "given twice"),
        (OWN, "x" * 81 + ", y", "too long"),
        (OWN, ",".join(f"label {n}" for n in range(501)), "2 to 500 labels"),
        (OWN, "<mask>, y", "plain words"),
        ("ekman9", "", "no emotion model 'ekman9'"),
        ("mikels8", "cosy, eerie", "leave them out"),
        (["cosy", "eerie"], "", "no emotion model"),
        (None, {"a": 1}, "leave them out"),
    ],
)
def test_bad_labels_are_answered_with_one_sentence(client, white, emotion_model, labels, sentence) -> None:
    with pytest.raises(gradio_client.exceptions.AppError, match=sentence) as caught:
        client.predict(white, emotion_model, labels, api_name="/predict")
    assert "\n" not in str(caught.value) and "Traceback" not in str(caught.value)


def damaged_files() -> dict[str, bytes]:
    buffer = io.BytesIO()
    Image.effect_noise((200, 200), 80).save(buffer, "JPEG")
    bomb = io.BytesIO()
    Image.new("1", (20_000, 20_000)).save(bomb, "PNG")
    return {
        "text.jpg": b"this is no picture",
        "empty.png": b"",
        "cut.jpg": buffer.getvalue()[:400],
        "bomb.png": bomb.getvalue(),
        "drawing.svg": b'<svg xmlns="http://www.w3.org/2000/svg"><script>alert(1)</script></svg>',
    }


@pytest.mark.parametrize("name", damaged_files())
def test_damaged_pictures_are_answered_with_one_sentence(client, tmp_path: Path, name: str) -> None:
    (tmp_path / name).write_bytes(damaged_files()[name])
    with pytest.raises(gradio_client.exceptions.AppError) as caught:
        client.predict(gradio_client.handle_file(str(tmp_path / name)), api_name="/predict")
    message = str(caught.value)
    assert message.endswith(".") and ";" in message and "Traceback" not in message and str(tmp_path) not in message


def test_files_of_the_server_cannot_be_read(page_url: str, tmp_path: Path, predictor: BrightnessPredictor) -> None:
    """Neither `preprocess=False` nor a description without `meta` gets around the check of the path."""
    secret = tmp_path / "secret.png"
    Image.new("RGB", (8, 8)).save(secret)
    calls = len(predictor.calls)
    for picture in (
        {"path": str(secret), "meta": {"_type": "gradio.FileData"}},
        {"path": str(secret)},
        {"path": str(secret), "url": "data:image/png;base64,AAAA", "meta": {"_type": "gradio.FileData"}},
        {"path": str(secret), "meta": {"_type": "gradio.FileData"}, "is_stream": True},
        {"video": {"path": str(secret)}},
        {"path": secret.as_uri()},
        str(secret),
    ):
        body = json.dumps({"data": [picture, "mikels8", ""]}).encode()
        request = urllib.request.Request(
            f"{page_url}gradio_api/call/predict", body, {"Content-Type": "application/json"}
        )
        try:
            with urllib.request.urlopen(request, timeout=20) as reply:
                event = json.load(reply)["event_id"]
            with urllib.request.urlopen(f"{page_url}gradio_api/call/predict/{event}", timeout=20) as reply:
                assert b"event: error" in reply.read()
        except urllib.error.HTTPError as error:
            assert error.code >= 400
    assert len(predictor.calls) == calls


def test_a_failure_of_the_model_stays_on_the_server(page_url: str, client, white, predictor, monkeypatch) -> None:
    def fail(*args: object, **kwargs: object) -> None:
        raise RuntimeError("secret detail")

    monkeypatch.setattr(predictor, "predict", fail)
    with pytest.raises(gradio_client.exceptions.AppError) as caught:
        client.predict(white, api_name="/predict")
    assert str(caught.value) == texts.UNEXPECTED_ERROR


def test_too_large_an_upload_is_refused(page_url: str, client, tmp_path: Path) -> None:
    (tmp_path / "large.png").write_bytes(b"0" * (10 * 2**20 + 1))
    with pytest.raises(Exception, match="(?i)file size|too large|413"):
        client.predict(gradio_client.handle_file(str(tmp_path / "large.png")), api_name="/predict")


def test_rendering_needs_no_gradio() -> None:
    code = "import sys, iec_hub.space.rendering, iec_hub.space.gpu; sys.exit('gradio' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0

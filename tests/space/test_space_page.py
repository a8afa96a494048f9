"""The page's server: its one public endpoint, and what reaches the predictor."""

import io
import json
import runpy
import subprocess
import sys
import urllib.error
import urllib.request
from pathlib import Path

import pytest
from brightness_predictor import BrightnessPredictor
from captioning_predictor import CaptioningPredictor
from PIL import Image

from iec_hub.emotions import EMOTION_MODELS
from iec_hub.errors import CheckpointError, DataError, ImageError

gradio_client = pytest.importorskip("gradio_client")

from iec_hub.space import texts  # noqa: E402
from iec_hub.space.answering import LONGEST_CAPTION, OWN, answer, read_caption, split_labels  # noqa: E402
from iec_hub.space.methods import chosen_method, page_methods  # noqa: E402
from iec_hub.space.single import example_pictures  # noqa: E402
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
    (method,) = page_methods(predictor).values()
    result = answer(method, path, "ekman7", "")
    assert result.prediction.emotion_model == "ekman7" and result.prediction.evidence is not None
    assert result.picture.mode == "RGB" and result.before is None


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
        answer(chosen_method(page_methods(predictor), ""), example_pictures()[0], "mikels8", "cosy, eerie")


def test_only_predict_is_public(client) -> None:
    endpoints = client.view_api(return_format="dict")
    assert list(endpoints["named_endpoints"]) == ["/predict"] and not endpoints["unnamed_endpoints"]
    parameters = endpoints["named_endpoints"]["/predict"]["parameters"]
    names = ["image", "emotion_model", "labels", "method", "caption"]
    assert [parameter["parameter_name"] for parameter in parameters] == names
    assert [parameter["parameter_has_default"] for parameter in parameters] == [False, True, True, True, True]
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
        body = json.dumps({"data": [picture, "mikels8", "", "", ""]}).encode()
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
    code = "import sys, iec_hub.space.rendering, iec_hub.space.answering; sys.exit('gradio' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0


@pytest.fixture(scope="module")
def two(two_methods_url: str) -> object:
    return gradio_client.Client(two_methods_url, verbose=False)


def test_methods_are_named_and_offer_what_they_can_tell(predictor, captioning) -> None:
    methods = page_methods([predictor, captioning])
    assert list(methods) == ["brightness", "escnet"]
    assert methods == page_methods({"brightness": predictor, "escnet": captioning})
    assert chosen_method(methods, None).predictor is predictor and chosen_method(methods, "").own_labels
    assert list(methods["brightness"].models) == list(EMOTION_MODELS) and not methods["brightness"].reads_captions
    assert set(methods["escnet"].models) == {"mikels8", "sentiment2"} and methods["escnet"].reads_captions
    assert not methods["escnet"].own_labels
    assert methods["escnet"].note("mikels8") == "" and methods["escnet"].note("sentiment2") == texts.DERIVED
    assert methods["brightness"].note("custom") == texts.NOT_TRAINED
    with pytest.raises(DataError, match="no method 'oracle' here; use one of brightness, escnet"):
        chosen_method(methods, "oracle")


def test_a_page_needs_predictors_of_different_methods(captioning) -> None:
    with pytest.raises(CheckpointError, match="at least one"):
        page_methods({})
    with pytest.raises(CheckpointError, match="two names"):
        page_methods([captioning, CaptioningPredictor()])


@pytest.mark.parametrize(
    ("text", "caption"),
    [
        (None, ""),
        (" \n\t ", ""),
        (" a  dark\r\nroom\x85", "a dark room"),
        ("a\0b\x1b[31m\ud800", "ab[31m"),
        ("\u96ea \U0001f468\u200d\U0001f469", "\u96ea \U0001f468\u200d\U0001f469"),
        ("x" * LONGEST_CAPTION, "x" * LONGEST_CAPTION),
    ],
)
def test_captions_are_one_line_of_what_can_be_written(text: str | None, caption: str) -> None:
    assert read_caption(text) == caption


def test_predict_chooses_the_method_and_takes_a_caption(two, white, predictor, captioning) -> None:
    assert two.predict(white, api_name="/predict")["model"] == predictor.name
    assert two.predict(white, "mikels8", "", "ugrie", api_name="/predict")["captions"] is None
    own = two.predict(white, method="escnet", api_name="/predict")
    assert own["model"] == captioning.name and own["captions"] == ["A bright, sunny photo of something."]
    assert own["attributes"] == [
        {"attribute": "brightness", "label": "1.000", "confidence": 1.0, "source": "computed"}
    ]
    changed = two.predict(white, method="escnet", caption=" A gloomy,\n dark room ", api_name="/predict")
    assert changed["captions"] == ["A gloomy, dark room"] and changed["attributes"] is None
    assert changed["emotion"] != own["emotion"]
    words = changed["evidence"]["caption_words"]
    assert [word["text"] for word in words] == ["A", "gloomy", "dark", "room"]
    assert [word["salience"] for word in words] == [0.05, 0.6, 0.8, 0.05] and len(words[1]["regions"]) == 7


@pytest.mark.parametrize(
    ("asked", "sentence"),
    [
        ({"method": "escnet", "caption": "x" * (LONGEST_CAPTION + 1)}, "401 characters; shorten it to 400"),
        ({"method": "escnet", "caption": {"a": 1}}, "caption is not text"),
        ({"method": "ugrie", "caption": "a dark room"}, "UGRIE reads no captions; leave"),
        ({"method": "oracle"}, "no method 'oracle' here; use one of ugrie, escnet"),
        ({"method": ["ugrie"]}, "no method"),
        ({"method": "escnet", "emotion_model": "ekman7"}, "choose another method"),
        ({"method": "escnet", "emotion_model": OWN, "labels": "dim, bright"}, "choose another method"),
    ],
)
def test_bad_captions_and_methods_are_answered_with_one_sentence(two, white, asked, sentence) -> None:
    with pytest.raises(gradio_client.exceptions.AppError, match=sentence) as caught:
        two.predict(white, **asked, api_name="/predict")
    assert str(caught.value).endswith(".") and "\n" not in str(caught.value)


def test_a_visitors_caption_is_compared_with_the_models_own(captioning) -> None:
    (method,) = page_methods(captioning).values()
    picture = example_pictures()[0]
    captioning.calls.clear()
    result = answer(method, picture, "mikels8", caption="A bright room", compare=True)
    assert result.prediction.captions == ("A bright room",) and result.before.captions != result.prediction.captions
    assert result.before.probabilities == answer(method, picture, "mikels8").prediction.probabilities
    # The evidence of what is not shown is not computed, and nothing is compared unasked.
    assert captioning.calls[0] == {"evidence": False, "captions": None}
    assert captioning.calls[1] == {"evidence": True, "captions": ["A bright room"]}
    assert answer(method, picture, "mikels8", caption="A bright room").before is None


def test_the_app_offers_the_methods_whose_checkpoints_are_there(predictor, monkeypatch, tmp_path: Path) -> None:
    from iec_hub import registry
    from iec_hub.predictor import EmotionPredictor

    loaded = []
    monkeypatch.setattr(registry, "_CHECKPOINTS", tmp_path)
    monkeypatch.setattr(EmotionPredictor, "from_pretrained", lambda method: loaded.append(method) or predictor)
    (tmp_path / registry.BUNDLED_CHECKPOINTS["ugrie"]).mkdir()
    app = runpy.run_path(str(Path(__file__).parents[2] / "app.py"), run_name="app")
    assert loaded == ["ugrie"]
    components = app["page"].config["components"]
    (method,) = [each["props"] for each in components if each["props"].get("elem_id") == "iec-method"]
    assert method["value"] == "ugrie" and not method["visible"]

"""The endpoints that programs call: names, schemas, answers, and the status with which they refuse."""

import base64
import json
import time
import zipfile
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from pages import completed
from PIL import Image
from served_page import asked, served

gradio_client = pytest.importorskip("gradio_client")

from gradio_client.exceptions import AppError  # noqa: E402

from iec_hub.emotions import EMOTION_MODELS  # noqa: E402
from iec_hub.space import texts  # noqa: E402
from iec_hub.space.example_pictures import example_pictures  # noqa: E402

SIGNATURES = {
    "/predict": ["image", "method", "emotion_model", "labels", "caption", "evidence"],
    "/predict_batch": ["files", "method", "emotion_model", "labels", "evidence"],
    "/concepts": ["image"],
    "/reason": ["image"],
    "/read_text": ["image"],
}


@pytest.fixture(scope="module")
def page(predictor: Any, captioning: Any, reasoning: Any) -> Iterator[tuple[Any, str]]:
    with served({"ugrie": predictor, "escnet": captioning, "aciec": reasoning}, pictures=6) as given:
        yield given


@pytest.fixture(scope="module")
def url(page: tuple[Any, str]) -> str:
    return page[1]


@pytest.fixture(scope="module")
def client(url: str) -> Any:
    return gradio_client.Client(url, verbose=False)


@pytest.fixture(scope="module")
def white(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("pictures") / "white.png"
    Image.new("RGB", (60, 40), "white").save(path)
    return path


@pytest.fixture
def picture(white: Path) -> Any:
    return gradio_client.handle_file(str(white))


@pytest.fixture(scope="module")
def data_url(white: Path) -> str:
    return f"data:image/png;base64,{base64.b64encode(white.read_bytes()).decode()}"


def test_the_endpoints_have_stable_names_and_only_the_picture_is_required(client: Any) -> None:
    endpoints = client.view_api(return_format="dict")
    assert not endpoints["unnamed_endpoints"] and set(endpoints["named_endpoints"]) == set(SIGNATURES)
    for name, signature in SIGNATURES.items():
        endpoint = endpoints["named_endpoints"][name]
        assert [parameter["parameter_name"] for parameter in endpoint["parameters"]] == signature
        required = [not parameter["parameter_has_default"] for parameter in endpoint["parameters"]]
        assert required == [True] + [False] * (len(signature) - 1)
        assert len(endpoint["description"]) > 80
    offered = endpoints["named_endpoints"]["/predict"]["description"]
    assert '"ugrie" for mikels8, ekman6,' in offered and '; "escnet" for mikels8, sentiment2; "aciec" for' in offered
    assert offered.count("any labels of your own") == 1, "programs see which method takes them"


def test_the_schemas_describe_what_is_answered(client: Any, picture: Any) -> None:
    """Every field of an answer is in the schema, with its type, and the other way round."""
    endpoints = client.view_api(return_format="dict")["named_endpoints"]
    for name, sent in (("/predict", picture), ("/concepts", picture), ("/reason", picture), ("/read_text", picture)):
        check(endpoints[name]["returns"][0]["type"], client.predict(sent, api_name=name))
    schema = endpoints["/predict"]["returns"][0]["type"]
    for method in ("escnet", "aciec"):
        check(schema, client.predict(picture, method=method, evidence=True, api_name="/predict"))
    check(
        endpoints["/predict_batch"]["returns"][0]["type"], client.predict([picture, "no"], api_name="/predict_batch")
    )


def check(schema: dict[str, Any], value: Any) -> None:
    """Raises AssertionError unless the value is as the JSON schema says."""
    if "oneOf" in schema:
        if value is not None:
            check(schema["oneOf"][1], value)
        return
    kinds = {"string": str, "number": (int, float), "integer": int, "boolean": bool, "array": list, "object": dict}
    assert isinstance(value, kinds[schema["type"]]), (schema, value)
    if schema["type"] == "array":
        for item in value:
            check(schema["items"], item)
    for key, inner in schema.get("properties", {}).items():
        check(inner, value[key])
    if "properties" in schema:
        assert set(value) == set(schema["properties"]) == set(schema["required"])
    elif schema["type"] == "object":
        for item in value.values():
            check(schema["additionalProperties"], item)


def test_predict_needs_only_a_picture(client: Any, picture: Any, data_url: str, predictor: Any) -> None:
    result = client.predict(picture, api_name="/predict")
    assert result["emotion"] == "sadness" and list(result["distribution"]) == list(EMOTION_MODELS["mikels8"].labels)
    assert result["method"] == "ugrie" and result["evidence"] is None and not result["uncertain"]
    assert client.predict(data_url, api_name="/predict") == result, "within the request as well as uploaded"
    assert client.predict(picture, evidence=True, api_name="/predict")["evidence"]["regions"]


def test_predict_takes_method_emotion_model_labels_and_caption(client: Any, picture: Any, captioning: Any) -> None:
    assert client.predict(picture, "escnet", api_name="/predict")["model"] == captioning.name
    ekman = client.predict(picture, "", "ekman7", api_name="/predict")
    assert list(ekman["distribution"]) == list(EMOTION_MODELS["ekman7"].labels)
    for labels in ("dim, bright", ["dim", "bright"]):
        own = client.predict(picture, labels=labels, api_name="/predict")
        assert own["emotion"] == "bright" and own["emotion_model"] == "custom"
    assert client.predict(picture, emotion_model="own", labels="dim; bright", api_name="/predict") == own
    changed = client.predict(picture, method="escnet", caption=" A gloomy,\n dark room ", api_name="/predict")
    assert changed["captions"] == ["A gloomy, dark room"]


@pytest.mark.parametrize(
    ("asked_for", "sentence"),
    [
        ({"emotion_model": "ekman9"}, "no emotion model 'ekman9'"),
        ({"emotion_model": ["ekman7"]}, "emotion model is not text"),
        ({"emotion_model": "own"}, "Labels are missing; give two"),
        ({"emotion_model": "mikels8", "labels": "cosy, eerie"}, "leave them out"),
        ({"labels": "cosy"}, "needs 2 to 500 labels; 1 given"),
        ({"labels": "cosy, Cosy"}, "given twice"),
        ({"labels": ["cosy", 3]}, "labels are not text"),
        ({"labels": "x" * 4001}, "4001 characters together; shorten them to 4000"),
        ({"method": "oracle"}, "no method 'oracle' here; use one of ugrie, escnet, aciec"),
        ({"method": "ugrie", "caption": "a dark room"}, "reads no captions"),
        ({"method": "escnet", "caption": "x" * 401}, "401 characters; shorten it to 400"),
        ({"image": "https://example.org/x.png"}, "Web addresses are not fetched"),
        ({"image": "data:image/png;base64,AAAA"}, "not an image of a known format"),
        ({"image": 3}, "no picture yet"),
    ],
)
def test_what_cannot_be_answered_gets_one_sentence(client: Any, picture: Any, asked_for: Any, sentence: str) -> None:
    with pytest.raises(AppError, match=sentence) as caught:
        client.predict(**{"image": picture, **asked_for}, api_name="/predict")
    assert str(caught.value).endswith(".") and "\n" not in str(caught.value)


def test_a_batch_has_a_row_for_each_file(client: Any, picture: Any, url: str, white: Path, tmp_path: Path) -> None:
    (tmp_path / "broken.png").write_bytes(white.read_bytes()[:60])
    with zipfile.ZipFile(tmp_path / "two.zip", "w") as archive:
        archive.write(example_pictures()[0], "trip/one.jpg")
        archive.writestr("trip/notes.png", "no picture")
    files = [gradio_client.handle_file(str(tmp_path / name)) for name in ("broken.png", "two.zip")]
    rows = client.predict(
        [picture, *files, "https://example.org/x.png"], emotion_model="ekman7", api_name="/predict_batch"
    )
    assert [row["file"] for row in rows] == [
        "white.png",
        "broken.png",
        "two.zip/trip/one.jpg",
        "two.zip/trip/notes.png",
        "x.png",
    ]
    assert [row["error"] is None for row in rows] == [True, False, True, False, False]
    assert all((row["prediction"] is None) != (row["error"] is None) for row in rows)
    assert rows[0]["prediction"]["emotion_model"] == "ekman7" and "damaged" in rows[1]["error"]
    assert rows[0]["prediction"] == client.predict(picture, emotion_model="ekman7", api_name="/predict")
    for files, sentence in (([picture] * 7, "more than 6 pictures"), ([], "no files"), ("x", "no files")):
        with pytest.raises(AppError, match=sentence):
            client.predict(files, api_name="/predict_batch")


def test_a_failure_of_the_model_costs_its_row_only_and_stays_on_the_server(
    client: Any, picture: Any, predictor: Any, monkeypatch: pytest.MonkeyPatch, caplog: Any
) -> None:
    captions = ["a secret caption"]

    def fail(*_: object, **__: object) -> None:
        raise RuntimeError(captions[0])

    monkeypatch.setattr(predictor, "predict", fail)
    (row,) = client.predict([picture], api_name="/predict_batch")
    assert row["error"] == texts.UNEXPECTED_ERROR
    with pytest.raises(AppError) as caught:
        client.predict(picture, api_name="/predict")
    assert str(caught.value) == texts.UNEXPECTED_ERROR
    assert "RuntimeError" in caplog.text and captions[0] not in caplog.text, "where it happened, not what was sent"


def test_concepts_reasoning_and_text_come_from_the_method_that_has_them(client: Any, picture: Any) -> None:
    concepts = client.predict(picture, api_name="/concepts")
    assert [concept["text"] for concept in concepts] == ["bright sky", "quiet place"]
    thought = client.predict(picture, api_name="/reason")
    assert thought["method"] == "aciec" and len(thought["steps"]) == 3 and len(thought["sentences"]) == 2
    assert client.predict(picture, api_name="/read_text") == []


def test_without_such_a_method_a_sentence_says_so(predictor: Any, picture: Any) -> None:
    with served({"ugrie": predictor}) as (_, url):
        small = gradio_client.Client(url, verbose=False)
        for name in ("/concepts", "/reason", "/read_text"):
            with pytest.raises(AppError, match="None of the methods that are offered here .*; use predict instead"):
                small.predict(picture, api_name=name)


def test_plain_http_needs_only_the_picture_and_gets_a_proper_status(url: str, data_url: str) -> None:
    status, answer, _ = asked(url, "gradio_api/run/predict", {"data": [data_url]})
    assert status == 200 and answer["data"][0]["emotion"] == "sadness"
    assert asked(url, "gradio_api/run/predict", {"data": [data_url, "oracle"]})[0] == 422
    status, answer, _ = asked(url, "gradio_api/call/v2/predict", {"image": data_url, "labels": ["dim", "bright"]})
    status, stream, _ = asked(url, f"gradio_api/call/predict/{answer['event_id']}")
    kind, data = stream.decode().strip().split("\ndata: ")
    assert kind == "event: complete" and json.loads(data)[0]["emotion"] == "bright"


def test_a_call_over_plain_http_leaves_no_session(page: tuple[Any, str], data_url: str) -> None:
    before = len(page[0].state_holder.session_data)
    for _ in range(5):
        _, answer, _ = asked(page[1], "gradio_api/call/predict", {"data": [data_url]})
        assert b"event: complete" in asked(page[1], f"gradio_api/call/predict/{answer['event_id']}")[1]
    deadline = time.monotonic() + 10  # the last one is dropped after its answer was sent
    while len(page[0].state_holder.session_data) > before and time.monotonic() < deadline:
        time.sleep(0.02)
    assert len(page[0].state_holder.session_data) == before


@pytest.mark.parametrize(
    ("path", "body", "status", "sentence"),
    [
        ("run/predict", {"data": []}, 422, "The argument image is missing; add it."),
        ("run/predict", {"data": ["x"] * 7}, 422, "7 values and takes 6"),
        ("run/predict", {}, 422, 'as a list in "data"'),
        ("run/oracle", {"data": []}, 422, "no such endpoint; use predict,"),
        ("run/predict", b"\xff{", 400, "no JSON"),
        ("run/predict", b'{"data":' + b"[" * 50 + b"]" * 50 + b"}", 422, "nested too deeply"),
        ("run/predict", b"[" * 100_000, 400, "no JSON"),
        ("run/predict", {"data": ["x" * 2_000_000]}, 413, "larger than 2 MB; upload the picture first"),
        ("call/v2/predict", {"image": "x", "imag": 1}, 422, "no argument 'imag'; use image, method,"),
        ("call/v2/predict", {}, 422, "image is missing"),
        ("upload", b"picture", 400, "no form"),
        ("process_recording", b"x", 404, "nothing at this address"),
        ("component_server", b"{}", 404, "nothing at this address"),
    ],
)
def test_what_is_no_call_is_refused_with_a_status(url: str, path: str, body: Any, status: int, sentence: str) -> None:
    found, answer, _ = asked(url, f"gradio_api/{path}", body)
    assert found == status and sentence in answer["error"] and answer["error"].endswith(".")


def test_too_large_an_upload_is_refused(client: Any, tmp_path: Path) -> None:
    (tmp_path / "large.png").write_bytes(bytes(10_000_001))
    with pytest.raises(AppError, match="is larger than .*; save it smaller"):
        client.predict(gradio_client.handle_file(str(tmp_path / "large.png")), api_name="/predict")


@pytest.mark.parametrize(
    ("length", "free", "status"),
    [(55_000_000, 1e9, 200), (65_000_000, 1e9, 413), (55_000_000, 5.4e8, 507)],
    ids=["archive", "too large", "no room on the disk"],
)
def test_an_archive_may_be_larger_than_all_pictures_together_where_there_is_room(
    length: int, free: float, status: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    from iec_hub.space import door
    from iec_hub.space.door import Door
    from iec_hub.space.limits import Limits

    monkeypatch.setattr(door.shutil, "disk_usage", lambda folder: SimpleNamespace(free=free))
    sent: list[int] = []

    async def behind(*_: Any) -> None:
        sent.append(200)

    async def send(message: Any) -> None:
        sent.extend([message["status"]] if "status" in message else [])

    headers = [(b"content-type", b"multipart/form-data; boundary=x"), (b"content-length", str(length).encode())]
    scope = {"type": "http", "method": "POST", "path": "/gradio_api/upload", "headers": headers}
    completed(Door(behind, Limits(pictures=2))(scope, None, send))
    assert sent == [status]


def test_an_uploaded_drawing_is_not_shown_as_a_page(url: str) -> None:
    """A file is served to whoever knows its address; what could hold a script is only ever downloaded."""
    boundary = "x"
    head = f'--{boundary}\r\nContent-Disposition: form-data; name="files"; filename="a.svg"\r\n\r\n'
    drawing = "<svg xmlns='http://www.w3.org/2000/svg'><script>alert(1)</script></svg>"
    body = f"{head}{drawing}\r\n--{boundary}--\r\n".encode()
    _, (path,), _ = asked(
        url, "gradio_api/upload", body, {"Content-Type": f"multipart/form-data; boundary={boundary}"}
    )
    status, content, headers = asked(url, f"gradio_api/file={path}")
    assert status == 200 and content.decode() == drawing and "attachment" in headers["Content-Disposition"]


def test_boxes_are_in_pixels_of_the_upright_picture_in_full_size(client: Any, tmp_path: Path) -> None:
    picture = Image.new("RGB", (2400, 1600), "white")
    picture.paste("black", (300, 200, 800, 260))
    exif = Image.Exif()
    exif[0x0112] = 6
    picture.transpose(Image.Transpose.ROTATE_90).save(tmp_path / "line.png", exif=exif)
    (found,) = client.predict(gradio_client.handle_file(str(tmp_path / "line.png")), api_name="/read_text")
    assert found["box"] == [[300, 200], [800, 200], [800, 260], [300, 260]] and found["confidence"] == 0.9

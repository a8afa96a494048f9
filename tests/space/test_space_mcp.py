"""The page as a server of tools: a language model's client finds typed tools, calls them and understands refusals."""

import asyncio
import base64
import json
from collections.abc import Callable, Coroutine, Iterator
from typing import Any

import pytest
from hostile_pictures import photo, saved
from pages import completed
from served_page import asked, served

pytest.importorskip("gradio_client")
mcp = pytest.importorskip("mcp")

from mcp.client.streamable_http import streamablehttp_client  # noqa: E402

PICTURE = f"data:image/png;base64,{base64.b64encode(saved(photo())).decode()}"


@pytest.fixture(scope="module")
def url(predictor: Any, reasoning: Any) -> Iterator[str]:
    with served({"ugrie": predictor, "aciec": reasoning}) as (_, address):
        yield address


@pytest.fixture
def session(url: str) -> Callable[[Callable[[Any], Coroutine[Any, Any, Any]]], Any]:
    """`session(what)` runs `await what(session)` in a session of the tools' protocol."""

    def run(what: Callable[[Any], Coroutine[Any, Any, Any]]) -> Any:
        async def visit() -> Any:
            async with (
                streamablehttp_client(f"{url}gradio_api/mcp/") as (reading, writing, _),
                mcp.ClientSession(reading, writing) as opened,
            ):
                await opened.initialize()
                return await what(opened)

        return completed(asyncio.wait_for(visit(), 60))

    return run


def test_the_tools_are_the_endpoints_with_types_and_descriptions(session: Any) -> None:
    tools = {tool.name: tool for tool in session(lambda opened: opened.list_tools()).tools}
    assert set(tools) == {"predict", "predict_batch", "concepts", "reason", "read_text"}
    for tool in tools.values():
        assert len(tool.description) > 80 and "upload_file_to_gradio" not in tool.description
        assert tool.inputSchema["required"] == (["files"] if tool.name == "predict_batch" else ["image"])
        assert all(each["description"] for each in tool.inputSchema["properties"].values())
    properties = tools["predict"].inputSchema["properties"]
    assert properties["evidence"]["type"] == "boolean" and properties["method"]["type"] == "string"
    kinds = [kind["type"] for kind in properties["labels"]["anyOf"]]
    assert kinds == ["string", "array"] and "http or https url" not in json.dumps(properties)


def test_tools_answer_with_json(session: Any, url: str) -> None:
    async def visit(opened: Any) -> list[Any]:
        calls = [
            ("predict", {"image": PICTURE, "labels": ["dim", "bright"]}),
            ("predict_batch", {"files": [PICTURE, "https://example.org/x.png"], "method": "aciec"}),
            ("concepts", {"image": PICTURE}),
            ("reason", {"image": PICTURE}),
            ("read_text", {"image": PICTURE}),
        ]
        return [await opened.call_tool(name, arguments) for name, arguments in calls]

    replies = session(visit)
    assert not any(reply.isError for reply in replies)
    predicted, rows, concepts, thought, read = [json.loads(reply.content[0].text) for reply in replies]
    _, over_http, _ = asked(url, "gradio_api/run/predict", {"data": [PICTURE, "", "", ["dim", "bright"]]})
    assert predicted == over_http["data"][0] and set(predicted["distribution"]) == {"dim", "bright"}
    assert rows[0]["prediction"]["method"] == "aciec" and "not fetched" in rows[1]["error"]
    assert concepts[0]["score"] <= 1 and thought["steps"]
    assert read == asked(url, "gradio_api/run/read_text", {"data": [PICTURE]})[1]["data"][0]


@pytest.mark.parametrize(
    ("name", "arguments", "sentence"),
    [
        ("concepts", {"image": "https://example.org/x.png"}, "Web addresses are not fetched; upload the picture, or"),
        (
            "predict",
            {"image": PICTURE, "method": "oracle"},
            "There is no method 'oracle' here; use one of ugrie, aciec.",
        ),
        ("predict", {"image": "/etc/passwd"}, "There is no picture yet;"),
        ("predict", {}, "'image' is a required property"),
        ("predict", {"image": PICTURE, "evidence": "perhaps"}, "'perhaps' is not of type 'boolean'"),
        ("oracle", {}, "oracle"),
    ],
)
def test_what_a_tool_cannot_do_is_said_in_a_sentence(session: Any, name: str, arguments: Any, sentence: str) -> None:
    reply = session(lambda opened: opened.call_tool(name, arguments))
    assert reply.isError and sentence in reply.content[0].text and "Traceback" not in reply.content[0].text


def test_only_the_streamable_transport_is_open(url: str) -> None:
    assert asked(url, "gradio_api/mcp/sse")[0] == 404 and asked(url, "gradio_api/mcp/messages/", {})[0] == 404
    assert {tool["name"] for tool in asked(url, "gradio_api/mcp/schema")[1]} >= {"predict", "reason"}

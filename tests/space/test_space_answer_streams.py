"""A page that asks again while the stream of its answers ends hears of the end first."""

import json
import time
import uuid
from typing import Any

import pytest
from pages import completed
from served_page import asked

from iec_hub.space.answer_streams import PAUSE, AnswerStreams


def ask(url: str, session: str) -> None:
    """Ask in the queue about no picture, and be told that an answer will come."""
    predict = next(one for one in asked(url, "config")[1]["dependencies"] if one["api_name"] == "predict")
    body = {"data": [None] * len(predict["inputs"]), "fn_index": predict["id"], "session_hash": session}
    assert asked(url, "gradio_api/queue/join", body)[0] == 200


def hear(url: str, session: str) -> list[str]:
    """What a session's stream tells until it ends."""
    told = asked(url, f"gradio_api/queue/data?session_hash={session}")[1]
    return [json.loads(line[6:])["msg"] for line in told.splitlines() if line.startswith(b"data: ")]


def test_whoever_asks_right_after_the_end_of_a_stream_is_told_after_it(page_url: str) -> None:
    session = uuid.uuid4().hex
    ask(page_url, session)
    assert hear(page_url, session)[-2:] == ["process_completed", "close_stream"]
    ended = time.monotonic()
    ask(page_url, session)
    # The end was noticed before it came here.
    assert time.monotonic() - ended > PAUSE / 2
    assert hear(page_url, session)[-2:] == ["process_completed", "close_stream"]


@pytest.mark.parametrize("session, waits", [("this", True), ("another", False)])
def test_only_whose_stream_has_just_ended_waits(session: str, waits: bool) -> None:
    sent: list[tuple[str, bytes]] = []

    async def gradio(scope: Any, receive: Any, send: Any) -> None:
        body = b'data: {"msg":"close_stream"}\n\n' if scope["path"].endswith("data") else (await receive())["body"]
        await send({"type": "http.response.start", "status": 200})
        await send({"type": "http.response.body", "body": body})

    async def visit() -> float:
        app = AnswerStreams(gradio)
        messages = [{"type": "http.request", "body": json.dumps({"session_hash": session}).encode()}]

        async def receive() -> Any:
            return messages.pop()

        async def send(message: Any) -> None:
            sent.append((message["type"], message.get("body", b"")))

        stream = {"type": "http", "method": "GET", "path": "/gradio_api/queue/data"}
        await app({**stream, "query_string": b"session_hash=this"}, receive, send)
        begin = time.monotonic()
        await app({"type": "http", "method": "POST", "path": "/gradio_api/queue/join"}, receive, send)
        return time.monotonic() - begin

    assert (completed(visit()) >= PAUSE) == waits
    # Nothing of the request is lost to who looked into it.
    assert json.loads(sent[-1][1]) == {"session_hash": session}

"""The streams through which the page hears its answers.

Gradio ends a session's stream when nothing is asked any more, and its page opens another one for the next question. A
page that asks just then, and is told so before it hears of the end, does not: it would wait for ever. So whoever asks
right after the end of a stream is told a moment later.
"""

import asyncio
import json
import re
import time
from collections import OrderedDict
from urllib.parse import parse_qs

from starlette.types import ASGIApp, Message, Receive, Scope, Send

_STREAM = re.compile(r"/gradio_api/queue/data/?")
_JOIN = re.compile(r"/gradio_api/queue/join/?")
# As gradio writes it; within an answer, quotation marks have backslashes.
_END = b'"msg":"close_stream"'
# What is sent so much later arrives later, on whatever way.
PAUSE = 0.15
_MOST = 1024


class AnswerStreams:
    """ASGI middleware for gradio's application, behind :class:`iec_hub.space.door.Door`."""

    def __init__(self, app: ASGIApp):
        self.app = app
        self._ended: OrderedDict[str, float] = OrderedDict()  # seconds of the clock, by session, the latest last

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        path = scope["path"].removeprefix(scope.get("root_path", "").rstrip("/")) if scope["type"] == "http" else ""
        if _STREAM.fullmatch(path):
            session = parse_qs(scope.get("query_string", b"").decode("latin-1")).get("session_hash", [""])[0]
            send = self._noticing(session, send)
        elif _JOIN.fullmatch(path) and scope["method"] == "POST":
            receive, session = await _session(receive)
            send = self._patient(session, send)
        await self.app(scope, receive, send)

    def _noticing(self, session: str, send: Send) -> Send:
        async def noticed(message: Message) -> None:
            if message["type"] == "http.response.body" and _END in message.get("body", b""):
                self._ended[session] = time.monotonic()
                self._ended.move_to_end(session)
                if len(self._ended) > _MOST:
                    self._ended.popitem(last=False)
            await send(message)

        return noticed

    def _patient(self, session: str, send: Send) -> Send:
        async def waited(message: Message) -> None:
            if message["type"] == "http.response.start" and session in self._ended:
                await asyncio.sleep(self._ended[session] + PAUSE - time.monotonic())  # not at all, if long past
            await send(message)

        return waited


async def _session(receive: Receive) -> tuple[Receive, str]:
    """The session that a request names, and the request to be received again."""
    messages, more = [], True
    while more:
        messages.append(await receive())
        more = messages[-1].get("more_body", False)
    try:
        content = json.loads(b"".join(message.get("body", b"") for message in messages))
        session = content.get("session_hash") if isinstance(content, dict) else None
    except (ValueError, RecursionError):
        session = None

    async def again() -> Message:
        return messages.pop(0) if messages else await receive()

    return again, session if isinstance(session, str) else ""

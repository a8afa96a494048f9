"""The streams through which the page hears its answers.

Gradio ends a session's stream when nothing is asked any more, and its page opens another one for the next question. A
page that asks just then, and is told so before it hears of the end, does not: it would wait for ever. So whoever asks
right after the end of a stream is told a moment later.
"""

import asyncio
import json
import re
import time
from urllib.parse import parse_qs

from starlette.types import ASGIApp, Message, Receive, Scope, Send

_STREAM = re.compile(r"/gradio_api/queue/data/?")
_JOIN = re.compile(r"/gradio_api/queue/join/?")
# As gradio writes it; within an answer, quotation marks have backslashes.
_END = b'"msg":"close_stream"'
# What is sent so much later arrives later, on whatever way.
PAUSE = 0.15


class AnswerStreams:
    """ASGI middleware for gradio's application, behind :class:`iec_hub.space.door.Door`."""

    def __init__(self, app: ASGIApp):
        self.app = app
        self._ended: dict[str, float] = {}  # when streams ended lately, in seconds of the clock, by session

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        path = scope["path"].removeprefix(scope.get("root_path", "").rstrip("/")) if scope["type"] == "http" else ""
        if _STREAM.fullmatch(path):
            session = parse_qs(scope.get("query_string", b"").decode("latin-1")).get("session_hash", [""])[0]
            send = self._noticing(session, send)
        elif _JOIN.fullmatch(path):
            body: list[bytes] = []
            receive, send = _overheard(receive, body), self._patient(body, send)
        await self.app(scope, receive, send)

    def _noticing(self, session: str, send: Send) -> Send:
        async def noticed(message: Message) -> None:
            if message["type"] == "http.response.body" and _END in message.get("body", b""):
                now = time.monotonic()
                self._ended = {other: end for other, end in self._ended.items() if end > now - PAUSE}
                self._ended[session] = now
            await send(message)

        return noticed

    def _patient(self, body: list[bytes], send: Send) -> Send:
        async def waited(message: Message) -> None:
            # A large request is only looked through where somebody's stream has just ended.
            if message["type"] == "http.response.start" and any(self._left(end) > 0 for end in self._ended.values()):
                end = self._ended.get(_session(b"".join(body)))
                if end is not None:
                    await asyncio.sleep(self._left(end))
            await send(message)

        return waited

    def _left(self, end: float) -> float:
        """Seconds of the pause after a stream's end that are still to come."""
        return end + PAUSE - time.monotonic()


def _overheard(receive: Receive, body: list[bytes]) -> Receive:
    """Keeps a request's body as it is read."""

    async def heard() -> Message:
        message = await receive()
        body.append(message.get("body", b""))
        return message

    return heard


def _session(body: bytes) -> str:
    """The session that a request names; empty where it names none."""
    try:
        session = json.loads(body)["session_hash"]
    except (ValueError, RecursionError, LookupError, TypeError):
        return ""
    return session if isinstance(session, str) else ""

"""The door of the page's server: what does not come through it cannot do harm behind it.

Gradio takes files, calls and more from anybody. It would fetch web addresses that a request names in place of an
uploaded file, write a request that lacks values into its log, and serve routes that this page has no use for (proxies,
screen recordings, links to saved states). This middleware stands before it: it lets through the routes that are
needed, and requests of a sensible size and form, in which no file is named that was not uploaded.
"""

import asyncio
import json
import re
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from gradio.utils import get_function_params, get_upload_folder
from gradio_client.utils import is_file_obj_with_meta
from starlette.middleware import Middleware
from starlette.responses import JSONResponse
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from iec_hub.errors import DataError, IecHubError, ImageError
from iec_hub.space import texts
from iec_hub.space.answer_streams import AnswerStreams
from iec_hub.space.discretion import hush_tools
from iec_hub.space.escaping import plain
from iec_hub.space.limits import Limits
from iec_hub.space.sweeping import sweeping
from iec_hub.space.uploads import WEB_ADDRESS, uploaded_file

KEPT_SECONDS = 3600
SWEEP_SECONDS = 300
SESSIONS = 256

# The summary is of how long calls take; the page's list of endpoints shows it.
_PAGE = (
    r"/(?:(?:config|theme\.css|favicon\.ico|robots\.txt|manifest\.json|monitoring/summary)/?"
    r"|pwa_icon(?:/\d+)?|(?:static|assets)/.+)?"
)
_API = (
    r"/gradio_api/(?:(?:info|openapi\.json|startup-events|app_id|theme\.css|user|token|login_check|upload"
    r"|upload_progress|cancel|reset|queue/(?:join|data|status)|mcp|mcp/(?:http|schema))/?|heartbeat/[^/]+"
    r"|(?:run|api|call|call/v2)/[^/]+/?|call(?:/v2)?/[^/]+/[^/]+|file=(?!\s*[A-Za-z]+:).+)"
)
_OPEN = re.compile(f"{_PAGE}|{_API}")
_CALL = re.compile(r"/gradio_api/(?:(run|api|call|call/v2)/([^/]+)|queue/join)/?")
_DIRECT = re.compile(r"/gradio_api/(?:run|api)/[^/]+/?")
_ANSWERED = re.compile(r"/gradio_api/call(?:/v2)?/[^/]+/([^/]+)")
_UPLOAD = re.compile(r"/gradio_api/upload/?")
_TOOLS = re.compile(r"/gradio_api/mcp(?:/http)?/?")

# What the page and programs send beside pictures is small. Tools are sent pictures within JSON, of up to what gradio's
# MCP server takes.
_JSON_BYTES, _TOOL_BYTES = 2_000_000, 4_000_000
_DEPTH = 32
_PATIENCE = 5
# Of one request: a browser sends the files that are dropped together as one.
_UPLOAD_BYTES = 1_000_000_000
# Of the disk, in bytes, however much visitors send.
_LEAST_FREE = 500_000_000
_LARGE = 200_000


class Door:
    """ASGI middleware for gradio's application; add it with :func:`door_options`.

    Args:
        app: what is behind the door.
        limits: of the page.
    """

    def __init__(self, app: ASGIApp, limits: Limits):
        self.app, self.limits = app, limits

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            return await self.app(scope, receive, send)
        path = scope["path"].removeprefix(scope.get("root_path", "").rstrip("/"))
        try:
            _check_route(path, scope)
            if scope["method"] == "POST":
                if _UPLOAD.fullmatch(path):
                    most = max(self.limits.pictures * self.limits.file_bytes, self.limits.archive_bytes)
                    _check_upload(_headers(scope), min(most, _UPLOAD_BYTES))
                else:
                    scope, receive = await self._checked(path, scope, receive)
        except _RefusedError as refused:
            return await refused.answer(scope, receive, send)
        await self.app(scope, receive, _with_status(send) if _DIRECT.fullmatch(path) else send)
        if answered := _ANSWERED.fullmatch(path):
            _forget(scope["app"].state_holder, answered[1])

    async def _checked(self, path: str, scope: Scope, receive: Receive) -> tuple[Scope, Receive]:
        """The request with its JSON as it was understood here, so that nobody understands it otherwise."""
        body = await _body(receive, _TOOL_BYTES if _TOOLS.fullmatch(path) else _JSON_BYTES)
        if body:
            blocks = scope["app"].get_blocks()
            # A large one is read away from the event loop.
            read = _read if len(body) < _LARGE else lambda *given: asyncio.to_thread(_read_now, *given)
            body = await read(body, path, blocks)
        headers = [(name, value) for name, value in scope["headers"] if name not in (b"content-length",)]
        return {**scope, "headers": [*headers, (b"content-length", str(len(body)).encode())]}, _once(body, receive)


def door_options(limits: Limits) -> dict[str, Any]:
    """Arguments for `launch`: the door before gradio's application, and the deletion of what came through it."""
    hush_tools()
    lifespan = sweeping(KEPT_SECONDS, SWEEP_SECONDS)
    return {
        "app_kwargs": {
            "middleware": [Middleware(Door, limits=limits), Middleware(AnswerStreams)],
            "lifespan": lifespan,
        },
        # A picture that is larger than pictures may be is told so where it is opened.
        "max_file_size": max(limits.file_bytes, limits.archive_bytes),
        # What a visit leaves in memory, values and all, goes when this many came after it.
        "state_session_capacity": SESSIONS,
        "mcp_server": True,
    }


class _RefusedError(Exception):
    """A request that does not come through.

    Args:
        status: of HTTP.
        sentence: what is wrong and what to do.
    """

    def __init__(self, status: int, sentence: str):
        super().__init__(sentence)
        self.status, self.sentence = status, sentence

    async def answer(self, scope: Scope, receive: Receive, send: Send) -> None:
        # Gradio's clients look for "error", FastAPI's for "detail".
        content = {"error": self.sentence, "detail": self.sentence}
        await JSONResponse(content, self.status, {"connection": "close"})(scope, receive, send)


def _check_route(path: str, scope: Scope) -> None:
    # A link to a saved state would put a stranger's values into the page.
    if not _OPEN.fullmatch(path) or b"deep_link=" in scope.get("query_string", b""):
        raise _RefusedError(404, texts.NO_SUCH_ADDRESS)


def _headers(scope: Scope) -> dict[bytes, bytes]:
    return {name.lower(): value for name, value in scope["headers"]}


def _check_upload(headers: dict[bytes, bytes], most: int) -> None:
    if not re.match(rb"multipart/form-data\s*;.*boundary=", headers.get(b"content-type", b""), re.IGNORECASE):
        raise _RefusedError(400, texts.NO_FORM)
    length = headers.get(b"content-length", b"")
    # Without a length nobody knows how much is to come.
    if not length.isdigit():
        raise _RefusedError(411, texts.NO_LENGTH)
    if int(length) > most:
        raise _RefusedError(413, texts.UPLOAD_TOO_LARGE.format(most=f"{most / 1e6:g}"))
    # What others sent is only deleted after a while.
    folder = Path(get_upload_folder())
    if shutil.disk_usage(folder if folder.is_dir() else folder.parent).free < int(length) + _LEAST_FREE:
        raise _RefusedError(507, texts.NO_ROOM)


async def _body(receive: Receive, most: int) -> bytes:
    chunks, length, more = [], 0, True
    while more:
        message = await receive()
        if message["type"] == "http.disconnect":
            raise _RefusedError(400, texts.NO_JSON)
        chunk, more = message.get("body", b""), message.get("more_body", False)
        length += len(chunk)
        if length <= most:
            chunks.append(chunk)
        # Somewhat more is read and dropped: who is still sending when the connection is closed never sees why.
        elif length > _PATIENCE * most:
            break
    if length > most:
        raise _RefusedError(413, texts.REQUEST_TOO_LARGE.format(most=f"{most / 1e6:.3g}"))
    return b"".join(chunks)


def _once(body: bytes, receive: Receive) -> Receive:
    """Gives the body, then whatever comes next (that the visitor has gone)."""
    waiting = [body]

    async def again() -> Message:
        if waiting:
            return {"type": "http.request", "body": waiting.pop(), "more_body": False}
        return await receive()

    return again


async def _read(body: bytes, path: str, blocks: Any) -> bytes:
    return _read_now(body, path, blocks)


def _read_now(body: bytes, path: str, blocks: Any) -> bytes:
    """A request's JSON, checked and written again.

    Raises:
        _RefusedError: with one sentence.
    """
    try:
        content = json.loads(body, parse_constant=_no_number)
    # Too deep is a RecursionError; no Unicode, no JSON and endless numbers are ValueErrors.
    except (ValueError, RecursionError) as error:
        raise _RefusedError(400, texts.NO_JSON) from error
    try:
        content = _cleaned(content, get_upload_folder())
        if call := _CALL.fullmatch(path):
            content = _fitted(content, call[1] or "", call[2] or "", blocks)
    except IecHubError as error:
        raise _RefusedError(422, str(error)) from error
    return json.dumps(content).encode("ascii")


def _no_number(name: str) -> None:
    raise ValueError(f"{name} is no JSON.")


def _cleaned(value: Any, uploads: str | Path, depth: int = 0) -> Any:
    """JSON without halves of surrogate pairs, in which every file is an uploaded one.

    Raises:
        DataError: if it is nested too deeply.
        ImageError: if it names another file, or a web address in place of one, which gradio would fetch.
    """
    if depth > _DEPTH:
        raise DataError(texts.TOO_DEEP)
    if isinstance(value, str):
        return value if value.isascii() else value.encode("utf-16", "surrogatepass").decode("utf-16", "replace")
    if isinstance(value, list):
        return [_cleaned(item, uploads, depth + 1) for item in value]
    if not isinstance(value, dict):
        return value
    path = value.get("path")
    if isinstance(path, str) and WEB_ADDRESS.match(path):
        raise ImageError(texts.NO_WEB_ADDRESSES)
    if is_file_obj_with_meta(value):
        uploaded_file(value, uploads)
    return {_cleaned(key, uploads, depth + 1): _cleaned(item, uploads, depth + 1) for key, item in value.items()}


def _fitted(content: Any, kind: str, name: str, blocks: Any) -> Any:
    """A call with as many values as its function takes: gradio writes one with fewer into its log, values and all.

    Raises:
        DataError: if there is no such function, or it takes other values.
    """
    if not isinstance(content, dict):
        raise DataError(texts.NO_CALL)
    if kind == "call/v2":
        return _fitted_names(content, _function(None, name, blocks))
    index, session, values = content.get("fn_index"), content.get("session_hash"), content.get("data")
    if session is not None and not (isinstance(session, str) and 0 < len(session) <= 100):
        raise DataError(texts.NO_CALL)
    if not isinstance(values, list):
        raise DataError(texts.NO_CALL)
    function = _function(index, name, blocks)
    if len(values) in (len(function.inputs), len([block for block in function.inputs if not block.skip_api])):
        return content
    if function.api_visibility != "public" or len(values) > len(function.inputs):
        raise DataError(texts.WRONG_COUNT.format(count=len(values), wanted=len(function.inputs)))
    return {**content, "data": [*values, *_defaults(function, len(values))]}


def _defaults(function: Any, start: int) -> Iterator[Any]:
    for name, has_default, default, _ in get_function_params(function.fn)[start:]:
        if not has_default:
            raise DataError(texts.MISSING_ARGUMENT.format(name=name))
        yield default


def _fitted_names(content: dict[str, Any], function: Any) -> dict[str, Any]:
    parameters = get_function_params(function.fn)
    if unknown := content.keys() - {name for name, *_ in parameters}:
        wanted = ", ".join(name for name, *_ in parameters)
        raise DataError(texts.UNKNOWN_ARGUMENT.format(name=plain(repr(min(unknown)), 40), wanted=wanted))
    for name, has_default, *_ in parameters:
        if not has_default and name not in content:
            raise DataError(texts.MISSING_ARGUMENT.format(name=name))
    return content


def _function(index: Any, name: str, blocks: Any) -> Any:
    """The function that a call means: the one with that number, as the page says it, else the public one of a name."""
    if index is not None:
        function = blocks.fns.get(index) if type(index) is int else None
    else:
        public = (function for function in blocks.fns.values() if function.api_visibility == "public")
        function = next((function for function in public if function.api_name == name), None)
    if function is None:
        raise DataError(texts.NO_SUCH_ENDPOINT)
    return function


def _forget(sessions: Any, event: str) -> None:
    """Drop what gradio keeps of a call over plain HTTP: a session of its own, which nobody comes back to."""
    with sessions.lock:
        sessions.session_data.pop(event, None)
        sessions.time_last_used.pop(event, None)


def _with_status(send: Send) -> Send:
    """Gives a refused call the status 422: gradio answers it with 500, as if the server had failed."""
    held: list[Message] = []

    async def sent(message: Message) -> None:
        if message["type"] == "http.response.start" and message["status"] == 500:
            held.append(message)
            return
        if not held:
            return await send(message)
        held.append(message)
        if message.get("more_body"):
            return
        start, *parts = held
        sentence = _sentence(b"".join(part.get("body", b"") for part in parts))
        body = json.dumps({"error": sentence or texts.UNEXPECTED_ERROR}).encode("ascii")
        headers = [(name, value) for name, value in start["headers"] if name.lower() != b"content-length"]
        headers.append((b"content-length", str(len(body)).encode()))
        await send({**start, "status": 422 if sentence else 500, "headers": headers})
        await send({"type": "http.response.body", "body": body})

    return sent


def _sentence(body: bytes) -> str | None:
    try:
        error = json.loads(body).get("error")
    except (ValueError, AttributeError):
        return None
    return error if isinstance(error, str) and error != texts.UNEXPECTED_ERROR else None

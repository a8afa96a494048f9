"""Requests that nobody with good intentions sends, and a client that sends them as they are."""

from __future__ import annotations

import base64
import http.client
import json
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any
from urllib.parse import quote, urlsplit

import hostile_pictures as pictures
from hostile_pictures import CANARY, MARK, SCRIPT, photo, saved

SECONDS = 60
_JSON = {"Content-Type": "application/json"}
_TOOL = {**_JSON, "Accept": "application/json, text/event-stream"}


@dataclass(frozen=True)
class Reply:
    """What came back: HTTP's status, what a call answered, and the sentence that it or the server said instead."""

    status: int
    value: Any = None
    sentence: str = ""


@dataclass(frozen=True)
class Case:
    """One hostile visit.

    Attributes:
        door: how it comes in: "upload", "batch", "field", "file", "data", "tool" or "request".
        expected: "answer" (the picture can be judged), "sentence" (what is wrong), "rows" (one of both for each file
            of a batch), "refused" (HTTP's 4xx, with a sentence), or some of them with "or" between; "either" is any
            but rows.
    """

    name: str
    door: str
    expected: str
    send: Callable[[Visitor], Reply]


class Visitor:
    """Talks to the page's server over plain HTTP, without a library that would mend what is sent.

    Args:
        url: of the page.
        trap: a web address that nobody must visit.
    """

    def __init__(self, url: str, trap: str):
        self.address, self.trap = urlsplit(url), trap
        self.good = saved(photo())

    def request(self, method: str, path: str, body: bytes | None = None, headers: Mapping[str, str] = {}) -> Reply:  # noqa: B006
        connection = http.client.HTTPConnection(self.address.hostname or "", self.address.port, timeout=SECONDS)
        try:
            connection.request(method, path, body, dict(headers))
            answer = connection.getresponse()
            content = answer.read().decode("utf-8", "replace")
            return Reply(answer.status, _json(content), _said(content) if answer.status >= 400 else "")
        finally:
            connection.close()

    def upload(self, content: bytes, name: bytes = b"picture.png", field: bytes = b"files") -> Reply:
        return self.request("POST", "/gradio_api/upload", *_form([(field, name, content)]))

    def call(self, endpoint: str, values: list[Any]) -> Reply:
        """An endpoint's answer, as plain HTTP gets it: a call, then the stream of its events."""
        body = json.dumps({"data": values}).encode()
        asked = self.request("POST", f"/gradio_api/call/{endpoint}", body, _JSON)
        if asked.status != 200:
            return asked
        connection = http.client.HTTPConnection(self.address.hostname or "", self.address.port, timeout=SECONDS)
        try:
            connection.request("GET", f"/gradio_api/call/{endpoint}/{asked.value['event_id']}")
            stream = connection.getresponse().read().decode("utf-8", "replace")
        finally:
            connection.close()
        kind, _, data = stream.strip().rpartition("event: ")[2].partition("\ndata: ")
        value = _json(data)
        if kind == "complete":
            return Reply(200, value[0])
        return Reply(200, None, str((value or {}).get("error")))

    def predict(self, content: bytes, name: bytes = b"picture.png", *more: Any) -> Reply:
        """Upload a picture and ask about it."""
        sent = self.upload(content, name)
        return self.call("predict", [sent.value[0], *more]) if sent.status == 200 else sent

    def tool(self, name: str, arguments: Any) -> Reply:
        """Call a tool as a language model's program does."""
        call = {"jsonrpc": "2.0", "id": 1, "method": "tools/call", "params": {"name": name, "arguments": arguments}}
        reply = self.request("POST", "/gradio_api/mcp/", json.dumps(call).encode(), _TOOL)
        result = (reply.value or {}).get("result", {})
        if reply.status != 200 or "content" not in result:
            return reply
        text = result["content"][0]["text"]
        return Reply(200, None, text) if result.get("isError") else Reply(200, _json(text))


def wrong(case: Case, reply: Reply) -> str | None:
    """What is wrong with the reply to a case; None where it is as it should be."""
    if reply.status >= 500:
        return f"status {reply.status}"
    if reply.value is None and not _is_sentence(reply.sentence):
        return f"no sentence: {reply.sentence[:200]!r}"
    expected = "answer or sentence or refused" if case.expected == "either" else case.expected
    kind = _kind(reply)
    return None if kind in expected.split(" or ") else f"{kind} instead of {expected}: {reply.sentence[:200]!r}"


def _kind(reply: Reply) -> str:
    if reply.status >= 400:
        return "refused"
    if isinstance(reply.value, list):
        if not all(isinstance(row, dict) for row in reply.value):
            return "uploaded"
        fine = [row.get("prediction") or _is_sentence(row.get("error")) for row in reply.value]
        return "rows" if fine and all(fine) else "bad rows"
    return "answer" if isinstance(reply.value, dict) and reply.value.get("distribution") else "sentence"


def _is_sentence(text: Any) -> bool:
    """One line for people: neither empty nor endless, no Python, no folder of the server."""
    if not isinstance(text, str) or not 5 < len(text) < 600 or "\n" in text:
        return False
    return not any(word in text for word in ("Traceback", "Error(", "site-packages", "/tmp/", "object at 0x"))


def cases() -> Iterator[Case]:
    """All of them, in a fixed order."""
    for group in (pictures.cut_and_broken, pictures.other_kinds, pictures.bombs, pictures.with_scripts):
        for name, content, expected in group():
            yield Case(name, "upload", expected, lambda visitor, content=content: visitor.predict(content))
    for name, content in pictures.archives():
        yield Case(name, "batch", "rows", lambda visitor, content=content, name=name: _batch(visitor, content, name))
    yield from _names()
    yield from _fields()
    yield from _files()
    yield from _data_urls()
    yield from _tools()
    yield from _requests()


def _batch(visitor: Visitor, content: bytes, name: str) -> Reply:
    sent = visitor.upload(content, name.encode())
    return visitor.call("predict_batch", [[sent.value[0]]])


def _names() -> Iterator[Case]:
    names = [
        f"../../../../{CANARY}.png",
        f"..\\..\\{CANARY}.png",
        f"/tmp/{CANARY}.png",
        f"%2e%2e%2f%2e%2e%2f{CANARY}.png",
        f"{SCRIPT}.png",
        f"'{MARK}\"onload=alert(1) x.png",
        f"=cmd|' /C {MARK}'!A0.png",
        f"{MARK}{'a' * 300}.png",
        f"{MARK}.png\0.jpg",
        f".{MARK}",
        "..",
        ".",
        " ",
        "",
        f"\u202egnp.{MARK}.exe",
        f"{MARK}\u2028\U0001f4a3.png",
        f"$(touch {CANARY}).png",
        f"; touch {CANARY} ;.png",
        f"http://127.0.0.1/{MARK}.png",
        "con.png",
    ]
    for name in names:
        sent = name.encode()
        yield Case(f"name {name[:30]!r}", "upload", "either", lambda visitor, n=sent: visitor.predict(visitor.good, n))
    yield Case("name no UTF-8", "upload", "either", lambda visitor: visitor.predict(visitor.good, b"\xff\xfe\x80.png"))


def _fields() -> Iterator[Case]:
    values: dict[str, tuple[str, list[Any]]] = {
        "caption": (
            "escnet",
            [SCRIPT, "x" * 401, MARK * 50_000, f"{MARK}\0\x1b[2J", "\ud800", {"a": MARK}, [MARK], 7],
        ),
        "labels": (
            "",
            [SCRIPT, f"{MARK},{MARK}", "a,", [], ["a", None], [["a"], "b"], {"a": 1}, 3, "x" * 5000, "<mask>, b"]
            + [[f"{MARK} {n}" for n in range(501)], f"=1+1,@{MARK}", "\ud800, b", f"\u202e{MARK}, b", "a\0,b\0"],
        ),
        "method": ("", [SCRIPT, "../ugrie", ["ugrie"], {"a": MARK}, MARK * 2000, "\ud800", True]),
        "emotion_model": ("", [SCRIPT, "own", "../mikels8", ["mikels8"], 5, MARK * 2000, "mikels8\0"]),
    }
    order = ["method", "emotion_model", "labels", "caption"]
    for field, (method, several) in values.items():
        for number, value in enumerate(several):
            given = {"method": method, "emotion_model": "", "labels": "", "caption": "", field: value}
            more = [given[name] for name in order]
            name = f"{field} {number}: {str(value)[:20]!a}"
            yield Case(name, "field", "either", lambda v, more=more: v.predict(v.good, b"picture.png", *more))


def _files() -> Iterator[Case]:
    """Files that were never uploaded, described as if they had been.

    TRAP stands for the address that nobody must visit, UPLOADS for the folder of a file that was uploaded.
    """
    meta = {"_type": "gradio.FileData"}
    paths = ["/etc/passwd", "/proc/self/environ", "/dev/zero", "app.py", "~/.ssh/id_rsa", "//host/share/x.png", "."]
    paths += ["file:///etc/passwd", "ftp://127.0.0.1/x.png", "TRAP", " TRAP", "a\0b", "\ud800", "x" * 70_000, ""]
    forged: list[Any] = [{"path": path, "meta": meta} for path in paths]
    forged += [{"path": path} for path in ("/etc/passwd", "TRAP", "UPLOADS/../../x.png")] + ["/etc/passwd", "TRAP"]
    forged += [
        {"path": "/etc/passwd", "meta": meta, "is_stream": True},
        {"path": None, "url": "TRAP", "meta": meta},
        {"url": "TRAP"},
        {"path": ["/etc/passwd"], "meta": meta},
        {"path": {"path": "TRAP", "meta": meta}, "meta": meta},
        {"video": {"path": "TRAP", "meta": meta}},
        [{"path": "TRAP", "meta": meta}],
        None,
        17,
        {},
    ]
    for number, file in enumerate(forged):
        for endpoint in ("predict", "predict_batch") if number % 3 == 0 else ("predict",):

            def send(visitor: Visitor, file: Any = file, endpoint: str = endpoint) -> Reply:
                written = json.dumps(file).replace("TRAP", visitor.trap)
                if "UPLOADS" in written:
                    written = written.replace("UPLOADS", visitor.upload(visitor.good).value[0].rpartition("/")[0])
                sent = json.loads(written)
                return visitor.call(endpoint, [[sent] if endpoint == "predict_batch" else sent])

            expected = "rows or refused" if endpoint == "predict_batch" else "refused or sentence"
            yield Case(f"{endpoint} of {str(file)[:40]!a}", "file", expected, send)


def _data_urls() -> Iterator[Case]:
    bomb = next(content for name, content, _ in pictures.bombs() if name == "bomb-header.png")
    urls = {
        "no base64": f"data:image/png,{MARK}",
        "bad base64": f"data:image/png;base64,{MARK}!!!",
        "no comma": f"data:image/png;base64{MARK}",
        "no ASCII": "data:image/png;base64,\u00e9\u00e9",
        "page": f"data:text/html;base64,{base64.b64encode(SCRIPT.encode()).decode()}",
        "drawing": f"data:image/svg+xml;base64,{base64.b64encode(b'<svg/>').decode()}",
        "nothing": "data:image/png;base64,",
        "long head": f"data:image/png;{'x' * 5000};base64,AAAA",
        "bomb": f"data:image/png;base64,{base64.b64encode(bomb).decode()}",
        "large": f"data:image/png;base64,{'A' * 3_000_000}",
    }
    for name, url in urls.items():
        yield Case(name, "data", "refused or sentence", lambda visitor, url=url: visitor.call("predict", [url]))


def _tools() -> Iterator[Case]:
    images = ["TRAP", {"path": "TRAP", "meta": {"_type": "gradio.FileData"}}, "/etc/passwd", SCRIPT, None, 5]
    images += [f"data:image/png;base64,{'A' * 3_900_000}", f"data:image/png;base64,{'A' * 15_000_000}"]
    for number, image in enumerate(images):

        def send(visitor: Visitor, image: Any = image) -> Reply:
            return visitor.tool("concepts", json.loads(json.dumps({"image": image}).replace("TRAP", visitor.trap)))

        yield Case(f"tool {number}: {str(image)[:30]!a}", "tool", "refused or sentence", send)
    yield Case("no tool", "tool", "refused or sentence", lambda visitor: visitor.tool(SCRIPT, {"image": "x"}))
    yield Case("no arguments", "tool", "refused or sentence", lambda visitor: visitor.tool("predict", [MARK]))


def _requests() -> Iterator[Case]:
    """Requests that are no calls, and addresses that the page has no use for."""
    predict = "/gradio_api/call/predict"
    bodies: dict[str, tuple[str, bytes]] = {
        "deep": (predict, b'{"data":' + b"[" * 100_000 + b"]" * 100_000 + b"}"),
        "nested": (predict, b'{"data":' + b"[" * 60 + b"]" * 60 + b"}"),
        "no number": (predict, b'{"data": [NaN]}'),
        "long number": (predict, b'{"data": [' + b"9" * 10_000 + b"]}"),
        "no UTF-8": (predict, b'{"data": ["\xff\xfe"]}'),
        "no JSON": (predict, SCRIPT.encode()),
        "a list": (predict, b"[]"),
        "no data": (predict, b"{}"),
        "data of another kind": (predict, b'{"data": {"image": "x"}}'),
        "too many": (predict, json.dumps({"data": [MARK] * 50}).encode()),
        "none": (predict, b'{"data": []}'),
        "large": (predict, json.dumps({"data": [MARK * 200_000]}).encode()),
        "session": (predict, b'{"data": ["x"], "session_hash": {"a": 1}}'),
        "function": ("/gradio_api/queue/join", b'{"data": [], "fn_index": 99999, "session_hash": "a"}'),
        "function below": ("/gradio_api/queue/join", b'{"data": [], "fn_index": -1, "session_hash": "a"}'),
        "function of text": ("/gradio_api/queue/join", b'{"data": [], "fn_index": "0", "session_hash": "a"}'),
        "private": ("/gradio_api/call/show", json.dumps({"data": [MARK]}).encode()),
        "unknown argument": ("/gradio_api/call/v2/predict", json.dumps({"image": "x", MARK: 1}).encode()),
        "recording": ("/gradio_api/process_recording", b"x"),
        "server function": ("/gradio_api/component_server", b'{"data":"x","component_id":1,"session_hash":"a"}'),
        "editing": ("/gradio_api/vibe-edit", b'{"prompt": "x"}'),
        "history": ("/gradio_api/run-history/connect", b'{"bucket_id": "a/b"}'),
        "login": ("/login", b"{}"),
        "no form": ("/gradio_api/upload", MARK.encode()),
    }
    for name, (path, body) in bodies.items():
        yield Case(name, "request", "refused", lambda v, path=path, body=body: v.request("POST", path, body, _JSON))
    paths = ["file=/etc/passwd", "file=../../etc/passwd", "file=app.py", "file=TRAP", "proxy=TRAP", "stream/a/close"]
    for path in [*paths, "file=/proc/self/environ", f"file={CANARY}%00.png", "custom_component/1/a/b/c", "dev/reload"]:

        def send(visitor: Visitor, path: str = path) -> Reply:
            return visitor.request("GET", "/gradio_api/" + quote(path.replace("TRAP", visitor.trap), safe="/=:%"))

        yield Case(path, "request", "refused", send)
    for path in (
        "/monitoring",
        "/?deep_link=../../x",
        "/gradio_api/deep_link?session_hash=a",
        "/assets/../../../app.py",
    ):
        yield Case(path, "request", "refused", lambda visitor, path=path: visitor.request("GET", path))
    yield Case("too large a file", "upload", "refused", lambda visitor: visitor.upload(bytes(61_000_000)))
    many = _form([(b"files", b"a.png", b"x")] * 1001)
    yield Case("too many files", "upload", "refused", lambda v: v.request("POST", "/gradio_api/upload", *many))
    broken = _form([(b"files", b"a.png", MARK.encode())])
    cut = (broken[0].replace(b"Content-Disposition", b"C" * 20_000), broken[1])
    yield Case("a broken form", "upload", "refused", lambda v: v.request("POST", "/gradio_api/upload", *cut))


def _form(parts: list[tuple[bytes, bytes, bytes]]) -> tuple[bytes, dict[str, str]]:
    """A body and its headers; names are written as they are."""
    boundary = b"----hostile"
    head = b'--%b\r\nContent-Disposition: form-data; name="%b"; filename="%b"\r\nContent-Type: image/png\r\n\r\n'
    body = b"".join(head % (boundary, field, name) + content + b"\r\n" for field, name, content in parts)
    content_type = f"multipart/form-data; boundary={boundary.decode()}"
    return body + b"--" + boundary + b"--\r\n", {"Content-Type": content_type}


def _json(text: str) -> Any:
    # The tools' server answers with an event.
    text = text.partition("data: ")[2] if text.startswith("event:") else text
    try:
        return json.loads(text)
    except ValueError:
        return None


def _said(content: str) -> str:
    value = _json(content)
    if isinstance(value, dict):
        return str(value.get("error") or value.get("detail") or "")
    return content

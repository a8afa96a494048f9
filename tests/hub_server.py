"""A small hub on this machine for tests: repositories in memory, behind the HTTP endpoints that the client asks for.

    with HubServer() as server:
        subprocess.run([...], env=client_environment(server, home))
        server.repository("me/mine").files()  # path -> bytes, of the branch main

Three tokens are known: "hf_test" may write what belongs to "me", "hf_read" may only read, "hf_other" is somebody
else's. What goes wrong is asked for: `server.fail("PUT /lfs/", 500)`, `server.fail(..., drop_after=100)` to hang up in
the middle of a request's body, `server.stop()` and `server.start()` for a server that dies and comes back.
"""

from __future__ import annotations

import os
import threading
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from http.server import ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest
from hub_answers import HubHandler
from hub_repository import Repository

_OF_THE_CLIENT = ("HF_", "HUGGING", "TRANSFORMERS_OFFLINE")


@dataclass
class Failure:
    """What is to go wrong with the next requests whose "METHOD path" holds `where`.

    Attributes:
        status: the answer's, with `headers` and `text` (JSON, if left out).
        times: how many requests it hits.
        drop_after: hang up after so many bytes of the body instead.
        lose_answer: do as asked, and hang up instead of an answer.
        then: called when the request was dropped.
    """

    where: str
    status: int | None
    headers: dict[str, str]
    text: str
    times: int
    drop_after: int | None
    lose_answer: bool
    then: Callable[[], None] | None


class HubServer:
    """The server: state, failures to inject, and a record of every request."""

    def __init__(self) -> None:
        self._server: ThreadingHTTPServer | None = None
        self.port = 0
        self.reset()

    def reset(self) -> None:
        """Forget all repositories, requests and failures."""
        self.lock = threading.RLock()
        self.repositories: dict[tuple[str, str], Repository] = {}
        self.lfs: dict[str, bytes] = {}
        self.failures: list[Failure] = []
        self.requests: list[str] = []  # "METHOD path"
        self.received: list[bytes] = []  # bodies, for those who look for what must not leave the machine
        self.pause = 0.0  # seconds that every 64 KiB of an upload take
        self.latency = 0.0  # seconds before every request is answered
        self.before_commit: Any = None  # called before a commit is applied: what others do meanwhile

    def fail(self, where: str, status: int | None = 500, **settings: Any) -> None:
        """Let requests fail; `settings` are :class:`Failure`'s other fields."""
        defaults = {"headers": {}, "text": "", "times": 1, "drop_after": None, "lose_answer": False, "then": None}
        self.failures.append(Failure(where, status, **(defaults | settings)))

    def repository(self, name: str, kind: str = "model") -> Repository:
        return self.repositories[kind, name]

    def add(
        self, name: str, kind: str = "model", private: bool = False, created: dict[str, Any] | None = None
    ) -> Repository:
        """A new repository with its first commit, as the Hub makes it."""
        found = self.repositories[kind, name] = Repository(private, created or {})
        found.commit("main", {".gitattributes": b"*.safetensors filter=lfs\n"}, "initial commit")
        return found

    @property
    def endpoint(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    def start(self) -> HubServer:
        class Bound(HubHandler):
            hub = self

        ThreadingHTTPServer.allow_reuse_address = True
        ThreadingHTTPServer.daemon_threads = True
        self._server = ThreadingHTTPServer(("127.0.0.1", self.port), Bound)
        self.port = self._server.server_address[1]
        threading.Thread(target=self._server.serve_forever, args=(0.02,), daemon=True).start()
        return self

    def stop(self) -> None:
        if self._server is not None:
            self._server.shutdown()
            self._server.server_close()
            self._server = None

    __enter__ = start

    def __exit__(self, *_: object) -> None:
        self.stop()


def client_environment(server: HubServer, home: Path, token: str | None = "hf_test") -> dict[str, str]:
    """The environment of a process that takes the server for the Hub, with `home` as its cache."""
    known = {name: value for name, value in os.environ.items() if not name.startswith(_OF_THE_CLIENT)}
    settings = {"HF_ENDPOINT": server.endpoint, "HF_HOME": str(home), "HF_HUB_DISABLE_XET": "1"}
    settings |= {"HF_HUB_OFFLINE": "0", "HF_HUB_DISABLE_TELEMETRY": "1", "HF_HUB_DISABLE_PROGRESS_BARS": "1"}
    return known | settings | ({"HF_TOKEN": token} if token else {})


@pytest.fixture(scope="session")
def hub_server() -> Iterator[HubServer]:
    """The server, started once; use `hub`, which begins empty."""
    with HubServer() as server:
        yield server


@pytest.fixture
def hub(hub_server: HubServer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> HubServer:
    """An empty hub, which this process takes for the Hub while the test runs; its token is "hf_test"."""
    from huggingface_hub import constants

    hub_server.reset()
    for name, value in client_environment(hub_server, tmp_path / "hub-home").items():
        monkeypatch.setenv(name, value)
    # The client read these when it was imported.
    monkeypatch.setattr(constants, "ENDPOINT", hub_server.endpoint)
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", False)
    monkeypatch.setattr(constants, "HF_HUB_DISABLE_XET", True)
    monkeypatch.setattr(constants, "HF_HUB_DISABLE_PROGRESS_BARS", True)
    monkeypatch.setattr(constants, "HF_TOKEN_PATH", str(tmp_path / "hub-home" / "token"))
    return hub_server

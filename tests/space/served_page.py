"""Whole pages as they are served, and plain HTTP to talk to them."""

import json
import socket
import sys
import urllib.error
import urllib.request
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

BENCHMARKS = Path(__file__).parents[2] / "benchmarks"
# The hostile pictures and requests, which a benchmark sends too.
sys.path.insert(0, str(BENCHMARKS))


@contextmanager
def served(predictors: Any, **limits: int) -> Iterator[tuple[Any, str]]:
    """A page for the predictors, and its address."""
    from iec_hub.space.limits import Limits
    from iec_hub.space.page import build_page, launch_options

    chosen = Limits(**limits)
    page = build_page(predictors, chosen)
    # Gradio looks for a free port from 7860 on. Tests in two processes would do so at the same time, and one that
    # finds its port taken after all leaves a second server of the same page behind.
    options = {**launch_options(chosen), "server_name": "127.0.0.1", "server_port": _free_port(), "inbrowser": False}
    _, url, _ = page.launch(**options, prevent_thread_lock=True, quiet=True, share=False)
    yield page, url
    page.close(verbose=False)


def _free_port() -> int:
    with socket.socket() as found:
        found.bind(("127.0.0.1", 0))
        return found.getsockname()[1]


def asked(
    url: str, path: str, body: Any = None, headers: Mapping[str, str] | None = None
) -> tuple[int, Any, Mapping[str, str]]:
    """Status, content (parsed where it is JSON) and headers of a request; a POST where there is a body."""
    sent = body if body is None or isinstance(body, bytes) else json.dumps(body).encode()
    request = urllib.request.Request(url + path, sent, {"Content-Type": "application/json", **(headers or {})})
    try:
        reply = urllib.request.urlopen(request, timeout=30)
    except urllib.error.HTTPError as error:
        reply = error
    with reply:
        content = reply.read()
        try:
            return reply.status, json.loads(content), reply.headers
        except ValueError:
            return reply.status, content, reply.headers

"""The small hub, a finished run to push to it, and processes that talk to it."""

import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from finished_runs import make_run
from hub_server import HubServer, client_environment, hub, hub_server  # noqa: F401  fixtures

from iec_hub.hub import failures


@pytest.fixture
def run_folder(tiny_ugrie_dir: Path, tmp_path: Path) -> Path:
    """A full training's folder as it is when the training ends."""
    return make_run(tiny_ugrie_dir, tmp_path / "run")


@pytest.fixture
def no_waiting(monkeypatch: pytest.MonkeyPatch) -> list[float]:
    """How long a push would have waited between its tries, and the client between its own."""
    waits: list[float] = []
    monkeypatch.setattr(failures.time, "sleep", waits.append)
    return waits


@pytest.fixture
def command(hub: HubServer, tmp_path: Path) -> Callable[..., subprocess.CompletedProcess[str]]:  # noqa: F811
    """Runs Python code or a module in another process, which has an empty cache of the Hub."""

    def run(*words: str, token: str | None = "hf_test", **settings: Any) -> subprocess.CompletedProcess[str]:
        environment = client_environment(hub, tmp_path / "another-home", token)
        return subprocess.run(
            [sys.executable, *words], env=environment, capture_output=True, text=True, timeout=120, **settings
        )

    return run

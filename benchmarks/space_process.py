"""The real Space in a process of its own, for benchmarks that visit it."""

from __future__ import annotations

import os
import socket
import subprocess
import sys
import tempfile
import time
import urllib.error
import urllib.request
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import machine

_LONGEST_START = 120.0


@dataclass(frozen=True)
class Space:
    """A running Space.

    Attributes:
        url: of its page, with a slash at the end.
        pid: of its process.
        log: what it has written so far.
    """

    url: str
    pid: int
    log: Path

    @property
    def resident_mib(self) -> float:
        """Memory that the process holds now, in MiB; 0 where the system does not tell."""
        try:
            status = Path(f"/proc/{self.pid}/status").read_text(encoding="utf-8")
        except OSError:
            return 0.0
        return int(status.split("VmRSS:")[1].split()[0]) / 1024

    @property
    def processor_seconds(self) -> float:
        """What the process has cost until now, on all cores; 0 where the system does not tell."""
        try:
            fields = Path(f"/proc/{self.pid}/stat").read_text(encoding="ascii").rpartition(")")[2].split()
        except OSError:
            return 0.0
        return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


@contextmanager
def running(environment: Mapping[str, str] | None = None) -> Iterator[Space]:
    """`python app.py` on a free port of this machine, from its first answer until the block ends.

    Raises:
        RuntimeError: if it ends or does not answer in two minutes, with the end of what it wrote.
    """
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    with tempfile.TemporaryDirectory() as folder:
        log = Path(folder) / "log.txt"
        given = {"GRADIO_SERVER_NAME": "127.0.0.1", "GRADIO_SERVER_PORT": str(port), "GRADIO_TEMP_DIR": folder}
        with log.open("wb") as written:
            process = subprocess.Popen(
                [sys.executable, str(machine.ROOT / "app.py")],
                cwd=machine.ROOT,
                env=os.environ | given | {"HF_HUB_OFFLINE": "1"} | dict(environment or {}),
                stdout=written,
                stderr=subprocess.STDOUT,
            )
        try:
            url = f"http://127.0.0.1:{port}/"
            _await(url, process, log)
            yield Space(url, process.pid, log)
        finally:
            process.terminate()
            try:
                process.wait(20)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()


def _await(url: str, process: subprocess.Popen, log: Path) -> None:
    end = time.monotonic() + _LONGEST_START
    while time.monotonic() < end and process.poll() is None:
        try:
            with urllib.request.urlopen(url, timeout=5) as answer:
                answer.read()
            return
        except (urllib.error.URLError, OSError):
            time.sleep(0.05)
    raise RuntimeError(f"The Space did not start: {log.read_text(errors='replace')[-2000:]}")

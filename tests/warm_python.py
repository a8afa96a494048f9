"""A Python that has imported what training needs; what is started from it begins there.

    with WarmPython(environment) as warm:
        subprocess.run([warm.folder / "python", "-c", code])  # or FILE
        subprocess.run(["iec-hub", "train", ...], env=warm.environment)

To import torch, transformers and peft takes longer than a short training, and every command of a page would do it
anew. Here one process imports them and forks for each command, which has its own arguments, folder, environment and
streams. What is read from the environment at import is that of the first process: start another for other settings.
"""

from __future__ import annotations

import gc
import importlib
import json
import multiprocessing
import multiprocessing.connection
import multiprocessing.process
import os
import runpy
import shlex
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
from collections.abc import Mapping
from pathlib import Path

IMPORTED = ("iec_hub.cli", "iec_hub.finetuning.ugrie_command", "iec_hub.finetuning.escnet_command")
IMPORTED += ("iec_hub.finetuning.aciec_command", "iec_hub.finetuning.pictures", "iec_hub.predictor", "iec_hub.hub")
IMPORTED += ("matplotlib.figure",)
# The commands, by what Python is told for them.
COMMANDS = {"python": [], "iec-hub": ["-c", "import sys; from iec_hub.cli import main; sys.exit(main())"]}

# What stands for a command: hands everything over, and ends as the command did.
_KNOCK = """
import json, os, socket, sys
with socket.socket(socket.AF_UNIX) as door:
    door.connect(sys.argv[1])
    told = json.dumps([sys.argv[2:], os.getcwd(), dict(os.environ)]).encode()
    socket.send_fds(door, [len(told).to_bytes(4, "big")], [0, 1, 2])
    door.sendall(told)
    ended = int(door.makefile().readline() or 1)
sys.exit(ended if ended >= 0 else 128 - ended)
"""


class WarmPython:
    """The process, and a folder with the commands that it starts. Linux and macOS; use it as a context manager.

    Attributes:
        folder: holds `python` and `iec-hub`.
        environment: with that folder first in `PATH`.
    """

    def __init__(self, environment: Mapping[str, str]) -> None:
        # Not in the test's folder, whose path may be longer than a socket's may be.
        self.folder = Path(tempfile.mkdtemp(prefix="warm"))
        self.environment = {**environment, "PATH": f"{self.folder}{os.pathsep}{environment['PATH']}"}
        self._process: subprocess.Popen | None = None

    def __enter__(self) -> WarmPython:
        address, knock = str(self.folder / "door"), self.folder / "knock.py"
        knock.write_text(_KNOCK, encoding="utf-8")
        for name, words in COMMANDS.items():
            told = shlex.join([sys.executable, "-IS", str(knock), address, *words])
            (self.folder / name).write_text(f'#!/bin/sh\nexec {told} "$@"\n', encoding="utf-8")
            (self.folder / name).chmod(0o755)
        with socket.socket(socket.AF_UNIX) as door:
            door.bind(address)
            door.listen()
            # Those who come before the imports are over wait at the door.
            self._process = subprocess.Popen(
                [sys.executable, __file__, str(door.fileno())],
                env=self.environment,
                pass_fds=[door.fileno()],
                stdin=subprocess.DEVNULL,
                start_new_session=True,
            )
        return self

    def __exit__(self, *_: object) -> None:
        assert self._process is not None
        os.killpg(self._process.pid, signal.SIGKILL)
        self._process.wait()
        shutil.rmtree(self.folder)


def serve(door: socket.socket) -> None:
    """Start what comes through the door, for ever."""
    for name in IMPORTED:
        importlib.import_module(name)
    # The collector of a forked process would write to every object, and so copy all memory.
    gc.freeze()
    forking = multiprocessing.get_context("fork")
    running: dict[int, tuple[multiprocessing.process.BaseProcess, socket.socket]] = {}
    while True:
        for ready in multiprocessing.connection.wait([door, *running]):
            if ready is door:
                asked, _ = door.accept()
                length, streams, _, _ = socket.recv_fds(asked, 4, 3)
                with asked.makefile("rb") as told:
                    words, folder, environment = json.loads(told.read(int.from_bytes(length, "big")))
                command = forking.Process(target=become, args=(words, folder, environment, streams))
                command.start()
                running[command.sentinel] = command, asked
                for stream in streams:
                    os.close(stream)
            else:
                command, asked = running.pop(ready)
                command.join()
                asked.sendall(f"{command.exitcode}\n".encode())
                asked.close()


def become(words: list[str], folder: str, environment: dict[str, str], streams: list[int]) -> None:
    """Do as `python WORDS` would in that folder; it ends without Python's tidying up, which takes seconds here."""
    for number, stream in enumerate(streams):
        os.dup2(stream, number)
        os.close(stream)
    # Other files than Python began with: a pipe cannot be sought, for one.
    sys.stdin = os.fdopen(0, encoding="utf-8", closefd=False)
    sys.stdout = os.fdopen(1, "w", buffering=1, encoding="utf-8", closefd=False)
    sys.stderr = os.fdopen(2, "w", buffering=1, encoding="utf-8", errors="backslashreplace", closefd=False)
    os.chdir(folder)
    os.environ.clear()
    os.environ.update(environment)
    if words[0] == "-c":
        sys.argv, sys.path[0] = ["-c", *words[2:]], ""
        exec(compile(words[1], "<string>", "exec"), {"__name__": "__main__"})
    else:
        sys.argv, sys.path[0] = words, str(Path(words[0]).resolve().parent)
        runpy.run_path(words[0], run_name="__main__")


if __name__ == "__main__":
    serve(socket.socket(fileno=int(sys.argv[1])))

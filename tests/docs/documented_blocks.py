"""Finds the blocks of a Markdown page that can be run, and runs them as a reader would: in order, in one folder."""

from __future__ import annotations

import os
import re
import select
import signal
import subprocess
import sys
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

_FENCE = re.compile(r"^(?P<fence>`{3,}|~{3,})(?P<language>[\w+-]*)\s*$")
_NOT_RUN = re.compile(r"<!--\s*not run:(?P<reason>.*)-->")
_PRINTS = re.compile(r"<!--\s*prints\s*-->")
# Measured figures differ between machines; counts do not.
_MEASURED = re.compile(r"-?\d+\.\d+(?:e[+-]?\d+)?")
BLOCK_SECONDS = 240

# Runs files of Python in one namespace, and says after each how it went: "ok" or "failed".
_PYTHON = """
import sys, traceback
said = open(sys.argv[1], "w")
page = {"__name__": "__main__"}
for line in sys.stdin:
    path, name = line.rstrip("\\n").split("\\t")
    try:
        with open(path, encoding="utf-8") as file:
            exec(compile(file.read(), name, "exec"), page)
        went = "ok"
    except BaseException:
        traceback.print_exc()
        went = "failed"
    sys.stdout.flush()
    sys.stderr.flush()
    said.write(went + "\\n")
    said.flush()
"""


@dataclass(frozen=True)
class Block:
    """A fenced block.

    Attributes:
        where: page and line, for messages.
        not_run: why it is not run; `None` where it is.
        prints: lines that the page shows as its output; empty where it shows none.
    """

    where: str
    language: str
    code: str
    not_run: str | None = None
    prints: tuple[str, ...] = ()


def blocks_of(page: Path) -> list[Block]:
    """The bash and Python blocks of a page, each with the output that is shown for it.

    A `text` block that follows a Python block directly is what that one prints. After a bash block it needs the
    comment `<!-- prints -->`, because it may also show the files that are there now.
    """
    found: list[Block] = []
    comment, expects = "", False  # the last comment, and whether nothing but it and blank lines came after a block
    lines = page.read_text(encoding="utf-8").splitlines()
    number = 0
    while number < len(lines):
        fence = _FENCE.match(lines[number])
        if fence is None:
            if lines[number].strip():
                is_comment = lines[number].startswith("<!--")
                comment = lines[number] if is_comment else ""
                expects = expects and is_comment
            number += 1
            continue
        start = number + 1
        number = next((i for i in range(start, len(lines)) if lines[i].rstrip() == fence["fence"]), len(lines))
        body, language = lines[start:number], fence["language"]
        if language in ("bash", "python"):
            skip = _NOT_RUN.search(comment)
            reason = skip["reason"].strip() if skip else None
            found.append(Block(f"{page.name}:{start}", language, "\n".join(body) + "\n", reason))
        elif language == "text" and expects and (found[-1].language == "python" or _PRINTS.search(comment)):
            last = found[-1]
            found[-1] = Block(last.where, last.language, last.code, last.not_run, tuple(body))
        comment, expects = "", language in ("bash", "python")
        number += 1
    return found


def missing_line(shown: tuple[str, ...], output: str) -> str | None:
    """The first shown line that the output does not have, in its order; `None` if it has all.

    Spaces, and what stands behind a decimal point, may differ; "..." stands for anything.
    """
    rest = [_comparable(line) for line in re.split(r"[\n\r]", output)]
    for line in shown:
        if not line.strip() or line.strip() == "...":
            continue
        pattern = ".*".join(re.escape(_comparable(part)) for part in line.split("..."))
        found = next((i for i, given in enumerate(rest) if re.fullmatch(pattern, given)), None)
        if found is None:
            return line
        rest = rest[found + 1 :]
    return None


def _comparable(line: str) -> str:
    return " ".join(_MEASURED.sub("0.0", line).split())


@dataclass
class PageRun:
    """A reader's folder and shell; Python blocks share one process, which is started by the first.

    Use it as a context manager, which ends that process.

    Attributes:
        folder: where everything runs.
        environment: of everything.
        notes: a folder for what the run itself writes.
        python: what runs the Python blocks.
    """

    folder: Path
    environment: Mapping[str, str]
    notes: Path
    python: str | Path = sys.executable
    _python: subprocess.Popen | None = None
    _said: int = -1
    _log: Path = field(default=Path())

    def __enter__(self) -> PageRun:
        self._log = self.notes / "python.log"
        return self

    def __exit__(self, *_: object) -> None:
        if self._python is not None:
            os.killpg(self._python.pid, signal.SIGKILL)
            self._python.wait()
            os.close(self._said)

    def run(self, block: Block) -> tuple[bool, str]:
        """Whether the block succeeded, and what it printed."""
        return self._bash(block) if block.language == "bash" else self._in_python(block)

    def _bash(self, block: Block) -> tuple[bool, str]:
        command = ["bash", "-euo", "pipefail", "-c", block.code]
        with (self.notes / "bash.log").open("w+", encoding="utf-8", errors="replace") as log:
            shell = subprocess.Popen(
                command,
                cwd=self.folder,
                env=self.environment,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=subprocess.STDOUT,
                start_new_session=True,
            )
            try:
                shell.wait(BLOCK_SECONDS)
            except subprocess.TimeoutExpired:
                os.killpg(shell.pid, signal.SIGKILL)
                shell.wait()
                log.write(f"\nstopped after {BLOCK_SECONDS} s\n")
            log.seek(0)
            return shell.returncode == 0, log.read()

    def _in_python(self, block: Block) -> tuple[bool, str]:
        if self._python is None:
            self._start_python()
        assert self._python is not None and self._python.stdin is not None
        before = self._log.stat().st_size
        code = self.notes / "block.py"
        code.write_text(block.code, encoding="utf-8")
        self._python.stdin.write(f"{code}\t{block.where}\n")
        self._python.stdin.flush()
        ready, _, _ = select.select([self._said], [], [], BLOCK_SECONDS)
        went = os.read(self._said, 64).decode().strip() if ready else f"stopped after {BLOCK_SECONDS} s"
        with self._log.open("rb") as log:
            log.seek(before)
            output = log.read().decode("utf-8", errors="replace")
        return went == "ok", output if went in ("ok", "failed") else f"{output}\n{went or 'Python ended'}\n"

    def _start_python(self) -> None:
        driver, answers = self.notes / "driver.py", self.notes / "answers"
        driver.write_text(_PYTHON, encoding="utf-8")
        os.mkfifo(answers)
        with self._log.open("w", encoding="utf-8") as log:
            self._python = subprocess.Popen(
                [str(self.python), str(driver), str(answers)],
                cwd=self.folder,
                env=self.environment,
                stdin=subprocess.PIPE,
                stdout=log,
                stderr=subprocess.STDOUT,
                text=True,
                start_new_session=True,
            )
        # Waits until the process has opened its end.
        self._said = os.open(answers, os.O_RDONLY)


__all__ = ["Block", "PageRun", "blocks_of", "missing_line"]

"""Sends hostile pictures and requests to the page's server, and looks at what it says, keeps, fetches and logs.

    python benchmarks/space_abuse.py

`app.py` runs in a process of its own in an empty folder, with the bundled models. Each visit must get its
sentence, or its answer where the picture can be judged; right after each, a good picture must get its answer.
Afterwards no file may have appeared outside the folder of uploads, none of the uploads may be left once their time is
over (here some seconds), nothing that was sent may stand in the log, and the web address that many of the visits name
must not have been visited.
"""

from __future__ import annotations

import argparse
import json
import os
import re
import socket
import subprocess
import sys
import tempfile
import time
from collections import Counter
from pathlib import Path
from typing import Any

import machine
from hostile_pictures import CANARY, MARK
from hostile_requests import Visitor, cases, wrong
from hostile_trap import trap

KEPT_SECONDS = 5
# The real app.py, but for the time after which uploads go.
SERVER = f"""
import runpy, sys
sys.path.insert(0, {str(machine.ROOT)!r})
from iec_hub.space import door
door.KEPT_SECONDS, door.SWEEP_SECONDS = {KEPT_SECONDS}, 1
runpy.run_path({str(machine.ROOT / "app.py")!r}, run_name="__main__")
"""


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--every", type=int, default=1, help="send only every so many of them (default 1: all)")
    parser.add_argument("--dry", action="store_true", help="print, and leave the stored results as they are")
    given = parser.parse_args()
    result = measure(given.every)
    if given.dry:
        print(table(result))
    else:
        machine.write_results("space_abuse", result, table(result))
    problems = {name: result[name] for name in ("wrong", "left", "logged", "fetched") if result[name]}
    if problems:
        sys.exit(f"Not every hostile visit went as it should: {json.dumps(problems)}")


def measure(every: int) -> dict[str, Any]:
    """Send them; what went wrong, and what was left."""
    with tempfile.TemporaryDirectory() as home, trap() as (address, seen):
        folder, uploads, log = Path(home) / "folder", Path(home) / "uploads", Path(home) / "log"
        folder.mkdir()
        with log.open("w") as written:
            environment = {**os.environ, "GRADIO_TEMP_DIR": str(uploads), "HF_HUB_OFFLINE": "1", "HOME": home}
            environment |= {"GRADIO_SERVER_NAME": "127.0.0.1", "GRADIO_SERVER_PORT": str(_free_port())}
            environment["PYTHONUNBUFFERED"] = "1"
            server = subprocess.Popen(
                [sys.executable, "-c", SERVER], cwd=folder, env=environment, stdout=written, stderr=written
            )
            try:
                visitor = Visitor(_address(log, server), address)
                examples = _files(uploads)
                result = _send(visitor, every)
                time.sleep(KEPT_SECONDS + 5)
                left = (_files(uploads) - examples) | _files(folder) | set(Path(home).rglob(f"*{CANARY}*"))
            finally:
                server.terminate()
                server.wait(30)
        left |= set(Path(tempfile.gettempdir()).glob(f"*{CANARY}*"))
        result["left"] = sorted(path.name for path in left)
        result["logged"] = log.read_text(errors="replace").count(MARK)
        result["fetched"] = len(seen)
    return {"every": every, **result, "machine": machine.facts()}


def _send(visitor: Visitor, every: int) -> dict[str, Any]:
    doors: Counter[str] = Counter()
    kinds: Counter[str] = Counter()
    problems, slowest = [], 0.0
    visitor.predict(visitor.good)
    for number, case in enumerate(cases()):
        if number % every:
            continue
        start = time.perf_counter()
        reply = case.send(visitor)
        slowest = max(slowest, time.perf_counter() - start)
        doors[case.door] += 1
        kinds["sentence or status" if reply.sentence else "answer"] += 1
        problem = wrong(case, reply)
        if problem is None and not (visitor.predict(visitor.good).value or {}).get("distribution"):
            problem = "no answer to a good picture right after"
        if problem:
            problems.append(f"{case.door}, {case.name}: {problem}")
    return {"doors": dict(doors), "kinds": dict(kinds), "wrong": problems, "slowest_seconds": round(slowest, 2)}


def table(result: dict[str, Any]) -> str:
    """The result as Markdown."""
    what = {
        "upload": "a file, then `predict`",
        "batch": "an archive, then `predict_batch`",
        "field": "caption, labels, method or emotion model",
        "file": "the description of a file that was never uploaded",
        "data": "a picture within the request",
        "tool": "a tool of the MCP server",
        "request": "requests that are no calls",
    }
    total = sum(result["doors"].values())
    options = f" --every {result['every']}" if result["every"] > 1 else ""
    lines = [
        "# Hostile visits to the Space",
        "",
        f"{total} hostile visits to `app.py` with the bundled models. Not as they should be: "
        f"**{len(result['wrong'])}**. A good picture right after each got its answer. Files outside the uploads, or "
        f"uploads after their time: **{len(result['left'])}**; words of the visits in the log: "
        f"**{result['logged']}**; visits to the web address that they name: **{result['fetched']}**. The slowest took "
        f"{result['slowest_seconds']} s. Made by `python benchmarks/space_abuse.py{options}`.",
        "",
        "| door | visits |",
        "|---|---:|",
        *(f"| {what[door]} | {count} |" for door, count in result["doors"].items()),
        "",
        f"Machine: {machine.facts_line(result['machine'])}.",
        "",
    ]
    return "\n".join(lines)


def _free_port() -> int:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        return free.getsockname()[1]


def _address(log: Path, server: subprocess.Popen[bytes]) -> str:
    for _ in range(600):
        if found := re.search(r"http://127\.0\.0\.1:\d+", log.read_text(errors="replace")):
            return found[0]
        if server.poll() is not None:
            break
        time.sleep(0.2)
    raise SystemExit(f"The page does not start: {log.read_text(errors='replace')[-2000:]}")


def _files(folder: Path) -> set[Path]:
    return {path for path in folder.rglob("*") if path.is_file()}


if __name__ == "__main__":
    main()

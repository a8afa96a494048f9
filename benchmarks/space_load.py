"""The Space under load: 1, 8 and 64 visitors at once, each asking again as soon as it is answered.

    python benchmarks/space_load.py
    python benchmarks/space_load.py --seconds 20 --dry     # a short look

Visitors come over HTTP to the real `app.py` in a process of its own: each uploads a photograph and asks the endpoint
`predict` about it, the offered methods in turn. Every number of visitors meets the same process, one after the other,
after a warm-up that is not counted. Then all is asked again of a Space without batching: one picture at a time, with
all cores to itself. Visitors and Space share the cores of this machine.
"""

from __future__ import annotations

import argparse
import http.client
import itertools
import json
import os
import secrets
import statistics
import tempfile
import threading
import time
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import machine
import space_process

PICTURES = machine.ROOT / "tests" / "fixtures" / "coco_cc_by"
VISITORS = (1, 8, 64)
WITHOUT_BATCHING = {"batch": 1, "workers": 1}
_BOUNDARY = "space-load-picture"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seconds", type=float, default=120, help="per number of visitors (default 120)")
    parser.add_argument("--warm-up", type=float, default=60, help="seconds that are not counted (default 60)")
    parser.add_argument("--methods", default="ugrie,escnet,aciec", help="asked in turn (default all three)")
    parser.add_argument("--evidence", action="store_true", help="ask for evidence too")
    parser.add_argument("--dry", action="store_true", help="print, and leave the stored results as they are")
    given = parser.parse_args()
    asked = {"methods": given.methods.split(","), "evidence": given.evidence}
    result = {
        "seconds": given.seconds,
        "warm_up": given.warm_up,
        **asked,
        "machine": machine.facts(),
        "batching": measure({}, VISITORS, given.seconds, given.warm_up, asked),
        "one_at_a_time": measure(WITHOUT_BATCHING, VISITORS[:2], given.seconds, given.warm_up, asked),
    }
    if given.dry:
        print(table(result))
    else:
        machine.write_results("space_load", result, table(result))


def measure(
    limits: Mapping[str, int], visitors: tuple[int, ...], seconds: float, warm_up: float, asked: Mapping[str, Any]
) -> list[dict[str, Any]]:
    """One row for each number of visitors."""
    with tempfile.TemporaryDirectory() as folder:
        config = Path(folder) / "space.yaml"
        config.write_text(json.dumps({"limits": dict(limits)}), encoding="utf-8")  # JSON is YAML
        with space_process.running({"IEC_HUB_SPACE_CONFIG": str(config), "CUDA_VISIBLE_DEVICES": ""}) as space:
            # As many as will come: memory that the crowd needs is there before it is measured.
            visit(space, max(visitors), warm_up, asked)
            return [visit(space, count, seconds, asked) for count in visitors]


def visit(space: space_process.Space, count: int, seconds: float, asked: Mapping[str, Any]) -> dict[str, Any]:
    """What `count` visitors at once meet in so many seconds; whoever waits at the end still gets its answer."""
    before, spent, begin = space.resident_mib, space.processor_seconds, time.perf_counter()
    taken: list[float] = []
    errors: list[str] = []
    turns = itertools.cycle(itertools.product(asked["methods"], sorted(PICTURES.glob("*.jpg"))))
    threads = [
        threading.Thread(target=_visitor, args=(space.url, turns, begin + seconds, asked["evidence"], taken, errors))
        for _ in range(count)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    elapsed = time.perf_counter() - begin
    return {
        "visitors": count,
        "answers": len(taken),
        "per_second": round(len(taken) / elapsed, 2),
        "p50": round(quantile(taken, 0.5), 3),
        "p95": round(quantile(taken, 0.95), 3),
        "processor_seconds": round((space.processor_seconds - spent) / max(1, len(taken)), 3),
        "errors": len(errors),
        "first_error": errors[0] if errors else None,
        "mib_at_start": round(before, 1),
        "mib_at_end": round(space.resident_mib, 1),
    }


def quantile(values: list[float], share: float) -> float:
    if len(values) < 2:
        return values[0] if values else float("nan")
    return statistics.quantiles(values, n=100, method="inclusive")[round(share * 100) - 1]


def _visitor(
    url: str, turns: Iterator[Any], end: float, evidence: bool, taken: list[float], errors: list[str]
) -> None:
    at = urlsplit(url)
    connection = http.client.HTTPConnection(at.hostname, at.port, timeout=120)
    session = secrets.token_hex(8)  # as the page and gradio's client have one each
    while (begin := time.perf_counter()) < end:
        method, picture = next(turns)
        try:
            answer = _ask(connection, picture, method, evidence, session)
            if "emotion" not in answer:
                raise ValueError(f"an answer without an emotion: {str(answer)[:200]}")
            taken.append(time.perf_counter() - begin)
        except (OSError, ValueError, http.client.HTTPException) as error:
            errors.append(f"{type(error).__name__}: {str(error)[:300]}")
            connection.close()
            time.sleep(0.2)
    connection.close()


def _ask(
    connection: http.client.HTTPConnection, picture: Path, method: str, evidence: bool, session: str
) -> Mapping[str, Any]:
    """Upload a picture and ask about it."""
    head = f'--{_BOUNDARY}\r\nContent-Disposition: form-data; name="files"; filename="{picture.name}"\r\n\r\n'
    body = head.encode() + picture.read_bytes() + f"\r\n--{_BOUNDARY}--\r\n".encode()
    kind = {"Content-Type": f"multipart/form-data; boundary={_BOUNDARY}"}
    path = _posted(connection, "/gradio_api/upload", body, kind)[0]
    image = {"path": path, "meta": {"_type": "gradio.FileData"}}
    asked = json.dumps({"data": [image, method, "", "", "", evidence], "session_hash": session}).encode()
    return _posted(connection, "/gradio_api/run/predict", asked, {"Content-Type": "application/json"})["data"][0]


def _posted(connection: http.client.HTTPConnection, path: str, body: bytes, headers: Mapping[str, str]) -> Any:
    connection.request("POST", path, body, dict(headers))
    answer = connection.getresponse()
    content = answer.read()
    if answer.status != 200:
        raise ValueError(f"{path} answered {answer.status}: {content[:200]!r}")
    return json.loads(content)


def table(result: Mapping[str, Any]) -> str:
    """The Markdown of `results/space_load.md`."""
    options = f" --seconds {result['seconds']:g} --warm-up {result['warm_up']:g}{' --evidence' * result['evidence']}"
    options += f" --methods {','.join(result['methods'])}"
    rows = {f"{way} {row['visitors']}": row for way in ("batching", "one_at_a_time") for row in result[way]}
    lines = [
        "# The Space under load",
        "",
        f"`app.py` with the bundled models on the CPU; visitors upload a photograph and ask `predict`, the methods "
        f"{', '.join(result['methods'])} in turn, {'with' if result['evidence'] else 'without'} evidence, for "
        f"{result['seconds']:g} seconds each. Seconds are from the upload to the answer. Made by "
        f"`python benchmarks/space_load.py{options}`.",
        "",
        "| Space | visitors | answers/s | p50, s | p95, s | processor s per answer | answers | errors | MiB at start "
        "| MiB at end |",
        "|---|---|---|---|---|---|---|---|---|---|",
    ]
    for name, row in rows.items():
        way = "as it is" if name.startswith("batching") else "one picture at a time"
        times = f"{row['per_second']:.1f} | {row['p50']:.2f} | {row['p95']:.2f} | {row['processor_seconds']:.3f}"
        memory = f"{row['mib_at_start']:.0f} | {row['mib_at_end']:.0f}"
        lines.append(f"| {way} | {row['visitors']} | {times} | {row['answers']} | {row['errors']} | {memory} |")
    names = ("batching 8", "batching 1", "one_at_a_time 8", "one_at_a_time 1")
    eight, one, alone, strictly = (rows[name]["per_second"] for name in names)
    first, last = result["batching"][0]["mib_at_start"], result["batching"][-1]["mib_at_end"]
    lines += [
        "",
        f"With 8 visitors the Space answers {eight / alone:.2f} times as many as one that takes one picture at a "
        f"time for as many visitors, {eight / strictly:.2f} times as many as that one answers a single visitor, and "
        f"{eight / one:.2f} times as many as it answers a single visitor itself. Memory at the end against the start, "
        f"which is after {result['warm_up']:g} seconds of the largest crowd: {100 * (last / first - 1):+.1f} %.",
        "",
        f"Machine: {machine.facts_line(result['machine'])}; processor threads of OMP: "
        f"{os.environ.get('OMP_NUM_THREADS', 'as many as cores')}.",
        "",
    ]
    return "\n".join(lines)


if __name__ == "__main__":
    main()

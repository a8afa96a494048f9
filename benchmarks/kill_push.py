"""Kills a push at random moments: whether the repository ever holds half of a run, and whether a push can be repeated.

    python benchmarks/kill_push.py

A copy of a bundled checkpoint is pushed by a process of its own to a small hub on this machine (`tests/hub_server.py`)
that takes its time, and killed (SIGKILL) at a moment drawn from the time that a whole push takes. After each kill the
repository must hold nothing of the push or all of it, byte for byte. Then the push is repeated, and must leave one
commit. An empty repository is used for each kill. The seed, the moments and what was found are in the result.
"""

from __future__ import annotations

import argparse
import json
import random
import re
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections import Counter
from pathlib import Path
from typing import Any

import machine

sys.path.insert(0, str(machine.ROOT / "tests"))

from hub_server import HubServer, client_environment  # noqa: E402

from iec_hub.hub.contents import run_contents  # noqa: E402
from iec_hub.registry import checkpoint_path  # noqa: E402

NAME = "me/mine"
# The start of Python is over before the clock starts: kills are to hit the push, not the imports.
PUSH = """
import sys
import huggingface_hub.hf_api
from iec_hub.hub import publish_run
print("ready", flush=True)
publish_run(sys.argv[1], sys.argv[2])
"""
SECONDS_TO_SETTLE = 0.3


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--model", default="ugrie-mini", help="bundled checkpoint or folder (default ugrie-mini)")
    parser.add_argument("--kills", type=int, default=20, help="how many (default 20)")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--pause", type=float, default=0.002, help="seconds that the hub takes per 64 KiB")
    parser.add_argument("--latency", type=float, default=0.1, help="seconds before it answers a request")
    parser.add_argument("--dry", action="store_true", help="print, and leave the stored results as they are")
    given = parser.parse_args()
    result = measure(Path(checkpoint_path(given.model)), given.kills, given.seed, (given.pause, given.latency))
    result = {"model": given.model, **result}
    if given.dry:
        print(table(result))
    else:
        machine.write_results("kill_push", result, table(result))
    if result["half_written"] or result["not_repeatable"]:
        sys.exit("A killed push left something half-written.")


def measure(folder: Path, kills: int, seed: int, pace: tuple[float, float]) -> dict[str, Any]:
    """Kill `kills` pushes; what was found after each kill and after each repetition.

    Args:
        pace: the hub's seconds per 64 KiB, and before each answer.
    """
    draw = random.Random(seed)
    trials: list[dict[str, Any]] = []
    with HubServer() as hub, tempfile.TemporaryDirectory() as home:
        # A copy: nothing else may change its files while they are compared.
        folder = Path(shutil.copytree(folder, Path(home) / "run"))
        expected = {name: path.read_bytes() for name, path in run_contents(folder).files.items()}
        hub.pause, hub.latency = pace
        environment = client_environment(hub, Path(home) / "hub-home")
        whole = [_push(hub, folder, environment)[0] for _ in range(3)]
        for number in range(kills):
            # A little longer than the longest push, so that some kills come too late.
            moment = draw.uniform(0, 1.1 * max(whole))
            _, reached = _push(hub, folder, environment, moment)
            time.sleep(SECONDS_TO_SETTLE + pace[1])  # what the hub has begun, it ends
            found = _state(hub, expected)
            repeated, _ = _push(hub, folder, environment, fresh=False)
            messages = hub.repository(NAME).messages[1:]
            ends_well = _state(hub, expected) == "whole" and len(messages) == 1
            trials.append(
                {
                    "kill": number,
                    "seconds": round(moment, 3),
                    "reached": reached,
                    "found": found,
                    "repeated_seconds": round(repeated, 3),
                    "ends_well": ends_well,
                }
            )
            print(json.dumps(trials[-1]), file=sys.stderr)
    return {
        "kills": kills,
        "seed": seed,
        "seconds_per_64_kib": pace[0],
        "latency_seconds": pace[1],
        "files": len(expected),
        "bytes": sum(map(len, expected.values())),
        "push_seconds": [round(seconds, 3) for seconds in whole],
        "half_written": sum(trial["found"] == "half" for trial in trials),
        "not_repeatable": sum(not trial["ends_well"] for trial in trials),
        "trials": trials,
        "machine": machine.facts(),
    }


def _push(
    hub: HubServer, folder: Path, environment: dict[str, str], kill_after: float | None = None, fresh: bool = True
) -> tuple[float, str]:
    """Push in a process of its own; how long it took from its first request on, and the last request it made."""
    if fresh:
        pace = hub.pause, hub.latency
        hub.reset()
        hub.pause, hub.latency = pace
    hub.requests.clear()
    words = [sys.executable, "-c", PUSH, str(folder), NAME]
    process = subprocess.Popen(words, env=environment, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    assert process.stdout is not None and process.stdout.readline() == "ready\n", "the push did not start"
    start = time.perf_counter()
    try:
        _, errors = process.communicate(timeout=kill_after if kill_after is not None else 120)
        took = time.perf_counter() - start
        assert process.returncode == 0, errors
    except subprocess.TimeoutExpired:
        process.send_signal(signal.SIGKILL)
        took = time.perf_counter() - start
        process.communicate()
    return took, re.sub("/lfs/.*", "/lfs/...", hub.requests[-1]) if hub.requests else "none"


def _state(hub: HubServer, expected: dict[str, bytes]) -> str:
    """ "nothing", "whole" or "half"."""
    repository = hub.repositories.get(("model", NAME))
    if repository is None or not repository.files():
        return "nothing"
    return "whole" if repository.files() == expected else "half"


def table(result: dict[str, Any]) -> str:
    """The result as Markdown."""
    trials = result["trials"]
    rows = Counter((trial["reached"], trial["found"]) for trial in trials)
    lines = [
        f"Push of `{result['model']}` ({result['files']} files, {result['bytes'] / 1e6:.1f} MB) to a hub on the same "
        f"machine, killed {result['kills']} times at random moments of up to 1.1 times a whole push's "
        f"{max(result['push_seconds']):.2f} s (seed {result['seed']}). Half-written repositories: "
        f"**{result['half_written']}**; pushes that could not be repeated to one whole commit: "
        f"**{result['not_repeatable']}**.",
        "",
        "| last request before the kill | the repository then held | kills |",
        "|---|---|---:|",
        *(f"| `{reached}` | {found} | {count} |" for (reached, found), count in sorted(rows.items())),
        "",
        machine.facts_line(result["machine"]),
    ]
    return "\n".join(lines) + "\n"


if __name__ == "__main__":
    main()

"""Seconds from `python app.py` until the page answers over HTTP, with the bundled models on the CPU.

    python benchmarks/space_start.py

Each start is a process of its own, asked every 50 ms; one start before them fills the file cache. The processor
seconds beside it are what the start costs, which a busy machine changes less.
"""

from __future__ import annotations

import argparse
import statistics
import time
from typing import Any

import machine
import space_process


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--repeats", type=int, default=5, help="starts (default 5)")
    parser.add_argument("--dry", action="store_true", help="print, and leave the stored results as they are")
    given = parser.parse_args()
    starts = [start() for _ in range(given.repeats + 1)][1:]
    result = {"repeats": given.repeats, "machine": machine.facts(), "starts": starts}
    if given.dry:
        print(table(result))
    else:
        machine.write_results("space_start", result, table(result))


def start() -> dict[str, float]:
    """One start: seconds until the first answer, and processor seconds of the process by then."""
    begin = time.perf_counter()
    with space_process.running({"CUDA_VISIBLE_DEVICES": ""}) as space:
        wall = time.perf_counter() - begin
        return {"seconds": round(wall, 2), "processor_seconds": round(space.processor_seconds, 2)}


def table(result: dict[str, Any]) -> str:
    """The Markdown of `results/space_start.md`."""

    def shown(name: str) -> str:
        values = [start[name] for start in result["starts"]]
        return f"{statistics.median(values):.1f} ({min(values):.1f} to {max(values):.1f})"

    return "\n".join(
        [
            "# Starting the Space",
            "",
            f"From `python app.py` to the first answer over HTTP, bundled models on the CPU; median of "
            f"{result['repeats']} starts (least to most), after one that fills the file cache. Made by "
            f"`python benchmarks/space_start.py --repeats {result['repeats']}`.",
            "",
            "| seconds until it answers | processor seconds |",
            "|---|---|",
            f"| {shown('seconds')} | {shown('processor_seconds')} |",
            "",
            f"Machine: {machine.facts_line(result['machine'])}.",
            "",
        ]
    )


if __name__ == "__main__":
    main()

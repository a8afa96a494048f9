"""Where ACIEC's time goes, what reading text costs, and how fast it is beside the other methods.

    python benchmarks/aciec_speed.py
    python benchmarks/aciec_speed.py --photographs DIR      # finding out that there is no text, on your own ones too

The stages are those of `EmotionPredictor.predict` itself, whose steps are timed where they stand; a step within
another one counts once. Images per second are those of `predict_files`, which reads the next batch while the model
works on this one; all methods run in turns in one process, so that a machine that is now faster, now slower hits all
alike. Peak memory is that of a process of its own per mode. Needs the extra `ocr`.
"""

from __future__ import annotations

import argparse
import copy
import itertools
import json
import statistics
import time
from collections import defaultdict
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any
from unittest import mock

import aciec_speed_report as report
import machine
import numpy as np
import speed

BESIDE = ("ugrie-mini", "escnet-mini")
MEMORY_IMAGES = 64


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--model", default="aciec-mini", help="id or directory (default aciec-mini)")
    parser.add_argument("--repeats", type=int, default=5, help="turns of each (default 5)")
    parser.add_argument("--batches", type=int, default=2, help="batches of 32 per turn; batch 1 runs up to 64 images")
    parser.add_argument(
        "--photographs", type=Path, metavar="DIR", help="further photographs in which to look for text"
    )
    parser.add_argument("--dry", action="store_true", help="print, and leave the stored results as they are")
    parser.add_argument("--memory-of", help=argparse.SUPPRESS)  # what a child process measures
    given = parser.parse_args()
    counts = {1: min(64, 32 * given.batches), 32: 32 * given.batches}
    if given.memory_of:
        print(json.dumps(measure_memory(given.model, given.memory_of)))
        return
    if given.photographs and not given.photographs.is_dir():
        parser.error(f"there is no folder {given.photographs.name!r}; give one that holds photographs")
    from iec_hub.images import find_images

    predictor = speed.load(given.model)
    if predictor.text_reader is None:
        parser.error(f"{predictor.name} reads no text here; install the extra ocr and give a checkpoint of aciec.")
    folders = {report.FIXTURES: speed.PICTURES} | ({report.FURTHER: given.photographs} if given.photographs else {})
    result = {
        "checkpoint": predictor.name,
        "emotion_model": speed.EMOTION_MODEL,
        "repeats": given.repeats,
        "batches": given.batches,
        "machine": machine.facts(),
        "stages": measure_stages(predictor, given.repeats, counts),
        "end_to_end": measure_methods(predictor, given.repeats, counts),
        "finding_no_text": {
            name: measure_looks(predictor, find_images([folder]), given.repeats) for name, folder in folders.items()
        },
    }
    modes = ["loaded", *(f"{mode}:{size}" for size in speed.BATCH_SIZES for mode in ("bare", "reading"))]
    result["peak_memory_mib"] = {
        mode: machine.run_alone(__file__, [f"--model={given.model}", f"--memory-of={mode}"])["mib"] for mode in modes
    }
    if given.dry:
        print(report.table(result))
    else:
        machine.write_results("aciec_speed", result, report.table(result))


def without_reader(predictor: Any) -> Any:
    """The same predictor, but that it looks for no text."""
    bare = copy.copy(predictor)
    bare.text_reader = None
    return bare


class Stopwatch:
    """Seconds that the stages of one prediction take; what a stage calls that is timed too counts there alone."""

    def __init__(self) -> None:
        self.calls: dict[str, list[float]] = defaultdict(list)
        self._inner = [0.0]

    def around(
        self, function: Callable[..., Any], stage: str | Callable[[Any], str], whole: bool = False
    ) -> Callable[..., Any]:
        """`function`, timed.

        Args:
            stage: its name, or what names it from the result.
            whole: whether it keeps the seconds of what it calls.
        """

        def timed(*arguments: Any, **named: Any) -> Any:
            kept = self.calls
            if whole:
                self.calls = defaultdict(list)  # what is timed in there goes nowhere
            self._inner.append(0.0)
            begin = time.perf_counter()
            try:
                result = function(*arguments, **named)
            finally:
                elapsed, inner = time.perf_counter() - begin, self._inner.pop()
                self._inner[-1] += elapsed
                self.calls = kept
            name = stage if isinstance(stage, str) else stage(result)
            self.calls[name].append(elapsed if whole else elapsed - inner)
            return result

        return timed

    def lap(self) -> dict[str, list[float]]:
        """Seconds of each call since the last lap, by stage."""
        calls, self.calls = self.calls, defaultdict(list)
        return dict(calls)


def reading_stage(found: Sequence[Sequence[Any]]) -> str:
    """Which stage a reading of one image was, by what was read."""
    return "text" if any(found) else "no_text"


@contextmanager
def timed_stages(predictor: Any, watch: Stopwatch) -> Iterator[None]:
    """While it lasts, the steps of the predictor tell the watch how long they took."""
    from iec_hub import predictor as module

    model, processor = predictor.model, predictor.processor
    steps: list[tuple[Any, str, str | Callable[[Any], str]]] = [
        (predictor, "_open", "open"),
        (predictor.text_reader, "read", reading_stage),
        (type(processor), "__call__", "prepare"),
        (model, "get_image_features", "vision"),
        (model, "describe", "concepts"),  # and what is left of it without the reasoning
        (model, "reason", "reasoning"),
        (processor, "text_tensors", "classifier"),
        (model, "forward", "classifier"),
        (model, "evidence_score", "regions"),
        (module, "region_evidence", "regions"),
        (model, "explain", "words"),
    ]
    with ExitStack() as stack:
        for owner, name, stage in steps:
            step = watch.around(getattr(owner, name), stage, whole=stage == "words")
            stack.enter_context(mock.patch.object(owner, name, step))
        yield


def measure_stages(predictor: Any, repeats: int, counts: dict[int, int]) -> dict[str, Any]:
    """Share and milliseconds per image of every stage, at each batch size, with and without evidence."""
    laps: dict[tuple[int, bool], list[dict[str, list[float]]]] = defaultdict(list)
    watch = Stopwatch()
    with timed_stages(predictor, watch):
        for repeat, (size, count) in itertools.product(range(repeats + 1), counts.items()):
            files = speed.files(count)
            batches = [files[start : start + size] for start in range(0, count, size)]
            for batch, evidence in itertools.product(batches if repeat else batches[:1], (False, True)):
                lap = timed_prediction(predictor, batch, evidence, watch)
                if repeat:  # the first turn is the warm-up: allocations, file cache, threads
                    laps[size, evidence].append(lap)
    return {
        str(size): {
            name: stage_figures(laps[size, evidence], size)
            for name, evidence in (("plain", False), ("evidence", True))
        }
        for size in counts
    }


def timed_prediction(predictor: Any, files: list[Path], evidence: bool, watch: Stopwatch) -> dict[str, list[float]]:
    """Seconds of each call by stage, for one batch; what no stage accounts for is its rest."""
    watch.lap()
    whole = speed.seconds(
        lambda: predictor.predict(files, emotion_model=speed.EMOTION_MODEL, batch_size=len(files), evidence=evidence)
    )
    lap = watch.lap()
    return lap | {"rest": [whole - sum(map(sum, lap.values()))]}


def stage_figures(laps: Sequence[dict[str, list[float]]], size: int) -> dict[str, Any]:
    """Share of all time, and milliseconds per image, of each stage that ran.

    Args:
        laps: per batch, stage to the seconds of its calls.
        size: images per batch. Text is read image by image, so its milliseconds are those of single images, with
            text and without it; those of other stages are of a batch, divided by its images.
    """
    total = sum(sum(map(sum, lap.values())) for lap in laps)
    figures = {}
    for stage in report.STAGES:
        spent = [lap[stage] for lap in laps if stage in lap]
        if not spent:
            continue
        single = stage in ("text", "no_text")
        seconds = list(itertools.chain(*spent)) if single else [sum(calls) / size for calls in spent]
        figures[stage] = {"share": round(sum(map(sum, spent)) / total, 4)} | milliseconds(seconds)
    whole = milliseconds([sum(map(sum, lap.values())) / size for lap in laps])
    return {"batches": len(laps), "image_ms": whole, "stages": figures}


def milliseconds(seconds: Sequence[float]) -> dict[str, float]:
    """Median and 95th percentile, in milliseconds."""
    return {
        "median_ms": round(1000 * statistics.median(seconds), 3),
        "p95_ms": round(1000 * float(np.percentile(seconds, 95)), 3),
    }


def measure_methods(predictor: Any, repeats: int, counts: dict[int, int]) -> dict[str, Any]:
    """Images per second from file to distribution, beside the other methods; ratios are of neighbours in time."""
    predictors = {report.READING: predictor, report.BARE: without_reader(predictor)}
    predictors |= {name: speed.load(name) for name in BESIDE}
    found = {}
    for size, count in counts.items():
        runs = {name: speed.end_to_end_pass(each, count, size) for name, each in predictors.items()}
        for each in predictors.values():
            speed.end_to_end_pass(each, size, size)()  # warm-up
        rates: dict[str, list[float]] = defaultdict(list)
        for repeat in range(repeats):
            # Another one begins each time.
            for name in (list(runs)[(repeat + i) % len(runs)] for i in range(len(runs))):
                rates[name].append(count / speed.seconds(runs[name]))
        own = rates[report.READING]
        found[str(size)] = {
            "images_per_turn": count,
            "images_per_second": {name: speed.spread(values) for name, values in rates.items()},
            "reading_over": {
                name: speed.spread([a / b for a, b in zip(own, values, strict=True)])
                for name, values in rates.items()
                if name != report.READING
            },
        }
    return found


def measure_looks(predictor: Any, files: Sequence[Path], repeats: int) -> dict[str, Any]:
    """What photographs without text pay for that being found out.

    An image in which text may stand is also opened in full size: what it pays is the difference to being opened as
    small as the model needs it. Each photograph counts with the median of its turns; one that cannot be opened is
    left out.
    """
    from iec_hub.errors import ImageError

    watch, rows, unreadable = Stopwatch(), [], 0
    with mock.patch.object(predictor.text_reader, "read", watch.around(predictor.text_reader.read, reading_stage)):
        predictor._open(speed.files(1)[0])  # warm-up: the engine is loaded
        watch.lap()
        for file in files:
            try:
                rows.append(looks_at(predictor, file, repeats, watch))
            except ImageError:
                unreadable += 1
    return look_figures(rows, report.LIMIT_MS) | {"unreadable": unreadable}


def looks_at(predictor: Any, file: Path, repeats: int, watch: Stopwatch) -> dict[str, Any]:
    """Whether text stands in one photograph, and the seconds for finding that out."""
    reading, small, full = [], [], []
    for _ in range(repeats):
        small.append(speed.seconds(lambda: predictor._open(file, False)))
        full.append(speed.seconds(lambda: predictor._open(file, True)))
        ((stage, (seconds,)),) = watch.lap().items()
        reading.append(seconds)
    extra = [with_text - without for with_text, without in zip(full, small, strict=True)]
    return {"text": stage == "text", "reading": statistics.median(reading), "extra": statistics.median(extra)}


def look_figures(rows: Sequence[dict[str, Any]], limit_ms: float) -> dict[str, Any]:
    """Over photographs: milliseconds for reading alone and with the larger opening, with text and without.

    Args:
        rows: as [`looks_at`] gives them.
        limit_ms: what one without text may pay; the share of those that keep to it is told.
    """
    found: dict[str, Any] = {"photographs": len(rows), "limit_ms": limit_ms}
    for name, wanted in (("no_text", False), ("text", True)):
        chosen = [row for row in rows if row["text"] == wanted]
        found[name] = {"photographs": len(chosen)}
        for cost in ("reading", "extra") if chosen else ():
            seconds = [row[cost] for row in chosen]
            within = sum(1000 * value <= limit_ms for value in seconds) / len(seconds)
            most = round(1000 * max(seconds), 3)
            found[name][cost] = milliseconds(seconds) | {"max_ms": most, "within_limit": round(within, 4)}
    return found


def measure_memory(model: str, mode: str) -> dict[str, float]:
    """Peak memory of this process after one mode, such as `reading:32`, or after loading alone."""
    predictor = speed.load(model)
    kind, _, size = mode.partition(":")
    if size:
        chosen = predictor if kind == "reading" else without_reader(predictor)
        speed.end_to_end_pass(chosen, MEMORY_IMAGES, int(size))()
    return {"mib": round(machine.peak_memory_mib(), 1)}


if __name__ == "__main__":
    main()

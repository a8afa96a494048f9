"""Images per second from file to distribution, as a ratio to the vision tower's forward alone, and peak memory.

    python benchmarks/speed.py

Both are measured in turns in one process, so that a machine that is now faster, now slower hits both alike. The tower
gets ready tensors and does nothing but its forward pass; end to end is `EmotionPredictor.predict_files`: reading,
decoding, resizing, tower, language part, softmax. Peak memory is that of a process of its own per mode.
"""

from __future__ import annotations

import argparse
import itertools
import json
import os
import statistics
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

# Before torch is imported, as the command line does.
os.environ.setdefault("OMP_WAIT_POLICY", "passive")

import machine

PICTURES = machine.ROOT / "tests" / "fixtures" / "coco_cc_by"
BATCH_SIZES = (1, 32)
EMOTION_MODEL = "mikels8"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--model", help="id or directory; the bundled checkpoint if left out")
    parser.add_argument("--repeats", type=int, default=7, help="turns of each (default 7)")
    parser.add_argument("--batches", type=int, default=8, help="batches of 32 per turn; batch 1 runs 64 images")
    parser.add_argument("--memory-of", help=argparse.SUPPRESS)  # what a child process measures
    given = parser.parse_args()
    counts = {1: min(64, 32 * given.batches), 32: 32 * given.batches}
    if given.memory_of:
        print(json.dumps(measure_memory(given.model, given.memory_of, counts)))
        return
    result = measure_speed(given.model, given.repeats, counts) | {"batches": given.batches}
    model = ["--model", given.model] if given.model else []
    modes = ["loaded", *(f"{mode}:{size}" for size in BATCH_SIZES for mode in ("tower", "end_to_end"))]
    result["peak_memory_mib"] = {
        mode: machine.run_alone(__file__, [*model, f"--batches={given.batches}", f"--memory-of={mode}"])["mib"]
        for mode in modes
    }
    machine.write_results("speed", result, table(result))


def files(count: int) -> list[Path]:
    """The CC BY photographs, over and over."""
    return list(itertools.islice(itertools.cycle(sorted(PICTURES.glob("*.jpg"))), count))


def load(model: str | None) -> Any:
    from iec_hub.predictor import EmotionPredictor

    return EmotionPredictor.from_pretrained(model, device="cpu")


def tower_pass(predictor: Any, count: int, batch_size: int) -> Callable[[], None]:
    """Runs the vision tower over `count` images whose tensors are ready."""
    import torch

    from iec_hub.images import open_image
    from iec_hub.models.image_emotion import read_vision

    images = [open_image(file) for file in files(min(count, batch_size))]
    pixels = predictor.processor(images=images, emotion_models=EMOTION_MODEL)["pixel_values"]

    def run() -> None:
        with torch.inference_mode():
            for _ in range(count // batch_size):
                # As the model itself calls it, memory format included, but without the early layers' statistics.
                read_vision(predictor.model.vision_model, pixels)

    return run


def end_to_end_pass(predictor: Any, count: int, batch_size: int) -> Callable[[], None]:
    """Predicts `count` files."""

    def run() -> None:
        results = predictor.predict_files(files(count), emotion_model=EMOTION_MODEL, batch_size=batch_size)
        errors = [result.error for result in results if result.error]
        if errors:
            raise RuntimeError(f"{len(errors)} pictures failed, the first because: {errors[0]}")

    return run


def seconds(run: Callable[[], None]) -> float:
    start = time.perf_counter()
    run()
    return time.perf_counter() - start


def measure_speed(model: str | None, repeats: int, counts: dict[int, int]) -> dict[str, Any]:
    """Images per second of both modes at each batch size; every repeat gives one ratio of neighbours in time."""
    predictor = load(model)
    rows: dict[int, dict[str, list[float]]] = {size: {"tower": [], "end_to_end": []} for size in BATCH_SIZES}
    passes = {
        size: {"tower": tower_pass(predictor, n, size), "end_to_end": end_to_end_pass(predictor, n, size)}
        for size, n in counts.items()
    }
    for size in BATCH_SIZES:
        for run in passes[size].values():
            run()  # warm-up: allocations, file cache, threads
    for repeat in range(repeats):
        for size in BATCH_SIZES:
            order = ("tower", "end_to_end") if repeat % 2 == 0 else ("end_to_end", "tower")
            for mode in order:
                rows[size][mode].append(counts[size] / seconds(passes[size][mode]))
    return {
        "checkpoint": predictor.name,
        "emotion_model": EMOTION_MODEL,
        "candidate_labels": len(predictor.resolve_emotion_model(EMOTION_MODEL)),
        "repeats": repeats,
        "machine": machine.facts(),
        "batch": {
            str(size): {
                "images_per_turn": counts[size],
                **{f"{mode}_images_per_second": spread(values) for mode, values in by_mode.items()},
                "ratio": spread([e / t for t, e in zip(by_mode["tower"], by_mode["end_to_end"], strict=True)]),
            }
            for size, by_mode in rows.items()
        },
    }


def spread(values: list[float]) -> dict[str, float]:
    return {name: round(f(values), 4) for name, f in (("median", statistics.median), ("min", min), ("max", max))}


def measure_memory(model: str | None, mode: str, counts: dict[int, int]) -> dict[str, float]:
    """Peak memory of this process after one mode, such as `end_to_end:32`, or after loading alone."""
    predictor = load(model)
    kind, _, size = mode.partition(":")
    if size:
        build = {"tower": tower_pass, "end_to_end": end_to_end_pass}[kind]
        build(predictor, min(counts[int(size)], 64), int(size))()
    return {"mib": round(machine.peak_memory_mib(), 1)}


def table(result: dict[str, Any]) -> str:
    """The Markdown of `results/speed.md`."""

    def shown(values: dict[str, float], digits: int) -> str:
        median, least, most = (f"{values[key]:.{digits}f}" for key in ("median", "min", "max"))
        return f"{median} ({least} to {most})"

    lines = [
        "# Speed and memory",
        "",
        f"`{result['checkpoint']}`, {result['candidate_labels']} candidate labels, float32 on the CPU; median of "
        f"{result['repeats']} turns (least to most). Made by "
        f"`python benchmarks/speed.py --repeats {result['repeats']} --batches {result['batches']}`.",
        "",
        "| batch | tower alone, images/s | file to distribution, images/s | ratio |",
        "|---|---|---|---|",
    ]
    for size, row in result["batch"].items():
        tower, whole = row["tower_images_per_second"], row["end_to_end_images_per_second"]
        lines.append(f"| {size} | {shown(tower, 1)} | {shown(whole, 1)} | {shown(row['ratio'], 2)} |")
    lines += ["", "| process | peak memory, MiB |", "|---|---|"]
    for mode, mib in result["peak_memory_mib"].items():
        kind, _, size = mode.partition(":")
        name = {"loaded": "checkpoint loaded", "tower": "tower alone", "end_to_end": "file to distribution"}[kind]
        lines.append(f"| {name}{f', batch {size}' if size else ''} | {mib:.0f} |")
    return "\n".join([*lines, "", f"Machine: {machine.facts_line(result['machine'])}.", ""])


if __name__ == "__main__":
    main()

"""What captions cost: images per second of ESCNet with its own captions, with ready ones and without any.

    python benchmarks/escnet_speed.py

All modes run in turns in one process, file to distribution, so that a machine that is now faster, now slower hits all
alike. Without captions is another model: the same vision tower with the ablation's fusion and classifier, whose
weights are random, as they do not change the time. The share of each part comes from one further pass in which every
step of a prediction is timed. Peak memory is that of a process of its own per mode.
"""

from __future__ import annotations

import argparse
import statistics
import time
from collections import defaultdict
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import machine
import speed

PARTS = {
    "decode": "read, decode and resize files",
    "attributes": "normalise, brightness and colourfulness",
    "vision": "vision tower",
    "captioner": "captioner and tokenizer",
    "encoder": "caption encoder",
    "fusion": "fusion and classifier",
    "explanation": "result with attributes and charged words",
}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--model", default="escnet-mini", help="id or directory (default escnet-mini)")
    parser.add_argument("--repeats", type=int, default=7, help="turns of each (default 7)")
    parser.add_argument("--batches", type=int, default=8, help="batches of 32 per turn; batch 1 runs 64 images")
    parser.add_argument("--dry", action="store_true", help="print, and leave the stored results as they are")
    given = parser.parse_args()
    counts = {1: min(64, 32 * given.batches), 32: 32 * given.batches}
    result = measure_speed(given.model, given.repeats, counts) | {"batches": given.batches}
    modes = ["loaded", *(f"end_to_end:{size}" for size in speed.BATCH_SIZES)]
    arguments = [f"--model={given.model}", f"--batches={given.batches}"]
    result["peak_memory_mib"] = {
        mode: machine.run_alone(speed.__file__, [*arguments, f"--memory-of={mode}"])["mib"] for mode in modes
    }
    if given.dry:
        print(table(result))
    else:
        machine.write_results("escnet_speed", result, table(result))


def without_captions(predictor: Any) -> Any:
    """A predictor over the ablation that reads no captions, with the same tower and random further weights."""
    import copy

    import torch

    from iec_hub.models.escnet import EscnetForImageEmotion
    from iec_hub.predictor import EmotionPredictor

    config = copy.deepcopy(predictor.model.config)
    config.use_captions = False
    torch.manual_seed(0)
    model = EscnetForImageEmotion(config).eval()
    model.vision_model.load_state_dict(predictor.model.vision_model.state_dict())
    model.feature_norm.load_state_dict(predictor.model.feature_norm.state_dict())
    return EmotionPredictor(model, predictor.processor, f"{predictor.name} without captions")


def passes(predictor: Any, bare: Any, count: int, batch_size: int) -> dict[str, Callable[[], Any]]:
    """Mode to a function that predicts `count` files; captions are the predictor's own, but written beforehand."""
    files = speed.files(count)
    settings = {"emotion_model": speed.EMOTION_MODEL, "batch_size": batch_size}
    distinct = speed.files(min(count, len(set(files))))
    written = dict(zip(distinct, predictor.predict(distinct, **settings), strict=True))
    ready = [written[file].captions[0] for file in files]
    return {
        "own": lambda: predictor.predict(files, **settings),
        "ready": lambda: predictor.predict(files, **settings, captions=ready),
        "none": lambda: bare.predict(files, **settings),
    }


def measure_speed(model: str, repeats: int, counts: dict[int, int]) -> dict[str, Any]:
    """Images per second of every mode at each batch size; every repeat gives ratios of neighbours in time."""
    predictor = speed.load(model)
    bare = without_captions(predictor)
    turns = {size: passes(predictor, bare, count, size) for size, count in counts.items()}
    rates: dict[int, dict[str, list[float]]] = {size: defaultdict(list) for size in counts}
    shares: dict[int, dict[str, list[float]]] = {size: defaultdict(list) for size in counts}
    for size, runs in turns.items():
        for run in runs.values():
            run()  # warm-up: allocations, file cache, threads
        for repeat in range(repeats):
            # Another mode begins each time.
            order = [list(runs)[(repeat + i) % len(runs)] for i in range(len(runs))]
            for mode in order:
                rates[size][mode].append(counts[size] / speed.seconds(runs[mode]))
            spent = part_seconds(predictor, counts[size], size)
            for part in PARTS:
                shares[size][part].append(spent[part] / sum(spent.values()))
    return {
        "checkpoint": predictor.name,
        "emotion_model": speed.EMOTION_MODEL,
        "repeats": repeats,
        "machine": machine.facts(),
        "batch": {
            str(size): {
                "images_per_turn": counts[size],
                "images_per_second": {mode: speed.spread(values) for mode, values in by_mode.items()},
                "own_over_ready": speed.spread(ratios(by_mode["own"], by_mode["ready"])),
                "own_over_none": speed.spread(ratios(by_mode["own"], by_mode["none"])),
                "share": {part: round(statistics.mean(shares[size][part]), 4) for part in PARTS},
            }
            for size, by_mode in rates.items()
        },
    }


def ratios(first: list[float], second: list[float]) -> list[float]:
    return [a / b for a, b in zip(first, second, strict=True)]


def part_seconds(predictor: Any, count: int, batch_size: int) -> dict[str, float]:
    """Seconds that each part of predicting `count` files takes, step by step as `EmotionPredictor.predict` goes."""
    import torch

    from iec_hub.models.image_emotion import forward_inputs

    spent: dict[str, float] = dict.fromkeys(PARTS, 0.0)
    model, processor = predictor.model, predictor.processor
    source = predictor.check_target(speed.EMOTION_MODEL)
    files = speed.files(count)

    @contextmanager
    def timed(part: str) -> Iterator[None]:
        begin = time.perf_counter()
        yield
        spent[part] += time.perf_counter() - begin

    begins: list[float] = []
    before = model.text_encoder.register_forward_pre_hook(lambda *_: begins.append(time.perf_counter()))
    inside: list[float] = []
    after = model.text_encoder.register_forward_hook(lambda *_: inside.append(time.perf_counter() - begins.pop()))
    try:
        with torch.inference_mode():
            for start in range(0, count, batch_size):
                with timed("decode"):
                    images = [predictor._open(file).image for file in files[start : start + batch_size]]
                with timed("attributes"):
                    batch = processor(images=images, emotion_models=source)
                with timed("vision"):
                    batch["vision_features"] = model.get_image_features(batch["pixel_values"])
                with timed("captioner"):
                    batch = model.gather(batch, processor)
                with timed("fusion"):
                    output = model(**forward_inputs(batch))
                with timed("explanation"):
                    top = output.logits.softmax(-1).argmax(-1).tolist()
                    model.explain(batch, output, processor, top)
    finally:
        before.remove()
        after.remove()
    spent["encoder"] = sum(inside)
    spent["fusion"] -= spent["encoder"]
    return spent


def table(result: dict[str, Any]) -> str:
    """The Markdown of `results/escnet_speed.md`."""

    def shown(values: dict[str, float], digits: int) -> str:
        median, least, most = (f"{values[key]:.{digits}f}" for key in ("median", "min", "max"))
        return f"{median} ({least} to {most})"

    lines = [
        "# What captions cost",
        "",
        f"`{result['checkpoint']}`, file to distribution, float32 on the CPU; median of {result['repeats']} turns "
        "(least to most), all in one process. Made by `python benchmarks/escnet_speed.py "
        f"--repeats {result['repeats']} --batches {result['batches']}`.",
        "",
        "| batch | own captions, images/s | ready ones, images/s | none, images/s | own / ready | own / none |",
        "|---|---|---|---|---|---|",
    ]
    for size, row in result["batch"].items():
        cells = [shown(row["images_per_second"][mode], 1) for mode in ("own", "ready", "none")]
        cells += [shown(row[name], 2) for name in ("own_over_ready", "own_over_none")]
        lines.append(f"| {size} | {' | '.join(cells)} |")
    sizes = list(result["batch"])
    lines += ["", "| part | " + " | ".join(f"share at batch {size}" for size in sizes) + " |"]
    lines += ["|---" * (len(sizes) + 1) + "|"]
    for part, name in PARTS.items():
        lines.append(f"| {name} | " + " | ".join(f"{result['batch'][s]['share'][part]:.1%}" for s in sizes) + " |")
    lines += ["", "| process | peak memory, MiB |", "|---|---|"]
    for mode, mib in result["peak_memory_mib"].items():
        name = "checkpoint loaded" if mode == "loaded" else f"own captions, batch {mode.partition(':')[2]}"
        lines.append(f"| {name} | {mib:.0f} |")
    return "\n".join([*lines, "", f"Machine: {machine.facts_line(result['machine'])}.", ""])


if __name__ == "__main__":
    main()

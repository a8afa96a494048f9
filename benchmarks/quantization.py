"""4-bit and 8-bit weights against whole ones: memory, accuracy after the same training, and time, on the CPU.

    python benchmarks/quantization.py --data-dir DIR --work runs/finetuning --seeds 0 1

Each bundled checkpoint gets a LoRA adapter for the classes of OASIS's valence, as in `compare_finetuning.py`, whose
work folder, runs and learning rates it shares: run that one first. Steps are timed apart, one of each kind after the
other.
"""

from __future__ import annotations

import argparse
import json
import statistics
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import machine
import numpy as np
from compare_finetuning import SCHEDULES, Bench, Run, write_feelings
from finetuning_report import mean_over_seeds
from safetensors.numpy import load_file

from iec_hub.evaluation import bootstrap_interval, evaluate_distributions
from iec_hub.evaluation.metrics import correct
from iec_hub.registry import BUNDLED_CHECKPOINTS, METHODS, checkpoint_path

WHOLE = "bfloat16"
STEP_SIZE, STEP_ROUNDS = 32, 12
# Title of a run, what its row is called, and the arguments that it adds. The first is compare_finetuning's own run.
KINDS = (
    ("", WHOLE, ()),
    ("float32", "float32", ("--bf16", "False")),
    ("4bit", "4-bit", ("--quantization", "4bit")),
    ("8bit", "8-bit", ("--quantization", "8bit")),
)


def measured(bench: Bench, data: Path, method: str, seeds: Sequence[int]) -> list[dict[str, Any]]:
    """One row per kind of weights."""
    scale = bench.chosen(data, method, "lora", seeds[0])[0]
    rows, steps = [], machine.run_alone(__file__, ["--steps", method])
    for title, label, further in KINDS:
        runs = [Run(data, method, "lora", scale, seed, title, further) for seed in seeds]
        found = [bench.train(run) for run in runs]
        stored = [load_file(bench.folder(run) / "test.safetensors") for run in runs]
        predictions = [each["probabilities"] for each in stored]
        parameters = json.loads((bench.folder(runs[0]) / "metrics.json").read_text(encoding="utf-8"))["parameters"]
        scores = [evaluate_distributions(predicted, stored[0]["target"]) for predicted in predictions]
        rows.append(
            {
                "label": label,
                "scale": scale,
                **{key: parameters[key] for key in ("trained", "frozen", "four_bit", "eight_bit", "bytes")},
                **{key: statistics.mean(s[key] for s in scores) for key in ("accuracy", "soft_cross_entropy")},
                "accuracies": [score["accuracy"] for score in scores],
                "n": len(predictions[0]),
                "step_seconds": steps[label],
                "peak_memory_mib": statistics.mean(own["peak_memory_mib"] for own in found),
                "right": mean_over_seeds(correct, {"predictions": predictions}, stored[0]["target"]),
            }
        )
    return compared(rows)


def step_seconds(method: str) -> dict[str, list[float]]:
    """Seconds of a forward and a backward pass with each kind of weights, turn by turn."""
    import torch
    from gpu_qlora import picture_batch

    from iec_hub.checkpoint_loading import load_checkpoint
    from iec_hub.finetuning.adapters import AdapterArguments, add_adapter
    from iec_hub.finetuning.quantization import QUANTIZATIONS, bitsandbytes_config

    name, batch, models = BUNDLED_CHECKPOINTS[method], {}, {}
    for title, label, _ in KINDS:
        kind = title if title in QUANTIZATIONS else "none"
        settings = {} if kind == "none" else {"quantization_config": bitsandbytes_config(kind, torch.bfloat16)}
        model, processor = load_checkpoint(checkpoint_path(name), name, torch.float32, settings)
        if not batch:
            batch = known_features(model, picture_batch(model, processor, torch.device("cpu"), STEP_SIZE))
        models[label] = add_adapter(model, AdapterArguments(lora=True, quantization=kind), fresh=False).train()
    seconds: dict[str, list[float]] = {label: [] for label in models}
    for number in range(STEP_ROUNDS + 2):
        for label, adapted in models.items():
            began = time.perf_counter()
            with torch.autocast("cpu", torch.bfloat16, enabled=label != "float32"):
                loss = adapted(**batch).loss
            loss.backward()
            adapted.zero_grad(set_to_none=True)
            if number >= 2:  # the first ones prepare
                seconds[label].append(time.perf_counter() - began)
    return seconds


def known_features(model: Any, batch: dict[str, Any]) -> dict[str, Any]:
    """The batch of a step as training with cached features makes it."""
    import torch

    pixels = batch.pop("pixel_values", None)
    if pixels is None or model.config.model_type == "aciec":  # which learns from words alone
        return batch
    with torch.no_grad():
        features = model.eval().get_image_features(pixels)
    tokens = {"token_features": features.tokens.float()} if model.config.model_type == "escnet" else {}
    return {**batch, "pooled_features": features.pooled.float(), **tokens}


def compared(rows: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """Rows with their difference to, and their ratio with, the one of bfloat16.

    Args:
        rows: with `right`, `(pictures,)`, which is taken out.
    """
    right = [row.pop("right") for row in rows]
    base = next(number for number, row in enumerate(rows) if row["label"] == WHOLE)
    for row, own in zip(rows, right, strict=True):
        row["step_ratio"] = min(row["step_seconds"]) / min(rows[base]["step_seconds"])
        if row["label"] != WHOLE:
            row["accuracy_minus_bfloat16"] = list(bootstrap_interval(np.mean, own - right[base]))
    return rows


def as_markdown(result: dict[str, Any]) -> str:
    seeds = " ".join(map(str, result["seeds"]))
    lines = [
        "# Quantised weights on the CPU",
        "",
        f"Made by `python benchmarks/quantization.py --data-dir DIR --work WORK --seeds {seeds}`: `iec-hub "
        f"train --lora` on the classes of OASIS's valence (448 training pictures, {result['epochs']} epochs, cached "
        "features; see "
        "[finetuning.md](finetuning.md)) with frozen weights as they are or as `--quantization` keeps them; one "
        "learning rate for all, chosen with bfloat16. Test split; means over seeds; 95 % bootstrap intervals, paired "
        "over pictures.",
        "",
        "Weights in memory are those of the whole model with its adapter and its unused original heads. In the row "
        f"{WHOLE} the command computes in bfloat16 (`--bf16 True`) and keeps float32 weights, as transformers does; "
        "kept in bfloat16 they would take half of that. The bundled checkpoints are small: most of their weights "
        "are convolutions and embeddings, which stay whole. A step is a forward and a backward pass over "
        f"{STEP_SIZE} pictures whose features are known; the kinds took turns, and the shortest of {STEP_ROUNDS} each "
        "is told, as the machine had other work to do.",
        "",
    ]
    for checkpoint, rows in result["checkpoints"].items():
        lines += [
            f"## {checkpoint}",
            "",
            f"n = {rows[0]['n']}.",
            "",
            "| weights | quantised | of all | weights, MB | accuracy | minus bfloat16 | soft CE | step, ms | "
            "step, ratio | peak, MiB |",
            "|---|---|---|---|---|---|---|---|---|---|",
        ]
        for row in rows:
            few = row["four_bit"] + row["eight_bit"]
            gain = row.get("accuracy_minus_bfloat16")
            cells = [
                row["label"],
                f"{few:,}" if few else "",
                f"{few / (row['trained'] + row['frozen']):.0%}" if few else "",
                f"{row['bytes'] / 1e6:.1f}",
                f"{row['accuracy']:.3f}",
                "{:+.3f} [{:+.3f}, {:+.3f}]".format(*gain) if gain else "",
                f"{row['soft_cross_entropy']:.3f}",
                f"{1000 * min(row['step_seconds']):.0f}",
                f"{row['step_ratio']:.2f}",
                f"{row['peak_memory_mib']:.0f}",
            ]
            lines.append(f"| {' | '.join(cells)} |")
        lines.append("")
    return "\n".join([*lines, f"Machine: {machine.facts_line(result['machine'])}.", ""])


def main() -> None:
    if sys.argv[1:2] == ["--steps"]:
        print(json.dumps(step_seconds(sys.argv[2])))
        return
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data-dir", type=Path, required=True)
    parser.add_argument("--work", type=Path, required=True)
    parser.add_argument("--cache", type=Path, help="features; WORK/features if left out")
    parser.add_argument("--seeds", type=int, nargs="+", default=[0, 1])
    given = parser.parse_args()
    bench = Bench(given.work.resolve(), (given.cache or given.work / "features").resolve())
    feelings = write_feelings(given.data_dir / "oasis", bench.work / "oasis-feelings")
    found = {BUNDLED_CHECKPOINTS[method]: measured(bench, feelings, method, given.seeds) for method in METHODS}
    result = {"seeds": given.seeds, "epochs": SCHEDULES[feelings.name][0], "machine": machine.facts()}
    result["checkpoints"] = found
    machine.write_results("quantization", result, as_markdown(result))


if __name__ == "__main__":
    main()

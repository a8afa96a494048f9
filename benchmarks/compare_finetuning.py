"""LoRA against full fine-tuning against a frozen model with a new head, for each bundled checkpoint.

    python benchmarks/compare_finetuning.py --data-dir DIR --work runs/finetuning --seeds 0 1

DIR holds `oasis` and `emotion6`. OASIS has ratings of valence and no emotion labels; `WORK/oasis-feelings` gets three
classes of them, see `FEELINGS`. No bundled checkpoint was trained on these: new labels. Emotion6 is a data set that
all of them were trained on: training that goes on.

Every run is the package's own training command in a process of its own, with the vision tower's features cached.
Each way gets learning rates of its own, chosen with the first seed by the soft cross-entropy on validation; the test
figures of the other rates are never read. Finished runs stay below `WORK/runs`, so that a killed benchmark goes on
where it was; delete them after changing code.
"""

from __future__ import annotations

import argparse
import csv
import json
import os
import shutil
import statistics
import sys
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

os.environ.setdefault("OMP_WAIT_POLICY", "passive")
os.environ.setdefault("TRANSFORMERS_VERBOSITY", "error")

import finetuning_report
import machine
import numpy as np
from safetensors.numpy import load_file, save_file

from iec_hub.registry import BUNDLED_CHECKPOINTS, METHODS, checkpoint_path

# Valence goes from 1 to 7. Below the first number it is "unpleasant", above the second one "pleasant".
FEELINGS = (3.5, 4.75)
# Data set to epochs and images in a batch.
SCHEDULES = {"oasis-feelings": (6, 32), "emotion6": (4, 64)}
WARMUP_STEPS, VIEWS = 10, 5
COMMON = (
    "--warmup_steps", str(WARMUP_STEPS), "--views", str(VIEWS), "--use_cpu", "True", "--bf16", "True",
    "--disable_tqdm", "True", "--save_total_limit", "1", "--overwrite", "True",
)  # fmt: skip
# The defaults of --learning_rate and --language_learning_rate, and with --lora; both are multiplied by a factor.
LEARNING_RATES = (1e-3, 1e-4)
LORA_LEARNING_RATES = (1e-3, 1e-3)
LAST_LAYER = 1408  # width of the tower's own pooled vector, the first part of the features
PROBE_STRENGTHS = (1e-4, 3e-4, 1e-3, 3e-3, 1e-2, 3e-2)


@dataclass(frozen=True)
class Way:
    """One way of training.

    Attributes:
        scales: factors of the learning rates to choose from, the smallest first.
        options: further arguments of the command, by method; "all" are for every one.
    """

    label: str
    scales: tuple[float, ...]
    options: dict[str, tuple[str, ...]]


WAYS = {
    "head": Way(
        finetuning_report.HEAD,
        (1.0,),
        {
            "ugrie": ("--freeze", "vision", "language"),
            # Without captions of labelled images as texts: that stage trains encoder and fusion.
            "escnet": ("--freeze", "vision", "captioner", "language", "fusion", "--labelled_captions", "0"),
            "aciec": ("--freeze", "language"),
        },
    ),
    "full": Way(finetuning_report.WHOLE, (0.3, 1.0, 3.0), {}),
    "lora": Way(finetuning_report.LORA, (0.5, 1.0, 3.0), {"all": ("--lora", "True")}),
}


@dataclass(frozen=True)
class Run:
    """One training.

    Attributes:
        title, further: of a run that differs in further arguments of the command.
    """

    data: Path
    method: str
    way: str
    scale: float
    seed: int
    title: str = ""
    further: tuple[str, ...] = ()

    @property
    def name(self) -> str:
        parts = (self.data.name, BUNDLED_CHECKPOINTS[self.method], self.way, f"x{self.scale:g}", f"seed{self.seed}")
        return "-".join([*parts, *([self.title] if self.title else [])])

    def arguments(self, cache: Path, folder: Path) -> list[str]:
        """Arguments of `iec-hub train METHOD`."""
        defaults = LORA_LEARNING_RATES if self.way == "lora" else LEARNING_RATES
        rates = [f"{rate * self.scale:g}" for rate in defaults]
        options, (epochs, batch_size) = WAYS[self.way].options, SCHEDULES[self.data.name]
        return [
            *("--data", str(self.data), "--model", BUNDLED_CHECKPOINTS[self.method]),
            *(*options.get("all", ()), *options.get(self.method, ())),
            *("--learning_rate", rates[0], "--language_learning_rate", rates[1], "--seed", str(self.seed)),
            *("--num_train_epochs", str(epochs), "--per_device_train_batch_size", str(batch_size)),
            *(*COMMON, *self.further, "--cache", str(cache), "--output_dir", str(folder)),
        ]


def write_feelings(source: Path, target: Path) -> Path:
    """OASIS with a class in place of its valence; the pictures stay where they are. Returns the folder."""
    target.mkdir(parents=True, exist_ok=True)
    with (source / "metadata.csv").open(encoding="utf-8-sig", newline="") as file:
        rows = [(row["file_name"], row["split"], feeling(float(row["valence"]))) for row in csv.DictReader(file)]
    with (target / "metadata.csv").open("w", encoding="utf-8", newline="") as file:
        table = csv.writer(file)
        table.writerow(["file_name", "split", "emotion"])
        table.writerows(rows)
    for folder in {Path(name).parts[0] for name, _, _ in rows}:
        if not (target / folder).exists():
            (target / folder).symlink_to((source / folder).resolve())
    return target


def feeling(valence: float) -> str:
    """The class of a picture's mean rating."""
    return "unpleasant" if valence < FEELINGS[0] else "neutral" if valence <= FEELINGS[1] else "pleasant"


class Bench:
    """Folders, and the runs that are finished."""

    def __init__(self, work: Path, cache: Path):
        self.work, self.cache = work, cache
        (work / "runs").mkdir(parents=True, exist_ok=True)

    def folder(self, run: Run) -> Path:
        return self.work / "runs" / run.name

    def train(self, run: Run) -> dict[str, Any]:
        """What a run measured; it is trained in a process of its own where that has not been done yet."""
        folder = self.folder(run)
        if not (folder / "bench.json").is_file():
            own = machine.run_alone(__file__, ["--child", run.method, *run.arguments(self.cache, folder)])
            for unneeded in (*folder.glob("checkpoint-*"), folder / "taught", folder / "text"):
                shutil.rmtree(unneeded, ignore_errors=True)
            (folder / "bench.json").write_text(json.dumps(own), encoding="utf-8")
            print(f"{run.name}: {own['seconds']:.0f} s", flush=True)
        return json.loads((folder / "bench.json").read_text(encoding="utf-8"))

    def chosen(self, data: Path, method: str, way: str, seed: int) -> tuple[float, dict[str, float]]:
        """The factor with the lowest soft cross-entropy on validation, and that of each factor that was tried.

        After the first two, a further one is tried as long as the last one is the best.
        """
        losses: dict[float, float] = {}
        for scale in WAYS[way].scales:
            if len(losses) > 1 and min(losses, key=losses.__getitem__) != max(losses):
                break
            losses[scale] = self.train(Run(data, method, way, scale, seed))["validation"]
        return min(losses, key=losses.__getitem__), {f"{scale:g}": loss for scale, loss in losses.items()}

    def row(self, data: Path, method: str, way: str, seeds: Sequence[int]) -> dict[str, Any]:
        """A trained way: what was chosen, what it costs (means over seeds), and every seed's test probabilities."""
        scale, losses = self.chosen(data, method, way, seeds[0])
        runs = [Run(data, method, way, scale, seed) for seed in seeds]
        found = [self.train(run) for run in runs]
        cost = {key: float(np.mean([own[key] for own in found])) for key in ("seconds", "peak_memory_mib")}
        cost |= {key: found[0][key] for key in ("trained", "trained_share", "stored_bytes")}
        stored = [load_file(self.folder(run) / "test.safetensors") for run in runs]
        row = {"label": WAYS[way].label, "runs": len(runs), "scale": scale, "validation": losses, **cost}
        return row | {"predictions": [each["probabilities"] for each in stored], "target": stored[0]["target"]}


def child(method: str, argv: list[str]) -> dict[str, Any]:
    """Train by the package's own command; beside what it writes, keep the probabilities of the test pictures."""
    from importlib import import_module

    from iec_hub.finetuning import run as shared_run
    from iec_hub.finetuning.trainer import EmotionTrainer

    measured, step = shared_run.measure_scored, EmotionTrainer.training_step
    scored: list[Any] = []
    steps: dict[int, list[float]] = {}

    def measure(config: Any, images: Any) -> Any:
        scored[:] = [(config.calibrated_probabilities(each.logits, each.emotion_model), each) for each in images]
        return measured(config, images)

    def timed(trainer: Any, *inputs: Any, **options: Any) -> Any:
        began = time.perf_counter()
        loss = step(trainer, *inputs, **options)
        steps.setdefault(id(trainer), []).append(time.perf_counter() - began)
        return loss

    shared_run.measure_scored, EmotionTrainer.training_step = measure, timed
    log = import_module(f"iec_hub.finetuning.{method}_command").main(argv)
    ((probabilities, images),) = scored  # of test, which is measured last
    folder = Path(argv[argv.index("--output_dir") + 1])
    save_file(
        {"probabilities": probabilities.double().numpy(), "target": images.distributions.double().numpy()},
        folder / "test.safetensors",
    )
    found = log["parameters"]
    return {
        "seconds": log["seconds"],
        "step_seconds": statistics.median([*steps.values()][-1]),  # of the stage of images, which is the last one
        "peak_memory_mib": machine.peak_memory_mib(),
        "weight_bytes": found["bytes"],
        "validation": log["validation"][images.name]["soft_cross_entropy"],
        **{key: found[key] for key in ("trained", "trained_share", "stored_bytes")},
    }


def probe_rows(method: str, data: Path, cache: Path) -> list[dict[str, Any]]:
    """Linear probes on the features that the checkpoint's training read, calibrated on validation."""
    import torch

    from iec_hub.checkpoint_loading import load_checkpoint
    from iec_hub.data import load_emotion_dataset
    from iec_hub.evaluation import fit_temperature
    from iec_hub.evaluation.probe import LinearProbe
    from iec_hub.finetuning.features import cached_features

    name = BUNDLED_CHECKPOINTS[method]
    model, processor = load_checkpoint(checkpoint_path(name), name, torch.float32, {})
    dataset = load_emotion_dataset(str(data), verify_images=True)
    parts = {split: dataset.split(split) for split in ("train", "validation", "test")}
    targets = {split: torch.tensor(part.distributions()).float() for split, part in parts.items()}
    features = {
        split: cached_features(model, processor, part.examples, cache, VIEWS if split == "train" else 1, split)
        for split, part in parts.items()
    }
    rows = []
    with torch.no_grad():
        normed = {split: model.feature_norm(values) for split, values in features.items()}
    last = {split: values[..., :LAST_LAYER] for split, values in features.items()}
    for label, read, views in (
        (finetuning_report.PROBE, last, 1),
        (finetuning_report.LAYERS_PROBE, normed, VIEWS),
    ):
        train, held_out, test = (read[split] for split in ("train", "validation", "test"))
        inputs = (train[:views].flatten(0, 1), targets["train"].repeat(views, 1))
        probe = LinearProbe.select(*inputs, held_out[0], targets["validation"], PROBE_STRENGTHS)
        temperature = fit_temperature(probe.logits(held_out[0]).numpy(), targets["validation"].numpy())
        predicted = (probe.logits(test[0]).double() / temperature).softmax(-1).numpy()
        trained = probe.weight.numel() + probe.bias.numel()
        row = {"label": label, "runs": 1, "trained": trained, "stored_bytes": 4 * trained, "strength": probe.strength}
        rows.append(row | {"predictions": [predicted], "target": targets["test"].double().numpy()})
    return rows


def shipped_row(method: str, data: Path, file: Path) -> dict[str, Any]:
    """The bundled checkpoint as it is, on the pictures themselves."""
    from iec_hub.data import load_emotion_dataset
    from iec_hub.evaluation.running import predict_dataset
    from iec_hub.predictor import EmotionPredictor

    dataset = load_emotion_dataset(str(data)).split("test")
    if not file.is_file():
        predictor = EmotionPredictor.from_pretrained(BUNDLED_CHECKPOINTS[method], device="cpu")
        predicted, _, left_out = predict_dataset(predictor, dataset)
        if left_out:
            raise RuntimeError(f"{len(left_out)} test pictures of {dataset.name} cannot be read.")
        save_file({"probabilities": predicted}, file)
    predicted = load_file(file)["probabilities"]
    target = np.asarray(dataset.distributions(), dtype=np.float64)
    return {"label": finetuning_report.SHIPPED, "runs": 1, "predictions": [predicted], "target": target}


def compare(bench: Bench, data: Path, method: str, seeds: Sequence[int], known: bool) -> list[dict[str, Any]]:
    """All rows of one checkpoint on one data set."""
    rows = probe_rows(method, data, bench.cache)
    if known:
        rows.append(shipped_row(method, data, bench.work / f"{data.name}-{method}-shipped.safetensors"))
    return [*rows, *(bench.row(data, method, way, seeds) for way in WAYS)]


def shown_arguments(given: argparse.Namespace) -> str:
    """The command line that makes these results, without anybody's folders."""
    seeds = " ".join(map(str, given.seeds))
    chosen = [f" --methods {' '.join(given.methods)}"] if set(given.methods) < set(METHODS) else []
    chosen += [f" --sets {given.sets[0]}"] if len(given.sets) == 1 else []
    return f"--data-dir DIR --work WORK --seeds {seeds}{''.join(chosen)}"


def main() -> None:
    if sys.argv[1:2] == ["--child"]:
        print(json.dumps(child(sys.argv[2], sys.argv[3:])))
        return
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter, allow_abbrev=False
    )
    parser.add_argument("--data-dir", type=Path, required=True)
    parser.add_argument("--work", type=Path, required=True)
    parser.add_argument("--cache", type=Path, help="features; WORK/features if left out")
    parser.add_argument("--seeds", type=int, nargs="+", default=[0, 1])
    parser.add_argument("--methods", nargs="+", choices=METHODS, default=list(METHODS))
    parser.add_argument("--sets", nargs="+", choices=("oasis", "emotion6"), default=["oasis", "emotion6"])
    given = parser.parse_args()
    bench = Bench(given.work.resolve(), (given.cache or given.work / "features").resolve())
    feelings = write_feelings(given.data_dir / "oasis", bench.work / "oasis-feelings")
    sets = {"oasis": (feelings, False), "emotion6": ((given.data_dir / "emotion6").resolve(), True)}
    blocks = []
    for data, known in map(sets.get, given.sets):
        for method in given.methods:
            rows = compare(bench, data, method, given.seeds, known)
            block = finetuning_report.measured_rows(rows)
            blocks.append({"data": data.name, "checkpoint": BUNDLED_CHECKPOINTS[method], **block})
    result = {
        "arguments": shown_arguments(given), "seeds": given.seeds, "schedules": SCHEDULES,
        "learning_rates": LEARNING_RATES, "scales": {way.label: way.scales for way in WAYS.values()},
        "feelings": FEELINGS, "machine": machine.facts(), "blocks": blocks,
    }  # fmt: skip
    machine.write_results("finetuning", result, finetuning_report.as_markdown(result))


if __name__ == "__main__":
    main()

"""UGRIE beside linear probes on the same frozen features: full data, one data set alone, and few shots.

    python benchmarks/compare_ugrie.py --data-dir DIR --work runs/ugrie-mini --output benchmarks/results

It trains from what `training/make_ugrie_mini.py --work` left: backbones, cached features and the model after the
stages before labelled images. Every choice (epoch,
probe strength, teacher, temperature) is made on the validation split; test is read once at the end.
"""

from __future__ import annotations

import argparse
import copy
import json
import statistics
import tempfile
import time
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch
from transformers import set_seed

from iec_hub.data import EmotionDataset, few_shot
from iec_hub.evaluation import accuracy_difference, evaluate_distributions, fit_temperature
from iec_hub.evaluation.probe import LinearProbe
from iec_hub.finetuning import ugrie_command as command
from iec_hub.finetuning import ugrie_training as stages
from iec_hub.finetuning.stage_results import load_taught
from iec_hub.finetuning.trainer import EmotionTrainingArguments
from iec_hub.finetuning.training_sets import load_data
from iec_hub.finetuning.ugrie_arguments import DataArguments, ModelArguments
from iec_hub.finetuning.ugrie_loading import load_model
from iec_hub.models.ugrie import UgrieForImageEmotion, UgrieProcessor

SHOTS = (1, 2, 4, 8, 16)
METRICS = ("accuracy", "macro_f1", "soft_cross_entropy", "kl", "ece")
LAST_LAYER = 1408  # width of the tower's own pooled vector, the first part of the features


class Bench:
    """Data, features and the text-taught, aligned model that every run starts from."""

    def __init__(self, data_dir: Path, work: Path):
        backbones, folder = work / "backbones", data_dir
        self.data = DataArguments(
            data=[str(folder / "emotion6"), str(folder / "fi")],
            captions=[str(folder / name / "metadata.csv") for name in ("oasis", "captions")],
        )
        start = ModelArguments(
            vision=str(backbones / "vision"),
            text=str(backbones / "language"),
            config=str(work / "config.json"),
            label_words="label",
        )
        self.run = stages.UgrieRun(cache=work / "features")
        self.arguments = settings(work / "bench")
        self.datasets = {d.name: d for d in load_data(self.data, start, 0)}
        set_seed(self.arguments.seed)
        self.model, self.processor = load_model(start, [d.emotion_model for d in self.datasets.values()])
        self.sources = {
            split: {
                s.name: s
                for s in stages.image_sources(self.model, self.processor, [*self.datasets.values()], split, self.run)
            }
            for split in ("train", "validation", "test")
        }
        self.taught = {"mikels8"}
        self.log = load_taught(self.model, work / "run" / "ugrie-mini" / "taught")

    def norm(self, features: torch.Tensor) -> torch.Tensor:
        with torch.no_grad():
            return self.model.feature_norm(features)


def settings(folder: Path, seed: int = 0, **fields: Any) -> EmotionTrainingArguments:
    return EmotionTrainingArguments(
        output_dir=str(folder), seed=seed, use_cpu=True, bf16=True, disable_tqdm=True, logging_strategy="no", **fields
    )


def fit_ugrie(bench: Bench, train: list, validation: list, seed: int, **fields: Any) -> tuple[Any, UgrieProcessor]:
    """Stage 3 from the taught model, then calibration."""
    model: UgrieForImageEmotion = copy.deepcopy(bench.model)
    train = [copy.copy(source) for source in train]
    for source, held_out in zip(train, validation, strict=True):
        known = source.emotion_model.name in bench.taught
        source.teacher, _ = stages.make_teacher(model, bench.processor, source, held_out, known)
    with tempfile.TemporaryDirectory() as folder:
        stages.train_on_images(
            model, bench.processor, train, validation, bench.run, settings(Path(folder), seed, **fields)
        )
    model.eval()
    stages.calibrate(model, bench.processor, validation)
    return model, bench.processor


def probe_rows(bench: Bench, name: str) -> dict[str, tuple[torch.Tensor, torch.Tensor]]:
    """Name of a probe to its calibrated (test probabilities, nothing further)."""
    train, validation, test = (bench.sources[split][name] for split in ("train", "validation", "test"))
    inputs = {
        "linear probe, last layer": lambda f: f[..., :LAST_LAYER],
        "linear probe, all layers": bench.norm,
    }
    rows = {}
    for label, read in inputs.items():
        views = [0] if "last" in label else range(len(train.features))
        for shown, used in ((label, [0]), (f"{label}, all views", list(views))):
            if len(used) == 1 and shown != label:
                continue
            features = torch.cat([read(train.features[v]) for v in used])
            strengths = (1e-4, 2e-4, 3e-4, 1e-3, 3e-3, 1e-2, 3e-2)
            probe = LinearProbe.select(
                features, train.distributions.repeat(len(used), 1), read(validation.features[0]),
                validation.distributions, strengths,
            )  # fmt: skip
            temperature = fit_temperature(
                probe.logits(read(validation.features[0])).numpy(), validation.distributions.numpy()
            )
            rows[shown] = (probe.logits(read(test.features[0])) / temperature).softmax(-1)
    return rows


def ugrie_row(model: Any, processor: UgrieProcessor, source: Any) -> torch.Tensor:
    logits = stages.feature_logits(model, processor, source.features[0], source.emotion_model)
    return model.config.calibrated_probabilities(logits, source.emotion_model)


def compare(bench: Bench, seeds: list[int]) -> dict[str, Any]:
    """All rows of the full-data table, per data set."""
    results: dict[str, Any] = {}
    predictions: dict[str, dict[str, list[torch.Tensor]]] = {name: {} for name in bench.datasets}
    for name in bench.datasets:
        for label, probabilities in probe_rows(bench, name).items():
            predictions[name][label] = [probabilities]
    for seed in seeds:
        runs = {"UGRIE, joint": [*bench.datasets]} | {f"UGRIE, {name} alone": [name] for name in bench.datasets}
        for label, names in runs.items():
            train = [bench.sources["train"][name] for name in names]
            held_out = [bench.sources["validation"][name] for name in names]
            model, processor = fit_ugrie(bench, train, held_out, seed)
            for name in names:
                row = ugrie_row(model, processor, bench.sources["test"][name])
                predictions[name].setdefault("UGRIE, joint" if len(names) > 1 else "UGRIE, alone", []).append(row)
            print(label, seed, flush=True)
    for name, rows in predictions.items():
        target = bench.sources["test"][name].distributions.numpy()
        table = {}
        for label, runs in rows.items():
            measured = [
                evaluate_distributions(p.double().numpy() / p.double().sum(-1, keepdim=True).numpy(), target)
                for p in runs
            ]
            table[label] = {m: statistics.mean(x[m] for x in measured) for m in METRICS}
            table[label]["accuracy_sd"] = (
                statistics.stdev(x["accuracy"] for x in measured) if len(measured) > 1 else 0.0
            )
        mean_joint = torch.stack(rows["UGRIE, joint"]).mean(0).double()
        gain = accuracy_difference(
            (mean_joint / mean_joint.sum(-1, keepdim=True)).numpy(),
            rows["linear probe, last layer"][0].double().numpy()
            / rows["linear probe, last layer"][0].double().sum(-1, keepdim=True).numpy(),
            target,
        )
        results[name] = {"n": len(target), "rows": table, "joint_minus_probe": list(gain)}
    return results


def few_shots(bench: Bench, seeds: list[int], shots: tuple[int, ...] = SHOTS) -> dict[str, Any]:
    """Accuracy on FI's test split, and on all images ("unseen") that were neither drawn nor had a text in training."""
    dataset: EmotionDataset = bench.datasets["fi"].split("train")
    train, held_out, test = (bench.sources[split]["fi"] for split in ("train", "validation", "test"))
    position = {id(example): i for i, example in enumerate(dataset.examples)}
    results: dict[str, Any] = {}
    for number in shots:
        scores: dict[str, list[float]] = {}
        for seed in seeds:
            drawn = sorted(position[id(example)] for example in few_shot(dataset, number, seed).examples)
            rest = sorted(set(range(len(dataset.examples))) - set(drawn))
            source = replace(
                train,
                distributions=train.distributions[drawn],
                features=train.features[:, drawn],
                examples=[train.examples[i] for i in drawn],
            )
            # Images with tags taught the alignment, so they would flatter.
            rest = [i for i in rest if not command._plain_text(train.examples[i])]
            parts = {
                "test": (test.features[0], test.distributions),
                "unseen": (
                    torch.cat([test.features[0], train.features[0][rest]]),
                    torch.cat([test.distributions, train.distributions[rest]]),
                ),
            }
            probe = LinearProbe.select(
                source.features[0][:, :LAST_LAYER], source.distributions, held_out.features[0][:, :LAST_LAYER],
                held_out.distributions, (1e-3, 3e-3, 1e-2, 3e-2, 1e-1, 3e-1),
            )  # fmt: skip
            model, processor = fit_ugrie(
                bench, [source], [held_out], seed, num_train_epochs=20, learning_rate=5e-4,
                language_learning_rate=3e-5, warmup_steps=2,
            )  # fmt: skip
            for part, (features, target) in parts.items():
                zero = stages.feature_logits(bench.model, processor, features, source.emotion_model, visible=False)
                tuned = stages.feature_logits(model, processor, features, source.emotion_model)
                for label, logits in (
                    ("linear probe", probe.logits(features[:, :LAST_LAYER])),
                    ("UGRIE, no image label", zero),
                    ("UGRIE", tuned),
                ):
                    measured = evaluate_distributions(logits.double().softmax(-1).numpy(), target.numpy())
                    scores.setdefault(f"{label} ({part})", []).append(measured["accuracy"])
        results[str(number)] = {
            label: {"mean": statistics.mean(values), "sd": statistics.stdev(values) if len(values) > 1 else 0.0}
            for label, values in scores.items()
        }
        print(number, {label: round(row["mean"], 3) for label, row in results[str(number)].items()}, flush=True)
    return results


def as_markdown(results: dict[str, Any]) -> str:
    lines = []
    for name, block in results.get("full", {}).items():
        lines += [
            f"### {name}, test split, n = {block['n']}",
            "",
            "| method | accuracy | macro F1 | soft CE | KL | ECE |",
        ]
        lines += ["|---|---|---|---|---|---|"]
        for label, row in block["rows"].items():
            spread = f" ± {row['accuracy_sd']:.3f}" if row["accuracy_sd"] else ""
            lines.append(
                f"| {label} | {row['accuracy']:.3f}{spread} | "
                + " | ".join(f"{row[m]:.3f}" for m in METRICS[1:])
                + " |"
            )
        gain, low, high = block["joint_minus_probe"]
        lines += [
            "",
            f"Joint (mean of seeds) minus last-layer probe: {gain:+.3f} [{low:+.3f}, {high:+.3f}] accuracy.",
            "",
        ]
    if "few_shot" in results:
        labels = list(next(iter(results["few_shot"].values())))
        lines += ["### Few shots on fi, accuracy", "", "| images per class | " + " | ".join(labels) + " |"]
        lines += ["|---" * (len(labels) + 1) + "|"]
        for number, row in results["few_shot"].items():
            cells = " | ".join(f"{row[label]['mean']:.3f} ± {row[label]['sd']:.3f}" for label in labels)
            lines.append(f"| {number} | {cells} |")
        lines.append("")
    return "\n".join(lines)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data-dir", type=Path, required=True)
    parser.add_argument("--work", type=Path, required=True)
    parser.add_argument("--output", type=Path, default=Path("benchmarks/results"))
    parser.add_argument("--seeds", type=int, nargs="+", default=[0, 1, 2])
    parser.add_argument("--few-shot-seeds", type=int, nargs="+", default=[0, 1, 2, 3, 4])
    parser.add_argument("--only", choices=("full", "few_shot"))
    arguments = parser.parse_args()
    began = time.time()
    arguments.output.mkdir(parents=True, exist_ok=True)
    file = arguments.output / "ugrie.json"
    results = json.loads(file.read_text(encoding="utf-8")) if file.exists() else {}
    bench = Bench(arguments.data_dir, arguments.work)
    if arguments.only != "few_shot":
        results["full"] = compare(bench, arguments.seeds)
    if arguments.only != "full":
        results["few_shot"] = few_shots(bench, arguments.few_shot_seeds)
    results["seeds"], results["few_shot_seeds"] = arguments.seeds, arguments.few_shot_seeds
    file.write_text(json.dumps(results, indent=2) + "\n", encoding="utf-8")
    (arguments.output / "ugrie.md").write_text(as_markdown(results), encoding="utf-8")
    print(as_markdown(results))
    print(f"{time.time() - began:.0f} s")


if __name__ == "__main__":
    main()

"""Eight pictures per class of labels that a model has never seen: a LoRA adapter against a linear probe.

    python benchmarks/new_labels.py --data-dir DIR --backbones WORK/backbones --work runs/new-labels

UGRIE is trained anew by the recipe of `training/make_ugrie_mini.py`, without four of FI's eight emotions: no picture
of them, no text of them, and no caption, tag or text that names one. They are those four that Emotion6, the other data
set of the recipe, does not have either. What is left of the words is what the pretrained language part knew.

Then `iec-hub train ugrie --lora --shots 8` adapts that model to the four hidden labels, beside linear probes on the
same features of the same pictures and the model asked for the four words without any adaptation. Everything is
chosen on FI's validation pictures of the four classes. DIR holds `emotion6`, `fi`, `oasis`, `captions` and `text`;
the backbones are those that `training/make_ugrie_mini.py --work WORK` leaves.
"""

from __future__ import annotations

import argparse
import csv
import json
import os
import re
import shutil
import statistics
import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

os.environ.setdefault("OMP_WAIT_POLICY", "passive")
os.environ.setdefault("TRANSFORMERS_VERBOSITY", "error")

import machine
import numpy as np
import torch
from safetensors.torch import load_file

from iec_hub.checkpoint_loading import load_checkpoint
from iec_hub.data import EmotionDataset, few_shot, load_emotion_dataset
from iec_hub.evaluation import bootstrap_interval, correct
from iec_hub.evaluation.probe import LinearProbe
from iec_hub.finetuning.features import cached_features
from iec_hub.finetuning.measuring import feature_logits
from iec_hub.finetuning.training_sets import label_words
from iec_hub.finetuning.ugrie_command import main as train_ugrie

sys.path.append(str(machine.ROOT / "training"))

HIDDEN = ("amusement", "awe", "contentment", "excitement")
# What is left is anger, disgust, fear and sadness, which fit several known emotion models. Plutchik's words for the
# same emotions at their strongest say that these are labels of their own.
VISIBLE = {"anger": "rage", "disgust": "loathing", "fear": "terror", "sadness": "grief"}
NAMED = re.compile(r"\b(?:amus|awe\b|awesome|content(?:ed|ment|edly)?\b|excit)", re.IGNORECASE)
SHOTS, EPOCHS, BATCH_SIZE, SCALES = 8, 20, 8, (1.0, 5.0)
LEARNING_RATES = (1e-3, 1e-4)  # mapping, language; the retraining needs the small one
LAST_LAYER = 1408  # width of the tower's own pooled vector, the first part of the features
PROBE_STRENGTHS = (1e-4, 3e-4, 1e-3, 3e-3, 1e-2, 3e-2, 1e-1, 3e-1)
ZERO, PROBE, LAYERS_PROBE, ADAPTER = (
    "UGRIE asked for the words, no adaptation",
    "linear probe, last layer",
    "linear probe, all layers",
    "UGRIE with a LoRA adapter",
)


def rewrite(source: Path, target: Path, change: Callable[[dict[str, str]], dict[str, str] | None]) -> list[int]:
    """Copy a CSV file row by row; pictures beside it are linked.

    Args:
        change: from a row to what is written; `None` leaves it out.

    Returns:
        How many rows there were, and how many are left.
    """
    target.parent.mkdir(parents=True, exist_ok=True)
    with source.open(encoding="utf-8-sig", newline="") as file:
        rows = list(csv.DictReader(file))
    written = [change(dict(row)) for row in rows]
    with target.open("w", encoding="utf-8", newline="") as file:
        table = csv.DictWriter(file, list(rows[0]))
        table.writeheader()
        table.writerows(row for row in written if row is not None)
    pictures = source.parent / "images"
    if pictures.is_dir() and not (target.parent / "images").exists():
        (target.parent / "images").symlink_to(pictures.resolve())
    return [len(rows), sum(row is not None for row in written)]


def names_hidden(row: dict[str, str]) -> bool:
    """Whether a text of the row names a hidden emotion."""
    told = (value for key, value in row.items() if key.startswith("caption") or key in ("concepts", "tags"))
    return any(NAMED.search(text or "") for text in told)


def without_hidden(row: dict[str, str]) -> dict[str, str] | None:
    """A row, unless its label is hidden or its text names one that is."""
    if row.get("emotion") in HIDDEN or names_hidden(row):
        return None
    return {**row, "emotion": VISIBLE[row["emotion"]]} if "emotion" in row else row


def silenced(row: dict[str, str]) -> dict[str, str] | None:
    """A picture of a visible label; without its texts where they name a hidden one."""
    if row["emotion"] in HIDDEN:
        return None
    texts = {"concepts": "", "tags": ""} if names_hidden(row) else {}
    return {**row, **texts, "emotion": VISIBLE[row["emotion"]]}


def only_hidden(row: dict[str, str]) -> dict[str, str] | None:
    """A picture of a hidden label, without its texts."""
    return {**row, "concepts": "", "tags": ""} if row["emotion"] in HIDDEN else None


def prepare(data: Path, work: Path) -> dict[str, list[int]]:
    """Write the data without and with the hidden labels; returns how many rows there were and are left."""
    found = {
        "fi, visible": rewrite(data / "fi/metadata.csv", work / "fi-visible/metadata.csv", silenced),
        "fi, hidden": rewrite(data / "fi/metadata.csv", work / "fi-hidden/metadata.csv", only_hidden),
        "texts": rewrite(data / "text/fi_concepts.csv", work / "texts/fi_concepts.csv", without_hidden),
    }
    for name in ("oasis", "captions"):
        found[name] = rewrite(data / name / "metadata.csv", work / name / "metadata.csv", without_hidden)
    return found


def train_base(data: Path, work: Path, backbones: Path, cache: Path, further: Sequence[str]) -> Path:
    """UGRIE by the recipe of the bundled checkpoint, without the hidden labels; returns its folder."""
    import make_ugrie_mini
    import mini_backbones

    folder = work / "base"
    if (folder / "metrics.json").is_file():
        return folder
    (work / "config.json").write_text(json.dumps(make_ugrie_mini.CONFIG), encoding="utf-8")
    visible = load_emotion_dataset(str(work / "fi-visible")).emotion_model
    train_ugrie(
        [
            *("--data", str(data / "emotion6"), str(work / "fi-visible")),
            *("--texts", str(work / "texts" / "fi_concepts.csv"), "--text_emotion_model", visible.name),
            *("--captions", *(str(work / name / "metadata.csv") for name in ("oasis", "captions"))),
            *("--sentence_encoder", str(mini_backbones.minilm_directory())),
            *("--lexicon", str(backbones / "lexicon")),
            *("--vision", str(backbones / "vision"), "--text", str(backbones / "language")),
            *("--config", str(work / "config.json"), "--label_words", "label"),
            *("--cache", str(cache), "--output_dir", str(folder), "--seed", "0", "--overwrite", "True"),
            *("--half_precision_weights", "True", "--use_cpu", "True", "--bf16", "True", "--disable_tqdm", "True"),
            *further,
        ]
    )
    for unneeded in (*folder.glob("checkpoint-*"), folder / "taught", folder / "text"):
        shutil.rmtree(unneeded, ignore_errors=True)
    return folder


def adapt(work: Path, base: Path, cache: Path, scale: float, seed: int) -> tuple[Path, float]:
    """An adapter for the hidden labels by the package's command; its folder and its validation soft cross-entropy."""
    folder = work / f"adapter-x{scale:g}-seed{seed}"
    if not (folder / "metrics.json").is_file():
        rates = [f"{rate * scale:g}" for rate in LEARNING_RATES]
        train_ugrie(
            [
                *("--data", str(work / "fi-hidden"), "--labels", *HIDDEN),
                *("--model", str(base), "--lora", "True", "--shots", str(SHOTS)),
                *("--seed", str(seed), "--num_train_epochs", str(EPOCHS), "--warmup_steps", "4", "--patience", "0"),
                *("--per_device_train_batch_size", str(BATCH_SIZE), "--save_total_limit", "1"),
                *("--learning_rate", rates[0], "--language_learning_rate", rates[1]),
                *("--cache", str(cache), "--output_dir", str(folder), "--overwrite", "True"),
                *("--use_cpu", "True", "--bf16", "True", "--disable_tqdm", "True"),
            ]
        )
        for checkpoint in folder.glob("checkpoint-*"):
            shutil.rmtree(checkpoint)
    log = json.loads((folder / "metrics.json").read_text(encoding="utf-8"))
    return folder, log["validation"]["fi-hidden"]["soft_cross_entropy"]


def is_rounded(backbones: Path) -> bool:
    """Whether the vision tower's weights are float16's, as in a bundled checkpoint, whose features they then share."""
    weights = load_file(backbones / "vision" / "model.safetensors").values()
    return all(torch.equal(tensor, tensor.half().to(tensor)) for tensor in weights if tensor.is_floating_point())


@dataclass
class Hidden:
    """The pictures of the hidden labels: split to features `(images, width)` and labels `(images, 4)`."""

    dataset: EmotionDataset
    features: dict[str, torch.Tensor]
    targets: dict[str, torch.Tensor]

    @classmethod
    def read(cls, folder: Path, model: Any, processor: Any, cache: Path) -> Hidden:
        dataset = load_emotion_dataset(str(folder), verify_images=True, labels=HIDDEN)
        parts = {split: dataset.split(split) for split in ("train", "validation", "test")}
        features = {
            split: cached_features(model, processor, part.examples, cache, 1, f"hidden/{split}")[0]
            for split, part in parts.items()
        }
        return cls(
            dataset, features, {split: torch.tensor(part.distributions()).float() for split, part in parts.items()}
        )

    def drawn(self, seed: int) -> list[int]:
        """Places in the training split of the pictures that `--shots` draws."""
        train = self.dataset.split("train")
        place = {example.id: number for number, example in enumerate(train.examples)}
        return sorted(place[example.id] for example in few_shot(train, SHOTS, seed).examples)

    def rows(self, models: dict[str, Any], norm: Any, drawn: Sequence[int]) -> dict[str, np.ndarray]:
        """Whether each picture is told rightly, `(training pictures + test pictures,)`; NaN where it was drawn."""
        everything = torch.cat([self.features["train"], self.features["test"]])
        target = torch.cat([self.targets["train"], self.targets["test"]]).double().numpy()
        told = {}
        for label, read in ((PROBE, lambda values: values[:, :LAST_LAYER]), (LAYERS_PROBE, norm)):
            probe = LinearProbe.select(
                read(self.features["train"][drawn]),
                self.targets["train"][drawn],
                read(self.features["validation"]),
                self.targets["validation"],
                PROBE_STRENGTHS,
            )
            told[label] = probe.logits(read(everything))
        words = label_words(self.dataset.emotion_model, "label")
        for label, (model, processor) in models.items():
            told[label] = feature_logits(model, processor, everything, words)
        found = {}
        for label, logits in told.items():
            right = correct(logits.double().softmax(-1).numpy(), target).astype(np.float64)
            right[list(drawn)] = np.nan
            found[label] = right
        return found


def table(runs: Sequence[dict[str, np.ndarray]], test: int) -> dict[str, Any]:
    """Accuracies over seeds, on the test pictures alone and on everything that was not drawn.

    Args:
        runs: per seed, row to whether each picture is told rightly; the last `test` ones are the test pictures.
    """
    rows: dict[str, Any] = {}
    for label in runs[0]:
        row: dict[str, Any] = {}
        for part, start in (("test", -test), ("unseen", 0)):
            values = np.array([run[label][start:] for run in runs])
            probe = np.array([run[PROBE][start:] for run in runs])
            single = [float(np.nanmean(value)) for value in values]
            row[part] = {
                "mean": statistics.mean(single),
                "sd": statistics.stdev(single) if len(single) > 1 else None,
                "single_seeds": single,
                "n": int(np.isfinite(values).sum(axis=1).mean()),
            }
            if label != PROBE:
                # A picture's value is the mean over the seeds that did not draw it.
                counted = np.isfinite(values).any(axis=0)
                difference = np.nanmean((values - probe)[:, counted], axis=0)
                row[part]["minus_probe"] = list(bootstrap_interval(np.mean, difference))
        rows[label] = row
    return rows


def as_markdown(result: dict[str, Any]) -> str:
    def cell(row: dict[str, Any]) -> str:
        spread = "" if row["sd"] is None else f" ± {row['sd']:.3f}"
        gain = " ({:+.3f} [{:+.3f}, {:+.3f}])".format(*row["minus_probe"]) if "minus_probe" in row else ""
        return f"{row['mean']:.3f}{spread}{gain}"

    first = next(iter(result["rows"].values()))
    kept = ", ".join(f"{name.replace(',', '')} {left} of {rows}" for name, (rows, left) in result["rows_kept"].items())
    seeds = " ".join(map(str, result["seeds"]))
    further = " ".join(result["further"])
    command = f"python benchmarks/new_labels.py --data-dir DIR --backbones WORK/backbones --work WORK --seeds {seeds}"
    lines = [
        "# New labels from eight pictures per class",
        "",
        f"Made by `{command}{f' {further}' if further else ''}`.",
        "",
        f"UGRIE was trained anew by the recipe of ugrie-mini (seed 0) without {', '.join(result['hidden'])}: these "
        "four of FI's eight emotions are not among Emotion6's labels either, and every text, tag or caption that "
        f"names one was left out (rows that are left: {kept}); the other four were called "
        f"{', '.join(VISIBLE.values())}. The words themselves are in the vocabulary of the pretrained language part."
        + (" The vision tower's weights are rounded to float16, as they ship." if result["rounded_tower"] else ""),
        f"Then {result['shots']} pictures per class of FI's training split, drawn by seed, {result['epochs']} epochs "
        f"in batches of {result['batch_size']}, LoRA of rank 8 on language and mapping (the command's defaults); "
        f"factor {result['scale']:g} of {', '.join(f'{s:g}' for s in result['scales'])} on learning rates of "
        "0.001 (mapping) and 0.0001 (language), epoch and probes' strengths by soft cross-entropy on FI's 26 "
        "validation pictures of these classes. "
        f"{result['adapter_bytes'] / 1e6:.2f} MB are stored.",
        "",
        "Accuracy, mean and standard deviation over seeds; in brackets the difference to the last-layer probe with "
        "its 95 % bootstrap interval, paired over pictures. Four classes: a guess is right in about a quarter.",
        "",
        f"| | FI's test pictures of the four (n = {first['test']['n']}) | those and all training pictures that were "
        f"not drawn (n = {first['unseen']['n']}) |",
        "|---|---|---|",
    ]
    lines += [f"| {label} | {cell(row['test'])} | {cell(row['unseen'])} |" for label, row in result["rows"].items()]
    return "\n".join([*lines, "", f"Machine: {machine.facts_line(result['machine'])}.", ""])


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter, allow_abbrev=False
    )
    parser.add_argument("--data-dir", type=Path, required=True)
    parser.add_argument("--backbones", type=Path, required=True)
    parser.add_argument("--work", type=Path, required=True)
    parser.add_argument("--cache", type=Path, help="features; WORK/features if left out")
    parser.add_argument("--seeds", type=int, nargs="+", default=[0, 1, 2, 3, 4])
    given, further = parser.parse_known_args()
    data, work, backbones = (path.resolve() for path in (given.data_dir, given.work, given.backbones))
    cache = (given.cache or work / "features").resolve()
    kept = prepare(data, work)
    base = train_base(data, work, backbones, cache, further)
    losses = {scale: adapt(work, base, cache, scale, given.seeds[0])[1] for scale in SCALES}
    scale = min(losses, key=losses.__getitem__)
    model, processor = load_checkpoint(str(base), "base", torch.float32, {})
    hidden = Hidden.read(work / "fi-hidden", model, processor, cache)
    runs = []
    for seed in given.seeds:
        folder, _ = adapt(work, base, cache, scale, seed)
        adapted = load_checkpoint(str(folder), folder.name, torch.float32, {})
        with torch.no_grad():
            models = {ZERO: (model, processor), ADAPTER: adapted}
            runs.append(hidden.rows(models, model.feature_norm, hidden.drawn(seed)))
        print(seed, {label: round(float(np.nanmean(right)), 3) for label, right in runs[-1].items()}, flush=True)
    result = {
        "seeds": given.seeds, "further": further, "hidden": HIDDEN, "rows_kept": kept,
        "rounded_tower": is_rounded(backbones), "shots": SHOTS, "epochs": EPOCHS, "batch_size": BATCH_SIZE,
        "scale": scale, "scales": SCALES, "validation": {f"{factor:g}": loss for factor, loss in losses.items()},
        "adapter_bytes": (folder / "adapter_model.safetensors").stat().st_size, "machine": machine.facts(),
        "rows": table(runs, len(hidden.targets["test"])),
    }  # fmt: skip
    machine.write_results("new_labels", result, as_markdown(result))


if __name__ == "__main__":
    main()

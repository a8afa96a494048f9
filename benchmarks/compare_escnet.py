"""ESCNet, its ablations, UGRIE and linear probes on the same frozen features; valence of OASIS.

    python benchmarks/compare_escnet.py --data-dir DIR --work runs/escnet-mini --seeds 0 1 2

It reads what `training/make_escnet_mini.py --work` left there (backbones, features, configuration) and trains with
that script's settings, which further arguments change. Words, probes, epochs and temperatures are chosen on train and
validation; test is read once.

Every finished run is kept below `WORK/bench`, under a key of its settings, so that a killed benchmark goes on where
it was. The key knows nothing of the code: delete the folder after changing that.
"""

from __future__ import annotations

import argparse
import copy
import hashlib
import json
import shutil
import sys
import time
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import machine
import numpy as np
import oasis
import torch
import valence
from compare_ugrie import LAST_LAYER, probe_rows
from escnet_report import FULL, as_markdown, table
from safetensors.torch import load_file, save_file
from transformers import set_seed

from iec_hub.data import EmotionDataset
from iec_hub.evaluation.running import predict_dataset
from iec_hub.finetuning import escnet_command as command
from iec_hub.finetuning import escnet_training as stages
from iec_hub.finetuning.arguments import TrainingSettings, read_config
from iec_hub.finetuning.escnet_arguments import frozen_parts, parse_arguments
from iec_hub.finetuning.escnet_captioning import fit_emotion_words
from iec_hub.finetuning.features import cached_image_features
from iec_hub.finetuning.image_training import chosen_settings
from iec_hub.finetuning.measuring import calibrate, source_logits
from iec_hub.finetuning.run import TrainingRun
from iec_hub.finetuning.training_sets import load_data
from iec_hub.predictor import EmotionPredictor
from iec_hub.registry import BUNDLED_CHECKPOINTS, checkpoint_path

sys.path.append(str(machine.ROOT / "training"))
import make_escnet_mini  # noqa: E402

VALENCE_BASELINE = "all layers"


@dataclass(frozen=True)
class Configuration:
    """A row of the table: what is other than in the full recipe.

    Attributes:
        config: fields of `EscnetConfig`.
        emotion_words: whether captions name an emotion.
        texts: whether texts of other images teach beside the captions of the labelled ones.
    """

    label: str
    config: dict[str, Any] = field(default_factory=dict)
    emotion_words: bool = False
    texts: bool = True

    @property
    def architecture(self) -> str:
        """Configurations with one name share the model that texts and captions have taught."""
        switches = [f"{name}={self.config[name]}" for name in sorted(self.config) if name.startswith("use_")]
        switches += ["emotion_words"] if self.emotion_words else []
        switches += [] if self.texts else ["no_texts"]
        return "-".join(switches) or "whole"


CONFIGURATIONS = {
    "full": Configuration(FULL),
    "no_captions": Configuration("ESCNet without captions", {"use_captions": False}),
    "no_gate": Configuration("ESCNet without the word gate", {"use_word_gate": False}),
    "cross_only": Configuration("ESCNet, cross-attention only", {"use_self_attention": False}),
    "plain_loss": Configuration("ESCNet, plain cross-entropy", {"difficulty_weight": 0.0}),
    "emotion_words": Configuration("ESCNet, captions with emotion words", emotion_words=True),
    "no_texts": Configuration("ESCNet without texts of other images", texts=False),
}


class Bench:
    """Data and features that every run reads, and the folder of finished runs."""

    def __init__(self, data_dir: Path, work: Path, further: list[str]):
        self.data_dir, self.work, self.further = data_dir, work, further
        self.folder = work / "bench" / self._key()
        self.folder.mkdir(parents=True, exist_ok=True)
        data, start, recipe = self.settings(0, self.folder)[:3]
        self.run = chosen_settings(
            stages.EscnetRun, recipe, freeze=frozen_parts(start.freeze), cache=Path(recipe.cache)
        )
        set_seed(0)
        self.datasets = {dataset.name: dataset for dataset in load_data(data, start, 0)}
        self.model, self.processor = self.load({})
        self.sources = {
            split: {
                source.name: source
                for source in stages.image_sources(
                    self.model, self.processor, [*self.datasets.values()], split, self.run
                )
            }
            for split in oasis.SPLITS
        }
        self.fit_norms(self.model)
        self.oasis = {
            split: self._oasis(split, found) for split, found in oasis.read_oasis(data_dir / "oasis").items()
        }

    def settings(self, seed: int, output: Path) -> TrainingSettings:
        """Arguments of the shipped checkpoint's training with another seed."""
        line = make_escnet_mini.command_line(self.data_dir, self.work, output, seed)
        own = ["--output_dir", str(output), "--seed", str(seed), "--disable_tqdm", "True", "--logging_strategy", "no"]
        return parse_arguments([*line, *self.further, *own], __doc__)

    def _key(self) -> str:
        """Changes with every setting, and with what the configuration and the vocabulary hold."""
        data, start = self.settings(0, self.work / "bench")[:2]
        line = make_escnet_mini.command_line(Path("data"), Path("work"), Path("output"), 0)
        digest = hashlib.sha256(json.dumps([line, self.further]).encode())
        for file in (start.config, data.vocabulary):
            digest.update(Path(file).read_bytes() if file else b"")
        return digest.hexdigest()[:12]

    def load(self, fields: dict[str, Any]) -> tuple[Any, Any]:
        """A new model with other fields of its configuration, from the global seed."""
        start = self.settings(0, self.folder).start
        file = self.folder / "config.json"
        file.write_text(json.dumps(read_config(start.config) | fields), encoding="utf-8")
        return command.load_model(replace(start, config=str(file)), [d.emotion_model for d in self.datasets.values()])

    def fit_norms(self, model: Any) -> None:
        stages.fit_feature_norms(model, [source.features[0] for source in self.sources["train"].values()])

    def norm(self, features: torch.Tensor) -> torch.Tensor:
        with torch.no_grad():
            return self.model.feature_norm(features)

    def _oasis(self, split: str, examples: list[Any]) -> stages.ImageSource:
        features = cached_image_features(
            self.model, self.processor, examples, self.run.cache, description=f"oasis/{split}", tokens=True
        )
        emotion_model = next(iter(self.datasets.values())).emotion_model
        nothing = torch.full((len(examples), len(emotion_model)), 1 / len(emotion_model))
        return stages.ImageSource(
            "oasis", emotion_model, nothing, features.pooled, examples=examples, tokens=features.tokens
        )

    def captions(self, seed: int, emotion_words: bool) -> dict[str, list[list[str]]]:
        """ "split/name" to captions of its views, by the captioner that this seed's first stage makes."""
        file = self.folder / f"captions-{seed}.json"
        if not file.exists():
            store(file, json.dumps(self._write_captions(seed)))
        return json.loads(file.read_text(encoding="utf-8"))["emotion_words" if emotion_words else "plain"]

    def _write_captions(self, seed: int) -> dict[str, dict[str, list[list[str]]]]:
        settings = self.settings(seed, self.folder / f"captioner-{seed}")
        data, recipe, arguments = settings.data, settings.recipe, settings.arguments
        set_seed(seed)
        model, processor = self.load({})
        sources = {split: [copy.copy(source) for source in self.sources[split].values()] for split in oasis.SPLITS}
        plain = replace(recipe, emotion_words=False)
        command.fit_captioner(model, processor, data, plain, self.run, sources, arguments)
        written = {}
        for kind in ("plain", "emotion_words"):
            if kind == "emotion_words":
                fit_emotion_words(model, sources["train"][0], sources["validation"][0])
            written[kind] = {}
            for split in oasis.SPLITS:
                everything = [*sources[split], copy.copy(self.oasis[split])]
                command.write_all_captions(model, processor, everything, self.run, varied=split == "train")
                written[kind] |= {f"{split}/{source.name}": source.captions for source in everything}
        return written


def store(file: Path, text: str) -> None:
    """Write a file at once: a killed benchmark leaves no half of it."""
    partial = file.with_suffix(".partial")
    partial.write_text(text, encoding="utf-8")
    partial.replace(file)


def run_file(bench: Bench, key: str, seed: int) -> Path:
    return bench.folder / f"{key}-{seed}.safetensors"


def train_run(bench: Bench, key: str, seed: int) -> None:
    """Train one configuration and keep its calibrated test logits and, of the full one, what it makes of OASIS."""
    configuration = CONFIGURATIONS[key]
    output = bench.folder / f"seed-{seed}" / configuration.architecture
    settings = bench.settings(seed, output)
    data = settings.data
    set_seed(seed)
    model, processor = bench.load(configuration.config)
    bench.fit_norms(model)
    captions = bench.captions(seed, configuration.emotion_words) if model.config.use_captions else {}

    def captioned(source: stages.ImageSource, split: str) -> stages.ImageSource:
        return replace(source, captions=captions.get(f"{split}/{source.name}", ()))

    sources = {split: [captioned(s, split) for s in bench.sources[split].values()] for split in oasis.SPLITS}
    if not configuration.texts:
        data = replace(data, texts=[])
    training = {split: sources[split] for split in ("train", "validation")}
    # Only what texts taught is taken up again, where a run of the same architecture has stored it.
    forget_epochs(output)
    run = TrainingRun("escnet", settings, [*bench.datasets.values()], resumed=True, checkpoint=None, log={})
    command.fit_classifier(model, processor, data, bench.run, training, run)
    forget_epochs(output)
    model.eval()
    calibrate(model, processor, sources["validation"])
    kept = {
        source.name: model.config.calibrated_probabilities(
            source_logits(model, processor, source), source.emotion_model
        ).log()
        for source in sources["test"]
    }
    if key == "full":
        kept |= {f"oasis/{s}": fused(model, processor, captioned(bench.oasis[s], s)) for s in oasis.SPLITS}
    partial = run_file(bench, key, seed).with_suffix(".partial")
    save_file({name: tensor.contiguous() for name, tensor in kept.items()}, partial)
    partial.replace(run_file(bench, key, seed))


def forget_epochs(output: Path) -> None:
    """Remove the Trainer's checkpoints, of this run or of a killed one in the same folder."""
    for checkpoint in output.glob("checkpoint-*"):
        shutil.rmtree(checkpoint)


@torch.no_grad()
def fused(model: Any, processor: Any, source: stages.ImageSource, batch_size: int = 128) -> torch.Tensor:
    """`EscnetOutput.fused` `(images, width)` of a source's images as they are."""
    parts = []
    for start in range(0, len(source.features[0]), batch_size):
        rows = slice(start, start + batch_size)
        texts = list(source.captions[0][rows])
        batch = processor(emotion_models=source.emotion_model, captions=texts)
        tensors = {name: value for name, value in batch.items() if torch.is_tensor(value)}
        features = {"pooled_features": source.features[0, rows], "token_features": source.tokens[0, rows].float()}
        parts.append(model(**tensors, **features).fused)
    return torch.cat(parts)


def bundled_rows(dataset: EmotionDataset) -> dict[str, list[np.ndarray]]:
    """Predictions of the checkpoints that ship, as they are, for the test split."""
    rows = {}
    for name in BUNDLED_CHECKPOINTS.values():
        if Path(checkpoint_path(name), "config.json").is_file():
            predictor = EmotionPredictor.from_pretrained(name, device="cpu")
            predicted, _, left_out = predict_dataset(predictor, dataset.split("test"))
            if left_out:
                raise RuntimeError(f"{len(left_out)} test pictures of {dataset.name} cannot be read.")
            rows[f"{name}, as shipped"] = [predicted]
    return rows


def stored_rows(bench: Bench, seeds: list[int]) -> dict[str, dict[str, list[np.ndarray]]]:
    """Data set to row to the test probabilities of its finished seeds."""
    predictions: dict[str, dict[str, list[np.ndarray]]] = {}
    for name, dataset in bench.datasets.items():
        probes = {label: [as_probabilities(p.log())] for label, p in probe_rows(bench, name).items()}
        predictions[name] = probes | bundled_rows(dataset)
        for key, configuration in CONFIGURATIONS.items():
            files = [run_file(bench, key, seed) for seed in seeds]
            runs = [as_probabilities(load_file(file)[name]) for file in files if file.exists()]
            if runs:
                predictions[name][configuration.label] = runs
    return predictions


def as_probabilities(logits: torch.Tensor) -> np.ndarray:
    return logits.double().softmax(-1).numpy()


def valence_rows(bench: Bench, seeds: list[int]) -> dict[str, Any] | None:
    """Ridge regressions on four representations; `None` while no full run is finished."""
    files = [run_file(bench, "full", seed) for seed in seeds]
    runs = [load_file(file) for file in files if file.exists()]
    if not runs:
        return None
    targets = {split: np.array([e.valence for e in source.examples]) for split, source in bench.oasis.items()}
    pooled = {split: source.features[0] for split, source in bench.oasis.items()}
    last = {split: features[:, :LAST_LAYER].numpy() for split, features in pooled.items()}
    layers = {split: bench.norm(features).numpy() for split, features in pooled.items()}
    joint = [{split: run[f"oasis/{split}"].numpy() for split in oasis.SPLITS} for run in runs]
    blocks = {
        "last layer": [[last]],
        VALENCE_BASELINE: [[layers]],
        "ESCNet, fused": [[f] for f in joint],
        "all layers and ESCNet, fused": [[layers, f] for f in joint],
    }
    predictions, alphas = {}, {}
    for name, choices in blocks.items():
        fits = [
            valence.ridge_predictions({split: [b[split] for b in parts] for split in oasis.SPLITS}, targets)
            for parts in choices
        ]
        predictions[name], alphas[name] = [fit[0] for fit in fits], [fit[1] for fit in fits]
    rows = valence.correlation_rows(predictions, targets["test"], VALENCE_BASELINE)
    return {"n": len(targets["test"]), "baseline": VALENCE_BASELINE, "alphas": alphas, "rows": rows}


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter, allow_abbrev=False
    )
    parser.add_argument("--data-dir", type=Path, required=True)
    parser.add_argument("--work", type=Path, required=True)
    parser.add_argument("--output", type=Path, default=machine.RESULTS)
    parser.add_argument("--seeds", type=int, nargs="+", default=[0, 1, 2])
    parser.add_argument("--only", nargs="+", choices=list(CONFIGURATIONS), help="train these alone; show all there is")
    parser.add_argument("--epochs", type=int, help="over the images; the recipe's if left out")
    given, further = parser.parse_known_args()
    further += ["--num_train_epochs", str(given.epochs)] if given.epochs is not None else []
    bench = Bench(given.data_dir, given.work, further)
    for seed in given.seeds:
        for key in given.only or CONFIGURATIONS:
            if not run_file(bench, key, seed).exists():
                began = time.time()
                train_run(bench, key, seed)
                print(f"{key}, seed {seed}: {time.time() - began:.0f} s", flush=True)
    target = {name: source.distributions.double().numpy() for name, source in bench.sources["test"].items()}
    results = {
        "seeds": given.seeds,
        "further": [*(["--only", *given.only] if given.only else []), *further],
        "machine": machine.facts(),
        "data": {
            name: {"n": len(target[name]), "rows": table(rows, target[name])}
            for name, rows in stored_rows(bench, given.seeds).items()
        },
        "valence": valence_rows(bench, given.seeds),
    }
    given.output.mkdir(parents=True, exist_ok=True)
    store(given.output / "escnet.json", json.dumps(results, indent=2) + "\n")
    markdown = as_markdown(results)
    store(given.output / "escnet.md", markdown)
    print(markdown)


if __name__ == "__main__":
    main()

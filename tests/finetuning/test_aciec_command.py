"""Whole runs of ACIEC's training on real pictures with tiny parts."""

import json
import shutil
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image
from safetensors.torch import load_file

from iec_hub.affect.reasoning import Reasoning
from iec_hub.data import load_emotion_dataset
from iec_hub.errors import DataError
from iec_hub.evaluation import evaluate_distributions
from iec_hub.finetuning import aciec_command
from iec_hub.prediction import ReasoningStep
from iec_hub.predictor import EmotionPredictor

AciecLine = Callable[..., list[str]]


def test_a_whole_run_is_measured_as_it_loads(
    aciec_line: AciecLine, data_folders: tuple[Path, Path], tmp_path: Path
) -> None:
    output = tmp_path / "run"
    log = aciec_command.main(aciec_line(output, half_precision_weights=True))
    assert set(log["temperatures"]) == {"mikels8", "ekman7"}
    assert len(log["history"]) == 2
    predictor = EmotionPredictor.from_pretrained(output, method="aciec", device="cpu")
    for source in data_folders:
        test = load_emotion_dataset(source).split("test")
        asked = {"emotion_model": test.emotion_model.name, "read_text": False}
        predictions = predictor.predict([e.image for e in test], **asked)
        assert all(len(p.concepts) == 2 and p.reasoning and p.captions for p in predictions)
        probabilities = np.array([p.probabilities for p in predictions])
        measured = evaluate_distributions(probabilities, test.distributions())
        found = log["test"][source.name]
        assert measured == pytest.approx({name: found[name] for name in measured}, abs=5e-3)
    card = (output / "README.md").read_text(encoding="utf-8")
    assert "ACIEC" in card and "ESCNet" not in card and str(tmp_path) not in card


def test_a_killed_run_ends_as_a_run_in_one_go(aciec_line: AciecLine, tmp_path: Path) -> None:
    aciec_command.main(aciec_line(tmp_path / "whole"))
    aciec_command.main(aciec_line(tmp_path / "cut"))
    for checkpoint in sorted((tmp_path / "cut").glob("checkpoint-*"))[1:]:  # as if killed after the first epoch
        shutil.rmtree(checkpoint)
    aciec_command.main(aciec_line(tmp_path / "cut", resume_from_checkpoint=True))
    whole, cut = (load_file(tmp_path / name / "model.safetensors") for name in ("whole", "cut"))
    assert all(torch.equal(tensor, cut[name]) for name, tensor in whole.items())


def test_word_embeddings_stay_because_concepts_are_placed_by_them(
    aciec_line: AciecLine, backbones: Path, tmp_path: Path
) -> None:
    aciec_command.main(aciec_line(tmp_path / "run"))
    trained = load_file(tmp_path / "run" / "model.safetensors")
    before = load_file(backbones / "encoder" / "model.safetensors")
    words = "embeddings.word_embeddings.weight"
    assert torch.equal(trained[f"text_encoder.{words}"], before[words])
    layer = "encoder.layer.0.attention.self.query.weight"
    assert not torch.equal(trained[f"text_encoder.{layer}"], before[layer])


def test_concepts_learn_their_polarity_and_emotion(aciec_line: AciecLine, tmp_path: Path) -> None:
    aciec_command.main(aciec_line(tmp_path / "run", num_train_epochs=1))
    concepts = json.loads((tmp_path / "run" / "config.json").read_text(encoding="utf-8"))["concepts"]
    assert [concept["name"] for concept in concepts][:2] == ["dark house", "bright beach"]
    assert all(concept["polarity"] in ("positive", "negative") and concept["emotion"] for concept in concepts)


def test_a_checkpoint_is_trained_on_with_the_labels_it_knew(
    aciec_line: AciecLine, data_folders: tuple[Path, Path], tmp_path: Path
) -> None:
    aciec_command.main(aciec_line(tmp_path / "first", data=[str(data_folders[0])], texts=None))
    settings = {"model": tmp_path / "first", "vision": None, "text": None, "config": None, "concepts": None}
    settings |= {"data": [str(data_folders[1])], "texts": None, "sentence_encoder": None, "captions": None}
    log = aciec_command.main(aciec_line(tmp_path / "second", **settings))
    predictor = EmotionPredictor.from_pretrained(tmp_path / "second")
    assert set(predictor.emotion_models) == {"mikels8", "ekman7"} and set(log["test"]) == {data_folders[1].name}


class Poet:
    """A reasoner that counts how many pictures it was asked about."""

    name = "poet"

    def __init__(self) -> None:
        self.asked = 0

    def reason(
        self, images: Sequence[Image.Image], embedded_texts: Sequence[str | None] | None = None
    ) -> list[Reasoning]:
        self.asked += len(images)
        step = ReasoningStep("scene", "a dark place", "fear")
        return [Reasoning((step,), ("A dark place frightens.",), self.name) for _ in images]


def test_a_reasoner_is_asked_about_every_image_once(
    aciec_line: AciecLine, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    poet = Poet()
    monkeypatch.setattr(aciec_command, "load_reasoner", lambda *_: poet)
    aciec_command.main(aciec_line(tmp_path / "run", num_train_epochs=1))
    assert poet.asked > 0
    asked, poet.asked = poet.asked, 0
    aciec_command.main(aciec_line(tmp_path / "again", num_train_epochs=1))
    assert poet.asked == 0, f"all {asked} answers were kept"
    (kept,) = (tmp_path / "cache").glob("reasoning-*.jsonl")
    lines = kept.read_bytes().splitlines(keepends=True)
    kept.write_bytes(b"".join(lines[: len(lines) // 2]) + lines[-1][:10])  # as if killed in the middle of a line
    aciec_command.main(aciec_line(tmp_path / "third", num_train_epochs=1))
    assert poet.asked == len(lines) - len(lines) // 2


@pytest.mark.parametrize(
    ("options", "reason"),
    [
        ({"stages": ["poet"]}, "--stages"),
        ({"freeze": ["legs"]}, "cannot be frozen"),
        ({"vision": None}, "Nothing to start from"),
        ({"concepts": "missing.txt"}, "no file"),
        ({"teacher_weight": 2}, "share from 0 to 1"),
        ({"reasoner": "preset"}, "names no reasoner"),
        ({"reasoner_quantization": "2bit"}, "4bit"),
    ],
)
def test_impossible_settings_are_one_sentence(
    aciec_line: AciecLine, tmp_path: Path, options: dict[str, Any], reason: str
) -> None:
    with pytest.raises(DataError, match=reason) as raised:
        aciec_command.main(aciec_line(tmp_path / "run", **options))
    assert "\n" not in str(raised.value)

"""Whole runs: what they write, that they measure what is loaded, that a killed run ends as a run in one go."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from safetensors.torch import load_file

from iec_hub.data import load_emotion_dataset
from iec_hub.errors import CheckpointError, DataError, IecHubError
from iec_hub.evaluation import evaluate_distributions
from iec_hub.finetuning import ugrie_command
from iec_hub.finetuning.trainer import EpochOfData
from iec_hub.finetuning.training_sets import load_data
from iec_hub.finetuning.ugrie_arguments import parse_arguments
from iec_hub.predictor import EmotionPredictor
from tests.finetuning.conftest import MIKELS, write_csv

CommandLine = Callable[..., list[str]]


def assert_loads_as_measured(folder: Path, data_folders: tuple[Path, Path], log: dict[str, Any]) -> EmotionPredictor:
    predictor = EmotionPredictor.from_pretrained(folder, device="cpu")
    for source in data_folders:
        test = load_emotion_dataset(source).split("test")
        predictions = predictor.predict([e.image for e in test], emotion_model=test.emotion_model.name)
        probabilities = np.array([p.probabilities for p in predictions])
        measured = evaluate_distributions(probabilities, test.distributions())
        found = log["test"][source.name]
        assert measured == pytest.approx({name: found[name] for name in measured}, abs=2e-3)
    return predictor


@pytest.fixture
def notes(tmp_path: Path) -> Path:
    path = tmp_path / "notes.md"
    path.write_text("For research and demonstration only.\n", encoding="utf-8")
    return path


def test_a_whole_run_in_half_precision(
    command_line: CommandLine, data_folders: tuple[Path, Path], tmp_path: Path, notes: Path
) -> None:
    output = tmp_path / "run"
    log = ugrie_command.main(command_line(output, half_precision_weights=True, card_notes=notes, num_train_epochs=2))
    assert json.loads((output / "metrics.json").read_text(encoding="utf-8")) == json.loads(json.dumps(log))
    assert set(log["temperatures"]) == {"mikels8", "ekman7"}
    assert len(log["history"]) == 2

    card = (output / "README.md").read_text(encoding="utf-8")
    assert "license: other" in card and "For research and demonstration only." in card
    assert str(tmp_path) not in card
    for part in ("test", "validation"):
        for name, m in log[part].items():
            assert f"{m['accuracy']:.3f} [{m['intervals']['accuracy'][0]:.3f}, " in card and name in card

    stored = load_file(output / "model.safetensors")
    assert {tensor.dtype for tensor in stored.values() if tensor.is_floating_point()} == {torch.float16}
    assert json.loads((output / "config.json").read_text(encoding="utf-8"))["dtype"] == "float32"
    predictor = assert_loads_as_measured(output, data_folders, log)
    assert predictor.model.dtype == torch.float32
    assert predictor.model.config.temperatures == log["temperatures"]
    # Whoever loads it as it is saved computes in float32 too.
    assert EmotionPredictor.from_pretrained(output, device="cpu", dtype="auto").model.dtype == torch.float32


def test_pixels_with_nothing_frozen(
    command_line: CommandLine, data_folders: tuple[Path, Path], tmp_path: Path
) -> None:
    output = tmp_path / "run"
    log = ugrie_command.main(
        command_line(output, freeze="none", texts=None, captions=None, sentence_encoder=None, num_train_epochs=1)
        + ["--vision_learning_rate", "1e-3"]
    )
    assert set(log["test"]) == {"single", "votes"} and set(log["temperatures"]) == {"mikels8", "ekman7"}
    predictor = assert_loads_as_measured(output, data_folders, log)
    norm = predictor.model.feature_norm
    assert norm.mean.abs().sum() > 0  # fitted although no features are cached
    assert "vision_learning_rate" in (output / "README.md").read_text(encoding="utf-8")


def test_a_transformer_mapping_reads_the_images_of_a_frozen_tower(
    command_line: CommandLine, data_folders: tuple[Path, Path], tmp_path: Path
) -> None:
    config = tmp_path / "transformer.json"
    config.write_text('{"mapping_type": "transformer", "mapping_heads": 2, "mapping_layers": 1}', encoding="utf-8")
    options = {"config": config, "texts": None, "captions": None, "sentence_encoder": None, "max_steps": 1}
    log = ugrie_command.main(command_line(tmp_path / "run", data=[str(data_folders[0])], **options))
    assert log["test"]["single"]["n"] == 4


@pytest.mark.parametrize("saving", ["epoch", "steps"])
def test_a_killed_run_goes_on_as_if_it_had_not_been(
    command_line: CommandLine, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, saving: str
) -> None:
    """Mixup, teachers, dropout and text stages on; killed at an epoch's end, and in the middle of an epoch."""
    # 20 images in batches of 4: 5 steps an epoch; 7 is within the second.
    options: dict[str, Any] = {"per_device_train_batch_size": 4, "save_strategy": saving, "eval_strategy": saving}
    options |= {"save_steps": 7, "eval_steps": 7, "num_train_epochs": 3, "patience": 0}
    straight = ugrie_command.main(command_line(tmp_path / "straight", **options))

    class KilledError(Exception):
        pass

    def kill(self: EpochOfData, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
        # Not in the text stage, which sees 16 texts and a few hundred words.
        if state.global_step >= 8 and Path(args.output_dir).name == "killed":
            raise KilledError

    output = tmp_path / "killed"
    with monkeypatch.context() as patch:
        patch.setattr(EpochOfData, "on_step_end", kill)
        with pytest.raises(KilledError):
            ugrie_command.main(command_line(output, **options))
    assert (output / "taught" / "log.json").exists()

    def taught_again(*_: Any) -> None:
        raise AssertionError("the text stage was repeated")

    monkeypatch.setattr(ugrie_command.stages, "teach_by_text", taught_again)
    resumed = ugrie_command.main(command_line(output, resume_from_checkpoint=True, **options))
    for name in ("validation", "test", "temperatures"):
        assert resumed[name] == straight[name]
    expected = load_file(tmp_path / "straight" / "model.safetensors")
    found = load_file(output / "model.safetensors")
    assert expected.keys() == found.keys()
    assert [name for name in expected if not torch.equal(expected[name], found[name])] == []


def test_early_stopping_ends_a_run(command_line: CommandLine, tmp_path: Path) -> None:
    options = {"texts": None, "captions": None, "sentence_encoder": None, "learning_rate": 0.0}
    options |= {"language_learning_rate": 0.0, "num_train_epochs": 6, "patience": 2}
    log = ugrie_command.main(command_line(tmp_path / "run", **options))
    assert len(log["history"]) == 3  # the first is the best, then two without improvement
    last = log["history"][-1]
    mean = (last["eval_single_soft_cross_entropy"] + last["eval_votes_soft_cross_entropy"]) / 2
    assert last["eval_soft_cross_entropy"] == pytest.approx(mean)


class TestShots:
    @pytest.mark.parametrize(("shots", "expected"), [("1", (5, 7)), (["0", "1"], (10, 7)), (None, (10, 10))])
    def test_one_number_or_one_each(
        self, command_line: CommandLine, tmp_path: Path, shots: Any, expected: tuple[int, int]
    ) -> None:
        data, start, *_ = parse_arguments(command_line(tmp_path, shots=shots), None)
        datasets = load_data(data, start, 0)
        assert tuple(len(dataset.split("train")) for dataset in datasets) == expected
        assert [len(dataset.split("test")) for dataset in datasets] == [4, 4]


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"vision": None}, "Nothing to start from"),
        ({"freeze": "visoin"}, "'visoin' cannot be frozen"),
        ({"freeze": ["vision", "language", "mapping"]}, "nothing to train"),
        ({"sentence_encoder": None}, "need a --sentence_encoder"),
        ({"sentence_encoder": "/nowhere"}, "sentence encoder '/nowhere' could not be loaded"),
        ({"texts": "/nowhere.csv"}, "no file '/nowhere.csv'"),
        ({"label_words": "wordnet"}, "'wordnet'"),
        ({"preset": "huge"}, "no preset 'huge'"),
        ({"vision": "/nowhere"}, "could not be loaded"),
        ({"model": "/nowhere"}, "could not be loaded"),
        ({"shots": [1, 2, 3]}, "--shots needs one number"),
        ({"teacher_weight": 7}, "--teacher_weight is 7"),
        ({"resume_from_checkpoint": "/nowhere"}, "is no checkpoint"),
        ({"text_emotion_model": "mikels9"}, "mikels"),
        ({"surprise": 1}, "no argument '--surprise'"),
        ({"eval_strategy": "sometimes"}, "sometimes"),
    ],
)
def test_users_errors_are_one_sentence(
    command_line: CommandLine, tmp_path: Path, options: dict[str, Any], message: str
) -> None:
    with pytest.raises(IecHubError) as caught:
        ugrie_command.main(command_line(tmp_path / "run", **options))
    assert message in str(caught.value)
    assert str(caught.value).endswith(".") and "\n" not in str(caught.value)


def test_a_missing_split_is_made(command_line: CommandLine, tmp_path: Path, data_folders: tuple[Path, Path]) -> None:
    (tmp_path / "half").mkdir()
    rows = []
    for number, picture in enumerate(sorted(data_folders[0].glob("*.jpg"))):
        (tmp_path / "half" / picture.name).write_bytes(picture.read_bytes())
        split, emotion = "test" if number < 4 else "train", MIKELS.labels[number % 2]
        rows.append({"file_name": picture.name, "split": split, "emotion": emotion})
    write_csv(tmp_path / "half" / "metadata.csv", rows)
    data, start, *_ = parse_arguments(command_line(tmp_path / "run", data=[str(tmp_path / "half")]), None)
    (dataset,) = load_data(data, start, 0)
    assert len(dataset.split("train")) + len(dataset.split("validation")) == 16 and len(dataset.split("test")) == 4
    assert len(dataset.split("validation")) >= 2


def test_another_width_of_the_sentence_space_is_refused(command_line: CommandLine, tmp_path: Path) -> None:
    config = tmp_path / "wide.json"
    config.write_text('{"semantic_size": 24}', encoding="utf-8")
    with pytest.raises(DataError, match="16 wide and semantic_size is 24"):
        ugrie_command.main(command_line(tmp_path / "run", config=config))


def test_a_checkpoint_can_be_continued_with_a_new_emotion_model(
    command_line: CommandLine, tmp_path: Path, tiny_ugrie_dir: Path, data_folders: tuple[Path, Path]
) -> None:
    options = {"texts": None, "captions": None, "sentence_encoder": None, "vision": None, "text": None, "config": None}
    run = command_line(tmp_path / "run", model=tiny_ugrie_dir, max_steps=1, data=[str(data_folders[1])], **options)
    ugrie_command.main(run)
    predictor = EmotionPredictor.from_pretrained(tmp_path / "run", device="cpu")
    assert list(predictor.emotion_models) == ["ekman7", "mikels8"]  # it answers in what it was trained for now
    with pytest.raises(CheckpointError):
        ugrie_command.main(command_line(tmp_path / "other", model=tmp_path, **options))


def test_help_is_served_by_the_command(capsys: pytest.CaptureFixture[str]) -> None:
    from iec_hub.cli import main

    with pytest.raises(SystemExit) as end:
        main(["train", "ugrie", "--help"])
    assert end.value.code == 0
    assert "--card_notes" in capsys.readouterr().out

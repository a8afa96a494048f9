"""What all methods' runs share: own folders and labels, adapters, the folder's guard, processes, accumulation."""

import json
import os
import shutil
import socket
import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
import yaml
from safetensors.torch import load_file
from transformers import AutoConfig
from warm_python import WarmPython

from iec_hub.cli import main as cli
from iec_hub.errors import DataError
from iec_hub.predictor import EmotionPredictor
from tests.finetuning.conftest import save_small

CommandLine = Callable[..., list[str]]
LABELS = ("calm", "eerie", "festive")


@pytest.fixture(scope="module")
def own_folder(pictures: list[Path], tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A person's own pictures in a folder per emotion word, without splits."""
    root = tmp_path_factory.mktemp("own") / "pictures"
    for i, picture in enumerate(pictures):
        save_small(picture, root / LABELS[i % 3] / picture.name)
    return root


@pytest.fixture
def start_dir(request: pytest.FixtureRequest) -> Callable[[str], Path]:
    return lambda method: request.getfixturevalue(f"tiny_{method}_dir")


def small(method: str, data: Path, model: Path, output: Path, **options: Any) -> list[str]:
    settings: dict[str, Any] = {"data": data, "model": model, "output_dir": output, "views": 2, "use_cpu": True}
    settings |= {"num_train_epochs": 2, "per_device_train_batch_size": 8, "warmup_steps": 1, "disable_tqdm": True}
    settings |= {"read_text": False} if method == "aciec" else {}
    flags = ["train", method]
    for name, value in (settings | options).items():
        flags += [f"--{name}", *(map(str, value) if isinstance(value, list | tuple) else [str(value)])]
    return flags


@pytest.mark.parametrize("method", ["ugrie", "escnet", "aciec"])
def test_own_pictures_become_an_adapter_of_own_words(
    method: str,
    own_folder: Path,
    start_dir: Callable[[str], Path],
    tmp_path: Path,
    pictures: list[Path],
    whole_reports: None,
) -> None:
    output = tmp_path / "run"
    line = small(method, own_folder, start_dir(method), output, lora=True, lora_rank=4, validation_share=0.2)
    assert cli(line) == 0
    found = {path.name for path in output.iterdir()}
    assert {"adapter_config.json", "adapter_model.safetensors", "config.json", "metrics.json", "README.md"} <= found
    assert {"training.json", "training.yaml", "pictures"} <= found and "model.safetensors" not in found
    assert ".saving" not in found

    log = json.loads((output / "metrics.json").read_text(encoding="utf-8"))
    assert log["validation"]["pictures"]["n"] >= 3 and log["test"]["pictures"]["n"] >= 3
    parameters = log["parameters"]
    assert 0 < parameters["trained"] < parameters["frozen"]
    assert (output / "adapter_model.safetensors").stat().st_size == parameters["stored_bytes"]

    predictor = EmotionPredictor.from_pretrained(output, device="cpu")
    predictions = predictor.predict(pictures[:3])
    assert list(predictor.emotion_models) == ["pictures", "mikels8", "ekman7"]
    assert all(set(prediction.distribution) == set(LABELS) for prediction in predictions)
    record = json.loads((output / "training.json").read_text(encoding="utf-8"))
    assert record["method"] == method and record["settings"]["lora_rank"] == 4
    assert str(tmp_path) not in (output / "README.md").read_text(encoding="utf-8") + json.dumps(record)


def test_the_settings_that_a_run_leaves_repeat_it(own_folder: Path, tiny_ugrie_dir: Path, tmp_path: Path) -> None:
    first, second = tmp_path / "first", tmp_path / "second"
    assert cli(small("ugrie", own_folder, tiny_ugrie_dir, first, lora=True, balance="weights")) == 0
    settings = first / "training.yaml"
    assert yaml.safe_load(settings.read_text(encoding="utf-8"))["balance"] == "weights"
    assert cli(["train", "ugrie", "--settings", str(settings), "--output_dir", str(second)]) == 0
    one, two = (load_file(folder / "adapter_model.safetensors") for folder in (first, second))
    assert one.keys() == two.keys() and all(torch.equal(tensor, two[name]) for name, tensor in one.items())


class TestTheFolder:
    """It holds one training, and says so."""

    @pytest.fixture
    def finished(self, own_folder: Path, tiny_ugrie_dir: Path, tmp_path: Path) -> list[str]:
        line = small("ugrie", own_folder, tiny_ugrie_dir, tmp_path / "run", max_steps=2, eval_strategy="no")
        line += ["--save_strategy", "no", "--load_best_model_at_end", "False"]
        assert cli(line) == 0
        return line

    def test_another_training_is_refused_and_can_be_insisted_on(
        self, finished: list[str], capsys: pytest.CaptureFixture[str]
    ) -> None:
        assert cli([*finished, "--seed", "1"]) == 2
        assert "'run' already holds a training" in capsys.readouterr().err
        assert cli([*finished, "--seed", "1", "--overwrite", "True"]) == 0

    def test_a_run_is_not_resumed_with_other_settings(
        self, finished: list[str], capsys: pytest.CaptureFixture[str]
    ) -> None:
        assert cli([*finished, "--resume_from_checkpoint", "True", "--mixup", "0.1"]) == 2
        assert "began with mixup = None and not 0.1" in capsys.readouterr().err

    def test_a_run_that_was_stopped_before_its_first_checkpoint_begins(self, finished: list[str]) -> None:
        folder = Path(finished[finished.index("--output_dir") + 1])
        before = load_file(folder / "model.safetensors")
        for name in ("model.safetensors", "metrics.json"):
            (folder / name).unlink()
        assert cli([*finished, "--resume_from_checkpoint", "True"]) == 0
        after = load_file(folder / "model.safetensors")
        assert all(torch.equal(tensor, after[name]) for name, tensor in before.items())

    def test_a_start_that_failed_is_no_training(self, own_folder: Path, tiny_ugrie_dir: Path, tmp_path: Path) -> None:
        assert cli(small("ugrie", own_folder / "calm", tiny_ugrie_dir, tmp_path / "run")) == 2
        line = small("ugrie", own_folder, tiny_ugrie_dir, tmp_path / "run", max_steps=1, lora=True)
        assert cli(line) == 0

    def test_a_merged_checkpoint_is_replaced_by_the_next_one(
        self, own_folder: Path, tiny_ugrie_dir: Path, tmp_path: Path
    ) -> None:
        line = small("ugrie", own_folder, tiny_ugrie_dir, tmp_path / "run", max_steps=1, lora=True, merge=True)
        assert cli(line) == 0
        (tmp_path / "run" / ".merged-half").mkdir()  # as a kill within merging leaves it
        assert cli([*line, "--resume_from_checkpoint", "True"]) == 0
        assert cli([*line, "--overwrite", "True"]) == 0
        assert (tmp_path / "run" / "merged" / "model.safetensors").is_file()
        assert not (tmp_path / "run" / ".merged-half").exists()


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"lora": True, "lora_targets": "langauge"}, "did you mean 'language'"),
        ({"lora": True, "lora_targets": "vision", "freeze": "vision"}, "name it in one of them only"),
        ({"lora": True, "half_precision_weights": True}, "leave it out with --lora"),
        ({"quantization": "4bit"}, "use it with --lora"),
        ({"merge": True}, "use it with --lora"),
        ({"balance": "evenly"}, "--balance is 'evenly'"),
        ({"validation_share": 0.9}, "--validation_share is 0.9"),
        ({"coverage": 2}, "--coverage is 2"),
        ({"push_to_hub": True}, "give --hub_model_id"),
        ({"report_to": "comet_ml"}, "--report_to names what is not installed"),
        ({"report_to": "tensorbord"}, "did you mean 'tensorboard'?"),
        ({"lora_ran": 4}, "did you mean --lora_rank?"),
    ],
)
def test_impossible_settings_are_one_sentence(
    options: dict[str, Any],
    message: str,
    own_folder: Path,
    tiny_ugrie_dir: Path,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    assert cli(small("ugrie", own_folder, tiny_ugrie_dir, tmp_path / "run", **options)) == 2
    said = [line for line in capsys.readouterr().err.splitlines() if line.startswith("iec-hub: ")]
    assert len(said) == 1 and message in said[0]


def adapter_of(folder: Path) -> dict[str, torch.Tensor]:
    return load_file(folder / "adapter_model.safetensors")


def assert_same_weights(one: dict[str, torch.Tensor], two: dict[str, torch.Tensor]) -> None:
    """As close as sums of floats in another order are."""
    assert one.keys() == two.keys()
    for name, tensor in one.items():
        torch.testing.assert_close(
            tensor, two[name], rtol=1e-3, atol=2e-5, msg=lambda text, name=name: f"{name}: {text}"
        )


@pytest.fixture(scope="module")
def without_dropout(tiny_ugrie_dir: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Dropout draws from each process's own generator, so it is off where results are to be the same."""
    folder = tmp_path_factory.mktemp("start") / "without-dropout"
    shutil.copytree(tiny_ugrie_dir, folder)
    config = json.loads((folder / "config.json").read_text(encoding="utf-8"))
    config["mapping_dropout"] = 0.0
    for name in ("dropout", "attention_dropout", "activation_dropout"):
        config["text_config"][name] = 0.0
    (folder / "config.json").write_text(json.dumps(config), encoding="utf-8")
    return folder


@pytest.fixture(scope="module")
def even_folder(own_folder: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """16 training pictures, because a last batch that is not full differs.

    Several processes fill it up, and of accumulated batches the smaller ones count as much as the others.
    """
    root = tmp_path_factory.mktemp("even") / "pictures"
    found = sorted(own_folder.glob("*/*.jpg"), key=lambda path: path.name)
    for split, chosen in (("train", found[:8] + found[-8:]), ("validation", found[8:12]), ("test", found[12:16])):
        for picture in chosen:
            folder = root / split / picture.parent.name
            folder.mkdir(parents=True, exist_ok=True)
            shutil.copyfile(picture, folder / picture.name)
    return root


SAME = {"visual_dropout": 0.5, "mixup": 0.5, "teacher_weight": 0.5, "lora": True, "learning_rate": 1e-2}


def test_accumulated_batches_are_one_large_batch(even_folder: Path, without_dropout: Path, tmp_path: Path) -> None:
    for name, batch, accumulated in (("large", 8, 1), ("small", 2, 4)):
        steps = {"per_device_train_batch_size": batch, "gradient_accumulation_steps": accumulated}
        assert cli(small("ugrie", even_folder, without_dropout, tmp_path / name, **(SAME | steps))) == 0
    assert_same_weights(adapter_of(tmp_path / "large"), adapter_of(tmp_path / "small"))


def test_two_processes_train_what_one_trains(even_folder: Path, without_dropout: Path, tmp_path: Path) -> None:
    """With half the batch in each, and no GPU; docs/fine-tuning.md has `accelerate launch`, which starts such."""
    assert cli(small("ugrie", even_folder, without_dropout, tmp_path / "one", **SAME)) == 0
    line = small("ugrie", even_folder, without_dropout, tmp_path / "two", **SAME, per_device_train_batch_size=4)
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    environment = os.environ | {"OMP_NUM_THREADS": "1", "CUDA_VISIBLE_DEVICES": "", "WORLD_SIZE": "2"}
    environment |= {"LOCAL_WORLD_SIZE": "2", "MASTER_ADDR": "127.0.0.1", "MASTER_PORT": str(port)}
    with WarmPython(environment) as warm:
        ranks = [
            subprocess.Popen(
                [warm.folder / "iec-hub", *line],
                env=warm.environment | {"RANK": str(rank), "LOCAL_RANK": str(rank)},
                stdout=subprocess.DEVNULL,
                stderr=subprocess.PIPE,
                text=True,
            )
            for rank in range(2)
        ]
        said = [rank.communicate(timeout=240)[1] for rank in ranks]
        assert [rank.returncode for rank in ranks] == [0, 0], said[0][-3000:] + said[1][-3000:]
    assert [text.count("examples over") for text in said] == [1, 0]
    assert_same_weights(adapter_of(tmp_path / "one"), adapter_of(tmp_path / "two"))
    one, two = (json.loads((tmp_path / n / "metrics.json").read_text(encoding="utf-8")) for n in ("one", "two"))
    assert two["test"]["pictures"]["accuracy"] == one["test"]["pictures"]["accuracy"]


def test_a_missing_label_is_an_error_of_the_data(own_folder: Path, tiny_ugrie_dir: Path, tmp_path: Path) -> None:
    from iec_hub.finetuning import ugrie_command

    with pytest.raises(DataError):
        ugrie_command.main(small("ugrie", own_folder / "calm", tiny_ugrie_dir, tmp_path / "run")[2:])


def test_evaluate_divides_pictures_as_the_training_did(
    own_folder: Path, tiny_ugrie_dir: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    line = small("ugrie", own_folder, tiny_ugrie_dir, tmp_path / "run", lora=True, test_share=0.3, seed=7)
    assert cli(line) == 0
    log = json.loads((tmp_path / "run" / "metrics.json").read_text(encoding="utf-8"))
    for split in ("validation", "test"):
        capsys.readouterr()
        given = ["--split", split, "--model", str(tmp_path / "run"), "--device", "cpu"]
        assert cli(["evaluate", str(own_folder), *given]) == 0
        found = json.loads(capsys.readouterr().out.splitlines()[-1])
        trained = log[split]["pictures"]
        assert {name: found[name] for name in ("n", "accuracy")} == {name: trained[name] for name in ("n", "accuracy")}
        assert found["soft_cross_entropy"] == pytest.approx(trained["soft_cross_entropy"], abs=1e-3)


def test_terms_of_data_reach_the_card(own_folder: Path, tiny_ugrie_dir: Path, tmp_path: Path) -> None:
    line = small(
        "ugrie", own_folder, tiny_ugrie_dir, tmp_path / "run", max_steps=1, data_terms="CC BY 2.0, see ATTRIBUTION"
    )
    assert cli(line) == 0
    assert "  - terms: CC BY 2.0, see ATTRIBUTION" in (tmp_path / "run" / "README.md").read_text(encoding="utf-8")
    assert cli([*line, "--data_terms", "one", "two", "--overwrite", "True"]) == 2


def test_a_misspelt_split_is_named(
    pictures: list[Path], tiny_ugrie_dir: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    folder = tmp_path / "own"
    folder.mkdir()
    rows = ["file_name,emotion,split"]
    for i, picture in enumerate(pictures):
        shutil.copyfile(picture, folder / picture.name)
        rows.append(f"{picture.name},{LABELS[i % 2]},{('train', 'train', 'trian', 'val')[i % 4]}")
    (folder / "metadata.csv").write_text("\n".join(rows), encoding="utf-8")
    assert cli(small("ugrie", folder, tiny_ugrie_dir, tmp_path / "run", max_steps=1)) == 2
    assert 'a split "trian", which looks like "train" misspelt' in capsys.readouterr().err


def test_data_that_is_refused_claims_no_folder(
    own_folder: Path, tiny_ugrie_dir: Path, tmp_path: Path, pictures: list[Path]
) -> None:
    few = tmp_path / "few" / "calm"
    few.mkdir(parents=True)
    shutil.copyfile(pictures[0], few / "one.jpg")
    assert cli(small("ugrie", few.parent, tiny_ugrie_dir, tmp_path / "run")) == 2
    assert not (tmp_path / "run").exists()


def test_labels_in_another_order_are_the_trained_ones(
    own_folder: Path, tiny_ugrie_dir: Path, tmp_path: Path, pictures: list[Path]
) -> None:
    assert cli(small("ugrie", own_folder, tiny_ugrie_dir, tmp_path / "run", coverage=0.6)) == 0
    predictor = EmotionPredictor.from_pretrained(tmp_path / "run", device="cpu")
    (own,), (asked,) = (predictor.predict(pictures[:1], **given) for given in ({}, {"labels": LABELS[::-1]}))
    assert asked.distribution == own.distribution and asked.sure_threshold == own.sure_threshold is not None


def test_a_continued_checkpoint_keeps_its_label_words(
    pictures: list[Path], tiny_ugrie_dir: Path, tmp_path: Path
) -> None:
    """UGRIE decides by the words: under others it would have to learn all labels anew."""
    for i, picture in enumerate(pictures):
        folder = tmp_path / "own" / ("awe", "fear")[i % 2]
        folder.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(picture, folder / picture.name)
    first, second, third = (tmp_path / name for name in ("first", "second", "third"))
    assert cli(small("ugrie", tmp_path / "own", tiny_ugrie_dir, first, max_steps=1, label_words="label")) == 0
    assert cli(small("ugrie", tmp_path / "own", first, second, max_steps=1)) == 0
    assert cli(small("ugrie", tmp_path / "own", first, third, max_steps=1, label_words="plutchik")) == 0
    before, after, changed = (
        AutoConfig.from_pretrained(folder).trained_emotion_models["mikels8"] for folder in (first, second, third)
    )
    assert before.emotions[0].words == ("amusement",) and after == before and changed != before


def test_a_training_that_has_not_begun_is_resumed_from_its_beginning(
    own_folder: Path, tiny_ugrie_dir: Path, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    line = small("ugrie", own_folder, tiny_ugrie_dir, tmp_path / "run", max_steps=1, resume_from_checkpoint=True)
    assert cli(line) == 0 and "no checkpoint in 'run' to resume from; the training begins" in caplog.text


def test_a_path_that_is_not_there_is_no_id_of_the_hub(
    own_folder: Path, tiny_ugrie_dir: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: Any
) -> None:
    monkeypatch.chdir(own_folder.parent)
    assert cli(small("ugrie", Path("pictures/absent"), tiny_ugrie_dir, tmp_path / "run")) == 2
    assert 'There is no folder "pictures/absent"' in capsys.readouterr().err

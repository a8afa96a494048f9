"""Merging: the checkpoint says what base and adapter say, or it is not there."""

import argparse
import json
from pathlib import Path
from typing import Any

import pytest
import torch
from adapted_models import LABELS, METHODS, gathered, logits, relabel, trained_adapter

from iec_hub.commands import merge as command
from iec_hub.errors import CheckpointError, DataError, IecHubError
from iec_hub.finetuning import merging
from iec_hub.finetuning.merging import TOLERANCE, largest_difference, merge
from iec_hub.models import AutoImageEmotionModel
from iec_hub.predictor import EmotionPredictor


@pytest.fixture
def adapter(request: pytest.FixtureRequest, tmp_path: Path) -> Any:
    """`adapter(method, **arguments) -> (predictor, folder)`: an adapter of three labels of its own."""

    def train(method: str, **arguments: Any) -> tuple[EmotionPredictor, Path]:
        folder = request.getfixturevalue(f"tiny_{method}_dir")
        predictor = EmotionPredictor.from_pretrained(folder, device="cpu")
        relabel(predictor.model)
        trained_adapter(predictor.model, predictor.processor, tmp_path / "adapter", **arguments)
        metrics = {"seed": 0, "validation": {"own": {"accuracy": 0.5}}}
        (tmp_path / "adapter" / "metrics.json").write_text(json.dumps(metrics))
        (tmp_path / "adapter" / "pictures").mkdir()
        (tmp_path / "adapter" / "pictures" / "learning_curve.png").write_bytes(b"")
        return predictor, tmp_path / "adapter"

    return train


@pytest.fixture(autouse=True)
def no_card(monkeypatch: pytest.MonkeyPatch) -> None:
    """Cards have tests of their own."""

    def write_card(folder: Path, name: str) -> None:
        (Path(folder) / "README.md").write_text(f"# {name}\n")

    monkeypatch.setattr("iec_hub.finetuning.model_card.write_card", write_card)


@pytest.mark.parametrize("variant", ["lora", "dora"])
@pytest.mark.parametrize("method", METHODS)
def test_the_merged_checkpoint_says_what_the_adapter_says(
    method: str, variant: str, adapter: Any, pictures: list[Path], tmp_path: Path
) -> None:
    predictor, folder = adapter(method, lora_variant=variant, lora_targets=["all"])
    report = merge(folder, tmp_path / "merged", pictures[:3])
    assert report["pictures"] == 3 and report["largest_difference"] <= report["tolerance"] == TOLERANCE
    names = {file.name for file in (tmp_path / "merged").iterdir()}
    wanted = {"model.safetensors", "config.json", "processor_config.json", "metrics.json", "pictures", "README.md"}
    assert wanted <= names and "adapter_config.json" not in names
    assert json.loads((tmp_path / "merged" / "training.json").read_text())["merged"] == report
    assert sorted(path.name for path in tmp_path.iterdir()) == ["adapter", "merged"]
    merged = EmotionPredictor.from_pretrained(tmp_path / "merged", device="cpu")
    assert merged.model.config.trained_emotion_models["custom"].labels == tuple(LABELS)
    assert merged.model.config.temperatures == {"custom": 1.5}
    batch = gathered(predictor.model, predictor.processor, pictures)
    torch.testing.assert_close(logits(merged.model, batch), logits(predictor.model, batch), atol=1e-3, rtol=1e-3)
    one, other = (each.predict(pictures[:2]) for each in (predictor, merged))
    for a, b in zip(one, other, strict=True):
        assert a.probabilities == pytest.approx(b.probabilities, abs=1e-3) and a.labels == b.labels
    assert not any("lora" in name for name in merged.model.state_dict())


def test_an_adapter_of_a_changed_base_is_refused_and_nothing_is_left(
    adapter: Any, build_tiny_ugrie: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, pictures: list[Path]
) -> None:
    _, folder = adapter("ugrie")
    own = merging.base_of

    def changed(*args: Any, **kwargs: Any) -> Any:
        base = own(*args, **kwargs)
        with torch.no_grad():
            base.language_model.model.encoder.layers[0].fc1.weight.mul_(1.5)
        return base

    monkeypatch.setattr(merging, "base_of", changed)
    with pytest.raises(CheckpointError, match=r"^The merged checkpoint differs[^\n]*\.$"):
        merge(folder, tmp_path / "merged", pictures[:1])
    assert [path.name for path in tmp_path.iterdir()] == ["adapter"]


def test_an_interrupted_merge_leaves_nothing(
    adapter: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, pictures: list[Path]
) -> None:
    _, folder = adapter("ugrie")

    def interrupted(*args: Any, **kwargs: Any) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr("iec_hub.finetuning.model_card.write_card", interrupted)
    with pytest.raises(KeyboardInterrupt):
        merge(folder, tmp_path / "merged", pictures[:1])
    assert [path.name for path in tmp_path.iterdir()] == ["adapter"]


def test_what_cannot_be_merged(adapter: Any, tiny_ugrie_dir: Path, tmp_path: Path) -> None:
    _, folder = adapter("ugrie")
    with pytest.raises(CheckpointError, match="is no adapter"):
        merge(tiny_ugrie_dir, tmp_path / "merged")
    (tmp_path / "full").mkdir()
    (tmp_path / "full" / "mine.txt").write_text("mine")
    with pytest.raises(DataError, match="holds something"):
        merge(folder, tmp_path / "full")
    with pytest.raises(IecHubError):
        merge(folder, tmp_path / "merged", [tmp_path / "absent.jpg"])
    with pytest.raises(DataError, match="Nothing can be written"):
        merge(folder, tmp_path / "full" / "mine.txt" / "merged")
    assert sorted(path.name for path in tmp_path.iterdir()) == ["adapter", "full"]


def test_the_command_prints_the_report(
    adapter: Any, tmp_path: Path, pictures: list[Path], capsys: pytest.CaptureFixture[str]
) -> None:
    _, folder = adapter("ugrie")
    parser = argparse.ArgumentParser()
    command.add_arguments(parser)
    (tmp_path / "merged").mkdir()  # an empty one is fine
    line = [str(folder), str(tmp_path / "merged"), "--pictures", str(pictures[0])]
    assert command.run(parser.parse_args(line)) == 0
    report = json.loads(capsys.readouterr().out)
    assert report["adapter"] == "adapter" and report["pictures"] == 1
    AutoImageEmotionModel.from_pretrained(tmp_path / "merged")


def test_differences_that_numbers_hide() -> None:
    one = {"logits": torch.tensor([1.0, float("-inf"), 100.0]), "words": ["a"]}
    assert largest_difference(one, dict(one)) == 0
    far = {**one, "logits": torch.tensor([1.0, float("-inf"), 101.0])}
    assert largest_difference(one, far) == pytest.approx(0.01)
    for other in (
        {**one, "words": ["b"]},
        {"words": ["a"]},
        {**one, "logits": torch.tensor([1.0, 2.0, 100.0])},
        {**one, "logits": torch.tensor([1.0, float("nan"), 100.0])},
        {**one, "logits": torch.tensor([1.0])},
    ):
        assert not largest_difference(one, other) <= TOLERANCE

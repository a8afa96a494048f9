"""The stages by themselves: what is trained, how fast, on what."""

import copy
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch

from iec_hub.data import load_emotion_dataset
from iec_hub.errors import DataError
from iec_hub.finetuning import ugrie_training as stages
from iec_hub.finetuning.measuring import round_to_half
from iec_hub.finetuning.run import resume_point
from iec_hub.finetuning.trainer import EmotionTrainer, EmotionTrainingArguments
from iec_hub.finetuning.training_data import MixedEmotionData, TextSource

WITHOUT_VALIDATION: dict[str, Any] = {"eval_strategy": "no", "save_strategy": "no", "load_best_model_at_end": False}
PARTS = ("vision_model", "language_model", "mapping")


def arguments(folder: Path, **fields: Any) -> EmotionTrainingArguments:
    settings = {"output_dir": str(folder), "use_cpu": True, "disable_tqdm": True, "per_device_train_batch_size": 4}
    settings |= {"warmup_steps": 0, "num_train_epochs": 1}
    return EmotionTrainingArguments(**(settings | fields))


@pytest.fixture
def parts(build_tiny_ugrie: Callable[..., tuple[Any, Any]]) -> tuple[Any, Any]:
    return build_tiny_ugrie(semantic_size=8, semantic_hidden_size=16, semantic_prefix_length=2, mapping_dropout=0.3)


def sources(parts: tuple[Any, Any], folders: tuple[Path, Path], split: str, run: stages.UgrieRun) -> list[Any]:
    return stages.image_sources(*parts, [load_emotion_dataset(folder) for folder in folders], split, run)


@pytest.mark.parametrize("freeze", [(), ("vision",), ("language",), ("vision", "mapping")])
def test_one_step_changes_what_is_not_frozen_and_nothing_else(
    parts: tuple[Any, Any], data_folders: tuple[Path, Path], tmp_path: Path, freeze: tuple[str, ...]
) -> None:
    model = parts[0]
    before = copy.deepcopy(model.state_dict())
    run = stages.UgrieRun(freeze=freeze, views=1)
    train = sources(parts, data_folders, "train", run)
    assert all((source.features is None) == ("vision" not in freeze) for source in train)
    stages.train_on_images(*parts, train, train, run, arguments(tmp_path, max_steps=1))
    changed = {name for name, tensor in model.state_dict().items() if not torch.equal(tensor, before[name])}
    for part in PARTS:
        frozen = part.removesuffix("_model") in freeze
        assert any(name.startswith(f"{part}.") for name in changed) != frozen, part
    if "mapping" in freeze:
        assert not any(name.startswith("semantic_mapping.") for name in changed)


def test_every_part_has_its_learning_rate(parts: tuple[Any, Any], tmp_path: Path) -> None:
    model = parts[0]
    rates = {"vision_learning_rate": 1e-5, "language_learning_rate": 1e-4, "learning_rate": 1e-3}
    stages.freeze_parts(model, ())
    optimizer = EmotionTrainer(
        model, arguments(tmp_path, weight_decay=0.1, **WITHOUT_VALIDATION, **rates)
    ).create_optimizer()
    names = {id(parameter): name for name, parameter in model.named_parameters()}
    seen = set()
    for group in optimizer.param_groups:
        for parameter in group["params"]:
            name = names[id(parameter)]
            part = next((part for part in ("vision", "language") if name.startswith(f"{part}_model.")), "")
            assert group["lr"] == rates[f"{part}_learning_rate".lstrip("_")]
            assert group["weight_decay"] == (0.0 if name.endswith("bias") or "norm" in name else 0.1), name
            seen.add(name)
    assert seen == set(names.values())


def test_accumulated_batches_are_averaged(
    parts: tuple[Any, Any], data_folders: tuple[Path, Path], tmp_path: Path
) -> None:
    """The models take any keyword, from which the Trainer would conclude that they divide their loss by themselves."""
    model, processor = parts
    run = stages.UgrieRun(views=1)
    (train,) = sources(parts, data_folders[:1], "train", run)
    data = MixedEmotionData([train], augment=False)
    collator = stages.collator_for(model, processor, run, train=False)
    ends = []
    # Plain gradient descent: with Adam the size of a gradient would not show.
    for size, accumulated in ((8, 1), (4, 2)):
        tuned = copy.deepcopy(model)
        tuned.requires_grad_(False)
        tuned.mapping.output.requires_grad_(True)
        settings = arguments(tmp_path, optim="sgd", max_grad_norm=0, max_steps=1, **WITHOUT_VALIDATION)
        settings.per_device_train_batch_size, settings.gradient_accumulation_steps = size, accumulated
        trainer = EmotionTrainer(tuned, settings, data_collator=collator, train_dataset=data)
        tuned.mapping.dropout.p = tuned.semantic_mapping.dropout.p = 0.0
        for module in tuned.language_model.modules():
            if isinstance(getattr(module, "dropout", None), float):
                module.dropout = 0.0
        trainer.train()
        ends.append(tuned.mapping.output.weight - model.mapping.output.weight)
    assert ends[0].abs().max() > 0
    torch.testing.assert_close(ends[0], ends[1], rtol=1e-2, atol=1e-6)


@pytest.mark.parametrize("stop", [5, 8])
def test_a_resumed_run_with_replayed_texts_is_bit_equal(
    parts: tuple[Any, Any], data_folders: tuple[Path, Path], tmp_path: Path, stop: int
) -> None:
    """After a whole epoch (5 steps), and in the middle of one."""
    run = stages.UgrieRun(views=2, patience=0)
    train, held_out = (sources(parts, data_folders[:1], split, run) for split in ("train", "validation"))
    vectors = torch.nn.functional.normalize(torch.randn(6, 2, 8), dim=-1)
    replay = [TextSource(train[0].emotion_model, vectors, torch.eye(8)[:6])]
    start = copy.deepcopy(parts[0])

    def trained(**fields: Any) -> dict[str, torch.Tensor]:
        model = copy.deepcopy(start)
        settings = {"num_train_epochs": 3, "eval_strategy": "steps", "eval_steps": 1, "save_strategy": "steps"}
        settings = arguments(tmp_path / "run", save_steps=1, save_total_limit=30, **settings, **fields)
        settings.load_best_model_at_end = False
        stages.train_on_images(model, parts[1], train, held_out, run, settings, replay, 10)
        return model.state_dict()

    straight = trained()
    resumed = trained(resume_from_checkpoint=str(tmp_path / "run" / f"checkpoint-{stop}"))
    assert [name for name in straight if not torch.equal(straight[name], resumed[name])] == []


def test_texts_cannot_be_replayed_beside_pixels(
    parts: tuple[Any, Any], data_folders: tuple[Path, Path], tmp_path: Path
) -> None:
    run = stages.UgrieRun(freeze=())
    train = sources(parts, data_folders[:1], "train", run)
    replay = [TextSource(train[0].emotion_model, torch.ones(1, 1, 8), torch.eye(8)[:1])]
    with pytest.raises(DataError, match="cached features only"):
        stages.train_on_images(*parts, train, train, run, arguments(tmp_path), replay, 1)


def test_unfinished_checkpoints_are_not_resumed_from(tmp_path: Path) -> None:
    for name, whole in (("checkpoint-2", True), ("checkpoint-10", True), ("checkpoint-11", False), ("other", True)):
        (tmp_path / name).mkdir()
        if whole:
            (tmp_path / name / "trainer_state.json").write_text("{}", encoding="utf-8")
    assert resume_point(arguments(tmp_path, resume_from_checkpoint="True")) == str(tmp_path / "checkpoint-10")
    assert resume_point(arguments(tmp_path)) is None


def test_weights_too_large_for_float16_are_refused(parts: tuple[Any, Any]) -> None:
    model = parts[0]
    round_to_half(model)
    rounded = copy.deepcopy(model.state_dict())
    round_to_half(model)
    assert all(torch.equal(tensor, rounded[name]) for name, tensor in model.state_dict().items())
    with torch.no_grad():
        model.mapping.output.weight[0, 0] = 1e6
    with pytest.raises(DataError, match="mapping.output.weight does not fit"):
        round_to_half(model)

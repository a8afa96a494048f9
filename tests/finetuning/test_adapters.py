"""LoRA adapters: what they train, and that every way of loading them gives the same logits, labels and calibration."""

import json
import re
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from adapted_models import LABELS, METHODS, gathered, logits, relabel, trained_adapter
from peft import PeftModel
from safetensors.torch import load_file, save_file
from torch import nn
from transformers import AutoConfig, AutoModel, pipeline

import iec_hub  # noqa: F401  it tells transformers of its pipeline
from iec_hub.errors import CheckpointError, DataError
from iec_hub.finetuning.adapters import (
    AdapterArguments,
    adapter_tensors,
    add_adapter,
    check_adapter_arguments,
    load_adapter_tensors,
    parameter_table,
    save_adapter,
    set_trainable,
    target_pattern,
)
from iec_hub.models import AciecForImageEmotion, AutoImageEmotionModel, EscnetForImageEmotion, UgrieForImageEmotion
from iec_hub.models.aciec import ACIEC_PRESETS
from iec_hub.models.adapter_loading import base_of
from iec_hub.models.escnet import ESCNET_PRESETS
from iec_hub.models.ugrie import UGRIE_PRESETS
from iec_hub.predictor import EmotionPredictor
from iec_hub.registry import checkpoint_path

PRESETS = [
    (kind, name)
    for kind, presets in (
        (UgrieForImageEmotion, UGRIE_PRESETS),
        (EscnetForImageEmotion, ESCNET_PRESETS),
        (AciecForImageEmotion, ACIEC_PRESETS),
    )
    for name in presets
]
# Which modules each target set may reach.
PARTS = {
    "language": r"language_model\.model\.|text_encoder\.|captioner\.text_decoder\.",
    "vision": r"(captioner\.)?vision_model\.",
    "fusion": r"fusion\.|(semantic_)?mapping\.",
}


@pytest.fixture
def start(request: pytest.FixtureRequest) -> Callable[[str], tuple[Any, Any, Path]]:
    """`start(method) -> (model, processor, folder)`: a tiny checkpoint, loaded anew."""

    def load(method: str) -> tuple[Any, Any, Path]:
        folder = request.getfixturevalue(f"tiny_{method}_dir")
        predictor = EmotionPredictor.from_pretrained(folder, device="cpu")
        return predictor.model, predictor.processor, folder

    return load


def skeleton(kind: Any, preset: str | None) -> Any:
    with torch.device("meta"):
        if preset:
            return kind.from_preset(preset, pretrained=False)
        return kind(AutoConfig.from_pretrained(checkpoint_path(f"{kind.config_class.model_type}-mini")))


@pytest.mark.parametrize(
    ("kind", "preset"),
    [*PRESETS, *((kind, None) for kind in (UgrieForImageEmotion, EscnetForImageEmotion, AciecForImageEmotion))],
    ids=lambda value: getattr(value, "__name__", value or "bundled"),
)
def test_targets_and_saved_modules_hit_what_they_name(kind: Any, preset: str | None) -> None:
    modules = dict(skeleton(kind, preset).named_modules())
    for target, pattern in kind.lora_targets.items():
        hit = [name for name in modules if re.fullmatch(pattern, name)]
        assert hit and all(re.match(PARTS[target], name) for name in hit), target
        for name in hit:  # PEFT refuses anything else, and convolutions in groups
            assert type(modules[name]) is nn.Linear or modules[name].groups == 1, name
    named = [name for name in kind.modules_to_save if name in modules]
    assert set(kind.heads) <= set(named)
    # PEFT goes by how names end: what the suffixes hit together are the named modules and no others.
    assert [name for name in modules if name.endswith(tuple(named))] == [n for n in modules if n in named]
    with_heads = [name for name in modules if name.endswith(tuple(kind.heads))] if kind.heads else []
    assert sorted(with_heads) == sorted(kind.heads)


@pytest.mark.parametrize("method", METHODS)
def test_default_targets_train_under_five_per_cent_of_the_bundled_checkpoints(method: str) -> None:
    model = AutoImageEmotionModel.from_pretrained(checkpoint_path(f"{method}-mini"), dtype=torch.float32)
    total = sum(parameter.numel() for parameter in model.parameters())
    table = parameter_table(add_adapter(model, AdapterArguments(lora=True), fresh=False))
    assert 0.001 < table.trained_share < 0.05
    lora = sum(row.trained for row in table.rows)
    assert table.total.trained == lora and table.total.trained + table.total.frozen >= total
    assert table.training_bytes == table.total.bytes + 12 * table.total.trained
    assert f"{table.trained_share:.2%}" in str(table) and all(row.part in str(table) for row in table.rows)
    assert model.base_reference == f"{method}-mini"
    assert json.loads(json.dumps(table.to_dict()))["trained"] == table.total.trained


@pytest.mark.parametrize("variant", ["lora", "rslora", "dora"])
@pytest.mark.parametrize("method", METHODS)
def test_three_ways_of_loading_give_the_same_logits(
    method: str, variant: str, start: Any, pictures: list[Path], tmp_path: Path
) -> None:
    model, processor, folder = start(method)
    plain = logits(model, gathered(model, processor, pictures))
    targets = ["all"] if variant == "lora" else []
    adapted = trained_adapter(model, processor, tmp_path, lora_variant=variant, lora_targets=targets)
    batch = gathered(model, processor, pictures)
    expected = logits(adapted, batch)
    assert not torch.allclose(expected, plain, atol=1e-3)
    kind = type(model)
    names = {file.name for file in tmp_path.iterdir()}
    assert {"adapter_config.json", "adapter_model.safetensors", "config.json", "processor_config.json"} <= names
    assert "README.md" not in names and "model.safetensors" not in names
    added = kind.from_pretrained(folder)
    added.load_adapter(tmp_path, adapter_name="mine")
    for loaded in (
        kind.from_pretrained(tmp_path),
        AutoImageEmotionModel.from_pretrained(tmp_path),
        AutoModel.from_pretrained(tmp_path),
        PeftModel.from_pretrained(kind.from_pretrained(folder), tmp_path),
        PeftModel.from_pretrained(base_of(tmp_path), tmp_path),
        added,
    ):
        assert torch.equal(logits(loaded, batch), expected)
    predictor = EmotionPredictor.from_pretrained(tmp_path, device="cpu")
    assert predictor.model.config.temperatures == {"mikels8": 1.5}
    own = EmotionPredictor(model, processor).predict([pictures[0]])[0]
    assert predictor.predict([pictures[0]])[0].probabilities == own.probabilities


@pytest.mark.parametrize("method", METHODS)
def test_several_adapters_with_different_labels(method: str, start: Any, pictures: list[Path], tmp_path: Path) -> None:
    expected, shots = {}, {"three": LABELS, "four": ["awe", "calm", "dread", "glee"]}
    for seed, (name, labels) in enumerate(shots.items()):
        model, processor, folder = start(method)
        relabel(model, labels)
        trained_adapter(model, processor, tmp_path / name, seed=seed)
        expected[name] = EmotionPredictor(model, processor).predict([pictures[0]])[0]
    model, processor, _ = start(method)
    predictor = EmotionPredictor(model, processor)
    base = predictor.predict([pictures[0]])[0]
    for name in shots:
        model.load_adapter(tmp_path / name, adapter_name=name)
    for name in ("three", "four", "three"):
        model.set_adapter(name)
        found = predictor.predict([pictures[0]])[0]
        assert (found.labels, found.probabilities) == (expected[name].labels, expected[name].probabilities)
        assert model.config.temperatures == {"custom": 1.5 + list(shots).index(name)}
    model.disable_adapters()
    assert predictor.predict([pictures[0]])[0] == base
    model.enable_adapters()
    assert predictor.predict([pictures[0]])[0].probabilities == expected["three"].probabilities
    assert not any(parameter.requires_grad for parameter in adapter_parameters(model))
    model.save_pretrained(tmp_path / "again")
    again = EmotionPredictor.from_pretrained(tmp_path / "again", device="cpu").predict([pictures[0]])[0]
    assert again.probabilities == expected["three"].probabilities
    model.delete_adapter("three")
    model.set_adapter("four")
    assert predictor.predict([pictures[0]])[0].probabilities == expected["four"].probabilities
    model.delete_adapter("four")
    assert predictor.predict([pictures[0]])[0] == base
    # A base of the same labels is not needed: it takes over those of the adapter.
    wrapped = PeftModel.from_pretrained(base_of(tmp_path / "four"), tmp_path / "four")
    predictor = EmotionPredictor(wrapped.get_base_model(), processor)
    assert predictor.predict([pictures[0]])[0].probabilities == expected["four"].probabilities


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16], ids=["fp16", "bf16"])
def test_half_precision_and_the_pipeline(dtype: torch.dtype, start: Any, pictures: list[Path], tmp_path: Path) -> None:
    model, processor, folder = start("escnet")
    relabel(model)
    trained_adapter(model, processor, tmp_path)
    batch = gathered(model, processor, pictures)
    whole = logits(model, batch)
    direct = type(model).from_pretrained(tmp_path, dtype=dtype)
    wrapped = PeftModel.from_pretrained(base_of(tmp_path, dtype=dtype), tmp_path)
    assert torch.equal(logits(direct, batch), logits(wrapped, batch))
    torch.testing.assert_close(
        logits(direct, batch).softmax(-1), whole.softmax(-1), atol=0.1, rtol=0, check_dtype=False
    )
    classify = pipeline("image-emotion-classification", model=str(tmp_path), device="cpu")
    expected = EmotionPredictor(model, processor).predict([pictures[0]])[0]
    found = classify(str(pictures[0]))
    assert found == expected.to_dict() | {"model": found["model"]}


def adapter_parameters(model: nn.Module) -> list[nn.Parameter]:
    return [p for name, p in model.named_parameters() if ".lora_" in name or ".modules_to_save." in name]


@pytest.fixture
def assemble(request: pytest.FixtureRequest, start: Any, tmp_path: Path) -> Callable[[str], tuple[Any, Any]]:
    """`assemble(method) -> (model, processor)`: put together from pretrained parts that lie in folders."""

    def build(method: str) -> tuple[Any, Any]:
        model, processor, _ = start(method)
        text = model.language_model if method == "ugrie" else model.text_encoder
        places = {"vision": tmp_path / "vision", "text": tmp_path / "text"}
        for name, part in (("vision", model.vision_model), ("text", text)):
            part.save_pretrained(places[name])
        names = {name: str(place) for name, place in places.items()}
        fields: dict[str, Any] = {"emotion_models": ["ekman6"], "feature_norm": "power"}
        if method == "escnet":
            fields["captioner_config"] = model.config.captioner_config.to_dict() | {"feature_norm": "power"}
            fields |= {"fusion_size": 32, "fusion_heads": 4}
        elif method == "aciec":
            fields |= {"concepts": model.config.concepts, "concept_size": 16}
            names["observer"] = str(request.getfixturevalue("tiny_escnet_dir"))
        else:
            fields |= {"prefix_length": 4, "semantic_size": 8}
        torch.manual_seed(3)
        fresh = type(model).from_backbones(**names, **fields)
        for module in fresh.modules():
            if hasattr(module, "fit") and hasattr(module, "root"):
                module.fit(torch.randn(20, len(module.mean)).abs())
        return fresh.eval(), processor.adopt(fresh.config)

    return build


@pytest.mark.parametrize("method", METHODS)
def test_an_adapter_of_assembled_parts_brings_all_that_is_not_theirs(
    method: str, assemble: Any, pictures: list[Path], tmp_path: Path
) -> None:
    model, processor = assemble(method)
    folder = tmp_path / "adapter"
    adapted = trained_adapter(model, processor, folder, fresh=True)
    batch = gathered(model, processor, pictures)
    expected, pooled = logits(adapted, batch), model.feature_norm.mean.clone()
    settings = json.loads((folder / "adapter_config.json").read_text())
    assert settings["base_model_name_or_path"] == ""
    assert json.loads((folder / "config.json").read_text())["backbones"]["vision"] == str(tmp_path / "vision")
    loaded = type(model).from_pretrained(folder)
    assert torch.equal(logits(loaded, batch), expected)
    assert torch.equal(loaded.feature_norm.mean, pooled) and pooled.any(), "statistics are buffers"
    wrapped = PeftModel.from_pretrained(base_of(folder), folder)
    assert torch.equal(logits(wrapped, batch), expected)
    # Nothing random is left: what words are made from is the same too.
    one, other = (EmotionPredictor(each, processor).predict(pictures[:3]) for each in (model, loaded))
    assert one == other or [p.probabilities for p in one] == [p.probabilities for p in other]
    shutil.rmtree(tmp_path / "vision")
    with pytest.raises((CheckpointError, OSError)):
        type(model).from_pretrained(folder)


@pytest.mark.parametrize("method", METHODS)
def test_what_is_frozen_stays_and_stages_can_be_kept(method: str, start: Any, pictures: list[Path]) -> None:
    model, processor, _ = start(method)
    adapted = add_adapter(model, AdapterArguments(lora=True, lora_targets=["all"]), fresh=False)
    set_trainable(adapted, ["vision_model."])
    trained = {name for name, parameter in adapted.named_parameters() if parameter.requires_grad}
    assert trained and all(".lora_" in name or ".modules_to_save." in name for name in trained)
    assert not any(".vision_model." in name for name in trained)
    before, kept = {n: t.clone() for n, t in adapted.state_dict().items()}, adapter_tensors(adapted)
    batch = gathered(model, processor, pictures)
    optimizer = torch.optim.SGD([p for p in adapted.parameters() if p.requires_grad], lr=0.5)
    adapted.train()
    assert not any(m.training for m in model.vision_model.modules() if isinstance(m, nn.BatchNorm2d))
    for _ in range(2):
        adapted(**batch).loss.backward()
        optimizer.step()
    moved = {name for name, tensor in adapted.state_dict().items() if not torch.equal(tensor, before[name])}
    assert moved and moved <= trained
    load_adapter_tensors(adapted, kept)
    assert all(torch.equal(tensor, before[name]) for name, tensor in adapted.state_dict().items())


def test_a_tower_with_frozen_statistics_stays_in_evaluation_mode() -> None:
    model = AutoImageEmotionModel.from_pretrained(checkpoint_path("escnet-mini"), dtype=torch.float32)
    adapted = add_adapter(model, AdapterArguments(lora=True), fresh=False)
    adapted.train()
    assert model.fusion.training and not any(module.training for module in model.vision_model.modules())


def test_recomputed_activations_give_the_same_gradients(start: Any, pictures: list[Path]) -> None:
    found = []
    for recompute in (False, True):
        model, processor, _ = start("ugrie")
        torch.manual_seed(0)
        adapted = add_adapter(model, AdapterArguments(lora=True), fresh=False, gradient_checkpointing=recompute)
        assert any(getattr(module, "gradient_checkpointing", False) for module in model.modules()) == recompute
        batch = gathered(model, processor, pictures)
        adapted.train()
        torch.manual_seed(0)
        adapted(**batch).loss.backward()
        found.append({name: p.grad for name, p in adapted.named_parameters() if p.grad is not None})
    assert found[0].keys() == found[1].keys()
    for name, gradient in found[0].items():
        torch.testing.assert_close(found[1][name], gradient, atol=1e-5, rtol=1e-4)


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        ({"quantization": "4bit"}, "use it with --lora"),
        ({"lora": True, "lora_targets": ["langauge"]}, "did you mean 'language'"),
        ({"lora": True, "lora_variant": "qlora"}, "did you mean 'lora'"),
        ({"lora": True, "lora_rank": 0}, "at least 1"),
        ({"lora": True, "lora_alpha": 0}, "positive"),
        ({"lora": True, "lora_dropout": 1.0}, "below 1"),
    ],
)
def test_arguments_that_cannot_be_used(arguments: dict[str, Any], sentence: str) -> None:
    with pytest.raises(DataError, match=rf"^--[^\n]*{re.escape(sentence)}") as caught:
        check_adapter_arguments(AdapterArguments(**arguments))
    assert "\n" not in str(caught.value)
    check_adapter_arguments(AdapterArguments(lora=True, lora_variant="dora", lora_targets=["all"]))


def test_a_part_that_a_method_lacks(start: Any) -> None:
    model, _, _ = start("aciec")
    with pytest.raises(DataError, match=r"^aciec has no fusion part[^\n]*\.$"):
        target_pattern(model, ["fusion"], fresh=False)
    assert target_pattern(model, [], fresh=False) == target_pattern(model, ["language"], fresh=True)
    ugrie, _, _ = start("ugrie")
    assert "mapping" not in target_pattern(ugrie, ["all"], fresh=True)
    with pytest.raises(DataError, match=r"trained in full"):
        target_pattern(ugrie, ["fusion"], fresh=True)


def test_adapters_that_cannot_be_used(start: Any, pictures: list[Path], tmp_path: Path) -> None:
    model, processor, folder = start("escnet")
    adapter = tmp_path / "adapter"
    trained_adapter(model, processor, adapter)
    model, processor, _ = start("escnet")
    batch = gathered(model, processor, pictures)
    expected, names = logits(model, batch), set(model.state_dict())

    def refused(place: Path, sentence: str, **settings: Any) -> None:
        with pytest.raises(CheckpointError, match=rf"^[^\n]*{sentence}[^\n]*\.$"):
            model.load_adapter(place, **settings)
        assert torch.equal(logits(model, batch), expected) and set(model.state_dict()) == names
        assert all(parameter.requires_grad for parameter in model.parameters())
        assert list(model.config.trained_emotion_models) == ["mikels8", "ekman7"]

    def changed(name: str, **settings: Any) -> Path:
        shutil.copytree(adapter, tmp_path / name)
        file = tmp_path / name / "adapter_config.json"
        file.write_text(json.dumps(json.loads(file.read_text()) | settings))
        return tmp_path / name

    refused(folder, "is no adapter")
    refused(changed("other", peft_type="IA3"), "use LoRA")
    refused(changed("odd", layer_replication=[[0, 1]]), "layer_replication")
    refused(adapter, "cannot name an adapter", adapter_name="a.b")
    pickled = changed("pickled")
    tensors = load_file(pickled / "adapter_model.safetensors")
    torch.save(tensors, pickled / "adapter_model.bin")
    (pickled / "adapter_model.safetensors").unlink()
    refused(pickled, "safetensors")
    half = changed("half")
    save_file(dict(list(tensors.items())[::2]), half / "adapter_model.safetensors")
    refused(half, "does not fit")
    wrong = changed("wrong")
    config = json.loads((wrong / "config.json").read_text())
    config["emotion_models"] = config["emotion_models"][:1]
    (wrong / "config.json").write_text(json.dumps(config))
    refused(wrong, "outputs in classifier")
    foreign = tmp_path / "foreign"
    ugrie, words, _ = start("ugrie")
    trained_adapter(ugrie, words, foreign)
    refused(foreign, "is for ugrie")
    with pytest.raises(CheckpointError, match="is an adapter too"):
        type(model).from_pretrained(changed("chain", base_model_name_or_path=str(adapter)))
    with pytest.raises(CheckpointError, match="nowhere"):
        type(model).from_pretrained(changed("lost", base_model_name_or_path=str(tmp_path / "nowhere")))
    with pytest.raises(CheckpointError, match="is no adapter"):
        base_of(folder)
    model.load_adapter(adapter)
    with pytest.raises(CheckpointError, match="already"):
        model.load_adapter(adapter)
    with pytest.raises(CheckpointError, match=r"no adapter 'absent'"):
        model.set_adapter("absent")


def test_a_base_without_a_name_is_refused_at_saving(build_tiny_ugrie: Any, tmp_path: Path) -> None:
    model, processor = build_tiny_ugrie()
    adapted = add_adapter(model, AdapterArguments(lora=True), fresh=False)
    with pytest.raises(CheckpointError, match=r"^The adapter's base has no name[^\n]*\.$"):
        save_adapter(adapted, processor, tmp_path)
    assert not list(tmp_path.iterdir())


def test_other_concepts_travel_with_the_adapter(start: Any, pictures: list[Path], tmp_path: Path) -> None:
    model, processor, _ = start("aciec")
    model.set_concepts(["happy dog", "a new thing", "grey wall"], processor)
    trained_adapter(model, processor, tmp_path)
    loaded = EmotionPredictor.from_pretrained(tmp_path, device="cpu")
    assert loaded.model.config.vocabulary.names == model.config.vocabulary.names
    expected = EmotionPredictor(model, processor).predict([pictures[0]])[0]
    assert loaded.predict([pictures[0]])[0].probabilities == expected.probabilities
    assert loaded.model.concept_detector.embeddings.shape[0] == 3

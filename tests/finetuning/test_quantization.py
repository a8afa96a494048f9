"""4-bit and 8-bit weights on a CPU: what is quantised in every way of loading, and training with evaluations."""

import importlib.util
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from adapted_models import LABELS, METHODS, gathered, logits, relabel, trained_adapter

from iec_hub.errors import CheckpointError, DataError
from iec_hub.finetuning.adapters import (
    AdapterArguments,
    add_adapter,
    check_adapter_arguments,
    parameter_table,
    save_adapter,
)
from iec_hub.finetuning.quantization import bitsandbytes_config, quantized, require_bitsandbytes
from iec_hub.models import AutoImageEmotionModel
from iec_hub.models.adapter_loading import base_of

needs_bitsandbytes = pytest.mark.skipif(
    importlib.util.find_spec("bitsandbytes") is None, reason="bitsandbytes is not installed"
)
KINDS = ("4bit", "8bit")
WIDE = {"hidden_size": 64, "intermediate_size": 128}  # bitsandbytes packs 64 weights together
_QUANTISED = ("Linear4bit", "Linear8bitLt")


def quantised_parts(model: torch.nn.Module) -> set[str]:
    """Names of the quantised layers, as they are without an adapter."""
    return {
        name.replace(".base_layer", "")
        for name, module in model.named_modules()
        if type(module).__name__ in _QUANTISED
    }


@pytest.fixture
def wide(request: pytest.FixtureRequest) -> Callable[[str], tuple[Any, Any]]:
    """`wide(method) -> (model, processor)`: a tiny model whose language part can be quantised."""

    def build(method: str) -> tuple[Any, Any]:
        model, _ = (tiny := request.getfixturevalue(f"build_tiny_{method}"))()
        text = model.config.text_config.to_dict()
        text |= {"d_model": 64, "encoder_ffn_dim": 128, "decoder_ffn_dim": 128} if method == "ugrie" else WIDE
        vision = model.config.vision_config.to_dict() | WIDE
        fields: dict[str, Any] = {"text_config": text, "vision_config": vision}
        for name in ("captioner_config", "observer_config"):
            if getattr(model.config, name, None) is not None:
                fields[name] = getattr(model.config, name).to_dict() | {"pooled_size": 64}
        return tiny(**fields)

    return build


@pytest.fixture
def wide_dir(wide: Any, tmp_path: Path) -> Callable[[str], Path]:
    def save(method: str) -> Path:
        for part in wide(method):
            part.save_pretrained(tmp_path / method)
        return tmp_path / method

    return save


def whole(model: Any) -> list[str]:
    """Modules that must never be quantised."""
    names = {name for name, _ in model.named_children()} - {"language_model", "text_encoder", "vision_model"}
    return [*sorted(names - {"captioner"}), "captioner.detector", "language_model.lm_head"]


def check_parts(model: Any) -> None:
    parts = quantised_parts(model)
    assert parts
    for name in whole(model):
        assert not [part for part in parts if part == name or part.startswith(f"{name}.")], name
    for name, parameter in model.named_parameters():
        if ".norm" in name or "_norm" in name or any(name.startswith(f"{part}.") for part in whole(model)):
            assert parameter.dtype == torch.float32, name
    if hasattr(model, "language_model"):
        language = model.language_model
        assert language.lm_head.weight.data_ptr() == language.model.shared.weight.data_ptr(), "tied"


@needs_bitsandbytes
@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("method", METHODS)
def test_heads_mapping_fusion_norms_and_tied_layers_stay_whole(method: str, kind: str, wide_dir: Any) -> None:
    from transformers import BitsAndBytesConfig

    folder, settings = wide_dir(method), bitsandbytes_config(kind)
    model = AutoImageEmotionModel.from_pretrained(folder, quantization_config=settings, dtype=torch.float32)
    check_parts(model)
    half = AutoImageEmotionModel.from_pretrained(folder, quantization_config=settings, dtype=torch.float16)
    assert quantised_parts(half) == quantised_parts(model)
    assert all(p.dtype == torch.float32 for name in half.heads for p in half.get_submodule(name).parameters())
    # A list of one's own takes the place of the default one, which spares tied layers.
    own = BitsAndBytesConfig(**{f"load_in_{kind}": True}, llm_int8_skip_modules=["vision_model"])
    spared = AutoImageEmotionModel.from_pretrained(folder, quantization_config=own, dtype=torch.float32)
    check_parts(spared)
    assert quantised_parts(spared) == {n for n in quantised_parts(model) if not n.startswith("vision_model.")}
    assert own.llm_int8_skip_modules == ["vision_model"]
    table = parameter_table(model)
    assert (table.total.four_bit > 0) == (kind == "4bit") and (table.total.eight_bit > 0) == (kind == "8bit")
    count = sum(layer.in_features * layer.out_features for layer in layers(model))
    assert table.total.four_bit + table.total.eight_bit == count
    assert ("4-bit" in str(table)) and table.total.bytes < parameter_table(spared).total.bytes


def layers(model: torch.nn.Module) -> list[Any]:
    return [module for module in model.modules() if type(module).__name__ in _QUANTISED]


@needs_bitsandbytes
@pytest.mark.parametrize(("kind", "variant"), [("4bit", "lora"), ("4bit", "dora"), ("8bit", "rslora")])
@pytest.mark.parametrize("method", METHODS)
def test_training_goes_on_after_an_evaluation_and_comes_back(
    method: str, kind: str, variant: str, wide_dir: Any, pictures: list[Path], tmp_path: Path
) -> None:
    from iec_hub.predictor import EmotionPredictor

    settings = bitsandbytes_config(kind)
    loaded = {"quantization_config": settings, "dtype": torch.float32}
    predictor = EmotionPredictor.from_pretrained(wide_dir(method), device="cpu", **loaded)
    model, processor = predictor.model, predictor.processor
    relabel(model)
    arguments = AdapterArguments(lora=True, lora_rank=2, lora_variant=variant, quantization=kind)
    adapted = add_adapter(model, arguments, fresh=False, gradient_checkpointing=True)
    batch = gathered(model, processor, pictures)
    optimizer = torch.optim.AdamW([p for p in adapted.parameters() if p.requires_grad], lr=0.01)
    losses = []
    for _ in range(4):
        adapted.train()
        loss = adapted(**batch).loss
        loss.backward()
        optimizer.step()
        optimizer.zero_grad()
        losses.append(loss.item())
        before = logits(adapted, batch)  # on some processors, bitsandbytes would repack the weights here
        assert before.isfinite().all()
    assert min(losses[1:]) < losses[0]
    save_adapter(adapted, processor, tmp_path / "adapter")
    again = AutoImageEmotionModel.from_pretrained(tmp_path / "adapter", **loaded)
    assert torch.equal(logits(again, batch), before)
    assert again.config.trained_emotion_models["custom"].labels == tuple(LABELS)
    check_parts(again)
    again = EmotionPredictor.from_pretrained(wide_dir(method), device="cpu", **loaded).model
    again.load_adapter(tmp_path / "adapter")
    assert torch.equal(logits(again, batch), before)
    whole_base = AutoImageEmotionModel.from_pretrained(tmp_path / "adapter", dtype=torch.float32)
    assert not layers(whole_base)
    torch.testing.assert_close(logits(whole_base, batch), before, atol=1.0, rtol=0.5)


@needs_bitsandbytes
@pytest.mark.parametrize("kind", KINDS)
def test_a_base_of_assembled_parts_is_quantised_in_training_and_in_loading(
    kind: str, wide: Any, pictures: list[Path], tmp_path: Path
) -> None:
    model, processor = wide("ugrie")
    for name, part in (("vision", model.vision_model), ("text", model.language_model)):
        part.save_pretrained(tmp_path / name)
    fresh = type(model).from_backbones(str(tmp_path / "vision"), str(tmp_path / "text"), emotion_models=["ekman6"])
    smaller = quantized(fresh, processor, kind, torch.float32, tmp_path / "base")
    check_parts(smaller)
    assert smaller.base_reference == "" and smaller.backbones == fresh.backbones
    assert torch.equal(smaller.mapping.input.weight, fresh.mapping.input.weight)
    adapted = trained_adapter(smaller, processor, tmp_path / "adapter", fresh=True, quantization=kind)
    batch = gathered(smaller, processor, pictures)
    loaded = {"quantization_config": bitsandbytes_config(kind, torch.float32), "dtype": torch.float32}
    again = AutoImageEmotionModel.from_pretrained(tmp_path / "adapter", **loaded)
    check_parts(again)
    torch.testing.assert_close(logits(again, batch), logits(adapted, batch), atol=1e-4, rtol=1e-4)
    check_parts(base_of(tmp_path / "adapter", **loaded))
    assert quantized(fresh, processor, "none", None, tmp_path / "unused") is fresh
    assert not (tmp_path / "unused").exists()


@needs_bitsandbytes
def test_settings() -> None:
    four = bitsandbytes_config("4bit", torch.bfloat16)
    assert (four.bnb_4bit_quant_type, four.bnb_4bit_use_double_quant) == ("nf4", True)
    assert four.bnb_4bit_compute_dtype == torch.bfloat16 and four.llm_int8_skip_modules is None
    assert bitsandbytes_config("8bit").load_in_8bit
    with pytest.raises(DataError, match="'3bit'"):
        bitsandbytes_config("3bit")


@needs_bitsandbytes
def test_dora_on_8_bit_weights_needs_a_gpu(wide: Any, wide_dir: Any, tmp_path: Path) -> None:
    if torch.cuda.is_available():
        pytest.skip("there is one")
    with pytest.raises(DataError, match="needs a GPU"):
        check_adapter_arguments(AdapterArguments(lora=True, lora_variant="dora", quantization="8bit"))
    folder = wide_dir("ugrie")
    model = AutoImageEmotionModel.from_pretrained(folder)
    trained_adapter(model, None, tmp_path / "adapter", lora_variant="dora")
    with pytest.raises(CheckpointError, match="DoRA"):
        AutoImageEmotionModel.from_pretrained(
            tmp_path / "adapter", quantization_config=bitsandbytes_config("8bit"), dtype=torch.float32
        )


def test_without_bitsandbytes_one_sentence_says_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("iec_hub.finetuning.quantization.find_spec", lambda name: None)
    for call in (
        require_bitsandbytes,
        lambda: bitsandbytes_config("4bit"),
        lambda: check_adapter_arguments(AdapterArguments(lora=True, quantization="8bit")),
    ):
        with pytest.raises(DataError, match=r'^[^\n]*pip install "iec-hub\[quantization\]"\.$'):
            call()

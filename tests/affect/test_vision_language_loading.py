"""Loading vision-language models: as they lie on the Hub, with adapters, quantised, and what is refused."""

import json
from pathlib import Path
from typing import Any

import pytest
import torch
from PIL import Image
from tiny_vision_language import FAMILIES, build_vision_language

from iec_hub.affect import vision_language_loading
from iec_hub.affect.vision_language_reasoner import VisionLanguageReasoner
from iec_hub.errors import CheckpointError, DataError


@pytest.fixture(scope="module")
def images(pictures: list[Path]) -> list[Image.Image]:
    return [Image.open(path).convert("RGB") for path in pictures[:2]]


@pytest.fixture(scope="module", params=FAMILIES)
def family(request: pytest.FixtureRequest) -> tuple[Any, Any]:
    return build_vision_language(request.param)


def test_a_saved_checkpoint_says_the_same(family: tuple[Any, Any], images: list[Image.Image], tmp_path: Path) -> None:
    model, processor = family
    _save_as_on_the_hub(model, processor, tmp_path)
    loaded = VisionLanguageReasoner.from_pretrained(tmp_path, device="cpu", max_new_tokens=8)
    here = VisionLanguageReasoner(model, processor)
    item = [(images[0], ("look",))]
    assert loaded.inputs(item)["input_ids"].tolist() == here.inputs(item)["input_ids"].tolist()
    written = [each.model.generate(**each.inputs(item), max_new_tokens=8, do_sample=False) for each in (loaded, here)]
    assert written[0].tolist() == written[1].tolist()
    assert loaded.name == tmp_path.name and loaded.model.dtype == torch.float32


def _save_as_on_the_hub(model: Any, processor: Any, folder: Path) -> None:
    """Files as SmolVLM2, Qwen2.5-VL and LLaVA have them, with the names of processors that also read videos."""
    model.save_pretrained(folder)
    if model.config.model_type == "llava":
        processor.save_pretrained(folder)
        return
    processor.tokenizer.save_pretrained(folder)
    processor.image_processor.save_pretrained(folder)
    path = folder / "preprocessor_config.json"
    content = json.loads(path.read_text())
    name = {"smolvlm": "SmolVLMProcessor", "qwen2_5_vl": "Qwen2_5_VLProcessor"}[model.config.model_type]
    content |= {"image_processor_type": content["image_processor_type"].removesuffix("Pil"), "processor_class": name}
    path.write_text(json.dumps(content))
    (folder / "chat_template.json").write_text(json.dumps({"chat_template": processor.chat_template}))
    if name == "SmolVLMProcessor":
        (folder / "processor_config.json").write_text(json.dumps({"image_seq_len": 4, "processor_class": name}))


def test_an_adapter_is_trained_saved_and_loaded(images: list[Image.Image], tmp_path: Path) -> None:
    from peft import LoraConfig, get_peft_model

    model, processor = build_vision_language("llava")
    model.save_pretrained(tmp_path / "base")
    processor.save_pretrained(tmp_path / "base")
    item = [(images[0], ("look",))]
    plain = VisionLanguageReasoner.from_pretrained(tmp_path / "base", device="cpu")
    adapted = get_peft_model(model, LoraConfig(r=2, target_modules=["q_proj", "v_proj"], init_lora_weights=False))
    adapted.save_pretrained(tmp_path / "adapter")
    loaded = VisionLanguageReasoner.from_pretrained(
        tmp_path / "base", device="cpu", adapter=tmp_path / "adapter", max_new_tokens=4
    )
    with torch.inference_mode():
        scores = [each.model(**each.inputs(item)).logits for each in (plain, loaded)]
        expected = adapted.eval()(**loaded.inputs(item)).logits
    assert torch.allclose(scores[1], expected, atol=1e-4) and not torch.allclose(*scores, atol=1e-2)
    assert loaded.reason(images[:1])[0].source == ""
    (tmp_path / "adapter" / "adapter_model.safetensors").rename(tmp_path / "adapter" / "adapter_model.bin")
    with pytest.raises(CheckpointError, match="adapter_model.safetensors"):
        VisionLanguageReasoner.from_pretrained(tmp_path / "base", device="cpu", adapter=tmp_path / "adapter")


def test_checkpoints_that_cannot_be_used(tmp_path: Path) -> None:
    with pytest.raises(CheckpointError, match="could not be loaded"):
        VisionLanguageReasoner.from_pretrained(tmp_path)
    model, processor = build_vision_language("llava")
    model.save_pretrained(tmp_path)
    with pytest.raises(CheckpointError, match="could not be loaded"):
        VisionLanguageReasoner.from_pretrained(tmp_path)
    processor.save_pretrained(tmp_path)
    with pytest.raises(CheckpointError, match="no device"):
        VisionLanguageReasoner.from_pretrained(tmp_path, device="moon")
    (tmp_path / "model.safetensors").rename(tmp_path / "pytorch_model.bin")
    with pytest.raises(CheckpointError, match="could not be loaded"):
        VisionLanguageReasoner.from_pretrained(tmp_path)
    processor.chat_template = None
    with pytest.raises(CheckpointError, match="no chat template"):
        VisionLanguageReasoner(model, processor)


def test_missing_weights_are_refused(tmp_path: Path) -> None:
    from safetensors.torch import load_file, save_file

    model, processor = build_vision_language("llava")
    model.save_pretrained(tmp_path)
    processor.save_pretrained(tmp_path)
    path = tmp_path / "model.safetensors"
    weights = load_file(path)
    save_file(dict(list(weights.items())[3:]), path, metadata={"format": "pt"})
    with pytest.raises(CheckpointError, match="lacks weights"):
        VisionLanguageReasoner.from_pretrained(tmp_path)


def test_quantisation_needs_its_package(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    found = vision_language_loading.importlib.util.find_spec
    hidden = {"bitsandbytes"}
    monkeypatch.setattr(
        vision_language_loading.importlib.util, "find_spec", lambda name: None if name in hidden else found(name)
    )
    with pytest.raises(DataError, match=r"pip install 'iec-hub\[quantization\]'"):
        VisionLanguageReasoner.from_pretrained(tmp_path, quantization="4bit", device="cpu")
    with pytest.raises(DataError, match="give one of 4bit, 8bit"):
        VisionLanguageReasoner.from_pretrained(tmp_path, quantization="3bit", device="cpu")


def test_4_bit_is_nf4_with_double_quantisation(monkeypatch: pytest.MonkeyPatch) -> None:
    found = vision_language_loading.importlib.util.find_spec
    monkeypatch.setattr(
        vision_language_loading.importlib.util,
        "find_spec",
        lambda name: found("json" if name == "bitsandbytes" else name),
    )
    made: list[dict[str, Any]] = []
    monkeypatch.setattr(
        vision_language_loading.transformers, "BitsAndBytesConfig", lambda **fields: made.append(fields)
    )
    vision_language_loading.quantization_config("4bit", torch.bfloat16)
    vision_language_loading.quantization_config("8bit", torch.bfloat16)
    assert made == [
        {"load_in_4bit": True, "bnb_4bit_quant_type": "nf4", "bnb_4bit_use_double_quant": True}
        | {"bnb_4bit_compute_dtype": torch.bfloat16},
        {"load_in_8bit": True},
    ]
    assert vision_language_loading.quantization_config(None, None) is None


def test_a_quantised_model_generates(images: list[Image.Image], tmp_path: Path) -> None:
    pytest.importorskip("bitsandbytes", reason="the extra `quantization` is not installed")
    model, processor = build_vision_language("llava")
    model.save_pretrained(tmp_path)
    processor.save_pretrained(tmp_path)
    reasoner = VisionLanguageReasoner.from_pretrained(tmp_path, quantization="4bit", device="cpu", max_new_tokens=4)
    kinds = {type(module).__name__ for module in reasoner.model.modules()}
    assert "Linear4bit" in kinds
    (found,) = reasoner.reason(images[:1])
    # Random weights write nothing that can be read, but they do write.
    assert "no answer that can be read" in (found.fallback or "")

"""What every image emotion model has to do as a citizen of transformers; a method's test class inherits these."""

import copy
import json
import re
import shutil
from pathlib import Path
from typing import Any, ClassVar

import pytest
import torch
from safetensors.torch import load_file, save_file
from tiny_parts import random_pictures, tensors_of
from torch import nn
from transformers import AutoConfig, AutoModel, AutoProcessor, BatchFeature

from iec_hub.emotions import EMOTION_MODELS, EmotionModel
from iec_hub.errors import DataError
from iec_hub.models import AutoImageEmotionModel
from iec_hub.models.image_emotion import ImageEmotionModel

MIXED = ("mikels8", "ekman7", "sentiment2")


def in_memory(name: str) -> str:
    """A weight's name in the model for its name in a checkpoint, where a part's layers kept their first names."""
    renamed = {"feature_norm": "pooled_norm", "classifier": "object_head"}
    return re.sub(r"(captioner\.|observer\.)(feature_norm|classifier)\.", lambda m: f"{m[1]}{renamed[m[2]]}.", name)


class SharedModelTests:
    """Inherit, name the classes and give a model with its processor.

    Attributes:
        without_gradient: pattern of parameters that have none although they are trainable, with the reason beside it.
        missing: patterns of weights that a checkpoint may lack, to what fills them (`None`: random, but finite).
        lora_trains: target set of `lora_targets` that the adapter test trains.
        tower: name of the vision tower among the model's modules.
        head: pattern of the weights that belong to emotion models, for models without open labels.
    """

    model_class: ClassVar[type[ImageEmotionModel]]
    config_class: ClassVar[type]
    processor_class: ClassVar[type]
    without_gradient: ClassVar[str] = r"$^"
    missing: ClassVar[dict[str, float | None]] = {}
    lora_trains: ClassVar[str] = "language"
    tower: ClassVar[str] = "vision_model"
    head: ClassVar[str] = r"$^"

    def build(self, **fields: Any) -> tuple[ImageEmotionModel, Any]:
        """A tiny model in evaluation mode and its processor, after `torch.manual_seed(0)`; it knows `MIXED`."""
        raise NotImplementedError

    def inputs(self, rows: slice = slice(None)) -> dict[str, Any]:
        """What the processor is given about the chosen of three random pictures."""
        return {"images": random_pictures(3)[rows]}

    @pytest.fixture(scope="class")
    def parts(self) -> tuple[ImageEmotionModel, Any]:
        return self.build()

    @pytest.fixture(scope="class")
    def folder(self, parts: tuple[ImageEmotionModel, Any], tmp_path_factory: pytest.TempPathFactory) -> Path:
        folder = tmp_path_factory.mktemp("checkpoint")
        for part in parts:
            part.save_pretrained(folder)
        return folder

    def batch(self, processor: Any, emotion_models: Any = MIXED, labels: bool = False) -> dict[str, Any]:
        """Three random pictures, each with its emotion model; soft labels on request."""
        batch = processor(**self.inputs(), emotion_models=emotion_models)
        if labels:
            models = batch["emotion_models"]
            votes = [[index + 1 for index in range(len(model))] for model in models]
            distributions = [model.distribution(row) for model, row in zip(models, votes, strict=True)]
            batch = processor(**self.inputs(), emotion_models=models, distributions=distributions)
        return tensors_of(batch)

    def logits(self, model: ImageEmotionModel, batch: dict[str, Any]) -> torch.Tensor:
        with torch.inference_mode():
            return model(**batch).logits

    def test_save_and_load_give_bit_equal_logits(self, parts: tuple[ImageEmotionModel, Any], folder: Path) -> None:
        model, processor = parts
        batch = self.batch(processor)
        expected = self.logits(model, batch)
        loaded, information = self.model_class.from_pretrained(folder, output_loading_info=True)
        assert not any(information[key] for key in ("missing_keys", "unexpected_keys", "mismatched_keys"))
        assert torch.equal(self.logits(loaded, batch), expected)
        again = self.batch(self.processor_class.from_pretrained(folder))
        assert {name: value.tolist() for name, value in again.items()} == {k: v.tolist() for k, v in batch.items()}
        assert not [file for file in folder.iterdir() if file.suffix in (".bin", ".pt", ".pkl", ".py")]

    def test_auto_classes_load_the_checkpoint(self, folder: Path) -> None:
        assert type(AutoConfig.from_pretrained(folder)) is self.config_class
        assert type(AutoModel.from_pretrained(folder)) is self.model_class
        assert type(AutoImageEmotionModel.from_pretrained(folder)) is self.model_class
        assert type(AutoImageEmotionModel.from_config(AutoConfig.from_pretrained(folder))) is self.model_class
        assert type(AutoProcessor.from_pretrained(folder)) is self.processor_class

    @pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16], ids=["bf16", "fp16"])
    def test_half_precision_stays_close(
        self, parts: tuple[ImageEmotionModel, Any], folder: Path, dtype: torch.dtype
    ) -> None:
        model, processor = parts
        batch = self.batch(processor, labels=True)
        half = self.model_class.from_pretrained(folder, dtype=dtype)
        assert dtype in {parameter.dtype for parameter in half.parameters()}
        kept = [name for name in self.model_class._keep_in_fp32_modules or () if hasattr(half, name)]
        if dtype is torch.float16:
            assert all(p.dtype is torch.float32 for name in kept for p in getattr(half, name).state_dict().values())
        output = half(**batch)
        assert output.loss.isfinite()
        exact, close = self.logits(model, batch).softmax(-1), output.logits.float().softmax(-1)
        torch.testing.assert_close(close, exact, atol=0.05, rtol=0)
        cast = copy.deepcopy(model).to(dtype)  # all parts, also those that loading keeps in float32
        torch.testing.assert_close(self.logits(cast, batch).float().softmax(-1), exact, atol=0.05, rtol=0)

    def test_a_mixed_batch_equals_single_images(self, parts: tuple[ImageEmotionModel, Any]) -> None:
        model, processor = parts
        batch = self.batch(processor)
        logits = self.logits(model, batch)
        assert (logits.isfinite().sum(1)).tolist() == [len(EMOTION_MODELS[name]) for name in MIXED]
        for row, name in enumerate(MIXED):
            alone = tensors_of(processor(**self.inputs(slice(row, row + 1)), emotion_models=name))
            own = logits[row][logits[row].isfinite()]
            torch.testing.assert_close(self.logits(model, alone)[0], own, atol=1e-5, rtol=1e-5)

    def test_every_trainable_parameter_gets_a_finite_gradient(self) -> None:
        model, processor = self.build()
        model.vision_model.requires_grad_(False)
        model.train()
        tower = {name: tensor.clone() for name, tensor in model.vision_model.state_dict().items()}
        model(**self.batch(processor, labels=True)).loss.backward()
        for name, parameter in model.named_parameters():
            if name.startswith(f"{self.tower}."):
                assert parameter.grad is None, name
            elif not re.search(self.without_gradient, name):
                assert parameter.grad is not None and parameter.grad.isfinite().all(), name
                assert parameter.grad.any(), name
        # Nor do statistics or dropout move in a frozen tower.
        assert all(torch.equal(tensor, tower[name]) for name, tensor in model.vision_model.state_dict().items())
        assert not model.vision_model.training and getattr(model, model.modules_to_save[0]).training

    def test_the_vision_tower_trains_too(self) -> None:
        model, processor = self.build()
        model(**self.batch(processor, labels=True)).loss.backward()
        for name, parameter in model.vision_model.named_parameters():
            # An attention's keys shift all its scores alike, so that their bias is one of softmax's free constants.
            if not name.endswith("k_proj.bias"):
                assert parameter.grad is not None and parameter.grad.isfinite().all(), name

    def test_gradient_checkpointing_changes_nothing(self) -> None:
        model, processor = self.build()
        model.train()
        batch, results = self.batch(processor, labels=True), []
        for enable in (model.activation_checkpointing_disable, model.activation_checkpointing_enable):
            enable()
            model.zero_grad()
            torch.manual_seed(0)
            loss = model(**batch).loss
            loss.backward()
            results.append((loss.detach(), {n: p.grad for n, p in model.named_parameters() if p.grad is not None}))
        (plain, gradients), (checkpointed, again) = results
        assert any(getattr(module, "gradient_checkpointing", False) for module in model.modules())
        torch.testing.assert_close(checkpointed, plain)
        assert gradients.keys() == again.keys()
        for name, gradient in gradients.items():
            torch.testing.assert_close(again[name], gradient, atol=1e-5, rtol=1e-4, msg=name)

    def test_no_weight_is_left_uninitialised(self, folder: Path, tmp_path: Path) -> None:
        shutil.copytree(folder, tmp_path, dirs_exist_ok=True)
        weights = load_file(folder / "model.safetensors")
        filled = {p: value for p, value in self.missing.items() if any(re.search(p, name) for name in weights)}
        gone = {name: value for p, value in filled.items() for name in weights if re.search(p, name)}
        assert filled.keys() == self.missing.keys() and gone
        kept = {name: tensor for name, tensor in weights.items() if name not in gone}
        save_file(kept, tmp_path / "model.safetensors", metadata={"format": "pt"})
        batch, logits = self.batch(self.processor_class.from_pretrained(folder)), []
        # In this mode PyTorch fills new memory with NaN, so what nobody initialises shows.
        torch.use_deterministic_algorithms(True)
        try:
            for _ in range(2):
                torch.manual_seed(0)
                loaded, information = self.model_class.from_pretrained(tmp_path, output_loading_info=True)
                logits.append(self.logits(loaded, batch))
        finally:
            torch.use_deterministic_algorithms(False)
        assert information["missing_keys"] <= set(map(in_memory, gone))  # BART does not report its constant bias
        state = loaded.state_dict()
        assert all(tensor.isfinite().all() for tensor in state.values())
        for name, value in gone.items():
            assert value is None or (state[in_memory(name)] == value).all(), name
        assert not torch.isnan(logits[0]).any() and torch.equal(*logits)

    def test_buffers_travel_with_the_checkpoint_or_are_computed(self, folder: Path) -> None:
        torch.use_deterministic_algorithms(True)
        try:
            loaded = self.model_class.from_pretrained(folder)
        finally:
            torch.use_deterministic_algorithms(False)
        assert all(buffer.isfinite().all() for buffer in loaded.buffers())

    def test_tied_weights_are_stored_once_and_tied_after_loading(
        self, parts: tuple[ImageEmotionModel, Any], folder: Path
    ) -> None:
        stored = load_file(folder / "model.safetensors")
        loaded = self.model_class.from_pretrained(folder)
        for model in (parts[0], loaded):
            groups: dict[int, list[str]] = {}
            for name, parameter in model.named_parameters(remove_duplicate=False):
                groups.setdefault(parameter.data_ptr(), []).append(name)
            tied = [names for names in groups.values() if len(names) > 1]
            for names in tied:
                assert sum(name in stored for name in names) == 1, names
            declared = {name for pair in model.all_tied_weights_keys.items() for name in pair}
            assert {name for names in tied for name in names} == declared

    def test_a_new_emotion_model_leaves_the_weights_alone(
        self, parts: tuple[ImageEmotionModel, Any], folder: Path
    ) -> None:
        model, _ = parts
        before = {name: tensor.clone() for name, tensor in model.state_dict().items()}
        settings = {} if model.open_labels else {"ignore_mismatched_sizes": True}
        other = self.model_class.from_pretrained(folder, emotion_models=["sentiment3", "ekman6"], **settings)
        assert list(other.config.trained_emotion_models) == ["sentiment3", "ekman6"]
        assert other.config.id2label == dict(enumerate(EMOTION_MODELS["sentiment3"].labels))
        after = other.state_dict()
        assert after.keys() == before.keys()
        changed = {name for name, tensor in after.items() if not torch.equal(tensor, before[name])}
        assert changed == {name for name in before if re.search(self.head, name)}
        assert all(after[name].isfinite().all() for name in changed)
        again = self.config_class.from_dict(json.loads(other.config.to_json_string(use_diff=False)))
        assert again.to_dict() == other.config.to_dict()

    def test_custom_labels_at_prediction(self, parts: tuple[ImageEmotionModel, Any]) -> None:
        model, processor = parts
        own = EmotionModel.from_labels(["cosy", "eerie", "solemn"])
        if not model.open_labels:
            with pytest.raises(DataError, match=r"^This model has no classifier for custom; [^\n]*\.$"):
                self.batch(processor, own)
            return
        before = {name: tensor.clone() for name, tensor in model.state_dict().items()}
        logits = self.logits(model, self.batch(processor, own))
        assert logits.shape == (3, 3) and logits.isfinite().all()
        assert all(torch.equal(tensor, before[name]) for name, tensor in model.state_dict().items())

    def test_lora_targets_name_real_layers_of_their_own_part(self, parts: tuple[ImageEmotionModel, Any]) -> None:
        model, _ = parts
        modules = {name: module for name, module in model.named_modules() if isinstance(module, nn.Linear | nn.Conv2d)}
        assert self.model_class.lora_targets
        for target, pattern in self.model_class.lora_targets.items():
            assert pattern.startswith("^") and pattern.endswith("$"), target
            hit = [name for name in modules if re.fullmatch(pattern, name)]
            assert hit, target
            assert all(name.startswith(f"{self.tower}.") == (target == "vision") for name in hit), target
            inside = [name for name in hit if name.split(".")[0] in self.model_class.modules_to_save]
            assert inside == (hit if target == "fusion" else []), target

    def test_lora_trains_a_step_and_comes_back(self, folder: Path, tmp_path: Path) -> None:
        from peft import LoraConfig, PeftModel, get_peft_model

        base = self.model_class.from_pretrained(folder)
        known = dict(base.named_modules())
        saved = [name for name in self.model_class.modules_to_save if name in known and known[name].state_dict()]
        settings = LoraConfig(
            r=2, target_modules=self.model_class.lora_targets[self.lora_trains], modules_to_save=saved
        )
        adapted = get_peft_model(base, settings)
        trainable = {name for name, parameter in adapted.named_parameters() if parameter.requires_grad}
        assert all("lora_" in name or "modules_to_save" in name for name in trainable)
        learned = [name for name in saved if list(known[name].parameters())]
        assert learned and all(any(f".{part}.modules_to_save" in name for name in trainable) for part in learned)
        batch = self.batch(self.processor_class.from_pretrained(folder), labels=True)
        before = self.logits(adapted.eval(), batch)
        optimizer = torch.optim.SGD([p for p in adapted.parameters() if p.requires_grad], lr=0.1)
        for _ in range(2):  # LoRA's B is zero at first, so that A moves only in the second step
            optimizer.zero_grad()
            adapted.train()
            adapted(**batch).loss.backward()
            optimizer.step()
        after = self.logits(adapted.eval(), batch)
        assert not torch.allclose(after, before)
        adapted.save_pretrained(tmp_path)
        assert (tmp_path / "adapter_model.safetensors").stat().st_size < (folder / "model.safetensors").stat().st_size
        wrapped = PeftModel.from_pretrained(self.model_class.from_pretrained(folder), tmp_path)
        assert torch.equal(self.logits(wrapped.eval(), batch), after)
        direct = self.model_class.from_pretrained(tmp_path)
        assert torch.equal(self.logits(direct.eval(), batch), after)
        merged = wrapped.merge_and_unload()
        torch.testing.assert_close(self.logits(merged, batch), after, atol=1e-4, rtol=1e-4)

    def test_device_map(self, parts: tuple[ImageEmotionModel, Any], folder: Path) -> None:
        model, processor = parts
        batch = self.batch(processor)
        loaded = self.model_class.from_pretrained(folder, device_map={"": "cpu"})
        assert torch.equal(self.logits(loaded, batch), self.logits(model, batch))

    def test_parts_offloaded_to_disk(self, parts: tuple[ImageEmotionModel, Any], folder: Path, tmp_path: Path) -> None:
        model, processor = parts
        batch = self.batch(processor)
        owner = self.tower.rpartition(".")[0]  # a shared tower stays, and what else its owner has goes
        names = {name for name, _ in model.named_children() if name != owner}
        names |= {f"{owner}.{name}" for name, _ in model.get_submodule(owner).named_children()} if owner else set()
        places = dict.fromkeys(sorted(names), "disk") | {self.tower: "cpu"}
        loaded = self.model_class.from_pretrained(folder, device_map=places, offload_folder=tmp_path)
        assert any(parameter.is_meta for parameter in loaded.parameters())
        torch.testing.assert_close(self.logits(loaded, batch), self.logits(model, batch))

    @pytest.mark.parametrize("asked", [{}, {"use_safetensors": False}], ids=["by_default", "on_request"])
    def test_a_pickled_checkpoint_is_refused(
        self, parts: tuple[ImageEmotionModel, Any], tmp_path: Path, asked: dict[str, bool]
    ) -> None:
        parts[0].config.save_pretrained(tmp_path)
        torch.save(parts[0].state_dict(), tmp_path / "pytorch_model.bin")
        with pytest.raises(OSError, match="safetensors"):
            AutoImageEmotionModel.from_pretrained(tmp_path, **asked)

    def test_outputs_as_a_tuple(self, parts: tuple[ImageEmotionModel, Any]) -> None:
        model, processor = parts
        batch = self.batch(processor, labels=True)
        output = model(**batch)
        loss, logits, *_ = model(**batch, return_dict=False)
        assert torch.equal(loss, output.loss) and torch.equal(logits, output.logits)

    def test_a_processors_batch_can_be_passed_on_whole(self, parts: tuple[ImageEmotionModel, Any]) -> None:
        model, processor = parts
        batch = processor(images=random_pictures(1), return_tensors="pt").to("cpu")
        assert isinstance(batch, BatchFeature)
        assert model(**batch).logits.shape == (1, len(model.config.resolve_emotion_model(None)))

    def test_a_misspelt_argument_is_not_swallowed(self, parts: tuple[ImageEmotionModel, Any]) -> None:
        with pytest.raises((TypeError, ValueError), match="emotion_model"):
            parts[1](images=random_pictures(1), emotion_model="ekman7")

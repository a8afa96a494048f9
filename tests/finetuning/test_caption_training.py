"""Training a generator: it learns to write what it is told, can be stopped anywhere, and survives broken images."""

import copy
import re
from pathlib import Path
from typing import Any

import pytest
import torch
from tiny_captioners import build_captioner_model
from torch import nn
from transformers import TrainerCallback

from iec_hub.errors import DataError
from iec_hub.finetuning import caption_training
from iec_hub.finetuning.caption_training import (
    CaptionCollator,
    CaptionPairs,
    captioner_lora_targets,
    generator_of,
    train_captioner,
)
from iec_hub.finetuning.captioned_images import CaptionedImage
from iec_hub.finetuning.trainer import EmotionTrainingArguments
from iec_hub.images import open_image

# Of different lengths, and words of the tiny vocabulary.
CAPTIONS = (
    "this image makes people feel sadness",
    "joy",
    "people feel fear and anger, this makes disgust",
    "image of awe",
)


def arguments(folder: Path, **options: Any) -> EmotionTrainingArguments:
    settings: dict[str, Any] = {"language_learning_rate": 1e-2, "per_device_train_batch_size": 4, "warmup_steps": 2}
    settings |= {"use_cpu": True, "disable_tqdm": True, "weight_decay": 0.0, "num_train_epochs": 3}
    settings |= {"save_total_limit": 20, "logging_steps": 1}
    return EmotionTrainingArguments(output_dir=str(folder), **(settings | options))


@pytest.fixture(scope="module")
def items(pictures: list[Path]) -> list[CaptionedImage]:
    return [CaptionedImage(path, (caption,), path.name) for path, caption in zip(pictures, CAPTIONS, strict=False)]


def weights_of(model: Any) -> dict[str, torch.Tensor]:
    return {name: tensor.detach().clone() for name, tensor in model.captioner.state_dict().items()}


def written(model: Any, processor: Any, items: list[CaptionedImage], **settings: Any) -> list[str]:
    pixels = processor(images=[open_image(item.image) for item in items])["pixel_values"]
    return model.generate_caption(processor, pixels, **settings)[0]


@pytest.mark.parametrize("kind", ["blip", "git"])
def test_the_captioner_writes_what_it_was_taught(
    kind: str, tiny_tokenizer: Any, items: list[CaptionedImage], tmp_path: Path
) -> None:
    model, processor = build_captioner_model(tiny_tokenizer, kind)
    before = weights_of(model)
    assert written(model, processor, items) != list(CAPTIONS)
    settings = arguments(tmp_path, num_train_epochs=50, save_strategy="no", load_best_model_at_end=False)
    train_captioner(model, processor, CaptionPairs(items), CaptionPairs(items, augment=False), settings)
    assert not model.training and model.captioner.device == model.device
    for beams in (1, 3):
        # A comma's place is the decoder's matter.
        told = [text.replace(" ,", ",") for text in written(model, processor, items, num_beams=beams)]
        assert told == list(CAPTIONS)
    changed = {name for name, tensor in weights_of(model).items() if not torch.equal(tensor, before[name])}
    assert changed and not any("vision_model" in name or "image_encoder" in name for name in changed)


@pytest.mark.parametrize("kind", ["blip", "git"])
def test_rows_begin_and_end_as_generation_does(kind: str, tiny_tokenizer: Any, items: list[CaptionedImage]) -> None:
    model, processor = build_captioner_model(tiny_tokenizer, kind)
    pairs = CaptionPairs(items, augment=False)
    batch = CaptionCollator.of(processor, model.captioner)([pairs[0], pairs[1]])
    begun = model.captioner.generate(pixel_values=batch["pixel_values"], max_new_tokens=1, min_new_tokens=1)
    assert batch["input_ids"][:, 0].tolist() == begun[:, 0].tolist()
    joy = tiny_tokenizer("joy", add_special_tokens=False)["input_ids"]
    row = [int(begun[0, 0]), *joy, tiny_tokenizer.sep_token_id]
    padding = batch["input_ids"].shape[1] - len(row)
    assert batch["input_ids"][1].tolist() == row + [tiny_tokenizer.pad_token_id] * padding and padding > 0
    assert batch["attention_mask"][1].tolist() == [1] * len(row) + [0] * padding
    assert batch["labels"][1].tolist() == [-100, *row[1:], *[-100] * padding]
    assert batch["pixel_values"].shape[-1] == (32 if kind == "blip" else 48)
    # A caption that is cut does not end there, and its text is never a command.
    short = CaptionCollator.of(processor, model.captioner, most_tokens=3)
    cut = short([{"image": pairs[0]["image"], "caption": "[SEP] joy fear"}])["input_ids"][0].tolist()
    assert len(cut) == 3 and tiny_tokenizer.sep_token_id not in cut


@pytest.mark.parametrize("kind", ["blip", "git"])
def test_padding_does_not_count(kind: str, tiny_tokenizer: Any, items: list[CaptionedImage]) -> None:
    model, processor = build_captioner_model(tiny_tokenizer, kind)
    pairs, collator = CaptionPairs(items, augment=False), CaptionCollator.of(processor, model.captioner)
    with torch.no_grad():
        short, long, both = (model.captioner(**collator([pairs[i] for i in rows])) for rows in ([1], [2], [1, 2]))
    sizes = [collator([pairs[i]])["labels"].ne(-100).sum() for i in (1, 2)]
    expected = (short.loss * sizes[0] + long.loss * sizes[1]) / sum(sizes)
    assert float(both.loss) == pytest.approx(float(expected), rel=1e-4)


def test_accumulated_batches_weigh_each_token_alike(
    tiny_tokenizer: Any, items: list[CaptionedImage], tmp_path: Path
) -> None:
    results = []
    for batch_size, steps in ((4, 1), (1, 4)):
        model, processor = build_captioner_model(tiny_tokenizer)
        settings = arguments(
            tmp_path / str(steps),
            per_device_train_batch_size=batch_size,
            gradient_accumulation_steps=steps,
            num_train_epochs=2,
            optim="sgd",
            warmup_steps=0,
        )
        trainer = train_captioner(model, processor, CaptionPairs(items), CaptionPairs(items, augment=False), settings)
        losses = [entry["loss"] for entry in trainer.state.log_history if "loss" in entry]
        results.append((losses, weights_of(model)))
    (losses, one), (accumulated_losses, four) = results
    assert accumulated_losses == pytest.approx(losses, rel=1e-4)
    assert all(torch.allclose(tensor, four[name], atol=1e-5) for name, tensor in one.items())


def test_a_killed_run_goes_on_and_a_finished_one_is_loaded(
    tiny_tokenizer: Any, items: list[CaptionedImage], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    varied = [CaptionedImage(item.image, (*item.captions, "fear", "awe"), item.origin) for item in items]
    validation = CaptionPairs(items, augment=False)
    model, processor = build_captioner_model(tiny_tokenizer)
    straight = train_captioner(model, processor, CaptionPairs(varied), validation, arguments(tmp_path / "straight"))
    expected = weights_of(model)

    class Kill(TrainerCallback):
        def on_epoch_end(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
            if state.global_step == 2:
                raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(caption_training, "EpochOfData", lambda data: Kill())
        model, processor = build_captioner_model(tiny_tokenizer)
        with pytest.raises(KeyboardInterrupt):
            train_captioner(model, processor, CaptionPairs(varied), validation, arguments(tmp_path / "killed"))
    again = arguments(tmp_path / "killed", resume_from_checkpoint="True")
    steps: list[int] = []
    step = caption_training.CaptionTrainer.training_step

    def counted(*given: Any) -> torch.Tensor:
        steps.append(1)
        return step(*given)

    monkeypatch.setattr(caption_training.CaptionTrainer, "training_step", counted)
    model, processor = build_captioner_model(tiny_tokenizer)
    resumed = train_captioner(model, processor, CaptionPairs(varied), validation, again)
    assert [e["step"] for e in resumed.state.log_history] == [e["step"] for e in straight.state.log_history]
    assert all(torch.equal(tensor, expected[name]) for name, tensor in weights_of(model).items())

    assert len(steps) == 2, "the first epoch's is in the checkpoint"
    model, processor = build_captioner_model(tiny_tokenizer)
    loaded = train_captioner(model, processor, CaptionPairs(varied), validation, again)
    assert len(steps) == 2 and loaded.state.log_history == resumed.state.log_history
    assert all(torch.equal(tensor, expected[name]) for name, tensor in weights_of(model).items())


def test_training_stops_where_validation_gets_no_better(
    tiny_tokenizer: Any, items: list[CaptionedImage], tmp_path: Path
) -> None:
    other = [CaptionedImage(item.image, ("disgust",), item.origin) for item in items]
    model, processor = build_captioner_model(tiny_tokenizer)
    settings = arguments(tmp_path, learning_rate=0.1, num_train_epochs=40, save_total_limit=2)
    held_out = CaptionPairs(other, augment=False)
    trainer = train_captioner(model, processor, CaptionPairs(items), held_out, settings, patience=1)
    losses = [entry["eval_loss"] for entry in trainer.state.log_history if "eval_loss" in entry]
    assert len(losses) < 40 and losses[-1] >= min(losses)
    with torch.no_grad():
        batch = CaptionCollator.of(processor, model.captioner)([held_out[i] for i in range(4)])
        assert float(model.captioner(**batch).loss) == pytest.approx(min(losses), rel=1e-4)


@pytest.mark.parametrize("kind", ["blip", "git"])
def test_lora_trains_its_own_weights_only(
    kind: str, tiny_tokenizer: Any, items: list[CaptionedImage], tmp_path: Path
) -> None:
    from peft import LoraConfig, PeftModel

    model, processor = build_captioner_model(tiny_tokenizer, kind)
    before = weights_of(model)
    kept = copy.deepcopy(model)
    settings = arguments(tmp_path, num_train_epochs=2)
    data, lora = CaptionPairs(items), LoraConfig(r=2)
    train_captioner(kept, processor, data, None, settings, lora=lora, merge_lora=False)
    assert isinstance(kept.captioner, PeftModel) and lora.target_modules is None
    adapted = {name.removeprefix("base_model.model."): tensor for name, tensor in weights_of(kept).items()}
    for name, tensor in before.items():
        here = adapted.get(name, adapted.get(re.sub(r"\.(weight|bias)$", r".base_layer.\1", name)))
        assert torch.equal(here, tensor), name
    grown = [name for name, tensor in adapted.items() if "lora_B" in name and tensor.any()]
    assert grown and not any("vision" in name or "image_encoder" in name for name in grown)
    merged, _ = build_captioner_model(tiny_tokenizer, kind)
    train_captioner(merged, processor, data, None, arguments(tmp_path / "merged", num_train_epochs=2), lora=lora)
    assert type(merged.captioner) is type(model.captioner)
    after = weights_of(merged)
    assert after.keys() == before.keys()
    changed = {name for name in before if not torch.equal(before[name], after[name])}
    assert changed and all(re.fullmatch(captioner_lora_targets(kind), name[: name.rfind(".")]) for name in changed)
    assert written(merged, processor, items) == written(kept, processor, items)


def test_lora_adapts_the_captioners_layers_of_the_models_own_pattern(tiny_tokenizer: Any) -> None:
    model, _ = build_captioner_model(tiny_tokenizer)
    linear = [name for name, module in model.named_modules() if isinstance(module, nn.Linear)]
    expected = [name for name in linear if re.fullmatch(model.lora_targets["language"], name)]
    expected = [name.removeprefix("captioner.") for name in expected if name.startswith("captioner.")]
    own = [name for name, module in model.captioner.named_modules() if isinstance(module, nn.Linear)]
    assert [name for name in own if re.fullmatch(captioner_lora_targets("blip"), name)] == expected
    assert len(expected) > 10


def test_bf16_and_a_vision_tower_that_learns(tiny_tokenizer: Any, items: list[CaptionedImage], tmp_path: Path) -> None:
    model, processor = build_captioner_model(tiny_tokenizer)
    before = weights_of(model)
    settings = arguments(tmp_path, bf16=True, num_train_epochs=1, vision_learning_rate=1e-3, warmup_steps=0)
    train_captioner(model, processor, CaptionPairs(items), None, settings, train_vision=True)
    assert any("vision_model" in name and not torch.equal(before[name], t) for name, t in weights_of(model).items())
    assert "forward" not in vars(model.captioner), "no mixed precision is left behind"
    assert written(model, processor, items)
    assert all(tensor.dtype == before[name].dtype for name, tensor in weights_of(model).items())


def test_captioners_that_cannot_be_trained_are_one_sentence(tiny_tokenizer: Any, tmp_path: Path) -> None:
    model, processor = build_captioner_model(tiny_tokenizer)
    with pytest.raises(DataError, match=r"^There is no captioned image to train the captioner on; give some\.$"):
        train_captioner(model, processor, CaptionPairs([]), None, arguments(tmp_path))
    model.captioner.config.model_type = "pix2struct"
    with pytest.raises(DataError, match=r"^A captioner of type 'pix2struct' cannot be trained here; use blip or git"):
        generator_of(model)
    model.captioner = None
    with pytest.raises(DataError, match=r"^This model has no captioner to train; [^\n]*\.$"):
        generator_of(model)


def test_an_attribute_captioner_is_fitted_elsewhere() -> None:
    from iec_hub.models.escnet import EscnetConfig, EscnetForImageEmotion

    small = {"hidden_size": 16, "intermediate_size": 16, "num_hidden_layers": 1, "num_attention_heads": 2}
    config = EscnetConfig(
        vision_config={"model_type": "clip_vision_model", "image_size": 32, "patch_size": 16, **small},
        text_config={"model_type": "bert", "vocab_size": 30, **small},
        captioner_config={"model_type": "attribute_captioner", "pooled_size": 16},
        fusion_size=16,
    )
    with pytest.raises(DataError, match=r"^An attribute captioner is fitted, not trained; [^\n]*\.$"):
        generator_of(EscnetForImageEmotion(config))


def test_a_broken_image_is_replaced_by_the_next(
    items: list[CaptionedImage],
    tiny_tokenizer: Any,
    tmp_path: Path,
    caplog: pytest.LogCaptureFixture,
) -> None:
    broken = tmp_path / "broken.jpg"
    broken.write_bytes(items[0].image.read_bytes()[:300])
    mixed = [items[0], CaptionedImage(broken, ("fear",), "x.csv:3"), items[2]]
    data = CaptionPairs(mixed, augment=False)
    assert [data[i]["caption"] for i in (0, 1, 2, 1)] == [CAPTIONS[0], CAPTIONS[2], CAPTIONS[2], CAPTIONS[2]]
    assert caplog.text.count("x.csv:3 is left out: ") == 1
    model, processor = build_captioner_model(tiny_tokenizer)
    trainer = train_captioner(model, processor, CaptionPairs(mixed), data, arguments(tmp_path, num_train_epochs=1))
    assert trainer.state.global_step == 1
    with pytest.raises(DataError, match=r"^None of the captioned images can be opened; [^\n]*\.$"):
        CaptionPairs(mixed[1:2])[0]

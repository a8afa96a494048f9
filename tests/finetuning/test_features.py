import os
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image

from iec_hub.data import EmotionExample
from iec_hub.emotions import EMOTION_MODELS
from iec_hub.finetuning.features import augmented_view, cached_features
from iec_hub.finetuning.measuring import source_logits
from iec_hub.finetuning.training_data import ImageSource

MIKELS = EMOTION_MODELS["mikels8"]


@pytest.fixture
def examples(pictures: list[Path], tmp_path: Path) -> list[EmotionExample]:
    copies = []
    for i, picture in enumerate(pictures[:5]):
        copy = tmp_path / f"{i}.jpg"
        copy.write_bytes(picture.read_bytes())
        copies.append(EmotionExample(copy, MIKELS, np.eye(8)[i], origin=f"metadata.csv:{i + 2}"))
    return copies


@pytest.fixture
def counted(build_tiny_ugrie: Callable[..., tuple[Any, Any]]) -> tuple[Any, Any, list[int]]:
    """A model, its processor and a list that grows by one with every batch that its vision tower sees."""
    model, processor = build_tiny_ugrie()
    calls: list[int] = []
    model.vision_model.register_forward_hook(lambda *_: calls.append(1))
    return model, processor, calls


def test_the_second_call_reads_the_cache(counted: Any, examples: list[EmotionExample], tmp_path: Path) -> None:
    model, processor, calls = counted
    cache = tmp_path / "cache"
    first = cached_features(model, processor, examples, cache, views=3)
    assert first.shape == (3, 5, 32) and len(calls) == 3
    assert torch.equal(cached_features(model, processor, examples, cache, views=3), first)
    assert len(calls) == 3
    assert torch.equal(cached_features(model, processor, examples, None, views=3), first)  # and views repeat
    assert not torch.equal(first[0], first[1]) and not torch.equal(first[1], first[2])


def test_what_changes_features_misses_the_cache(counted: Any, examples: list[EmotionExample], tmp_path: Path) -> None:
    model, processor, calls = counted
    cache = tmp_path / "cache"
    first = cached_features(model, processor, examples, cache)
    Image.open(examples[0].image).rotate(180).save(examples[0].image)
    os.utime(examples[0].image, ns=(1, 1))
    second = cached_features(model, processor, examples, cache)
    assert len(calls) == 2 and not torch.equal(first[:, 0], second[:, 0]) and torch.equal(first[:, 1:], second[:, 1:])
    with torch.no_grad():
        next(model.vision_model.parameters()).add_(0.1)
    cached_features(model, processor, examples, cache)
    assert len(calls) == 3
    cached_features(model, processor, [replace(examples[0], origin="other.csv:2"), *examples[1:]], cache)
    assert len(calls) == 4


@pytest.mark.parametrize("damage", [b"", b"half"])
def test_a_damaged_file_is_written_anew(
    counted: Any, examples: list[EmotionExample], tmp_path: Path, damage: bytes
) -> None:
    model, processor, calls = counted
    first = cached_features(model, processor, examples, tmp_path / "cache")
    (file,) = (tmp_path / "cache").iterdir()
    whole = file.read_bytes()
    file.write_bytes(whole[: len(whole) // 2] if damage else damage)
    assert torch.equal(cached_features(model, processor, examples, tmp_path / "cache"), first)
    assert len(calls) == 2 and file.read_bytes() == whole


def test_a_killed_writer_leaves_nothing_to_read(
    counted: Any, examples: list[EmotionExample], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    model, processor, _ = counted

    def killed(tensors: Any, path: Path) -> None:
        path.write_bytes(b"half")
        raise KeyboardInterrupt

    monkeypatch.setattr("iec_hub.finetuning.features.save_file", killed)
    with pytest.raises(KeyboardInterrupt):
        cached_features(model, processor, examples, tmp_path / "cache")
    assert not list((tmp_path / "cache").glob("*.safetensors"))


def test_features_and_images_give_the_same_logits(
    counted: Any, examples: list[EmotionExample], tmp_path: Path
) -> None:
    model, processor, _ = counted
    source = ImageSource("x", MIKELS, torch.eye(8)[:5], examples=examples)
    from_images = source_logits(model, processor, source)
    source.features = cached_features(model, processor, examples, tmp_path / "cache")
    torch.testing.assert_close(source_logits(model, processor, source), from_images, rtol=1e-4, atol=1e-5)
    assert from_images.std(0).max() > 1e-3  # the images matter


def test_views_are_the_image_its_mirror_and_crops(pictures: list[Path]) -> None:
    image = Image.open(pictures[0]).convert("RGB")
    assert augmented_view(image, 0, "a") is image
    assert np.array_equal(np.asarray(augmented_view(image, 1, "a")), np.asarray(image)[:, ::-1])
    for view in range(2, 30):
        crop = augmented_view(image, view, "a")
        share = crop.width * crop.height / (image.width * image.height)
        assert 0.25 < share <= 1  # 40 to 100 %, less where the stretch meets the border
        assert crop.tobytes() == augmented_view(image, view, "a").tobytes()
    assert augmented_view(Image.new("RGB", (1, 1)), 2, "a").size == (1, 1)

"""Captions on disk: written once, for good, whatever stops the run."""

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from tiny_captioners import build_captioner_model

from iec_hub.data import EmotionExample
from iec_hub.emotions import EMOTION_MODELS
from iec_hub.errors import DataError
from iec_hub.finetuning.caption_cache import cached_captions
from iec_hub.images import open_image

MODEL = EMOTION_MODELS["mikels8"]
SHORT = {"caption_generation": {"max_new_tokens": 6, "num_beams": 1}}


def example(image: Any, origin: str = "") -> EmotionExample:
    return EmotionExample(image, MODEL, MODEL.distribution([1] * 8), origin=origin)


@pytest.fixture
def examples(pictures: list[Path], tmp_path: Path) -> list[EmotionExample]:
    found = []
    for i, path in enumerate(pictures[:5]):
        shutil.copyfile(path, tmp_path / f"{i}.jpg")
        found.append(example(tmp_path / f"{i}.jpg", f"row {i}"))
    return found


@pytest.fixture
def build(tiny_tokenizer: Any, monkeypatch: pytest.MonkeyPatch) -> Callable[..., tuple[Any, Any, list[int]]]:
    """`build(kind) -> (model, processor, images for which it generated, call by call)`."""

    def counted(kind: str = "blip", **fields: Any) -> tuple[Any, Any, list[int]]:
        model, processor = build_captioner_model(tiny_tokenizer, kind, **(SHORT | fields))
        calls: list[int] = []
        generate = type(model).generate_caption

        def count(processor: Any, pixels: torch.Tensor, **settings: Any) -> Any:
            calls.append(len(pixels))
            return generate(model, processor, pixels, **settings)

        model.generate_caption = count
        return model, processor, calls

    return counted


@pytest.mark.parametrize("kind", ["blip", "git"])
def test_captions_are_the_models_own_and_written_once(
    kind: str, build: Callable[..., Any], examples: list[EmotionExample], tmp_path: Path
) -> None:
    model, processor, calls = build(kind)
    looks: list[int] = []
    tower = model.captioner.vision_model if kind == "blip" else model.captioner.git.image_encoder
    tower.register_forward_hook(lambda module, inputs, output: looks.append(1))
    captions = cached_captions(model, processor, examples, tmp_path / "cache", batch_size=2)
    assert calls == [2, 2, 1] and len(looks) == 3
    pixels = processor(images=[e.open(max_side=512) for e in examples])["pixel_values"]
    assert captions == type(model).generate_caption(model, processor, pixels)[0]
    assert len(set(captions)) > 1
    again = cached_captions(model, processor, examples[::-1], tmp_path / "cache", batch_size=2)
    assert again == captions[::-1] and calls == [2, 2, 1]
    assert cached_captions(model, processor, examples, None, batch_size=5) == captions
    assert calls == [2, 2, 1, 5]


def test_data_sets_share_a_file_that_tells_no_paths(
    build: Callable[..., Any], examples: list[EmotionExample], tmp_path: Path
) -> None:
    model, processor, calls = build()
    first = cached_captions(model, processor, examples[:3], tmp_path / "cache")
    picture = open_image(examples[4].image)
    second = cached_captions(model, processor, [*examples[2:], example(picture), examples[4]], tmp_path / "cache")
    assert calls == [3, 3] and second[0] == first[2] and second[2] == second[4]
    cached_captions(model, processor, [example(picture.copy())], tmp_path / "cache")
    assert calls == [3, 3], "a picture in memory is known by its content"
    (file,) = (tmp_path / "cache").iterdir()
    lines = file.read_text(encoding="utf-8").splitlines()
    assert len(lines) == 6 and all(set(json.loads(line)) == {"image", "caption"} for line in lines)
    assert str(tmp_path) not in file.read_text(encoding="utf-8") and ".jpg" not in "".join(lines)


def test_a_killed_run_goes_on(build: Callable[..., Any], examples: list[EmotionExample], tmp_path: Path) -> None:
    model, processor, calls = build()
    expected = cached_captions(model, processor, examples, None, batch_size=1)
    calls.clear()
    generate = model.generate_caption

    def killed(*arguments: Any, **settings: Any) -> Any:
        (file,) = (tmp_path / "cache").iterdir()
        assert file.read_bytes().count(b"\n") == len(calls), "a run killed here would lose nothing"
        if len(calls) == 3:
            raise KeyboardInterrupt
        return generate(*arguments, **settings)

    model.generate_caption = killed
    model.train()
    with pytest.raises(KeyboardInterrupt):
        cached_captions(model, processor, examples, tmp_path / "cache", batch_size=1)
    assert model.training
    (file,) = (tmp_path / "cache").iterdir()
    written = file.read_bytes()
    assert written.count(b"\n") == 3
    # Killed in the middle of a line.
    file.write_bytes(written[:-7])
    calls.clear()
    model.generate_caption = generate
    assert cached_captions(model, processor, examples, tmp_path / "cache", batch_size=1) == expected
    assert calls == [1, 1, 1]
    assert cached_captions(model, processor, examples, tmp_path / "cache", batch_size=1) == expected
    assert calls == [1, 1, 1]
    file.write_bytes(b'\xff\xfe\n[1]\n"a"\n{"image": 1, "caption": 2}\n' + file.read_bytes())
    assert cached_captions(model, processor, examples, tmp_path / "cache") == expected and len(calls) == 3


def test_other_weights_settings_or_pixels_have_captions_of_their_own(
    build: Callable[..., Any], examples: list[EmotionExample], tmp_path: Path
) -> None:
    model, processor, calls = build()
    cache, few = tmp_path / "cache", examples[:1]

    def files_after(**generation: Any) -> int:
        cached_captions(model, processor, few, cache, **generation)
        return len(list(cache.iterdir()))

    assert files_after() == 1 and files_after(max_new_tokens=2) == 2
    model.config.caption_generation = {"max_new_tokens": 4}
    assert files_after() == 3
    processor.image_processor.do_normalize = False
    assert files_after() == 4
    with torch.no_grad():
        model.captioner.text_decoder.cls.predictions.bias[7] += 1
    assert files_after() == 5 and files_after(max_new_tokens=2) == 6
    with torch.no_grad():
        model.classifier.weight.add_(1)
    assert files_after() == 6, "what does not write captions does not matter"
    model.to(torch.bfloat16)
    assert files_after() == 7
    shutil.copyfile(examples[3].image, few[0].image)
    calls.clear()
    assert files_after() == 7 and calls == [1], "another picture in the same file"


def test_a_saved_model_finds_its_captions(
    build: Callable[..., Any], examples: list[EmotionExample], tmp_path: Path
) -> None:
    from iec_hub.models.escnet import EscnetForImageEmotion, EscnetProcessor

    model, processor, _ = build()
    expected = cached_captions(model, processor, examples, tmp_path / "cache")
    del model.generate_caption
    model.save_pretrained(tmp_path / "model")
    processor.save_pretrained(tmp_path / "model")
    loaded = EscnetForImageEmotion.from_pretrained(tmp_path / "model")
    again = EscnetProcessor.from_pretrained(tmp_path / "model").adopt(loaded.config)
    assert cached_captions(loaded, again, examples, tmp_path / "cache") == expected
    assert len(list((tmp_path / "cache").iterdir())) == 1


def test_broken_images_have_no_caption_and_stop_nothing(
    build: Callable[..., Any], examples: list[EmotionExample], tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    model, processor, calls = build()
    whole = examples[1].image.read_bytes()
    expected = cached_captions(model, processor, examples, None)
    examples[1].image.write_bytes(whole[:300])
    examples[3].image.unlink()
    calls.clear()
    captions = cached_captions(model, processor, examples, tmp_path / "cache", batch_size=1, description="few")
    assert captions == [expected[0], "", expected[2], "", expected[4]] and calls == [1, 1, 1]
    warnings = [record.getMessage() for record in caplog.records if record.name.endswith("caption_cache")]
    assert len(warnings) == 1 and warnings[0].startswith("few: 2 images have no caption; the first: row 3: ")
    examples[1].image.write_bytes(whole)
    assert cached_captions(model, processor, examples[:3], tmp_path / "cache") == expected[:3]
    assert calls == [1, 1, 1, 1]
    bad = [example(examples[3].image, "row 3")]
    assert cached_captions(model, processor, bad, None) == [""]


def test_only_generators_are_asked(build: Callable[..., Any], examples: list[EmotionExample], tmp_path: Path) -> None:
    model, processor, _ = build()
    model.captioner = None
    with pytest.raises(DataError, match=r"^Only a generator's captions are kept on disk; [^\n]*\.$"):
        cached_captions(model, processor, examples, tmp_path / "cache")
    assert not (tmp_path / "cache").exists()

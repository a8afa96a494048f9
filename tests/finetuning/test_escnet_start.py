"""Where training over images starts, and what it leaves alone."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from safetensors.torch import load_file

from iec_hub.emotions import get_emotion_model
from iec_hub.finetuning import escnet_command
from iec_hub.finetuning.escnet_start import labelled_captions, start_from_probes
from iec_hub.finetuning.measuring import feature_logits
from iec_hub.finetuning.training_data import ImageSource
from tests.models.tiny_parts import build_escnet

EKMAN = get_emotion_model("ekman7")


def a_source(model: Any, images: int = 40, name: str = "mine") -> ImageSource:
    """Random features whose first channel says whether a picture is joyful; every caption names the other half."""
    generator = torch.Generator().manual_seed(images)
    width = model.fusion.image_input.in_features
    pooled = torch.randn(2, images, model.image_classifier.in_features, generator=generator)
    joyful = pooled[0, :, 0] > 0
    pooled[:, :, 0] *= 30
    pooled[1] = pooled[0]
    labels = [EKMAN.distribution("joy" if yes else "fear") for yes in joyful]
    captions = [["A photo of a lamp." if yes else "A dark photo." for yes in joyful]] * 2
    tokens = torch.randn(2, images, 4, width, generator=generator)
    return ImageSource(name, EKMAN, torch.tensor(np.array(labels)).float(), pooled, tokens=tokens, captions=captions)


def read(model: Any, processor: Any, source: ImageSource, visible: bool) -> torch.Tensor:
    return feature_logits(
        model, processor, source.features[0], EKMAN, visible, tokens=source.tokens[0], captions=source.captions[0]
    )


def test_an_image_says_what_its_probe_says_when_captions_have_no_share() -> None:
    model, processor = build_escnet()
    train, validation = a_source(model), a_source(model, 20)
    others = model.classifier.weight[model.config.label_columns["mikels8"]].clone()
    chosen = start_from_probes(model, [train], [validation], caption_weight=0.0)
    assert chosen["mine"]["strength"] > 0
    logits = read(model, processor, train, visible=True)
    torch.testing.assert_close(logits, train.teacher(train.features[0]), atol=1e-4, rtol=1e-4)
    assert (logits.argmax(1) == train.distributions.argmax(1)).float().mean() > 0.8
    # What was not asked for stays as it was.
    assert torch.equal(model.classifier.weight[model.config.label_columns["mikels8"]], others)


def test_a_caption_adds_its_share_in_log_space() -> None:
    model, processor = build_escnet()
    train, validation = a_source(model), a_source(model, 20)
    size = model.config.fusion_size
    with torch.no_grad():  # what only the tokens' part has learned
        model.classifier.weight[:, :size] = 0
        model.classifier.weight[:, 2 * size :] = 0
    before = read(model, processor, train, visible=False)
    start_from_probes(model, [train], [validation], caption_weight=0.4)
    told = read(model, processor, train, visible=False) - train.teacher.probe.bias
    torch.testing.assert_close(told, 0.4 * before, atol=1e-4, rtol=1e-4)


def test_without_captions_the_probe_stands_alone() -> None:
    model, processor = build_escnet(use_captions=False)
    train, validation = a_source(model), a_source(model, 20)
    start_from_probes(model, [train], [validation], caption_weight=0.4)
    logits = feature_logits(model, processor, train.features[0], EKMAN, tokens=train.tokens[0])
    torch.testing.assert_close(logits, train.teacher(train.features[0]), atol=1e-4, rtol=1e-4)


def test_labelled_captions_are_every_wording_of_every_image() -> None:
    model, _ = build_escnet()
    source = a_source(model, 3)
    source.captions = [["A.", "B.", "C."], ["a.", "b.", "c."]]
    (texts,) = labelled_captions([source], times=2)
    assert texts.captions == [["A.", "a."], ["B.", "b."], ["C.", "c."]] * 2
    assert torch.equal(texts.distributions, source.distributions.repeat(2, 1))
    assert labelled_captions([source], times=0) == []
    assert labelled_captions([ImageSource("none", EKMAN, source.distributions)], times=2) == []


def test_training_leaves_the_probes_alone(escnet_line: Callable[..., list[str]], tmp_path: Path) -> None:
    settings = {"learning_rate": 0.1, "grounding_epochs": 1}
    escnet_command.main(escnet_line(tmp_path / "none", num_train_epochs=0.01, **settings))
    escnet_command.main(escnet_line(tmp_path / "two", num_train_epochs=2, **settings))
    start, end = (load_file(tmp_path / name / "model.safetensors") for name in ("none", "two"))
    assert torch.equal(start["image_classifier.weight"], end["image_classifier.weight"])
    assert start["image_classifier.weight"].abs().sum() > 0
    assert not torch.equal(start["classifier.weight"], end["classifier.weight"])


def test_a_continued_model_keeps_what_it_knew(
    escnet_line: Callable[..., list[str]], data_folders: tuple[Path, Path], tmp_path: Path
) -> None:
    first, second = (str(folder) for folder in data_folders)
    escnet_command.main(escnet_line(tmp_path / "old", data=first, num_train_epochs=1, texts=None))
    known = load_file(tmp_path / "old" / "model.safetensors")["image_classifier.weight"]
    options = {"model": tmp_path / "old", "vision": None, "text": None, "config": None, "texts": None}
    escnet_command.main(escnet_line(tmp_path / "new", data=second, num_train_epochs=1, learning_rate=1e-6, **options))
    weights = load_file(tmp_path / "new" / "model.safetensors")["image_classifier.weight"]
    assert len(weights) == 15
    new = len(weights) - len(known)  # what is trained now comes first
    torch.testing.assert_close(weights[new:], known, atol=1e-5, rtol=1e-3)  # trained on, by a tiny step
    assert weights[:new].abs().sum() > 0


@pytest.mark.parametrize("option", ["caption_weight", "grounding_epochs", "labelled_captions"])
def test_a_negative_setting_is_refused(escnet_line: Callable[..., list[str]], tmp_path: Path, option: str) -> None:
    with pytest.raises(escnet_command.DataError, match=f"^--{option} is -1"):
        escnet_command.main(escnet_line(tmp_path / "run", **{option: -1}))

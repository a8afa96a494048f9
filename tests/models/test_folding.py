"""Towers that are folded to serve: the same features and heat maps, less to compute, one tower for those alike."""

import copy
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from tiny_parts import SIDE, tower_config
from torch import nn
from transformers import AutoConfig, AutoModel

from iec_hub.models import image_emotion
from iec_hub.models.folding import folded_tower, prepare_to_serve
from iec_hub.models.image_emotion import read_vision
from iec_hub.predictor import EmotionPredictor

LAYERS = (1, 2)
PICTURES = Path(__file__).parents[1] / "fixtures" / "coco_cc_by"


def tower(name: str = "efficientnet", identity: bool = False) -> Any:
    """A tiny tower whose normalisations have statistics; `identity` where squeeze-and-excitation shall do nothing."""
    torch.manual_seed(0)
    built = AutoModel.from_config(AutoConfig.for_model(**tower_config(name))).eval()
    for part in built.modules():
        if isinstance(part, nn.BatchNorm2d):
            part.running_mean.normal_()
            part.running_var.uniform_(0.5, 2.0)
            nn.init.uniform_(part.weight, 0.5, 1.5)
            nn.init.normal_(part.bias)
        if identity and type(part).__name__ == "EfficientNetSqueezeExciteLayer":
            nn.init.zeros_(part.expand.weight)
            nn.init.constant_(part.expand.bias, 40.0)
    return built


def gradients(of: nn.Module, pixels: torch.Tensor) -> tuple[torch.Tensor, ...]:
    features = read_vision(of, pixels.clone().requires_grad_(), LAYERS, evidence=True)
    return torch.autograd.grad(features.pooled.square().sum(), features.evidence)


@pytest.mark.parametrize("identity", [False, True])
def test_a_folded_tower_has_the_same_features_and_gradients(identity: bool) -> None:
    plain, pixels = tower(identity=identity), torch.rand(2, 3, SIDE, SIDE)
    before = copy.deepcopy(plain.state_dict())
    folded = folded_tower(plain)
    kinds = [type(part).__name__ for part in folded.modules()]
    assert "BatchNorm2d" not in kinds and ("EfficientNetSqueezeExciteLayer" in kinds) is not identity
    with torch.inference_mode():
        expected, found = read_vision(plain, pixels, LAYERS), read_vision(folded, pixels, LAYERS)
    for ours, theirs in ((found.pooled, expected.pooled), (found.tokens, expected.tokens)):
        torch.testing.assert_close(ours, theirs, rtol=1e-4, atol=1e-5 * float(theirs.abs().max()))
    for ours, theirs in zip(gradients(folded, pixels), gradients(plain, pixels), strict=True):
        torch.testing.assert_close(ours, theirs, rtol=1e-3, atol=1e-4 * float(theirs.abs().max()))
    # What was given can still be trained and saved.
    assert all(torch.equal(value, before[name]) for name, value in plain.state_dict().items())
    assert all(parameter.requires_grad for parameter in plain.parameters())


def test_an_early_layer_is_told_by_its_mean_and_deviation() -> None:
    plain = tower()
    with torch.no_grad():
        hidden = plain(torch.rand(2, 3, SIDE, SIDE), output_hidden_states=True).hidden_states[1]
    values = hidden.clone()
    values[:, 0] = 0.25  # a channel without any deviation, whose root has no gradient
    values.requires_grad_()
    found = image_emotion._statistics(values, 1.0)
    deviation, mean = torch.std_mean(values, dim=(2, 3))
    told = (found, torch.cat([mean, deviation], dim=-1))
    torch.testing.assert_close(*told, rtol=1e-5, atol=1e-6)
    ours, theirs = (torch.autograd.grad(each.square().sum(), values)[0] for each in told)
    torch.testing.assert_close(ours, theirs, rtol=1e-4, atol=1e-6)


def test_what_is_not_known_or_not_exact_stays_as_it_is() -> None:
    assert folded_tower(other := tower("convnext")) is other
    assert folded_tower(half := tower().to(torch.bfloat16)) is half
    wrapped = tower()
    first = wrapped.encoder.blocks[0].projection
    first.project_conv = nn.Sequential(first.project_conv)  # as an adapter wraps it
    assert isinstance(folded_tower(wrapped).encoder.blocks[0].projection.project_bn, nn.BatchNorm2d)


class _Model(nn.Module):
    def __init__(self, vision_model: nn.Module):
        super().__init__()
        self.vision_model = vision_model


def test_towers_that_are_alike_become_one_and_others_do_not() -> None:
    plain, changed, adapted = tower(), tower(), tower()
    with torch.no_grad():
        changed.encoder.top_bn.bias[0] += 1e-3
    adapted.encoder.top_conv.register_parameter("lora_A", nn.Parameter(torch.zeros(1)))
    models = [_Model(part) for part in (plain, copy.deepcopy(plain), changed, adapted, copy.deepcopy(adapted))]
    prepare_to_serve(models)
    towers = [model.vision_model for model in models]
    assert towers[0] is towers[1] and len(set(map(id, towers))) == 4
    assert not any(parameter.requires_grad for model in models for parameter in model.parameters())


def test_a_served_tower_sees_few_images_at_once_unless_evidence_is_asked_for() -> None:
    model = EmotionPredictor.from_pretrained("ugrie-mini", device="cpu").model
    pixels = torch.rand(5, 3, 64, 64)
    with torch.inference_mode():
        whole = model.get_image_features(pixels)
    prepare_to_serve([model])
    seen: list[int] = []
    model.vision_model.register_forward_pre_hook(
        lambda _, args, given: seen.append(len(given["pixel_values"])), with_kwargs=True
    )
    with torch.inference_mode():
        found = model.get_image_features(pixels)
    assert sum(seen) == 5 and max(seen) < 5
    assert found.aspect == whole.aspect and found.grid == whole.grid
    for name in ("pooled", "tokens", "hidden"):
        theirs = getattr(whole, name)
        torch.testing.assert_close(getattr(found, name), theirs, rtol=1e-4, atol=1e-5 * float(theirs.abs().max()))
    # A heat map is of one graph, from all of the batch's scores back to all of its images.
    assert len(model.get_image_features(pixels.requires_grad_(), evidence=True).evidence[0]) == 5 == seen[-1]


def test_served_models_answer_as_before() -> None:
    names = ("ugrie-mini", "escnet-mini", "aciec-mini")
    predictors = [EmotionPredictor.from_pretrained(name, device="cpu") for name in names]
    first, second, *_ = sorted(PICTURES.glob("*.jpg"))
    asked = ([first, second], [first, second], [second])  # leaving out word after word takes the last one long
    before = [predictor.predict(files, evidence=True) for predictor, files in zip(predictors, asked, strict=True)]
    prepare_to_serve(predictor.model for predictor in predictors)
    assert len({id(predictor.model.vision_model) for predictor in predictors}) == 1
    for predictor, files, expected in zip(predictors, asked, before, strict=True):
        for ours, theirs in zip(predictor.predict(files, evidence=True), expected, strict=True):
            assert ours.probabilities == pytest.approx(theirs.probabilities, abs=1e-5)
            # A gradient passes a rectifier or does not: where its input is all but 0, rounding decides.
            apart = np.abs(ours.evidence.regions - theirs.evidence.regions)
            assert apart.max() < 5e-3 and np.median(apart) < 1e-4
            assert ours.captions == theirs.captions and ours.attributes == theirs.attributes
            shares = [{word.text: word.score for word in each.evidence.words or ()} for each in (ours, theirs)]
            assert shares[0] == pytest.approx(shares[1], abs=1e-3)

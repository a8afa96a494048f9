"""Stage 2 of ACIEC: feelings that images are told by have not been learned from these images."""

from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch.nn.functional import cosine_similarity, normalize, one_hot

from iec_hub.emotions import EMOTION_MODELS, EmotionModel
from iec_hub.evaluation.probe import LinearProbe
from iec_hub.finetuning import feeling_training
from iec_hub.finetuning.feeling_training import FOLDS, Opinion, SeenImages, folds, teach_feelings, text_feelings
from iec_hub.finetuning.training_data import ImageSource
from iec_hub.models.aciec import AciecForImageEmotion
from iec_hub.models.aciec.configuration_aciec import FEELING_ATTRIBUTES

MIKELS, EKMAN = EMOTION_MODELS["mikels8"], EMOTION_MODELS["ekman7"]
SIZE, CONCEPT_SIZE = 32, 16
ATTRIBUTE = "whole"


@pytest.fixture(autouse=True)
def one_strength(monkeypatch: pytest.MonkeyPatch) -> None:
    """Every strength costs a probe for every attribute."""
    monkeypatch.setattr(feeling_training, "STRENGTHS", (3e-2,))


@pytest.fixture
def model(build_tiny_aciec: Callable[..., tuple[Any, Any]]) -> AciecForImageEmotion:
    return build_tiny_aciec()[0]


def images(
    model: AciecForImageEmotion, emotion_model: EmotionModel, number: int = 80, views: int = 2, seed: int = 0
) -> SeenImages:
    """Images whose label the first channels of their normed features tell."""
    generator = torch.Generator().manual_seed(seed)
    features = 2 * torch.randn(views, number, SIZE, generator=generator)
    features[1:] = features[0] + 0.1 * features[1:]
    labels = model.feature_norm(features[0])[:, : len(emotion_model)].argmax(1)
    source = ImageSource("", emotion_model, one_hot(labels, len(emotion_model)).float(), features)
    embedded = normalize(torch.randn(views, number, CONCEPT_SIZE, generator=generator), dim=-1)
    return SeenImages(source, embedded, *torch.rand(2, number, generator=generator))


def relabelled(seen: SeenImages, rows: torch.Tensor) -> SeenImages:
    """The same images, some with the next label instead of their own."""
    labels = seen.source.distributions.clone()
    labels[rows] = labels[rows].roll(1, dims=1)
    source = ImageSource(seen.source.name, seen.source.emotion_model, labels, seen.source.features)
    return SeenImages(source, seen.embedded, seen.brightness, seen.colorfulness)


def spoken(model: AciecForImageEmotion, seen: SeenImages, view: int = 0) -> dict[str, torch.Tensor]:
    """What the reasoner itself says."""
    whole = model.feature_norm(seen.source.features[view])
    with torch.no_grad():
        return model.reasoner(whole, seen.embedded[view], seen.brightness, seen.colorfulness)


def test_folds_are_of_one_size_and_depend_on_the_seed() -> None:
    fold = folds(52, 3)
    assert sorted(fold.bincount().tolist()) == [10, 10, 10, 11, 11] and len(fold.unique()) == FOLDS
    assert torch.equal(fold, folds(52, 3)) and not torch.equal(fold, folds(52, 4))


def test_an_image_is_told_by_reasoners_that_never_saw_its_label(model: AciecForImageEmotion) -> None:
    place, own = model.config.label_columns["mikels8"], folds(80, 0) == 2
    clean, held_out = images(model, MIKELS), images(model, MIKELS, seed=1)
    changed = relabelled(clean, own)
    for train in (clean, changed):
        teach_feelings(model, [train], [held_out], {}, seed=0)
    for attribute in FEELING_ATTRIBUTES:
        first, second = clean.feelings[attribute][..., place], changed.feelings[attribute][..., place]
        assert first.shape == (2, 80, 8) and first.abs().sum() > 0
        assert torch.equal(first[:, own], second[:, own]), attribute
        assert not torch.allclose(first[:, ~own], second[:, ~own]), attribute


def test_wrong_labels_are_not_repeated_to_their_images(
    model: AciecForImageEmotion, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(feeling_training, "STRENGTHS", (5e-4, 3e-2, 1.0))
    wrong = torch.arange(80) % 6 == 0
    train, held_out = relabelled(images(model, MIKELS), wrong), images(model, MIKELS, seed=1)
    chosen = teach_feelings(model, [train], [held_out], {}, seed=0)
    assert set(chosen.values()) <= set(feeling_training.STRENGTHS) and len(chosen) == len(FEELING_ATTRIBUTES)
    place, labels = model.config.label_columns["mikels8"], train.source.distributions.bool()

    def belief(logits: torch.Tensor) -> float:
        return logits[..., place].softmax(-1)[labels][wrong].mean().item()

    for view in range(2):
        memorised, told = belief(spoken(model, train, view)[ATTRIBUTE]), belief(train.feelings[ATTRIBUTE][view])
        assert memorised > told + 0.1
    views = train.feelings[ATTRIBUTE][..., place].flatten(1)
    assert cosine_similarity(*views, dim=0) > 0.9, "the views are much alike"
    truth = train.source.distributions.roll(-1, dims=1)[wrong].argmax(1)
    assert (train.feelings[ATTRIBUTE][0][wrong][:, place].argmax(1) == truth).float().mean() > 0.5


def test_validation_is_told_by_the_reasoner_that_is_kept(model: AciecForImageEmotion) -> None:
    train = [images(model, MIKELS), images(model, EKMAN, number=60, seed=2)]
    held_out = [images(model, MIKELS, views=1, seed=3), images(model, EKMAN, number=40, views=1, seed=4)]
    teach_feelings(model, train, held_out, {}, seed=0)
    for seen in held_out:
        for attribute, logits in spoken(model, seen).items():
            torch.testing.assert_close(seen.feelings[attribute][0], logits, atol=1e-4, rtol=1e-4)


def test_data_sets_are_told_in_each_others_emotions(model: AciecForImageEmotion) -> None:
    train = [images(model, MIKELS), images(model, EKMAN, number=60, seed=2)]
    held_out = [images(model, MIKELS, seed=3), images(model, EKMAN, seed=4)]
    teach_feelings(model, train, held_out, {}, seed=0)
    columns = model.config.label_columns
    said = spoken(model, train[0], view=1)
    for attribute in FEELING_ATTRIBUTES:
        other, own = columns["ekman7"], columns["mikels8"]
        assert train[0].feelings[attribute].shape[-1] == 15
        # No image of Mikels' has taught Ekman's emotions, so the fitted head may tell them.
        torch.testing.assert_close(
            train[0].feelings[attribute][1][:, other], said[attribute][:, other], atol=1e-4, rtol=1e-4
        )
        assert not torch.allclose(train[0].feelings[attribute][1][:, own], said[attribute][:, own], atol=1e-3)
    accuracy = (
        (held_out[1].feelings[ATTRIBUTE][0][:, columns["ekman7"]].argmax(1))
        == held_out[1].source.distributions.argmax(1)
    ).float()
    assert accuracy.mean() > 0.5


def test_what_texts_taught_about_concepts_is_left_alone(model: AciecForImageEmotion) -> None:
    probe = LinearProbe()
    probe.weight, probe.bias = torch.randn(CONCEPT_SIZE, 8), torch.randn(8)
    weight, bias = probe.weight.clone(), probe.bias.clone()
    train, held_out = images(model, MIKELS), images(model, MIKELS, seed=1)
    chosen = teach_feelings(model, [train], [held_out], {"mikels8": probe}, seed=0)
    assert len(chosen) == len(FEELING_ATTRIBUTES) - 1 and not any("concepts" in name for name in chosen)
    place, layer = model.config.label_columns["mikels8"], model.reasoner.feelings["concepts"]
    assert torch.equal(layer.weight[place], weight.T) and torch.equal(layer.bias[place], bias)
    for seen in (train, held_out):
        torch.testing.assert_close(seen.feelings["concepts"][..., place], seen.embedded @ weight + bias)


def test_emotions_that_no_image_has_stay_as_they_were(model: AciecForImageEmotion) -> None:
    place = model.config.label_columns["ekman7"]
    before = {name: layer.weight[place].clone() for name, layer in model.reasoner.feelings.items()}
    teach_feelings(model, [images(model, MIKELS)], [images(model, MIKELS, seed=1)], {}, seed=0)
    assert all(torch.equal(model.reasoner.feelings[name].weight[place], was) for name, was in before.items())


def test_data_sets_of_one_emotion_model_are_refused(model: AciecForImageEmotion) -> None:
    with pytest.raises(ValueError, match="joined"):
        teach_feelings(model, [images(model, MIKELS)] * 2, [images(model, MIKELS)] * 2, {}, seed=0)


def test_descriptions_say_what_a_place_evokes() -> None:
    generator = torch.Generator().manual_seed(0)
    centres = torch.eye(CONCEPT_SIZE)[:8]
    labels = torch.randint(8, (400,), generator=generator)
    blur = 0.1 * torch.randn(400, CONCEPT_SIZE, generator=generator)
    embedded = normalize(centres[labels] + blur, dim=-1)
    probe = text_feelings(embedded, one_hot(labels, 8).float(), noise=0.5, seed=0)
    assert probe.logits(centres).argmax(1).tolist() == list(range(8))
    sure, unsure = (
        text_feelings(embedded, one_hot(labels, 8).float(), noise=noise, seed=0).logits(centres).softmax(-1).amax(1)
        for noise in (0.0, 4.0)
    )
    assert (sure > unsure).all(), "more blur leaves more doubt"
    again = text_feelings(embedded, one_hot(labels, 8).float(), noise=0.5, seed=0)
    assert torch.equal(probe.weight, again.weight)


@pytest.mark.parametrize("informative", ["scene", "whole", "brightness"])
def test_an_opinion_listens_to_the_attribute_that_knows(informative: str) -> None:
    generator, place = torch.Generator().manual_seed(0), slice(3, 11)
    labels = one_hot(torch.randint(8, (600,), generator=generator), 8).float()
    feelings = {name: torch.randn(2, 600, 15, generator=generator) for name in FEELING_ATTRIBUTES}
    feelings[informative][..., place] += 2 * labels
    opinion = Opinion.fit(feelings, place, labels)
    weights = dict(zip(FEELING_ATTRIBUTES, opinion.weights.tolist(), strict=True))
    assert weights.pop(informative) > 0.6 and max(map(abs, weights.values())) < 0.35
    right = opinion.logits(feelings, place).argmax(-1) == labels.argmax(-1)
    assert right.shape == (2, 600) and right.float().mean() > 0.6


def test_an_opinion_is_a_weighted_product_of_distributions() -> None:
    generator, place = torch.Generator().manual_seed(0), slice(0, 4)
    feelings = {name: torch.randn(5, 4, generator=generator) for name in FEELING_ATTRIBUTES}
    weights, bias = torch.rand(len(feelings), generator=generator), torch.randn(4, generator=generator)
    product = bias.exp() * torch.ones(5, 4)
    for name, weight in zip(FEELING_ATTRIBUTES, weights, strict=True):
        product = product * feelings[name].softmax(-1) ** weight
    found = Opinion(weights, bias).logits(feelings, place).softmax(-1)
    torch.testing.assert_close(found, product / product.sum(-1, keepdim=True))

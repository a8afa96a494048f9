"""Stage 2 of ACIEC's small reasoner: what each attribute of an image evokes.

A reasoner that speaks about the images it has learned from sounds surer than it ever will again. So the images that
the text classifier is to learn from are told by reasoners that have not seen them: one per fold.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import torch
from torch import nn

from iec_hub.evaluation.probe import LinearProbe
from iec_hub.finetuning.training_data import ImageSource
from iec_hub.models.aciec import AciecForImageEmotion
from iec_hub.models.aciec.configuration_aciec import FEELING_ATTRIBUTES

FOLDS = 5
# From many normed features to a few unit ones.
STRENGTHS = (5e-4, 2e-3, 3e-2, 1.0, 100.0)
TEXT_STRENGTH = 250.0  # of feelings that texts teach; unit vectors need a larger one than normed features


@dataclass
class SeenImages:
    """Images of one data set as the reasoner sees them.

    Attributes:
        source: labels and cached features `(views, images, pooled size)`.
        embedded: `(views, images, concept size)`, by detectors that have not learned from the image.
        brightness, colorfulness: `(images,)`.
        feelings: attribute to logits `(views, images, columns)`, by reasoners that have not learned from the image.
    """

    source: ImageSource
    embedded: torch.Tensor
    brightness: torch.Tensor
    colorfulness: torch.Tensor
    feelings: dict[str, torch.Tensor] = field(default_factory=dict)


def folds(images: int, seed: int) -> torch.Tensor:
    """Which fold each image is held out in, `(images,)`."""
    return torch.randperm(images, generator=torch.Generator().manual_seed(seed)) % FOLDS


@torch.no_grad()
def attribute_inputs(model: AciecForImageEmotion, images: SeenImages, attribute: str) -> torch.Tensor:
    """What the feeling of an attribute is told from, `(views, images, width)`."""
    light, colour = images.brightness, images.colorfulness
    views = []
    for pooled, embedded in zip(images.source.features, images.embedded, strict=True):
        whole = model.feature_norm(pooled.float())
        views.append(model.reasoner.inputs(attribute, whole, embedded, light, colour).float())
    return torch.stack(views)


@torch.no_grad()
def teach_feelings(
    model: AciecForImageEmotion,
    train: Sequence[SeenImages],
    validation: Sequence[SeenImages],
    taught: Mapping[str, LinearProbe],
    seed: int,
) -> dict[str, float]:
    """Fit the feelings of every attribute and fill `train[i].feelings` by folds; `validation` by what was fitted.

    Args:
        taught: emotion model name to what texts say about the space of concepts; images then leave that alone.
        seed: of the folds.

    Returns:
        The strengths that validation chose, by attribute and data set.
    """
    chosen: dict[str, float] = {}
    columns = model.config.label_columns
    told = {images.source.emotion_model.name for images in train}
    if len(told) != len(train):
        raise ValueError("Data sets of one emotion model have to be joined before")
    size = sum(part.stop - part.start for part in columns.values())
    for images in (*train, *validation):
        shape = (*images.source.features.shape[:2], size)
        images.feelings = {name: torch.zeros(shape) for name in FEELING_ATTRIBUTES}
    for attribute in FEELING_ATTRIBUTES:
        layer = model.reasoner.feelings[attribute]
        inputs = {id(images): attribute_inputs(model, images, attribute) for images in (*train, *validation)}
        for images, held_out in zip(train, validation, strict=True):
            place = columns[images.source.emotion_model.name]
            of_texts = taught.get(images.source.emotion_model.name) if attribute == "concepts" else None
            seen, labels = inputs[id(images)], images.source.distributions
            probe = of_texts or _chosen(seen, labels, inputs[id(held_out)][0], held_out.source.distributions)
            if of_texts is None:
                chosen[f"{attribute} {images.source.name}"] = probe.strength
            _install(layer, probe, place)
            for other in (*train, *validation):
                other.feelings[attribute][..., place] = probe.logits(inputs[id(other)])
            if of_texts is None:
                images.feelings[attribute][..., place] = _by_folds(seen, labels, probe.strength, seed)
    return chosen


def _chosen(
    seen: torch.Tensor, labels: torch.Tensor, held_out: torch.Tensor, held_out_labels: torch.Tensor
) -> LinearProbe:
    return LinearProbe.select(
        seen.flatten(0, 1), labels.repeat(len(seen), 1), held_out, held_out_labels, strengths=STRENGTHS
    )


def _by_folds(seen: torch.Tensor, labels: torch.Tensor, strength: float, seed: int) -> torch.Tensor:
    fold, logits = folds(len(labels), seed), torch.zeros(*seen.shape[:2], labels.shape[1])
    for number in fold.unique().tolist():
        rest, own = fold != number, fold == number
        probe = LinearProbe(strength).fit(seen[:, rest].flatten(0, 1), labels[rest].repeat(len(seen), 1))
        logits[:, own] = probe.logits(seen[:, own])
    return logits


def _install(layer: nn.Linear, probe: LinearProbe, place: slice) -> None:
    layer.weight[place] = probe.weight.T.to(layer.weight)
    layer.bias[place] = probe.bias.to(layer.bias)


@torch.no_grad()
def text_feelings(
    embedded: torch.Tensor, distributions: torch.Tensor, noise: float, seed: int, times: int = 2
) -> LinearProbe:
    """What descriptions say about the space of concepts: a probe of their places, each blurred `times` over.

    Args:
        embedded: unit vectors `(descriptions, concept size)`; `noise`: length of the random vector added to them.
    """
    generator = torch.Generator().manual_seed(seed)
    copies = []
    for _ in range(times):
        blur = torch.randn(embedded.shape, generator=generator) * noise / embedded.shape[1] ** 0.5
        copies.append(nn.functional.normalize(embedded + blur, dim=-1))
    return LinearProbe(TEXT_STRENGTH).fit(torch.cat(copies), distributions.repeat(times, 1))


@dataclass(frozen=True)
class Opinion:
    """All that the reasoner feels about an image as one distribution: a weighted product of its attributes' ones.

    It teaches the text classifier what the reasoner's words amount to together, and speaks for images without votes.

    Attributes:
        weights: one per attribute; `bias`: one per label.
    """

    weights: torch.Tensor
    bias: torch.Tensor

    def logits(self, feelings: Mapping[str, torch.Tensor], place: slice) -> torch.Tensor:
        """`(..., labels)` from logits of the attributes `(..., columns)`."""
        voices = torch.stack([feelings[name][..., place].log_softmax(-1) for name in FEELING_ATTRIBUTES], dim=-1)
        return voices @ self.weights + self.bias

    @classmethod
    def fit(
        cls, feelings: Mapping[str, torch.Tensor], place: slice, labels: torch.Tensor, pull: float = 0.02
    ) -> Opinion:
        """Fit to votes `(images, labels)`; `pull` holds the weights near what a plain probe would say."""
        start = torch.tensor([0.7 if name == "whole" else 0.1 for name in FEELING_ATTRIBUTES])
        weights, bias = start.clone().requires_grad_(), torch.zeros(labels.shape[1], requires_grad=True)
        first = {name: logits[0] for name, logits in feelings.items()}
        optimizer = torch.optim.LBFGS([weights, bias], max_iter=60, line_search_fn="strong_wolfe")

        def closure() -> torch.Tensor:
            optimizer.zero_grad()
            said = cls(weights, bias).logits(first, place).log_softmax(-1)
            loss = -(labels * said).sum(-1).mean() + pull * ((weights - start).pow(2).sum() + bias.pow(2).sum())
            loss.backward()
            return loss

        with torch.enable_grad():
            optimizer.step(closure)
        return cls(weights.detach(), bias.detach())


__all__ = ["FOLDS", "Opinion", "SeenImages", "attribute_inputs", "folds", "teach_feelings", "text_feelings"]

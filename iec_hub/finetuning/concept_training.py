"""Stage 1 of ACIEC: which concepts texts and images go with, by the hierarchical multi-level contrastive loss.

1. Descriptions without images (tags) that come with concepts and an emotion teach a map of sentence embeddings and the
   concepts' own embeddings: concepts that evoke the same come to lie together.
2. Images are placed among descriptions (:mod:`iec_hub.finetuning.teaching`); the detector's projection is fitted to
   those places in closed form.
3. Labelled images, some of them with concepts, go on with the same loss; here the embeddings of concepts stay.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import nn
from torch.nn import functional as F  # noqa: N812  the field's name for it
from tqdm.auto import tqdm

from iec_hub.affect.concepts import POLARITIES, ConceptVocabulary
from iec_hub.emotions import EmotionModel
from iec_hub.errors import DataError
from iec_hub.losses import level_pairs, multi_level_contrastive_loss
from iec_hub.models.aciec.concepts_aciec import ConceptDetector

_HELD_OUT = 10  # every tenth description chooses scale and prior
_CONCEPT = 2  # the finest of the levels polarity, emotion, concept


@dataclass(frozen=True)
class ConceptRecipe:
    """How concepts are taught.

    Attributes:
        epochs, learning_rate, batch_size: over descriptions.
        noise: length of the random vector that is added to a description's embedding, so that images, which lie
            beside descriptions, are understood too.
        temperature, constraint, levels: of [`multi_level_contrastive_loss`]; levels `(-1,)` is the flat loss.
        image_epochs, image_learning_rate: over labelled images.
        ridge: of the projection's closed form.
    """

    epochs: int = 15
    learning_rate: float = 2e-3
    batch_size: int = 256
    noise: float = 1.5
    temperature: float = 0.05
    constraint: str | None = None
    levels: tuple[int, ...] | None = None
    image_epochs: int = 10
    image_learning_rate: float = 1e-4
    ridge: float = 1e4
    seed: int = 0


@dataclass(frozen=True)
class DescribedConcepts:
    """Items with concepts: descriptions or images.

    Attributes:
        places: `(items, width)`, or `(views, items, width)` for images: what the query side reads.
        concepts: per item, places of its concepts in the vocabulary; empty where none are known.
        emotions: `(items,)`, label of each item, -1 where it is not known.
    """

    places: torch.Tensor
    concepts: Sequence[Sequence[int]]
    emotions: torch.Tensor

    def has_concept(self, number: int) -> torch.Tensor:
        """`(items, concepts)` bool."""
        table = torch.zeros(len(self.concepts), number, dtype=torch.bool)
        for row, places in enumerate(self.concepts):
            table[row, list(places)] = True
        return table


class ConceptLevels:
    """The hierarchy as the loss needs it: which concepts are an item's positives at every level.

    Args:
        vocabulary: with learned polarities and emotions.
        emotion_model: whose labels those are.
    """

    def __init__(self, vocabulary: ConceptVocabulary, emotion_model: EmotionModel):
        self.of_concepts = torch.from_numpy(vocabulary.levels(emotion_model))
        self.labels, names = emotion_model.labels, POLARITIES
        polarities = [names.index(p) if p in names else -1 for p in emotion_model.polarities]
        self.polarity_of = torch.tensor([*polarities, -1])  # the last one for unknown emotions

    def known_labels(self, emotion_model: EmotionModel) -> torch.Tensor:
        """The hierarchy's id of every label of an emotion model, -1 where it has no such label."""
        return torch.tensor([self.labels.index(x) if x in self.labels else -1 for x in emotion_model.labels])

    def pairs(self, has_concept: torch.Tensor, emotions: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        """Positives and candidates `(3, items, concepts)`, polarity, emotion and concept.

        An item and a concept go together at the upper levels where the item's own emotion is the concept's, or of its
        polarity; at the lowest one where the item has the concept, and then at all levels. An item whose concepts are
        not known says nothing at the lowest level.
        """
        items = torch.stack([self.polarity_of[emotions], emotions, torch.full_like(emotions, -1)], dim=1)
        same, candidates = level_pairs(items, self.of_concepts)
        known = has_concept.any(1, keepdim=True)
        positives = torch.stack([same[0] | has_concept, same[1] | has_concept, has_concept])
        candidates = torch.stack([candidates[0], candidates[1], known.expand_as(has_concept)])
        return positives, candidates | positives


def teach_concepts(
    detector: ConceptDetector,
    names: torch.Tensor,
    descriptions: DescribedConcepts,
    levels: ConceptLevels,
    recipe: ConceptRecipe,
) -> tuple[torch.Tensor, dict[str, float]]:
    """Step 1: set the detector's embeddings, scale and prior from descriptions.

    Args:
        names: `(concepts, width)`, sentence embeddings of the concepts' names.

    Returns:
        The map `(width, concept size)` from sentence embeddings to the space of concepts, and what was measured.

    Raises:
        DataError: if the widths do not agree.
    """
    size = detector.embeddings.shape[1]
    if names.shape[1] != size:
        raise DataError(f"Concepts are embedded in {names.shape[1]} numbers; set concept_size to that, not to {size}.")
    generator = torch.Generator().manual_seed(recipe.seed)
    query, key = (nn.Linear(size, size, bias=False) for _ in range(2))
    for layer in (query, key):
        nn.init.eye_(layer.weight)
    own = nn.Parameter(torch.zeros_like(names))
    parameters = [*query.parameters(), *key.parameters(), own]
    held_out = torch.arange(len(descriptions.concepts)) % _HELD_OUT == 0
    train = (~held_out if len(held_out) > 1 else held_out).nonzero()[:, 0]
    has_concept = descriptions.has_concept(len(names))
    steps = max(1, math.ceil(len(train) / recipe.batch_size))

    def loss(rows: torch.Tensor) -> torch.Tensor:
        places = descriptions.places[rows]
        noise = torch.randn(places.shape, generator=generator) * recipe.noise / math.sqrt(size)
        embedded = query(F.normalize(places + noise, dim=-1))
        pairs = levels.pairs(has_concept[rows], descriptions.emotions[rows])
        return _loss(embedded, key(names) + own, pairs, recipe)

    _descend(parameters, loss, train, recipe.epochs, steps, recipe.learning_rate, recipe.batch_size, generator)
    with torch.no_grad():
        detector.embeddings.copy_(F.normalize(key(names) + own, dim=-1))
        frequency = has_concept[train].float().mean(0) + 1 / len(train)
        rows = held_out.nonzero()[:, 0]
        cosines = F.normalize(query(descriptions.places[rows]), dim=-1) @ detector.embeddings.T
    log = set_prior(detector, cosines, has_concept[rows], frequency.log())
    return query.weight.detach().T.contiguous(), log


def set_prior(
    detector: ConceptDetector, cosines: torch.Tensor, has_concept: torch.Tensor, log_frequency: torch.Tensor
) -> dict[str, float]:
    """Fit scale and weight of the prior by the shares that held-out items' concepts get.

    Args:
        cosines, has_concept: `(items, concepts)`; `log_frequency`: `(concepts,)`.
    """
    wanted = has_concept.float() / has_concept.float().sum(1, keepdim=True).clamp_min(1)
    numbers = torch.tensor([math.log(20.0), 1.0], requires_grad=True)
    optimizer = torch.optim.LBFGS([numbers], max_iter=50, line_search_fn="strong_wolfe")

    def closure() -> torch.Tensor:
        optimizer.zero_grad()
        logits = numbers[0].exp() * cosines + numbers[1] * log_frequency
        loss = -(wanted * logits.log_softmax(-1)).sum(1).mean()
        loss.backward()
        return loss

    with torch.enable_grad():
        optimizer.step(closure)
    scale, weight = numbers[0].exp().item(), numbers[1].item()
    with torch.no_grad():
        detector.scale.fill_(scale)
        detector.prior.copy_(weight * (log_frequency - log_frequency.mean()))
    return {"concept_scale": scale, "concept_prior": weight}


@torch.no_grad()
def fit_projection(normed: torch.Tensor, places: torch.Tensor, ridge: float) -> tuple[torch.Tensor, torch.Tensor]:
    """Step 2: the linear map from normed images `(n, pooled size)` to unit vectors `(n, concept size)`.

    Returns:
        Weight `(concept size, pooled size)` and bias, by ridge regression.
    """
    mean, target_mean = normed.mean(0), places.mean(0)
    centred = normed - mean
    gram = centred.T @ centred + ridge * torch.eye(normed.shape[1])
    weight = torch.linalg.solve(gram, centred.T @ (places - target_mean))
    return weight.T.contiguous(), target_mean - mean @ weight


def train_projection(
    weight: torch.Tensor,
    bias: torch.Tensor,
    detector: ConceptDetector,
    images: DescribedConcepts,
    levels: ConceptLevels,
    recipe: ConceptRecipe,
) -> tuple[torch.Tensor, torch.Tensor]:
    """Step 3: go on with labelled images; returns the new weight and bias.

    Args:
        images: places `(views, images, pooled size)`, normed.
    """
    if not recipe.image_epochs or not len(images.concepts):
        return weight, bias
    generator = torch.Generator().manual_seed(recipe.seed)
    layer = nn.Linear(weight.shape[1], weight.shape[0])
    layer.weight.data.copy_(weight)
    layer.bias.data.copy_(bias)
    keys, has_concept = detector.embeddings.detach(), images.has_concept(len(detector.embeddings))
    rows = torch.arange(len(images.concepts))

    def loss(chosen: torch.Tensor) -> torch.Tensor:
        views = torch.randint(len(images.places), (len(chosen),), generator=generator)
        embedded = layer(images.places[views, chosen])
        return _loss(embedded, keys, levels.pairs(has_concept[chosen], images.emotions[chosen]), recipe)

    batch = min(recipe.batch_size, 128)
    steps = math.ceil(len(rows) / batch)
    rate = recipe.image_learning_rate
    _descend(list(layer.parameters()), loss, rows, recipe.image_epochs, steps, rate, batch, generator)
    return layer.weight.detach(), layer.bias.detach()


def _loss(
    queries: torch.Tensor, keys: torch.Tensor, pairs: tuple[torch.Tensor, torch.Tensor], recipe: ConceptRecipe
) -> torch.Tensor:
    return multi_level_contrastive_loss(
        queries,
        keys,
        *pairs,
        temperature=recipe.temperature,
        constraint=recipe.constraint,
        levels=recipe.levels,
    )


def _descend(
    parameters: Sequence[nn.Parameter],
    loss: Callable[[torch.Tensor], torch.Tensor],
    rows: torch.Tensor,
    epochs: int,
    steps: int,
    rate: float,
    batch: int,
    generator: torch.Generator,
) -> None:
    """AdamW over shuffled rows with one cycle of the learning rate."""
    optimizer = torch.optim.AdamW(parameters, lr=rate, weight_decay=0.01)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, rate, total_steps=max(1, epochs * steps))
    with torch.enable_grad():
        for _ in tqdm(range(epochs), desc="concepts", unit="epoch"):
            order = rows[torch.randperm(len(rows), generator=generator)]
            for start in range(0, len(order), batch):
                optimizer.zero_grad()
                loss(order[start : start + batch]).backward()
                optimizer.step()
                schedule.step()


def calibrate_concepts(detector: ConceptDetector, logits: torch.Tensor, has_concept: torch.Tensor) -> None:
    """Fit the detector's slope and offset, so that its probabilities are how often such a concept was named.

    Args:
        logits, has_concept: `(images, concepts)` of images that the detector has not learned from.
    """
    shares, wanted = logits.log_softmax(-1).flatten(), has_concept.float().flatten()
    numbers = torch.tensor([1.0, 0.0], requires_grad=True)
    optimizer = torch.optim.LBFGS([numbers], max_iter=60, line_search_fn="strong_wolfe")

    def closure() -> torch.Tensor:
        optimizer.zero_grad()
        loss = F.binary_cross_entropy_with_logits(numbers[0] * shares + numbers[1], wanted)
        loss.backward()
        return loss

    with torch.enable_grad():
        optimizer.step(closure)
    detector.calibration.copy_(numbers.detach())


@torch.no_grad()
def fit_word_map(detector: ConceptDetector, words: torch.Tensor, ridge: float = 0.05) -> None:
    """Fit the map that places new concepts by their words.

    Args:
        words: `(concepts, width)`, mean word embeddings of the known concepts.
    """
    weight, bias = fit_projection(words, detector.embeddings, ridge)
    detector.word_map.weight.copy_(weight)
    detector.word_map.bias.copy_(bias)


def precision_at(scores: torch.Tensor | np.ndarray, concepts: Sequence[Sequence[int]], number: int = 5) -> float:
    """Mean share of the best `number` concepts that an image has, over the images that have any.

    Args:
        scores: `(images, concepts)`.
    """
    best = torch.as_tensor(scores).topk(number, dim=1).indices.tolist()
    shares = [len(set(row) & set(own)) / number for row, own in zip(best, concepts, strict=True) if own]
    return sum(shares) / len(shares) if shares else float("nan")


__all__ = [
    "ConceptLevels",
    "ConceptRecipe",
    "DescribedConcepts",
    "calibrate_concepts",
    "fit_projection",
    "fit_word_map",
    "precision_at",
    "set_prior",
    "teach_concepts",
    "train_projection",
]

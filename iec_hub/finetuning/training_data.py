"""What a training run reads: images of several data sets and texts that stand in for images, in one stream."""

from __future__ import annotations

import random
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

import torch
from torch.utils.data import Dataset
from transformers import BatchFeature

from iec_hub.data import EmotionExample
from iec_hub.emotions import EmotionModel
from iec_hub.finetuning.features import augmented_view
from iec_hub.predictor import DECODE_SIDE

# Features `(images, width)` of one emotion model to logits `(images, labels)`.
Teacher = Callable[[torch.Tensor], torch.Tensor]


@dataclass
class ImageSource:
    """One data set of a mixture.

    Attributes:
        name: for metrics.
        emotion_model: its labels.
        distributions: `(images, labels)`.
        features: `(views, images, width)` from a frozen tower; `None` where the images themselves are read.
        examples: the images, needed where there are no features.
        text_features: `(images, semantic size)`, embeddings of texts about the images, zero rows where there is none.
        teacher: gives each image a second opinion that is mixed with its votes.
        tokens: `(views, images, places, token width)` beside `features`, for models that read places.
        captions: per view, one caption per image, for models that read captions.
        weights: `(images,)`, how much each counts in the loss; 1 if left out.
        shares: `(images,)`, how likely each is to be drawn, summing to 1; left out, each comes once an epoch.
    """

    name: str
    emotion_model: EmotionModel
    distributions: torch.Tensor
    features: torch.Tensor | None = None
    examples: Sequence[EmotionExample] = ()
    text_features: torch.Tensor | None = None
    teacher: Teacher | None = None
    tokens: torch.Tensor | None = None
    captions: Sequence[Sequence[str]] = ()
    weights: torch.Tensor | None = None
    shares: torch.Tensor | None = None

    def drawn(self, rng: random.Random) -> int:
        """An image drawn by the shares."""
        return rng.randrange(len(self.distributions)) if self.shares is None else drawn(self.shares, rng)


def drawn(shares: torch.Tensor, rng: random.Random) -> int:
    """A place drawn with the probabilities `shares`, `(n,)`, which sum to 1."""
    place = torch.searchsorted(shares.cumsum(0), torch.tensor(rng.random(), dtype=shares.dtype), right=True)
    return min(int(place), len(shares) - 1)


def weigh(batch: BatchFeature, items: Sequence[dict[str, Any]]) -> None:
    """Multiply the labels of items that have a `weight` by it: the losses are linear in the labels."""
    if any("weight" in item for item in items):
        weights = torch.stack([torch.as_tensor(item.get("weight", 1.0)) for item in items])
        batch["labels"] = batch["labels"] * weights[:, None].to(batch["labels"])


@dataclass
class TextSource:
    """Texts with emotions.

    Attributes:
        emotion_model: their labels; `None` for single words that shall name themselves.
        distributions: `(texts, labels)`; unused for words.
        embeddings: `(texts, versions, semantic size)`, unit vectors; a random mixture of the versions is read.
        words: for single words.
    """

    emotion_model: EmotionModel | None
    embeddings: torch.Tensor
    distributions: torch.Tensor | None = None
    words: Sequence[str] = ()
    noise: float = 0.02

    def __len__(self) -> int:
        return len(self.embeddings)

    def item(self, index: int, rng: random.Random) -> dict[str, Any]:
        """A text as a training item: mostly one of its versions, sometimes a blend of two."""
        versions = self.embeddings[index]
        weights = torch.zeros(len(versions))
        if rng.random() < 0.8:
            weights[rng.randrange(len(versions))] = 1.0
        else:
            share = rng.random()
            weights[rng.randrange(len(versions))] += share
            weights[rng.randrange(len(versions))] += 1 - share
        generator = torch.Generator().manual_seed(rng.getrandbits(62))
        place = weights @ versions + self.noise * torch.randn(versions.shape[1], generator=generator)
        item: dict[str, Any] = {"semantic_features": torch.nn.functional.normalize(place, dim=-1), "visible": False}
        if self.emotion_model is None:
            return item | {"word": self.words[index]}
        return item | {"emotion_model": self.emotion_model, "distribution": self.distributions[index]}


@dataclass
class CaptionSource:
    """Texts with emotions that are read as captions without an image.

    Attributes:
        captions: per text, its versions, of which one is read at a time.
        distributions: `(texts, labels)`.
    """

    emotion_model: EmotionModel
    captions: Sequence[Sequence[str]]
    distributions: torch.Tensor

    def __len__(self) -> int:
        return len(self.captions)

    def item(self, index: int, rng: random.Random) -> dict[str, Any]:
        """A text as a training item."""
        return {
            "emotion_model": self.emotion_model,
            "distribution": self.distributions[index],
            "caption": rng.choice(self.captions[index]),
            "visible": False,
        }


@dataclass
class MixedEmotionData(Dataset):
    """Images of all sources, each once an epoch, and `texts_per_epoch` texts drawn anew every epoch.

    An item's random choices, the image that it is mixed with among them, depend on `(seed, epoch, index)` alone: a
    resumed run sees what the killed one would have seen, and several small batches hold what a large one holds.

    Attributes:
        mixup: parameter of the Beta distribution from which images of one data set are mixed (Zhang et al., ICLR
            2018), features and label distributions alike; 0 mixes none. Needs cached features.
        root: applied before mixing and inverted after (the power norm's root), so that mixing happens where the model
            sees the features.
    """

    images: Sequence[ImageSource] = ()
    texts: Sequence[TextSource | CaptionSource] = ()
    texts_per_epoch: int = 0
    augment: bool = True
    visual_dropout: float = 0.0
    seed: int = 0
    mixup: float = 0.0
    root: Callable[[torch.Tensor], torch.Tensor] | None = None
    epoch: int = field(default=0, init=False)

    def __post_init__(self) -> None:
        self._images = [(source, i) for source in self.images for i in range(len(source.distributions))]
        self._texts = [(source, i) for source in self.texts for i in range(len(source))]

    def set_epoch(self, epoch: int) -> None:
        """Called by accelerate's data loader."""
        self.epoch = epoch

    def __len__(self) -> int:
        return len(self._images) + (self.texts_per_epoch if self._texts else 0)

    def __getitem__(self, index: int) -> dict[str, Any]:
        rng = random.Random(f"{self.seed}/{self.epoch}/{index}")
        if index < len(self._images):
            source, place = self._images[index]
            if self.augment and source.shares is not None:
                place = source.drawn(rng)
            return self._image(source, place, rng)
        source, place = self._texts[rng.randrange(len(self._texts))]
        return source.item(place, rng)

    def _image(self, source: ImageSource, index: int, rng: random.Random) -> dict[str, Any]:
        item: dict[str, Any] = {
            "emotion_model": source.emotion_model,
            "distribution": source.distributions[index],
            "visible": not (self.augment and rng.random() < self.visual_dropout),
            "teacher": source.teacher,
            "source": source.name,
        }
        if self.augment and source.weights is not None:
            item["weight"] = source.weights[index]
        if source.text_features is not None:
            item["text_features"] = source.text_features[index]
        if source.features is not None:
            return item | self._seen(source, index, rng, item)
        if source.captions:
            item["caption"] = source.captions[0][index]
        image = source.examples[index].open(max_side=DECODE_SIDE)
        view = rng.choice((0, 1, *range(2, 6))) if self.augment else 0
        return item | {"image": augmented_view(image, view, f"{source.examples[index].origin}/{rng.random()}")}

    def _seen(self, source: ImageSource, index: int, rng: random.Random, item: dict[str, Any]) -> dict[str, Any]:
        """Features of a view, mixed with those of another image of the same source."""
        view = rng.randrange(len(source.features)) if self.augment else 0
        seen: dict[str, Any] = {"pooled_features": source.features[view, index]}
        if source.tokens is not None:
            seen["token_features"] = source.tokens[view, index]
        if source.captions:
            seen["caption"] = source.captions[view % len(source.captions)][index]
        if not (self.augment and self.mixup and len(source.distributions) > 1):
            return seen
        partner, other = source.drawn(rng), rng.randrange(len(source.features))
        share = rng.betavariate(self.mixup, self.mixup)
        if source.tokens is not None or source.captions:  # the caption stays, so the image has to be the larger part
            share = max(share, 1 - share)
        seen["pooled_features"] = self._mixed(seen["pooled_features"], source.features[other, partner], share)
        if source.tokens is not None:
            seen["token_features"] = torch.lerp(source.tokens[other, partner], seen["token_features"], share)
        seen["distribution"] = torch.lerp(source.distributions[partner], item["distribution"], share)
        if source.weights is not None:
            seen["weight"] = torch.lerp(source.weights[partner], item["weight"], share)
        seen["text_features"] = None  # a mixed image has no text
        return seen

    def _mixed(self, features: torch.Tensor, partner: torch.Tensor, share: float) -> torch.Tensor:
        if self.root is None:
            return torch.lerp(partner, features, share)
        mixed = torch.lerp(self.root(partner), self.root(features), share)
        return mixed * mixed.abs()


@dataclass
class FeatureCollator:
    """What the methods' collators share: cached features as rows, the teacher's opinion, weights of images.

    Args:
        processor: makes the other tensors.
        pooled_size: width of the pooled features, for rows that lack them.
        teacher_weight: share of a source's teacher in the labels.
    """

    processor: Any
    pooled_size: int = 0
    teacher_weight: float = 0.0

    @staticmethod
    def _rows(items: Sequence[dict[str, Any]], name: str, shape: int | Sequence[int]) -> torch.Tensor:
        rows = [item.get(name) for item in items]
        return torch.stack([torch.zeros(shape) if row is None else row for row in rows]).float()

    def _ask_teachers(self, batch: BatchFeature, items: Sequence[dict[str, Any]]) -> None:
        """Mix every image's votes with what its data set's teacher says about it."""
        taught: dict[str, list[int]] = {}
        for i, item in enumerate(items):
            if item.get("teacher") is not None and "pooled_features" in item and self.teacher_weight:
                taught.setdefault(item.get("source", ""), []).append(i)
        for indices in taught.values():
            rows = torch.tensor(indices)
            columns = batch["candidate_mask"][rows[0]].nonzero()[:, 0]
            place = (rows[:, None], columns[None])
            with torch.no_grad():
                opinion = items[indices[0]]["teacher"](batch["pooled_features"][rows]).softmax(-1)
            batch["labels"][place] = torch.lerp(
                batch["labels"][place], opinion.to(batch["labels"]), self.teacher_weight
            )


@dataclass
class UgrieCollator(FeatureCollator):
    """Items to a batch for [`UgrieForImageEmotion`].

    Args:
        semantic_size: width of the sentence embeddings.
    """

    semantic_size: int = 0

    def __call__(self, items: Sequence[dict[str, Any]]) -> BatchFeature:
        words = sorted({item["word"] for item in items if "word" in item})
        if len(words) == 1:
            items = [item for item in items if "word" not in item] or items
            words = words if any("word" in item for item in items) else []
        other = "something" if words == ["nothing"] else "nothing"
        naming = EmotionModel.from_labels(words if len(words) > 1 else [*words, other]) if words else None
        models = [item.get("emotion_model", naming) for item in items]
        distributions = [
            item["distribution"] if "distribution" in item else torch.tensor(naming.distribution(item["word"]))
            for item in items
        ]
        images = [item["image"] for item in items if "image" in item]
        batch = self.processor(
            images=images or None, emotion_models=models, distributions=distributions, batch_size=len(items)
        )
        batch.pop("emotion_models")
        batch["visual_mask"] = torch.tensor([float(item["visible"]) for item in items])
        if not images:
            batch["pooled_features"] = self._rows(items, "pooled_features", self.pooled_size)
            self._ask_teachers(batch, items)
        if self.semantic_size:
            batch["semantic_features"] = self._rows(items, "semantic_features", self.semantic_size)
            if any(item.get("text_features") is not None for item in items):
                batch["text_features"] = self._rows(items, "text_features", self.semantic_size)
        weigh(batch, items)
        return batch


@dataclass
class EscnetCollator(FeatureCollator):
    """Items to a batch for [`EscnetForImageEmotion`].

    Args:
        token_shape: places and width of the token features, for rows that lack them.
    """

    token_shape: tuple[int, int] = (1, 1)

    def __call__(self, items: Sequence[dict[str, Any]]) -> BatchFeature:
        models = [item["emotion_model"] for item in items]
        images = [item["image"] for item in items if "image" in item]
        captions = [item.get("caption", "") for item in items]
        batch = self.processor(
            images=images or None,
            emotion_models=models,
            captions=captions if any(captions) else None,
            distributions=[item["distribution"] for item in items],
            batch_size=len(items),
        )
        for name in ("emotion_models", "brightness", "colorfulness"):
            batch.pop(name, None)
        batch["visual_mask"] = torch.tensor([float(item["visible"]) for item in items])
        if not images:
            batch["pooled_features"] = self._rows(items, "pooled_features", self.pooled_size)
            batch["token_features"] = self._rows(items, "token_features", self.token_shape)
            self._ask_teachers(batch, items)
        weigh(batch, items)
        return batch

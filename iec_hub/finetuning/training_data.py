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

    An item's random choices depend on `(seed, epoch, index)` alone, so that a resumed run sees what the killed one
    would have seen.
    """

    images: Sequence[ImageSource] = ()
    texts: Sequence[TextSource | CaptionSource] = ()
    texts_per_epoch: int = 0
    augment: bool = True
    visual_dropout: float = 0.0
    seed: int = 0
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
            return self._image(*self._images[index], rng) | {"key": rng.getrandbits(62)}
        source, place = self._texts[rng.randrange(len(self._texts))]
        return source.item(place, rng) | {"key": rng.getrandbits(62)}

    def _image(self, source: ImageSource, index: int, rng: random.Random) -> dict[str, Any]:
        item: dict[str, Any] = {
            "emotion_model": source.emotion_model,
            "distribution": source.distributions[index],
            "visible": not (self.augment and rng.random() < self.visual_dropout),
            "teacher": source.teacher,
            "source": source.name,
        }
        if source.text_features is not None:
            item["text_features"] = source.text_features[index]
        if source.features is not None:
            view = rng.randrange(len(source.features)) if self.augment else 0
            if source.tokens is not None:
                item["token_features"] = source.tokens[view, index]
            if source.captions:
                item["caption"] = source.captions[view % len(source.captions)][index]
            return item | {"pooled_features": source.features[view, index]}
        if source.captions:
            item["caption"] = source.captions[0][index]
        image = source.examples[index].open(max_side=DECODE_SIDE)
        view = rng.choice((0, 1, *range(2, 6))) if self.augment else 0
        return item | {"image": augmented_view(image, view, f"{source.examples[index].origin}/{rng.random()}")}


@dataclass
class FeatureCollator:
    """What the methods' collators share: cached features as rows, mixup and the teacher's opinion.

    Args:
        processor: makes the other tensors.
        pooled_size: width of the pooled features, for rows that lack them.
        mixup: parameter of the Beta distribution from which images of one data set are mixed (Zhang et al., ICLR
            2018), features and label distributions alike; 0 mixes none. Needs cached features.
        teacher_weight: share of a source's teacher in the labels.
        root: applied before mixing and inverted after (the power norm's root), so that mixing happens where the model
            sees the features.
    """

    processor: Any
    pooled_size: int = 0
    mixup: float = 0.0
    teacher_weight: float = 0.0
    root: Callable[[torch.Tensor], torch.Tensor] | None = None

    @staticmethod
    def _rows(items: Sequence[dict[str, Any]], name: str, shape: int | Sequence[int]) -> torch.Tensor:
        return torch.stack([item[name] if name in item else torch.zeros(shape) for item in items]).float()

    def _mix(self, batch: BatchFeature, items: Sequence[dict[str, Any]], models: Sequence[EmotionModel]) -> None:
        """Mix images of one data set with each other, then ask its teacher about what came out."""
        keys = [item["key"] for item in items if "key" in item]
        generator = torch.Generator().manual_seed(hash(tuple(keys)) % 2**62)
        sources: dict[tuple[EmotionModel, str], list[int]] = {}
        order = list(dict.fromkeys(models))
        for i, item in enumerate(items):
            if "pooled_features" in item:
                sources.setdefault((models[i], item.get("source", "")), []).append(i)
        for _, indices in sorted(sources.items(), key=lambda entry: order.index(entry[0][0])):
            rows = torch.tensor(indices)
            columns = batch["candidate_mask"][rows[0]].nonzero()[:, 0]
            place = (rows[:, None], columns[None])
            if self.mixup and len(rows) > 1:
                self._mix_rows(batch, rows, place, generator)
            labels = batch["labels"][place]
            teacher = items[int(rows[0])].get("teacher")
            if teacher is not None and self.teacher_weight:
                with torch.no_grad():
                    opinion = teacher(batch["pooled_features"][rows]).softmax(-1).to(labels)
                labels = (1 - self.teacher_weight) * labels + self.teacher_weight * opinion
            batch["labels"][place] = labels

    def _mix_rows(
        self,
        batch: BatchFeature,
        rows: torch.Tensor,
        place: tuple[torch.Tensor, torch.Tensor],
        generator: torch.Generator,
    ) -> None:
        partner, share = self._partners(len(rows), generator)
        batch["pooled_features"][rows] = self._mixed(batch["pooled_features"][rows], partner, share)
        labels = batch["labels"][place]
        batch["labels"][place] = share * labels + (1 - share) * labels[partner]

    def _partners(self, number: int, generator: torch.Generator) -> tuple[torch.Tensor, torch.Tensor]:
        """Whom each row is mixed with, and its own share `(rows, 1)`."""
        partner = torch.randperm(number, generator=generator)
        # A Beta(a, a) draw from two gammas would use the global generator; Python's has its own.
        rng = random.Random(int(torch.randint(2**62, (1,), generator=generator)))
        return partner, torch.tensor([[rng.betavariate(self.mixup, self.mixup)] for _ in range(number)])

    def _mixed(self, features: torch.Tensor, partner: torch.Tensor, share: torch.Tensor) -> torch.Tensor:
        if self.root is None:
            return share * features + (1 - share) * features[partner]
        rooted = self.root(features)
        mixed = share * rooted + (1 - share) * rooted[partner]
        return mixed * mixed.abs()


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
            self._mix(batch, items, models)
        if self.semantic_size:
            batch["semantic_features"] = self._rows(items, "semantic_features", self.semantic_size)
            if not self.mixup and any("text_features" in item for item in items):  # a mixed image has no text
                batch["text_features"] = self._rows(items, "text_features", self.semantic_size)
        return batch


@dataclass
class EscnetCollator(FeatureCollator):
    """Items to a batch for [`EscnetForImageEmotion`]; a mixed image keeps the caption of its larger part.

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
            self._mix(batch, items, models)
        return batch

    def _mix_rows(
        self,
        batch: BatchFeature,
        rows: torch.Tensor,
        place: tuple[torch.Tensor, torch.Tensor],
        generator: torch.Generator,
    ) -> None:
        partner, share = self._partners(len(rows), generator)
        share = torch.maximum(share, 1 - share)
        batch["pooled_features"][rows] = self._mixed(batch["pooled_features"][rows], partner, share)
        tokens = batch["token_features"][rows]
        batch["token_features"][rows] = torch.lerp(tokens[partner], tokens, share[..., None])
        labels = batch["labels"][place]
        batch["labels"][place] = share * labels + (1 - share) * labels[partner]

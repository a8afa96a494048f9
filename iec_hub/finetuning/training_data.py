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
    """

    name: str
    emotion_model: EmotionModel
    distributions: torch.Tensor
    features: torch.Tensor | None = None
    examples: Sequence[EmotionExample] = ()
    text_features: torch.Tensor | None = None
    teacher: Teacher | None = None


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


@dataclass
class MixedEmotionData(Dataset):
    """Images of all sources, each once an epoch, and `texts_per_epoch` texts drawn anew every epoch.

    An item's random choices depend on `(seed, epoch, index)` alone, so that a resumed run sees what the killed one
    would have seen.
    """

    images: Sequence[ImageSource] = ()
    texts: Sequence[TextSource] = ()
    texts_per_epoch: int = 0
    augment: bool = True
    visual_dropout: float = 0.0
    seed: int = 0
    epoch: int = field(default=0, init=False)

    def __post_init__(self) -> None:
        self._images = [(source, i) for source in self.images for i in range(len(source.distributions))]
        self._texts = [(source, i) for source in self.texts for i in range(len(source.embeddings))]

    def set_epoch(self, epoch: int) -> None:
        """Called by accelerate's data loader."""
        self.epoch = epoch

    def __len__(self) -> int:
        return len(self._images) + (self.texts_per_epoch if self._texts else 0)

    def __getitem__(self, index: int) -> dict[str, Any]:
        rng = random.Random(f"{self.seed}/{self.epoch}/{index}")
        if index < len(self._images):
            return self._image(*self._images[index], rng) | {"key": rng.getrandbits(62)}
        return self._text(*self._texts[rng.randrange(len(self._texts))], rng) | {"key": rng.getrandbits(62)}

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
            return item | {"pooled_features": source.features[view, index]}
        image = source.examples[index].open(max_side=DECODE_SIDE)
        view = rng.choice((0, 1, *range(2, 6))) if self.augment else 0
        return item | {"image": augmented_view(image, view, f"{source.examples[index].origin}/{rng.random()}")}

    @staticmethod
    def _text(source: TextSource, index: int, rng: random.Random) -> dict[str, Any]:
        versions = source.embeddings[index]
        weights = torch.zeros(len(versions))
        if rng.random() < 0.8:  # mostly one version; sometimes a blend of two
            weights[rng.randrange(len(versions))] = 1.0
        else:
            share = rng.random()
            weights[rng.randrange(len(versions))] += share
            weights[rng.randrange(len(versions))] += 1 - share
        generator = torch.Generator().manual_seed(rng.getrandbits(62))
        place = weights @ versions + source.noise * torch.randn(versions.shape[1], generator=generator)
        item: dict[str, Any] = {"semantic_features": torch.nn.functional.normalize(place, dim=-1), "visible": False}
        if source.emotion_model is None:
            return item | {"word": source.words[index]}
        return item | {"emotion_model": source.emotion_model, "distribution": source.distributions[index]}


@dataclass
class UgrieCollator:
    """Items to a batch for [`UgrieForImageEmotion`].

    Args:
        processor: makes the text tensors.
        pooled_size, semantic_size: widths of the features, for rows that lack them.
        mixup: parameter of the Beta distribution from which images of one data set are mixed (Zhang et al., ICLR
            2018), features and label distributions alike; 0 mixes none. Needs cached features.
        teacher_weight: share of a source's teacher in the labels.
        root: applied before mixing and inverted after (the power norm's root), so that mixing happens where the model
            sees the features.
    """

    processor: Any
    pooled_size: int = 0
    semantic_size: int = 0
    mixup: float = 0.0
    teacher_weight: float = 0.0
    root: Callable[[torch.Tensor], torch.Tensor] | None = None

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

    @staticmethod
    def _rows(items: Sequence[dict[str, Any]], name: str, width: int) -> torch.Tensor:
        return torch.stack([item.get(name, torch.zeros(width)) for item in items]).float()

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
            features, labels = batch["pooled_features"][rows], batch["labels"][place]
            if self.mixup and len(rows) > 1:
                features, labels = self._mixed(features, labels, generator)
                batch["pooled_features"][rows] = features
            teacher = items[int(rows[0])].get("teacher")
            if teacher is not None and self.teacher_weight:
                with torch.no_grad():
                    opinion = teacher(features).softmax(-1).to(labels)
                labels = (1 - self.teacher_weight) * labels + self.teacher_weight * opinion
            batch["labels"][place] = labels

    def _mixed(
        self, features: torch.Tensor, labels: torch.Tensor, generator: torch.Generator
    ) -> tuple[torch.Tensor, torch.Tensor]:
        partner = torch.randperm(len(features), generator=generator)
        # A Beta(a, a) draw from two gammas would use the global generator; numpy's has its own.
        rng = random.Random(int(torch.randint(2**62, (1,), generator=generator)))
        share = torch.tensor([[rng.betavariate(self.mixup, self.mixup)] for _ in features])
        mixed_labels = share * labels + (1 - share) * labels[partner]
        if self.root is None:
            return share * features + (1 - share) * features[partner], mixed_labels
        rooted = self.root(features)
        mixed = share * rooted + (1 - share) * rooted[partner]
        return mixed * mixed.abs(), mixed_labels

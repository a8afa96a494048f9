"""What ACIEC's text classifier learns from: images in words, lists of concepts, and comments."""

from __future__ import annotations

import random
from collections.abc import Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch.nn import functional as F  # noqa: N812  the field's name for it
from torch.utils.data import Dataset, Sampler
from transformers import BatchFeature, PreTrainedModel

from iec_hub.affect.concepts import POLARITIES, ConceptVocabulary
from iec_hub.emotions import EmotionModel, map_distribution
from iec_hub.errors import EmotionMappingError
from iec_hub.finetuning.teaching import read_emotion_texts
from iec_hub.finetuning.training_data import drawn, weigh
from iec_hub.models.aciec import AciecProcessor, TextParts

_CONCEPTS_TOLD = (4, 8)
_VERSIONS = 3  # of a row's concepts, in different order


@dataclass
class TextSource:
    """Texts with emotions.

    Attributes:
        name: for metrics; empty where the texts are no data set's.
        versions: per text its wordings, of which one is read at a time.
        distributions: `(texts, labels)`, what the texts evoke.
        quotable: whether a text may stand inside an image.
        concepts: of lists, per text all of its concepts; a wording tells some of them.
        weights: `(texts,)`, how much each counts in the loss; 1 if left out.
        shares: `(texts,)`, how likely each is to be drawn, summing to 1; left out, each comes once an epoch.
    """

    name: str
    emotion_model: EmotionModel
    versions: Sequence[Sequence[TextParts]]
    distributions: torch.Tensor
    quotable: bool = False
    concepts: Sequence[Sequence[int]] = ()
    weights: torch.Tensor | None = None
    shares: torch.Tensor | None = None

    def __len__(self) -> int:
        return len(self.versions)


def concept_lists(
    path: Path, emotion_model: EmotionModel, vocabulary: ConceptVocabulary, seed: int
) -> TextSource | None:
    """Lists of concepts with emotions, beside whatever else the file says in words; `None` where it lists no concepts.

    Args:
        path: see [`read_emotion_texts`].
    """
    columns, distributions = read_emotion_texts(path, emotion_model)
    versions, kept, listed = [], [], []
    for number, row in enumerate(zip(*columns, strict=True)):
        found = [vocabulary.find(text) for text in row]
        places = max(found, key=len)
        if len(places) < 2:
            continue
        rng = random.Random(f"{seed}/{path.name}/{number}")
        said = " ".join(text for text, own in zip(row, found, strict=True) if len(own) < 2).strip()
        wordings = []
        for version in range(_VERSIONS):
            told = rng.sample(places, min(len(places), rng.randint(*_CONCEPTS_TOLD)))
            names = ", ".join(vocabulary.names[place] for place in told)
            wordings.append(TextParts(names, f"A photo of {said}." if said and version else ""))
        versions.append(wordings)
        kept.append(number)
        listed.append(places)
    return TextSource("", emotion_model, versions, distributions[kept], concepts=listed) if kept else None


def comments(path: Path, emotion_model: EmotionModel) -> TextSource:
    """Texts that may stand inside an image.

    Args:
        path: see [`read_emotion_texts`].
    """
    columns, distributions = read_emotion_texts(path, emotion_model)
    rows = [" ".join(part for part in row if part) for row in zip(*columns, strict=True)]
    return TextSource("", emotion_model, [[TextParts(embedded_text=row)] for row in rows], distributions, True)


def told_in(source: TextSource, target: EmotionModel, prior: torch.Tensor) -> TextSource | None:
    """The same texts with their emotions in another emotion model, as far as theirs has a counterpart there.

    An emotion is shared out among those that map to it, as frequent as the other data set has them. Emotions without a
    counterpart are matched by polarity: "joy" is shared among amusement, awe, contentment and excitement. Texts whose
    emotion nothing corresponds to are left out.

    Args:
        prior: `(labels of target,)`, how frequent each is.
    """
    joint = torch.tensor(_counterparts(source.emotion_model, target)).float() * prior[:, None]
    shares = joint / joint.sum(0, keepdim=True).clamp_min(1e-9)
    told = source.distributions @ shares.T
    kept = (told.sum(1) > 0.5).nonzero()[:, 0].tolist()
    if not kept:
        return None
    rows = told[kept] / told[kept].sum(1, keepdim=True)
    return TextSource("", target, [source.versions[i] for i in kept], rows, source.quotable)


def _counterparts(source: EmotionModel, target: EmotionModel) -> np.ndarray:
    """Which labels of `source` each label of `target` is, `(labels of target, labels of source)`."""
    mapped = np.zeros((len(target), len(source)))
    for row, label in zip(mapped, np.eye(len(target)), strict=True):
        with suppress(EmotionMappingError):  # the source has no word for it
            row[:] = map_distribution(label, target, source)
    free = mapped.sum(0) == 0
    for row, polarity in zip(mapped, target.polarities, strict=True):
        if not row.any() and polarity in POLARITIES:
            row[:] = free & (np.array(source.polarities) == polarity)
    return mapped


@dataclass
class EmotionTexts(Dataset):
    """Every text of the images once an epoch, and `texts_per_epoch` other texts drawn anew, each source as often.

    An item's random choices depend on `(seed, epoch, index)` alone, so that a resumed run sees what the killed one
    would have seen.

    Attributes:
        images: texts of images.
        texts: other texts.
        source_dropout: how often an image's concepts are left out; as often its sentences are.
        quoted: how often a comment of the same emotion model stands in the image; the label is then the comment's to
            `quote_weight`.
    """

    images: Sequence[TextSource] = ()
    texts: Sequence[TextSource] = ()
    texts_per_epoch: int = 0
    augment: bool = True
    source_dropout: float = 0.1
    quoted: float = 0.15
    quote_weight: float = 0.75
    seed: int = 0
    epoch: int = field(default=0, init=False)

    def __post_init__(self) -> None:
        self.texts = [source for source in self.texts if len(source)]
        self._images = [(source, i) for source in self.images for i in range(len(source))]
        self._quotes = {
            model: [source for source in self.texts if source.quotable and source.emotion_model.labels == model]
            for model in {source.emotion_model.labels for source in self.images}
        }

    def set_epoch(self, epoch: int) -> None:
        """Called at the beginning of an epoch."""
        self.epoch = epoch

    def __len__(self) -> int:
        return len(self._images) + (self.texts_per_epoch if self.texts else 0)

    def __getitem__(self, index: int) -> dict[str, Any]:
        rng = random.Random(f"{self.seed}/{self.epoch}/{index}")
        if index < len(self._images):
            source, place = self._images[index]
            if self.augment and source.shares is not None:
                place = drawn(source.shares, rng)
            return self._image(source, place, rng)
        source = self.texts[(index - len(self._images)) % len(self.texts)]
        place = rng.randrange(len(source))
        return self._item(source, rng.choice(source.versions[place]), source.distributions[place])

    def _image(self, source: TextSource, place: int, rng: random.Random) -> dict[str, Any]:
        if not self.augment:
            return self._item(source, source.versions[place][0], source.distributions[place])
        parts, distribution = rng.choice(source.versions[place]), source.distributions[place]
        quotes = self._quotes[source.emotion_model.labels]
        if quotes and rng.random() < self.quoted:
            quote = rng.choice(quotes)
            number = rng.randrange(len(quote))
            parts = parts._replace(embedded_text=rng.choice(quote.versions[number]).embedded_text)
            distribution = torch.lerp(distribution, quote.distributions[number], self.quote_weight)
        left_out = rng.random()
        if left_out < self.source_dropout and parts.sentences:
            parts = parts._replace(concepts="")
        elif left_out < 2 * self.source_dropout and parts.concepts:
            parts = parts._replace(sentences="")
        item = self._item(source, parts, distribution)
        return item if source.weights is None else item | {"weight": source.weights[place]}

    @staticmethod
    def _item(source: TextSource, parts: TextParts, distribution: torch.Tensor) -> dict[str, Any]:
        return {"parts": parts, "emotion_model": source.emotion_model, "distribution": distribution}


class KindSampler(Sampler):
    """Shuffles texts so that each batch is of images or of others: one long text makes a whole batch long.

    The order depends on the data's seed and epoch alone.
    """

    def __init__(self, data: EmotionTexts, batch_size: int):
        self.data, self.batch_size = data, batch_size

    def __len__(self) -> int:
        return len(self.data)

    def __iter__(self) -> Iterator[int]:
        rng = random.Random(f"{self.data.seed}/{self.data.epoch}")
        images = sum(len(source) for source in self.data.images)
        batches, rests = [], []
        for kind in (range(images), range(images, len(self.data))):
            order = rng.sample(kind, len(kind))
            whole = len(order) - len(order) % self.batch_size
            batches += [order[start : start + self.batch_size] for start in range(0, whole, self.batch_size)]
            rests += order[whole:]
        rng.shuffle(batches)
        # What fills no batch comes last, so that all others stay whole.
        yield from (index for batch in batches for index in batch)
        yield from rng.sample(rests, len(rests))


class Semantics:
    """A frozen text encoder that says how alike texts are, for the contrastive loss."""

    def __init__(self, encoder: PreTrainedModel):
        self.encoder = encoder.eval().requires_grad_(False)

    @torch.inference_mode()
    def __call__(self, batch: BatchFeature) -> torch.Tensor:
        """Unit vectors `(batch, width)` of a batch with `input_ids` and `attention_mask`."""
        device = next(self.encoder.parameters()).device
        ids, mask = batch["input_ids"].to(device), batch["attention_mask"].to(device)
        # What is most and least alike needs few digits.
        with torch.autocast(ids.device.type, torch.bfloat16):
            hidden = self.encoder(input_ids=ids, attention_mask=mask).last_hidden_state.float()
        weights = mask[..., None].to(hidden)
        return F.normalize((hidden * weights).sum(1) / weights.sum(1).clamp_min(1), dim=-1).cpu()


@dataclass
class TextCollator:
    """Items to a batch for [`AciecForImageEmotion`].

    Args:
        semantics: left out, the contrastive loss samples nothing.
    """

    processor: AciecProcessor
    semantics: Semantics | None = None

    def __call__(self, items: Sequence[dict[str, Any]]) -> BatchFeature:
        batch = self.processor(
            texts=[item["parts"] for item in items],
            emotion_models=[item["emotion_model"] for item in items],
            distributions=[item["distribution"] for item in items],
        )
        batch.pop("emotion_models")
        weigh(batch, items)
        if self.semantics is not None:
            # An ordinary tensor: one of inference mode cannot enter a training step.
            batch["semantics"] = self.semantics(batch).clone()
        return batch


__all__ = [
    "EmotionTexts",
    "KindSampler",
    "Semantics",
    "TextCollator",
    "TextSource",
    "comments",
    "concept_lists",
    "told_in",
]

"""One training run of ESCNet: captions for every image, texts that teach what words evoke, then images with both."""

from __future__ import annotations

import logging
import random
import re
from collections import Counter
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch

from iec_hub.affect.attributes import brightness, colorfulness
from iec_hub.data import EmotionDataset, EmotionExample
from iec_hub.emotions import EmotionModel
from iec_hub.errors import DataError
from iec_hub.finetuning.adapters import set_trainable
from iec_hub.finetuning.features import cached_image_features
from iec_hub.finetuning.image_training import featured_sources, text_stage, train_on_texts, train_until_best
from iec_hub.finetuning.teaching import read_emotion_texts
from iec_hub.finetuning.trainer import EmotionTrainer, EmotionTrainingArguments
from iec_hub.finetuning.training_data import CaptionSource, EscnetCollator, ImageSource, MixedEmotionData
from iec_hub.finetuning.training_sets import read_captions
from iec_hub.finetuning.word_grounding import CaptionedPlaces, frame_tokens
from iec_hub.models.escnet import EscnetForImageEmotion, EscnetProcessor
from iec_hub.models.image_emotion import vision_width
from iec_hub.models.processing_image_emotion import reduced_image
from iec_hub.predictor import DECODE_SIDE

logger = logging.getLogger(__name__)

PARTS = {
    "vision": ("vision_model.", "captioner.vision_model."),
    "captioner": ("captioner.",),
    "language": ("text_encoder.",),
    "fusion": ("fusion.",),
    "image_classifier": ("image_classifier.",),
}
_TEXT_VERSIONS = 6
_SENTENCE_END = re.compile(r"(?<=[.!?])\s+|\n+")
_LARGEST_LOG_ODDS = 2.5


@dataclass
class EscnetRun:
    """Settings of a run beside the Trainer's.

    Attributes:
        freeze: parts that stay as they are, of "vision", "captioner", "language", "fusion", "image_classifier".
        views: augmented views per image when the vision tower is frozen and its features are cached.
        cache: folder of cached features and captions; `None` computes them anew.
        mixup, visual_dropout, teacher_weight: see [`FeatureCollator`] and [`MixedEmotionData`].
        patience: epochs without improvement on validation before stopping; 0 never stops early.
        text_epochs, text_learning_rate: passes over texts without images, and the learning rate of all but the caption
            encoder, which has the run's.
        texts_per_epoch: texts replayed in every epoch over images, as a share of the images.
        labelled_captions: how often the texts hold the captions of the labelled images.
        grounding_epochs: passes over captioned images that teach words where to look; needs cached features.
        start_from_probe: put linear probes into the image's own classifier and leave them there; needs cached
            features. `caption_weight` is then the captions' share, see [`start_from_probes`].
    """

    freeze: Sequence[str] = ("vision", "captioner")
    views: int = 5
    cache: Path | None = None
    mixup: float = 0.5
    visual_dropout: float = 0.1
    teacher_weight: float = 0.0
    patience: int = 0
    text_epochs: float = 3.0
    text_learning_rate: float = 5e-4
    texts_per_epoch: float = 0.0
    labelled_captions: int = 2
    grounding_epochs: float = 8.0
    start_from_probe: bool = True
    caption_weight: float = 0.4


def freeze_parts(model: EscnetForImageEmotion, freeze: Sequence[str]) -> None:
    """Switch the gradients of whole parts off, and of everything else on.

    Raises:
        DataError: for an unknown part.
    """
    unknown = sorted(set(freeze) - set(PARTS))
    if unknown:
        raise DataError(f"There is no part {unknown[0]!r} to freeze; use some of {', '.join(PARTS)}.")
    set_trainable(model, [prefix for part in freeze for prefix in PARTS[part]])


def features_are_fixed(run: EscnetRun) -> bool:
    """Whether features and captions can be computed once."""
    return "vision" in run.freeze


def probes_start(run: EscnetRun) -> bool:
    """Whether linear probes are put into the image's own classifier."""
    return run.start_from_probe and features_are_fixed(run)


def image_sources(
    model: EscnetForImageEmotion,
    processor: EscnetProcessor,
    datasets: Sequence[EmotionDataset],
    split: str,
    run: EscnetRun,
) -> list[ImageSource]:
    """One split of every data set with cached features, where the tower is frozen; captions come later."""
    return featured_sources(model, processor, datasets, split, run, features_are_fixed(run), tokens=True)


def described_images(
    model: EscnetForImageEmotion, processor: EscnetProcessor, path: Path, run: EscnetRun
) -> list[CaptionedPlaces]:
    """Images that people described: their places and the sentences about them.

    Args:
        path: see [`read_captions`].
    """
    examples, texts = read_captions(path)
    tokens = cached_image_features(
        model, processor, examples, run.cache, run.views, path.parent.name, tokens=True
    ).tokens
    sentences = [[part for part in _SENTENCE_END.split(text) if part.strip()] for text in texts]
    return [CaptionedPlaces(tokens[:, i], parts) for i, parts in enumerate(sentences)]


def fit_feature_norms(model: EscnetForImageEmotion, features: Sequence[torch.Tensor]) -> None:
    """Set the power norms' statistics from pooled features `(images, width)`; the captioner's are the same."""
    pooled = torch.cat(list(features))
    for part in (model, model.captioner):
        norm = getattr(part, "feature_norm", None)
        if hasattr(norm, "fit"):
            norm.fit(pooled)


def light_and_colour(examples: Sequence[EmotionExample], processor: Any = None) -> tuple[list[float], list[float]]:
    """Brightness and colourfulness of images; with a processor, of images as small as a prediction reads them."""

    def measured(example: EmotionExample) -> tuple[float, float]:
        image = example.open(max_side=DECODE_SIDE)
        if processor is not None:
            image = reduced_image(image, processor.image_processor, DECODE_SIDE)
        return brightness(image), colorfulness(image)

    with ThreadPoolExecutor(2) as pool:
        values = list(pool.map(measured, examples))
    return [light for light, _ in values], [colour for _, colour in values]


@torch.no_grad()
def write_captions(model: EscnetForImageEmotion, source: ImageSource, varied: bool) -> list[list[str]]:
    """Captions of every view of a source by a captioner that names attributes.

    Args:
        varied: word the later views differently each, as people would; the first one is what a prediction reads.
    """
    light, colour = light_and_colour(source.examples)
    captions = []
    device = next(model.captioner.parameters()).device
    for view, features in enumerate(source.features):
        pooled = features.to(device)
        found = model.captioner.describe(pooled, light, colour)
        seeds = [f"{example.origin}/{view}" if varied and view else None for example in source.examples]
        captions.append(model.captioner.captions(pooled, found, seeds))
    return captions


def caption_source(path: Path, emotion_model: EmotionModel, seed: int = 0) -> CaptionSource:
    """Emotion texts as captions: the texts themselves and, of lists of tags, parts of them in a caption's words.

    Args:
        path: see [`read_emotion_texts`].
    """
    versions, distributions = read_emotion_texts(path, emotion_model)
    captions = []
    for number, row in enumerate(zip(*versions, strict=True)):
        rng = random.Random(f"{seed}/{path.name}/{number}")
        texts = [text for text in row if text]
        parts = []
        for _ in range(_TEXT_VERSIONS - len(texts)):
            words = rng.choice(texts).split()
            length = min(len(words), rng.randint(2, 8))
            start = rng.randint(0, len(words) - length)
            parts.append(f"A photo of {' '.join(words[start : start + length])}.")
        captions.append([*texts, *parts])
    return CaptionSource(emotion_model, captions, distributions)


def fit_lexicon(model: EscnetForImageEmotion, processor: EscnetProcessor, sources: Sequence[CaptionSource]) -> None:
    """Fill the word gate's lexicon: tokens that change what a text evokes get large log-odds, others small ones.

    A token's charge is the divergence of the emotions of its texts from those of all texts, both smoothed; its rank
    among all tokens becomes log-odds between -2.5 and 2.5. Tokens seen in fewer than three texts keep 0. What only
    holds a caption together ("a photo of") gets -5: some of it is rare enough to look charged.
    """
    charge: dict[int, float] = {}
    for source in sources:
        prior = source.distributions.mean(0) + 1e-6
        counts: dict[int, torch.Tensor] = {}
        seen: Counter[int] = Counter()
        texts = [" ".join(versions) for versions in source.captions]
        for ids, votes in zip(
            processor.tokenizer(texts, add_special_tokens=False)["input_ids"], source.distributions, strict=True
        ):
            for token in set(ids):
                counts[token] = counts.get(token, torch.zeros_like(prior)) + votes
                seen[token] += 1
        for token, votes in counts.items():
            if seen[token] >= 3:
                smoothed = (votes + 20 * prior) / (votes.sum() + 20 * prior.sum())
                divergence = float((smoothed * (smoothed / prior).log()).sum())
                charge[token] = max(charge.get(token, 0.0), divergence)
    ranked = sorted(charge, key=charge.__getitem__)
    lexicon = torch.zeros_like(model.fusion.gate.lexicon)
    for rank, token in enumerate(ranked):
        lexicon[token] = _LARGEST_LOG_ODDS * (2 * rank / max(1, len(ranked) - 1) - 1)
    lexicon[frame_tokens(processor.tokenizer)] = -2 * _LARGEST_LOG_ODDS
    model.fusion.gate.lexicon.copy_(lexicon)


def collator_for(
    model: EscnetForImageEmotion, processor: EscnetProcessor, run: EscnetRun, train: bool, places: int
) -> EscnetCollator:
    config = model.config
    return EscnetCollator(
        processor,
        pooled_size=config.pooled_size or vision_width(config.vision_config),
        token_shape=(places, vision_width(config.vision_config)),
        teacher_weight=run.teacher_weight if train else 0.0,
    )


def teach_by_text(
    model: EscnetForImageEmotion,
    processor: EscnetProcessor,
    texts: Sequence[CaptionSource],
    run: EscnetRun,
    arguments: EmotionTrainingArguments,
) -> None:
    """Captions without images: the encoder, the gate and the fusion learn what words evoke."""
    # What the run holds is held here too; the images are hidden, so their tower has nothing to learn.
    freeze_parts(model, sorted({"vision", "captioner", *run.freeze}))
    # The encoder keeps its own rate: what suits two small layers would ruin a large pretrained one.
    settings = text_stage(arguments, run.text_epochs, run.text_learning_rate)
    train_on_texts(model, collator_for(model, processor, run, train=False, places=1), texts, settings)


def train_on_images(
    model: EscnetForImageEmotion,
    processor: EscnetProcessor,
    train: Sequence[ImageSource],
    validation: Sequence[ImageSource],
    run: EscnetRun,
    arguments: EmotionTrainingArguments,
    texts: Sequence[CaptionSource] = (),
) -> EmotionTrainer:
    """Stage 2: labelled images of all data sets together, with texts replayed beside them; resumes if asked."""
    freeze_parts(model, run.freeze)
    images = sum(len(source.distributions) for source in train)
    replay = round(run.texts_per_epoch * images) if texts else 0
    # Without captions a hidden image would leave nothing at all.
    hidden = run.visual_dropout if model.config.use_captions else 0.0
    data = MixedEmotionData(
        train,
        texts if replay else (),
        replay,
        visual_dropout=hidden,
        seed=arguments.seed,
        mixup=run.mixup if features_are_fixed(run) else 0.0,
        root=model.feature_norm.root if model.config.feature_norm == "power" else None,
    )
    held_out = {source.name: MixedEmotionData([source], augment=False) for source in validation}
    places = train[0].tokens.shape[2] if train[0].tokens is not None else 1
    collators = tuple(collator_for(model, processor, run, train, places) for train in (True, False))
    return train_until_best(model, processor, data, held_out, collators, run.patience, arguments)


__all__ = [
    "CaptionSource",
    "EscnetRun",
    "ImageSource",
    "caption_source",
    "described_images",
    "features_are_fixed",
    "fit_feature_norms",
    "fit_lexicon",
    "freeze_parts",
    "image_sources",
    "probes_start",
    "light_and_colour",
    "teach_by_text",
    "train_on_images",
    "write_captions",
]

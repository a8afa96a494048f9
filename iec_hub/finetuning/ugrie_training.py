"""One training run of UGRIE: data and settings in, a calibrated checkpoint with metrics and a card out."""

from __future__ import annotations

import copy
import logging
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import torch

from iec_hub.data import EmotionDataset
from iec_hub.errors import DataError
from iec_hub.finetuning.adapters import set_trainable
from iec_hub.finetuning.features import cached_features
from iec_hub.finetuning.image_training import featured_sources, text_stage, train_on_texts, train_until_best
from iec_hub.finetuning.measuring import calibrate, feature_logits, measure
from iec_hub.finetuning.teacher import probe_teacher
from iec_hub.finetuning.teaching import Lexicon, distil_alignment, fit_alignment, place_images
from iec_hub.finetuning.trainer import EmotionTrainer, EmotionTrainingArguments
from iec_hub.finetuning.training_data import ImageSource, MixedEmotionData, Teacher, TextSource, UgrieCollator
from iec_hub.finetuning.ugrie_arguments import frozen_parts
from iec_hub.models.image_emotion import vision_width
from iec_hub.models.ugrie import UgrieForImageEmotion, UgrieProcessor

logger = logging.getLogger(__name__)

TEXT_LIKELIHOOD_WEIGHT = 0.5


@dataclass
class UgrieRun:
    """Settings of a run beside the Trainer's.

    Attributes:
        freeze: parts that stay as they are: "vision", "language", "mapping".
        views: augmented views per image when the vision tower is frozen and its features are cached.
        cache: folder of cached features; `None` computes them anew.
        mixup, visual_dropout: see [`UgrieCollator`] and [`MixedEmotionData`].
        teacher_weight: share of the linear teacher in the labels; 0 trains on the votes alone.
        patience: epochs without improvement on validation before stopping; 0 never stops early.
    """

    freeze: Sequence[str] = ("vision",)
    views: int = 5
    cache: Path | None = None
    mixup: float = 0.5
    visual_dropout: float = 0.15
    teacher_weight: float = 0.7
    patience: int = 4
    text_epochs: float = 3.0
    text_learning_rate: float = 5e-4


def freeze_parts(model: UgrieForImageEmotion, freeze: Sequence[str]) -> None:
    """Switch the gradients of whole parts off, and of everything else on.

    Raises:
        DataError: for an unknown part, or when nothing would be left to train.
    """
    prefixes = {"vision": ("vision_model.",), "language": ("language_model.",)}
    prefixes["mapping"] = ("mapping.", "semantic_mapping.")
    set_trainable(model, [prefix for part in frozen_parts(freeze) for prefix in prefixes[part]])


def features_are_fixed(model: UgrieForImageEmotion, run: UgrieRun) -> bool:
    """Whether pooled features can stand in for the images: the tower is frozen and the mapping reads no tokens."""
    return "vision" in run.freeze and model.config.mapping_type != "transformer"


def image_sources(
    model: UgrieForImageEmotion,
    processor: UgrieProcessor,
    datasets: Sequence[EmotionDataset],
    split: str,
    run: UgrieRun,
) -> list[ImageSource]:
    """One split of every data set, with cached features where they can stand in for the images."""
    return featured_sources(model, processor, datasets, split, run, features_are_fixed(model, run))


def fit_feature_norm(
    model: UgrieForImageEmotion, processor: UgrieProcessor, train_sources: Sequence[ImageSource]
) -> None:
    """Set the power norm's statistics from the training images as they are."""
    pooled = [
        cached_features(model, processor, source.examples, None)[0] if source.features is None else source.features[0]
        for source in train_sources
    ]
    model.feature_norm.fit(torch.cat(pooled))


def collator_for(model: UgrieForImageEmotion, processor: UgrieProcessor, run: UgrieRun, train: bool) -> UgrieCollator:
    return UgrieCollator(
        processor,
        pooled_size=model.config.pooled_size or vision_width(model.config.vision_config),
        semantic_size=model.config.semantic_size,
        teacher_weight=run.teacher_weight if train else 0.0,
    )


def teach_by_text(
    model: UgrieForImageEmotion,
    processor: UgrieProcessor,
    texts: Sequence[TextSource],
    run: UgrieRun,
    arguments: EmotionTrainingArguments,
) -> None:
    """Stage 1: the language part learns from texts what they evoke; no image is seen."""
    freeze_parts(model, ("vision",))
    for parameter in model.mapping.parameters():
        parameter.requires_grad_(False)
    settings = text_stage(arguments, run.text_epochs, run.text_learning_rate)
    settings.language_learning_rate = run.text_learning_rate
    # A word is told from the whole vocabulary, not only from the other words of its batch.
    weight, model.config.likelihood_weight = model.config.likelihood_weight, TEXT_LIKELIHOOD_WEIGHT
    try:
        train_on_texts(model, collator_for(model, processor, run, train=False), texts, settings)
    finally:
        model.config.likelihood_weight = weight


def align_images(
    model: UgrieForImageEmotion,
    pairs: tuple[torch.Tensor, torch.Tensor],
    unlabelled: torch.Tensor,
    lexicon: Lexicon | None,
    seed: int,
) -> dict[str, float]:
    """Stage 2: the model's map from images to sentence embeddings.

    Args:
        pairs: pooled features `(pairs, width)` and their texts' embeddings `(pairs, semantic size)`.
        unlabelled: further pooled features `(n, width)` on which the regression is distilled.
    """
    with torch.no_grad():
        pooled, texts = pairs
        normed = model.feature_norm(pooled)
        weight, bias, ridge = fit_alignment(normed, pooled, texts, lexicon)
        everything = torch.cat([pooled, unlabelled])
        places = place_images(model.feature_norm(everything), everything, weight, bias, lexicon)
    cosine = distil_alignment(model, everything, places, seed=seed)
    return {"alignment_ridge": ridge, "alignment_cosine": cosine}


def make_teacher(
    model: UgrieForImageEmotion, processor: UgrieProcessor, train: ImageSource, validation: ImageSource, taught: bool
) -> tuple[Teacher, dict[str, float]]:
    """A second opinion for one data set: a linear probe on the training images' views and, where texts taught this
    emotion model, what the model thinks before it has seen a labelled image. Weights are chosen on validation.
    """
    if not taught:
        return probe_teacher(model.feature_norm, train, validation)
    before = copy.deepcopy(model).eval().cpu()
    return probe_teacher(
        model.feature_norm,
        train,
        validation,
        lambda pooled: feature_logits(before, processor, pooled, train.emotion_model, visible=False),
    )


def train_on_images(
    model: UgrieForImageEmotion,
    processor: UgrieProcessor,
    train: Sequence[ImageSource],
    validation: Sequence[ImageSource],
    run: UgrieRun,
    arguments: EmotionTrainingArguments,
    replay: Sequence[TextSource] = (),
    replay_per_epoch: int = 0,
) -> EmotionTrainer:
    """Stage 3: labelled images of all data sets together, with early stopping on validation; resumes if asked.

    Raises:
        DataError: if texts shall be replayed beside images that are read as pixels.
    """
    freeze_parts(model, run.freeze)
    if replay and not features_are_fixed(model, run):
        raise DataError("Texts can be replayed beside cached features only; freeze the vision tower or drop them.")
    # Without the path through the sentence space a hidden prefix would leave no image at all.
    hidden = run.visual_dropout if model.config.semantic_size else 0.0
    data = MixedEmotionData(
        train,
        replay,
        replay_per_epoch,
        visual_dropout=hidden,
        seed=arguments.seed,
        mixup=run.mixup if features_are_fixed(model, run) else 0.0,
        root=model.feature_norm.root if model.config.feature_norm == "power" else None,
    )
    held_out = {source.name: MixedEmotionData([source], augment=False) for source in validation}
    collators = tuple(collator_for(model, processor, run, train) for train in (True, False))
    return train_until_best(model, processor, data, held_out, collators, run.patience, arguments)


__all__ = [
    "ImageSource",
    "UgrieRun",
    "align_images",
    "calibrate",
    "feature_logits",
    "features_are_fixed",
    "fit_feature_norm",
    "freeze_parts",
    "image_sources",
    "make_teacher",
    "measure",
    "teach_by_text",
    "train_on_images",
]

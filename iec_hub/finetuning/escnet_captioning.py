"""Stage 1 of ESCNet: the captioner, before any emotion label is seen."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import torch
from torch import nn

from iec_hub.evaluation.probe import LinearProbe
from iec_hub.finetuning.features import cached_features
from iec_hub.finetuning.training_data import ImageSource
from iec_hub.finetuning.training_sets import read_captions
from iec_hub.finetuning.word_detector import (
    DetectorFit,
    WordLabel,
    fit_word_detector,
    install_detector,
    mentions,
)
from iec_hub.models.escnet import EscnetForImageEmotion, EscnetProcessor

# Beside captions, what a data set says about its images in other columns.
DESCRIBING_COLUMNS = ("theme", "category")


def fit_attribute_captioner(
    model: EscnetForImageEmotion,
    processor: EscnetProcessor,
    vocabulary: Sequence[WordLabel],
    captions: Sequence[Path],
    sources: Sequence[ImageSource],
    views: int,
    cache: Path | None,
    precision: float,
    seed: int,
) -> DetectorFit:
    """Fit the word detector of an attribute captioner and put it into the model.

    Args:
        captions: CSV files of captioned images, see [`read_captions`].
        sources: labelled training images with features; those with tags or a text teach words too, not emotions.
    """
    features, texts = [], []
    for path in captions:
        examples, described = read_captions(path, DESCRIBING_COLUMNS)
        features.append(cached_features(model, processor, examples, cache, views, path.parent.name))
        texts += described
    for source in sources:
        told = {i: str((e.attributes or {}).get("tags") or e.text or "") for i, e in enumerate(source.examples)}
        rows = [i for i, text in told.items() if text.strip()]
        features.append(source.features[:, rows])
        texts += [told[i] for i in rows]
    normed = model.captioner.feature_norm(torch.cat(features, dim=1))
    fit = fit_word_detector(normed, mentions(texts, vocabulary), vocabulary, precision=precision, seed=seed)
    install_detector(model.captioner, fit)
    return fit


def install_classifier(model: EscnetForImageEmotion, weight: torch.Tensor, bias: torch.Tensor) -> None:
    """Put an ImageNet head `(1000, width)` into the attribute captioner; missing channels weigh nothing."""
    with torch.no_grad():
        model.captioner.classifier.weight.zero_()
        model.captioner.classifier.weight[:, : weight.shape[1]] = weight
        model.captioner.classifier.bias.copy_(bias)


def fit_emotion_words(model: EscnetForImageEmotion, train: ImageSource, validation: ImageSource) -> None:
    """Give the attribute captioner an emotion to end its captions with: a linear probe's, on the training images."""
    captioner = model.captioner
    features = captioner.feature_norm(train.features).flatten(0, 1)
    probe = LinearProbe.select(
        features,
        train.distributions.repeat(len(train.features), 1),
        captioner.feature_norm(validation.features[0]),
        validation.distributions,
    )
    captioner.config.emotions = list(train.emotion_model.labels)
    captioner.emotion_head = nn.Linear(*reversed(probe.weight.T.shape))
    with torch.no_grad():
        captioner.emotion_head.weight.copy_(probe.weight.T)
        captioner.emotion_head.bias.copy_(probe.bias)


__all__ = ["fit_attribute_captioner", "fit_emotion_words", "install_classifier"]

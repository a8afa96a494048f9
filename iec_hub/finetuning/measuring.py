"""After the training: logits of whole data sets, calibration on validation, metrics, and the checkpoint's files."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import torch

from iec_hub.emotions import EmotionModel
from iec_hub.errors import DataError
from iec_hub.evaluation import (
    DEVIATION,
    coverage_threshold,
    distribution_report,
    fit_scaling,
    fit_temperature,
    offset_gain,
    sure_pictures,
)
from iec_hub.finetuning.training_data import ImageSource
from iec_hub.models.configuration_image_emotion import ImageEmotionConfig
from iec_hub.models.image_emotion import ImageEmotionModel, forward_inputs
from iec_hub.predictor import DECODE_SIDE


@torch.no_grad()
def feature_logits(
    model: ImageEmotionModel,
    processor: Any,
    pooled: torch.Tensor,
    emotion_model: Any,
    visible: bool = True,
    batch_size: int = 128,
    tokens: torch.Tensor | None = None,
    captions: Sequence[str] | None = None,
) -> torch.Tensor:
    """Logits `(n, labels)` from cached features.

    Args:
        visible: `False` leaves only what the method reads beside the image: UGRIE's path through the sentence space,
            ESCNet's captions.
        tokens: `(n, places, token width)`, `captions`: one per image; for models that read them.
    """
    was_training = model.training
    model.eval()
    parts = []
    for start in range(0, len(pooled), batch_size):
        rows = slice(start, start + batch_size)
        given = {} if captions is None else {"captions": list(captions[rows])}
        batch = processor(emotion_models=emotion_model, batch_size=len(pooled[rows]), **given)
        batch.pop("emotion_models")
        features = {"pooled_features": pooled[rows]}
        if tokens is not None:
            features["token_features"] = tokens[rows].float()
        if not visible:
            features["visual_mask"] = torch.zeros(len(pooled[rows]))
        moved = {name: value.to(model.device) for name, value in features.items()}
        parts.append(model(**batch.to(model.device), **moved).logits.cpu())
    model.train(was_training)
    return torch.cat(parts)


@torch.no_grad()
def source_logits(model: ImageEmotionModel, processor: Any, source: ImageSource, batch_size: int = 32) -> torch.Tensor:
    """Logits `(images, labels)` of a source, from its features or else from its images."""
    if source.features is not None:
        tokens = None if source.tokens is None else source.tokens[0]
        captions = source.captions[0] if source.captions else None
        return feature_logits(
            model, processor, source.features[0], source.emotion_model, tokens=tokens, captions=captions
        )
    was_training = model.training
    model.eval()
    parts = []
    for start in range(0, len(source.examples), batch_size):
        images = [e.open(max_side=DECODE_SIDE) for e in source.examples[start : start + batch_size]]
        batch = processor(images=images, emotion_models=source.emotion_model).to(model.device)
        captions = source.captions[0][start : start + batch_size] if source.captions else None
        parts.append(model(**forward_inputs(model.gather(batch, processor, captions))).logits.cpu())
    model.train(was_training)
    return torch.cat(parts)


def round_to_half(model: ImageEmotionModel) -> None:
    """Round the weights as float16 will store them, so that what is calibrated and measured is what is loaded.

    Raises:
        DataError: if a weight is too large for float16.
    """
    model.half().float()
    broken = [name for name, tensor in model.state_dict().items() if not tensor.isfinite().all()]
    if broken:
        raise DataError(f"{broken[0]} does not fit into float16; leave out --half_precision_weights.")


@dataclass(frozen=True)
class ScoredImages:
    """What a model says about the images of one data set, before calibration, and what people said.

    Attributes:
        name: of the data set, for metrics.
        emotion_model: its labels.
        logits: `(images, labels)`; `-inf` where a label is no candidate.
        distributions: `(images, labels)`, votes or shares of them.
        files: the images' names, where known.
    """

    name: str
    emotion_model: EmotionModel
    logits: torch.Tensor
    distributions: torch.Tensor
    files: Sequence[str] = ()


def score(model: ImageEmotionModel, processor: Any, sources: Sequence[ImageSource]) -> list[ScoredImages]:
    """The logits of data sets, each from its features or else from its images."""
    return [
        ScoredImages(source.name, source.emotion_model, source_logits(model, processor, source), source.distributions)
        for source in sources
    ]


def fit_calibration(
    config: ImageEmotionConfig, scored: Sequence[ScoredImages], coverage: float | None = None
) -> dict[str, Any]:
    """Fit what makes confidence mean what it says and write it into the configuration.

    For each emotion model, over all its validation images together: a temperature; an offset per label where
    cross-validation says that offsets take more off the soft cross-entropy than the standard error of that; and,
    with `coverage`, the confidence from which on a prediction is sure. A weak prior keeps a handful of images from
    calling for extremes. Emotion models without images here keep the temperature that they had.

    Args:
        scored: validation images, never test images.
        coverage: share of them to call sure, more than 0 and at most 1; `None` keeps the rule of `sure_confidence` and
            `sure_ratio`.

    Returns:
        What belongs into `metrics.json`: `temperatures`, emotion model name to temperature, and `calibration`, the
        name to everything that was fitted: `temperature`, `offsets` (label to number, or `None`), `offset_gain` and
        its `offset_standard_error` (nats; `None` where there were too few images to tell), `pictures`, and with
        `coverage` that, the `threshold` and the `share` of the images that it calls sure.

    Raises:
        DataError: if the coverage is no such share, or logits and distributions do not fit.
    """
    together: dict[str, list[ScoredImages]] = {}
    for each in scored:
        together.setdefault(each.emotion_model.name, []).append(each)
    known = config.trained_emotion_models
    # A continued checkpoint may know labels that this run has no images of: their temperature is still the best guess,
    # while offsets and thresholds would claim more.
    config.temperatures = {name: value for name, value in config.temperatures.items() if name in known}
    config.label_offsets, config.sure_thresholds, config.sure_coverage = {}, {}, coverage
    fitted = {}
    for name, parts in together.items():
        emotion_model = parts[0].emotion_model
        logits, votes = torch.cat([p.logits for p in parts]), torch.cat([p.distributions for p in parts])
        gain = offset_gain(logits.double().numpy(), votes.double().numpy())
        if gain is not None and gain.helps:
            temperature, offsets = fit_scaling(logits.double().numpy(), votes.double().numpy())
            config.label_offsets[name] = offsets.tolist()
        else:
            temperature = fit_temperature(logits.double().numpy(), votes.double().numpy(), DEVIATION)
        config.temperatures[name] = temperature
        found: dict[str, Any] = {
            "temperature": temperature,
            "offsets": dict(zip(emotion_model.labels, config.label_offsets[name], strict=True))
            if name in config.label_offsets
            else None,
            "offset_gain": None if gain is None else gain.mean,
            "offset_standard_error": None if gain is None else gain.standard_error,
            "pictures": len(logits),
        }
        if coverage is not None:
            probabilities = config.calibrated_probabilities(logits, emotion_model).double().numpy()
            threshold = config.sure_thresholds[name] = coverage_threshold(probabilities, coverage)
            share = float(sure_pictures(probabilities, threshold).mean())
            found |= {"coverage": coverage, "threshold": threshold, "share": share}
        fitted[name] = found
    return {"calibration": fitted, "temperatures": dict(config.temperatures)}


def measure_scored(config: ImageEmotionConfig, scored: Sequence[ScoredImages]) -> dict[str, dict[str, Any]]:
    """What [`distribution_report`] tells of each data set, after calibration, with its `emotion_model`'s name."""
    return {
        each.name: {
            **distribution_report(
                config.calibrated_probabilities(each.logits, each.emotion_model).double().numpy(),
                each.distributions.double().numpy(),
                each.emotion_model.labels,
                config.sure_rule(each.emotion_model),
            ),
            "emotion_model": each.emotion_model.name,
        }
        for each in scored
    }


def calibrate(
    model: ImageEmotionModel, processor: Any, validation: Sequence[ImageSource], coverage: float | None = None
) -> dict[str, float]:
    """[`fit_calibration`] on validation images; returns each emotion model's temperature."""
    return fit_calibration(model.config, score(model, processor, validation), coverage)["temperatures"]


def measure(model: ImageEmotionModel, processor: Any, sources: Sequence[ImageSource]) -> dict[str, dict[str, Any]]:
    """Metrics per data set, after calibration."""
    return measure_scored(model.config, score(model, processor, sources))

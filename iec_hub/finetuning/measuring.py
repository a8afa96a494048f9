"""After the training: logits of whole data sets, calibration on validation, metrics, and the checkpoint's files."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch

from iec_hub.errors import DataError
from iec_hub.evaluation import evaluate_distributions, fit_temperature
from iec_hub.finetuning.training_data import ImageSource
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


def calibrate(model: ImageEmotionModel, processor: Any, validation: Sequence[ImageSource]) -> dict[str, float]:
    """Fit one temperature per emotion model on its validation images and write it into the configuration."""
    together: dict[str, list[tuple[torch.Tensor, torch.Tensor]]] = {}
    for source in validation:
        logits = source_logits(model, processor, source)
        together.setdefault(source.emotion_model.name, []).append((logits, source.distributions))
    temperatures = {}
    for name, parts in together.items():
        logits, targets = (torch.cat(tensors).numpy() for tensors in zip(*parts, strict=True))
        temperatures[name] = fit_temperature(logits, targets)
    model.config.temperatures = temperatures
    return temperatures


def measure(model: ImageEmotionModel, processor: Any, sources: Sequence[ImageSource]) -> dict[str, dict[str, float]]:
    """Metrics per data set, after calibration."""
    results = {}
    for source in sources:
        logits = source_logits(model, processor, source)
        probabilities = (logits / model.config.temperature_for(source.emotion_model)).softmax(-1)
        results[source.name] = evaluate_distributions(probabilities.numpy(), source.distributions.numpy())
    return results


def save_run(model: ImageEmotionModel, processor: Any, folder: Path, log: dict[str, Any], half: bool = False) -> None:
    """Write the checkpoint, its processor and `metrics.json`; `half` stores the weights in float16."""
    folder.mkdir(parents=True, exist_ok=True)
    if half:
        model.half()
    model.save_pretrained(folder)
    # Half precision is how the weights are stored, not how they compute: a CPU is slow at it.
    model.float().config.dtype = "float32"
    model.config.save_pretrained(folder)
    processor.save_pretrained(folder)
    (folder / "metrics.json").write_text(json.dumps(log, indent=2, sort_keys=True) + "\n", encoding="utf-8")

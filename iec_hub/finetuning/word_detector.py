"""Stage 1 of a small captioner: which words of people's captions can be told from an image, and how surely.

A linear detector learns every word of a vocabulary from human captions and tags (after Fang et al., "From captions to
visual concepts and back", CVPR 2015). Cross-validation decides which words are told, and from which probability: those
that reach a wanted precision on images that the detector has not seen. Captions leave much unsaid, so what they count
as wrong is often right: the precision is a lower bound.
"""

from __future__ import annotations

import json
import re
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import torch
from torch import nn
from torch.nn import functional as F  # noqa: N812  the field's name for it

from iec_hub.errors import DataError
from iec_hub.models.escnet import AttributeCaptioner

STRENGTHS = (3e-4, 1e-3, 3e-3)
FOLDS = 5
# From here on a label may be guessed where nothing surer is found.
GUESS_PRECISION = 0.5


@dataclass(frozen=True)
class WordLabel:
    """A label of the vocabulary.

    Attributes:
        label: how it is told; `attribute`: which of EmoSet's attributes it is.
        words: any of them in a text means that the label is told there; regular expressions of whole words.
        implies: more general labels that need not be told beside it.
        classes: first and last ImageNet class, where those are kinds of it, so that it need not be told beside them.
    """

    label: str
    attribute: str
    words: tuple[str, ...]
    implies: tuple[str, ...] = ()
    classes: tuple[int, int] | None = None

    @cached_property
    def pattern(self) -> re.Pattern[str]:
        return re.compile(rf"\b(?:{'|'.join(self.words)})\b", re.IGNORECASE)


@dataclass(frozen=True)
class DetectorFit:
    """A fitted detector.

    Attributes:
        labels: those that are told, in the order of the rows of `weight` `(labels, width)` and `bias`.
        entries: what [`AttributeCaptionerConfig.labels`] holds of them.
        report: per label of the whole vocabulary its count, average precision, threshold, precision and recall.
    """

    labels: tuple[WordLabel, ...]
    entries: list[dict[str, Any]]
    weight: torch.Tensor
    bias: torch.Tensor
    report: list[dict[str, Any]]


def read_vocabulary(path: Path) -> list[WordLabel]:
    """A vocabulary from JSON: a list of objects with the fields of [`WordLabel`].

    Raises:
        DataError: if it cannot be read.
    """
    try:
        entries = json.loads(path.read_text(encoding="utf-8"))
        labels = [
            WordLabel(
                e["label"],
                e["attribute"],
                tuple(e["words"]),
                tuple(e.get("implies", ())),
                tuple(e["classes"]) if "classes" in e else None,
            )
            for e in entries
        ]
        assert all(label.words and label.pattern for label in labels)
    except (OSError, ValueError, KeyError, TypeError, AssertionError, re.error) as error:
        raise DataError(
            f"{path.name} is no vocabulary; it needs a JSON list of objects with label, attribute and words ({error})."
        ) from error
    return labels


def mentions(texts: Sequence[str], vocabulary: Sequence[WordLabel]) -> torch.Tensor:
    """Which labels the texts tell, themselves or by a more special one: `(texts, labels)`, 0 or 1."""
    told = torch.tensor([[float(bool(label.pattern.search(text))) for label in vocabulary] for text in texts])
    column = {label.label: i for i, label in enumerate(vocabulary)}
    for i, label in enumerate(vocabulary):
        for general in label.implies:
            if general in column:
                told[:, column[general]] = torch.maximum(told[:, column[general]], told[:, i])
    return told


def fit_word_detector(
    features: torch.Tensor,
    targets: torch.Tensor,
    vocabulary: Sequence[WordLabel],
    precision: float = 0.75,
    least_recall: float = 0.1,
    least_images: int = 8,
    seed: int = 0,
) -> DetectorFit:
    """Fit the detector and choose what it tells.

    Args:
        features: `(views, images, width)`, normed, view 0 the image itself.
        targets: `(images, labels)`, from [`mentions`].
        precision, least_recall: a label is told from the lowest threshold with this precision, if that finds this
            share of its images; both on held-out folds.
        least_images: labels with fewer images are left out.

    Raises:
        DataError: if no label is left.
    """
    views, images = features.shape[:2]
    often = [i for i in range(len(vocabulary)) if targets[:, i].sum() >= least_images]
    if not often:
        raise DataError(
            f"No word of the vocabulary is told of {least_images} images; give more captions or another vocabulary."
        )
    targets = targets[:, often]
    folds = torch.randperm(images, generator=torch.Generator().manual_seed(seed)) % FOLDS
    held_out = {}
    for strength in STRENGTHS:
        probabilities = torch.zeros_like(targets)
        for fold in range(FOLDS):
            rows = folds != fold
            weight, bias = _fit(features[:, rows].flatten(0, 1), targets[rows].repeat(views, 1), strength)
            probabilities[~rows] = (features[0][~rows] @ weight.T + bias).sigmoid()
        held_out[strength] = probabilities
    best = min(held_out, key=lambda s: float(F.binary_cross_entropy(held_out[s].clamp(1e-5, 1 - 1e-5), targets)))
    weight, bias = _fit(features.flatten(0, 1), targets.repeat(views, 1), best)
    kept, entries, report = [], [], []
    for column, index in enumerate(often):
        label = vocabulary[index]
        row = _operating_point(held_out[best][:, column], targets[:, column], precision)
        guess = _operating_point(held_out[best][:, column], targets[:, column], GUESS_PRECISION)
        report.append({"label": label.label, "images": int(targets[:, column].sum()), **row})
        if row["recall"] >= least_recall:
            kept.append(column)
            entries.append(
                {"label": label.label, "attribute": label.attribute, "threshold": round(row["threshold"], 4)}
                | {"guess": round(guess["threshold"], 4), "implies": list(label.implies), "classes": label.classes}
            )
    if not kept:
        raise DataError("No word of the vocabulary can be told from these images; give more captions.")
    return DetectorFit(tuple(vocabulary[often[c]] for c in kept), entries, weight[kept], bias[kept], report)


def _fit(features: torch.Tensor, targets: torch.Tensor, strength: float) -> tuple[torch.Tensor, torch.Tensor]:
    """Logistic regressions, one per label, with the penalty of [`LinearProbe`]: weight `(labels, width)` and bias."""
    share = targets.mean(0).clamp(1e-4, 1 - 1e-4)
    weight = torch.zeros(targets.shape[1], features.shape[1], requires_grad=True)
    bias = torch.log(share / (1 - share)).requires_grad_()
    optimizer = torch.optim.LBFGS([weight, bias], max_iter=40, history_size=8, line_search_fn="strong_wolfe")

    def closure() -> torch.Tensor:
        optimizer.zero_grad()
        losses = F.binary_cross_entropy_with_logits(features @ weight.T + bias, targets, reduction="none")
        loss = losses.mean(0).sum() + weight.pow(2).sum() / (2 * strength * len(features))
        loss.backward()
        return loss

    with torch.enable_grad():
        optimizer.step(closure)
    return weight.detach(), bias.detach()


def _operating_point(probabilities: torch.Tensor, targets: torch.Tensor, precision: float) -> dict[str, float]:
    """Average precision, and the lowest threshold whose precision is at least the wanted one (five images or more)."""
    order = probabilities.argsort(descending=True)
    hits = targets[order].cumsum(0)
    precisions = hits / torch.arange(1, len(order) + 1)
    average = float((precisions * targets[order]).sum() / targets.sum())
    good = [i for i in range(4, len(order)) if precisions[i] >= precision]
    if not good:
        return {"average_precision": average, "threshold": 1.0, "precision": 0.0, "recall": 0.0}
    last = good[-1]
    return {
        "average_precision": average,
        "threshold": float(probabilities[order[last]]),
        "precision": float(precisions[last]),
        "recall": float(hits[last] / targets.sum()),
    }


def install_detector(captioner: AttributeCaptioner, fit: DetectorFit) -> None:
    """Put a fitted detector into a captioner and its configuration."""
    captioner.config.labels = fit.entries
    captioner.detector = nn.Linear(fit.weight.shape[1], len(fit.labels))
    with torch.no_grad():
        captioner.detector.weight.copy_(fit.weight)
        captioner.detector.bias.copy_(fit.bias)


__all__ = ["DetectorFit", "WordLabel", "fit_word_detector", "install_detector", "mentions", "read_vocabulary"]

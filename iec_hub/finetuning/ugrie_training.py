"""One training run of UGRIE: data and settings in, a calibrated checkpoint with metrics and a card out."""

from __future__ import annotations

import copy
import json
import logging
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch
from transformers import EarlyStoppingCallback, set_seed

from iec_hub.data import EmotionDataset
from iec_hub.errors import DataError
from iec_hub.evaluation import evaluate_distributions, fit_temperature
from iec_hub.evaluation.probe import LinearProbe
from iec_hub.finetuning.features import cached_features
from iec_hub.finetuning.teaching import Lexicon, distil_alignment, fit_alignment, place_images
from iec_hub.finetuning.trainer import EmotionTrainer, EmotionTrainingArguments
from iec_hub.finetuning.training_data import ImageSource, MixedEmotionData, Teacher, TextSource, UgrieCollator
from iec_hub.models.ugrie import UgrieForImageEmotion, UgrieProcessor

logger = logging.getLogger(__name__)

TEACHER_STRENGTHS = (5e-5, 1e-4, 2e-4, 5e-4, 1e-3)
ZERO_SHOT_WEIGHTS = (0.0, 0.2, 0.4, 0.7)


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
    log: dict[str, Any] = field(default_factory=dict)


def freeze_parts(model: UgrieForImageEmotion, freeze: Sequence[str]) -> None:
    """Switch the gradients of whole parts off, and of everything else on.

    Raises:
        DataError: for an unknown part, or when nothing would be left to train.
    """
    prefixes = {"vision": ("vision_model.",), "language": ("language_model.",)}
    prefixes["mapping"] = ("mapping.", "semantic_mapping.")
    unknown = set(freeze) - set(prefixes)
    if unknown:
        raise DataError(f"{sorted(unknown)[0]!r} cannot be frozen; name some of {', '.join(prefixes)}.")
    frozen = tuple(prefix for part in freeze for prefix in prefixes[part])
    for name, parameter in model.named_parameters():
        parameter.requires_grad_(not name.startswith(frozen) if frozen else True)
    if not any(parameter.requires_grad for parameter in model.parameters()):
        raise DataError("Every part is frozen, so there is nothing to train; freeze fewer parts.")


def image_sources(
    model: UgrieForImageEmotion,
    processor: UgrieProcessor,
    datasets: Sequence[EmotionDataset],
    split: str,
    run: UgrieRun,
) -> list[ImageSource]:
    """One split of every data set, with cached features if the vision tower is frozen."""
    sources = []
    for dataset in datasets:
        part = dataset.split(split)
        source = ImageSource(
            dataset.name, dataset.emotion_model, torch.tensor(part.distributions()).float(), examples=part.examples
        )
        if "vision" in run.freeze:
            views = run.views if split == "train" else 1
            source.features = cached_features(
                model, processor, part.examples, run.cache, views, f"{dataset.name}/{split}"
            )
        sources.append(source)
    return sources


def collator_for(model: UgrieForImageEmotion, processor: UgrieProcessor, run: UgrieRun, train: bool) -> UgrieCollator:
    power = model.config.feature_norm == "power"
    return UgrieCollator(
        processor,
        pooled_size=model.pooled_size,
        semantic_size=model.config.semantic_size,
        mixup=run.mixup if train and "vision" in run.freeze else 0.0,
        teacher_weight=run.teacher_weight if train else 0.0,
        root=model.feature_norm.root if power else None,
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
    settings = copy.copy(arguments)
    settings.output_dir = str(Path(arguments.output_dir) / "text")
    settings.num_train_epochs, settings.eval_strategy, settings.save_strategy = run.text_epochs, "no", "no"
    settings.load_best_model_at_end, settings.language_learning_rate = False, run.text_learning_rate
    settings.learning_rate, settings.max_steps = run.text_learning_rate, -1
    data = MixedEmotionData(texts=texts, texts_per_epoch=sum(len(t.embeddings) for t in texts), seed=arguments.seed)
    trainer = EmotionTrainer(
        model, settings, data_collator=collator_for(model, processor, run, train=False), train_dataset=data
    )
    trainer.train()


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


@torch.no_grad()
def feature_logits(
    model: UgrieForImageEmotion,
    processor: UgrieProcessor,
    pooled: torch.Tensor,
    emotion_model: Any,
    visible: bool = True,
    batch_size: int = 128,
) -> torch.Tensor:
    """Logits `(n, labels)` from cached features; `visible=False` leaves only the path through the sentence space."""
    was_training = model.training
    model.eval()
    parts = []
    for rows in pooled.split(batch_size):
        batch = processor(emotion_models=emotion_model, batch_size=len(rows))
        batch.pop("emotion_models")
        mask = None if visible else torch.zeros(len(rows))
        parts.append(model(**batch, pooled_features=rows, visual_mask=mask).logits)
    model.train(was_training)
    return torch.cat(parts)


def make_teacher(
    model: UgrieForImageEmotion, processor: UgrieProcessor, train: ImageSource, validation: ImageSource, taught: bool
) -> tuple[Teacher, dict[str, float]]:
    """A second opinion for one data set: a linear probe on the training images' views and, where texts taught this
    emotion model, what the model thinks before it has seen a labelled image. Weights are chosen on validation.
    """
    norm = copy.deepcopy(model.feature_norm)
    features = norm(train.features).flatten(0, 1)
    targets = train.distributions.repeat(len(train.features), 1)
    seen = validation.features[0]
    probe = LinearProbe.select(features, targets, norm(seen), validation.distributions, TEACHER_STRENGTHS)
    settings = {"strength": probe.strength, "zero_shot_weight": 0.0}
    if not taught:
        return lambda pooled: probe.logits(norm(pooled)), settings
    before = copy.deepcopy(model).eval()

    def joined(pooled: torch.Tensor, weight: float) -> torch.Tensor:
        logits = probe.logits(norm(pooled)).log_softmax(-1)
        if not weight:
            return logits
        return logits + weight * feature_logits(before, processor, pooled, train.emotion_model, visible=False)

    def loss(weight: float) -> float:
        log_probabilities = joined(seen, weight).log_softmax(-1)
        return float(-(validation.distributions * log_probabilities).sum(1).mean())

    settings["zero_shot_weight"] = best = min(ZERO_SHOT_WEIGHTS, key=loss)
    return lambda pooled: joined(pooled, best), settings


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
    """Stage 3: labelled images of all data sets together, with early stopping on validation; resumes if asked."""
    freeze_parts(model, run.freeze)
    data = MixedEmotionData(
        train, replay, replay_per_epoch, augment=True, visual_dropout=run.visual_dropout, seed=arguments.seed
    )
    held_out = {source.name: MixedEmotionData([source], augment=False) for source in validation}
    trainer = EmotionTrainer(
        model,
        arguments,
        data_collator=collator_for(model, processor, run, train=True),
        eval_collator=collator_for(model, processor, run, train=False),
        train_dataset=data,
        eval_dataset=held_out,
        processing_class=processor,
        callbacks=[EarlyStoppingCallback(run.patience)] if run.patience else [],
    )
    trainer.train(resume_from_checkpoint=_resume_point(arguments))
    return trainer


def _resume_point(arguments: EmotionTrainingArguments) -> str | None:
    resume = arguments.resume_from_checkpoint
    return None if resume in (None, "", "none", "False", False) else resume


def calibrate(
    model: UgrieForImageEmotion, processor: UgrieProcessor, validation: Sequence[ImageSource]
) -> dict[str, float]:
    """Fit one temperature per emotion model on validation and write it into the configuration."""
    temperatures = {}
    for source in validation:
        logits = feature_logits(model, processor, source.features[0], source.emotion_model)
        temperatures[source.emotion_model.name] = fit_temperature(logits.numpy(), source.distributions.numpy())
    model.config.temperatures = temperatures
    return temperatures


def measure(
    model: UgrieForImageEmotion, processor: UgrieProcessor, sources: Sequence[ImageSource]
) -> dict[str, dict[str, float]]:
    """Metrics per data set, after calibration."""
    results = {}
    for source in sources:
        logits = feature_logits(model, processor, source.features[0], source.emotion_model)
        probabilities = (logits / model.config.temperature_for(source.emotion_model)).softmax(-1)
        results[source.name] = evaluate_distributions(probabilities.numpy(), source.distributions.numpy())
    return results


def save_run(model: UgrieForImageEmotion, processor: UgrieProcessor, folder: Path, log: dict[str, Any]) -> None:
    """Write the checkpoint, its processor and `metrics.json`."""
    folder.mkdir(parents=True, exist_ok=True)
    model.save_pretrained(folder)
    processor.save_pretrained(folder)
    (folder / "metrics.json").write_text(json.dumps(log, indent=2, sort_keys=True) + "\n", encoding="utf-8")


def begin(arguments: EmotionTrainingArguments) -> None:
    """Seed everything and make the run repeatable on a CPU."""
    set_seed(arguments.seed)

"""What the methods' trainings do alike: cached features of data sets, texts alone, and epochs until the best one."""

from __future__ import annotations

import copy
from collections.abc import Sequence
from dataclasses import fields
from pathlib import Path
from typing import Any, TypeVar

import torch
from torch.utils.data import Dataset
from transformers import IntervalStrategy

from iec_hub.data import EmotionDataset
from iec_hub.finetuning.features import cached_image_features
from iec_hub.finetuning.run import resume_point
from iec_hub.finetuning.trainer import EarlyStopping, EmotionTrainer, EmotionTrainingArguments, EpochOfData
from iec_hub.finetuning.training_data import ImageSource, MixedEmotionData
from iec_hub.models.image_emotion import ImageEmotionModel

T = TypeVar("T")


def chosen_settings(kind: type[T], recipe: Any, **further: Any) -> T:
    """A dataclass of settings with the recipe's arguments of the same names.

    Args:
        further: settings that the recipe does not have, or has in another form.
    """
    names = {item.name for item in fields(kind)}
    return kind(**{**{name: value for name, value in vars(recipe).items() if name in names}, **further})


def featured_sources(
    model: ImageEmotionModel,
    processor: Any,
    datasets: Sequence[EmotionDataset],
    split: str,
    run: Any,
    fixed: bool,
    tokens: bool = False,
) -> list[ImageSource]:
    """One split of every data set, with cached features where they can stand in for the images.

    Args:
        run: `views` per training image and the folder `cache`, as in [`UgrieRun`].
        fixed: whether features can stand in for the images.
        tokens: whether the method reads the tokens of every place too.
    """
    sources = []
    for dataset in datasets:
        part = dataset.split(split)
        source = ImageSource(
            dataset.name, dataset.emotion_model, torch.tensor(part.distributions()).float(), examples=part.examples
        )
        if fixed:
            views = run.views if split == "train" else 1
            source.features, source.tokens = cached_image_features(
                model, processor, part.examples, run.cache, views, f"{dataset.name}/{split}", tokens=tokens
            )
        sources.append(source)
    return sources


def text_stage(arguments: EmotionTrainingArguments, epochs: float, learning_rate: float) -> EmotionTrainingArguments:
    """A run's arguments for its texts without images: a folder of their own, nothing evaluated, saved or published."""
    settings = copy.copy(arguments)
    settings.output_dir = str(Path(arguments.output_dir) / "text")
    settings.num_train_epochs, settings.max_steps, settings.learning_rate = epochs, -1, learning_rate
    settings.eval_strategy = settings.save_strategy = "no"
    settings.load_best_model_at_end = settings.push_to_hub = settings.eval_on_start = False
    return settings


def train_on_texts(
    model: ImageEmotionModel, collator: Any, texts: Sequence[Any], settings: EmotionTrainingArguments
) -> None:
    """Train on texts alone, all of them in every epoch.

    Args:
        texts: [`TextSource`] or [`CaptionSource`], whatever the collator makes batches of.
        settings: as [`text_stage`] gives them.
    """
    data = MixedEmotionData(texts=texts, texts_per_epoch=sum(map(len, texts)), seed=settings.seed)
    trainer = EmotionTrainer(
        model, settings, data_collator=collator, train_dataset=data, callbacks=[EpochOfData(data)]
    )
    trainer.train()


def train_until_best(
    model: ImageEmotionModel,
    processor: Any,
    data: Dataset,
    held_out: dict[str, Dataset],
    collators: tuple[Any, Any],
    patience: int,
    arguments: EmotionTrainingArguments,
    train_sampler: Any = None,
) -> EmotionTrainer:
    """Train with early stopping on validation; resumes if asked.

    Args:
        data: what is new in every epoch, as [`EpochOfData`] tells it.
        held_out: name of a data set to its validation images or texts.
        collators: the training's and the validation's.
        patience: epochs without improvement before stopping; 0 never stops early.
        train_sampler: see [`EmotionTrainer`].
    """
    callbacks: list[Any] = [EpochOfData(data)]
    if patience and arguments.eval_strategy != IntervalStrategy.NO and arguments.metric_for_best_model:
        callbacks.append(EarlyStopping(patience))
    trainer = EmotionTrainer(
        model,
        arguments,
        data_collator=collators[0],
        eval_collator=collators[1],
        train_dataset=data,
        eval_dataset=held_out,
        train_sampler=train_sampler,
        processing_class=processor,
        callbacks=callbacks,
    )
    trainer.train(resume_from_checkpoint=resume_point(arguments))
    return trainer


__all__ = ["chosen_settings", "featured_sources", "text_stage", "train_on_texts", "train_until_best"]

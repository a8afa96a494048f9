"""transformers' Trainer with what image emotion models need: per-part learning rates and metrics over several sets."""

from __future__ import annotations

import copy
import random
from collections.abc import Iterator
from dataclasses import dataclass, field
from functools import partial
from typing import Any

import torch
from torch import nn
from torch.utils.data import DataLoader, Sampler
from transformers import (
    EarlyStoppingCallback,
    EvalPrediction,
    PreTrainedModel,
    Trainer,
    TrainerCallback,
    TrainingArguments,
)

from iec_hub.evaluation import evaluate_distributions


@dataclass
class EmotionTrainingArguments(TrainingArguments):
    """[`TrainingArguments`] with defaults that suit small emotion data sets; every one of its options can be set.

    `learning_rate` is that of the mapping (and of every part without one of its own).
    """

    output_dir: str | None = field(
        default=None, metadata={"help": "Where checkpoints, metrics and the card go; runs/METHOD if left out."}
    )
    learning_rate: float = field(default=1e-3, metadata={"help": "Learning rate of the mapping network."})
    language_learning_rate: float = field(
        default=1e-4, metadata={"help": "Learning rate of the language part; ten times the default with --lora."}
    )
    vision_learning_rate: float = field(
        default=1e-5, metadata={"help": "Learning rate of the vision tower; ten times the default with --lora."}
    )
    per_device_train_batch_size: int = field(default=64, metadata={"help": "Images and texts in a step."})
    per_device_eval_batch_size: int = field(default=128, metadata={"help": "Images in an evaluation step."})
    num_train_epochs: float = field(default=10, metadata={"help": "Passes over the training images."})
    weight_decay: float = field(default=0.05, metadata={"help": "AdamW's weight decay."})
    lr_scheduler_type: str = field(default="cosine", metadata={"help": "Shape of the learning rate."})
    warmup_steps: float = field(default=30, metadata={"help": "Steps until the full learning rate."})
    eval_strategy: str = field(default="epoch", metadata={"help": "When to evaluate."})
    save_strategy: str = field(default="epoch", metadata={"help": "When to write a checkpoint."})
    save_total_limit: int | None = field(default=2, metadata={"help": "Checkpoints kept."})
    load_best_model_at_end: bool = field(default=True, metadata={"help": "End with the best epoch's weights."})
    metric_for_best_model: str | None = field(
        default="soft_cross_entropy", metadata={"help": "What 'best' means on validation."}
    )
    greater_is_better: bool | None = field(default=False, metadata={"help": "Whether more of it is better."})
    report_to: list[str] = field(
        default_factory=lambda: ["none"], metadata={"help": "Some of tensorboard, wandb, trackio..., or none."}
    )
    logging_steps: float = field(default=10, metadata={"help": "Steps between log lines."})
    # Batches hold tensors that are no argument of every forward signature, and `labels` is a distribution.
    remove_unused_columns: bool | None = field(default=False, metadata={"help": "Keep it off."})
    label_names: list[str] | None = field(default_factory=lambda: ["labels"], metadata={"help": "Keep it."})


class EmotionTrainer(Trainer):
    """[`Trainer`] over the package's models.

    Evaluation over several data sets also reports the mean of each metric over them, under the plain name, so that the
    best epoch is one for all.
    """

    args: EmotionTrainingArguments

    def __init__(self, *args: Any, eval_collator: Any = None, train_sampler: Any = None, **kwargs: Any):
        """Further arguments.

        Args:
            eval_collator: left out, the training's.
            train_sampler: of the training data; left out, one that shuffles by seed and epoch alone.
        """
        kwargs.setdefault("compute_metrics", distribution_metrics)
        model, settings, *rest = args
        # A run is published once, when it is whole; not by the Trainer whenever it saves.
        settings = copy.copy(settings)
        settings.push_to_hub = False
        super().__init__(trained_as(model), settings, *rest, **kwargs)
        self.train_sampler = train_sampler
        self.eval_collator = eval_collator or self.data_collator
        # The models take any keyword, which the Trainer reads as "divides its loss by the batch's items itself"; then
        # it would not divide by the number of accumulated batches either.
        self.model_accepts_loss_kwargs = False

    def _save(self, output_dir: str | None = None, state_dict: dict | None = None) -> None:
        # In the names of the modules, by which the Trainer puts weights back; published ones call some otherwise.
        settings = {"save_original_format": False}
        if not isinstance(self.model, PreTrainedModel):
            # PEFT would ask the Hub at every checkpoint whether the base's vocabulary has grown; none grows here.
            settings = {"save_embedding_layers": False}
        self.model.save_pretrained = partial(self.model.save_pretrained, **settings)
        try:
            super()._save(output_dir, state_dict)
        finally:
            del self.model.save_pretrained  # the class's own again

    def _get_train_sampler(self, train_dataset: Any = None) -> Any:
        data = self.train_dataset if train_dataset is None else train_dataset
        if self.train_sampler is None and hasattr(data, "epoch"):
            self.train_sampler = EpochSampler(data)
        return self.train_sampler or super()._get_train_sampler(train_dataset)

    def get_eval_dataloader(self, eval_dataset: Any = None) -> DataLoader:
        train_collator, self.data_collator = self.data_collator, self.eval_collator
        try:
            return super().get_eval_dataloader(eval_dataset)
        finally:
            self.data_collator = train_collator

    def create_optimizer(self, model: nn.Module | None = None) -> torch.optim.Optimizer:
        if self.optimizer is None:
            decayed = set(self.get_decay_parameter_names(self.model))
            groups: dict[tuple[float, float], list[nn.Parameter]] = {}
            for name, parameter in self.model.named_parameters():
                if parameter.requires_grad:
                    decay = self.args.weight_decay if name in decayed else 0.0
                    groups.setdefault((self._learning_rate(name), decay), []).append(parameter)
            options = [{"params": p, "lr": rate, "weight_decay": decay} for (rate, decay), p in groups.items()]
            optimizer_class, settings = self.get_optimizer_cls_and_kwargs(self.args, self.model)
            self.optimizer = optimizer_class(options, **settings)
        return self.optimizer

    def _learning_rate(self, name: str) -> float:
        if "vision_model." in name:
            return self.args.vision_learning_rate
        if any(part in name for part in ("language_model.", "text_encoder.", "captioner.")):
            return self.args.language_learning_rate
        return self.args.learning_rate

    def evaluate(self, eval_dataset: Any = None, ignore_keys: Any = None, metric_key_prefix: str = "eval") -> dict:
        datasets = self.eval_dataset if eval_dataset is None else eval_dataset
        if not isinstance(datasets, dict):
            return super().evaluate(datasets, ignore_keys, metric_key_prefix)
        single = {}
        for name, dataset in datasets.items():
            single[name] = super().evaluate(dataset, ignore_keys, f"{metric_key_prefix}_{name}")
        metrics = {key: value for part in single.values() for key, value in part.items()}
        means = {}
        for metric in ("loss", "accuracy", "macro_f1", "soft_cross_entropy", "kl", "ece"):
            values = [part.get(f"{metric_key_prefix}_{name}_{metric}") for name, part in single.items()]
            if None not in values:
                means[f"{metric_key_prefix}_{metric}"] = sum(values) / len(values)
        shown = ("_accuracy", "_soft_cross_entropy")
        self.log(means | {key: value for key, value in metrics.items() if key.endswith(shown)})
        # Callbacks have heard of every data set alone; what is best is decided on the means.
        self.control = self.callback_handler.on_evaluate(self.args, self.state, self.control, means)
        return metrics | means


class EpochSampler(Sampler):
    """Shuffles data by its seed and epoch alone, so that every number of processes reads it in one order."""

    def __init__(self, data: Any):
        self.data = data

    def __len__(self) -> int:
        return len(self.data)

    def __iter__(self) -> Iterator[int]:
        rng = random.Random(f"{self.data.seed}/{self.data.epoch}")
        yield from rng.sample(range(len(self.data)), len(self.data))


def train_as(model: nn.Module, adapted: nn.Module) -> None:
    """From now on a trainer of `model` trains `adapted`, which is the same model with an adapter around it."""
    # Not as a part of the model, which would then be a part of itself.
    object.__setattr__(model, "_trained_as", adapted)


def trained_as(model: nn.Module) -> nn.Module:
    """What a trainer of `model` trains: the model itself, or the adapter around it."""
    return model.__dict__.get("_trained_as", model)


class EarlyStopping(EarlyStoppingCallback):
    """Stops when the mean over the validation sets has not improved for some evaluations.

    Unlike its parent it passes over evaluations of single data sets, and goes on counting when a run is resumed.
    """

    def on_train_begin(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
        super().on_train_begin(args, state, control, **kwargs)
        stored = state.stateful_callbacks.get(type(self).__name__)
        if isinstance(stored, dict):
            self.early_stopping_patience_counter = stored["attributes"]["early_stopping_patience_counter"]

    def on_evaluate(self, args: Any, state: Any, control: Any, metrics: dict[str, float], **kwargs: Any) -> None:
        if f"eval_{args.metric_for_best_model.removeprefix('eval_')}" in metrics:
            super().on_evaluate(args, state, control, metrics, **kwargs)


class EpochOfData(TrainerCallback):
    """Tells a data set its epoch.

    accelerate's loader does too, but not where it wraps the batch sampler: with several processes, and when a run is
    resumed in the middle of an epoch.
    """

    def __init__(self, data: Any):
        self.data = data

    def on_epoch_begin(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
        self.data.set_epoch(int(state.epoch or 0))


def distribution_metrics(prediction: EvalPrediction) -> dict[str, float]:
    """Metrics of logits `(images, labels)` against distributions of the same shape."""
    logits = torch.as_tensor(prediction.predictions).float()
    labels = prediction.label_ids[0] if isinstance(prediction.label_ids, tuple) else prediction.label_ids
    return evaluate_distributions(logits.softmax(-1).numpy(), labels)

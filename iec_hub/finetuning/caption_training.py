"""Stage 1 of ESCNet with a generator: a pretrained captioner learns to write what stirs people about an image."""

from __future__ import annotations

import copy
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch
from transformers import BatchFeature, IntervalStrategy, PreTrainedModel, TrainingArguments

from iec_hub.errors import DataError
from iec_hub.finetuning.captioned_images import CaptionPairs, caption_pairs
from iec_hub.finetuning.run import resume_point
from iec_hub.finetuning.stage_results import load_taught, save_taught
from iec_hub.finetuning.trainer import EarlyStopping, EmotionTrainer, EpochOfData
from iec_hub.models.escnet import AttributeCaptioner, EscnetForImageEmotion, EscnetProcessor
from iec_hub.models.escnet.captioner_escnet import fitted

if TYPE_CHECKING:
    from peft import LoraConfig, PeftModel

CAPTIONER_FOLDER = "captioner"
_IGNORED = -100
# The module that writes, and the one that looks, in the captioners that can be trained.
_LANGUAGE = {"blip": "text_decoder", "git": "git.encoder"}
_VISION = {"blip": "vision_model.", "git": "git.image_encoder."}
_LORA_LAYER = r"(query|key|value|dense)"  # both write with BERT's layers


def generator_of(model: EscnetForImageEmotion) -> PreTrainedModel:
    """The captioner of a model, if it is one that [`train_captioner`] can train.

    Raises:
        DataError: if there is none, or it learns in another way.
    """
    captioner = model.captioner
    if captioner is None:
        raise DataError("This model has no captioner to train; start from one with a captioner such as BLIP.")
    if isinstance(captioner, AttributeCaptioner):
        raise DataError(
            "An attribute captioner is fitted, not trained; give it a vocabulary, or start from a captioner such as "
            "BLIP."
        )
    if captioner.config.model_type not in _LANGUAGE:
        raise DataError(
            f"A captioner of type {captioner.config.model_type!r} cannot be trained here; use "
            f"{' or '.join(_LANGUAGE)}, or leave it as it is."
        )
    return captioner


def captioner_lora_targets(model_type: str) -> str:
    """Pattern of the layers that LoRA adapts in the writing part of a `"blip"` or `"git"` captioner.

    It names layers from the captioner's own root; `EscnetForImageEmotion.lora_targets` names them from ESCNet's.
    """
    return rf"^{re.escape(_LANGUAGE[model_type])}\..*\.{_LORA_LAYER}$"


@dataclass
class CaptionCollator:
    """Images with captions to a captioner's training batch; make it with [`~CaptionCollator.of`].

    A row is the token with which generation begins, the caption and the token that ends generation, so that training
    and generation agree. Which tokens those are differs: BLIP's decoder begins with `bos_token_id` of its text
    configuration ([DEC], which its tokenizer never writes: that one puts [CLS] there) and ends with `sep_token_id`,
    while its `eos_token_id` is never used; GIT begins with [CLS] and ends with [SEP], as its generation configuration
    says. Neither is given a prompt ("a picture of"), because [`~EscnetForImageEmotion.generate_caption`] gives none.

    Args:
        begin, end, pad: token ids.
        config: the captioner's, for the size of its images.
        most_tokens: longer captions are cut, and a cut one does not teach to end there.
    """

    processor: EscnetProcessor
    begin: int
    end: int
    pad: int
    config: Any
    most_tokens: int = 64

    @classmethod
    def of(cls, processor: EscnetProcessor, captioner: PreTrainedModel, most_tokens: int = 64) -> CaptionCollator:
        """The collator for a captioner; its longest caption is `most_tokens` tokens, or what its decoder reads.

        Raises:
            DataError: if the captioner's configuration does not say how captions begin and end.
        """
        config = captioner.config
        if config.model_type == "blip":
            text = config.text_config
            ids = [text.bos_token_id, text.sep_token_id, text.pad_token_id]
        else:
            text, generation = config, captioner.generation_config
            ids = [
                value if (value := getattr(generation, name)) is not None else getattr(config, name)
                for name in ("bos_token_id", "eos_token_id", "pad_token_id")
            ]
        ids = [value[0] if isinstance(value, list | tuple) else value for value in ids]
        if None in ids:
            raise DataError(
                "The captioner does not say with which tokens captions begin, end and are padded; correct its "
                "configuration."
            )
        return cls(processor, *ids, config, min(most_tokens, text.max_position_embeddings))

    def __call__(self, items: Sequence[Mapping[str, Any]]) -> BatchFeature:
        pixels = self.processor.image_processor(images=[item["image"] for item in items], return_tensors="pt")
        # "[SEP]" in a caption is a text, not a command.
        written = self.processor.captioner_tokenizer(
            [item["caption"] for item in items], add_special_tokens=False, split_special_tokens=True
        )["input_ids"]
        rows = [torch.tensor([self.begin, *ids, self.end][: self.most_tokens]) for ids in written]
        ids = torch.nn.utils.rnn.pad_sequence(rows, batch_first=True, padding_value=self.pad)
        lengths = torch.tensor([len(row) for row in rows])
        mask = torch.arange(ids.shape[1]) < lengths[:, None]
        labels = ids.masked_fill(~mask, _IGNORED)
        labels[:, 0] = _IGNORED  # given, never predicted; left in, it would count as a target
        return BatchFeature(
            {
                # Resized as for generation, where the classifier's tower reads another size.
                "pixel_values": fitted(pixels["pixel_values"], self.config),
                "input_ids": ids,
                "attention_mask": mask.long(),
                "labels": labels,
            }
        )


class CaptionTrainer(EmotionTrainer):
    """Trains a captioner; its loss is the mean over all tokens of a step, however many batches are accumulated.

    `language_learning_rate` and `vision_learning_rate` of the arguments hold for its two parts, where there are such.
    """

    # Captions differ in length: a mean of the batches' means would weigh the tokens of short ones more.
    loss_is_scaled_for_ga = True

    def __init__(self, *args: Any, **kwargs: Any):
        super().__init__(*args, compute_metrics=None, **kwargs)
        self.model_accepts_loss_kwargs = True  # so that tokens are counted

    def compute_loss(
        self,
        model: torch.nn.Module,
        inputs: dict[str, Any],
        return_outputs: bool = False,
        num_items_in_batch: torch.Tensor | int | None = None,
    ) -> Any:
        outputs = model(**inputs)
        loss = outputs.loss
        if num_items_in_batch is not None:
            # BLIP knows nothing of a count of tokens, so the mean of this batch is turned into its part of the step's.
            own = inputs["labels"].ne(_IGNORED).sum()
            loss = loss * own / num_items_in_batch
            if self.args.average_tokens_across_devices:  # then the count is that of all processes
                loss = loss * self.accelerator.num_processes
        return (loss, outputs) if return_outputs else loss

    def _learning_rate(self, name: str) -> float:
        looking = any(part in name for part in _VISION.values())
        option = "vision_learning_rate" if looking else "language_learning_rate"
        return getattr(self.args, option, self.args.learning_rate)


def train_captioner(
    model: EscnetForImageEmotion,
    processor: EscnetProcessor,
    train: CaptionPairs,
    validation: CaptionPairs | None,
    arguments: TrainingArguments,
    *,
    epochs: float | None = None,
    patience: int = 2,
    train_vision: bool = False,
    lora: LoraConfig | None = None,
    merge_lora: bool = True,
    most_tokens: int = 64,
) -> CaptionTrainer:
    """Train the captioner of a model with transformers' Trainer; the best epoch on validation is kept.

    Checkpoints go to the folder `captioner` of the output folder. With `resume_from_checkpoint`, whatever it names, a
    finished training is loaded from there, a killed one goes on with its last checkpoint, one that had none begins.

    Args:
        validation: `None` trains all epochs.
        arguments: as for the other stages ([`EmotionTrainingArguments`]); bf16, accumulation and so on hold.
        epochs: in place of the arguments' `num_train_epochs`.
        patience: evaluations without improvement before stopping; 0 never stops early.
        train_vision: also train the captioner's vision tower; where it is shared, the classifier's changes with it.
        lora: train adapters only; their target modules are set if left out, see [`captioner_lora_targets`].
        merge_lora: add them to the weights at the end; otherwise `model.captioner` stays a `PeftModel`.
        most_tokens: longer captions are cut.

    Raises:
        DataError: if the model has no captioner that can be trained, or there is no pair.
    """
    captioner: PreTrainedModel | PeftModel = generator_of(model)
    if not len(train):
        raise DataError("There is no captioned image to train the captioner on; give some.")
    device, was_training = model.classifier.weight.device, model.training
    collator = CaptionCollator.of(processor, captioner, most_tokens)
    if lora is None:
        # Where the whole model has an adapter, the captioner's part of it is what learns.
        adapted = any("lora_" in name for name, _ in captioner.named_parameters())
        for name, parameter in captioner.named_parameters():
            seen = train_vision or not name.startswith(_VISION[captioner.config.model_type])
            parameter.requires_grad_(seen and (not adapted or "lora_" in name))
    else:
        captioner = _adapted(captioner, lora)
    settings = _settings(arguments, epochs, validation)
    callbacks: list[Any] = [EpochOfData(train)]
    if patience and settings.load_best_model_at_end:
        callbacks.append(EarlyStopping(patience))
    trainer = CaptionTrainer(
        captioner,
        settings,
        data_collator=collator,
        train_dataset=train,
        eval_dataset=validation if settings.eval_strategy != IntervalStrategy.NO else None,
        callbacks=callbacks,
    )
    _run(trainer)
    captioner = trainer.accelerator.unwrap_model(trainer.model)
    # With mixed precision, accelerate has put a `forward` of its own over the class's; generation does not want it.
    for name in ("forward", "_original_forward"):
        vars(captioner).pop(name, None)
    model.captioner = captioner.merge_and_unload() if lora is not None and merge_lora else captioner
    model.captioner.to(device)
    model.train(was_training)
    return trainer


def _adapted(captioner: PreTrainedModel, lora: LoraConfig) -> PeftModel:
    from peft import get_peft_model

    lora = copy.deepcopy(lora)
    if lora.target_modules is None:
        lora.target_modules = captioner_lora_targets(captioner.config.model_type)
    return get_peft_model(captioner, lora)


def _settings(arguments: TrainingArguments, epochs: float | None, validation: CaptionPairs | None) -> Any:
    """The arguments for this stage: what is best is the loss on validation, where there is one."""
    settings = copy.copy(arguments)
    settings.output_dir = str(Path(arguments.output_dir) / CAPTIONER_FOLDER)
    settings.max_steps, settings.push_to_hub = -1, False
    settings.num_train_epochs = arguments.num_train_epochs if epochs is None else epochs
    settings.remove_unused_columns, settings.label_names = False, ["labels"]
    settings.prediction_loss_only = True
    settings.metric_for_best_model, settings.greater_is_better = "loss", False
    if not validation:
        settings.eval_strategy, settings.load_best_model_at_end = IntervalStrategy.NO, False
        settings.eval_on_start = False
    settings.load_best_model_at_end &= settings.eval_strategy != IntervalStrategy.NO
    return settings


def _run(trainer: CaptionTrainer) -> None:
    """Train, go on, or load what is finished."""
    folder = Path(trainer.args.output_dir)
    given = str(trainer.args.resume_from_checkpoint or "").strip().casefold()
    checkpoint = None
    if given not in ("", "none", "false"):
        if (folder / "log.json").is_file():
            trainer.state.log_history = load_taught(trainer.model, folder)["history"]
            return
        # The one that was given may be of a later stage.
        trainer.args.resume_from_checkpoint = "True"
        if any(folder.glob("checkpoint-*/trainer_state.json")):
            checkpoint = resume_point(trainer.args)
    elif trainer.is_world_process_zero():
        (folder / "log.json").unlink(missing_ok=True)
    trainer.train(resume_from_checkpoint=checkpoint)
    if trainer.is_world_process_zero():
        unwrapped = trainer.accelerator.unwrap_model(trainer.model)
        save_taught(unwrapped, folder, {"history": trainer.state.log_history})


__all__ = [
    "CaptionCollator",
    "CaptionPairs",
    "CaptionTrainer",
    "caption_pairs",
    "captioner_lora_targets",
    "generator_of",
    "train_captioner",
]

"""What every method's training does before and after its own stages: folder, data, adapter, calibration, saving."""

from __future__ import annotations

import json
import logging
import os
import shutil
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from transformers import set_seed

from iec_hub.data import EmotionDataset
from iec_hub.emotions import EmotionModel
from iec_hub.errors import CheckpointError, DataError
from iec_hub.finetuning.adapters import add_adapter, parameter_table, save_adapter
from iec_hub.finetuning.arguments import TrainingSettings
from iec_hub.finetuning.measuring import ScoredImages, fit_calibration, measure_scored, round_to_half
from iec_hub.finetuning.quantization import bitsandbytes_config, quantized
from iec_hub.finetuning.run_record import peak_memory, training_record
from iec_hub.finetuning.settings_file import settings_yaml
from iec_hub.finetuning.starting import known_emotion_models, loaded
from iec_hub.finetuning.trainer import EmotionTrainer, EmotionTrainingArguments, train_as
from iec_hub.finetuning.training_sets import load_data
from iec_hub.hub.publishing import check_push, push_after_training

logger = logging.getLogger(__name__)

RECORD = "training.json"


@dataclass
class TrainingRun:
    """One training, from its arguments to its folder.

    Attributes:
        method: "ugrie", "escnet" or "aciec".
        resumed: whether a run that was stopped goes on.
        checkpoint: folder of the Trainer's checkpoint to go on from; `None` before the first one.
        log: what `metrics.json` will hold.
        adapter: the model with its adapter, once there is one.
    """

    method: str
    settings: TrainingSettings
    datasets: list[EmotionDataset]
    resumed: bool
    checkpoint: str | None
    log: dict[str, Any]
    adapter: Any = None
    started: float = field(default_factory=time.monotonic)

    @property
    def arguments(self) -> EmotionTrainingArguments:
        return self.settings.arguments

    @property
    def folder(self) -> Path:
        return Path(self.arguments.output_dir)

    @property
    def emotion_models(self) -> list[EmotionModel]:
        return [dataset.emotion_model for dataset in self.datasets]

    @property
    def is_main(self) -> bool:
        """Whether this process is the one that writes."""
        return self.arguments.process_index == 0

    @property
    def cache(self) -> Path | None:
        return Path(self.settings.recipe.cache) if self.settings.recipe.cache else None

    @classmethod
    def begin(cls, method: str, settings: TrainingSettings) -> TrainingRun:
        """Claim the folder, seed everything, load the data.

        Raises:
            DataError: if the folder holds another training, or the data cannot be trained on.
        """
        arguments = settings.arguments
        if arguments.process_index:
            logging.getLogger("iec_hub").setLevel(logging.ERROR)  # one process tells what all of them read
        checkpoint = resume_point(arguments)
        resumed = _asked_to_resume(arguments)
        record = training_record(method, settings)
        if arguments.process_index == 0:
            _refuse_another(Path(arguments.output_dir), record, settings, resumed)
            if arguments.push_to_hub:
                check_push(arguments)
        # One process after another would find gradients of parts that a step does not use missing.
        if arguments.world_size > 1 and arguments.ddp_find_unused_parameters is None:
            arguments.ddp_find_unused_parameters = not arguments.gradient_checkpointing
        arguments.dataloader_pin_memory &= arguments.device.type == "cuda"
        set_seed(arguments.seed)
        # A checkpoint that is continued has learned the words that it knows its labels by.
        known = {} if "label_words" in settings.given else loaded(lambda: known_emotion_models(settings.start))
        datasets = load_data(settings.data, settings.start, arguments.seed, known)
        if arguments.process_index == 0:  # what is refused until here leaves nothing behind
            _claim(Path(arguments.output_dir), record, settings, resumed)
        log = {"seed": arguments.seed, "data": {dataset.name: dataset.report() for dataset in datasets}}
        return cls(method, settings, datasets, resumed, checkpoint, log)

    def load(self, load: Callable[[Any], tuple[Any, Any]]) -> tuple[Any, Any]:
        """The model to start from and its processor, quantised where that was asked for.

        Args:
            load: from a quantisation configuration, or `None`, to a model and a processor; it is not obeyed where the
                model is put together from backbones, which is then stored once and read again.
        """
        import torch

        kind = self.settings.adapter.quantization
        if kind == "none":
            return load(None)
        dtype = torch.bfloat16 if self.arguments.bf16 else torch.float32
        configuration = bitsandbytes_config(kind, dtype)
        model, processor = load(configuration)
        if not getattr(model, "is_quantized", False):
            with self.arguments.main_process_first(desc="quantising the model"):
                model = quantized(model, processor, kind, dtype, self.folder / "base")
        return model, processor

    def adapt(self, model: Any, fresh: bool) -> None:
        """Add the adapter that was asked for, and print what will be trained.

        Args:
            fresh: whether parts of the model start at random; those are then trained and saved in full.
        """
        if self.settings.adapter.lora:
            self.adapter = add_adapter(
                model, self.settings.adapter, fresh, gradient_checkpointing=self.arguments.gradient_checkpointing
            )
            train_as(model, self.adapter)

    def show_parameters(self, model: Any) -> None:
        """Print what is trained and what is not, and keep it for the record."""
        table = parameter_table(self.adapter or model, self.arguments)
        if self.is_main:
            print(table, flush=True)
        self.log["parameters"] = table.to_dict()

    def keep_history(self, trainer: EmotionTrainer) -> None:
        """Take what a trainer logged into the run's own log."""
        entries = trainer.state.log_history
        self.log["history"] = [entry for entry in entries if "eval_soft_cross_entropy" in entry]
        self.log["loss_history"] = [
            {"step": entry["step"], "loss": entry["loss"]} for entry in entries if "loss" in entry
        ]

    def tested(self) -> list[EmotionDataset]:
        """The data sets that have a test split."""
        return [dataset for dataset in self.datasets if "test" in dataset.splits()]

    def finish(self, model: Any, processor: Any, score: Callable[[str], Sequence[ScoredImages]]) -> dict[str, Any]:
        """Calibrate on validation, measure, save, and publish where that was asked for.

        Args:
            score: from a split to the logits of its images by the model as it is stored; called for "validation", and
                for "test" where there is such a split.

        Returns:
            What `metrics.json` holds.
        """
        if not self.is_main:
            return self.log
        model.eval()
        if self.settings.recipe.half_precision_weights:
            round_to_half(model)
        validation = list(score("validation"))
        self.log |= fit_calibration(model.config, validation, self.settings.recipe.coverage)
        self.log["temperatures"] = dict(model.config.temperatures)
        self.log["validation"] = measure_scored(model.config, validation)
        if self.tested():
            self.log["test"] = measure_scored(model.config, list(score("test")))
        self.log["seconds"] = round(time.monotonic() - self.started, 1)
        self.log["peak_memory_bytes"] = peak_memory()
        self._save(model, processor)
        self._publish()
        shown = ("accuracy", "macro_f1", "soft_cross_entropy", "ece")
        for split in ("validation", "test"):
            for name, measured in self.log.get(split, {}).items():
                line = {"split": split, "data": name, "n": measured["n"]}
                print(json.dumps(line | {metric: round(measured[metric], 4) for metric in shown}), flush=True)
        return self.log

    def _save(self, model: Any, processor: Any) -> None:
        """Write the folder's files aside and move them in: whoever is killed meanwhile leaves no half of them."""
        aside = self.folder / ".saving"
        shutil.rmtree(aside, ignore_errors=True)
        aside.mkdir(parents=True)
        if self.adapter is not None:
            save_adapter(self.adapter, processor, aside)
        else:
            save_weights(model, processor, aside, half=self.settings.recipe.half_precision_weights)
        files = {path.name: path.stat().st_size for path in aside.glob("*.safetensors")}
        self.log["parameters"] = {**self.log.get("parameters", {}), "stored_bytes": sum(files.values())}
        (aside / "training.yaml").write_text(settings_yaml(self.settings[:6], self.settings.given), encoding="utf-8")
        record = training_record(self.method, self.settings, finished=True)
        (aside / RECORD).write_text(json.dumps(record, indent=2, sort_keys=True) + "\n", encoding="utf-8")
        measured = json.dumps(self.log, indent=2, sort_keys=True, default=float)
        (aside / "metrics.json").write_text(measured + "\n", encoding="utf-8")
        self._illustrate(aside)
        # The metrics come last: a folder that has them is whole.
        for path in sorted(aside.iterdir(), key=lambda path: path.name == "metrics.json"):
            target = self.folder / path.name
            if path.is_dir() and target.exists():
                shutil.rmtree(target)
            os.replace(path, target)
        aside.rmdir()
        logger.info("Saved to %s", self.folder)

    def _illustrate(self, folder: Path) -> None:
        from iec_hub.finetuning.model_card import write_card
        from iec_hub.finetuning.pictures import draw_pictures

        draw_pictures(folder)
        write_card(folder, name=self.folder.resolve().name)

    def _publish(self) -> None:
        folder = self.folder
        if self.settings.card.merge:
            from iec_hub.finetuning.merging import merge

            folder = self.folder / "merged"
            # Of a run that was stopped after or within it, and went on.
            for left in (folder, *self.folder.glob(".merged-*")):
                shutil.rmtree(left, ignore_errors=True)
            self.log["merge"] = merge(self.folder, folder)
        if self.settings.arguments.push_to_hub:
            push_after_training(self.settings.arguments, folder)


def save_weights(model: Any, processor: Any, folder: Path, half: bool = False) -> None:
    """Write a whole checkpoint with its processor; `half` stores the weights in float16."""
    folder.mkdir(parents=True, exist_ok=True)
    if half:
        model.half()
    model.save_pretrained(folder)
    # Half precision is how the weights are stored, not how they compute: a CPU is slow at it.
    model.float().config.dtype = "float32"
    model.config.save_pretrained(folder)
    processor.save_pretrained(folder)


def _asked_to_resume(arguments: EmotionTrainingArguments) -> bool:
    return str(arguments.resume_from_checkpoint or "").strip().casefold() not in ("", "none", "false")


def resume_point(arguments: EmotionTrainingArguments) -> str | None:
    """The checkpoint to go on from: the one given, or for `True` the last whole one of the output folder.

    `None` also where a run was stopped before its first checkpoint, or has not begun: whoever always resumes need not
    know how far it came.

    Raises:
        DataError: if the checkpoint that was given is none.
    """
    if not _asked_to_resume(arguments):
        return None
    given = str(arguments.resume_from_checkpoint).strip()
    output = Path(arguments.output_dir)
    if given.casefold() == "true":
        # The trainer writes this file last, so a checkpoint in which it can be read is whole.
        found = [path.parent for path in output.glob("checkpoint-*/trainer_state.json") if _is_json(path)]
        numbered = {int(path.name[11:]): path for path in found if path.name[11:].isdecimal()}
        if not numbered:
            logger.warning("There is no checkpoint in %r to resume from; the training begins.", output.name)
        return str(numbered[max(numbered)]) if numbered else None
    if not (Path(given) / "trainer_state.json").is_file():
        raise DataError(f"{given!r} is no checkpoint of a training; give a folder checkpoint-N, or True for the last.")
    return given


def _is_json(path: Path) -> bool:
    try:
        json.loads(path.read_text(encoding="utf-8"))
    except ValueError:
        return False
    return True


def _refuse_another(folder: Path, record: dict[str, Any], settings: TrainingSettings, resumed: bool) -> None:
    """A folder holds one training: raises DataError where another one lies in it."""
    before = _record_in(folder)
    if resumed and before is not None:
        _same_settings(before, record, folder)
    elif not resumed and not settings.card.overwrite and (before is not None or any(folder.glob("checkpoint-*"))):
        raise DataError(
            f"{folder.name!r} already holds a training; go on with --resume_from_checkpoint True, give another "
            "--output_dir, or begin anew with --overwrite True."
        )


def _claim(folder: Path, record: dict[str, Any], settings: TrainingSettings, resumed: bool) -> None:
    """Note in the folder which training it holds."""
    if resumed and _record_in(folder) is not None:
        return
    if settings.card.overwrite and not resumed:
        _clear(folder)
    try:
        folder.mkdir(parents=True, exist_ok=True)
        aside = folder / f".{RECORD}.part"
        aside.write_text(json.dumps(record, indent=2, sort_keys=True) + "\n", encoding="utf-8")
        os.replace(aside, folder / RECORD)
    except OSError as error:
        raise CheckpointError(
            f"Nothing can be written to {str(folder)!r}; choose another --output_dir ({error.strerror})."
        ) from error


def _record_in(folder: Path) -> dict[str, Any] | None:
    file = folder / RECORD
    return json.loads(file.read_text(encoding="utf-8")) if file.is_file() and _is_json(file) else None


def _clear(folder: Path) -> None:
    """Take away what another training left; what this project does not write stays."""
    parts = ("taught", "base", "text", "pictures", "merged")
    for path in [*folder.glob("checkpoint-*"), *(folder / name for name in parts)]:
        shutil.rmtree(path, ignore_errors=True)
    for name in (RECORD, "metrics.json", "model.safetensors", "adapter_model.safetensors", "adapter_config.json"):
        (folder / name).unlink(missing_ok=True)


def _same_settings(before: dict[str, Any], record: dict[str, Any], folder: Path) -> None:
    """A run goes on as it began, or it would be neither the one nor the other."""
    old, new = ({**given.get("settings", {}), "method": given.get("method")} for given in (before, record))
    for name in sorted({*old, *new}):
        if old.get(name) != new.get(name):
            raise DataError(
                f"The training in {folder.name!r} began with {name} = {old.get(name)!r} and not {new.get(name)!r}; "
                "resume it with the same settings, or give another --output_dir."
            )


__all__ = ["RECORD", "TrainingRun", "resume_point", "save_weights"]

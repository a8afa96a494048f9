"""Arguments that the three methods' trainings share, and what can be said against them before anything is loaded."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass, field
from difflib import get_close_matches
from pathlib import Path
from typing import Any, NamedTuple

from transformers import HfArgumentParser

from iec_hub.errors import DataError
from iec_hub.finetuning.adapters import AdapterArguments, check_adapter_arguments
from iec_hub.finetuning.settings_file import expand_settings_file
from iec_hub.finetuning.trainer import EmotionTrainingArguments

BALANCES = ("none", "weights", "sampling")
LABEL_WORDS = ("plutchik", "label")


@dataclass
class DataArguments:
    """What to train on."""

    data: list[str] = field(metadata={"help": "Data sets of labelled images: folders, metadata files or Hub ids."})
    labels: list[str] = field(
        default_factory=list, metadata={"help": "Your labels in their order; left out, those that the data names."}
    )
    validation_share: float = field(
        default=0.15, metadata={"help": "Share of the images for validation, where the data has no such split."}
    )
    test_share: float = field(
        default=0.15, metadata={"help": "Share of the images for the test, where the data has no splits at all."}
    )
    deduplicate: bool = field(default=False, metadata={"help": "Drop near-duplicates across splits first."})
    shots: list[int] = field(
        default_factory=list,
        metadata={"help": "Train on this many images per class only: one number or one each; 0 means all."},
    )
    balance: str = field(
        default="none",
        metadata={"help": "Rare emotions: 'weights' in the loss, 'sampling' draws them more often, or 'none'."},
    )


@dataclass
class StartArguments:
    """What to start from."""

    model: str | None = field(default=None, metadata={"help": "A checkpoint to continue from (id or folder)."})
    vision: str | None = field(default=None, metadata={"help": "Pretrained vision tower (id or folder)."})
    text: str | None = field(default=None, metadata={"help": "Pretrained language part (id or folder)."})
    preset: str | None = field(default=None, metadata={"help": "A pair of pretrained parts of the Hub, by its name."})
    config: str | None = field(default=None, metadata={"help": "JSON file with further fields of the configuration."})
    label_words: str = field(
        default="label", metadata={"help": "'plutchik': intensity words; 'label': the label itself."}
    )
    freeze: list[str] = field(default_factory=list, metadata={"help": "Parts that stay as they are, or none."})


@dataclass
class RecipeArguments:
    """How to train, beside the Trainer's own options."""

    views: int = field(default=5, metadata={"help": "Augmented views per image with a frozen vision tower."})
    cache: str | None = field(default=None, metadata={"help": "Folder for what is found out about images once."})
    patience: int = field(default=0, metadata={"help": "Epochs without improvement before stopping; 0: never."})
    half_precision_weights: bool = field(default=False, metadata={"help": "Save weights in float16."})
    coverage: float | None = field(
        default=None,
        metadata={"help": "Share of validation images to be called sure; left out, the general rule of `uncertain`."},
    )


@dataclass
class CardArguments:
    """What the run leaves behind, and what its card says that the run cannot know."""

    license: str = field(default="other", metadata={"help": "Licence of the weights, as the Hub names it."})
    card_notes: str | None = field(
        default=None, metadata={"help": "Markdown file for the card's part 'Data terms and weights'."}
    )
    data_terms: list[str] = field(
        default_factory=list, metadata={"help": "Licence or terms of each data set, for the card: one each, in order."}
    )
    merge: bool = field(default=False, metadata={"help": "Also write the adapter merged into its base, to merged/."})
    overwrite: bool = field(default=False, metadata={"help": "Begin anew where the folder holds another training."})


class TrainingSettings(NamedTuple):
    """All arguments of a training.

    Attributes:
        given: names of the arguments that differ from the defaults because somebody gave them.
    """

    data: Any
    start: Any
    recipe: Any
    card: CardArguments
    adapter: AdapterArguments
    arguments: EmotionTrainingArguments
    given: tuple[str, ...] = ()


def parse_settings(
    kinds: tuple[type, type, type], argv: Sequence[str] | None, description: str | None, method: str
) -> TrainingSettings:
    """The command line of a method's training as dataclasses.

    Args:
        kinds: the method's data, start and recipe arguments.
        argv: arguments; `--settings FILE.yaml` among them stands for those in the file, and flags win over it.

    Raises:
        DataError: with one sentence, for an unknown argument or impossible settings; plain typing mistakes end the
            program as argparse does.
    """
    import sys

    every = (*kinds, CardArguments, AdapterArguments, EmotionTrainingArguments)
    # No abbreviations: what is noted as given goes by whole names. And a hundred lines of usage would hide an error.
    parser = HfArgumentParser(
        every,
        description=description,
        prog=f"iec-hub train {method}",
        usage="%(prog)s --data DIR [options]",
        allow_abbrev=False,
    )
    parser.add_argument("--settings", metavar="FILE", help="YAML file with arguments; flags win over it.")
    parser.set_defaults(output_dir=f"runs/{method}")
    known = sorted({action.dest for action in parser._actions})
    line = expand_settings_file(list(sys.argv[1:] if argv is None else argv), known)
    try:
        *parsed, _, unknown = parser.parse_args_into_dataclasses(line, return_remaining_strings=True)
    except ValueError as error:
        raise DataError(f"The training settings cannot be used; correct them ({one_line(error)}).") from error
    if unknown:
        name = unknown[0].lstrip("-").replace("-", "_")[:40]
        near = get_close_matches(name, known, 1)
        hint = f"did you mean --{near[0]}? See" if near and unknown[0].startswith("-") else "see"
        raise DataError(f"There is no argument {unknown[0][:40]!r}; {hint} iec-hub train {method} --help.")
    names = {part[2:].split("=")[0].replace("-", "_") for part in line if part.startswith("--")}
    settings = TrainingSettings(*parsed, given=tuple(sorted(names & set(known))))
    _learn_faster_with_lora(settings)
    return settings


def _learn_faster_with_lora(settings: TrainingSettings) -> None:
    """An adapter begins at zero and holds few weights: where no rates were given, it gets ten times a part's own.

    With the small rates of full fine-tuning it learns next to nothing in a short run (chosen on validation).
    """
    if settings.adapter.lora:
        for name in ("language_learning_rate", "vision_learning_rate"):
            if name not in settings.given:
                setattr(settings.arguments, name, 10 * getattr(settings.arguments, name))


def check_settings(settings: TrainingSettings, presets: Sequence[str]) -> None:
    """What can be refused for every method before minutes are spent on loading.

    Raises:
        DataError: with one sentence.
    """
    data, start, recipe, card, adapter, arguments = settings[:6]
    if start.preset and start.preset not in presets:
        raise DataError(f"There is no preset {start.preset!r}; use one of {', '.join(presets)}.")
    _choice("label_words", start.label_words, LABEL_WORDS)
    _choice("balance", data.balance, BALANCES)
    if len(data.shots) not in (0, 1, len(data.data)) or any(shots < 0 for shots in data.shots):
        raise DataError(f"--shots needs one number, or one for each of the {len(data.data)} data sets; 0 means all.")
    if data.labels and len(data.data) > 1:
        raise DataError("--labels are those of one data set; name one --data, or leave the labels to the data.")
    if recipe.views < 1:
        raise DataError(f"--views is {recipe.views}; give at least 1.")
    for name, share in (("validation_share", data.validation_share), ("test_share", data.test_share)):
        if not 0 <= share < 0.5:
            raise DataError(f"--{name} is {share}; give a share from 0 to below 0.5.")
    if recipe.coverage is not None and not 0 < recipe.coverage <= 1:
        raise DataError(f"--coverage is {recipe.coverage}; give a share above 0 and at most 1.")
    check_adapter_arguments(adapter)
    _agree_on_vision(settings)
    if adapter.lora and recipe.half_precision_weights:
        raise DataError("--half_precision_weights is for whole checkpoints; leave it out with --lora.")
    if card.data_terms and len(card.data_terms) != len(data.data):
        raise DataError(
            f"--data_terms holds {len(card.data_terms)} terms for {len(data.data)} data sets; give one each."
        )
    if card.merge and not adapter.lora:
        raise DataError("--merge adds an adapter to its base; use it with --lora.")
    if arguments.push_to_hub and not arguments.hub_model_id:
        raise DataError("--push_to_hub needs to know where to; give --hub_model_id NAME/MODEL.")
    _check_reports(arguments.report_to)
    check_files([start.config, card.card_notes])


def _check_reports(names: Sequence[str]) -> None:
    """Trackers of experiments have to be there before a training, not after its first stage."""
    from transformers.integrations import get_available_reporting_integrations
    from transformers.integrations.integration_utils import INTEGRATION_TO_CALLBACK

    for name in names:
        if name not in INTEGRATION_TO_CALLBACK:
            near = get_close_matches(name, INTEGRATION_TO_CALLBACK, 1) or ["tensorboard"]
            raise DataError(f"--report_to does not know {name[:40]!r}; did you mean {near[0]!r}?")
        if name not in get_available_reporting_integrations():
            raise DataError(f"--report_to names what is not installed here ({name}); install it or leave it out.")


def _agree_on_vision(settings: TrainingSettings) -> None:
    """With LoRA the targets say whether the vision tower learns; where it does not, its features are computed once."""
    start, adapter = settings.start, settings.adapter
    if not adapter.lora:
        return
    adapted, frozen = bool({"vision", "all"} & set(adapter.lora_targets)), "vision" in start.freeze
    if adapted and frozen and "freeze" in settings.given:
        raise DataError("--lora_targets adapts the vision tower and --freeze holds it; name it in one of them only.")
    if adapted and frozen:
        start.freeze = [part for part in start.freeze if part != "vision"] or ["none"]
    elif not adapted and not frozen:
        start.freeze = [*(part for part in start.freeze if part != "none"), "vision"]


def check_shares(recipe: Any, shares: Sequence[str], amounts: Sequence[str]) -> None:
    """Shares have to be from 0 to 1, amounts at least 0.

    Raises:
        DataError: with one sentence.
    """
    for name in shares:
        if not 0 <= getattr(recipe, name) <= 1:
            raise DataError(f"--{name} is {getattr(recipe, name)}; give a share from 0 to 1.")
    for name in amounts:
        if getattr(recipe, name) < 0:
            raise DataError(f"--{name} is {getattr(recipe, name)}; give 0 or a positive number.")


def check_stages(stages: Sequence[str], known: Sequence[str]) -> None:
    """Raises a DataError where no stage, or one that is not known, is named."""
    if sorted(set(stages) - set(known)) or not stages:
        raise DataError(f"--stages knows {', '.join(known)}; name one of them or several.")


def check_files(files: Sequence[str | Path | None]) -> None:
    """Raises a DataError where one of the files is missing."""
    for path in files:
        if path and not Path(path).is_file():
            raise DataError(f"There is no file {str(path)!r}; correct its path.")


def frozen_parts(freeze: Sequence[str], parts: Sequence[str], all_but_one: bool = False) -> tuple[str, ...]:
    """The parts to freeze; `none` means no part.

    Args:
        parts: those there are.
        all_but_one: whether one of them has to stay free, because nothing else would be trained.

    Raises:
        DataError: for an unknown part, or when nothing would be left to train.
    """
    chosen = tuple(part for part in freeze if part != "none")
    unknown = sorted(set(chosen) - set(parts))
    if unknown:
        raise DataError(f"{unknown[0]!r} cannot be frozen; name some of {', '.join(parts)}, or none.")
    if all_but_one and set(chosen) == set(parts):
        raise DataError("Every part is frozen, so there is nothing to train; freeze fewer parts.")
    return chosen


def read_config(path: str | None) -> dict[str, Any]:
    """Fields of a configuration from a JSON file; none without one.

    Raises:
        DataError: if the file does not hold a JSON object.
    """
    if not path:
        return {}
    try:
        fields = json.loads(Path(path).read_text(encoding="utf-8"))
    except ValueError as error:
        raise DataError(f"{path!r} is not JSON; correct it ({one_line(error)}).") from error
    if not isinstance(fields, dict):
        raise DataError(f"{path!r} does not hold a JSON object; give fields of the configuration.")
    return fields


def one_line(error: Exception) -> str:
    """An error's message as a part of a sentence."""
    return " ".join(str(error).split())[:200].rstrip(".")


def _choice(name: str, value: str, choices: Sequence[str]) -> None:
    if value not in choices:
        named = ", ".join(repr(choice) for choice in choices[:-1])
        raise DataError(f"--{name} is {value!r}; use {named} or {choices[-1]!r}.")


__all__ = [
    "CardArguments",
    "DataArguments",
    "RecipeArguments",
    "StartArguments",
    "TrainingSettings",
    "check_files",
    "check_settings",
    "check_shares",
    "check_stages",
    "frozen_parts",
    "one_line",
    "parse_settings",
    "read_config",
]

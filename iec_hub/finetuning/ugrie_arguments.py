"""Arguments of UGRIE's training, and what can be said against them before anything is loaded."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from transformers import HfArgumentParser

from iec_hub.errors import DataError
from iec_hub.finetuning.trainer import EmotionTrainingArguments
from iec_hub.models.ugrie import UGRIE_PRESETS

PARTS = ("vision", "language", "mapping")


@dataclass
class DataArguments:
    """What to train on."""

    data: list[str] = field(
        metadata={
            "help": "Data sets of labelled images (folder, metadata file or Hub id); splits train and validation."
        }
    )
    deduplicate: bool = field(default=False, metadata={"help": "Drop near-duplicates across splits first."})
    texts: list[str] = field(
        default_factory=list, metadata={"help": "CSV files with `emotion` and text columns: text-only teaching."}
    )
    text_emotion_model: str = field(default="mikels8", metadata={"help": "Emotion model of --texts."})
    captions: list[str] = field(
        default_factory=list,
        metadata={"help": "CSV files with `file_name`, `split` and text columns: images to align."},
    )
    sentence_encoder: str | None = field(
        default=None, metadata={"help": "Encoder of texts (id or folder); needed for --texts and --captions."}
    )
    lexicon: str | None = field(default=None, metadata={"help": "Folder with a classifier head and its class names."})
    shots: list[int] = field(
        default_factory=list,
        metadata={
            "help": "Train on this many images per class only: one number for all data sets or one each; 0 means all."
        },
    )


@dataclass
class ModelArguments:
    """What to start from."""

    model: str | None = field(default=None, metadata={"help": "A UGRIE checkpoint to continue from (id or folder)."})
    vision: str | None = field(default=None, metadata={"help": "Pretrained vision tower (id or folder)."})
    text: str | None = field(default=None, metadata={"help": "Pretrained BART (id or folder)."})
    preset: str | None = field(default=None, metadata={"help": f"One of {', '.join(UGRIE_PRESETS)}."})
    config: str | None = field(default=None, metadata={"help": "JSON file with further fields of UgrieConfig."})
    label_words: str = field(
        default="plutchik", metadata={"help": "'plutchik': intensity words; 'label': the label itself."}
    )
    freeze: list[str] = field(
        default_factory=lambda: ["vision"], metadata={"help": f"Some of {', '.join(PARTS)}, or none."}
    )


@dataclass
class RecipeArguments:
    """How to train, beside the Trainer's own options."""

    views: int = field(default=5, metadata={"help": "Augmented views per image with a frozen vision tower."})
    cache: str | None = field(default=None, metadata={"help": "Folder for cached vision features."})
    mixup: float = field(default=0.5, metadata={"help": "Beta parameter of mixup; 0 switches it off."})
    visual_dropout: float = field(default=0.15, metadata={"help": "How often an image's visual prefix is hidden."})
    teacher_weight: float = field(default=0.7, metadata={"help": "Share of the linear teacher; 0: votes alone."})
    patience: int = field(default=4, metadata={"help": "Epochs without improvement before stopping; 0: never."})
    text_epochs: float = field(default=3.0, metadata={"help": "Passes over --texts."})
    half_precision_weights: bool = field(default=False, metadata={"help": "Save weights in float16."})


@dataclass
class CardArguments:
    """What the model card says that the run cannot know."""

    license: str = field(default="other", metadata={"help": "Licence of the weights, as the Hub names it."})
    card_notes: str | None = field(
        default=None, metadata={"help": "Markdown file for the card's part 'Data terms and weights'."}
    )


def parse_arguments(
    argv: Sequence[str] | None, description: str | None
) -> tuple[DataArguments, ModelArguments, RecipeArguments, CardArguments, EmotionTrainingArguments]:
    """The command line as dataclasses.

    Raises:
        DataError: with one sentence, for an unknown argument or impossible settings; plain typing mistakes end the
            program as argparse does.
    """
    kinds = (DataArguments, ModelArguments, RecipeArguments, CardArguments, EmotionTrainingArguments)
    return parse_dataclasses(kinds, argv, description, "ugrie")


def parse_dataclasses(
    kinds: tuple[type, ...], argv: Sequence[str] | None, description: str | None, method: str
) -> tuple[Any, ...]:
    """The command line of a method's training as dataclasses; see [`parse_arguments`]."""
    parser = HfArgumentParser(kinds, description=description, prog=f"iec-hub train {method}")
    try:
        *parsed, unknown = parser.parse_args_into_dataclasses(
            list(argv) if argv is not None else None, return_remaining_strings=True
        )
    except ValueError as error:
        raise DataError(f"The training settings cannot be used; correct them ({_one_line(error)}).") from error
    if unknown:
        raise DataError(f"There is no argument {unknown[0][:40]!r}; see iec-hub train {method} --help.")
    return tuple(parsed)


def check_arguments(data: DataArguments, start: ModelArguments, recipe: RecipeArguments, card: CardArguments) -> None:
    """What can be refused before minutes are spent on loading.

    Raises:
        DataError: with one sentence.
    """
    if not (start.model or start.preset or (start.vision and start.text)):
        raise DataError("Nothing to start from; give --model, --preset, or --vision and --text.")
    if start.preset and start.preset not in UGRIE_PRESETS:
        raise DataError(f"There is no preset {start.preset!r}; use one of {', '.join(UGRIE_PRESETS)}.")
    if start.label_words not in ("plutchik", "label"):
        raise DataError(f"--label_words is {start.label_words!r}; use 'plutchik' or 'label'.")
    if (data.texts or data.captions) and not data.sentence_encoder:
        raise DataError("--texts and --captions need a --sentence_encoder; name one (a Hub id or a folder).")
    if data.lexicon and not data.captions:
        raise DataError("--lexicon helps to align --captions; give those too or leave it out.")
    if len(data.shots) not in (0, 1, len(data.data)) or any(shots < 0 for shots in data.shots):
        raise DataError(f"--shots needs one number, or one for each of the {len(data.data)} data sets; 0 means all.")
    frozen_parts(start.freeze)
    if recipe.views < 1:
        raise DataError(f"--views is {recipe.views}; give at least 1.")
    for name, share in (("visual_dropout", recipe.visual_dropout), ("teacher_weight", recipe.teacher_weight)):
        if not 0 <= share <= 1:
            raise DataError(f"--{name} is {share}; give a share from 0 to 1.")
    if recipe.mixup < 0:
        raise DataError(f"--mixup is {recipe.mixup}; give 0 or a positive number.")
    files = [*data.texts, *data.captions, *(path for path in (start.config, card.card_notes) if path)]
    for path in files:
        if not Path(path).is_file():
            raise DataError(f"There is no file {path!r}; correct its path.")


def frozen_parts(freeze: Sequence[str]) -> tuple[str, ...]:
    """The parts to freeze; `none` means no part.

    Raises:
        DataError: for an unknown part, or when nothing would be left to train.
    """
    parts = tuple(part for part in freeze if part != "none")
    unknown = sorted(set(parts) - set(PARTS))
    if unknown:
        raise DataError(f"{unknown[0]!r} cannot be frozen; name some of {', '.join(PARTS)}, or none.")
    if set(parts) == set(PARTS):
        raise DataError("Every part is frozen, so there is nothing to train; freeze fewer parts.")
    return parts


def read_config(path: str | None) -> dict[str, Any]:
    """Fields of `UgrieConfig` from a JSON file; none without one.

    Raises:
        DataError: if the file does not hold a JSON object.
    """
    if not path:
        return {}
    try:
        fields = json.loads(Path(path).read_text(encoding="utf-8"))
    except ValueError as error:
        raise DataError(f"{path!r} is not JSON; correct it ({_one_line(error)}).") from error
    if not isinstance(fields, dict):
        raise DataError(f"{path!r} does not hold a JSON object; give fields of UgrieConfig.")
    return fields


def _one_line(error: Exception) -> str:
    return " ".join(str(error).split())[:200].rstrip(".")

"""Arguments of UGRIE's training, and what can be said against them before anything is loaded."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

from iec_hub.errors import DataError
from iec_hub.finetuning import arguments as shared
from iec_hub.finetuning.arguments import TrainingSettings, parse_settings
from iec_hub.models.ugrie import UGRIE_PRESETS

PARTS = ("vision", "language", "mapping")


@dataclass
class DataArguments(shared.DataArguments):
    """What to train on."""

    texts: list[str] = field(
        default_factory=list,
        metadata={"help": "CSV files with `emotion` and text columns: text-only teaching."},
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


@dataclass
class ModelArguments(shared.StartArguments):
    """What to start from."""

    label_words: str = field(
        default="plutchik", metadata={"help": "'plutchik': intensity words; 'label': the label itself."}
    )
    freeze: list[str] = field(
        default_factory=lambda: ["vision"], metadata={"help": f"Some of {', '.join(PARTS)}, or none."}
    )


@dataclass
class RecipeArguments(shared.RecipeArguments):
    """How to train, beside the Trainer's own options."""

    mixup: float = field(default=0.5, metadata={"help": "Beta parameter of mixup; 0 switches it off."})
    visual_dropout: float = field(default=0.15, metadata={"help": "How often an image's visual prefix is hidden."})
    teacher_weight: float = field(default=0.7, metadata={"help": "Share of the linear teacher; 0: votes alone."})
    patience: int = field(default=4, metadata={"help": "Epochs without improvement before stopping; 0: never."})
    text_epochs: float = field(default=3.0, metadata={"help": "Passes over --texts."})


def parse_arguments(argv: Sequence[str] | None, description: str | None) -> TrainingSettings:
    """The command line as dataclasses; errors as in [`parse_settings`]."""
    return parse_settings((DataArguments, ModelArguments, RecipeArguments), argv, description, "ugrie")


def check_arguments(settings: TrainingSettings) -> None:
    """What can be refused before minutes are spent on loading.

    Raises:
        DataError: with one sentence.
    """
    data, start, recipe = settings.data, settings.start, settings.recipe
    if not (start.model or start.preset or (start.vision and start.text)):
        raise DataError("Nothing to start from; give --model, --preset, or --vision and --text.")
    shared.check_settings(settings, UGRIE_PRESETS)
    if (data.texts or data.captions) and not data.sentence_encoder:
        raise DataError("--texts and --captions need a --sentence_encoder; name one (a Hub id or a folder).")
    if data.lexicon and not data.captions:
        raise DataError("--lexicon helps to align --captions; give those too or leave it out.")
    if settings.adapter.lora and start.model and data.captions:
        raise DataError("--captions teach the whole mapping, which --lora keeps; leave one of the two out.")
    frozen_parts(start.freeze)
    shared.check_shares(recipe, ("visual_dropout", "teacher_weight"), ("mixup", "text_epochs", "patience"))
    shared.check_files([*data.texts, *data.captions])


def frozen_parts(freeze: Sequence[str]) -> tuple[str, ...]:
    """The parts to freeze; `none` means no part.

    Raises:
        DataError: for an unknown part, or when nothing would be left to train.
    """
    return shared.frozen_parts(freeze, PARTS, all_but_one=True)


__all__ = [
    "PARTS",
    "DataArguments",
    "ModelArguments",
    "RecipeArguments",
    "check_arguments",
    "frozen_parts",
    "parse_arguments",
]

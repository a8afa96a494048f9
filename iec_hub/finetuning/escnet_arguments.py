"""Arguments of ESCNet's training, and what can be said against them before anything is loaded."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

from iec_hub.emotions import EmotionModel, get_emotion_model
from iec_hub.errors import DataError
from iec_hub.finetuning import arguments as shared
from iec_hub.finetuning.arguments import TrainingSettings, parse_settings
from iec_hub.finetuning.escnet_training import PARTS
from iec_hub.models.escnet import ESCNET_PRESETS

STAGES = ("captioner", "classifier")


@dataclass
class DataArguments(shared.DataArguments):
    """What to train on."""

    texts: list[str] = field(
        default_factory=list,
        metadata={
            "help": "CSV files with `emotion` and text columns, read as captions without images; FILE or "
            "FILE:EMOTION_MODEL (mikels8 if left out)."
        },
    )
    captions: list[str] = field(
        default_factory=list,
        metadata={"help": "Captioned images for the captioner: CSV files with `file_name`, `split`, `caption*`."},
    )
    caption_data: list[str] = field(
        default_factory=list,
        metadata={"help": "Affective caption data sets (folders of build_affective_captions.py) for a generator."},
    )
    image_roots: list[str] = field(
        default_factory=list, metadata={"help": "Folder of the images of each --caption_data, unless they are inside."}
    )
    vocabulary: str | None = field(
        default=None, metadata={"help": "JSON file with the words that an attribute captioner may learn."}
    )
    classifier: str | None = field(
        default=None, metadata={"help": "Folder with an ImageNet head for an attribute captioner."}
    )


@dataclass
class ModelArguments(shared.StartArguments):
    """What to start from."""

    vision: str | None = field(default=None, metadata={"help": "Pretrained vision tower; left out, the captioner's."})
    captioner: str | None = field(default=None, metadata={"help": "Pretrained image-to-text generator."})
    freeze: list[str] = field(
        default_factory=lambda: ["vision", "captioner"],
        metadata={"help": f"In stage 2, some of {', '.join(PARTS)}, or none."},
    )


@dataclass
class RecipeArguments(shared.RecipeArguments):
    """How to train, beside the Trainer's own options."""

    stages: list[str] = field(
        default_factory=lambda: list(STAGES), metadata={"help": f"Some of {', '.join(STAGES)}; both by default."}
    )
    mixup: float = field(default=0.5, metadata={"help": "Beta parameter of mixup; 0 switches it off."})
    visual_dropout: float = field(default=0.1, metadata={"help": "How often an image is hidden from its caption."})
    teacher_weight: float = field(default=0.0, metadata={"help": "Share of the linear teacher; 0: votes alone."})
    text_epochs: float = field(default=3.0, metadata={"help": "Passes over --texts before images are seen."})
    texts_per_epoch: float = field(default=0.0, metadata={"help": "Texts replayed beside the images, as a share."})
    labelled_captions: int = field(
        default=2, metadata={"help": "How often the texts hold the captions of labelled images; 0: never."}
    )
    grounding_epochs: float = field(
        default=8.0, metadata={"help": "Passes over captioned images that teach words where to look."}
    )
    start_from_probe: bool = field(
        default=True, metadata={"help": "Start at linear probes of the frozen tower, and keep them."}
    )
    caption_weight: float = field(default=0.4, metadata={"help": "Share of the captions beside the probes."})
    caption_precision: float = field(
        default=0.75, metadata={"help": "Precision that a word needs on unseen images before captions tell it."}
    )
    caption_epochs: float = field(default=3.0, metadata={"help": "Passes over the captions, for a generator."})
    emotion_words: bool = field(default=False, metadata={"help": "Captions end with the emotion they evoke."})


def parse_arguments(argv: Sequence[str] | None, description: str | None) -> TrainingSettings:
    """The command line as dataclasses; errors as in [`parse_settings`]."""
    return parse_settings((DataArguments, ModelArguments, RecipeArguments), argv, description, "escnet")


def check_arguments(settings: TrainingSettings) -> None:
    """What can be refused before minutes are spent on loading.

    Raises:
        DataError: with one sentence.
    """
    data, start, recipe = settings.data, settings.start, settings.recipe
    if not (start.model or start.preset or (start.text and (start.vision or start.captioner))):
        raise DataError("Nothing to start from; give --model, --preset, or --text with --vision or --captioner.")
    shared.check_settings(settings, ESCNET_PRESETS)
    shared.check_stages(recipe.stages, STAGES)
    if data.image_roots and len(data.image_roots) != len(data.caption_data):
        raise DataError("--image_roots needs one folder for each --caption_data; give as many, or none.")
    frozen_parts(start.freeze)
    amounts = ("mixup", "text_epochs", "texts_per_epoch", "caption_epochs", "labelled_captions", "grounding_epochs")
    shares = ("visual_dropout", "teacher_weight", "caption_precision", "caption_weight")
    shared.check_shares(recipe, shares, (*amounts, "patience"))
    shared.check_files([*(path for path, _ in map(text_and_model, data.texts)), *data.captions, data.vocabulary])


def frozen_parts(freeze: Sequence[str]) -> tuple[str, ...]:
    """The parts to freeze; `none` means no part.

    Raises:
        DataError: for an unknown part.
    """
    return shared.frozen_parts(freeze, PARTS)


def text_and_model(argument: str) -> tuple[Path, EmotionModel]:
    """FILE or FILE:EMOTION_MODEL as a path and an emotion model.

    Raises:
        DataError: if there is no such emotion model.
    """
    path, colon, name = argument.rpartition(":")
    if not colon or "/" in name or "." in name:  # a path may hold a colon of its own
        return Path(argument), get_emotion_model("mikels8")
    return Path(path), get_emotion_model(name)


__all__ = ["STAGES", "DataArguments", "ModelArguments", "RecipeArguments", "check_arguments", "parse_arguments"]

"""Arguments of ESCNet's training, and what can be said against them before anything is loaded."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

from iec_hub.emotions import EmotionModel, get_emotion_model
from iec_hub.errors import DataError
from iec_hub.finetuning.escnet_training import PARTS
from iec_hub.finetuning.trainer import EmotionTrainingArguments
from iec_hub.finetuning.ugrie_arguments import CardArguments, parse_dataclasses
from iec_hub.models.escnet import ESCNET_PRESETS

STAGES = ("captioner", "classifier")


@dataclass
class DataArguments:
    """What to train on."""

    data: list[str] = field(
        metadata={
            "help": "Data sets of labelled images (folder, metadata file or Hub id); splits train and validation."
        }
    )
    deduplicate: bool = field(default=False, metadata={"help": "Drop near-duplicates across splits first."})
    shots: list[int] = field(
        default_factory=list,
        metadata={"help": "Train on this many images per class only: one number or one each; 0 means all."},
    )
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
class ModelArguments:
    """What to start from."""

    model: str | None = field(default=None, metadata={"help": "An ESCNet checkpoint to continue from."})
    vision: str | None = field(default=None, metadata={"help": "Pretrained vision tower; left out, the captioner's."})
    text: str | None = field(default=None, metadata={"help": "Pretrained caption encoder (id or folder)."})
    captioner: str | None = field(default=None, metadata={"help": "Pretrained image-to-text generator."})
    preset: str | None = field(default=None, metadata={"help": f"One of {', '.join(ESCNET_PRESETS)}."})
    config: str | None = field(default=None, metadata={"help": "JSON file with further fields of EscnetConfig."})
    label_words: str = field(default="label", metadata={"help": "Kept with the emotion models; see train ugrie."})
    freeze: list[str] = field(
        default_factory=lambda: ["vision", "captioner"],
        metadata={"help": f"In stage 2, some of {', '.join(PARTS)}, or none."},
    )


@dataclass
class RecipeArguments:
    """How to train, beside the Trainer's own options."""

    stages: list[str] = field(
        default_factory=lambda: list(STAGES), metadata={"help": f"Some of {', '.join(STAGES)}; both by default."}
    )
    views: int = field(default=5, metadata={"help": "Augmented views per image with a frozen vision tower."})
    cache: str | None = field(default=None, metadata={"help": "Folder for cached vision features and captions."})
    mixup: float = field(default=0.5, metadata={"help": "Beta parameter of mixup; 0 switches it off."})
    visual_dropout: float = field(default=0.1, metadata={"help": "How often an image is hidden from its caption."})
    teacher_weight: float = field(default=0.0, metadata={"help": "Share of the linear teacher; 0: votes alone."})
    patience: int = field(default=0, metadata={"help": "Epochs without improvement before stopping; 0: never."})
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
    half_precision_weights: bool = field(default=False, metadata={"help": "Save weights in float16."})


def parse_arguments(
    argv: Sequence[str] | None, description: str | None
) -> tuple[DataArguments, ModelArguments, RecipeArguments, CardArguments, EmotionTrainingArguments]:
    """The command line as dataclasses; errors as in UGRIE's."""
    kinds = (DataArguments, ModelArguments, RecipeArguments, CardArguments, EmotionTrainingArguments)
    return parse_dataclasses(kinds, argv, description, "escnet")


def check_arguments(data: DataArguments, start: ModelArguments, recipe: RecipeArguments, card: CardArguments) -> None:
    """What can be refused before minutes are spent on loading.

    Raises:
        DataError: with one sentence.
    """
    if not (start.model or start.preset or (start.text and (start.vision or start.captioner))):
        raise DataError("Nothing to start from; give --model, --preset, or --text with --vision or --captioner.")
    if start.preset and start.preset not in ESCNET_PRESETS:
        raise DataError(f"There is no preset {start.preset!r}; use one of {', '.join(ESCNET_PRESETS)}.")
    if start.label_words not in ("plutchik", "label"):
        raise DataError(f"--label_words is {start.label_words!r}; use 'plutchik' or 'label'.")
    unknown = sorted(set(recipe.stages) - set(STAGES))
    if unknown or not recipe.stages:
        raise DataError(f"--stages knows {' and '.join(STAGES)}; name one of them or both.")
    if len(data.shots) not in (0, 1, len(data.data)) or any(shots < 0 for shots in data.shots):
        raise DataError(f"--shots needs one number, or one for each of the {len(data.data)} data sets; 0 means all.")
    if data.image_roots and len(data.image_roots) != len(data.caption_data):
        raise DataError("--image_roots needs one folder for each --caption_data; give as many, or none.")
    frozen_parts(start.freeze)
    if recipe.views < 1:
        raise DataError(f"--views is {recipe.views}; give at least 1.")
    for name in ("visual_dropout", "teacher_weight", "caption_precision", "caption_weight"):
        share = getattr(recipe, name)
        if not 0 <= share <= 1:
            raise DataError(f"--{name} is {share}; give a share from 0 to 1.")
    for name in ("mixup", "text_epochs", "texts_per_epoch", "caption_epochs", "labelled_captions", "grounding_epochs"):
        if getattr(recipe, name) < 0:
            raise DataError(f"--{name} is {getattr(recipe, name)}; give 0 or a positive number.")
    files = [path for path, _ in map(text_and_model, data.texts)] + [Path(path) for path in data.captions]
    files += [Path(path) for path in (start.config, card.card_notes, data.vocabulary) if path]
    for path in files:
        if not path.is_file():
            raise DataError(f"There is no file {str(path)!r}; correct its path.")


def frozen_parts(freeze: Sequence[str]) -> tuple[str, ...]:
    """The parts to freeze; `none` means no part.

    Raises:
        DataError: for an unknown part.
    """
    parts = tuple(part for part in freeze if part != "none")
    unknown = sorted(set(parts) - set(PARTS))
    if unknown:
        raise DataError(f"{unknown[0]!r} cannot be frozen; name some of {', '.join(PARTS)}, or none.")
    return parts


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

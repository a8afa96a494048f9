"""Arguments of ACIEC's training, and what can be said against them before anything is loaded."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

from iec_hub.errors import DataError
from iec_hub.finetuning.escnet_arguments import text_and_model
from iec_hub.finetuning.trainer import EmotionTrainingArguments
from iec_hub.finetuning.ugrie_arguments import CardArguments, parse_dataclasses
from iec_hub.models.aciec import ACIEC_PRESETS

STAGES = ("concepts", "reasoning", "classifier")
PARTS = ("language",)


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
            "help": "CSV files with `emotion` and text columns; FILE or FILE:EMOTION_MODEL (mikels8 if left out). "
            "Lists of concepts teach concepts and what they evoke, other texts what text in an image evokes."
        },
    )
    captions: list[str] = field(
        default_factory=list,
        metadata={"help": "Captioned images to place images among texts: CSV with `file_name`, `split`, `caption*`."},
    )
    sentence_encoder: str | None = field(
        default=None, metadata={"help": "Encoder of descriptions (id or folder), for stage 1 on lists of concepts."}
    )
    lexicon: str | None = field(default=None, metadata={"help": "Folder with a classifier head and its class names."})
    concepts: str | None = field(
        default=None, metadata={"help": "File with the concepts to look for; SentiBank's 2,089 if left out."}
    )


@dataclass
class ModelArguments:
    """What to start from."""

    model: str | None = field(default=None, metadata={"help": "An ACIEC checkpoint to continue from."})
    vision: str | None = field(default=None, metadata={"help": "Pretrained vision tower (id or folder)."})
    text: str | None = field(default=None, metadata={"help": "Pretrained text encoder (id or folder)."})
    observer: str | None = field(
        default=None, metadata={"help": "ESCNet checkpoint whose captioner says what the small reasoner sees."}
    )
    preset: str | None = field(default=None, metadata={"help": f"One of {', '.join(ACIEC_PRESETS)}."})
    config: str | None = field(default=None, metadata={"help": "JSON file with further fields of AciecConfig."})
    reasoner: str | None = field(
        default=None, metadata={"help": "Vision-language model that reasons; 'preset' takes the configuration's."}
    )
    reasoner_quantization: str | None = field(
        default=None, metadata={"help": "'4bit' or '8bit' for --reasoner, on a GPU."}
    )
    label_words: str = field(default="label", metadata={"help": "Kept with the emotion models; see train ugrie."})
    freeze: list[str] = field(
        default_factory=list, metadata={"help": f"In stage 3, some of {', '.join(PARTS)}, or none."}
    )


@dataclass
class RecipeArguments:
    """How to train, beside the Trainer's own options."""

    stages: list[str] = field(
        default_factory=lambda: list(STAGES), metadata={"help": f"Some of {', '.join(STAGES)}; all by default."}
    )
    views: int = field(default=5, metadata={"help": "Augmented views per image."})
    cache: str | None = field(default=None, metadata={"help": "Folder for vision features, reasoning and read text."})
    read_text: bool = field(default=True, metadata={"help": "Read the text in images (needs the extra ocr)."})
    hierarchical: bool = field(default=True, metadata={"help": "Hierarchical instead of flat loss in stage 1."})
    similarity_sampling: bool = field(
        default=True, metadata={"help": "Semantic-similarity sampling in the contrastive loss of stage 3."}
    )
    concept_epochs: int = field(default=15, metadata={"help": "Passes over lists of concepts in stage 1."})
    image_epochs: int = field(default=10, metadata={"help": "Passes over labelled images in stage 1."})
    teacher_weight: float = field(
        default=0.5,
        metadata={"help": "Share of the reasoner's joint opinion in the labels of stage 3; 0: votes alone."},
    )
    texts_per_epoch: float = field(default=1.0, metadata={"help": "Other texts per epoch, as a share of the images'."})
    source_dropout: float = field(default=0.1, metadata={"help": "How often a source of an image's text is hidden."})
    quoted: float = field(default=0.15, metadata={"help": "How often a comment is put into an image."})
    contrastive_weight: float = field(default=0.1, metadata={"help": "Of the contrastive loss of stage 3."})
    patience: int = field(default=0, metadata={"help": "Epochs without improvement before stopping; 0: never."})
    half_precision_weights: bool = field(default=False, metadata={"help": "Save weights in float16."})


def parse_arguments(
    argv: Sequence[str] | None, description: str | None
) -> tuple[DataArguments, ModelArguments, RecipeArguments, CardArguments, EmotionTrainingArguments]:
    """The command line as dataclasses; errors as in UGRIE's."""
    kinds = (DataArguments, ModelArguments, RecipeArguments, CardArguments, EmotionTrainingArguments)
    return parse_dataclasses(kinds, argv, description, "aciec")


def check_arguments(data: DataArguments, start: ModelArguments, recipe: RecipeArguments, card: CardArguments) -> None:
    """What can be refused before minutes are spent on loading.

    Raises:
        DataError: with one sentence.
    """
    if not (start.model or start.preset or (start.text and start.vision)):
        raise DataError("Nothing to start from; give --model, --preset, or --vision and --text.")
    if start.preset and start.preset not in ACIEC_PRESETS:
        raise DataError(f"There is no preset {start.preset!r}; use one of {', '.join(ACIEC_PRESETS)}.")
    if start.reasoner_quantization not in (None, "4bit", "8bit"):
        raise DataError(f"--reasoner_quantization is {start.reasoner_quantization!r}; use '4bit' or '8bit'.")
    if start.label_words not in ("plutchik", "label"):
        raise DataError(f"--label_words is {start.label_words!r}; use 'plutchik' or 'label'.")
    if sorted(set(recipe.stages) - set(STAGES)) or not recipe.stages:
        raise DataError(f"--stages knows {', '.join(STAGES)}; name one of them or several.")
    unknown = sorted(set(start.freeze) - {*PARTS, "none"})
    if unknown:
        raise DataError(f"{unknown[0]!r} cannot be frozen; name some of {', '.join(PARTS)}, or none.")
    if len(data.shots) not in (0, 1, len(data.data)) or any(shots < 0 for shots in data.shots):
        raise DataError(f"--shots needs one number, or one for each of the {len(data.data)} data sets; 0 means all.")
    if recipe.views < 1:
        raise DataError(f"--views is {recipe.views}; give at least 1.")
    for name in ("teacher_weight", "source_dropout", "quoted"):
        share = getattr(recipe, name)
        if not 0 <= share <= 1:
            raise DataError(f"--{name} is {share}; give a share from 0 to 1.")
    for name in ("texts_per_epoch", "contrastive_weight", "concept_epochs", "image_epochs"):
        if getattr(recipe, name) < 0:
            raise DataError(f"--{name} is {getattr(recipe, name)}; give 0 or a positive number.")
    files = [path for path, _ in map(text_and_model, data.texts)] + [Path(path) for path in data.captions]
    files += [Path(path) for path in (start.config, card.card_notes, data.concepts) if path]
    for path in files:
        if not path.is_file():
            raise DataError(f"There is no file {str(path)!r}; correct its path.")


__all__ = [
    "PARTS",
    "STAGES",
    "DataArguments",
    "ModelArguments",
    "RecipeArguments",
    "check_arguments",
    "parse_arguments",
]

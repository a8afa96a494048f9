"""Arguments of ACIEC's training, and what can be said against them before anything is loaded."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

from iec_hub.errors import DataError
from iec_hub.finetuning import arguments as shared
from iec_hub.finetuning.arguments import TrainingSettings, parse_settings
from iec_hub.finetuning.escnet_arguments import text_and_model
from iec_hub.models.aciec import ACIEC_PRESETS

STAGES = ("concepts", "reasoning", "classifier")
PARTS = ("vision", "language")


@dataclass
class DataArguments(shared.DataArguments):
    """What to train on."""

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
class ModelArguments(shared.StartArguments):
    """What to start from."""

    observer: str | None = field(
        default=None, metadata={"help": "ESCNet checkpoint whose captioner says what the small reasoner sees."}
    )
    reasoner: str | None = field(
        default=None, metadata={"help": "Vision-language model that reasons; 'preset' takes the configuration's."}
    )
    reasoner_quantization: str | None = field(
        default=None, metadata={"help": "'4bit' or '8bit' for --reasoner, on a GPU."}
    )
    freeze: list[str] = field(
        default_factory=list, metadata={"help": "In stage 3, language or none; the vision tower is always frozen."}
    )


@dataclass
class RecipeArguments(shared.RecipeArguments):
    """How to train, beside the Trainer's own options."""

    stages: list[str] = field(
        default_factory=lambda: list(STAGES), metadata={"help": f"Some of {', '.join(STAGES)}; all by default."}
    )
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


def parse_arguments(argv: Sequence[str] | None, description: str | None) -> TrainingSettings:
    """The command line as dataclasses; errors as in [`parse_settings`]."""
    return parse_settings((DataArguments, ModelArguments, RecipeArguments), argv, description, "aciec")


def check_arguments(settings: TrainingSettings) -> None:
    """What can be refused before minutes are spent on loading.

    Raises:
        DataError: with one sentence.
    """
    data, start, recipe = settings.data, settings.start, settings.recipe
    if not (start.model or start.preset or (start.text and start.vision)):
        raise DataError("Nothing to start from; give --model, --preset, or --vision and --text.")
    adapter = settings.adapter
    if "vision" in adapter.lora_targets:
        raise DataError(
            "ACIEC decides from words and never trains its vision tower; take vision out of --lora_targets."
        )
    if "fusion" in adapter.lora_targets:
        raise DataError("ACIEC has no fusion of image and language; take fusion out of --lora_targets.")
    adapter.lora_targets = ["language" if target == "all" else target for target in adapter.lora_targets]
    shared.check_settings(settings, ACIEC_PRESETS)
    if start.reasoner_quantization not in (None, "4bit", "8bit"):
        raise DataError(f"--reasoner_quantization is {start.reasoner_quantization!r}; use '4bit' or '8bit'.")
    shared.check_stages(recipe.stages, STAGES)
    shared.frozen_parts(start.freeze, PARTS)
    amounts = ("texts_per_epoch", "contrastive_weight", "concept_epochs", "image_epochs", "patience")
    shared.check_shares(recipe, ("teacher_weight", "source_dropout", "quoted"), amounts)
    shared.check_files([*(path for path, _ in map(text_and_model, data.texts)), *data.captions, data.concepts])


__all__ = [
    "PARTS",
    "STAGES",
    "DataArguments",
    "ModelArguments",
    "RecipeArguments",
    "check_arguments",
    "parse_arguments",
]

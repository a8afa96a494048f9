"""Command line of UGRIE's training, served by `training/train_ugrie.py` and `iec-hub train ugrie`."""

from __future__ import annotations

import json
import logging
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import torch
from transformers import AutoImageProcessor, AutoTokenizer, HfArgumentParser

from iec_hub.data import EmotionDataset, load_emotion_dataset, remove_duplicates
from iec_hub.emotions import Emotion, EmotionModel, get_emotion_model
from iec_hub.errors import DataError
from iec_hub.finetuning import ugrie_training as stages
from iec_hub.finetuning.features import cached_features
from iec_hub.finetuning.model_card import write_model_card
from iec_hub.finetuning.teaching import Lexicon, SentenceEncoder, text_source, word_source
from iec_hub.finetuning.trainer import EmotionTrainingArguments
from iec_hub.models.ugrie import UGRIE_PRESETS, UgrieConfig, UgrieForImageEmotion, UgrieProcessor
from iec_hub.registry import checkpoint_path

logger = logging.getLogger(__name__)


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
    shots: int | None = field(default=None, metadata={"help": "Train on this many images per class only."})


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
    freeze: list[str] = field(default_factory=lambda: ["vision"], metadata={"help": "vision, language, mapping."})


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


def main(argv: Sequence[str] | None = None) -> dict[str, Any]:
    """Run a training; returns what `metrics.json` holds.

    Raises:
        IecHubError: with one sentence, for arguments and data that cannot be used.
    """
    parser = HfArgumentParser(
        (DataArguments, ModelArguments, RecipeArguments, EmotionTrainingArguments), description=__doc__
    )
    data, model_arguments, recipe, arguments = parser.parse_args_into_dataclasses(
        list(argv) if argv is not None else None
    )
    return train(data, model_arguments, recipe, arguments)


def train(
    data: DataArguments, start: ModelArguments, recipe: RecipeArguments, arguments: EmotionTrainingArguments
) -> dict[str, Any]:
    """The whole run: load, teach by text, align, train on images, calibrate, measure, save, write the card."""
    stages.begin(arguments)
    run = stages.UgrieRun(
        freeze=tuple(start.freeze),
        views=recipe.views,
        cache=Path(recipe.cache) if recipe.cache else None,
        mixup=recipe.mixup,
        visual_dropout=recipe.visual_dropout,
        teacher_weight=recipe.teacher_weight,
        patience=recipe.patience,
        text_epochs=recipe.text_epochs,
    )
    datasets = load_data(data, start, arguments.seed)
    model, processor = load_model(start, [dataset.emotion_model for dataset in datasets])
    output = Path(arguments.output_dir)
    log: dict[str, Any] = {"seed": arguments.seed, "data": {d.name: d.report() for d in datasets}}

    train_sources = stages.image_sources(model, processor, datasets, "train", run)
    held_out = stages.image_sources(model, processor, datasets, "validation", run)
    frozen = "vision" in run.freeze
    fresh = start.model is None
    if frozen and fresh and model.config.feature_norm == "power":
        model.feature_norm.fit(torch.cat([source.features[0] for source in train_sources]))

    texts, taught = [], set()
    if data.sentence_encoder:
        encoder = SentenceEncoder(data.sentence_encoder)
        if data.texts:
            taught = {data.text_emotion_model}
            texts = [
                text_source(Path(path), model.config.resolve_emotion_model(data.text_emotion_model), encoder)
                for path in data.texts
            ]
            words = [word_source(processor.tokenizer, encoder)]
            stages.teach_by_text(model, processor, [*texts, *words], run, arguments)
        if data.captions:
            lexicon = Lexicon(Path(data.lexicon), encoder) if data.lexicon else None
            log |= _align(model, processor, data, encoder, lexicon, train_sources, run, arguments.seed)
    elif data.texts or data.captions:
        raise DataError("--texts and --captions need a --sentence-encoder; name one (a Hub id or a folder).")

    if frozen and run.teacher_weight:
        for source, validation in zip(train_sources, held_out, strict=True):
            known = source.emotion_model.name in taught and bool(data.captions)
            source.teacher, log[f"teacher_{source.name}"] = stages.make_teacher(
                model, processor, source, validation, known
            )
    trainer = stages.train_on_images(model, processor, train_sources, held_out, run, arguments)
    log["history"] = [entry for entry in trainer.state.log_history if "eval_soft_cross_entropy" in entry]
    model.eval()
    if recipe.half_precision_weights:
        model = round_to_half(model)
    if frozen:
        log["temperatures"] = stages.calibrate(model, processor, held_out)
        log["validation"] = stages.measure(model, processor, held_out)
        tested = [d for d in datasets if "test" in d.splits()]
        if tested:
            log["test"] = stages.measure(model, processor, stages.image_sources(model, processor, tested, "test", run))
    model.config.dtype = "float32"
    if trainer.is_world_process_zero():
        stages.save_run(model.half() if recipe.half_precision_weights else model, processor, output, log)
        write_model_card(output, model.config, log, vars(data) | vars(start) | vars(recipe), arguments)
        logger.info("Saved to %s", output)
    print(json.dumps({name: log[name] for name in ("validation", "test") if name in log}))
    return log


def load_data(data: DataArguments, start: ModelArguments, seed: int) -> list[EmotionDataset]:
    """The labelled data sets, reported, with the chosen label words; `--shots` thins the training split."""
    from iec_hub.data import few_shot

    datasets = []
    for source in data.data:
        dataset = load_emotion_dataset(source, verify_images=True)
        if data.deduplicate:
            dataset, _ = remove_duplicates(dataset)
        missing = {"train", "validation"} - set(dataset.splits())
        if missing:
            raise DataError(f"{dataset.name} has no {sorted(missing)[0]} split; it has {', '.join(dataset.splits())}.")
        if data.shots:
            kept = few_shot(dataset.split("train"), data.shots, seed).examples
            rest = [example for example in dataset.examples if example.split != "train"]
            dataset = replace(dataset, examples=[*kept, *rest])
        logger.warning("%s", dataset.report())
        words = label_words(dataset.emotion_model, start.label_words)
        examples = [replace(example, emotion_model=words) for example in dataset.examples]
        datasets.append(replace(dataset, emotion_model=words, examples=examples))
    return datasets


def label_words(emotion_model: EmotionModel, kind: str) -> EmotionModel:
    """The emotion model with its own words ("plutchik") or with each label standing for itself ("label")."""
    if kind == "plutchik":
        return emotion_model
    if kind != "label":
        raise DataError(f"--label-words is {kind!r}; use 'plutchik' or 'label'.")
    emotions = tuple(Emotion(emotion.label, (emotion.label,), emotion.polarity) for emotion in emotion_model.emotions)
    return replace(emotion_model, emotions=emotions)


def load_model(
    start: ModelArguments, emotion_models: Sequence[EmotionModel]
) -> tuple[UgrieForImageEmotion, UgrieProcessor]:
    """The model to train and its processor; new emotion models are added to a continued checkpoint's."""
    models = {model.name: model for model in emotion_models}
    if start.model:
        path = checkpoint_path(start.model)
        model = UgrieForImageEmotion.from_pretrained(path, dtype=torch.float32)
        known = model.config.trained_emotion_models
        model.config.emotion_models = [m.to_dict() for m in (known | models).values()]
        return model, UgrieProcessor.from_pretrained(path).adopt(model.config)
    fields = json.loads(Path(start.config).read_text(encoding="utf-8")) if start.config else {}
    fields["emotion_models"] = [model.to_dict() for model in models.values()]
    if start.preset:
        if start.preset not in UGRIE_PRESETS:
            raise DataError(f"There is no preset {start.preset!r}; use one of {', '.join(UGRIE_PRESETS)}.")
        vision, text = UGRIE_PRESETS[start.preset]["backbones"]
    elif start.vision and start.text:
        vision, text = start.vision, start.text
    else:
        raise DataError("Nothing to start from; give --model, --preset, or --vision and --text.")
    image_fields = fields.pop("image_processor", None)
    model = UgrieForImageEmotion.from_backbones(vision, text, **fields)
    images = AutoImageProcessor.from_pretrained(vision, **(image_fields or {}))
    return model, UgrieProcessor(images, AutoTokenizer.from_pretrained(text)).adopt(model.config)


def round_to_half(model: UgrieForImageEmotion) -> UgrieForImageEmotion:
    """Round the weights as float16 will store them, so that what is calibrated and measured is what is loaded."""
    return model.half().float()


def _align(
    model: UgrieForImageEmotion,
    processor: UgrieProcessor,
    data: DataArguments,
    encoder: SentenceEncoder,
    lexicon: Lexicon | None,
    train_sources: Sequence[stages.ImageSource],
    run: stages.UgrieRun,
    seed: int,
) -> dict[str, float]:
    """Align images with their texts: the captioned ones, and the labelled ones that have a text."""
    pooled, texts, unlabelled = [], [], []
    captioned = [(path, *read_captions(Path(path))) for path in data.captions]
    for path, examples, captions in captioned:
        features = cached_features(model, processor, examples, run.cache, run.views, Path(path).parent.name)
        pooled.append(features.flatten(0, 1))
        texts.append(encoder.encode(captions).repeat(run.views, 1))
    for source in train_sources:
        described = [i for i, example in enumerate(source.examples) if _plain_text(example)]
        if described:
            embeddings = encoder.encode([_plain_text(source.examples[i]) for i in described])
            pooled.append(source.features[:, described].flatten(0, 1))
            texts.append(embeddings.repeat(run.views, 1))
        unlabelled.append(source.features.flatten(0, 1))
    return stages.align_images(model, (torch.cat(pooled), torch.cat(texts)), torch.cat(unlabelled), lexicon, seed)


def _plain_text(example: Any) -> str:
    """Tags describe what is seen; machine-made concepts already carry feelings, so tags win where there are both."""
    attributes = example.attributes or {}
    return str(attributes.get("tags") or example.text or "")


def read_captions(path: Path) -> tuple[list[Any], list[str]]:
    """Training images and texts of a CSV file with `file_name`, `split` and columns that begin with `caption`."""
    import csv

    from iec_hub.data import EmotionExample

    nothing = get_emotion_model("sentiment2")
    examples, captions = [], []
    with path.open(encoding="utf-8-sig", newline="") as file:
        for number, row in enumerate(csv.DictReader(file), start=2):
            text = " ".join(value for name, value in row.items() if name and name.startswith("caption") and value)
            image = path.parent / row.get("file_name", "")
            if row.get("split", "train") == "train" and text.strip() and image.is_file():
                examples.append(
                    EmotionExample(image, nothing, nothing.distribution([1, 1]), origin=f"{path.name}:{number}")
                )
                captions.append(text)
    if not examples:
        raise DataError(f"{path} has no training image with a caption; it needs file_name, split and caption columns.")
    return examples, captions

"""Command line of UGRIE's training, served by `training/train_ugrie.py` and `iec-hub train ugrie`."""

from __future__ import annotations

import json
import logging
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch

from iec_hub.data import EmotionDataset
from iec_hub.errors import DataError
from iec_hub.finetuning import ugrie_training as stages
from iec_hub.finetuning.features import cached_features
from iec_hub.finetuning.model_card import write_model_card
from iec_hub.finetuning.teaching import Lexicon, SentenceEncoder, text_source, word_source
from iec_hub.finetuning.trainer import EmotionTrainingArguments
from iec_hub.finetuning.ugrie_arguments import (
    CardArguments,
    DataArguments,
    ModelArguments,
    RecipeArguments,
    check_arguments,
    frozen_parts,
    parse_arguments,
)
from iec_hub.finetuning.ugrie_loading import load_data, load_model, read_captions
from iec_hub.models.ugrie import UgrieForImageEmotion, UgrieProcessor

logger = logging.getLogger(__name__)


def main(argv: Sequence[str] | None = None) -> dict[str, Any]:
    """Run a training; returns what `metrics.json` holds.

    Raises:
        IecHubError: with one sentence, for arguments and data that cannot be used.
    """
    return train(*parse_arguments(argv, __doc__))


def train(
    data: DataArguments,
    start: ModelArguments,
    recipe: RecipeArguments,
    card: CardArguments,
    arguments: EmotionTrainingArguments,
) -> dict[str, Any]:
    """The whole run: load, teach by text, align, train on images, calibrate, measure, save, write the card."""
    check_arguments(data, start, recipe, card)
    resumed = stages.resume_point(arguments)
    stages.begin(arguments)
    run = stages.UgrieRun(
        freeze=frozen_parts(start.freeze),
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

    model.to(arguments.device)
    train_sources = stages.image_sources(model, processor, datasets, "train", run)
    held_out = stages.image_sources(model, processor, datasets, "validation", run)
    model.cpu()
    if start.model is None and model.config.feature_norm == "power":
        stages.fit_feature_norm(model, processor, train_sources)
    if data.sentence_encoder:
        log |= _teach(model, processor, data, train_sources, run, arguments, resumed is not None)

    if run.teacher_weight and stages.features_are_fixed(model, run):
        taught = {data.text_emotion_model} if data.texts and data.captions else set()
        for source, validation in zip(train_sources, held_out, strict=True):
            source.teacher, log[f"teacher_{source.name}"] = stages.make_teacher(
                model, processor, source, validation, source.emotion_model.name in taught
            )
    trainer = stages.train_on_images(model, processor, train_sources, held_out, run, arguments)
    log["history"] = [entry for entry in trainer.state.log_history if "eval_soft_cross_entropy" in entry]
    if trainer.is_world_process_zero():
        _finish(model, processor, datasets, held_out, run, recipe, log)
        stages.save_run(model, processor, output, log, half=recipe.half_precision_weights)
        settings = vars(data) | vars(start) | vars(recipe)
        notes = Path(card.card_notes).read_text(encoding="utf-8-sig") if card.card_notes else ""
        write_model_card(output, model.config, log, settings, arguments, card.license, notes)
        logger.info("Saved to %s", output)
        print(json.dumps({name: log[name] for name in ("validation", "test") if name in log}))
    return log


def _teach(
    model: UgrieForImageEmotion,
    processor: UgrieProcessor,
    data: DataArguments,
    train_sources: Sequence[stages.ImageSource],
    run: stages.UgrieRun,
    arguments: EmotionTrainingArguments,
    resume: bool,
) -> dict[str, Any]:
    """Stages 1 and 2, or their stored result when a killed run goes on; returns what is worth logging."""
    if not (data.texts or data.captions):
        return {}
    stored = Path(arguments.output_dir) / "taught"
    if resume and (stored / "log.json").exists():
        return stages.load_taught(model, stored)
    size = model.config.semantic_size
    if not size:
        raise DataError("--texts and --captions need a model with a sentence space; set semantic_size in --config.")
    encoder = SentenceEncoder(data.sentence_encoder)
    if encoder.model.config.hidden_size != size:
        raise DataError(
            f"The sentence encoder is {encoder.model.config.hidden_size} wide and semantic_size is {size}; "
            "make them the same in --config."
        )
    log: dict[str, Any] = {}
    if data.texts and run.text_epochs > 0:
        emotion_model = model.config.resolve_emotion_model(data.text_emotion_model)
        texts = [text_source(Path(path), emotion_model, encoder) for path in data.texts]
        stages.teach_by_text(model, processor, [*texts, word_source(processor.tokenizer, encoder)], run, arguments)
        model.cpu()
    if data.captions:
        lexicon = Lexicon(Path(data.lexicon), encoder) if data.lexicon else None
        device = arguments.device
        log |= _align(model, processor, data, encoder, lexicon, train_sources, run, arguments.seed, device)
    if arguments.process_index == 0:
        stages.save_taught(model, stored, log)
    return log


def _align(
    model: UgrieForImageEmotion,
    processor: UgrieProcessor,
    data: DataArguments,
    encoder: SentenceEncoder,
    lexicon: Lexicon | None,
    train_sources: Sequence[stages.ImageSource],
    run: stages.UgrieRun,
    seed: int,
    device: torch.device | str = "cpu",
) -> dict[str, float]:
    """Align images with their texts: the captioned ones, and the labelled ones that have a text."""
    pooled, texts, unlabelled = [], [], []
    model.to(device)
    for path in map(Path, data.captions):
        examples, captions = read_captions(path)
        features = cached_features(model, processor, examples, run.cache, run.views, path.parent.name)
        pooled.append(features.flatten(0, 1))
        texts.append(encoder.encode(captions).repeat(run.views, 1))
    for source in train_sources:
        features = source.features
        if features is None:  # the tower will change; its map begins where the tower is now
            features = cached_features(model, processor, source.examples, run.cache, 1, source.name)
        described = [i for i, example in enumerate(source.examples) if _plain_text(example)]
        if described:
            embeddings = encoder.encode([_plain_text(source.examples[i]) for i in described])
            pooled.append(features[:, described].flatten(0, 1))
            texts.append(embeddings.repeat(len(features), 1))
        unlabelled.append(features.flatten(0, 1))
    model.cpu()
    pairs = (torch.cat(pooled), torch.cat(texts))
    return stages.align_images(model, pairs, torch.cat(unlabelled), lexicon, seed)


def _plain_text(example: Any) -> str:
    """Tags describe what is seen; machine-made concepts already carry feelings, so tags win where there are both."""
    attributes = example.attributes or {}
    return str(attributes.get("tags") or example.text or "")


def _finish(
    model: UgrieForImageEmotion,
    processor: UgrieProcessor,
    datasets: Sequence[EmotionDataset],
    held_out: Sequence[stages.ImageSource],
    run: stages.UgrieRun,
    recipe: RecipeArguments,
    log: dict[str, Any],
) -> None:
    """Calibrate on validation, then measure what will be loaded: with the weights as they are stored."""
    model.eval()
    if recipe.half_precision_weights:
        stages.round_to_half(model)
        # A frozen tower is rounded too, so its features are not those of the training any more.
        held_out = stages.image_sources(model, processor, datasets, "validation", run)
    log["temperatures"] = stages.calibrate(model, processor, held_out)
    log["validation"] = stages.measure(model, processor, held_out)
    tested = [dataset for dataset in datasets if "test" in dataset.splits()]
    if tested:
        test_sources = stages.image_sources(model, processor, tested, "test", run)
        log["test"] = stages.measure(model, processor, test_sources)

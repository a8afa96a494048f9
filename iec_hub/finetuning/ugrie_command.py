"""Command line of UGRIE's training, served by `training/train_ugrie.py` and `iec-hub train ugrie`."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch

from iec_hub.errors import DataError
from iec_hub.finetuning import ugrie_training as stages
from iec_hub.finetuning.arguments import TrainingSettings
from iec_hub.finetuning.features import cached_features
from iec_hub.finetuning.image_training import chosen_settings
from iec_hub.finetuning.measuring import ScoredImages, score
from iec_hub.finetuning.run import TrainingRun
from iec_hub.finetuning.stage_results import is_taught, load_taught, save_taught
from iec_hub.finetuning.starting import place
from iec_hub.finetuning.teaching import Lexicon, SentenceEncoder, text_source, word_source
from iec_hub.finetuning.training_sets import balance_sources, read_captions
from iec_hub.finetuning.ugrie_arguments import DataArguments, check_arguments, frozen_parts, parse_arguments
from iec_hub.finetuning.ugrie_loading import load_model
from iec_hub.models.ugrie import UgrieForImageEmotion, UgrieProcessor


def main(argv: Sequence[str] | None = None) -> dict[str, Any]:
    """Run a training; returns what `metrics.json` holds.

    Raises:
        IecHubError: with one sentence, for arguments and data that cannot be used.
    """
    return train(parse_arguments(argv, __doc__))


def train(settings: TrainingSettings) -> dict[str, Any]:
    """The whole run: load, teach by text, align, train on images, calibrate, measure, save, write the card."""
    check_arguments(settings)
    data, start, recipe = settings.data, settings.start, settings.recipe
    run = TrainingRun.begin("ugrie", settings)
    recipe_run = chosen_settings(stages.UgrieRun, recipe, freeze=frozen_parts(start.freeze), cache=run.cache)
    model, processor = run.load(lambda quantization: load_model(start, run.emotion_models, quantization))
    place(model, run.arguments.device)
    with run.arguments.main_process_first(desc="computing features"):
        train_sources = stages.image_sources(model, processor, run.datasets, "train", recipe_run)
        held_out = stages.image_sources(model, processor, run.datasets, "validation", recipe_run)
    place(model, "cpu")
    balance_sources(train_sources, data.balance)
    if start.model is None and model.config.feature_norm == "power":
        stages.fit_feature_norm(model, processor, train_sources)
    run.adapt(model, fresh=start.model is None)
    stages.freeze_parts(model, recipe_run.freeze)
    run.show_parameters(model)
    if data.sentence_encoder:
        run.log |= _teach(model, processor, data, train_sources, recipe_run, run)

    if recipe.teacher_weight and stages.features_are_fixed(model, recipe_run):
        taught = {data.text_emotion_model} if data.texts and data.captions else set()
        for source, validation in zip(train_sources, held_out, strict=True):
            source.teacher, run.log[f"teacher_{source.name}"] = stages.make_teacher(
                model, processor, source, validation, source.emotion_model.name in taught
            )
    place(model, run.arguments.device)
    trainer = stages.train_on_images(model, processor, train_sources, held_out, recipe_run, run.arguments)
    run.keep_history(trainer)

    def scored(split: str) -> list[ScoredImages]:
        # A rounded tower's features are not those of the training any more.
        if split == "validation" and not recipe.half_precision_weights:
            return score(model, processor, held_out)
        datasets = run.tested() if split == "test" else run.datasets
        return score(model, processor, stages.image_sources(model, processor, datasets, split, recipe_run))

    return run.finish(model, processor, scored)


def _teach(
    model: UgrieForImageEmotion,
    processor: UgrieProcessor,
    data: DataArguments,
    train_sources: Sequence[stages.ImageSource],
    recipe: stages.UgrieRun,
    run: TrainingRun,
) -> dict[str, Any]:
    """Stages 1 and 2, or their stored result when a killed run goes on; returns what is worth logging."""
    if not (data.texts or data.captions):
        return {}
    stored, arguments = run.folder / "taught", run.arguments
    if run.resumed and is_taught(stored):
        return load_taught(model, stored)
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
    if data.texts and recipe.text_epochs > 0:
        emotion_model = model.config.resolve_emotion_model(data.text_emotion_model)
        texts = [text_source(Path(path), emotion_model, encoder) for path in data.texts]
        place(model, arguments.device)
        stages.teach_by_text(model, processor, [*texts, word_source(processor.tokenizer, encoder)], recipe, arguments)
        place(model, "cpu")
    if data.captions:
        lexicon = Lexicon(Path(data.lexicon), encoder) if data.lexicon else None
        device = arguments.device
        log |= _align(model, processor, data, encoder, lexicon, train_sources, recipe, arguments.seed, device)
    if run.is_main:
        save_taught(model, stored, log)
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
    place(model, device)
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
    place(model, "cpu")
    pairs = (torch.cat(pooled), torch.cat(texts))
    return stages.align_images(model, pairs, torch.cat(unlabelled), lexicon, seed)


def _plain_text(example: Any) -> str:
    """Tags describe what is seen; machine-made concepts already carry feelings, so tags win where there are both."""
    attributes = example.attributes or {}
    return str(attributes.get("tags") or example.text or "")

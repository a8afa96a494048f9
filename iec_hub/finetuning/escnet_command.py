"""Command line of ESCNet's training, served by `training/train_escnet.py` and `iec-hub train escnet`."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import load_file

from iec_hub.emotions import EmotionModel
from iec_hub.errors import DataError
from iec_hub.finetuning import escnet_training as stages
from iec_hub.finetuning.arguments import TrainingSettings
from iec_hub.finetuning.caption_cache import cached_captions
from iec_hub.finetuning.caption_training import caption_pairs, train_captioner
from iec_hub.finetuning.escnet_arguments import (
    DataArguments,
    RecipeArguments,
    check_arguments,
    frozen_parts,
    parse_arguments,
    text_and_model,
)
from iec_hub.finetuning.escnet_captioning import fit_attribute_captioner, fit_emotion_words, install_classifier
from iec_hub.finetuning.escnet_loading import load_model
from iec_hub.finetuning.escnet_start import labelled_captions, start_from_probes
from iec_hub.finetuning.image_training import chosen_settings
from iec_hub.finetuning.measuring import ScoredImages, score
from iec_hub.finetuning.run import TrainingRun
from iec_hub.finetuning.stage_results import is_taught, load_taught, save_taught
from iec_hub.finetuning.starting import known_emotion_models, place
from iec_hub.finetuning.teacher import probe_teacher
from iec_hub.finetuning.trainer import EmotionTrainingArguments, trained_as
from iec_hub.finetuning.training_sets import balance_sources
from iec_hub.finetuning.word_detector import read_vocabulary
from iec_hub.finetuning.word_grounding import PlacesAndCaptions, captioned_places, ground_words, named_places
from iec_hub.models.escnet import AttributeCaptioner, EscnetForImageEmotion, EscnetProcessor


def main(argv: Sequence[str] | None = None) -> dict[str, Any]:
    """Run a training; returns what `metrics.json` holds.

    Raises:
        IecHubError: with one sentence, for arguments and data that cannot be used.
    """
    return train(parse_arguments(argv, __doc__))


def train(settings: TrainingSettings) -> dict[str, Any]:
    """The whole run: captioner, captions, texts, images, calibration, metrics, card."""
    check_arguments(settings)
    data, start, recipe = settings.data, settings.start, settings.recipe
    run = TrainingRun.begin("escnet", settings)
    recipe_run = chosen_settings(stages.EscnetRun, recipe, freeze=frozen_parts(start.freeze), cache=run.cache)
    model, processor = run.load(lambda quantization: load_model(start, run.emotion_models, quantization))
    teaches = start.model is None or data.vocabulary or data.classifier or recipe.emotion_words
    if settings.adapter.lora and isinstance(model.captioner, AttributeCaptioner) and teaches:
        raise DataError(
            "An attribute captioner learns with the whole checkpoint; train that without --lora and adapt it later."
        )
    if isinstance(model.captioner, AttributeCaptioner) and not stages.features_are_fixed(recipe_run):
        where = "use --lora_targets language fusion" if settings.adapter.lora else "add vision to --freeze"
        raise DataError(f"This model's captioner reads the vision tower, which therefore has to stay frozen; {where}.")
    place(model, run.arguments.device)
    with run.arguments.main_process_first(desc="computing features"):
        sources = {
            split: stages.image_sources(model, processor, run.datasets, split, recipe_run)
            for split in ("train", "validation")
        }
    place(model, "cpu")
    balance_sources(sources["train"], data.balance)
    if (
        start.model is None
        and isinstance(model.captioner, AttributeCaptioner)
        and sources["train"][0].features is not None
    ):
        stages.fit_feature_norms(model, [source.features[0] for source in sources["train"]])
    run.adapt(model, fresh=start.model is None)
    if "captioner" in recipe.stages:
        run.log |= fit_captioner(model, processor, data, recipe, recipe_run, sources, run.arguments)
    if "classifier" in recipe.stages:
        place(model, run.arguments.device)
        with run.arguments.main_process_first(desc="writing captions"):
            write_all_captions(model, processor, sources["train"], recipe_run, varied=True)
            write_all_captions(model, processor, sources["validation"], recipe_run)
        place(model, "cpu")
        fit_classifier(model, processor, data, recipe_run, sources, run, known_emotion_models(start))

    def scored(split: str) -> list[ScoredImages]:
        found = sources["validation"]
        # A rounded tower's features are not those of the training any more.
        if split == "test" or recipe.half_precision_weights:
            datasets = run.tested() if split == "test" else run.datasets
            found = stages.image_sources(model, processor, datasets, split, recipe_run)
        write_all_captions(model, processor, found, recipe_run)
        return score(model, processor, found)

    with torch.no_grad():
        return run.finish(model, processor, scored)


def fit_captioner(
    model: EscnetForImageEmotion,
    processor: EscnetProcessor,
    data: DataArguments,
    recipe: RecipeArguments,
    run: stages.EscnetRun,
    sources: dict[str, list[stages.ImageSource]],
    arguments: EmotionTrainingArguments,
) -> dict[str, Any]:
    """Stage 1, for whichever captioner there is; returns what is worth logging."""
    if model.captioner is None:
        return {}
    if not isinstance(model.captioner, AttributeCaptioner):
        pairs = caption_pairs(data.caption_data, data.image_roots, data.captions, recipe.emotion_words, arguments.seed)
        if pairs is None:
            return {}  # the captioner stays as it was pretrained
        trainer = train_captioner(model, processor, *pairs, arguments, epochs=recipe.caption_epochs)
        return {"captioner_history": trainer.state.log_history}
    log: dict[str, Any] = {}
    if data.classifier and model.captioner.config.classifier_size:
        head = load_file(Path(data.classifier) / "lexicon.safetensors")
        install_classifier(model, head["weight"].float(), head["bias"].float())
    if data.vocabulary:
        fit = fit_attribute_captioner(
            model,
            processor,
            read_vocabulary(Path(data.vocabulary)),
            [Path(path) for path in data.captions],
            sources["train"],
            run.views,
            run.cache,
            recipe.caption_precision,
            arguments.seed,
        )
        log["word_detector"] = fit.report
    if recipe.emotion_words:
        fit_emotion_words(model, sources["train"][0], sources["validation"][0])
    return log


def write_all_captions(
    model: EscnetForImageEmotion,
    processor: EscnetProcessor,
    sources: Sequence[stages.ImageSource],
    run: stages.EscnetRun,
    varied: bool = False,
) -> None:
    """Captions for every image of the sources, by the captioner as it is now."""
    if model.captioner is None or not model.config.use_captions:
        return
    for source in sources:
        if isinstance(model.captioner, AttributeCaptioner):
            source.captions = stages.write_captions(model, source, varied)
        else:
            source.captions = [cached_captions(model, processor, source.examples, run.cache, description=source.name)]


def fit_classifier(
    model: EscnetForImageEmotion,
    processor: EscnetProcessor,
    data: DataArguments,
    recipe: stages.EscnetRun,
    sources: dict[str, list[stages.ImageSource]],
    run: TrainingRun,
    known: Mapping[str, EmotionModel] | None = None,
) -> None:
    """Stage 2: texts, words' places, probes, images; what is worth logging goes into the run's log.

    Args:
        known: emotion models that the model to train can tell already; their classifiers are trained on as they are.
    """
    arguments, log = run.arguments, run.log
    texts = [stages.caption_source(*text_and_model(item), arguments.seed) for item in data.texts]
    trained = model.config.trained_emotion_models
    unknown = [text.emotion_model.name for text in texts if text.emotion_model.name not in trained]
    if unknown:
        raise DataError(f"The texts are over {unknown[0]}, which no --data is over; leave them out.")
    kept = {name for name, before in (known or {}).items() if before.labels == trained[name].labels}
    new = {
        split: [source for source in sources[split] if source.emotion_model.name not in kept]
        for split in ("train", "validation")
    }
    started = bool(stages.probes_start(recipe) and new["train"])
    # What was known before goes on learning; a probe has learned all that it can.
    fixed = ("image_classifier",) if started and len(new["train"]) == len(sources["train"]) else ()
    recipe = replace(recipe, freeze=(*recipe.freeze, *fixed))
    stages.freeze_parts(model, recipe.freeze)
    run.show_parameters(model)
    if model.config.use_captions:
        stored = run.folder / "taught"
        if run.resumed and is_taught(stored):
            load_taught(model, stored)
        else:
            teach_captions(model, processor, data, recipe, new["train"], texts, arguments, anew=not known)
            if run.is_main:
                save_taught(model, stored, {})
    else:
        texts = []
    if started:
        log["probes"] = start_from_probes(model, new["train"], new["validation"], recipe.caption_weight)
    for source, validation in zip(sources["train"], sources["validation"], strict=True):
        if recipe.teacher_weight and stages.features_are_fixed(recipe) and source.teacher is None:
            source.teacher, log[f"teacher_{source.name}"] = probe_teacher(model.feature_norm, source, validation)
    place(model, arguments.device)
    trainer = stages.train_on_images(
        model, processor, sources["train"], sources["validation"], recipe, arguments, texts
    )
    run.keep_history(trainer)


def teach_captions(
    model: EscnetForImageEmotion,
    processor: EscnetProcessor,
    data: DataArguments,
    run: stages.EscnetRun,
    train: Sequence[stages.ImageSource],
    texts: Sequence[stages.CaptionSource],
    arguments: EmotionTrainingArguments,
    anew: bool,
) -> None:
    """What words evoke, from texts and the captions of labelled images, and where in an image they are.

    Args:
        train: sources whose emotion models the model cannot tell yet.
        anew: whether the model has learned nothing yet; then the gate gets a lexicon and the words are grounded.
    """
    told = labelled_captions(train, run.labelled_captions)
    # The lexicon is a part of the fusion that an adapter of a trained checkpoint does not hold.
    if model.config.use_word_gate and (anew or trained_as(model) is model) and (texts or (anew and told)):
        stages.fit_lexicon(model, processor, texts or told)
    if (texts or told) and run.text_epochs:
        place(model, arguments.device)
        stages.teach_by_text(model, processor, [*texts, *told], run, arguments)
        place(model, "cpu")
    if anew and run.grounding_epochs and stages.features_are_fixed(run) and "fusion" not in run.freeze:
        items = captioned_places(train)
        for path in data.captions:
            items += stages.described_images(model, processor, Path(path), run)
        if isinstance(model.captioner, AttributeCaptioner):
            items += named_places(model.captioner, [item.places for item in items])
        pairs = PlacesAndCaptions(items, arguments.seed)
        if len(pairs) > 1:
            place(model, arguments.device)
            ground_words(model, processor, pairs, run.grounding_epochs, arguments)
            place(model, "cpu")

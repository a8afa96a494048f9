"""Command line of ESCNet's training, served by `training/train_escnet.py` and `iec-hub train escnet`."""

from __future__ import annotations

import json
import logging
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import load_file

from iec_hub.data import EmotionDataset
from iec_hub.emotions import EmotionModel
from iec_hub.errors import DataError
from iec_hub.finetuning import escnet_training as stages
from iec_hub.finetuning.caption_cache import cached_captions
from iec_hub.finetuning.caption_training import caption_pairs, train_captioner
from iec_hub.finetuning.escnet_arguments import (
    CardArguments,
    DataArguments,
    ModelArguments,
    RecipeArguments,
    check_arguments,
    frozen_parts,
    parse_arguments,
    text_and_model,
)
from iec_hub.finetuning.escnet_captioning import fit_attribute_captioner, fit_emotion_words, install_classifier
from iec_hub.finetuning.escnet_loading import known_emotion_models, load_model
from iec_hub.finetuning.escnet_start import labelled_captions, start_from_probes
from iec_hub.finetuning.measuring import calibrate, measure, round_to_half, save_run
from iec_hub.finetuning.model_card import write_model_card
from iec_hub.finetuning.teacher import probe_teacher
from iec_hub.finetuning.trainer import EmotionTrainingArguments
from iec_hub.finetuning.ugrie_loading import load_data
from iec_hub.finetuning.ugrie_training import begin, load_taught, resume_point, save_taught
from iec_hub.finetuning.word_detector import read_vocabulary
from iec_hub.finetuning.word_grounding import PlacesAndCaptions, captioned_places, ground_words, named_places
from iec_hub.models.escnet import AttributeCaptioner, EscnetForImageEmotion, EscnetProcessor

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
    """The whole run: captioner, captions, texts, images, calibration, metrics, card."""
    check_arguments(data, start, recipe, card)
    resumed = resume_point(arguments)
    begin(arguments)
    run = stages.EscnetRun(
        freeze=frozen_parts(start.freeze),
        views=recipe.views,
        cache=Path(recipe.cache) if recipe.cache else None,
        mixup=recipe.mixup,
        visual_dropout=recipe.visual_dropout,
        teacher_weight=recipe.teacher_weight,
        patience=recipe.patience,
        text_epochs=recipe.text_epochs,
        texts_per_epoch=recipe.texts_per_epoch,
        labelled_captions=recipe.labelled_captions,
        grounding_epochs=recipe.grounding_epochs,
        start_from_probe=recipe.start_from_probe,
        caption_weight=recipe.caption_weight,
    )
    datasets = load_data(data, start, arguments.seed)
    model, processor = load_model(start, [dataset.emotion_model for dataset in datasets])
    log: dict[str, Any] = {"seed": arguments.seed, "data": {d.name: d.report() for d in datasets}}
    sources = {
        split: stages.image_sources(model, processor, datasets, split, run) for split in ("train", "validation")
    }
    if "captioner" in recipe.stages:
        log |= fit_captioner(model, processor, data, start, recipe, run, sources, arguments)
    if "classifier" in recipe.stages:
        write_all_captions(model, processor, sources["train"], run, varied=True)
        write_all_captions(model, processor, sources["validation"], run)
        known = known_emotion_models(start)
        log |= fit_classifier(model, processor, data, run, sources, arguments, resumed is not None, known)
    if arguments.process_index == 0:
        _finish(model, processor, datasets, sources["validation"], run, recipe, log)
        output = Path(arguments.output_dir)
        save_run(model, processor, output, log, half=recipe.half_precision_weights)
        settings = vars(data) | vars(start) | vars(recipe)
        notes = Path(card.card_notes).read_text(encoding="utf-8-sig") if card.card_notes else ""
        write_model_card(output, model.config, log, settings, arguments, card.license, notes)
        logger.info("Saved to %s", output)
        print(json.dumps({name: log[name] for name in ("validation", "test") if name in log}))
    return log


def fit_captioner(
    model: EscnetForImageEmotion,
    processor: EscnetProcessor,
    data: DataArguments,
    start: ModelArguments,
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
    if not stages.features_are_fixed(run):
        raise DataError("An attribute captioner reads a frozen vision tower; add vision to --freeze.")
    if start.model is None:
        stages.fit_feature_norms(model, [source.features[0] for source in sources["train"]])
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
    run: stages.EscnetRun,
    sources: dict[str, list[stages.ImageSource]],
    arguments: EmotionTrainingArguments,
    resume: bool,
    known: Mapping[str, EmotionModel] | None = None,
) -> dict[str, Any]:
    """Stage 2: texts, words' places, probes, images; returns what is worth logging.

    Args:
        known: emotion models that the model to train can tell already; their classifiers are trained on as they are.
    """
    log: dict[str, Any] = {}
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
    if model.config.use_captions:
        stored = Path(arguments.output_dir) / "taught"
        if resume and (stored / "log.json").exists():
            load_taught(model, stored)
        else:
            teach_captions(model, processor, data, run, new["train"], texts, arguments, anew=not known)
            if arguments.process_index == 0:
                save_taught(model, stored, {})
    else:
        texts = []
    started = stages.probes_start(run) and new["train"]
    if started:
        log["probes"] = start_from_probes(model, new["train"], new["validation"], run.caption_weight)
    for source, validation in zip(sources["train"], sources["validation"], strict=True):
        if run.teacher_weight and stages.features_are_fixed(run) and source.teacher is None:
            source.teacher, log[f"teacher_{source.name}"] = probe_teacher(model.feature_norm, source, validation)
    # What was known before goes on learning; a probe has learned all that it can.
    fixed = ("image_classifier",) if started and len(new["train"]) == len(sources["train"]) else ()
    run = replace(run, freeze=(*run.freeze, *fixed))
    trainer = stages.train_on_images(model, processor, sources["train"], sources["validation"], run, arguments, texts)
    model.cpu()
    log["history"] = [entry for entry in trainer.state.log_history if "eval_soft_cross_entropy" in entry]
    return log


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
    if model.config.use_word_gate and (texts or (anew and told)):
        stages.fit_lexicon(model, processor, texts or told)
    if (texts or told) and run.text_epochs:
        stages.teach_by_text(model, processor, [*texts, *told], run, arguments)
        model.cpu()
    if anew and run.grounding_epochs and stages.features_are_fixed(run) and "fusion" not in run.freeze:
        items = captioned_places(train)
        for path in data.captions:
            items += stages.described_images(model, processor, Path(path), run)
        if isinstance(model.captioner, AttributeCaptioner):
            items += named_places(model.captioner, [item.places for item in items])
        pairs = PlacesAndCaptions(items, arguments.seed)
        if len(pairs) > 1:
            ground_words(model, processor, pairs, run.grounding_epochs, arguments)
            model.cpu()


@torch.no_grad()
def _finish(
    model: EscnetForImageEmotion,
    processor: EscnetProcessor,
    datasets: Sequence[EmotionDataset],
    held_out: Sequence[stages.ImageSource],
    run: stages.EscnetRun,
    recipe: RecipeArguments,
    log: dict[str, Any],
) -> None:
    """Calibrate on validation, then measure what will be loaded: with the weights as they are stored."""
    model.eval()
    if recipe.half_precision_weights:
        round_to_half(model)
        # A frozen tower is rounded too, so its features are not those of the training any more.
        held_out = stages.image_sources(model, processor, datasets, "validation", run)
    write_all_captions(model, processor, held_out, run)
    log["temperatures"] = calibrate(model, processor, held_out)
    log["validation"] = measure(model, processor, held_out)
    tested = [dataset for dataset in datasets if "test" in dataset.splits()]
    if tested:
        sources = stages.image_sources(model, processor, tested, "test", run)
        write_all_captions(model, processor, sources, run)
        log["test"] = measure(model, processor, sources)

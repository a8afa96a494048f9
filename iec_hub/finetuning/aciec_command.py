"""Command line of ACIEC's training, served by `training/train_aciec.py` and `iec-hub train aciec`."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch

from iec_hub.affect.embedded_text import default_text_reader
from iec_hub.data import EmotionDataset
from iec_hub.emotions import EmotionModel
from iec_hub.errors import DataError
from iec_hub.evaluation import evaluate_distributions
from iec_hub.evaluation.probe import LinearProbe
from iec_hub.finetuning import aciec_training as stages
from iec_hub.finetuning import concept_training as concepts
from iec_hub.finetuning.aciec_arguments import (
    DataArguments,
    RecipeArguments,
    check_arguments,
    parse_arguments,
    text_and_model,
)
from iec_hub.finetuning.aciec_loading import load_model, load_reasoner
from iec_hub.finetuning.arguments import TrainingSettings
from iec_hub.finetuning.emotion_texts import TextSource, comments, concept_lists, told_in
from iec_hub.finetuning.feeling_training import Opinion, teach_feelings
from iec_hub.finetuning.image_training import chosen_settings
from iec_hub.finetuning.measuring import ScoredImages
from iec_hub.finetuning.run import TrainingRun
from iec_hub.finetuning.starting import place
from iec_hub.finetuning.teaching import Lexicon, SentenceEncoder
from iec_hub.finetuning.trainer import EmotionTrainingArguments
from iec_hub.finetuning.training_sets import balance_sources
from iec_hub.models.aciec import AciecForImageEmotion, AciecProcessor


def main(argv: Sequence[str] | None = None) -> dict[str, Any]:
    """Run a training; returns what `metrics.json` holds.

    Raises:
        IecHubError: with one sentence, for arguments and data that cannot be used.
    """
    return train(parse_arguments(argv, __doc__))


@dataclass
class Run:
    """A run's model and data.

    Attributes:
        splits: "train", "validation" and, at the end, "test" to one :class:`Images` per data set.
        lists: texts with concepts, with the file's descriptions; `remarks`: other texts.
    """

    model: AciecForImageEmotion
    processor: AciecProcessor
    data: DataArguments
    recipe: RecipeArguments
    arguments: EmotionTrainingArguments
    datasets: list[EmotionDataset]
    splits: dict[str, list[stages.Images]]
    lists: list[TextSource]
    remarks: list[TextSource]
    log: dict[str, Any]
    reasoner: Any = None
    training: TrainingRun | None = None

    @property
    def cache(self) -> Path | None:
        return Path(self.recipe.cache) if self.recipe.cache else None

    @property
    def emotion_models(self) -> list[EmotionModel]:
        return [dataset.emotion_model for dataset in self.datasets]

    def load(self, split: str) -> list[stages.Images]:
        reader = default_text_reader() if self.recipe.read_text else None
        views = self.recipe.views if split == "train" else 1
        return [
            stages.load_images(self.model, self.processor, d, split, views, self.cache, reader, self.reasoner)
            for d in self.datasets
        ]


def train(settings: TrainingSettings) -> dict[str, Any]:
    """The whole run: concepts, reasoning, classifier, calibration, metrics, card."""
    run = prepare(settings)
    if "classifier" in run.recipe.stages:
        fit_classifier(run, classifier_texts(run), settings.start.freeze)

    @torch.no_grad()
    def scored(split: str) -> list[ScoredImages]:
        return scored_images(run, split)

    return run.training.finish(run.model, run.processor, scored)


def prepare(settings: TrainingSettings) -> Run:
    """Everything before the text classifier: stages 1 and 2."""
    check_arguments(settings)
    data, start, recipe, arguments = settings.data, settings.start, settings.recipe, settings.arguments
    training = TrainingRun.begin("aciec", settings)
    datasets = training.datasets
    if len({dataset.emotion_model.name for dataset in datasets}) < len(datasets):
        raise DataError("Two data sets are over the same emotion model; join them into one before training ACIEC.")
    model, processor = training.load(
        lambda quantization: load_model(data, start, training.emotion_models, quantization)
    )
    model.config.contrastive_weight = recipe.contrastive_weight
    # What it has not learned with, it will not be given.
    model.config.use_embedded_text = model.config.use_embedded_text and recipe.read_text
    reasoner = load_reasoner(start, model)
    run = Run(model, processor, data, recipe, arguments, datasets, {}, [], [], training.log, reasoner, training)
    _read_texts(run)
    place(model, arguments.device)
    with arguments.main_process_first(desc="looking at images"):
        run.splits = {split: run.load(split) for split in ("train", "validation")}
    place(model, "cpu")
    balance_sources([images.source for images in run.splits["train"]], data.balance)
    if start.model is None and hasattr(model.feature_norm, "fit"):
        model.feature_norm.fit(torch.cat([images.source.features[0].float() for images in run.splits["train"]]))
    # Stage 1 changes parts that an adapter of a trained checkpoint does not hold.
    learns_concepts = "concepts" in recipe.stages and bool(run.lists and data.sentence_encoder)
    training.adapt(model, fresh=start.model is None or learns_concepts)
    taught = _fit_concepts(run) if "concepts" in recipe.stages else {}
    for images in (*run.splits["train"], *run.splits["validation"]):
        if not images.seen.embedded.any():
            stages.embed_images(model, images)
    if "reasoning" in recipe.stages:
        train, validation = ([images.seen for images in run.splits[split]] for split in ("train", "validation"))
        run.log["strengths"] = teach_feelings(model, train, validation, taught, arguments.seed)
    else:
        feel(run, "train")
        feel(run, "validation")
    return run


def _read_texts(run: Run) -> None:
    """Sort --texts into lists of concepts and remarks."""
    names = {model.name for model in run.emotion_models}
    for item in run.data.texts:
        path, emotion_model = text_and_model(item)
        trained = next((m for m in run.emotion_models if m.name == emotion_model.name), None)
        if trained is None:
            raise DataError(f"The texts are over {emotion_model.name}, which no --data is over ({', '.join(names)}).")
        listed = concept_lists(path, trained, run.model.config.vocabulary, run.arguments.seed)
        if listed is not None:
            run.lists.append(listed)
        else:
            run.remarks.append(comments(path, trained))


def _fit_concepts(run: Run) -> dict[str, LinearProbe]:
    """Stage 1, where there are lists of concepts; without them the detector stays as it was pretrained.

    Returns:
        Emotion model name to what descriptions say about the space of concepts.
    """
    model, recipe = run.model, run.recipe
    train = run.splits["train"]
    if not run.lists or not run.data.sentence_encoder:
        return {}
    listed, encoder = run.lists[0], SentenceEncoder(run.data.sentence_encoder)
    vocabulary = model.config.vocabulary
    own = listed.concepts
    vocabulary = vocabulary.learned(own, listed.distributions.numpy(), listed.emotion_model)
    model.config.set_vocabulary(vocabulary)
    levels = concepts.ConceptLevels(vocabulary, listed.emotion_model)
    said = [
        versions[-1].sentences.removeprefix("A photo of ") or versions[-1].concepts for versions in listed.versions
    ]
    rows = concepts.DescribedConcepts(encoder.encode(said), own, listed.distributions.argmax(1))
    lexicon = Lexicon(Path(run.data.lexicon), encoder) if run.data.lexicon else None
    pairs = stages.captioned_pairs(
        model, run.processor, [Path(p) for p in run.data.captions], encoder, recipe.views, run.cache
    )
    names = encoder.encode(list(vocabulary.names))
    descriptions = stages.Descriptions(names, rows, *pairs, encoder, lexicon)
    settings = concepts.ConceptRecipe(
        epochs=recipe.concept_epochs,
        image_epochs=recipe.image_epochs,
        levels=None if recipe.hierarchical else (-1,),
        seed=run.arguments.seed,
    )
    to_concepts, log = stages.fit_concepts(model, train, descriptions, levels, settings)
    taught = stages.taught_by_texts(to_concepts, rows, settings, len(listed.emotion_model))
    run.log |= log
    for images in run.splits["validation"]:
        stages.embed_images(model, images)
    _calibrate_concepts(run)
    return {} if taught is None else {listed.emotion_model.name: taught}


@torch.no_grad()
def _calibrate_concepts(run: Run) -> None:
    """Probabilities of concepts and the place of further ones; precision on validation goes into the log."""
    model, detector = run.model, run.model.concept_detector
    words = run.processor.tokenizer(list(model.config.vocabulary.names), padding=True, add_special_tokens=False)
    ids, mask = torch.tensor(words["input_ids"]), torch.tensor(words["attention_mask"])[..., None].float()
    embedded = model.text_encoder.get_input_embeddings()(ids)
    concepts.fit_word_map(detector, (embedded * mask).sum(1) / mask.sum(1).clamp_min(1))
    logits, named = [], []
    for images in run.splits["validation"]:
        chosen = [i for i, own in enumerate(images.concepts) if own]
        logits.append(detector.logits(images.seen.embedded[0][chosen]))
        named += [images.concepts[i] for i in chosen]
    if named:
        scores = torch.cat(logits)
        wanted = concepts.DescribedConcepts(torch.empty(0), named, torch.empty(0)).has_concept(scores.shape[1])
        with torch.enable_grad():
            concepts.calibrate_concepts(detector, scores, wanted)
        run.log["concept_precision_at_5"] = {"validation": concepts.precision_at(scores, named)}


@torch.no_grad()
def feel(run: Run, split: str) -> None:
    """Feelings by the reasoner as it is, for images that it has not learned from."""
    for images in run.splits[split]:
        views = []
        for pooled, embedded in zip(images.source.features, images.seen.embedded, strict=True):
            whole = run.model.feature_norm(pooled.float())
            views.append(run.model.reasoner(whole, embedded, images.seen.brightness, images.seen.colorfulness))
        images.seen.feelings = {name: torch.stack([view[name] for view in views]) for name in views[0]}


@dataclass
class ClassifierTexts:
    """What stage 3 reads: texts of training and validation images, and texts of nothing that is seen."""

    train: list[TextSource]
    validation: list[TextSource]
    others: list[TextSource]


def classifier_texts(run: Run) -> ClassifierTexts:
    """The texts of stage 3."""
    model, recipe = run.model, run.recipe
    opinions = stages.fit_opinions(model, run.splits["train"])
    run.log["opinions"] = {name: opinion.weights.tolist() for name, opinion in opinions.items()}
    run.log["opinion_validation"] = _measured_opinions(run, opinions)
    texts = [
        text
        for images in run.splits["train"]
        for text in stages.image_texts(model, images, run.emotion_models, opinions, recipe.teacher_weight)
    ]
    others = [*run.lists, *run.remarks]
    for images in run.splits["train"]:
        prior, target = images.source.distributions.mean(0), images.source.emotion_model
        told = [told_in(source, target, prior) for source in run.remarks if source.emotion_model.name != target.name]
        others += [source for source in told if source is not None]
    return ClassifierTexts(texts, own_texts(run, "validation"), others)


def fit_classifier(run: Run, texts: ClassifierTexts, freeze: Sequence[str] = ()) -> None:
    """Stage 3."""
    frozen = tuple(part for part in freeze if part != "none")
    settings = chosen_settings(stages.ClassifierRun, run.recipe, freeze=frozen)
    stages.freeze_parts(run.model, settings.freeze)
    if run.training is not None:
        run.training.show_parameters(run.model)
    place(run.model, run.arguments.device)
    trainer = stages.train_on_texts(
        run.model, run.processor, texts.train, texts.validation, texts.others, settings, run.arguments
    )
    place(run.model, "cpu")
    if run.training is not None:
        run.training.keep_history(trainer)


def _measured_opinions(run: Run, opinions: dict[str, Opinion]) -> dict[str, Any]:
    """What the reasoner's feelings say together as numbers, to see what is lost in words."""
    measured = {}
    for images in run.splits["validation"]:
        name = images.source.emotion_model.name
        said = opinions[name].logits(images.seen.feelings, run.model.config.label_columns[name])[0].softmax(-1)
        measured[images.source.name] = evaluate_distributions(said.numpy(), images.source.distributions.numpy())
    return measured


def own_texts(run: Run, split: str) -> list[TextSource]:
    """The texts of every data set's images in its own emotion model, with votes alone as labels."""
    return [
        TextSource(
            images.source.name,
            images.source.emotion_model,
            stages.image_parts(run.model, images, images.source.emotion_model),
            images.source.distributions,
        )
        for images in run.splits[split]
    ]


def scored_images(run: Run, split: str) -> list[ScoredImages]:
    """Logits of one split by the model as it is stored, from the texts that it makes of the images."""
    if split == "test":
        everything, run.datasets = run.datasets, [d for d in run.datasets if "test" in d.splits()]
        run.splits["test"] = run.load("test")
        run.datasets = everything
    elif run.recipe.half_precision_weights:  # a rounded tower's features are not those of the training any more
        run.splits[split] = run.load(split)
    place(run.model, "cpu")
    for images in run.splits[split]:
        stages.embed_images(run.model, images)
    feel(run, split)
    _measure_concepts(run, split)
    sources = own_texts(run, split)
    place(run.model, run.arguments.device)
    return [
        ScoredImages(
            source.name,
            source.emotion_model,
            stages.text_logits(run.model, run.processor, source),
            source.distributions,
            [example.origin for example in images.source.examples],
        )
        for source, images in zip(sources, run.splits[split], strict=True)
    ]


def _measure_concepts(run: Run, split: str) -> None:
    for images in run.splits[split]:
        if any(images.concepts):
            scores = run.model.concept_detector.logits(images.seen.embedded[0])
            found = concepts.precision_at(scores, images.concepts)
            run.log.setdefault("concept_precision_at_5", {})[split] = found


__all__ = [
    "ClassifierTexts",
    "Run",
    "classifier_texts",
    "feel",
    "fit_classifier",
    "main",
    "own_texts",
    "prepare",
    "train",
]

"""The stages of ACIEC's training: concepts, reasoning, and the text classifier."""

from __future__ import annotations

import copy
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch
from torch.nn import functional as F  # noqa: N812  the field's name for it

from iec_hub.affect.embedded_text import TextReader
from iec_hub.affect.reasoning import Reasoner, Reasoning
from iec_hub.data import EmotionDataset
from iec_hub.emotions import EmotionModel
from iec_hub.evaluation.probe import LinearProbe
from iec_hub.finetuning import concept_training as concepts
from iec_hub.finetuning.adapters import set_trainable
from iec_hub.finetuning.emotion_texts import EmotionTexts, KindSampler, Semantics, TextCollator, TextSource
from iec_hub.finetuning.escnet_training import light_and_colour
from iec_hub.finetuning.features import cached_features
from iec_hub.finetuning.feeling_training import FOLDS, Opinion, SeenImages, folds, text_feelings
from iec_hub.finetuning.image_answers import kept_reasoning, kept_texts
from iec_hub.finetuning.image_training import train_until_best
from iec_hub.finetuning.teaching import Lexicon, SentenceEncoder, fit_alignment, place_images
from iec_hub.finetuning.trainer import EmotionTrainer, EmotionTrainingArguments
from iec_hub.finetuning.training_data import ImageSource
from iec_hub.finetuning.training_sets import read_captions
from iec_hub.models.aciec import AciecForImageEmotion, AciecProcessor, ImageText, TextParts
from iec_hub.models.aciec.configuration_aciec import FEELING_ATTRIBUTES
from iec_hub.models.aciec.reasoner_aciec import reason
from iec_hub.prediction import EmbeddedText


@dataclass
class Images:
    """One split of a data set with everything that was found out about it.

    Attributes:
        seen: what the small reasoner reads; its features are `(views, images, pooled size)`.
        concepts: per image, places of the concepts that the data set names; empty where it names none.
        embedded_text: per image, the text read in it; `None` where nobody looked.
        reasoning: per image, what an external reasoner said; `None` where it said nothing, or there is none.
    """

    seen: SeenImages
    concepts: list[list[int]]
    embedded_text: list[tuple[EmbeddedText, ...] | None] = field(default_factory=list)
    reasoning: list[Reasoning | None] = field(default_factory=list)

    @property
    def source(self) -> ImageSource:
        return self.seen.source


def load_images(
    model: AciecForImageEmotion,
    processor: AciecProcessor,
    dataset: EmotionDataset,
    split: str,
    views: int,
    cache: Path | None,
    reader: TextReader | None = None,
    reasoner: Reasoner | None = None,
) -> Images:
    """One split of a data set: features, light and colours, concepts that it names, text in the images."""
    part = dataset.split(split)
    examples, title = part.examples, f"{dataset.name}/{split}"
    source = ImageSource(
        dataset.name, dataset.emotion_model, torch.tensor(part.distributions()).float(), examples=examples
    )
    source.features = cached_features(model, processor, examples, cache, views, title)
    light, colour = light_and_colour(examples, processor)
    shape = (*source.features.shape[:2], model.config.concept_size)
    seen = SeenImages(source, torch.zeros(shape), torch.tensor(light), torch.tensor(colour))
    vocabulary = model.config.vocabulary
    named = [vocabulary.find((example.attributes or {}).get("concepts")) for example in examples]
    read: list[Any] = [None] * len(examples)
    if reader is not None and model.config.use_embedded_text:
        read = kept_texts(reader, examples, cache, title)
    said: list[Any] = [None] * len(examples)
    if reasoner is not None:
        version = getattr(getattr(reasoner, "prompts", None), "version", "")
        said = kept_reasoning(reasoner, examples, cache, title, version)
    return Images(seen, named, read, said)


@dataclass
class Descriptions:
    """What stage 1 learns from beside labelled images.

    Attributes:
        names: `(concepts, width)`, sentence embeddings of the concepts.
        rows: descriptions with concepts.
        pooled, texts: captioned images `(pairs, pooled size)` and their captions' embeddings.
        encoder, lexicon: see :mod:`iec_hub.finetuning.teaching`.
    """

    names: torch.Tensor
    rows: concepts.DescribedConcepts
    pooled: torch.Tensor
    texts: torch.Tensor
    encoder: SentenceEncoder
    lexicon: Lexicon | None


def captioned_pairs(
    model: AciecForImageEmotion,
    processor: AciecProcessor,
    paths: Sequence[Path],
    encoder: SentenceEncoder,
    views: int,
    cache: Path | None,
) -> tuple[torch.Tensor, torch.Tensor]:
    """Pooled features of every view `(pairs, pooled size)` of captioned images, and their captions' embeddings."""
    pooled = [torch.zeros(0, model.concept_detector.projection.in_features)]
    texts = [torch.zeros(0, encoder.model.config.hidden_size)]
    for path in paths:
        examples, captions = read_captions(path)
        features = cached_features(model, processor, examples, cache, views, path.parent.name)
        pooled.append(features.flatten(0, 1))
        texts.append(encoder.encode(captions).repeat(views, 1))
    return torch.cat(pooled), torch.cat(texts)


@torch.no_grad()
def fit_concepts(
    model: AciecForImageEmotion,
    train: Sequence[Images],
    descriptions: Descriptions,
    levels: concepts.ConceptLevels,
    recipe: concepts.ConceptRecipe,
) -> tuple[torch.Tensor, dict[str, float]]:
    """Stage 1. Every training image's `seen.embedded` then comes from a projection that has not seen its concepts.

    Returns:
        The map from sentence embeddings to the space of concepts, and what was measured.
    """
    detector, norm = model.concept_detector, model.feature_norm
    with torch.enable_grad():
        to_concepts, log = concepts.teach_concepts(detector, descriptions.names, descriptions.rows, levels, recipe)
    unlabelled = torch.cat([descriptions.pooled, *(images.source.features.flatten(0, 1) for images in train)])
    held = [folds(len(images.concepts), recipe.seed) for images in train]
    for fold in [*range(FOLDS), None]:
        kept = [torch.ones_like(own, dtype=torch.bool) if fold is None else own != fold for own in held]
        weight, bias = _projection(model, train, kept, descriptions, to_concepts, unlabelled, levels, recipe)
        if fold is None:
            detector.projection.weight.copy_(weight)
            detector.projection.bias.copy_(bias)
            break
        for images, rows in zip(train, kept, strict=True):
            out = norm(images.source.features[:, ~rows].float()) @ weight.T + bias
            images.seen.embedded[:, ~rows] = F.normalize(out, dim=-1)
    return to_concepts, log


def _projection(
    model: AciecForImageEmotion,
    train: Sequence[Images],
    kept: Sequence[torch.Tensor],
    descriptions: Descriptions,
    to_concepts: torch.Tensor,
    unlabelled: torch.Tensor,
    levels: concepts.ConceptLevels,
    recipe: concepts.ConceptRecipe,
) -> tuple[torch.Tensor, torch.Tensor]:
    """The detector's projection from some of the training images: placed among descriptions, then trained."""
    norm, names = model.feature_norm, model.config.vocabulary.names
    pooled, texts = [descriptions.pooled], [descriptions.texts]
    features, own, emotions = [], [], []
    for images, rows in zip(train, kept, strict=True):
        chosen = [i for i in rows.nonzero()[:, 0].tolist() if images.concepts[i]]
        if chosen:
            spoken = [", ".join(names[place] for place in images.concepts[i]) for i in chosen]
            tags = [str((images.source.examples[i].attributes or {}).get("tags") or "") for i in chosen]
            said = [tag or text for tag, text in zip(tags, spoken, strict=True)]
            views = images.source.features[:, chosen]
            pooled.append(views.flatten(0, 1))
            texts.append(descriptions.encoder.encode(said).repeat(len(views), 1))
        features.append(norm(images.source.features[:, rows].float()))
        own += [images.concepts[i] for i in rows.nonzero()[:, 0].tolist()]
        emotions.append(_emotions(images.source, levels)[rows])
    seen, said = torch.cat(pooled), torch.cat(texts)
    weight, bias, _ = fit_alignment(norm(seen), seen, said, descriptions.lexicon)
    normed = norm(unlabelled)
    places = place_images(normed, unlabelled, weight, bias, descriptions.lexicon) @ to_concepts
    start = concepts.fit_projection(normed, F.normalize(places, dim=-1), recipe.ridge)
    labelled = concepts.DescribedConcepts(torch.cat(features, dim=1), own, torch.cat(emotions))
    with torch.enable_grad():
        return concepts.train_projection(*start, model.concept_detector, labelled, levels, recipe)


def _emotions(source: ImageSource, levels: concepts.ConceptLevels) -> torch.Tensor:
    """The images' top labels in the hierarchy's emotion model, -1 where it has no such label."""
    return levels.known_labels(source.emotion_model)[source.distributions.argmax(1)]


@torch.no_grad()
def embed_images(model: AciecForImageEmotion, images: Images) -> None:
    """Fill `seen.embedded` of images that no detector has learned from."""
    for view, pooled in enumerate(images.source.features):
        images.seen.embedded[view] = model.concept_detector.embed(model.feature_norm(pooled.float()))


@torch.no_grad()
def image_parts(model: AciecForImageEmotion, images: Images, emotion_model: EmotionModel) -> list[list[TextParts]]:
    """Stage 2: what is said about every image in the words of an emotion model, per image one text per view."""
    config, vocabulary, place = model.config, model.config.vocabulary, model.config.label_columns[emotion_model.name]
    light, colour = images.seen.brightness.tolist(), images.seen.colorfulness.tolist()
    parts: list[list[TextParts]] = [[] for _ in images.concepts]
    for view, pooled in enumerate(images.source.features):
        logits = model.concept_detector.logits(images.seen.embedded[view])
        scores = model.concept_detector.probabilities(logits).numpy()
        found = model.reasoner.observe(pooled.float(), light, colour)
        told = {name: images.seen.feelings[name][view][:, place].softmax(-1).tolist() for name in FEELING_ATTRIBUTES}
        for i, attributes in enumerate(found):
            best = vocabulary.top(scores[i], config.concepts_read)
            said = images.reasoning[i] if images.reasoning else None
            if said is None:
                feelings = {name: rows[i] for name, rows in told.items()}
                said = reason(attributes, [concept.text for concept in best], feelings, emotion_model.labels)
            read = images.embedded_text[i] if images.embedded_text else None
            parts[i].append(ImageText(best, said, read, attributes).parts(config))
    return parts


def image_texts(
    model: AciecForImageEmotion,
    images: Images,
    emotion_models: Sequence[EmotionModel],
    opinions: dict[str, Opinion],
    teacher_weight: float,
) -> list[TextSource]:
    """Texts to train on: of every image in its own emotion model and, where there is a teacher, in all others.

    Args:
        opinions: the teacher's, by emotion model; it has `teacher_weight` in the labels, and all of it where an image
            has no votes.
    """
    sources, columns = [], model.config.label_columns
    for emotion_model in emotion_models:
        own = emotion_model.name == images.source.emotion_model.name
        opinion = opinions.get(emotion_model.name)
        if not own and (opinion is None or not teacher_weight):
            continue
        labels = images.source.distributions
        if opinion is not None and teacher_weight:
            said = opinion.logits(images.seen.feelings, columns[emotion_model.name])[0].softmax(-1)
            labels = torch.lerp(labels, said, teacher_weight) if own else said
        name = images.source.name if own else ""
        parts = image_parts(model, images, emotion_model)
        balance = {"weights": images.source.weights, "shares": images.source.shares} if own else {}
        sources.append(TextSource(name, emotion_model, parts, labels, **balance))
    return sources


def fit_opinions(model: AciecForImageEmotion, train: Sequence[Images]) -> dict[str, Opinion]:
    """The reasoner's joint opinion in every emotion model, fitted on feelings that have not seen the images."""
    columns = model.config.label_columns
    return {
        images.source.emotion_model.name: Opinion.fit(
            images.seen.feelings, columns[images.source.emotion_model.name], images.source.distributions
        )
        for images in train
    }


@dataclass
class ClassifierRun:
    """Settings of stage 3 beside the Trainer's; see the arguments of the same names."""

    freeze: Sequence[str] = ()
    texts_per_epoch: float = 1.0
    source_dropout: float = 0.1
    quoted: float = 0.15
    similarity_sampling: bool = True
    patience: int = 0


def freeze_parts(model: AciecForImageEmotion, freeze: Sequence[str]) -> None:
    """Leave gradients to the text encoder's layers and the classifier.

    The word embeddings stay as they are: concepts are placed by them, and few texts would only unlearn rare words.
    """
    frozen = ["vision_model.", "feature_norm.", "concept_detector.", "reasoner."]
    set_trainable(model, [*frozen, "text_encoder."] if "language" in freeze else frozen)
    model.text_encoder.get_input_embeddings().requires_grad_(False)


def train_on_texts(
    model: AciecForImageEmotion,
    processor: AciecProcessor,
    train: Sequence[TextSource],
    validation: Sequence[TextSource],
    texts: Sequence[TextSource],
    run: ClassifierRun,
    arguments: EmotionTrainingArguments,
) -> EmotionTrainer:
    """Stage 3: the text classifier; resumes if asked."""
    freeze_parts(model, run.freeze)
    if arguments.use_cpu:  # where the backward pass of the fused attention takes twice as long
        model.text_encoder.set_attn_implementation("eager")
    sampled = run.similarity_sampling and model.config.contrastive_weight > 0
    # The encoder as it was pretrained, whatever it learns from now on.
    semantics = Semantics(copy.deepcopy(model.text_encoder)) if sampled else None
    number = sum(len(source) for source in train)
    data = EmotionTexts(
        train,
        texts,
        round(run.texts_per_epoch * number),
        source_dropout=run.source_dropout,
        quoted=run.quoted,
        seed=arguments.seed,
    )
    held_out = {source.name: EmotionTexts([source], augment=False) for source in validation}
    # A step's images, whichever process and part of the accumulation reads them.
    step = arguments.train_batch_size * arguments.world_size * arguments.gradient_accumulation_steps
    collators = (TextCollator(processor, semantics), TextCollator(processor))
    sampler = KindSampler(data, step)
    return train_until_best(model, processor, data, held_out, collators, run.patience, arguments, sampler)


@torch.no_grad()
def text_logits(
    model: AciecForImageEmotion, processor: AciecProcessor, source: TextSource, batch_size: int = 64
) -> torch.Tensor:
    """Logits `(texts, labels)` of the first wording of every text."""
    was_training, parts = model.training, []
    model.eval()
    for start in range(0, len(source), batch_size):
        given = [versions[0] for versions in source.versions[start : start + batch_size]]
        batch = processor(texts=given, emotion_models=source.emotion_model).to(model.device)
        batch.pop("emotion_models")
        parts.append(model(**batch).logits.float().cpu())
    model.train(was_training)
    return torch.cat(parts)


def taught_by_texts(
    to_concepts: torch.Tensor, rows: concepts.DescribedConcepts, recipe: concepts.ConceptRecipe, labels: int
) -> LinearProbe | None:
    """What descriptions say about the space of concepts, where their emotions are known."""
    known = (rows.emotions >= 0).nonzero()[:, 0]
    if not len(known):
        return None
    generator = torch.Generator().manual_seed(recipe.seed)
    places = rows.places[known]
    noise = torch.randn(places.shape, generator=generator) * recipe.noise / places.shape[1] ** 0.5
    embedded = F.normalize(F.normalize(places + noise, dim=-1) @ to_concepts, dim=-1)
    return text_feelings(embedded, F.one_hot(rows.emotions[known], labels).float(), 0.0, recipe.seed, times=1)


__all__ = [
    "ClassifierRun",
    "Descriptions",
    "Images",
    "captioned_pairs",
    "embed_images",
    "fit_concepts",
    "fit_opinions",
    "freeze_parts",
    "image_parts",
    "image_texts",
    "load_images",
    "taught_by_texts",
    "text_logits",
    "train_on_texts",
]

"""ACIEC: an image becomes words, and a language model decides from the words alone.

After "Analyzing Image Beyond Visual Aspect: Image Emotion Classification via Multiple-Affective Captioning" (Zhou et
al., arXiv 2511.23115). Only the abstract was at hand: emotional concepts by a hierarchical multi-level contrastive
loss, an emotional-attribute chain of thought, text read in the image, a pre-trained language model that joins them,
and a contrastive loss with semantic-similarity sampling. Everything finer is this implementation's own.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import nn
from transformers import AutoModel, BatchFeature
from transformers import initialization as init
from transformers.utils.generic import can_return_tuple

from iec_hub.affect.concepts import ConceptVocabulary
from iec_hub.affect.reasoning import Reasoner, Reasoning
from iec_hub.emotions import EmotionModel
from iec_hub.errors import CheckpointError, DataError
from iec_hub.losses import similarity_sampled_contrastive_loss
from iec_hub.models.aciec.assembly_aciec import load_parts, renewed_head, take_over
from iec_hub.models.aciec.attribution_aciec import deciding_words
from iec_hub.models.aciec.concepts_aciec import ConceptDetector
from iec_hub.models.aciec.configuration_aciec import ACIEC_PRESETS, FEELING_ATTRIBUTES, SOURCES, AciecConfig
from iec_hub.models.aciec.reasoner_aciec import AttributeReasoner, ask_instead, check_columns, known_numbers, reason
from iec_hub.models.aciec.text_aciec import ImageText, checked_parts
from iec_hub.models.escnet.assembly_escnet import build_text_encoder
from iec_hub.models.feature_norm import PowerNorm, build_feature_norm
from iec_hub.models.image_emotion import (
    ImageEmotionModel,
    ImageEmotionOutput,
    VisionFeatures,
    soft_label_cross_entropy,
    vision_width,
)
from iec_hub.prediction import Progress

# Attention and feed-forward layers of BERT-like encoders, and of the common vision towers.
_LANGUAGE_LAYER = r"(query|key|value|dense|q_lin|k_lin|v_lin|out_lin|lin1|lin2)"
_VISION_LAYER = (
    r"(q_proj|k_proj|v_proj|o_proj|out_proj|query|key|value|qkv|(?:attention|self_attn)\.projection|fc1|fc2|"
    r"up_proj|down_proj|pwconv1|pwconv2|expand_conv|project_conv)"
)


@dataclass
class AciecOutput(ImageEmotionOutput):
    """Output of ACIEC.

    Attributes:
        text_embedding: `(batch, width)`, the mean of the text's hidden states, which `emotion_classifier` reads.
    """

    text_embedding: torch.Tensor | None = None


class AciecForImageEmotion(ImageEmotionModel):
    r"""
    Image emotion classification from pure text.

    The vision tower finds concepts, a reasoner writes the emotional-attribute chain of thought, a reader may add the
    text that stands in the image; the text classifier reads "concepts </s> affective sentences </s> embedded text" and
    nothing else. Every emotion model has columns of its own.
    """

    config: AciecConfig
    config_class = AciecConfig
    base_model_prefix = "aciec"
    _no_split_modules = ["ConceptDetector", "AttributeReasoner"]  # the backbones' own are collected from them
    _keep_in_fp32_modules = ["concept_detector", "reasoner", "emotion_classifier", "feature_norm"]
    # The feelings one by one: PEFT does not wrap the dictionary that holds them.
    heads = ("emotion_classifier", *(f"reasoner.feelings.{name}" for name in FEELING_ATTRIBUTES))
    modules_to_save = (*heads, "concept_detector", "feature_norm")
    reads_embedded_text = True
    lora_targets = {
        "language": rf"^text_encoder\.(encoder|transformer)\..*\.{_LANGUAGE_LAYER}$",
        "vision": rf"^vision_model\.(?!head\.).*\.{_VISION_LAYER}$",
    }

    def __init__(self, config: AciecConfig):
        super().__init__(config)
        self.vision_model = AutoModel.from_config(config.vision_config)
        pooled_size = config.pooled_size or vision_width(config.vision_config)
        check_columns(config, pooled_size)
        self.feature_norm = build_feature_norm(config.feature_norm, pooled_size)
        self.text_encoder = build_text_encoder(config.text_config)
        word_size = self.text_encoder.get_input_embeddings().embedding_dim
        self.concept_detector = ConceptDetector(config, pooled_size, word_size)
        labels = sum(len(model) for model in config.trained_emotion_models.values())
        self.reasoner = AttributeReasoner(config, pooled_size, labels)
        self.classifier_dropout = nn.Dropout(config.classifier_dropout)
        self.emotion_classifier = nn.Linear(config.text_config.hidden_size, labels)
        self._external_reasoner: Reasoner | None = None
        self.post_init()

    @torch.no_grad()
    def _init_weights(self, module: nn.Module) -> None:
        super()._init_weights(module)
        if isinstance(module, PowerNorm):
            init.zeros_(module.mean)
            init.ones_(module.scale)
        elif isinstance(module, ConceptDetector):
            init.normal_(module.embeddings)
            init.zeros_(module.prior)
            init.constant_(module.scale, 20.0)
            init.copy_(module.calibration, torch.tensor([1.0, 0.0]))

    @classmethod
    def from_backbones(
        cls,
        vision: str,
        text: str,
        observer: str | None = None,
        *,
        concept_embeddings: torch.Tensor | None = None,
        dtype: torch.dtype = torch.float32,
        **config: Any,
    ) -> AciecForImageEmotion:
        """Assemble a model from pretrained parts; what is trained on emotions starts at random.

        Args:
            vision: vision tower (Hub id or directory). Of a dual encoder such as CLIP, the projection and the text
                side are taken too: the projection finds concepts, and the text side embeds them.
            text: the text classifier's encoder.
            observer: an ESCNet checkpoint whose attribute captioner says what is in the image.
            concept_embeddings: `(concepts, concept_size)`, where another encoder has embedded the concepts.
            dtype: of all parts, whatever the backbones were saved in.
            config: further fields of [`AciecConfig`].

        Raises:
            OSError: when a backbone cannot be found.
            DataError: when the parts do not fit together.
        """
        parts = load_parts(vision, text, observer, dtype, config)
        model = cls(AciecConfig(**parts.fields)).to(dtype)
        take_over(model, parts, concept_embeddings)
        model.backbones = {"vision": str(vision), "text": str(text), "observer": observer and str(observer)}
        return model

    @classmethod
    def assembled(
        cls, config: AciecConfig, backbones: Mapping[str, str | None], dtype: torch.dtype
    ) -> AciecForImageEmotion:
        parts = load_parts(backbones["vision"], backbones["text"], backbones.get("observer"), dtype, {})
        model = cls(config).to(dtype)
        # An adapter brings the concepts' embeddings along, so nobody needs to embed them again.
        take_over(model, parts, model.concept_detector.embeddings)
        return model

    @classmethod
    def from_preset(cls, name: str, pretrained: bool = True, **config: Any) -> AciecForImageEmotion:
        """The preset `"base"` or `"large"`; `pretrained=False` gives its architecture with random weights.

        Raises:
            CheckpointError: when there is no such preset.
            OSError: when a backbone cannot be found.
        """
        if name not in ACIEC_PRESETS:
            raise CheckpointError(f"There is no ACIEC preset {name!r}; use one of {', '.join(ACIEC_PRESETS)}.")
        preset = ACIEC_PRESETS[name]
        if not pretrained:
            return cls(AciecConfig(**(preset["config"] | config)))
        sizes = {key: value for key, value in preset["config"].items() if not key.endswith("_config")}
        return cls.from_backbones(**preset["backbones"], **(sizes | config))

    # trf-ignore: TRF033 it stores the emotion models in the configuration and gives the classifier their columns
    @torch.no_grad()
    def set_emotion_models(self, emotion_models: Sequence[Any]) -> None:
        """Learn other labels: new classifiers, whose columns for emotion models that were known are kept.

        Args:
            emotion_models: as in [`AciecConfig`].
        """
        known, before = self.config.label_columns, self.config.trained_emotion_models
        self.config.set_emotion_models(emotion_models)
        now, columns = self.config.trained_emotion_models, self.config.label_columns
        # CODEPATH: no fork of the graph; what belongs to the same labels is kept.
        same = [name for name, model in now.items() if name in known and before[name].labels == model.labels]
        self.config.temperatures = {name: value for name, value in self.config.temperatures.items() if name in same}
        labels, kept = sum(map(len, now.values())), [(columns[name], known[name]) for name in same]
        self.emotion_classifier = renewed_head(self.emotion_classifier, labels, kept, self.config.initializer_range)
        for name, layer in list(self.reasoner.feelings.items()):
            self.reasoner.feelings[name] = renewed_head(layer, labels, kept, self.config.initializer_range)

    # trf-ignore: TRF033 it stores the concepts in the configuration and gives the detector their embeddings
    @torch.no_grad()
    def set_concepts(self, concepts: Any, processor: Any, embeddings: torch.Tensor | None = None) -> None:
        """Look for other concepts.

        Args:
            concepts: names, or a [`ConceptVocabulary`].
            processor: for the words of names that are new.
            embeddings: `(concepts, concept_size)`; left out, known ones keep theirs, new ones get their words'.

        Raises:
            DataError: if a name cannot be used or the embeddings do not fit.
        """
        vocabulary = concepts if isinstance(concepts, ConceptVocabulary) else ConceptVocabulary.from_names(concepts)
        known, keep = self.config.vocabulary.index, embeddings is None
        embeddings = self.embed_concepts(vocabulary.names, processor) if keep else embeddings
        self.concept_detector.replace(vocabulary.names, embeddings, known, keep)
        self.renewed_parts.add("concept_detector")
        self.config.set_vocabulary(vocabulary)

    @torch.no_grad()
    def embed_concepts(self, names: Sequence[str], processor: Any) -> torch.Tensor:
        """Concepts by the words they consist of, `(concepts, concept_size)`."""
        encoded = processor.name_tensors(names).to(self.concept_detector.calibration.device)
        words = self.get_input_embeddings()(encoded["input_ids"])
        return self.concept_detector.from_words(words, encoded["attention_mask"])

    def load_reasoner(self, name: str | None = None, **settings: Any) -> None:
        """Let a vision-language model reason from now on; the small reasoner speaks where that one cannot.

        Args:
            name: Hub id or folder; left out, the one that the configuration names.
            settings: further arguments of [`VisionLanguageReasoner.from_pretrained`] (`quantization`, `device`...).

        Raises:
            CheckpointError: if it cannot be loaded.
            DataError: if none is named.
        """
        from iec_hub.affect.vision_language_reasoner import VisionLanguageReasoner

        name = name or self.config.reasoner
        if not name:
            raise DataError("This checkpoint names no reasoner; give the id or folder of a vision-language model.")
        self.use_reasoner(VisionLanguageReasoner.from_pretrained(name, **settings))

    @property
    def looks_at_images(self) -> bool:
        return self._external_reasoner is not None

    def use_reasoner(self, reasoner: Reasoner | None) -> None:
        """Any [`Reasoner`] instead of the small one; `None` for the small one again."""
        # Not as a part of this model, with which it would be trained, moved and saved.
        object.__setattr__(self, "_external_reasoner", reasoner)

    def get_input_embeddings(self) -> nn.Module:
        return self.text_encoder.get_input_embeddings()

    def set_input_embeddings(self, value: nn.Module) -> None:
        self.text_encoder.set_input_embeddings(value)

    @can_return_tuple
    def forward(
        self,
        input_ids: torch.LongTensor | None = None,
        attention_mask: torch.Tensor | None = None,
        candidate_ids: torch.LongTensor | None = None,
        candidate_mask: torch.BoolTensor | None = None,
        labels: torch.Tensor | None = None,
        semantics: torch.Tensor | None = None,
        pixel_values: torch.Tensor | None = None,
        vision_features: VisionFeatures | None = None,
        **kwargs: Any,
    ) -> AciecOutput:
        r"""
        Args:
            input_ids, attention_mask: `(batch, tokens)`, the text as `gather` or the processor writes it.
            candidate_ids: `(candidates,)`, columns of the classifier that are asked for; all of them if left out.
            candidate_mask: `(batch, candidates)`, which of them belong to the item's emotion model.
            labels: `(batch, candidates)`, each row a distribution (votes as weights).
            semantics: `(batch, width)`, a frozen text encoder's embeddings, by which the contrastive loss samples;
                without them it samples nothing.
            pixel_values, vision_features: not read here: the decision is made from words.

        Returns:
            [`AciecOutput`] with logits `(batch, candidates)`.
        """
        if input_ids is None:
            raise DataError(
                "ACIEC decides from words and was given none; run gather() on the processor's batch first."
            )
        mask = torch.ones_like(input_ids) if attention_mask is None else attention_mask
        hidden = self.text_encoder(input_ids=input_ids, attention_mask=mask).last_hidden_state
        weights = mask[..., None].to(hidden.device, self.emotion_classifier.weight.dtype)
        embedding = (hidden.to(weights) * weights).sum(1) / weights.sum(1).clamp_min(1)
        logits = self.emotion_classifier(self.classifier_dropout(embedding))
        if candidate_ids is not None:
            logits = logits[:, candidate_ids]
        if candidate_mask is not None:
            logits = logits.masked_fill(~candidate_mask.bool(), float("-inf"))
        loss = None
        if labels is not None:
            loss = soft_label_cross_entropy(logits, labels)
            # CODEPATH: no fork of the graph; with the weight 0 the contrastive loss is not worth computing.
            if self.config.contrastive_weight and self.training:
                sampled = (self.config.contrastive_positives or None, self.config.contrastive_negatives or None)
                named, temperature = self._by_name(labels, candidate_ids), self.config.contrastive_temperature
                contrastive = similarity_sampled_contrastive_loss(embedding, named, semantics, *sampled, temperature)
                loss = loss + self.config.contrastive_weight * contrastive
        return AciecOutput(loss, logits, embedding)

    def _by_name(self, labels: torch.Tensor, candidate_ids: torch.Tensor | None) -> torch.Tensor:
        """Distributions `(batch, names)`: "fear" is the same label in every emotion model."""
        ids = torch.tensor(self.config.first_columns, device=labels.device)
        own = ids if candidate_ids is None else ids[candidate_ids]
        return labels.new_zeros(len(labels), len(ids)).index_add(1, own, labels)

    @torch.no_grad()
    def find_concepts(self, pooled: torch.Tensor) -> torch.Tensor:
        """Pooled images `(batch, width)` to the probability of each concept `(batch, concepts)`."""
        return self.concept_detector.probabilities(self.concept_detector(self._normed(pooled)))

    def _normed(self, pooled: torch.Tensor) -> torch.Tensor:
        return self.feature_norm(pooled.to(self.concept_detector.projection.weight.dtype))

    @torch.no_grad()
    def reason(
        self,
        pooled: torch.Tensor,
        brightness: Sequence[float | None],
        colorfulness: Sequence[float | None],
        emotion_models: Sequence[EmotionModel],
        concepts: Sequence[Sequence[str]],
    ) -> tuple[list[Reasoning], list[Any]]:
        """The small reasoner's steps and sentences about images, and the attributes that it saw.

        Args:
            pooled: `(batch, width)`.
            brightness, colorfulness: per image in [0, 1]; `None` where unknown.
            emotion_models: per image, in whose words feelings are told; each trained.
            concepts: per image, the best ones; none where they shall not be told.
        """
        whole = self._normed(pooled)
        numbers = (known_numbers(values).to(whole.device) for values in (brightness, colorfulness))
        feelings = self.reasoner(whole, self.concept_detector.embed(whole), *numbers)
        found = self.reasoner.observe(pooled, brightness, colorfulness)
        columns, reasonings = self.config.label_columns, []
        for i, model in enumerate(emotion_models):
            told = {name: rows[i, columns[model.name]].softmax(-1).tolist() for name, rows in feelings.items()}
            reasonings.append(reason(found[i], concepts[i], told, model.labels))
        return reasonings, found

    @torch.no_grad()
    def describe(self, batch: BatchFeature, features: VisionFeatures, processor: Any) -> list[ImageText]:
        """What is said about each image of a processor's batch, before anything is decided."""
        config, vocabulary = self.config, self.config.vocabulary
        models, unknown = batch["emotion_models"], [None] * len(features.pooled)
        scores = self.find_concepts(features.pooled).cpu().numpy()
        best = [vocabulary.top(row, max(config.concepts_read, config.concepts_shown)) for row in scores]
        # CODEPATH: the ablations of a source; one without concepts must not read them in the sentences either.
        use_concepts, use_sentences, use_text = (getattr(config, f"use_{source}") for source in SOURCES)
        told = [[concept.text for concept in row] if use_concepts else [] for row in best]
        light, colour = (batch.get(name) or unknown for name in ("brightness", "colorfulness"))
        reasonings, found = self.reason(features.pooled, light, colour, models, told)
        read = (batch.get("embedded_text") if use_text else None) or unknown
        if self._external_reasoner is not None and use_sentences:
            asked = (self._external_reasoner, batch.get("images"), read, reasonings)
            reasonings = ask_instead(*asked, self._step_report(batch.get("report"), best, read, found))
        return [ImageText(*row) for row in zip(best, reasonings, read, found, strict=True)]

    def _step_report(
        self, report: Callable[[int, Progress], None] | None, *said: Sequence[Any]
    ) -> Callable[[int, Reasoning], None] | None:
        """Tells `report` of an image's reasoning as it grows, with what else was said: concepts, text, attributes."""
        if report is None:
            return None
        best, read, found = said

        def tell(index: int, reasoning: Reasoning) -> None:
            text = ImageText(best[index], reasoning, read[index], found[index])
            report(index, Progress("described", text.as_fields(self.config)))

        return tell

    def gather(
        self, batch: BatchFeature, processor: Any, captions: Sequence[str | None] | None = None
    ) -> BatchFeature:
        """Look at the images once and write down what they say; see the base class.

        Returns:
            The batch with `vision_features`, `texts` (per image an [`ImageText`]), `parts` (their [`TextParts`]),
            `input_ids` and `attention_mask`.
        """
        features = batch.get("vision_features")
        if features is None:
            features = self.get_image_features(batch["pixel_values"])
        texts = self.describe(batch, features, processor)
        parts = [text.parts(self.config) for text in texts]
        encoded = processor.text_tensors(parts).to(features.pooled.device)
        return BatchFeature({**batch, "vision_features": features, "texts": texts, "parts": parts, **encoded})

    def text_batch(self, texts: Sequence[Any], processor: Any, emotion_model: EmotionModel) -> BatchFeature:
        """A batch of texts that stand for images, as [`gather`] gives it.

        Args:
            texts: plain sentences or [`TextParts`].

        Raises:
            DataError: if one is neither, or blank.
        """
        parts = list(map(checked_parts, texts))
        batch = processor(texts=parts, emotion_models=emotion_model).to(self.device)
        return BatchFeature({**batch, "parts": parts})

    def evidence_score(self, batch: BatchFeature, top: Sequence[int]) -> torch.Tensor:
        """What the heat map shows, `(batch,)`: the whole picture's feeling for the top label in the reasoner's eyes.

        The decision itself is made from words, through which no gradient reaches the image.

        Args:
            top: per image, the column of its top label within its emotion model.
        """
        logits = self.reasoner.whole_feeling(self._normed(batch["vision_features"].pooled))
        columns = self.config.label_columns
        own = [columns[model.name] for model in batch["emotion_models"]]
        return torch.stack([logits[i, place].log_softmax(-1)[top[i]] for i, place in enumerate(own)])

    def described(self, batch: BatchFeature) -> list[dict[str, Any]]:
        texts: Sequence[ImageText] = batch.get("texts") or ()
        return [text.as_fields(self.config) for text in texts]

    def explain(
        self, batch: BatchFeature, output: ImageEmotionOutput, processor: Any, top: Sequence[int]
    ) -> list[dict[str, Any]]:
        fields = self.described(batch) or [{} for _ in top]
        if batch.get("evidence"):
            found = deciding_words(self, processor, batch, batch["parts"], top)
            fields = [field | {"words": words} for field, words in zip(fields, found, strict=True)]
        return fields


__all__ = ["AciecForImageEmotion", "AciecOutput"]

"""ESCNet: a caption of the image, read with the image, decides.

After "Improved IEC performance via emotional stimuli-aware captioning" (Zhou et al., Scientific Reports 2025). Only
the abstract was at hand: generated captions augment visual features, caption-related visual features with charged
words, cross- and self-attention fusion, a variable-weight loss. Everything finer is this implementation's own.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import nn
from transformers import AutoModel, BatchFeature
from transformers import initialization as init
from transformers.utils.generic import can_return_tuple

from iec_hub.affect.attributes import ImageAttributes
from iec_hub.emotions import EmotionModel
from iec_hub.errors import CheckpointError, DataError
from iec_hub.losses import variable_weight_cross_entropy
from iec_hub.models.escnet.assembly_escnet import build_text_encoder, fields_of, load_backbones, take_over
from iec_hub.models.escnet.captioner_escnet import AttributeCaptioner, build_captioner, generate_ids
from iec_hub.models.escnet.configuration_escnet import ESCNET_PRESETS, EscnetConfig
from iec_hub.models.escnet.fusion_escnet import CaptionFusion, CrossAttention, WordGate
from iec_hub.models.escnet.words_escnet import caption_words
from iec_hub.models.feature_norm import PowerNorm, build_feature_norm
from iec_hub.models.image_emotion import (
    ImageEmotionModel,
    ImageEmotionOutput,
    VisionFeatures,
    vision_width,
)

# Attention and feed-forward layers of BERT-like encoders and BLIP's decoder, and of the common vision towers.
_LANGUAGE_LAYER = r"(query|key|value|q_proj|k_proj|v_proj|out_proj|dense|fc1|fc2|q_lin|k_lin|v_lin|out_lin|lin1|lin2)"
_VISION_LAYER = (
    r"(q_proj|k_proj|v_proj|o_proj|out_proj|query|key|value|qkv|(?:attention|self_attn)\.projection|fc1|fc2|"
    r"up_proj|down_proj|pwconv1|pwconv2|expand_conv|project_conv)"
)

_FUSION_LAYER = (
    r"(image_input|whole_input|text_input|context|q_proj|k_proj|v_proj|out_proj|feed_forward_in|feed_forward_out)"
)

_PIXEL_ATTRIBUTES = ("brightness", "colorfulness")


@dataclass
class EscnetOutput(ImageEmotionOutput):
    """Output of ESCNet.

    Attributes:
        word_gates: `(batch, words)` in [0, 1], how charged each caption token is.
        word_attention: `(batch, words, places)`, where each caption token looks in the image.
        fused: `(batch, width)`, the joint representation that `classifier` reads.
    """

    word_gates: torch.Tensor | None = None
    word_attention: torch.Tensor | None = None
    fused: torch.Tensor | None = None


class EscnetForImageEmotion(ImageEmotionModel):
    r"""
    Image emotion classification with a caption beside the image.

    The captioner writes one sentence, the caption encoder reads it, the fusion lets its words look at the image and
    gates them by how charged they are, and linear classifiers of the joint representation and of the whole image add
    their logits. Every emotion model has columns of its own.
    """

    config: EscnetConfig
    config_class = EscnetConfig
    base_model_prefix = "escnet"
    _no_split_modules = ["FusionLayer"]  # the backbones' own are collected from them
    _keep_in_fp32_modules = ["fusion", "classifier", "image_classifier", "feature_norm"]
    heads = ("classifier", "image_classifier")
    # The captioner's are those of one that names attributes; a generator comes from a backbone whole.
    modules_to_save = (
        *heads,
        *("fusion", "feature_norm"),
        *(f"captioner.{part}" for part in ("pooled_norm", "detector", "emotion_head", "object_head")),
    )
    reads_captions = True
    lora_targets = {
        "language": rf"^(text_encoder\.(encoder|transformer)|captioner\.text_decoder)\..*\.{_LANGUAGE_LAYER}$",
        "vision": rf"^(captioner\.)?vision_model\.(?!head\.).*\.{_VISION_LAYER}$",
        "fusion": rf"^fusion\.(.+\.)?{_FUSION_LAYER}$",
    }

    def __init__(self, config: EscnetConfig):
        super().__init__(config)
        # CODEPATH: without a captioner, captions have to be given.
        self.captioner = build_captioner(config.captioner_config) if config.captioner_config is not None else None
        # CODEPATH: the presets share BLIP's tower; the mini checkpoint has one of its own.
        if not config.share_vision_tower:
            self.vision_model = AutoModel.from_config(config.vision_config)
        elif not hasattr(self.captioner, "vision_model"):
            raise DataError(
                f"The vision tower of a captioner of type {config.captioner_config.model_type!r} cannot be shared; "
                "use blip, or give vision_config."
            )
        token_size = vision_width(config.vision_config)
        pooled_size = config.pooled_size or token_size
        if isinstance(self.captioner, AttributeCaptioner) and config.captioner_config.pooled_size != pooled_size:
            raise DataError(
                f"The captioner reads {config.captioner_config.pooled_size} channels of the pooled image, which has "
                f"{pooled_size}; correct pooled_size."
            )
        self.feature_norm = build_feature_norm(config.feature_norm, pooled_size)
        text_size, vocabulary = config.text_config.hidden_size, config.text_config.vocab_size
        # CODEPATH: the ablation without captions reads none.
        if config.use_captions:
            self.text_encoder = build_text_encoder(config.text_config)
        self.fusion = CaptionFusion(config, token_size, pooled_size, text_size, vocabulary)
        self.head_dropout = nn.Dropout(config.head_dropout)
        labels = sum(len(model) for model in config.trained_emotion_models.values())
        self.classifier = nn.Linear(self.fusion.output_size, labels)
        # The whole image also speaks for itself: few images suffice to learn from that.
        self.image_classifier = nn.Linear(pooled_size, labels, bias=False)
        self.post_init()

    def __getattr__(self, name: str) -> Any:
        # A shared tower belongs to the captioner; registered twice, it would be stored twice.
        if name == "vision_model" and "vision_model" not in self._modules:
            return super().__getattr__("captioner").vision_model
        return super().__getattr__(name)

    @torch.no_grad()
    def _init_weights(self, module: nn.Module) -> None:
        super()._init_weights(module)
        if isinstance(module, PowerNorm):
            init.zeros_(module.mean)
            init.ones_(module.scale)
        elif isinstance(module, WordGate):
            init.zeros_(module.lexicon)
        elif isinstance(module, CrossAttention):
            init.normal_(module.nowhere, std=self.config.initializer_range)

    @classmethod
    def from_backbones(
        cls,
        vision: str | None = None,
        text: str | None = None,
        captioner: str | None = None,
        *,
        dtype: torch.dtype = torch.float32,
        **config: Any,
    ) -> EscnetForImageEmotion:
        """Assemble a model from pretrained parts; the fusion and the classifier start at random.

        Args:
            vision: vision tower (Hub id or directory); left out, the captioner's own is shared.
            text: caption encoder.
            captioner: an image-to-text generator; left out, captions have to be given, or `captioner_config` says
                which attributes are detected.
            dtype: of all parts, whatever the backbones were saved in.
            config: further fields of [`EscnetConfig`].

        Raises:
            OSError: when a backbone cannot be found.
            DataError: when the parts do not fit together.
        """
        if text is None or (vision is None and captioner is None):
            raise DataError("ESCNet needs a caption encoder and a vision tower or captioner; name their backbones.")
        names = {"vision_model": vision, "text_encoder": text, "captioner": captioner}
        parts = load_backbones(names, dtype)
        model = cls(EscnetConfig(**fields_of(parts, config))).to(dtype)
        take_over(model, parts, names)
        model.backbones = {"vision": vision, "text": text, "captioner": captioner}
        return model

    @classmethod
    def assembled(
        cls, config: EscnetConfig, backbones: Mapping[str, str | None], dtype: torch.dtype
    ) -> EscnetForImageEmotion:
        places = {"vision_model": "vision", "text_encoder": "text", "captioner": "captioner"}
        names = {module: backbones.get(name) for module, name in places.items()}
        parts = load_backbones(names, dtype)
        model = cls(config).to(dtype)
        take_over(model, parts, names)
        return model

    @classmethod
    def from_preset(cls, name: str, pretrained: bool = True, **config: Any) -> EscnetForImageEmotion:
        """The preset `"base"` or `"large"`; `pretrained=False` gives its architecture with random weights.

        Raises:
            CheckpointError: when there is no such preset.
            OSError: when a backbone cannot be found.
        """
        if name not in ESCNET_PRESETS:
            raise CheckpointError(f"There is no ESCNet preset {name!r}; use one of {', '.join(ESCNET_PRESETS)}.")
        preset = ESCNET_PRESETS[name]
        if not pretrained:
            return cls(EscnetConfig(**(preset["config"] | config)))
        sizes = {key: value for key, value in preset["config"].items() if key.startswith("fusion_")}
        return cls.from_backbones(**preset["backbones"], **(sizes | config))

    # trf-ignore: TRF033 it stores the emotion models in the configuration and gives the classifier their columns
    @torch.no_grad()
    def set_emotion_models(self, emotion_models: Sequence[Any]) -> None:
        """Learn other labels: a new classifier, whose columns for emotion models that were known are kept.

        Args:
            emotion_models: as in [`EscnetConfig`].
        """
        known, old, old_image = self.config.label_columns, self.classifier, self.image_classifier
        before = self.config.trained_emotion_models
        self.config.set_emotion_models(emotion_models)
        now = self.config.trained_emotion_models
        # CODEPATH: no fork of the graph; what belongs to the same labels is kept.
        same = [name for name, model in now.items() if name in known and before[name].labels == model.labels]
        self.config.temperatures = {name: value for name, value in self.config.temperatures.items() if name in same}
        labels = sum(len(model) for model in now.values())
        self.classifier = nn.Linear(old.in_features, labels).to(old.weight)
        self.image_classifier = nn.Linear(old_image.in_features, labels, bias=False).to(old_image.weight)
        for layer in (self.classifier, self.image_classifier):
            nn.init.normal_(layer.weight, std=self.config.initializer_range)
        nn.init.zeros_(self.classifier.bias)
        for name in same:
            columns = self.config.label_columns[name]
            self.classifier.weight[columns] = old.weight[known[name]]
            self.image_classifier.weight[columns] = old_image.weight[known[name]]
            self.classifier.bias[columns] = old.bias[known[name]]

    def get_input_embeddings(self) -> nn.Module:
        return self.text_encoder.get_input_embeddings()

    def set_input_embeddings(self, value: nn.Module) -> None:
        self.text_encoder.set_input_embeddings(value)

    @can_return_tuple
    def forward(
        self,
        pixel_values: torch.Tensor | None = None,
        caption_ids: torch.LongTensor | None = None,
        caption_attention_mask: torch.Tensor | None = None,
        candidate_ids: torch.LongTensor | None = None,
        candidate_mask: torch.BoolTensor | None = None,
        labels: torch.Tensor | None = None,
        vision_features: VisionFeatures | None = None,
        pooled_features: torch.Tensor | None = None,
        token_features: torch.Tensor | None = None,
        visual_mask: torch.Tensor | None = None,
        **kwargs: Any,
    ) -> EscnetOutput:
        r"""
        Args:
            pixel_values: `(batch, 3, height, width)`; or give `vision_features`, or `pooled_features`
                `(batch, width)` with `token_features` `(batch, places, token width)` from a cache.
            caption_ids, caption_attention_mask: `(batch, words)`, ready captions, which
                [`~EscnetForImageEmotion.gather`] writes; without them the image speaks alone.
            candidate_ids: `(candidates,)`, columns of the classifier that are asked for; all of them if left out.
            candidate_mask: `(batch, candidates)`, which of them belong to the image's emotion model.
            labels: `(batch, candidates)`, each row a distribution (votes as weights).
            visual_mask: `(batch,)`, 0 hides the image, so that the caption speaks alone.

        Returns:
            [`EscnetOutput`] with logits `(batch, candidates)`.
        """
        if vision_features is None and pixel_values is not None:
            vision_features = self.get_image_features(pixel_values)
        elif vision_features is None and pooled_features is not None:
            vision_features = VisionFeatures(pooled_features, token_features)
        if vision_features is None and (caption_ids is None or not self.config.use_captions):
            raise DataError("ESCNet was given neither images nor captions that it reads; give pixel_values.")
        if vision_features is not None and vision_features.tokens is None:
            raise DataError("ESCNet reads the places of an image; give token_features beside pooled_features.")
        # The fusion computes in its own precision: quantised and half-precision backbones feed it.
        dtype = self.classifier.weight.dtype
        if vision_features is None:
            whole, places, visible = self._no_image(len(caption_ids), dtype, caption_ids.device)
        else:
            whole = self.feature_norm(vision_features.pooled.to(dtype))
            places = vision_features.tokens.to(dtype)
            visible = torch.ones(len(whole), device=whole.device)
            if visual_mask is not None:
                visible = visual_mask.to(visible)
        words = self._read(caption_ids, caption_attention_mask, len(whole), dtype, whole.device)
        fusion = self.fusion(whole, places, visible, *words)
        logits = self.classifier(self.head_dropout(fusion.fused))
        logits = logits + self.image_classifier(whole * visible[:, None].to(whole))
        if candidate_ids is not None:
            logits = logits[:, candidate_ids]
        if candidate_mask is not None:
            logits = logits.masked_fill(~candidate_mask.bool(), float("-inf"))
        loss = None
        if labels is not None:
            loss = variable_weight_cross_entropy(
                logits, labels, self.config.difficulty_weight, self.config.difficulty_power
            )
        return EscnetOutput(loss, logits, fusion.word_gates, fusion.word_attention, fusion.fused)

    def _no_image(
        self, batch: int, dtype: torch.dtype, device: torch.device
    ) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
        whole = torch.zeros(batch, self.fusion.whole_input.in_features, dtype=dtype, device=device)
        places = torch.zeros(batch, 1, self.fusion.image_input.in_features, dtype=dtype, device=device)
        return whole, places, torch.zeros(batch, device=device)

    def _read(
        self,
        caption_ids: torch.Tensor | None,
        attention_mask: torch.Tensor | None,
        batch: int,
        dtype: torch.dtype,
        device: torch.device,
    ) -> tuple[torch.Tensor | None, torch.Tensor | None, torch.Tensor | None]:
        """Hidden states, ids and mask of the captions."""
        # CODEPATH: as in __init__.
        if not self.config.use_captions:
            return None, None, None
        if caption_ids is None:
            ids = torch.zeros(batch, 1, dtype=torch.long, device=device)
            return torch.zeros(batch, 1, self.config.text_config.hidden_size, dtype=dtype, device=device), ids, ids
        mask = torch.ones_like(caption_ids) if attention_mask is None else attention_mask
        return self.encode_captions(caption_ids, mask), caption_ids, mask

    def encode_captions(self, caption_ids: torch.Tensor, attention_mask: torch.Tensor) -> torch.Tensor:
        """The caption encoder's hidden states `(batch, words, width)`, in the fusion's precision."""
        # A row without any token would be undefined in some attentions; the fusion leaves it out afterwards.
        read = torch.where(attention_mask.any(1, keepdim=True), attention_mask, torch.ones_like(attention_mask))
        hidden = self.text_encoder(input_ids=caption_ids, attention_mask=read).last_hidden_state
        return hidden.to(self.classifier.weight.dtype)

    @torch.no_grad()
    def generate_caption(
        self,
        processor: Any,
        pixel_values: torch.Tensor | None = None,
        vision_features: VisionFeatures | None = None,
        brightness: Sequence[float | None] | None = None,
        colorfulness: Sequence[float | None] | None = None,
        **settings: Any,
    ) -> tuple[list[str], list[ImageAttributes] | None]:
        """Captions of images, and what a captioner that names attributes has found.

        Args:
            processor: for the words of a generator.
            pixel_values: `(batch, 3, height, width)`; not needed where `vision_features` say everything.
            brightness, colorfulness: per image in [0, 1], for a captioner that names attributes.
            settings: further arguments of `generate`, for a generator (`num_beams`, `max_new_tokens`...).

        Raises:
            DataError: if the model has no captioner.
        """
        if self.captioner is None:
            raise DataError("This model has no captioner; give captions, or load one with a captioner.")
        if isinstance(self.captioner, AttributeCaptioner):
            if vision_features is None:
                vision_features = self.get_image_features(pixel_values)
            unknown = [None] * len(vision_features.pooled)
            found = self.captioner.describe(vision_features.pooled, brightness or unknown, colorfulness or unknown)
            return self.captioner.captions(vision_features.pooled, found, unknown), found
        settings = {"max_new_tokens": 30, "num_beams": 3} | (self.config.caption_generation or {}) | settings
        # What another tower saw says nothing to the captioner.
        # CODEPATH: as in __init__.
        seen = vision_features if self.config.share_vision_tower else None
        ids = generate_ids(self.captioner, pixel_values, seen, **settings)
        return processor.read_captions(ids), None

    def gather(
        self, batch: BatchFeature, processor: Any, captions: Sequence[str | None] | None = None
    ) -> BatchFeature:
        """Look at the images once, write captions where none are given, and add both to a processor's batch.

        Args:
            captions: see the base class; left out, those that the processor was given.

        Returns:
            The batch with `vision_features`, `captions` (texts), `attributes` (per image or `None`), `caption_ids` and
            `caption_attention_mask`.
        """
        features = batch.get("vision_features")
        if features is None:
            features = self.get_image_features(batch["pixel_values"])
        captions = batch.get("captions") if captions is None else captions
        texts = list(captions) if captions is not None else [None] * len(features.pooled)
        if len(texts) != len(features.pooled):
            raise DataError(f"{len(features.pooled)} images came with {len(texts)} captions; give one each, or None.")
        attributes: list[ImageAttributes | None] = [None] * len(texts)
        missing = [i for i, text in enumerate(texts) if text is None]
        # CODEPATH: the ablation without captions reads none, and a model without a captioner has none to read.
        if missing and self.captioner is not None and self.config.use_captions:
            written, found = self.generate_caption(
                processor,
                batch["pixel_values"][missing] if "pixel_values" in batch else None,
                features.rows(missing),
                *([batch[name][i] for i in missing] if name in batch else None for name in _PIXEL_ATTRIBUTES),
            )
            for number, i in enumerate(missing):
                texts[i] = written[number]
                attributes[i] = found[number] if found else None
        data = {**batch, "vision_features": features, "captions": texts, "attributes": attributes}
        # CODEPATH: as in __init__.
        if self.config.use_captions and any(texts):
            data |= processor.caption_tensors([text or "" for text in texts]).to(features.pooled.device)
        return BatchFeature(data)

    def described(self, batch: BatchFeature) -> list[dict[str, Any]]:
        texts, attributes = batch.get("captions"), batch.get("attributes")
        if texts is None:
            return []
        return [
            {"captions": (text,) if text else None, "attributes": None if found is None else found.as_tags()}
            for text, found in zip(texts, attributes, strict=True)
        ]

    def explain(
        self, batch: BatchFeature, output: EscnetOutput, processor: Any, top: Sequence[int]
    ) -> list[dict[str, Any]]:
        fields = self.described(batch) or [{} for _ in top]
        for i, text in enumerate(batch.get("captions") or ()):
            words = None
            if text and output.word_gates is not None:
                read = (batch["caption_ids"][i], output.word_gates[i], output.word_attention[i])
                words = caption_words(text, processor.tokenizer, *read, batch["vision_features"].grid)
            fields[i]["caption_words"] = words
        return fields

    def candidates(self, emotion_model: EmotionModel) -> slice:
        """The classifier's columns of a trained emotion model."""
        return self.config.label_columns[self.config.source_for(emotion_model).name]


__all__ = ["EscnetForImageEmotion", "EscnetOutput"]

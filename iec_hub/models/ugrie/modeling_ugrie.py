"""UGRIE: vision tower -> mapping network -> prefix; BART scores or writes the emotion in a template's slot.

After "One for All: A Unified Generative Framework for Image Emotion Classification" (Shi et al., IEEE TCSVT 2024).
Only the abstract was at hand: template filling, CLIP joined to BART by a mapping, one model for many emotion models.
Everything finer is this implementation's own.
"""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from typing import Any

import torch
from torch import nn
from transformers import AutoModel, AutoModelForSeq2SeqLM, BatchFeature
from transformers import initialization as init
from transformers.utils.generic import can_return_tuple

from iec_hub.emotions import EmotionModel
from iec_hub.errors import CheckpointError, DataError
from iec_hub.models.feature_norm import PowerNorm, build_feature_norm
from iec_hub.models.image_emotion import (
    ImageEmotionModel,
    ImageEmotionOutput,
    VisionFeatures,
    measured_pooled_size,
    soft_label_cross_entropy,
    vision_width,
)
from iec_hub.models.ugrie.configuration_ugrie import UGRIE_PRESETS, UgrieConfig
from iec_hub.models.ugrie.mapping_ugrie import SemanticMapping, TransformerMapping, build_mapping
from iec_hub.models.ugrie.scoring_ugrie import score_candidates, slot_constraint

# Attention and feed-forward layers of the common towers: transformers, ConvNeXt, and EfficientNet's 1x1 convolutions.
_VISION_LAYER = (
    r"q_proj|k_proj|v_proj|o_proj|out_proj|query|key|value|fc1|fc2|up_proj|down_proj|pwconv1|pwconv2|"
    r"expand_conv|project_conv"
)
_MAPPING_LINEAR = r"input|output|hidden|q_proj|k_proj|v_proj|out_proj|feed_forward_in|feed_forward_out"
_LANGUAGE_LINEAR = r"(self_attn|encoder_attn)\.(q_proj|k_proj|v_proj|out_proj)|fc1|fc2"


class UgrieForImageEmotion(ImageEmotionModel):
    r"""
    Image emotion classification as template filling.

    The encoder reads `[prefix ; template]` once per image; the decoder scores every candidate phrase in the slot by
    its mean log-likelihood per token. The softmax of the scores is the distribution over the emotion model, so a label
    set needs words, not a head of its own.
    """

    config: UgrieConfig
    config_class = UgrieConfig
    base_model_prefix = "ugrie"
    _no_split_modules = ["MappingLayer"]  # the backbones' own are collected from them
    _keep_in_fp32_modules = ["mapping", "semantic_mapping", "feature_norm"]
    # No heads: labels are words here.
    modules_to_save = ("mapping", "semantic_mapping", "feature_norm")
    open_labels = True
    lora_targets = {
        "language": rf"^language_model\.model\.(encoder|decoder)\.layers\.\d+\.({_LANGUAGE_LINEAR})$",
        # A pooling head (SigLIP) reads its weights without calling the layers, so that LoRA would do nothing there.
        "vision": rf"^vision_model\.(?!head\.).*\.({_VISION_LAYER})$",
        "fusion": rf"^(semantic_)?mapping\.(.+\.)?({_MAPPING_LINEAR})$",
    }

    def __init__(self, config: UgrieConfig):
        super().__init__(config)
        self.vision_model = AutoModel.from_config(config.vision_config)
        self.language_model = AutoModelForSeq2SeqLM.from_config(config.text_config)
        token_size, output_size = vision_width(config.vision_config), config.text_config.d_model
        pooled_size = config.pooled_size or token_size
        self.feature_norm = build_feature_norm(config.feature_norm, pooled_size)
        self.mapping = build_mapping(pooled_size, token_size, output_size, config)
        # CODEPATH: ugrie-mini was trained with texts in place of images; the presets start without this path.
        if config.semantic_size:
            self.semantic_mapping = SemanticMapping(pooled_size, output_size, config)
        self.post_init()

    @torch.no_grad()
    def _init_weights(self, module: nn.Module) -> None:
        super()._init_weights(module)
        if isinstance(module, TransformerMapping):
            init.normal_(module.queries, std=self.config.initializer_range)
        elif isinstance(module, PowerNorm):
            init.zeros_(module.mean)
            init.ones_(module.scale)

    @classmethod
    def from_backbones(
        cls, vision: str, text: str, *, dtype: torch.dtype = torch.float32, **config: Any
    ) -> UgrieForImageEmotion:
        """Assemble a model from a pretrained vision tower and a pretrained BART; the mapping starts at random.

        Args:
            vision, text: Hub ids or directories.
            dtype: of all parts, whatever the backbones were saved in.
            config: further fields of [`UgrieConfig`].

        Raises:
            OSError: when a backbone cannot be found.
            DataError: when the text backbone is not of the BART family.
        """
        vision_model, language_model = _load_backbones(vision, text, dtype)
        # CODEPATH: no fork of the graph; a width that nobody gave is measured.
        if config.get("vision_feature_layers") and "pooled_size" not in config:
            config["pooled_size"] = measured_pooled_size(vision_model, config["vision_feature_layers"])
        model = cls(UgrieConfig(vision_config=vision_model.config, text_config=language_model.config, **config))
        model = model.to(dtype)
        model._take_over(vision_model, language_model)
        model.backbones = {"vision": str(vision), "text": str(text)}
        for part, source in ((model.config.vision_config, vision), (model.config.text_config, text)):
            if os.path.isdir(source):  # a checkpoint names the Hub, not somebody's disk
                part.name_or_path = ""
        return model

    @classmethod
    def assembled(
        cls, config: UgrieConfig, backbones: Mapping[str, str | None], dtype: torch.dtype
    ) -> UgrieForImageEmotion:
        parts = _load_backbones(backbones["vision"], backbones["text"], dtype)
        model = cls(config).to(dtype)
        model._take_over(*parts)
        return model

    def _take_over(self, vision_model: nn.Module, language_model: nn.Module) -> None:
        """Copy the weights of pretrained parts."""
        self.vision_model.load_state_dict(vision_model.state_dict())
        self.language_model.load_state_dict(language_model.state_dict())
        self.tie_weights()

    @classmethod
    def from_preset(cls, name: str, pretrained: bool = True, **config: Any) -> UgrieForImageEmotion:
        """The preset `"base"` or `"large"`; `pretrained=False` gives its architecture with random weights.

        Raises:
            CheckpointError: when there is no such preset.
            OSError: when a backbone cannot be found.
        """
        if name not in UGRIE_PRESETS:
            raise CheckpointError(f"There is no UGRIE preset {name!r}; use one of {', '.join(UGRIE_PRESETS)}.")
        preset = UGRIE_PRESETS[name]
        if pretrained:
            return cls.from_backbones(*preset["backbones"], **config)
        return cls(UgrieConfig(**preset["config"], **config))

    def get_input_embeddings(self) -> nn.Module:
        return self.language_model.get_input_embeddings()

    def set_input_embeddings(self, value: nn.Module) -> None:
        self.language_model.set_input_embeddings(value)

    def get_output_embeddings(self) -> nn.Module:
        return self.language_model.get_output_embeddings()

    def get_encoder(self, modality: str | None = None) -> nn.Module:
        return self.vision_model if modality == "image" else self.language_model.get_encoder()

    def get_decoder(self) -> nn.Module:
        return self.language_model.get_decoder()

    def _prefix(
        self,
        features: VisionFeatures | None,
        semantic_features: torch.Tensor | None,
        input_ids: torch.Tensor,
        visual_mask: torch.Tensor | None = None,
    ) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor | None]:
        """Prefix embeddings `(batch, k, D)`, their mask `(batch, k)`, and the image's sentence embedding."""
        # Devices are those of the inputs: a weight's own is not the place of computation while a model is offloaded.
        dtype, device, batch_size = self.mapping.input.weight.dtype, input_ids.device, input_ids.shape[0]
        width = self.config.text_config.d_model
        if features is not None:
            pooled = self.feature_norm(features.pooled.to(dtype))
            prefix = self.mapping(pooled, features.tokens.to(dtype) if features.tokens is not None else None)
            mask = torch.ones(prefix.shape[:2], dtype=torch.long, device=prefix.device)
        else:
            prefix = torch.zeros(batch_size, self.config.prefix_length, width, dtype=dtype, device=device)
            mask = torch.zeros(prefix.shape[:2], dtype=torch.long, device=device)
        if visual_mask is not None:
            mask = mask * visual_mask.to(mask)[:, None]
        embedding = None
        # CODEPATH: as in __init__.
        if self.config.semantic_size:
            embedding = self.semantic_mapping.embed(pooled) if features is not None else None
            place = torch.zeros(batch_size, self.config.semantic_size, dtype=dtype, device=device)
            place = place if embedding is None else embedding
            if semantic_features is not None:  # a zero row is an image among texts
                given = semantic_features.to(place)
                place = torch.where(given.abs().sum(-1, keepdim=True) > 0, given, place)
            semantic = self.semantic_mapping(place)
            known = (place.abs().sum(-1, keepdim=True) > 0).long().expand(semantic.shape[:2])
            prefix, mask = torch.cat([semantic, prefix], dim=1), torch.cat([known, mask], dim=1)
        return prefix, mask, embedding

    def _encoder_inputs(
        self, prefix: torch.Tensor, prefix_mask: torch.Tensor, input_ids: torch.Tensor, attention_mask: torch.Tensor
    ) -> dict[str, torch.Tensor]:
        embeddings = self.language_model.get_input_embeddings()(input_ids)
        length, most = prefix.shape[1] + input_ids.shape[1], self.config.text_config.max_position_embeddings
        if length > most:
            raise DataError(
                f"The template needs {length} tokens with the image's prefix, and the language part reads {most}; "
                "shorten the template or the emotion model's title."
            )
        return {
            "inputs_embeds": torch.cat([prefix.to(embeddings), embeddings], dim=1),
            "attention_mask": torch.cat([prefix_mask.to(attention_mask), attention_mask], dim=1),
        }

    @can_return_tuple
    def forward(
        self,
        pixel_values: torch.Tensor | None = None,
        input_ids: torch.LongTensor | None = None,
        attention_mask: torch.Tensor | None = None,
        decoder_input_ids: torch.LongTensor | None = None,
        decoder_attention_mask: torch.Tensor | None = None,
        candidate_ids: torch.LongTensor | None = None,
        candidate_attention_mask: torch.Tensor | None = None,
        candidate_mask: torch.BoolTensor | None = None,
        labels: torch.Tensor | None = None,
        vision_features: VisionFeatures | None = None,
        pooled_features: torch.Tensor | None = None,
        token_features: torch.Tensor | None = None,
        semantic_features: torch.Tensor | None = None,
        text_features: torch.Tensor | None = None,
        visual_mask: torch.Tensor | None = None,
        **kwargs: Any,
    ) -> ImageEmotionOutput:
        r"""
        Args:
            pixel_values: `(batch, 3, height, width)`; or give `pooled_features` `(batch, width)` and, for a
                transformer mapping, `token_features` `(batch, tokens, width)` from a cache, or `vision_features`.
            input_ids, attention_mask: `(batch, length)`, the template with a mask token in its slot.
            decoder_input_ids, decoder_attention_mask: `(batch, prompt)`, the template up to the slot.
            candidate_ids, candidate_attention_mask: `(candidates, tokens)`, the phrases that may fill the slot.
            candidate_mask: `(batch, candidates)`, which of them belong to the image's emotion model.
            labels: `(batch, candidates)`, each row a distribution (votes as weights).
            semantic_features: `(batch, semantic_size)`, sentence embeddings that stand in for images; a zero
                row leaves the image's own.
            text_features: `(batch, semantic_size)`, embeddings of texts about the images, to align with; a zero row
                means that the image has none.
            visual_mask: `(batch,)`, 0 hides the visual prefix of an image (modality dropout).

        Returns:
            [`ImageEmotionOutput`] with logits `(batch, candidates)`: mean log-likelihood per token.
        """
        if vision_features is None and pixel_values is not None:
            vision_features = self.get_image_features(pixel_values)
        elif vision_features is None and pooled_features is not None:
            vision_features = VisionFeatures(pooled_features, token_features)
        prefix, prefix_mask, embedding = self._prefix(vision_features, semantic_features, input_ids, visual_mask)
        encoder_inputs = self._encoder_inputs(prefix, prefix_mask, input_ids, attention_mask)
        encoded = self.language_model.get_encoder()(**encoder_inputs).last_hidden_state
        logits = score_candidates(
            self.language_model,
            encoded,
            encoder_inputs["attention_mask"],
            decoder_input_ids,
            decoder_attention_mask,
            candidate_ids,
            candidate_attention_mask,
        )
        likelihood = logits
        if candidate_mask is not None:
            logits = logits.masked_fill(~candidate_mask.bool(), float("-inf"))
        loss = None
        if labels is not None:
            loss = soft_label_cross_entropy(logits, labels)
            loss = loss - self.config.likelihood_weight * (labels * likelihood).sum(-1).mean()
            if embedding is not None and text_features is not None:
                loss = loss + self.config.alignment_weight * self._alignment_loss(embedding, text_features)
        return ImageEmotionOutput(loss=loss, logits=logits)

    @staticmethod
    def _alignment_loss(embedding: torch.Tensor, text_features: torch.Tensor) -> torch.Tensor:
        """Mean of `1 - cos` over the images that have a text."""
        has_text = (text_features.abs().sum(-1) > 0).to(embedding)
        distance = 1 - nn.functional.cosine_similarity(embedding, text_features.to(embedding), dim=-1)
        return (distance * has_text).sum() / has_text.sum().clamp_min(1)

    @torch.no_grad()
    def generate(
        self,
        pixel_values: torch.Tensor | None = None,
        input_ids: torch.LongTensor | None = None,
        attention_mask: torch.Tensor | None = None,
        decoder_input_ids: torch.LongTensor | None = None,
        decoder_attention_mask: torch.Tensor | None = None,
        candidate_ids: torch.LongTensor | None = None,
        candidate_attention_mask: torch.Tensor | None = None,
        candidate_mask: torch.BoolTensor | None = None,
        constrained: bool = False,
        semantic_features: torch.Tensor | None = None,
        **kwargs: Any,
    ) -> torch.LongTensor:
        """Write the slot token by token, freely or constrained to the candidates.

        Args:
            constrained: only tokens that lead to one of the image's candidates may be written.
            kwargs: any generation argument of transformers (`num_beams`, `do_sample`, `max_new_tokens`...).

        Returns:
            `(batch * num_return_sequences, new tokens)`, the written tokens after the template's beginning, ended by
            the end token.

        Raises:
            DataError: if the batch mixes emotion models whose templates differ in length.
        """
        features = self.get_image_features(pixel_values) if pixel_values is not None else None
        prefix, prefix_mask, _ = self._prefix(features, semantic_features, input_ids)
        if decoder_attention_mask is not None and not decoder_attention_mask.all():
            raise DataError("generate() needs templates of one length; give it one emotion model per batch.")
        for name in ("labels", "emotion_models"):  # a processor's batch may hold these too
            kwargs.pop(name, None)
        if constrained:
            settings = kwargs.get("generation_config") or self.language_model.generation_config
            beams = kwargs.get("num_beams") or settings.num_beams or 1
            returned = kwargs.get("num_return_sequences") or settings.num_return_sequences or 1
            kwargs["prefix_allowed_tokens_fn"] = slot_constraint(
                candidate_ids,
                candidate_attention_mask,
                candidate_mask,
                prompt_length=decoder_input_ids.shape[1],
                end_token_id=self.config.text_config.eos_token_id,
                rows_per_image=returned if beams == 1 else 1,
            )
            kwargs.setdefault("max_new_tokens", candidate_ids.shape[1] + 1)
        # The end token ends the slot here, so nothing may be forced: bart-large asks for a forced beginning and end.
        kwargs = {"max_new_tokens": 16, "forced_bos_token_id": None, "forced_eos_token_id": None} | kwargs
        written = self.language_model.generate(
            **self._encoder_inputs(prefix, prefix_mask, input_ids, attention_mask),
            decoder_input_ids=decoder_input_ids,
            **kwargs,
        )
        if isinstance(written, torch.Tensor):
            return written[:, decoder_input_ids.shape[1] :]
        written.sequences = written.sequences[:, decoder_input_ids.shape[1] :]
        return written

    @torch.no_grad()
    def prior_logits(self, batch: BatchFeature) -> torch.Tensor:
        """Candidate scores `(1, candidates)` without any image: what the words themselves have going for them.

        Args:
            batch: text tensors of one emotion model, of which the first row is read.
        """
        text_only = {
            name: batch[name][:1]
            for name in ("input_ids", "attention_mask", "decoder_input_ids", "decoder_attention_mask")
        }
        shared = {name: batch[name] for name in ("candidate_ids", "candidate_attention_mask")}
        return self(**text_only, **shared).logits

    def correct_logits(self, logits: torch.Tensor, batch: BatchFeature, emotion_model: EmotionModel) -> torch.Tensor:
        """Subtract the words' own likelihood where the label set was not trained (its prior was never learned).

        The idea is that of domain-conditional mutual information (Holtzman et al., "Surface Form Competition", 2021).
        """
        # CODEPATH: a factor, not an architecture; 0 switches the correction off for any checkpoint.
        if self.config.prior_correction and not self.config.is_trained(emotion_model):
            return logits - self.config.prior_correction * self.prior_logits(batch)
        return logits

    def explain(
        self, batch: BatchFeature, output: ImageEmotionOutput, processor: Any, top: Sequence[int]
    ) -> list[dict[str, Any]]:
        return [
            {"template": processor.fill_template(batch["emotion_models"][i], label)} for i, label in enumerate(top)
        ]


def _load_backbones(vision: str, text: str, dtype: torch.dtype) -> tuple[nn.Module, nn.Module]:
    """A pretrained vision tower and a pretrained BART."""
    vision_model = AutoModel.from_pretrained(vision, dtype=dtype)
    # A dual encoder such as CLIP holds its vision tower inside.
    vision_model = getattr(vision_model, "vision_model", vision_model)
    return vision_model, AutoModelForSeq2SeqLM.from_pretrained(text, dtype=dtype)


__all__ = ["UgrieForImageEmotion"]

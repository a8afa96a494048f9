"""Configuration of UGRIE."""

# No `from __future__ import annotations`: @strict checks the fields' types, and skips those it finds as text.
from typing import Any

from huggingface_hub.dataclasses import strict
from transformers import AutoConfig, PreTrainedConfig
from transformers.configuration_utils import SubConfigSpec

from iec_hub.emotions import EmotionModel
from iec_hub.errors import DataError
from iec_hub.models.configuration_image_emotion import ImageEmotionConfig

SLOT = "{emotion}"
TITLE = "{emotion_model}"
# Language parts whose decoder takes a packed attention mask and learned positions, which the scoring relies on.
TEXT_MODEL_TYPES = ("bart", "mbart", "plbart")
DEFAULT_TEMPLATE = "Among {emotion_model}, this image makes people feel {emotion}."


@strict
class UgrieConfig(ImageEmotionConfig):
    r"""
    Configuration of [`UgrieForImageEmotion`], after "One for All: A Unified Generative Framework for Image Emotion
    Classification" (Shi et al., IEEE TCSVT 2024); sizes, templates and label words are this implementation's.

    Args:
        vision_config (`PreTrainedConfig` or `dict`, *optional*, defaults to CLIP ViT-B/32's vision tower):
            Any `AutoModel` vision configuration whose model gives tokens or a feature map.
        text_config (`PreTrainedConfig` or `dict`, *optional*, defaults to BART):
            Any configuration of the BART family (`bart`, `mbart`, `plbart`).
        mapping_type (`str`, *optional*, defaults to `"mlp"`):
            `"mlp"` maps the pooled image to all prefix embeddings at once; `"transformer"` lets learned queries
            attend to the image tokens.
        prefix_length (`int`, *optional*, defaults to 10):
            Number k of prefix embeddings that stand for the image.
        mapping_hidden_size (`int`, *optional*):
            Width of the MLP's hidden layer; `prefix_length * d_model / 2` if left out.
        mapping_layers (`int`, *optional*, defaults to 2), mapping_heads (`int`, *optional*, defaults to 8):
            Size of the mapping transformer.
        mapping_dropout (`float`, *optional*, defaults to 0.0):
            Dropout on the image features before the mapping.
        semantic_size (`int`, *optional*, defaults to 0):
            Width of a sentence-embedding space that the image is also mapped into; 0 leaves this path out. With it, a
            text can stand in for an image in training (`semantic_features`), which is what few-shot learning uses.
        semantic_hidden_size (`int`, *optional*, defaults to 512):
            Hidden width of the map from image to sentence embedding.
        semantic_prefix_length (`int`, *optional*, defaults to 4):
            Prefix embeddings made from the sentence embedding.
        templates (`dict[str, str]`, *optional*):
            Emotion model name to its template; `"default"` serves the others. `{emotion}` is the slot and
            `{emotion_model}` the emotion model's title.
        likelihood_weight (`float`, *optional*, defaults to 0.1):
            Weight of the label phrases' likelihood beside the cross-entropy over candidates.
        alignment_weight (`float`, *optional*, defaults to 1.0):
            Weight of the cosine distance between an image's mapped sentence embedding and that of its text.
        prior_correction (`float`, *optional*, defaults to 1.0):
            How much of a candidate's likelihood without an image is subtracted when its label set was not trained.
            0 ranks unseen labels by plain likelihood, which favours frequent words.
    """

    model_type = "ugrie"
    sub_configs_defaults = {
        "vision_config": SubConfigSpec(config_class=AutoConfig, model_type="clip_vision_model"),
        "text_config": SubConfigSpec(config_class=AutoConfig, model_type="bart"),
    }

    vision_config: dict | PreTrainedConfig | None = None
    text_config: dict | PreTrainedConfig | None = None
    mapping_type: str = "mlp"
    prefix_length: int = 10
    mapping_hidden_size: int | None = None
    mapping_layers: int = 2
    mapping_heads: int = 8
    mapping_dropout: float | int = 0.0
    semantic_size: int = 0
    semantic_hidden_size: int = 512
    semantic_prefix_length: int = 4
    templates: dict[str, str] | None = None
    likelihood_weight: float | int = 0.1
    alignment_weight: float | int = 1.0
    prior_correction: float | int = 1.0
    initializer_range: float | int = 0.02
    is_encoder_decoder: bool = True

    def __post_init__(self, **kwargs):
        super().__post_init__(**kwargs)
        if self.mapping_type not in ("mlp", "transformer"):
            raise DataError(f"mapping_type is {self.mapping_type!r}; use 'mlp' or 'transformer'.")
        if self.text_config.model_type not in TEXT_MODEL_TYPES:
            raise DataError(
                f"The language part is of type {self.text_config.model_type!r}; use {', '.join(TEXT_MODEL_TYPES)}."
            )
        if self.mapping_type == "transformer" and self.text_config.d_model % self.mapping_heads:
            raise DataError(
                f"The language part's width {self.text_config.d_model} is not a multiple of mapping_heads "
                f"{self.mapping_heads}; use another number of heads."
            )
        self.templates = {"default": DEFAULT_TEMPLATE, **(self.templates or {})}
        for name, template in self.templates.items():
            if template.count(SLOT) != 1:
                raise DataError(f"The template of {name!r} needs the slot {SLOT} exactly once; it is {template!r}.")

    def get_text_config(self, decoder=None, encoder=None) -> PreTrainedConfig:
        return self.text_config

    def template_for(self, emotion_model: EmotionModel) -> tuple[str, str]:
        """The template's text before and after the slot, with the emotion model's title filled in."""
        template = self.templates.get(emotion_model.name) or self.templates.get("default", DEFAULT_TEMPLATE)
        before, after = template.split(SLOT)
        return before.replace(TITLE, emotion_model.title), after.replace(TITLE, emotion_model.title)


def _preset(vision: dict[str, Any], text: dict[str, Any]) -> dict[str, Any]:
    return {
        "vision_config": {"model_type": "clip_vision_model", **vision},
        "text_config": {"model_type": "bart", **text},
    }


# Sizes of the published backbones, so that a preset can be built without the Hub; `backbones` names their weights.
UGRIE_PRESETS: dict[str, dict[str, Any]] = {
    "base": {
        "backbones": ("openai/clip-vit-base-patch32", "facebook/bart-base"),
        "config": _preset(
            {"hidden_size": 768, "intermediate_size": 3072, "num_hidden_layers": 12, "num_attention_heads": 12}
            | {"patch_size": 32, "image_size": 224, "projection_dim": 512},
            {"d_model": 768, "encoder_layers": 6, "decoder_layers": 6, "vocab_size": 50265}
            | {"encoder_ffn_dim": 3072, "decoder_ffn_dim": 3072}
            | {"encoder_attention_heads": 12, "decoder_attention_heads": 12},
        ),
    },
    "large": {
        "backbones": ("openai/clip-vit-large-patch14", "facebook/bart-large"),
        "config": _preset(
            {"hidden_size": 1024, "intermediate_size": 4096, "num_hidden_layers": 24, "num_attention_heads": 16}
            | {"patch_size": 14, "image_size": 224, "projection_dim": 768},
            {"d_model": 1024, "encoder_layers": 12, "decoder_layers": 12, "vocab_size": 50265}
            | {"encoder_ffn_dim": 4096, "decoder_ffn_dim": 4096}
            | {"encoder_attention_heads": 16, "decoder_attention_heads": 16},
        ),
    },
}

__all__ = ["UGRIE_PRESETS", "UgrieConfig"]

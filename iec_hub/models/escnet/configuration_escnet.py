"""Configuration of ESCNet."""

# No `from __future__ import annotations`: @strict checks the fields' types, and skips those it finds as text.
from typing import Any

from huggingface_hub.dataclasses import strict
from transformers import AutoConfig, PreTrainedConfig
from transformers.configuration_utils import SubConfigSpec

from iec_hub.errors import DataError
from iec_hub.models.configuration_image_emotion import ClassifierConfig

SWITCHES = ("use_captions", "use_word_gate", "use_self_attention")


@strict
class EscnetConfig(ClassifierConfig):
    r"""
    Configuration of [`EscnetForImageEmotion`], after "Improved IEC performance via emotional stimuli-aware captioning"
    (Zhou et al., Scientific Reports 2025); sizes and details are this implementation's.

    Args:
        vision_config (`PreTrainedConfig` or `dict`, *optional*):
            Any `AutoModel` vision configuration whose model gives tokens or a feature map; CLIP ViT-B/32's vision
            tower if left out. Ignored with `share_vision_tower`.
        text_config (`PreTrainedConfig` or `dict`, *optional*, defaults to BERT):
            The caption encoder: any text encoder that `AutoModel` builds.
        captioner_config (`PreTrainedConfig` or `dict`, *optional*):
            The captioner: [`AttributeCaptionerConfig`], or any configuration that `AutoModelForImageTextToText`
            builds (BLIP, GIT...). Without one, captions have to be given.
        share_vision_tower (`bool`, *optional*, defaults to `False`):
            Whether the captioner's own vision tower is the classifier's too, so that an image is looked at once.
        caption_generation (`dict`, *optional*):
            Arguments of `generate` for captions.
        fusion_size (`int`, *optional*, defaults to 256), fusion_layers (`int`, *optional*, defaults to 1),
        fusion_heads (`int`, *optional*, defaults to 4), fusion_dropout (`float`, *optional*, defaults to 0.1):
            Size of the fusion.
        head_dropout (`float`, *optional*, defaults to 0.1):
            Dropout before the classifier.
        use_captions, use_word_gate, use_self_attention (`bool`, *optional*, default to `True`):
            Parts that can be left out, for ablations.
        difficulty_weight (`float`, *optional*, defaults to 1.0),
        difficulty_power (`float`, *optional*, defaults to 2.0):
            a and g of [`~iec_hub.losses.variable_weight_cross_entropy`]; with a = 0 it is plain cross-entropy.
    """

    model_type = "escnet"
    # What explains a prediction has the size of its captions: the Trainer does not collect it.
    keys_to_ignore_at_inference = ["word_gates", "word_attention", "fused"]
    sub_configs_defaults = {
        "vision_config": SubConfigSpec(config_class=AutoConfig, model_type="clip_vision_model"),
        "text_config": SubConfigSpec(config_class=AutoConfig, model_type="bert"),
        "captioner_config": SubConfigSpec(config_class=AutoConfig, model_type="blip", optional=True),
    }

    vision_config: dict | PreTrainedConfig | None = None
    text_config: dict | PreTrainedConfig | None = None
    captioner_config: dict | PreTrainedConfig | None = None
    share_vision_tower: bool = False
    caption_generation: dict | None = None
    fusion_size: int = 256
    fusion_layers: int = 1
    fusion_heads: int = 4
    fusion_dropout: float | int = 0.1
    head_dropout: float | int = 0.1
    use_captions: bool = True
    use_word_gate: bool = True
    use_self_attention: bool = True
    difficulty_weight: float | int = 1.0
    difficulty_power: float | int = 2.0
    initializer_range: float | int = 0.02

    def __post_init__(self, **kwargs):
        super().__post_init__(**kwargs)
        if self.share_vision_tower:
            vision = getattr(self.captioner_config, "vision_config", None)
            if vision is None:
                raise DataError(
                    "share_vision_tower needs a captioner with a vision tower; give captioner_config, or leave it off."
                )
            self.vision_config = vision
        if self.fusion_heads < 1 or self.fusion_size < 1 or self.fusion_size % self.fusion_heads:
            raise DataError(
                f"fusion_size {self.fusion_size} is not a multiple of fusion_heads {self.fusion_heads}; "
                "use another number of heads."
            )
        if self.difficulty_weight < 0 or self.difficulty_power < 0:
            raise DataError("difficulty_weight and difficulty_power must be at least 0.")
        if any(getattr(self.text_config, name, False) for name in ("is_encoder_decoder", "is_decoder")):
            raise DataError(
                f"The caption encoder is of type {self.text_config.model_type!r}, which is no encoder; use BERT, "
                "RoBERTa or another one."
            )

    def get_text_config(self, decoder=None, encoder=None) -> PreTrainedConfig:
        return self.text_config


def _blip(vision: dict[str, Any], text: dict[str, Any]) -> dict[str, Any]:
    return {"model_type": "blip", "vision_config": vision, "text_config": text}


# Sizes of the published backbones, so that a preset can be built without the Hub; `backbones` names their weights.
ESCNET_PRESETS: dict[str, dict[str, Any]] = {
    "base": {
        "backbones": {
            "captioner": "Salesforce/blip-image-captioning-base",
            "text": "FacebookAI/roberta-base",
        },
        "config": {
            "share_vision_tower": True,
            "captioner_config": _blip(
                {"hidden_size": 768, "intermediate_size": 3072, "num_hidden_layers": 12, "num_attention_heads": 12}
                | {"image_size": 384, "patch_size": 16},
                {"hidden_size": 768, "intermediate_size": 3072, "num_hidden_layers": 12, "num_attention_heads": 12}
                | {"encoder_hidden_size": 768, "vocab_size": 30524},
            ),
            "text_config": {"model_type": "roberta", "vocab_size": 50265, "max_position_embeddings": 514}
            | {"type_vocab_size": 1, "layer_norm_eps": 1e-5, "pad_token_id": 1, "bos_token_id": 0, "eos_token_id": 2},
            "fusion_size": 512,
            "fusion_layers": 2,
            "fusion_heads": 8,
        },
    },
    "large": {
        "backbones": {
            "captioner": "Salesforce/blip-image-captioning-large",
            "text": "FacebookAI/roberta-large",
        },
        "config": {
            "share_vision_tower": True,
            "captioner_config": _blip(
                {"hidden_size": 1024, "intermediate_size": 4096, "num_hidden_layers": 24, "num_attention_heads": 16}
                | {"image_size": 384, "patch_size": 16},
                {"hidden_size": 768, "intermediate_size": 3072, "num_hidden_layers": 12, "num_attention_heads": 12}
                | {"encoder_hidden_size": 1024, "vocab_size": 30524},
            ),
            "text_config": {"model_type": "roberta", "vocab_size": 50265, "max_position_embeddings": 514}
            | {"type_vocab_size": 1, "layer_norm_eps": 1e-5, "pad_token_id": 1, "bos_token_id": 0, "eos_token_id": 2}
            | {"hidden_size": 1024, "intermediate_size": 4096, "num_hidden_layers": 24, "num_attention_heads": 16},
            "fusion_size": 768,
            "fusion_layers": 2,
            "fusion_heads": 12,
        },
    },
}

__all__ = ["ESCNET_PRESETS", "SWITCHES", "EscnetConfig"]

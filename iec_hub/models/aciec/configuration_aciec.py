"""Configuration of ACIEC."""

# No `from __future__ import annotations`: @strict checks the fields' types, and skips those it finds as text.
from functools import lru_cache
from typing import Any

from huggingface_hub.dataclasses import strict
from transformers import AutoConfig, PreTrainedConfig
from transformers.configuration_utils import SubConfigSpec

from iec_hub.affect.concepts import Concept, ConceptVocabulary, default_vocabulary
from iec_hub.errors import DataError
from iec_hub.models.configuration_image_emotion import ClassifierConfig

SOURCES = ("concepts", "sentences", "embedded_text")
# The attributes whose feelings the small reasoner tells, in the order in which it reasons.
FEELING_ATTRIBUTES = ("brightness", "colorfulness", "scene", "object", "concepts", "whole")
# More than the beginning and the three ends of an empty text.
_LEAST_TEXT = 8


@strict
class AciecConfig(ClassifierConfig):
    r"""
    Configuration of [`AciecForImageEmotion`], after "Analyzing Image Beyond Visual Aspect: Image Emotion
    Classification via Multiple-Affective Captioning" (Zhou et al., arXiv 2511.23115); sizes and details are this
    implementation's.

    Args:
        vision_config (`PreTrainedConfig` or `dict`, *optional*):
            Any `AutoModel` vision configuration; CLIP ViT-B/32's vision tower if left out. It finds the concepts.
        text_config (`PreTrainedConfig` or `dict`, *optional*, defaults to RoBERTa):
            The text classifier: any text encoder that `AutoModel` builds.
        observer_config (`PreTrainedConfig` or `dict`, *optional*):
            An [`AttributeCaptionerConfig`]: what the small reasoner can name in an image. Without one it sees light
            and colours only.
        reasoner (`str`, *optional*):
            Hub id or folder of a vision-language model that reasons instead of the small one; it is loaded when asked
            for ([`~AciecForImageEmotion.load_reasoner`]), never with the checkpoint.
        concepts (`list`, *optional*):
            The vocabulary, as [`ConceptVocabulary.to_list`] writes it, or names; SentiBank's 2,089 if left out.
        concept_size (`int`, *optional*, defaults to 512):
            Width of the space in which images meet concepts.
        concepts_read (`int`, *optional*, defaults to 8), concepts_shown (`int`, *optional*, defaults to 5):
            How many of the best concepts the classifier reads, and a prediction shows.
        feeling_columns (`dict[str, list[int]]`, *optional*):
            Attribute to the first and last column of the pooled image that tell its feeling; all of them if left out.
        text_length (`int`, *optional*, defaults to 128):
            Tokens of the text that are read.
        classifier_dropout (`float`, *optional*, defaults to 0.1):
            Dropout before the classifier.
        contrastive_weight (`float`, *optional*, defaults to 0.1),
        contrastive_temperature (`float`, *optional*, defaults to 0.1),
        contrastive_positives (`int`, *optional*, defaults to 4), contrastive_negatives (`int`, *optional*, defaults to
        16):
            Of [`~iec_hub.losses.similarity_sampled_contrastive_loss`]; 0 positives or negatives: all of them.
        use_concepts, use_sentences, use_embedded_text (`bool`, *optional*, default to `True`):
            Sources of the text that can be left out.
    """

    model_type = "aciec"
    keys_to_ignore_at_inference = ["text_embedding"]
    sub_configs_defaults = {
        "vision_config": SubConfigSpec(config_class=AutoConfig, model_type="clip_vision_model"),
        "text_config": SubConfigSpec(config_class=AutoConfig, model_type="roberta"),
        "observer_config": SubConfigSpec(config_class=AutoConfig, model_type="attribute_captioner", optional=True),
    }

    vision_config: dict | PreTrainedConfig | None = None
    text_config: dict | PreTrainedConfig | None = None
    observer_config: dict | PreTrainedConfig | None = None
    reasoner: str | None = None
    concepts: list | tuple | None = None
    concept_size: int = 512
    concepts_read: int = 8
    concepts_shown: int = 5
    feeling_columns: dict | None = None
    text_length: int = 128
    classifier_dropout: float | int = 0.1
    contrastive_weight: float | int = 0.1
    contrastive_temperature: float | int = 0.1
    contrastive_positives: int = 4
    contrastive_negatives: int = 16
    use_concepts: bool = True
    use_sentences: bool = True
    use_embedded_text: bool = True
    initializer_range: float | int = 0.02

    def __post_init__(self, **kwargs):
        super().__post_init__(**kwargs)
        vocabulary = default_vocabulary() if self.concepts is None else ConceptVocabulary.from_list(self.concepts)
        self.set_vocabulary(vocabulary)
        for name, columns in (self.feeling_columns or {}).items():
            if name not in FEELING_ATTRIBUTES or not _are_columns(columns):
                raise DataError(
                    f"feeling_columns holds {str(name)[:80]!r}: {str(columns)[:80]}; name attributes of "
                    f"{', '.join(FEELING_ATTRIBUTES)} and two increasing columns each."
                )
        self.feeling_columns = {name: list(columns) for name, columns in (self.feeling_columns or {}).items()}
        for name in ("concept_size", "concepts_read", "concepts_shown", "text_length"):
            least = _LEAST_TEXT if name == "text_length" else 1
            if getattr(self, name) < least:
                raise DataError(f"{name} is {getattr(self, name)}; give at least {least}.")
        for name in ("contrastive_positives", "contrastive_negatives"):
            if getattr(self, name) < 0:
                raise DataError(f"{name} is {getattr(self, name)}; give at least 0, which stands for all of them.")
        if self.contrastive_weight < 0 or self.contrastive_temperature <= 0:
            raise DataError("contrastive_weight must be at least 0 and contrastive_temperature more than 0.")
        if not any(getattr(self, f"use_{source}") for source in SOURCES):
            raise DataError(
                "ACIEC would read nothing; switch on one of use_concepts, use_sentences, use_embedded_text."
            )
        if any(getattr(self.text_config, name, False) for name in ("is_encoder_decoder", "is_decoder")):
            raise DataError(
                f"The text classifier is of type {self.text_config.model_type!r}, which is no encoder; use RoBERTa, "
                "BERT or another one."
            )
        observer = getattr(self.observer_config, "model_type", "attribute_captioner")
        if observer != "attribute_captioner":
            raise DataError(
                f"The observer is of type {observer!r}, which names no attributes; use attribute_captioner, or none."
            )

    def set_vocabulary(self, vocabulary: ConceptVocabulary) -> None:
        """Store the concepts in their stored form; the default vocabulary's names are stored too."""
        self.concepts = vocabulary.to_list()

    @property
    def vocabulary(self) -> ConceptVocabulary:
        """The concepts that are looked for; the same object as long as they stay the same."""
        facts = ("name", "sentiment", "emotion", "polarity")
        return _stored_vocabulary(tuple(tuple(map(concept.get, facts)) for concept in self.concepts))

    @property
    def first_columns(self) -> list[int]:
        """Per column of the classifier the first one of the same name: "fear" is the same in every emotion model."""
        names = [label for model in self.trained_emotion_models.values() for label in model.labels]
        return [names.index(name) for name in names]

    def get_text_config(self, decoder=None, encoder=None) -> PreTrainedConfig:
        return self.text_config


# Not kept in the configuration, all of whose attributes are compared and written to its file.
@lru_cache(maxsize=8)
def _stored_vocabulary(facts: tuple[tuple[Any, ...], ...]) -> ConceptVocabulary:
    return ConceptVocabulary(tuple(Concept(*fact) for fact in facts))


def _are_columns(columns: Any) -> bool:
    """Whether this is the first and the last column of something, as two whole numbers."""
    if not isinstance(columns, list | tuple) or len(columns) != 2:
        return False
    return all(isinstance(column, int) for column in columns) and 0 <= columns[0] < columns[1]


_ROBERTA = {"model_type": "roberta", "vocab_size": 50265, "max_position_embeddings": 514, "type_vocab_size": 1} | {
    "layer_norm_eps": 1e-5,
    "pad_token_id": 1,
    "bos_token_id": 0,
    "eos_token_id": 2,
}
# Sizes of the published backbones, so that a preset can be built without the Hub; `backbones` names their weights.
ACIEC_PRESETS: dict[str, dict[str, Any]] = {
    "base": {
        "backbones": {"vision": "openai/clip-vit-base-patch32", "text": "FacebookAI/roberta-base"},
        "config": {
            "vision_config": {"model_type": "clip_vision_model"},
            "text_config": _ROBERTA,
            "reasoner": "HuggingFaceTB/SmolVLM2-2.2B-Instruct",
            "concept_size": 512,
            "text_length": 384,
        },
    },
    "large": {
        "backbones": {"vision": "openai/clip-vit-large-patch14", "text": "FacebookAI/roberta-large"},
        "config": {
            "vision_config": {"model_type": "clip_vision_model", "hidden_size": 1024, "intermediate_size": 4096}
            | {"num_hidden_layers": 24, "num_attention_heads": 16, "patch_size": 14},
            "text_config": _ROBERTA
            | {"hidden_size": 1024, "intermediate_size": 4096, "num_hidden_layers": 24, "num_attention_heads": 16},
            "reasoner": "Qwen/Qwen2.5-VL-7B-Instruct",
            "concept_size": 768,
            "text_length": 384,
        },
    },
}

__all__ = ["ACIEC_PRESETS", "FEELING_ATTRIBUTES", "SOURCES", "AciecConfig"]

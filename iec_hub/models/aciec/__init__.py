"""ACIEC: concepts, a chain of thought and the text in the image; a language model decides from the words."""

from iec_hub.models.aciec.configuration_aciec import ACIEC_PRESETS, AciecConfig
from iec_hub.models.aciec.modeling_aciec import AciecForImageEmotion, AciecOutput
from iec_hub.models.aciec.processing_aciec import AciecProcessor
from iec_hub.models.aciec.text_aciec import ImageText, TextParts, reasoning_text

__all__ = [
    "ACIEC_PRESETS",
    "AciecConfig",
    "AciecForImageEmotion",
    "AciecOutput",
    "AciecProcessor",
    "ImageText",
    "TextParts",
    "reasoning_text",
]

"""ESCNet: a caption of the image, read with the image, decides."""

from iec_hub.models.escnet.captioner_escnet import AttributeCaptioner, AttributeCaptionerConfig
from iec_hub.models.escnet.configuration_escnet import ESCNET_PRESETS, EscnetConfig
from iec_hub.models.escnet.modeling_escnet import EscnetForImageEmotion, EscnetOutput
from iec_hub.models.escnet.processing_escnet import EscnetProcessor

__all__ = [
    "ESCNET_PRESETS",
    "AttributeCaptioner",
    "AttributeCaptionerConfig",
    "EscnetConfig",
    "EscnetForImageEmotion",
    "EscnetOutput",
    "EscnetProcessor",
]

"""UGRIE: an image becomes a prefix, BART fills the emotion into a sentence."""

from iec_hub.models.ugrie.configuration_ugrie import UGRIE_PRESETS, UgrieConfig
from iec_hub.models.ugrie.modeling_ugrie import UgrieForImageEmotion
from iec_hub.models.ugrie.processing_ugrie import UgrieProcessor

__all__ = ["UGRIE_PRESETS", "UgrieConfig", "UgrieForImageEmotion", "UgrieProcessor"]

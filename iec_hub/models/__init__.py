"""Models of the three methods; importing this registers them with the Auto classes."""

from collections import OrderedDict

from transformers import AutoConfig, AutoModel, AutoProcessor
from transformers.models.auto.auto_factory import _BaseAutoModelClass, _LazyAutoMapping
from transformers.models.auto.configuration_auto import CONFIG_MAPPING_NAMES

from iec_hub.models.aciec import AciecConfig, AciecForImageEmotion, AciecProcessor
from iec_hub.models.escnet import AttributeCaptionerConfig, EscnetConfig, EscnetForImageEmotion, EscnetProcessor
from iec_hub.models.ugrie import UgrieConfig, UgrieForImageEmotion, UgrieProcessor

MODEL_FOR_IMAGE_EMOTION_MAPPING = _LazyAutoMapping(CONFIG_MAPPING_NAMES, OrderedDict())


class AutoImageEmotionModel(_BaseAutoModelClass):
    """Loads whichever method a checkpoint is of, as transformers' Auto classes do."""

    _model_mapping = MODEL_FOR_IMAGE_EMOTION_MAPPING


def _register(config: type, model: type, processor: type) -> None:
    AutoConfig.register(config.model_type, config, exist_ok=True)
    AutoModel.register(config, model, exist_ok=True)
    AutoProcessor.register(config, processor, exist_ok=True)
    AutoImageEmotionModel.register(config, model, exist_ok=True)


_register(UgrieConfig, UgrieForImageEmotion, UgrieProcessor)
_register(EscnetConfig, EscnetForImageEmotion, EscnetProcessor)
_register(AciecConfig, AciecForImageEmotion, AciecProcessor)
AutoConfig.register(AttributeCaptionerConfig.model_type, AttributeCaptionerConfig, exist_ok=True)  # a part's

__all__ = [
    "AciecConfig",
    "AciecForImageEmotion",
    "AciecProcessor",
    "AutoImageEmotionModel",
    "EscnetConfig",
    "EscnetForImageEmotion",
    "EscnetProcessor",
    "UgrieConfig",
    "UgrieForImageEmotion",
    "UgrieProcessor",
]

"""Models of the three methods; importing this registers them with the Auto classes."""

from collections import OrderedDict

from transformers import AutoConfig, AutoModel, AutoProcessor
from transformers.conversion_mapping import register_checkpoint_conversion_mapping
from transformers.core_model_loading import WeightRenaming
from transformers.models.auto.auto_factory import _BaseAutoModelClass, _LazyAutoMapping
from transformers.models.auto.configuration_auto import CONFIG_MAPPING_NAMES

from iec_hub.models.aciec import AciecConfig, AciecForImageEmotion, AciecProcessor
from iec_hub.models.adapter_loading import base_of, model_class_of, read_adapter
from iec_hub.models.escnet import AttributeCaptionerConfig, EscnetConfig, EscnetForImageEmotion, EscnetProcessor
from iec_hub.models.ugrie import UgrieConfig, UgrieForImageEmotion, UgrieProcessor

MODEL_FOR_IMAGE_EMOTION_MAPPING = _LazyAutoMapping(CONFIG_MAPPING_NAMES, OrderedDict())


class AutoImageEmotionModel(_BaseAutoModelClass):
    """Loads whichever method a checkpoint or an adapter is of, as transformers' Auto classes do."""

    _model_mapping = MODEL_FOR_IMAGE_EMOTION_MAPPING

    @classmethod
    def from_pretrained(cls, pretrained_model_name_or_path, *model_args, **kwargs):
        # The parent would ask the Hub for the base, which may be a bundled checkpoint or put together from parts.
        adapter = read_adapter(pretrained_model_name_or_path, kwargs)
        if adapter is not None:
            kind = model_class_of(adapter)
            for name in ("code_revision", "trust_remote_code"):  # no code comes with an adapter
                kwargs.pop(name, None)
            return kind.from_pretrained(pretrained_model_name_or_path, *model_args, **kwargs)
        return super().from_pretrained(pretrained_model_name_or_path, *model_args, **kwargs)


def _register(config: type, model: type, processor: type) -> None:
    AutoConfig.register(config.model_type, config, exist_ok=True)
    AutoModel.register(config, model, exist_ok=True)
    AutoProcessor.register(config, processor, exist_ok=True)
    AutoImageEmotionModel.register(config, model, exist_ok=True)


_register(UgrieConfig, UgrieForImageEmotion, UgrieProcessor)
_register(EscnetConfig, EscnetForImageEmotion, EscnetProcessor)
_register(AciecConfig, AciecForImageEmotion, AciecProcessor)
AutoConfig.register(AttributeCaptionerConfig.model_type, AttributeCaptionerConfig, exist_ok=True)  # a part's
# Checkpoints keep the names that this part's layers had before adapters needed others.
register_checkpoint_conversion_mapping(
    AttributeCaptionerConfig.model_type,
    [
        WeightRenaming(r"^feature_norm\.", "pooled_norm."),
        WeightRenaming(r"^classifier\.", "object_head."),
    ],
    overwrite=True,
)

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
    "base_of",
]

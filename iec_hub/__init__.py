"""iec_hub: what emotion does a picture evoke, and why.

Importing the package is light. Its models register with transformers' Auto classes, and the
``image-emotion-classification`` pipeline with ``transformers.pipeline``, as soon as transformers is there.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

from iec_hub import _registration

__version__ = "0.1.0"

_EXPORTS = {
    "AciecConfig": "iec_hub.models",
    "AciecForImageEmotion": "iec_hub.models",
    "AciecProcessor": "iec_hub.models",
    "AutoImageEmotionModel": "iec_hub.models",
    "EMOTION_MODELS": "iec_hub.emotions",
    "EmotionModel": "iec_hub.emotions",
    "EmotionPrediction": "iec_hub.prediction",
    "EmotionPredictor": "iec_hub.predictor",
    "EscnetConfig": "iec_hub.models",
    "EscnetForImageEmotion": "iec_hub.models",
    "EscnetProcessor": "iec_hub.models",
    "IecHubError": "iec_hub.errors",
    "ImageEmotionClassificationPipeline": "iec_hub.pipeline",
    "TextParts": "iec_hub.models.aciec",
    "UgrieConfig": "iec_hub.models",
    "UgrieForImageEmotion": "iec_hub.models",
    "UgrieProcessor": "iec_hub.models",
    "get_emotion_model": "iec_hub.emotions",
    "load_emotion_dataset": "iec_hub.data",
    "map_distribution": "iec_hub.emotions",
    "open_image": "iec_hub.images",
}

__all__ = sorted(_EXPORTS)

if TYPE_CHECKING:
    from iec_hub.data import load_emotion_dataset
    from iec_hub.emotions import EMOTION_MODELS, EmotionModel, get_emotion_model, map_distribution
    from iec_hub.errors import IecHubError
    from iec_hub.images import open_image
    from iec_hub.models import (
        AciecConfig,
        AciecForImageEmotion,
        AciecProcessor,
        AutoImageEmotionModel,
        EscnetConfig,
        EscnetForImageEmotion,
        EscnetProcessor,
        UgrieConfig,
        UgrieForImageEmotion,
        UgrieProcessor,
    )
    from iec_hub.models.aciec import TextParts
    from iec_hub.pipeline import ImageEmotionClassificationPipeline
    from iec_hub.prediction import EmotionPrediction
    from iec_hub.predictor import EmotionPredictor


def __getattr__(name: str) -> Any:
    if name not in _EXPORTS:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(importlib.import_module(_EXPORTS[name]), name)


def __dir__() -> list[str]:
    return sorted([*globals(), *_EXPORTS])


_registration.install()

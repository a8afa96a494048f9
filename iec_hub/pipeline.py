"""`transformers.pipeline("image-emotion-classification")`."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from transformers import Pipeline
from transformers.pipelines import PIPELINE_REGISTRY

from iec_hub._registration import PIPELINE_TASK
from iec_hub.emotions import EmotionModel
from iec_hub.models import AutoImageEmotionModel
from iec_hub.predictor import EmotionPredictor
from iec_hub.registry import BUNDLED_CHECKPOINTS, checkpoint_path


class ImageEmotionClassificationPipeline(Pipeline):
    """What emotion does a picture evoke?

    Example:
        >>> from transformers import pipeline
        >>> import iec_hub
        >>> classify = pipeline("image-emotion-classification", model="path/or/id")
        >>> classify("photo.jpg", emotion_model="ekman7")
        {'emotion': 'joy', 'confidence': 0.61, ...}

    Call arguments: `emotion_model`, `labels`, `evidence` and `batch_size` as in [`EmotionPredictor.predict`]. Each
    image gives one dictionary, [`EmotionPrediction.to_dict`].
    """

    _load_processor = True
    _load_image_processor = False
    _load_feature_extractor = False
    _load_tokenizer = False

    def _sanitize_parameters(
        self,
        emotion_model: str | EmotionModel | None = None,
        labels: Sequence[str] | None = None,
        evidence: bool | None = None,
        **kwargs: Any,
    ) -> tuple[dict, dict, dict]:
        forward = {"emotion_model": emotion_model, "labels": labels, "evidence": evidence}
        return {}, {name: value for name, value in forward.items() if value is not None}, {}

    def __call__(self, images: Any, **kwargs: Any) -> dict[str, Any] | list[dict[str, Any]]:
        """Classify one image or a list of images: paths, bytes or PIL images."""
        several = isinstance(images, list | tuple)
        _, settings, _ = self._sanitize_parameters(**kwargs)
        batch_size = kwargs.get("batch_size", self._batch_size or 1)
        predictions = self.predictor.predict(
            list(images) if several else [images], batch_size=batch_size, **(self._forward_params | settings)
        )
        rows = [prediction.to_dict() for prediction in predictions]
        return rows if several else rows[0]

    @property
    def predictor(self) -> EmotionPredictor:
        """The package's one way from images to predictions, over this pipeline's model and processor."""
        return EmotionPredictor(self.model, self.processor)

    # The three stages that the base class asks for; `__call__` goes through the predictor, which batches and corrects.
    def preprocess(self, inputs: Any, **parameters: Any) -> dict[str, Any]:
        return {"images": [inputs]}

    def _forward(self, model_inputs: dict[str, Any], **parameters: Any) -> Any:
        return self.predictor.predict(model_inputs["images"], **parameters)

    def postprocess(self, model_outputs: Any, **parameters: Any) -> list[dict[str, Any]]:
        return [prediction.to_dict() for prediction in model_outputs]


def register() -> None:
    """Make the task known to `transformers.pipeline`; without a model it takes the bundled checkpoint."""
    PIPELINE_REGISTRY.register_pipeline(
        PIPELINE_TASK,
        pipeline_class=ImageEmotionClassificationPipeline,
        pt_model=AutoImageEmotionModel,
        default={"model": (checkpoint_path(BUNDLED_CHECKPOINTS["ugrie"]), "main")},
        type="image",
    )

"""`transformers.pipeline("image-emotion-classification")`."""

from __future__ import annotations

import functools
import itertools
from collections.abc import Iterator, Sequence
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

    Call arguments: `emotion_model`, `labels`, `evidence` and `batch_size` as in [`EmotionPredictor.predict`]; given to
    `pipeline(...)` they hold for every call. One image gives one dictionary, [`EmotionPrediction.to_dict`], a list
    gives a list, and a generator or data set is read as its dictionaries are asked for.
    """

    _load_processor = True
    _load_image_processor = False
    _load_feature_extractor = False
    _load_tokenizer = False

    def __init__(self, model: Any, *args: Any, **kwargs: Any):
        chosen_dtype = kwargs.get("dtype") or kwargs.get("torch_dtype") or "auto"
        super().__init__(model, *args, **kwargs)
        # As in `EmotionPredictor.from_pretrained`: on a CPU half precision is slow, so it is used only when asked for.
        if chosen_dtype == "auto" and self.device.type == "cpu" and not getattr(self.model, "is_quantized", False):
            self.model.float()

    def _sanitize_parameters(
        self,
        emotion_model: str | EmotionModel | None = None,
        labels: Sequence[str] | None = None,
        evidence: bool | None = None,
    ) -> tuple[dict, dict, dict]:
        forward = {"emotion_model": emotion_model, "labels": labels, "evidence": evidence}
        return {}, {name: value for name, value in forward.items() if value is not None}, {}

    def __call__(
        self, images: Any, batch_size: int | None = None, num_workers: int | None = None, **kwargs: Any
    ) -> dict[str, Any] | list[dict[str, Any]] | Iterator[dict[str, Any]]:
        """Classify one image, a list of images or a stream of them: paths, bytes or PIL images.

        Args:
            batch_size: images that the model sees at once; 1 if left out, as in every pipeline.
            num_workers: not needed; there so that any pipeline's call works.

        Raises:
            ImageError, DataError: as [`EmotionPredictor.predict`].
        """
        _, settings, _ = self._sanitize_parameters(**kwargs)
        given = self._forward_params
        if settings.keys() & {"emotion_model", "labels"}:  # a call's choice replaces the pipeline's, of either kind
            given = {name: value for name, value in given.items() if name not in ("emotion_model", "labels")}
        if batch_size is None:
            batch_size = self._batch_size or 1
        settings = given | settings | {"batch_size": batch_size}
        if isinstance(images, list | tuple):
            return [prediction.to_dict() for prediction in self.predictor.predict(images, **settings)]
        if _is_stream(images):
            return self._stream(iter(images), settings)
        return self.predictor.predict([images], **settings)[0].to_dict()

    def _stream(self, images: Iterator[Any], settings: dict[str, Any]) -> Iterator[dict[str, Any]]:
        while batch := list(itertools.islice(images, settings["batch_size"])):
            for prediction in self.predictor.predict(batch, **settings):
                yield prediction.to_dict()

    @functools.cached_property
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


def _is_stream(images: Any) -> bool:
    """Whether this is a generator or a data set; a file object or a text can be iterated too, but is one image."""
    if isinstance(images, str | bytes | bytearray | memoryview) or hasattr(images, "read"):
        return False
    return isinstance(images, Iterator) or (hasattr(images, "__getitem__") and hasattr(images, "__len__"))


def register() -> None:
    """Make the task known to `transformers.pipeline`; without a model it takes the bundled checkpoint."""
    PIPELINE_REGISTRY.register_pipeline(
        PIPELINE_TASK,
        pipeline_class=ImageEmotionClassificationPipeline,
        pt_model=AutoImageEmotionModel,
        default={"model": (checkpoint_path(BUNDLED_CHECKPOINTS["ugrie"]), "main")},
        type="image",
    )


register()

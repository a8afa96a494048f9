"""`transformers.pipeline("image-emotion-classification")`."""

from __future__ import annotations

import functools
import itertools
from collections.abc import Iterable, Iterator, Sequence
from typing import Any

from transformers import Pipeline
from transformers.pipelines import PIPELINE_REGISTRY

from iec_hub._registration import PIPELINE_TASK
from iec_hub.emotions import EmotionModel
from iec_hub.errors import DataError
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

    Call arguments: `emotion_model`, `labels`, `evidence`, `read_text` and `batch_size` as in
    [`EmotionPredictor.predict`]; given to `pipeline(...)` they hold for every call. `captions`, for methods that read
    them, are ready captions in place of the model's own: a text for one image, one text (or `None`: the model writes
    it) per image for a list or a stream.

    One image gives one dictionary, [`EmotionPrediction.to_dict`], a list gives a list, and a generator or data set is
    read as its dictionaries are asked for. What a method says is in it, else `None`: `captions`, `attributes` (what
    was seen, each with its confidence and source), `concepts` with scores, `reasoning` (attribute, observation and
    feeling), `embedded_text` with boxes and, under `evidence`, `regions`, `words` (which words decided, with their
    shares) and `caption_words` (each with its place in the first caption, its salience and, where evidence was asked
    for, its own regions).
    """

    _load_processor = True
    _load_image_processor = False
    _load_feature_extractor = False
    _load_tokenizer = False

    def __init__(self, model: Any, *args: Any, **kwargs: Any):
        chosen_dtype = kwargs.get("dtype") or kwargs.get("torch_dtype") or "auto"
        super().__init__(model, *args, **kwargs)
        if "captions" in self._forward_params:
            raise DataError("Captions belong to pictures; give them with each call, not to the pipeline.")
        # As in `EmotionPredictor.from_pretrained`: on a CPU half precision is slow, so it is used only when asked for.
        if chosen_dtype == "auto" and self.device.type == "cpu" and not getattr(self.model, "is_quantized", False):
            self.model.float()

    def _sanitize_parameters(
        self,
        emotion_model: str | EmotionModel | None = None,
        labels: Sequence[str] | None = None,
        evidence: bool | None = None,
        captions: str | Iterable[str | None] | None = None,
        read_text: bool | None = None,
    ) -> tuple[dict, dict, dict]:
        forward = {"emotion_model": emotion_model, "labels": labels, "evidence": evidence, "captions": captions}
        forward["read_text"] = read_text
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
        several = isinstance(images, list | tuple)
        stream = not several and _is_stream(images)
        captions = _texts(settings.pop("captions", None), several=stream or several)
        if stream:
            return self._stream(iter(images), captions, settings)
        if captions is not None:
            settings["captions"] = list(captions)
        results = [p.to_dict() for p in self.predictor.predict(images if several else [images], **settings)]
        return results if several else results[0]

    def _stream(
        self, images: Iterator[Any], captions: Iterator[str | None] | None, settings: dict[str, Any]
    ) -> Iterator[dict[str, Any]]:
        while batch := list(itertools.islice(images, settings["batch_size"])):
            if captions is not None:
                settings = settings | {"captions": list(itertools.islice(captions, len(batch)))}
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


def _texts(captions: Any, several: bool) -> Iterator[str | None] | None:
    """The captions, one per image; of several images one text would otherwise be read letter by letter."""
    if captions is None:
        return None
    if isinstance(captions, str) and not several:
        return iter([captions])
    if isinstance(captions, str | bytes) or not isinstance(captions, Iterable):
        raise DataError(f"One {type(captions).__name__} is not a list of captions; give one caption per image.")
    return iter(captions)


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

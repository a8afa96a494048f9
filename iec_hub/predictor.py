"""The one way from images to predictions: the CLI, the pipeline, the page and the tests all come through here."""

from __future__ import annotations

import logging
import os
from collections.abc import Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch
from safetensors import SafetensorError
from transformers import AutoProcessor, BatchFeature

from iec_hub.emotions import EMOTION_MODELS, EmotionModel
from iec_hub.errors import CheckpointError, DataError, IecHubError
from iec_hub.images import open_image
from iec_hub.models.image_emotion import ImageEmotionModel, ImageEmotionOutput, region_evidence
from iec_hub.prediction import EmotionPrediction, Evidence
from iec_hub.registry import BUNDLED_CHECKPOINTS, METHODS, checkpoint_path

if TYPE_CHECKING:
    from PIL.Image import Image

logger = logging.getLogger(__name__)

# Images are decoded to about this side: twice what a 224-pixel tower reads keeps the final resize clean.
DECODE_SIDE = 512
READ_AHEAD_THREADS = min(8, os.cpu_count() or 2)


@dataclass(frozen=True)
class FilePrediction:
    """Result of one file: either a prediction or the sentence that says why there is none.

    `file` is what was given, a text as a path.
    """

    file: Any
    prediction: EmotionPrediction | None
    error: str | None = None


class EmotionPredictor:
    """A model and its processor, ready for images.

    Example:
        >>> from iec_hub import EmotionPredictor
        >>> predictor = EmotionPredictor.from_pretrained()
        >>> predictor.predict(["photo.jpg"])[0].emotion
        'awe'
    """

    def __init__(self, model: ImageEmotionModel, processor: Any, name: str = ""):
        self.model = model.eval()
        self.processor = processor.adopt(model.config)
        name = name or model.config.name_or_path or model.config.model_type
        # Results are shown and passed on: they name a checkpoint, not somebody's folders.
        self.name = Path(name).resolve().name if Path(name).is_dir() else name

    @classmethod
    def from_pretrained(
        cls,
        model: str | Path | None = None,
        method: str | None = None,
        device: str | torch.device | None = None,
        dtype: torch.dtype | str | None = None,
        **kwargs: Any,
    ) -> EmotionPredictor:
        """Load a checkpoint.

        Args:
            model: a Hub id, a directory or the name of a bundled checkpoint; left out, the method's bundled one.
            method: `"ugrie"`, `"escnet"` or `"aciec"`; left out, whatever the checkpoint is (`"ugrie"` without one).
            device: left out, the GPU where there is one. Ignored where `device_map` is among `kwargs`.
            dtype: left out, float32 on the CPU, where half precision is slow, and the saved one on a GPU.
            kwargs: further arguments of `from_pretrained` (`device_map`, `quantization_config`, `revision`...).

        Raises:
            CheckpointError: if there is no such checkpoint, it is damaged or of another method, or there is no such
                device.
        """
        if method is not None and method not in METHODS:
            raise CheckpointError(f"There is no method {method!r}; use one of {', '.join(METHODS)}.")
        if model is None:
            model = BUNDLED_CHECKPOINTS.get(method or "ugrie")
            if model is None:
                raise CheckpointError(
                    f"No checkpoint of {method} ships with this version; give one with its id or path."
                )
        name = str(model)
        path = checkpoint_path(name)
        device = _usable_device(device)
        if dtype is None:
            dtype = torch.float32 if device.type == "cpu" else "auto"
        loaded, processor = _load(path, name, dtype, kwargs)
        if method is not None and loaded.config.model_type != method:
            raise CheckpointError(
                f"{name!r} is a checkpoint of {loaded.config.model_type}, not of {method}; leave the method out."
            )
        if "device_map" not in kwargs and "quantization_config" not in kwargs:
            loaded = loaded.to(device)
        return cls(loaded, processor, name)

    @property
    def method(self) -> str:
        return self.model.config.model_type

    @property
    def emotion_models(self) -> dict[str, EmotionModel]:
        """The emotion models that the checkpoint was trained on."""
        return self.model.config.trained_emotion_models

    @property
    def default_emotion_model(self) -> EmotionModel:
        return self.model.config.resolve_emotion_model(None)

    def resolve_emotion_model(
        self, emotion_model: str | EmotionModel | None = None, labels: Sequence[str] | None = None
    ) -> EmotionModel:
        """The emotion model that `emotion_model` or the caller's own `labels` ask for.

        Raises:
            DataError: if both are given, a name is unknown or the labels do not make an emotion model.
        """
        if labels is not None and emotion_model is not None:
            raise DataError("An emotion model and own labels were both given; give one of them.")
        return self.model.config.resolve_emotion_model(emotion_model if labels is None else list(labels))

    def predict(
        self,
        images: Sequence[Any],
        emotion_model: str | EmotionModel | None = None,
        labels: Sequence[str] | None = None,
        evidence: bool = False,
        batch_size: int = 32,
    ) -> list[EmotionPrediction]:
        """Predictions for images, in order.

        Args:
            images: a list of anything [`open_image`] takes: PIL images, paths, bytes, file objects.
            emotion_model: a name or an `EmotionModel`, trained or not; the checkpoint's default one if left out.
            labels: own labels instead.
            evidence: also say which regions spoke for the top emotion; costs a backward pass.
            batch_size: images that the model sees at once; it changes speed and memory, not the result.

        Raises:
            ImageError: if an image cannot be opened; use :meth:`predict_files` to go on past bad files.
            DataError: if the emotion model or the labels cannot be used.
        """
        images = _as_list(images)
        target = self._checked_target(emotion_model, labels, batch_size)
        predictions: list[EmotionPrediction] = []
        for start in range(0, len(images), batch_size):
            batch = [self._open(image) for image in images[start : start + batch_size]]
            predictions += self._predict_batch(batch, target, evidence)
        return predictions

    def predict_files(
        self,
        paths: Iterable[Any],
        emotion_model: str | EmotionModel | None = None,
        labels: Sequence[str] | None = None,
        evidence: bool = False,
        batch_size: int = 32,
    ) -> Iterator[FilePrediction]:
        """Predictions for files, in order, each as soon as its batch is done; a bad file yields its error.

        The next batch is read, decoded and resized while the model works on the current one.

        Args:
            paths: files, or anything else that [`open_image`] takes; read to its end at once.
            emotion_model, labels, evidence, batch_size: as in :meth:`predict`.

        Raises:
            DataError: at once, if the emotion model or the labels cannot be used.
        """
        target = self._checked_target(emotion_model, labels, batch_size)
        files = [Path(path) if isinstance(path, str) else path for path in _as_list(paths)]
        return self._predict_stream(files, target, evidence, batch_size)

    def _checked_target(
        self, emotion_model: str | EmotionModel | None, labels: Sequence[str] | None, batch_size: int
    ) -> EmotionModel:
        if batch_size < 1:
            raise DataError(f"A batch of {batch_size} images cannot be predicted; use a batch size of at least 1.")
        return self.resolve_emotion_model(emotion_model, labels)

    def _predict_stream(
        self, files: list[Any], target: EmotionModel, evidence: bool, batch_size: int
    ) -> Iterator[FilePrediction]:
        batches = [files[start : start + batch_size] for start in range(0, len(files), batch_size)]
        pool = ThreadPoolExecutor(READ_AHEAD_THREADS, thread_name_prefix="iec-hub-read")
        try:
            pending = [pool.submit(self._open_or_error, file) for file in batches[0]] if batches else []
            for number, batch in enumerate(batches):
                opened = [job.result() for job in pending]
                following = batches[number + 1] if number + 1 < len(batches) else []
                pending = [pool.submit(self._open_or_error, file) for file in following]
                good = [image for image in opened if not isinstance(image, str)]
                predictions = iter(self._predict_resilient(good, target, evidence))
                for file, image in zip(batch, opened, strict=True):
                    result = image if isinstance(image, str) else next(predictions)
                    if isinstance(result, str):
                        yield FilePrediction(file, None, result)
                    else:
                        yield FilePrediction(file, result)
        finally:  # whoever stops early, or is interrupted, does not wait for files that nobody asks for any more
            pool.shutdown(cancel_futures=True)

    def _open(self, source: Any) -> Image:
        """The picture, already as small as the model reads it, so that a batch of big ones fits into memory.

        The image processor's own resizing then has nothing left to do; doing it here moves it into the threads.
        """
        image = open_image(source, max_side=DECODE_SIDE)
        image_processor = self.processor.image_processor
        if not getattr(image_processor, "do_resize", False):
            return image
        size = image_processor.size
        width, height = size.get("width"), size.get("height")
        if width and height:
            return image.resize((width, height), image_processor.resample)
        # Another rule of resizing: leave it to the image processor, but do not keep what it cannot use.
        factor = min(image.size) // (2 * DECODE_SIDE)
        return image.reduce(factor) if factor > 1 else image

    def _open_or_error(self, source: Any) -> Image | str:
        try:
            return self._open(source)
        except IecHubError as error:
            return str(error)
        except Exception as error:  # a decoder's own bug must not end the batch
            logger.exception("Unexpected error while opening an image")
            return f"The file cannot be read as an image ({type(error).__name__}); replace it."

    def _predict_resilient(
        self, images: list[Image], target: EmotionModel, evidence: bool
    ) -> list[EmotionPrediction | str]:
        """Like `_predict_batch`, but where the batch fails, image by image, so that one costs no other its result."""
        if not images:
            return []
        try:
            return list(self._predict_batch(images, target, evidence))
        except Exception as error:
            if len(images) == 1:
                logger.exception("The model failed on an image")
                if isinstance(error, IecHubError):
                    return [str(error)]
                return [f"The model failed on this picture ({type(error).__name__}); please report it."]
            logger.warning("A batch of %d images failed; going on one by one", len(images), exc_info=True)
            return [self._predict_resilient([image], target, evidence)[0] for image in images]

    def _predict_batch(self, images: list[Image], target: EmotionModel, evidence: bool) -> list[EmotionPrediction]:
        regions = None
        with torch.inference_mode(not evidence), torch.set_grad_enabled(evidence):
            batch = self.processor(images=images, emotion_models=target)
            tensors = {name: value.to(self.model.device) for name, value in batch.items() if torch.is_tensor(value)}
            inputs = BatchFeature({**tensors, "emotion_models": batch["emotion_models"]})
            if evidence:
                tensors["vision_features"] = self.model.get_image_features(
                    tensors.pop("pixel_values").requires_grad_(), evidence=True
                )
            output = self.model(**tensors)
            probabilities = self._probabilities(output, inputs, target)
            top = probabilities.argmax(dim=-1)
            if evidence:
                score = probabilities.log().gather(1, top[:, None])[:, 0]
                regions = region_evidence(score, tensors["vision_features"]).double().cpu().numpy()
        explanations = self.model.explain(inputs, output, self.processor, top.tolist())
        rows = probabilities.detach().double().cpu()
        rows = (rows / rows.sum(-1, keepdim=True)).tolist()
        config = self.model.config
        return [
            EmotionPrediction(
                emotion_model=target.name,
                labels=target.labels,
                probabilities=tuple(row),
                method=self.method,
                evidence=Evidence(regions=regions[index]) if regions is not None else None,
                sure_confidence=config.sure_confidence,
                sure_ratio=config.sure_ratio,
                model=self.name,
                **explanation,
            )
            for index, (row, explanation) in enumerate(zip(rows, explanations, strict=True))
        ]

    def _probabilities(self, output: ImageEmotionOutput, inputs: BatchFeature, target: EmotionModel) -> torch.Tensor:
        logits = self.model.correct_logits(output.logits.float(), inputs, target)
        return (logits / self.model.config.temperature_for(target)).softmax(dim=-1)


def _as_list(images: Any) -> list[Any]:
    """A list of images; one image given alone would otherwise be read letter by letter."""
    if isinstance(images, str | os.PathLike | bytes | bytearray) or not isinstance(images, Iterable):
        raise DataError(f"One {type(images).__name__} is not a list of images; put it into a list.")
    return list(images)


def _usable_device(device: str | torch.device | None) -> torch.device:
    if device is None:
        return torch.device("cuda" if torch.cuda.is_available() else "cpu")
    try:
        device = torch.device(device)
        torch.empty(0, device=device)
    except (RuntimeError, AssertionError, NotImplementedError) as error:
        raise CheckpointError(f"There is no device {str(device)!r} here; use 'cpu' or leave it out.") from error
    return device


def _load(path: str, name: str, dtype: Any, kwargs: dict[str, Any]) -> tuple[Any, Any]:
    from iec_hub.models import AutoImageEmotionModel

    shared = {key: kwargs[key] for key in ("revision", "token", "cache_dir", "local_files_only") if key in kwargs}
    try:
        model, report = AutoImageEmotionModel.from_pretrained(
            path, dtype=dtype, use_safetensors=True, output_loading_info=True, **kwargs
        )
        processor = AutoProcessor.from_pretrained(path, **shared)
    except (OSError, ValueError, KeyError, TypeError, RuntimeError, SafetensorError) as error:
        reason = " ".join(str(error).split())[:300].rstrip(".")
        raise CheckpointError(
            f"{name!r} could not be loaded; give a directory with a checkpoint, a reachable Hub id, or one of "
            f"{', '.join(BUNDLED_CHECKPOINTS.values())} ({reason})."
        ) from error
    # transformers fills what is missing with random numbers, which would answer with random emotions.
    if report["missing_keys"]:
        missing = sorted(report["missing_keys"])
        raise CheckpointError(
            f"{name!r} lacks {len(missing)} of the model's weights, such as {missing[0]}; get the whole checkpoint."
        )
    return model, processor


__all__ = ["EMOTION_MODELS", "EmotionPredictor", "FilePrediction"]

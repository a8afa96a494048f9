"""The one way from images to predictions: the CLI, the pipeline, the page and the tests all come through here."""

from __future__ import annotations

import logging
from collections.abc import Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch
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
READ_AHEAD_THREADS = 2


@dataclass(frozen=True)
class FilePrediction:
    """Result of one file: either a prediction or the sentence that says why there is none."""

    file: Path
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
        self.name = name or model.config.name_or_path or model.config.model_type

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
            CheckpointError: if there is no such checkpoint, or it is of another method.
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
        if device is None:
            device = "cuda" if torch.cuda.is_available() else "cpu"
        if dtype is None:
            dtype = torch.float32 if torch.device(device).type == "cpu" else "auto"
        loaded, processor = _load(path, name, dtype, kwargs)
        if not isinstance(loaded, ImageEmotionModel):
            raise CheckpointError(f"{name} is a {type(loaded).__name__}, not an image emotion model; use another.")
        if method is not None and loaded.config.model_type != method:
            raise CheckpointError(f"{name} is a checkpoint of {loaded.config.model_type}, not of {method}.")
        if "device_map" not in kwargs and "quantization_config" not in kwargs:
            loaded = loaded.to(device)
        return cls(loaded, processor, Path(name).name if Path(name).exists() else name)

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
            images: anything [`open_image`] takes: PIL images, paths, bytes, file objects.
            emotion_model: a name or an `EmotionModel`, trained or not; the checkpoint's default one if left out.
            labels: own labels instead.
            evidence: also say which regions spoke for the top emotion; costs a backward pass.

        Raises:
            ImageError: if an image cannot be opened; use :meth:`predict_files` to go on past bad files.
            DataError: if the emotion model or the labels cannot be used.
        """
        target = self.resolve_emotion_model(emotion_model, labels)
        predictions: list[EmotionPrediction] = []
        for start in range(0, len(images), batch_size):
            batch = [open_image(image, max_side=DECODE_SIDE) for image in images[start : start + batch_size]]
            predictions += self._predict_batch(batch, target, evidence)
        return predictions

    def predict_files(
        self,
        paths: Iterable[str | Path],
        emotion_model: str | EmotionModel | None = None,
        labels: Sequence[str] | None = None,
        evidence: bool = False,
        batch_size: int = 32,
    ) -> Iterator[FilePrediction]:
        """Predictions for files, in order, each as soon as its batch is done; a bad file yields its error.

        The next batch is read and decoded while the model works on the current one.

        Raises:
            DataError: at once, if the emotion model or the labels cannot be used.
        """
        target = self.resolve_emotion_model(emotion_model, labels)
        return self._predict_stream([Path(path) for path in paths], target, evidence, batch_size)

    def _predict_stream(
        self, files: list[Path], target: EmotionModel, evidence: bool, batch_size: int
    ) -> Iterator[FilePrediction]:
        batches = [files[start : start + batch_size] for start in range(0, len(files), batch_size)]
        with ThreadPoolExecutor(READ_AHEAD_THREADS, thread_name_prefix="iec-hub-read") as pool:
            pending = [pool.submit(_open_or_error, file) for file in batches[0]] if batches else []
            for number, batch in enumerate(batches):
                opened = [job.result() for job in pending]
                following = batches[number + 1] if number + 1 < len(batches) else []
                pending = [pool.submit(_open_or_error, file) for file in following]
                good = [image for image in opened if not isinstance(image, str)]
                predictions = iter(self._predict_resilient(good, target, evidence))
                for file, image in zip(batch, opened, strict=True):
                    result = image if isinstance(image, str) else next(predictions)
                    if isinstance(result, str):
                        yield FilePrediction(file, None, result)
                    else:
                        yield FilePrediction(file, result)

    def _predict_resilient(
        self, images: list[Image], target: EmotionModel, evidence: bool
    ) -> list[EmotionPrediction | str]:
        """Like `_predict_batch`, but where the batch fails, image by image, so that one costs no other its result."""
        if not images:
            return []
        try:
            return list(self._predict_batch(images, target, evidence))
        except Exception as error:
            logger.exception("A batch of %d images failed", len(images))
            if len(images) == 1:
                sentence = (
                    str(error) if isinstance(error, IecHubError) else f"The model failed: {type(error).__name__}."
                )
                return [sentence]
            return [self._predict_resilient([image], target, evidence)[0] for image in images]

    def _predict_batch(self, images: list[Image], target: EmotionModel, evidence: bool) -> list[EmotionPrediction]:
        batch = self.processor(images=images, emotion_models=target)
        tensors = {name: value.to(self.model.device) for name, value in batch.items() if torch.is_tensor(value)}
        inputs = BatchFeature({**tensors, "emotion_models": batch["emotion_models"]})
        regions = None
        with torch.inference_mode(not evidence), torch.set_grad_enabled(evidence):
            if evidence:
                tensors["vision_features"] = self.model.get_image_features(
                    tensors.pop("pixel_values").requires_grad_(), evidence=True
                )
            output = self.model(**tensors)
            probabilities = self._probabilities(output, inputs, target)
            top = probabilities.argmax(dim=-1)
            if evidence:
                score = probabilities.log().gather(1, top[:, None])[:, 0]
                regions = region_evidence(score, tensors["vision_features"]).cpu().numpy()
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


def _open_or_error(file: Path) -> Image | str:
    try:
        return open_image(file, max_side=DECODE_SIDE)
    except IecHubError as error:
        return str(error)
    except Exception as error:  # a decoder's own bug must not end the batch
        logger.exception("Unexpected error while opening an image")
        return f"The file cannot be read as an image ({type(error).__name__}); replace it."


def _load(path: str, name: str, dtype: Any, kwargs: dict[str, Any]) -> tuple[Any, Any]:
    from iec_hub.models import AutoImageEmotionModel

    shared = {key: kwargs[key] for key in ("revision", "token", "cache_dir", "local_files_only") if key in kwargs}
    try:
        model = AutoImageEmotionModel.from_pretrained(path, dtype=dtype, use_safetensors=True, **kwargs)
        return model, AutoProcessor.from_pretrained(path, **shared)
    except (OSError, ValueError) as error:
        reason = " ".join(str(error).split())[:300]
        raise CheckpointError(
            f"{name!r} could not be loaded; give a directory with a checkpoint, a reachable Hub id, or one of "
            f"{', '.join(BUNDLED_CHECKPOINTS.values())} ({reason})."
        ) from error


__all__ = ["EMOTION_MODELS", "EmotionPredictor", "FilePrediction"]

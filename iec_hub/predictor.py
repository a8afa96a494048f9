"""The one way from images to predictions: the CLI, the pipeline, the page and the tests all come through here."""

from __future__ import annotations

import copy
import os
from collections.abc import Callable, Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from transformers import BatchFeature

from iec_hub.affect.embedded_text import TextReader, default_text_reader
from iec_hub.checkpoint_loading import load_checkpoint, usable_device
from iec_hub.data.schema import joined_text
from iec_hub.emotions import EMOTION_MODELS, EmotionModel, map_distribution
from iec_hub.errors import CheckpointError, DataError
from iec_hub.evidence import joined_evidence, top_score
from iec_hub.models.image_emotion import ImageEmotionModel, ImageEmotionOutput, forward_inputs, region_evidence
from iec_hub.prediction import EmotionPrediction, Progress
from iec_hub.reading_ahead import (
    DECODE_SIDE,
    REASONER_SIDE,
    FilePrediction,
    OpenedImage,
    opened_image,
    predictions_of_files,
)
from iec_hub.registry import BUNDLED_CHECKPOINTS, METHODS, checkpoint_path


class EmotionPredictor:
    """A model and its processor, ready for images.

    Example:
        >>> from iec_hub import EmotionPredictor
        >>> predictor = EmotionPredictor.from_pretrained()
        >>> predictor.predict(["photo.jpg"])[0].emotion
        'awe'
    """

    # Whether `predict` takes `progress`; whoever stands in for this class may not.
    reports_progress = True

    def __init__(
        self, model: ImageEmotionModel, processor: Any, name: str = "", text_reader: TextReader | None = None
    ):
        """Args:
        text_reader: reads text in images, for methods that listen to it; left out, the package's own where its
            extra `ocr` is installed.
        """
        self.model = model.eval()
        self.processor = processor.adopt(model.config)
        name = name or model.config.name_or_path or model.config.model_type
        # Results are shown and passed on: they name a checkpoint, not somebody's folders.
        self.name = Path(name).resolve().name if Path(name).is_dir() else name
        listens = self.model.reads_embedded_text and getattr(self.model.config, "use_embedded_text", True)
        self.text_reader = (text_reader or default_text_reader()) if listens else None

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
            model = BUNDLED_CHECKPOINTS[method or "ugrie"]
        name = str(model)
        path = checkpoint_path(name)
        device = usable_device(device)
        if dtype is None:
            dtype = torch.float32 if device.type == "cpu" else "auto"
        loaded, processor = load_checkpoint(path, name, dtype, kwargs)
        if method is not None and loaded.config.model_type != method:
            raise CheckpointError(
                f"{name!r} is a checkpoint of {loaded.config.model_type}, not of {method}; leave the method out."
            )
        if "device_map" not in kwargs and "quantization_config" not in kwargs:
            loaded = loaded.to(device)
        return cls(loaded, processor, name)

    def twin(self) -> EmotionPredictor:
        """The same model with a processor of its own, for another thread: a tokenizer takes one caller at a time."""
        other = copy.copy(self)
        other.processor = copy.deepcopy(self.processor)
        return other

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

    @property
    def open_labels(self) -> bool:
        """Whether any label set can be asked for, trained or not."""
        return self.model.open_labels

    @property
    def reads_captions(self) -> bool:
        """Whether :meth:`predict` takes `captions`."""
        return self.model.reads_captions and getattr(self.model.config, "use_captions", True)

    @property
    def reads_embedded_text(self) -> bool:
        """Whether text that stands in an image is read, for which images are best given in full size."""
        return self.text_reader is not None

    def check_target(
        self, emotion_model: str | EmotionModel | None = None, labels: Sequence[str] | None = None
    ) -> EmotionModel:
        """As :meth:`resolve_emotion_model`, and make sure that this checkpoint can tell those labels.

        Raises:
            DataError: if it cannot.
        """
        target = self.resolve_emotion_model(emotion_model, labels)
        self.source_for(target)
        return target

    def source_for(self, target: EmotionModel) -> EmotionModel:
        """The emotion model that the model predicts in; its distribution is then told in terms of `target`.

        A method that takes any labels (UGRIE) still goes by what it was trained on where a well-known emotion model,
        such as sentiment2, follows from that; it is asked directly about own labels and own words for them.

        Raises:
            DataError: if the model cannot tell the labels of `target` apart.
        """
        if self.model.open_labels and EMOTION_MODELS.get(target.name) != target:
            return target
        try:
            return self.model.config.source_for(target)
        except DataError:
            if self.model.open_labels:
                return target
            raise

    def predict(
        self,
        images: Sequence[Any],
        emotion_model: str | EmotionModel | None = None,
        labels: Sequence[str] | None = None,
        evidence: bool = False,
        batch_size: int = 32,
        captions: Sequence[str | None] | None = None,
        read_text: bool = True,
        progress: Callable[[int, Progress], None] | None = None,
    ) -> list[EmotionPrediction]:
        """Predictions for images, in order.

        Args:
            images: a list of anything [`open_image`] takes: PIL images, paths, bytes, file objects.
            emotion_model: a name or an `EmotionModel`, trained or not; the checkpoint's default one if left out.
            labels: own labels instead.
            evidence: also say which regions spoke for the top emotion; costs a backward pass.
            batch_size: images that the model sees at once; it changes speed and memory, not the result.
            captions: per image a caption that replaces the model's own, or `None` or a blank one for the model's own;
                for methods that read captions.
            read_text: whether text that stands in the images is read, where the method listens to it.
            progress: told about an image, by its index, what is known before its prediction is done.

        Raises:
            ImageError: if an image cannot be opened; use :meth:`predict_files` to go on past bad files.
            DataError: if the emotion model, the labels or the captions cannot be used.
        """
        images = _as_list(images)
        target = self._checked_target(emotion_model, labels, batch_size)
        texts = self._checked_captions(captions, len(images))
        predictions: list[EmotionPrediction] = []
        for start in range(0, len(images), batch_size):
            rows = slice(start, start + batch_size)
            report = None if progress is None else _from(start, progress)
            batch = []
            for image in images[rows]:
                batch.append(self._open(image, read_text))
                if report is not None and batch[-1].text is not None:
                    report(len(batch) - 1, Progress("read", {"embedded_text": batch[-1].text}))
            predictions += self._predict_batch(batch, target, evidence, texts[rows] if texts else None, report)
        return predictions

    @torch.inference_mode()
    def classify_texts(
        self,
        texts: Sequence[Any],
        emotion_model: str | EmotionModel | None = None,
        labels: Sequence[str] | None = None,
        evidence: bool = False,
        batch_size: int = 32,
    ) -> list[EmotionPrediction]:
        """Predictions from texts alone, without an image; for methods that decide from words (ACIEC).

        Args:
            texts: sentences as plain text, or [`TextParts`] with concepts, sentences and embedded text, each of which
                may be left out.
            emotion_model, labels, batch_size: as in :meth:`predict`.
            evidence: also say which words decided.

        Raises:
            DataError: if the method does not decide from words, or the emotion model or a text cannot be used.
        """
        if not hasattr(self.model, "text_batch"):
            raise DataError(f"{self.name} does not decide from words; choose the method aciec.")
        target, predictions = self._checked_target(emotion_model, labels, batch_size), []
        source, texts = self.source_for(target), _as_list(texts, "texts")
        for start in range(0, len(texts), batch_size):
            inputs = self.model.text_batch(texts[start : start + batch_size], self.processor, source)
            inputs["evidence"] = evidence
            output = self.model(**forward_inputs(inputs))
            probabilities = self._probabilities(output, inputs, source)
            explanations = self.model.explain(inputs, output, self.processor, probabilities.argmax(-1).tolist())
            predictions += self._assembled(probabilities, source, target, explanations)
        return predictions

    def predict_files(
        self,
        paths: Iterable[Any],
        emotion_model: str | EmotionModel | None = None,
        labels: Sequence[str] | None = None,
        evidence: bool = False,
        batch_size: int = 32,
        read_text: bool = True,
    ) -> Iterator[FilePrediction]:
        """Predictions for files, in order, each as soon as its batch is done; a bad file yields its error.

        The next batch is read, decoded and resized while the model works on the current one.

        Args:
            paths: files, or anything else that [`open_image`] takes; read to its end at once.
            emotion_model, labels, evidence, batch_size, read_text: as in :meth:`predict`.

        Raises:
            DataError: at once, if the emotion model or the labels cannot be used.
        """
        target = self._checked_target(emotion_model, labels, batch_size)
        files = [Path(path) if isinstance(path, str) else path for path in _as_list(paths)]
        return predictions_of_files(
            files,
            batch_size,
            lambda file: self._open(file, read_text),
            lambda opened: self._predict_batch(opened, target, evidence),
        )

    def _checked_target(
        self, emotion_model: str | EmotionModel | None, labels: Sequence[str] | None, batch_size: int
    ) -> EmotionModel:
        if batch_size < 1:
            raise DataError(f"A batch of {batch_size} images cannot be predicted; use a batch size of at least 1.")
        return self.check_target(emotion_model, labels)

    def _checked_captions(self, captions: Sequence[str | None] | None, images: int) -> list[str | None] | None:
        if captions is None:
            return None
        if not self.reads_captions:
            raise DataError(f"{self.name} does not read captions; leave them out, or choose the method escnet.")
        if isinstance(captions, str) or len(captions) != images:
            raise DataError(f"{images} images need a list of as many captions, with None for the model's own.")
        # Line breaks and control characters would be shown, written into tables and logged.
        return [None if text is None else joined_text([text]) for text in captions]

    def _open(self, source: Any, read_text: bool = True) -> OpenedImage:
        """The picture as the model and whatever else looks at it read it."""
        reader = self.text_reader if read_text else None
        return opened_image(source, self.processor.image_processor, reader, self.model.looks_at_images)

    def _predict_batch(
        self,
        opened: list[OpenedImage],
        target: EmotionModel,
        evidence: bool,
        captions: Sequence[str | None] | None = None,
        report: Callable[[int, Progress], None] | None = None,
    ) -> list[EmotionPrediction]:
        source, regions = self.source_for(target), None
        with torch.inference_mode(not evidence), torch.set_grad_enabled(evidence):
            images = [each.image for each in opened]
            inputs = BatchFeature(self.processor(images=images, emotion_models=source)).to(self.model.device)
            inputs["embedded_text"], inputs["evidence"] = [each.text for each in opened], evidence
            if self.model.looks_at_images:
                inputs["images"] = [each.larger for each in opened]
            if evidence:
                pixels = inputs["pixel_values"].requires_grad_()
                inputs["vision_features"] = self.model.get_image_features(pixels, evidence=True)
            inputs["report"] = report
            inputs = self.model.gather(inputs, self.processor, captions)
            for index, fields in enumerate(self.model.described(inputs) if report is not None else ()):
                report(index, Progress("described", fields))
            output = self.model(**forward_inputs(inputs))
            probabilities = self._probabilities(output, inputs, source)
            top = probabilities.argmax(dim=-1)
            if report is not None:
                without = BatchFeature({**inputs, "evidence": False})
                explanations = self.model.explain(without, output, self.processor, top.tolist())
                for index, decided in enumerate(self._assembled(probabilities, source, target, explanations)):
                    report(index, Progress("decided", prediction=decided))
            if evidence:
                score = self.model.evidence_score(inputs, top.tolist())
                score = top_score(probabilities, source, target) if score is None else score
                regions = region_evidence(score, inputs["vision_features"]).double().cpu().numpy()
        explanations = self.model.explain(inputs, output, self.processor, top.tolist())
        return self._assembled(probabilities, source, target, explanations, regions)

    def _assembled(
        self,
        probabilities: torch.Tensor,
        source: EmotionModel,
        target: EmotionModel,
        explanations: Sequence[dict[str, Any]],
        regions: np.ndarray | None = None,
    ) -> list[EmotionPrediction]:
        """Predictions from probabilities over `source` `(items, labels)` and what the method says about each item."""
        rows = probabilities.detach().double().cpu()
        rows = map_distribution((rows / rows.sum(-1, keepdim=True)).numpy(), source, target).tolist()
        # A threshold was fitted to one set of labels; what is added up from them follows the general rule.
        told = source.labels != target.labels
        rule = self.model.config.sure_rule(target if told else source)
        for row, explanation in zip(rows, explanations, strict=True):
            if told and explanation.get("template"):  # the sentence names what is most likely in other terms
                explanation["template"] = self.processor.fill_template(target, int(np.argmax(row)))
        return [
            EmotionPrediction(
                emotion_model=target.name,
                labels=target.labels,
                probabilities=tuple(row),
                method=self.method,
                evidence=joined_evidence(None if regions is None else regions[index], explanation),
                model=self.name,
                **rule,
                **explanation,
            )
            for index, (row, explanation) in enumerate(zip(rows, explanations, strict=True))
        ]

    def _probabilities(self, output: ImageEmotionOutput, inputs: BatchFeature, source: EmotionModel) -> torch.Tensor:
        logits = self.model.correct_logits(output.logits.float(), inputs, source)
        return self.model.config.calibrated_probabilities(logits, source)


def _from(start: int, progress: Callable[[int, Progress], None]) -> Callable[[int, Progress], None]:
    """`progress` for a batch that begins with image `start`."""
    return lambda index, known: progress(start + index, known)


def _as_list(given: Any, kind: str = "images") -> list[Any]:
    """A list of images or texts; one of them given alone would otherwise be read letter by letter."""
    alone = isinstance(given, str | os.PathLike | bytes | bytearray) or hasattr(given, "_fields")  # TextParts
    if alone or not isinstance(given, Iterable):
        raise DataError(f"One {type(given).__name__} is not a list of {kind}; put it into a list.")
    return list(given)


__all__ = ["DECODE_SIDE", "EMOTION_MODELS", "REASONER_SIDE", "EmotionPredictor", "FilePrediction"]

"""Taggers: any image classifier, any CLIP-like model and a facial expression net name what a picture shows.

torch and transformers are imported when a tagger is made, not before.
"""

from __future__ import annotations

import json
import logging
from collections.abc import Callable, Iterator, Mapping, Sequence
from functools import cached_property, lru_cache
from importlib.resources import files
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from iec_hub.affect.attributes import TAG_ATTRIBUTES, Tagger
from iec_hub.affect.faces import FacialExpressionTagger
from iec_hub.affect.hedging import LabelHierarchy, imagenet_columns, imagenet_hierarchy
from iec_hub.data.schema import joined_text
from iec_hub.errors import CheckpointError, DataError
from iec_hub.images import open_image
from iec_hub.prediction import Tag

if TYPE_CHECKING:
    import torch
    from PIL import Image

__all__ = [
    "ClassifierTagger",
    "FacialExpressionTagger",
    "ZeroShotTagger",
    "emoset_labels",
    "load_tagger",
]

logger = logging.getLogger(__name__)

# What CLIP-like models read for a label.
PROMPTS = {
    "scene": "a photo taken at this place: {}.",
    "object": "a photo of {}.",
    "facial_expression": "a photo of a person with {} face.",
    "human_action": "a photo of a person who is {}.",
}
# How labels are worded in the prompt where they are not simply their own words.
PROMPT_WORDS = {
    "facial_expression": {
        "angry": "an angry",
        "disgust": "a disgusted",
        "fear": "a frightened",
        "happy": "a happy",
        "sad": "a sad",
        "surprise": "a surprised",
    }
}
# These compete with the labels and are never said, so that a landscape has no facial expression.
NOTHING_PROMPTS = {
    "scene": ("a close-up of an object on a plain background.", "a portrait of a person."),
    "object": ("a photo of an empty landscape.", "a photo of people."),
    "facial_expression": ("a photo of a person with a neutral face.", "a photo without any people."),
    "human_action": ("a portrait of a person.", "a photo without any people.", "a photo of people standing around."),
}
MOST = {"scene": 1, "object": 3, "facial_expression": 1, "human_action": 1}


@lru_cache(maxsize=1)
def emoset_labels() -> dict[str, tuple[str, ...]]:
    """EmoSet's scenes, objects, facial expressions and human actions, as it spells them."""
    content = json.loads((files("iec_hub.affect") / "emoset_labels.json").read_text(encoding="utf-8"))
    return {attribute: tuple(content[attribute]) for attribute in TAG_ATTRIBUTES}


class ClassifierTagger:
    """Tags from an image classifier.

    A classifier of ImageNet's 1,000 classes names objects and scenes in everyday words, as specific as it is certain
    (:mod:`iec_hub.affect.hedging`). Another one names its own labels.

    With EfficientNet-lite2 and a `minimum` of 0.5, 76 of 180 validation photographs of OASIS, FI and Emotion6 got a
    name, and 53 of these (70 %) were true when read by eye: such photographs show much that ImageNet has no class for.

    Attributes:
        name: the checkpoint's, as source of the tags.
        attributes: what it names.

    Args:
        model: an `AutoModelForImageClassification` id or directory, or such a model.
        processor: its image processor; left out, that of the id or directory.
        attribute: what the labels of a classifier that is not ImageNet's are.
        minimum: least probability of a name.
        most: most names per picture.
        batch_size: pictures per forward pass.
        device: left out, the GPU where there is one, or where a given model is.

    Raises:
        CheckpointError: If the checkpoint cannot be loaded.
        DataError: If the attribute is unknown.
    """

    def __init__(
        self,
        model: Any,
        processor: Any = None,
        attribute: str = "object",
        minimum: float = 0.5,
        most: int = 3,
        batch_size: int = 32,
        device: Any = None,
        name: str | None = None,
    ) -> None:
        _check_attributes([attribute])
        self.model, self.processor, self.name = _loaded(
            "AutoModelForImageClassification", model, processor, "AutoImageProcessor", device, name
        )
        self.minimum, self.most, self.batch_size = minimum, most, batch_size
        config = self.model.config
        labels = [str(config.id2label[index]) for index in range(config.num_labels)]
        columns = imagenet_columns(labels)
        if columns is None:
            names = [_plain_label(label) for label in labels]
            self._hierarchy = LabelHierarchy(names, attributes=dict.fromkeys(names, attribute), source=self.name)
            self.attributes = frozenset((attribute,))
        else:
            self._hierarchy = imagenet_hierarchy(self.name)
            self.attributes = frozenset(("object", "scene"))
        self._columns = columns or slice(None)

    def tag(self, images: Sequence[Image.Image]) -> list[tuple[Tag, ...]]:
        """The names of each picture, most probable first; a picture that cannot be read has none."""
        found: list[tuple[Tag, ...]] = [()] * len(images)
        for indices, inputs in _batches(images, self._pixels, self.batch_size):
            probabilities = self._probabilities(inputs)[:, self._columns]
            for index, tags in zip(
                indices, self._hierarchy.hedge(probabilities, self.minimum, self.most), strict=True
            ):
                found[index] = tags
        return found

    def _pixels(self, image: Image.Image) -> Mapping[str, torch.Tensor]:
        return self.processor(images=image, return_tensors="pt")

    def _probabilities(self, inputs: Mapping[str, torch.Tensor]) -> np.ndarray:
        import torch

        with torch.inference_mode():
            logits = self.model(**_placed(inputs, self.model)).logits.double().cpu()
        several = self.model.config.problem_type == "multi_label_classification"
        return (logits.sigmoid() if several else logits.softmax(-1)).numpy()


class ZeroShotTagger:
    """Tags from a CLIP-like model, which compares a picture with the words of any label.

    The probability of a label is a softmax over its attribute's labels and some prompts for "none of these"
    (:data:`NOTHING_PROMPTS`), of the model's scaled cosine similarities.

    Attributes:
        name: the checkpoint's, as source of the tags.
        attributes: what it names.

    Args:
        model: an `AutoModelForZeroShotImageClassification` id or directory, or such a model.
        processor: its processor; left out, that of the id or directory.
        labels: attribute -> labels; left out, EmoSet's.
        prompts: attribute -> sentence with ``{}`` for the label; those left out are :data:`PROMPTS`.
        minimum: least probability of a label.
        batch_size: pictures or sentences per forward pass.
        device: left out, the GPU where there is one, or where a given model is.

    Raises:
        CheckpointError: If the checkpoint cannot be loaded.
        DataError: If an attribute is unknown, has no labels, or a prompt has no place for the label.
    """

    def __init__(
        self,
        model: Any,
        processor: Any = None,
        labels: Mapping[str, Sequence[str]] | None = None,
        prompts: Mapping[str, str] | None = None,
        minimum: float = 0.3,
        batch_size: int = 32,
        device: Any = None,
        name: str | None = None,
    ) -> None:
        labels = emoset_labels() if labels is None else labels
        self.prompts = PROMPTS | dict(prompts or {})
        _check_attributes([*labels, *self.prompts])
        self.labels = {attribute: tuple(dict.fromkeys(labels[attribute])) for attribute in labels}
        for attribute, names in self.labels.items():
            if not names:
                raise DataError(f"There are no labels of {attribute}; give at least one or leave the attribute out.")
            if self.prompts[attribute].count("{}") != 1:
                raise DataError(f"The prompt of {attribute} has no place for the label; write {{}} once in it.")
        self.model, self.processor, self.name = _loaded(
            "AutoModelForZeroShotImageClassification", model, processor, "AutoProcessor", device, name
        )
        self.minimum, self.batch_size = minimum, batch_size
        self.attributes = frozenset(self.labels)

    def sentences(self, attribute: str) -> list[str]:
        """What the model reads for an attribute: a sentence per label, then those for "none of these"."""
        words = PROMPT_WORDS.get(attribute, {})
        filled = [
            self.prompts[attribute].replace("{}", words.get(label, label.replace("_", " ")))
            for label in self.labels[attribute]
        ]
        return [*filled, *NOTHING_PROMPTS[attribute]]

    @cached_property
    def _texts(self) -> dict[str, torch.Tensor]:
        """Attribute -> unit embeddings of its sentences, ``(sentences, width)``; read once."""
        import torch

        # SigLIP was trained on texts that are filled up to the full length.
        padding = "max_length" if "siglip" in self.model.config.model_type else True
        embedded = {}
        for attribute in self.labels:
            sentences, parts = self.sentences(attribute), []
            for start in range(0, len(sentences), self.batch_size):
                tokens = self.processor(
                    text=sentences[start : start + self.batch_size],
                    return_tensors="pt",
                    padding=padding,
                    truncation=True,
                )
                with torch.inference_mode():
                    parts.append(_unit(self.model.get_text_features(**_placed(tokens, self.model))))
            embedded[attribute] = torch.cat(parts)
        return embedded

    def tag(self, images: Sequence[Image.Image]) -> list[tuple[Tag, ...]]:
        """The labels of each picture, most probable first; a picture that cannot be read has none."""
        found: list[tuple[Tag, ...]] = [()] * len(images)
        for indices, inputs in _batches(images, self._pixels, self.batch_size):
            for index, tags in zip(indices, self._tags(inputs), strict=True):
                found[index] = tags
        return found

    def _pixels(self, image: Image.Image) -> Mapping[str, torch.Tensor]:
        return self.processor(images=image, return_tensors="pt")

    def _tags(self, inputs: Mapping[str, torch.Tensor]) -> list[tuple[Tag, ...]]:
        import torch

        with torch.inference_mode():
            images = _unit(self.model.get_image_features(**_placed(inputs, self.model)))
            scale = self.model.logit_scale.exp()
            shares = {
                attribute: (scale * images @ texts.T).softmax(-1).double().cpu().numpy()
                for attribute, texts in self._texts.items()
            }
        return [
            tuple(
                sorted(
                    (tag for attribute in shares for tag in self._best(attribute, shares[attribute][row])),
                    key=lambda tag: -tag.confidence,
                )
            )
            for row in range(len(images))
        ]

    def _best(self, attribute: str, shares: np.ndarray) -> Iterator[Tag]:
        names = self.labels[attribute]
        for index in np.argsort(-shares[: len(names)], kind="stable")[: MOST[attribute]]:
            if shares[index] >= self.minimum:
                yield Tag(attribute, names[index], float(min(shares[index], 1.0)), self.name)


def load_tagger(spec: str) -> Tagger:
    """A tagger by its description: ``"classifier:ID_OR_DIR"``, ``"zero-shot:ID_OR_DIR"`` or ``"faces"``.

    Raises:
        DataError: If the description is another, or packages are missing.
        CheckpointError: If the checkpoint cannot be loaded.
    """
    kind, _, checkpoint = spec.strip().partition(":")
    checkpoint = checkpoint.strip()
    if kind == "faces" and not checkpoint:
        return FacialExpressionTagger()
    makers: dict[str, Callable[[str], Tagger]] = {"classifier": ClassifierTagger, "zero-shot": ZeroShotTagger}
    if kind not in makers or not checkpoint:
        shown = joined_text([spec[:80]]) or ""
        raise DataError(f"{shown!r} is no tagger; give classifier:ID_OR_DIR, zero-shot:ID_OR_DIR or faces.")
    return makers[kind](checkpoint)


def _loaded(
    auto_model: str, model: Any, processor: Any, auto_processor: str, device: Any, name: str | None
) -> tuple[Any, Any, str]:
    """A model in evaluation mode on its device, its processor and its name; loaded where `model` is no model yet."""
    import transformers
    from safetensors import SafetensorError

    from iec_hub.checkpoint_loading import usable_device

    if isinstance(model, str | Path):
        path = str(model)
        try:
            loaded, report = getattr(transformers, auto_model).from_pretrained(
                path, use_safetensors=True, output_loading_info=True
            )
            processor = processor or getattr(transformers, auto_processor).from_pretrained(path)
        except (OSError, ValueError, KeyError, TypeError, RuntimeError, ImportError, SafetensorError) as error:
            reason = " ".join(str(error).split())[:300].rstrip(".")
            raise CheckpointError(
                f"{path!r} could not be loaded as a tagger; give a directory or a reachable Hub id ({reason})."
            ) from error
        # transformers fills what is missing with random numbers, which would name random things.
        if report["missing_keys"]:
            raise CheckpointError(f"{path!r} lacks weights of a tagger; give a checkpoint with its trained head.")
        name = name or (Path(path).resolve().name if Path(path).is_dir() else path)
        return loaded.eval().to(usable_device(device)), processor, name
    if processor is None:
        raise DataError("A model without its processor cannot read pictures; give both, or the checkpoint's name.")
    name = name or Path(str(model.config.name_or_path or model.config.model_type)).name
    return (model.eval() if device is None else model.eval().to(usable_device(device))), processor, name


def _batches(
    images: Sequence[Image.Image], prepare: Callable[[Image.Image], Mapping[str, Any]], size: int
) -> Iterator[tuple[list[int], dict[str, Any]]]:
    """Indices and joined inputs of the pictures, at most `size` at once, without those that cannot be read."""
    import torch

    indices: list[int] = []
    inputs: list[Mapping[str, Any]] = []
    for index, image in enumerate(images):
        try:
            inputs.append(prepare(open_image(image)))
            indices.append(index)
        # ImageError is one; a processor refuses the odd picture, of one pixel for example, with another.
        except (ValueError, OSError) as error:
            logger.warning("Picture %d gets no tags, it cannot be read: %s", index, error)
        if indices and (len(indices) == size or index == len(images) - 1):
            yield indices, {key: torch.cat([each[key] for each in inputs]) for key in inputs[0]}
            indices, inputs = [], []


def _placed(inputs: Mapping[str, torch.Tensor], model: Any) -> dict[str, torch.Tensor]:
    """The inputs where the model is, floats in its precision."""
    return {
        key: value.to(model.device, model.dtype) if value.is_floating_point() else value.to(model.device)
        for key, value in inputs.items()
    }


def _unit(features: Any) -> torch.Tensor:
    """Features of length 1, from a tensor or from an output that pools them."""
    features = getattr(features, "pooler_output", features)
    return features / features.norm(dim=-1, keepdim=True)


def _plain_label(label: str) -> str:
    """The first of a label's synonyms, in words."""
    return joined_text([label.split(",")[0].replace("_", " ")]) or label


def _check_attributes(attributes: Sequence[str]) -> None:
    for attribute in attributes:
        if attribute not in TAG_ATTRIBUTES:
            raise DataError(f"There is no such attribute to name; give one of {', '.join(TAG_ATTRIBUTES)}.")

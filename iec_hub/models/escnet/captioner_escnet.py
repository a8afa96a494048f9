"""Captioners: a small one that names what it detects, and any image-to-text generator of transformers."""

# No `from __future__ import annotations`: @strict checks the fields' types, and skips those it finds as text.
from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

import numpy as np
import torch
from huggingface_hub.dataclasses import strict
from torch import nn
from transformers import AutoModelForImageTextToText, PreTrainedConfig, PreTrainedModel
from transformers import initialization as init

from iec_hub.affect.attributes import ATTRIBUTES, ImageAttributes
from iec_hub.affect.captions import GUESS, compose_caption
from iec_hub.affect.hedging import imagenet_hierarchy
from iec_hub.errors import DataError
from iec_hub.models.feature_norm import PowerNorm, build_feature_norm
from iec_hub.models.image_emotion import VisionFeatures
from iec_hub.prediction import Tag

_DETECTED = tuple(name for name in ATTRIBUTES if name not in ("brightness", "colorfulness"))


@strict
class AttributeCaptionerConfig(PreTrainedConfig):
    r"""
    Configuration of [`AttributeCaptioner`].

    Args:
        labels (`list[dict]`, *optional*):
            What the detector knows: each with `label`, `attribute` (one of EmoSet's), `threshold`, the probability
            from which it is told, and optionally `guess`, from which it is guessed where nothing is told; `implies`,
            more general labels that need not be told beside it; `classes`, the first and last ImageNet class that are
            kinds of it.
        emotions (`list[str]`, *optional*):
            Emotions of which the most probable one ends the caption; none if left out, because with it the captioner
            half-decides what the classifier shall decide.
        pooled_size (`int`, *optional*, defaults to 768), feature_norm (`str`, *optional*, defaults to `"none"`):
            The pooled image that the detector reads, as in [`EscnetConfig`].
        classifier_size (`int`, *optional*, defaults to 0):
            Width of the last layer that an ImageNet classifier reads beside the detector; 0 leaves it out.
        classifier_minimum (`float`, *optional*, defaults to 0.5):
            Summed probability from which a class, or what it is a kind of, is told.
        classifier_guess (`float`, *optional*, defaults to 0.35):
            The same for guesses.
        most_objects (`int`, *optional*, defaults to 3):
            Objects in a caption.
    """

    model_type = "attribute_captioner"

    labels: list | tuple = ()
    emotions: list | tuple = ()
    pooled_size: int = 768
    feature_norm: str = "none"
    classifier_size: int = 0
    classifier_minimum: float = 0.5
    classifier_guess: float = 0.35
    most_objects: int = 3

    def __post_init__(self, **kwargs):
        super().__post_init__(**kwargs)
        for entry in self.labels:
            if not _is_label(entry):
                raise DataError(
                    f"A label of the captioner needs 'label' and 'attribute' (one of {', '.join(_DETECTED)}), and its "
                    "'threshold' and 'guess' are numbers from 0 to 1; correct the configuration."
                )


def _is_label(entry: Any) -> bool:
    """Whether an entry of a configuration, which may be anybody's, can be told in a caption."""
    if not isinstance(entry, dict) or entry.get("attribute") not in _DETECTED:
        return False
    label, implied, classes = entry.get("label"), entry.get("implies") or (), entry.get("classes") or (0, 0)
    numbers = (entry.get("threshold", 0.5), entry.get("guess", 0.5))
    if not all(isinstance(number, int | float) and 0 <= number <= 1 for number in numbers):
        return False
    if not all(isinstance(part, list | tuple) for part in (implied, classes)):
        return False
    if len(classes) != 2 or not all(isinstance(index, int) for index in classes):
        return False
    # A caption is one line, and it is shown, logged and written into tables.
    return isinstance(label, str) and bool(label.strip()) and label.isprintable()


class AttributeCaptioner(PreTrainedModel):
    """Detects emotional attributes and says what it is sure of, in one sentence.

    It reads what the classifier's vision tower has seen anyway. A word detector (as in Fang et al., "From captions to
    visual concepts and back", CVPR 2015) tells what human captions told about training images; an ImageNet classifier
    names objects as precisely as it dares (see [`~iec_hub.affect.hedging.hedge`]).
    """

    config: AttributeCaptionerConfig
    config_class = AttributeCaptionerConfig
    base_model_prefix = "attribute_captioner"
    main_input_name = "pooled"
    # Names that end as no other module's do: PEFT finds what is trained in full by how names end, and "classifier"
    # and "feature_norm" are parts of the models around this one.
    _keep_in_fp32_modules = ["pooled_norm", "detector", "emotion_head", "object_head"]

    def __init__(self, config: AttributeCaptionerConfig):
        super().__init__(config)
        self.pooled_norm = build_feature_norm(config.feature_norm, config.pooled_size)
        self.detector = nn.Linear(config.pooled_size, len(config.labels))
        # CODEPATH: the ablation whose captions name an emotion.
        if config.emotions:
            self.emotion_head = nn.Linear(config.pooled_size, len(config.emotions))
        # CODEPATH: without an ImageNet head the detector alone speaks.
        if config.classifier_size:
            self.hierarchy = imagenet_hierarchy("imagenet")
            self.object_head = nn.Linear(config.classifier_size, len(self.hierarchy.members))
        self.post_init()

    @torch.no_grad()
    def _init_weights(self, module: nn.Module) -> None:
        super()._init_weights(module)
        if isinstance(module, PowerNorm):
            init.zeros_(module.mean)
            init.ones_(module.scale)

    @property
    def feature_norm(self) -> nn.Module:
        return self.pooled_norm

    @property
    def classifier(self) -> nn.Module:
        return self.object_head

    def forward(self, pooled: torch.Tensor) -> torch.Tensor:
        """Pooled images `(batch, pooled size)` to the detector's logits `(batch, labels)`."""
        return self._read(self.detector, pooled)

    def _read(self, layer: nn.Linear, pooled: torch.Tensor) -> torch.Tensor:
        """What a layer says about normed images; the norm may be kept in float32 where the layer is not."""
        return layer(self.pooled_norm(pooled.to(layer.weight.dtype)).to(layer.weight.dtype))

    @torch.no_grad()
    def describe(
        self, pooled: torch.Tensor, brightness: Sequence[float | None], colorfulness: Sequence[float | None]
    ) -> list[ImageAttributes]:
        """The attributes of images, each with its confidence and source.

        Args:
            pooled: `(batch, pooled size)`, the last layer's channels first.
            brightness, colorfulness: per image, computed from its pixels; `None` where unknown.
        """
        scores = self(pooled).float().sigmoid().cpu().tolist()
        classes = self._class_probabilities(pooled)
        named = self._named(classes, self.config.classifier_minimum)
        guesses = self._named(classes, self.config.classifier_guess)
        found = []
        for i, light in enumerate(brightness):
            tags = self._joined(self._detected(scores[i], "threshold"), named[i])
            tags = tags or self._guessed(scores[i], guesses[i])
            found.append(ImageAttributes(light, colorfulness[i], tags))
        return found

    @torch.no_grad()
    def emotion_words(self, pooled: torch.Tensor) -> list[str | None]:
        """The emotion that ends each image's caption, or `None` for captions without."""
        # CODEPATH: as in __init__.
        if not self.config.emotions:
            return [None] * len(pooled)
        top = self._read(self.emotion_head, pooled).argmax(-1).tolist()
        return [str(self.config.emotions[index]) for index in top]

    def captions(self, pooled: torch.Tensor, found: Sequence[ImageAttributes], seeds: Sequence[Any]) -> list[str]:
        """One sentence per image of what was found; a seed of `None` gives the plain wording."""
        words = self.emotion_words(pooled)
        return [compose_caption(*item) for item in zip(found, words, seeds, strict=True)]

    def _detected(self, scores: Sequence[float], threshold: str) -> list[Tag]:
        return [
            Tag(entry["attribute"], entry["label"], round(score, 4), "detector")
            for entry, score in zip(self.config.labels, scores, strict=True)
            if score >= entry.get(threshold, 1.0)
        ]

    def _class_probabilities(self, pooled: torch.Tensor) -> np.ndarray | None:
        # CODEPATH: as in __init__.
        if not self.config.classifier_size:
            return None
        dtype = self.object_head.weight.dtype
        logits = self.object_head(pooled[:, : self.config.classifier_size].to(dtype))
        return logits.float().softmax(-1).cpu().numpy()

    def _named(
        self, classes: np.ndarray | None, minimum: float
    ) -> Mapping[int, tuple[Tag, ...]] | Sequence[tuple[Tag, ...]]:
        return defaultdict(tuple) if classes is None else self.hierarchy.hedge(classes, minimum)

    def _guessed(self, scores: Sequence[float], named: Sequence[Tag]) -> tuple[Tag, ...]:
        """The surest guess, if there is any: one that is right half of the time."""
        tags = self._detected(scores, "guess") or list(named)
        return tuple(replace(tag, source=GUESS) for tag in sorted(tags, key=lambda tag: -tag.confidence)[:1])

    def _joined(self, detected: Sequence[Tag], named: Sequence[Tag]) -> tuple[Tag, ...]:
        """Both voices without repetition or what is implied by something more special, at most so many objects."""
        implied = {general for tag in detected for general in self._implied[tag.label]}
        if named:
            nodes, within = self.hierarchy.names, self.hierarchy.within
            for tag in named:
                node = nodes.index(tag.label)
                implied.update(nodes[i] for i in within[node].nonzero()[0])
                kinds = self.hierarchy.members[:, node].nonzero()[0]
                implied.update(
                    entry["label"]
                    for entry in self.config.labels
                    if entry.get("classes") and entry["classes"][0] <= kinds[0] and kinds[-1] <= entry["classes"][1]
                )
        tags: dict[str, Tag] = {}
        for tag in sorted([*detected, *named], key=lambda tag: -tag.confidence):
            if tag.label not in implied:
                tags.setdefault(tag.label, tag)
        objects = [tag for tag in tags.values() if tag.attribute == "object"][: self.config.most_objects]
        return tuple(tag for tag in tags.values() if tag.attribute != "object" or tag in objects)

    @property
    def _implied(self) -> dict[str, Sequence[str]]:
        return {entry["label"]: entry.get("implies", ()) for entry in self.config.labels}


def build_captioner(config: PreTrainedConfig) -> PreTrainedModel:
    """The captioner of a configuration, with random weights."""
    if isinstance(config, AttributeCaptionerConfig):
        return AttributeCaptioner(config)
    if type(config) not in AutoModelForImageTextToText._model_mapping:
        raise DataError(
            f"The captioner is of type {config.model_type!r}, which does not write about images; use blip, git, "
            "attribute_captioner or another image-to-text generator."
        )
    return AutoModelForImageTextToText.from_config(config)


def generate_ids(
    captioner: PreTrainedModel, pixel_values: torch.Tensor | None, features: VisionFeatures | None, **settings: object
) -> torch.Tensor:
    """Token ids of captions by a generator.

    Args:
        pixel_values: `(batch, 3, height, width)`, resized to what the captioner's own tower reads.
        features: what the captioner's own tower said about the images; with BLIP it is not run a second time.

    Raises:
        DataError: if images are needed and not given.
    """
    if features is None or features.hidden is None or captioner.config.model_type != "blip":
        if pixel_values is None:
            raise DataError(f"A captioner of type {captioner.config.model_type!r} needs images; give pixel_values.")
        return captioner.generate(pixel_values=fitted(pixel_values, captioner.config).to(captioner.dtype), **settings)
    # The steps of BlipForConditionalGeneration.generate after its vision tower.
    text = captioner.config.text_config
    hidden = features.hidden
    begin = torch.full((len(hidden), 1), text.bos_token_id, dtype=torch.long, device=hidden.device)
    return captioner.text_decoder.generate(
        input_ids=begin,
        eos_token_id=text.sep_token_id,
        pad_token_id=text.pad_token_id,
        encoder_hidden_states=hidden,
        encoder_attention_mask=torch.ones(hidden.shape[:2], dtype=torch.long, device=hidden.device),
        **settings,
    )


def fitted(pixel_values: torch.Tensor, config: PreTrainedConfig) -> torch.Tensor:
    """Images in the size of a captioner's own tower: they were cut for the classifier's, which may read another."""
    vision = getattr(config, "vision_config", None) or getattr(config, "encoder", None)
    size = getattr(vision, "image_size", None)
    size = (size, size) if isinstance(size, int) else tuple(size or pixel_values.shape[-2:])
    if tuple(pixel_values.shape[-2:]) == size:
        return pixel_values
    return nn.functional.interpolate(pixel_values.float(), size, mode="bicubic", align_corners=False, antialias=True)


__all__ = ["AttributeCaptioner", "AttributeCaptionerConfig", "build_captioner", "fitted", "generate_ids"]

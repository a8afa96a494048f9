"""What the configurations of the three methods share: emotion models, calibration and the rule of `uncertain`."""

# No `from __future__ import annotations`: @strict checks the fields' types, and skips those it finds as text.
from collections.abc import Sequence
from contextlib import suppress
from typing import Any

import numpy as np
from huggingface_hub.dataclasses import strict
from huggingface_hub.errors import StrictDataclassError
from transformers import PreTrainedConfig

from iec_hub.emotions import EMOTION_MODELS, EmotionModel, get_emotion_model, map_distribution
from iec_hub.errors import DataError, EmotionMappingError
from iec_hub.prediction import SURE_CONFIDENCE, SURE_RATIO

# What is fitted on validation after the training and belongs to the labels that it was fitted for.
CALIBRATION_FIELDS = ("temperatures", "label_offsets", "sure_thresholds", "sure_coverage")
# Fields that __post_init__ brings into their stored form.
_NORMALISED = ("emotion_models", "templates", *CALIBRATION_FIELDS)


def _emotion_model(given: Any) -> EmotionModel:
    """An emotion model from how a configuration may hold it: a dictionary, a name, the object or a list of labels."""
    return EmotionModel.from_dict(given) if isinstance(given, dict) else get_emotion_model(given)


def _without_foreign_calibration(stored: dict[str, Any], emotion_models: Sequence[Any]) -> dict[str, Any]:
    """A stored configuration without the offsets and thresholds of labels that `emotion_models` replaces."""
    before = {model.name: model.labels for model in map(_emotion_model, stored["emotion_models"])}
    same = {model.name for model in map(_emotion_model, emotion_models) if before.get(model.name) == model.labels}
    kept = {
        field: {name: value for name, value in stored[field].items() if name in same}
        for field in ("label_offsets", "sure_thresholds")
        if isinstance(stored.get(field), dict)
    }
    return {**stored, **kept}


@strict
class ImageEmotionConfig(PreTrainedConfig):
    r"""
    Fields of every image emotion model.

    Args:
        emotion_models (`list`, *optional*):
            The emotion models the checkpoint was trained on, as names, [`EmotionModel`]s or what
            [`EmotionModel.to_dict`] writes, which is what is stored; the first is the default one. Left out: Mikels'
            eight.
        temperatures (`dict[str, float]`, *optional*):
            Emotion model name to the temperature that divides its logits, fitted on validation; 1 where absent.
        label_offsets (`dict[str, list[float]]`, *optional*):
            Emotion model name to what is added to its labels' logits after the temperature, one number per label,
            fitted on validation; 0 where absent.
        sure_thresholds (`dict[str, float]`, *optional*):
            Emotion model name to the confidence from which on a prediction is sure, fitted on validation. Where
            absent, `sure_confidence` and `sure_ratio` decide.
        sure_coverage (`float`, *optional*):
            The share of the validation pictures that the thresholds were fitted to call sure.
        sure_confidence (`float`, *optional*, defaults to 0.5), sure_ratio (`float`, *optional*, defaults to 2.0):
            The rule of [`EmotionPrediction.uncertain`] without a threshold.
        vision_feature_layers (`list[int]`, *optional*):
            Hidden states of the vision tower whose mean and deviation over places are joined to the pooled image.
        pooled_size (`int`, *optional*):
            Width of the pooled image with those; the vision tower's own width if left out.
        feature_norm (`str`, *optional*, defaults to `"none"`):
            `"power"` takes the signed square root of the pooled image and standardises it with statistics of the
            training images, which suits frozen convolutional features; `"none"` leaves it as it is.
    """

    model_type = ""

    emotion_models: list | tuple | None = None
    temperatures: dict[str, float | int] | None = None
    label_offsets: dict[str, list[float | int] | tuple[float | int, ...]] | None = None
    sure_thresholds: dict[str, float | int] | None = None
    sure_coverage: float | int | None = None
    sure_confidence: float | int = SURE_CONFIDENCE
    sure_ratio: float | int = SURE_RATIO
    vision_feature_layers: list[int] | tuple[int, ...] = ()
    pooled_size: int | None = None
    feature_norm: str = "none"

    def __post_init__(self, **kwargs):
        self._store_emotion_models(self.emotion_models or [EMOTION_MODELS["mikels8"]])
        self._store_calibration()
        super().__post_init__(**kwargs)
        if self.feature_norm not in ("none", "power"):
            raise DataError(f"feature_norm is {self.feature_norm!r}; use 'none' or 'power'.")
        if self.vision_feature_layers and self.pooled_size is None:
            raise DataError("vision_feature_layers widen the pooled image; give its width as pooled_size.")

    def set_emotion_models(self, emotion_models: Sequence[Any]) -> None:
        """Store the emotion models in their stored form, and forget what was fitted for labels that are gone."""
        before = self.trained_emotion_models
        self._store_emotion_models(emotion_models)
        self._keep_fitted(before)

    def _keep_fitted(self, before: dict[str, EmotionModel]) -> None:
        """Keep offsets and thresholds only where the labels that they were fitted for are still there."""
        now = self.trained_emotion_models
        same = {name for name, model in now.items() if name in before and before[name].labels == model.labels}
        self.label_offsets = {name: values for name, values in self.label_offsets.items() if name in same}
        self.sure_thresholds = {name: value for name, value in self.sure_thresholds.items() if name in same}

    def _store_calibration(self) -> None:
        """Bring what was fitted into its stored form.

        Raises:
            DataError: if a value cannot have been fitted.
        """
        self.temperatures = {str(name): float(value) for name, value in (self.temperatures or {}).items()}
        offsets = (self.label_offsets or {}).items()
        self.label_offsets = {str(name): [float(value) for value in values] for name, values in offsets}
        self.sure_thresholds = {str(name): float(value) for name, value in (self.sure_thresholds or {}).items()}
        for name, temperature in self.temperatures.items():
            if not 0 < temperature < float("inf"):
                raise DataError(f"The temperature of {name} is {temperature}; give a positive number.")
        trained = self.trained_emotion_models
        for name, values in self.label_offsets.items():
            if not np.isfinite(values).all() or (name in trained and len(values) != len(trained[name])):
                raise DataError(f"The label_offsets of {name} do not fit its labels; give one finite number for each.")
        for share in (*self.sure_thresholds.values(), 1.0 if self.sure_coverage is None else self.sure_coverage):
            if not 0 <= share <= 1:
                raise DataError(f"A value of sure_thresholds or sure_coverage is {share}; give shares from 0 to 1.")

    def _store_emotion_models(self, emotion_models: Sequence[Any]) -> None:
        models = [_emotion_model(given) for given in emotion_models]
        self.emotion_models = [model.to_dict() for model in models]
        # What generic tools show as this model's labels: those of the default emotion model, whatever was stored.
        self.id2label = dict(enumerate(models[0].labels))
        self.label2id = {label: index for index, label in enumerate(models[0].labels)}

    @classmethod
    def from_dict(cls, config_dict: dict[str, Any], **kwargs: Any):
        """As in transformers; what overrides a stored field goes through the same checks as in a new configuration.

        Raises:
            DataError: if a field is of the wrong kind or value.
        """
        given = {name: kwargs.pop(name) for name in _NORMALISED if name in kwargs}
        try:
            if given.get("emotion_models") and config_dict.get("emotion_models"):
                config_dict = _without_foreign_calibration(config_dict, given["emotion_models"])
            return super().from_dict({**config_dict, **given}, **kwargs)
        except StrictDataclassError as error:
            reason = " ".join(str(error).split())
            raise DataError(f"The configuration cannot be read; correct its field ({reason}).") from error

    @property
    def trained_emotion_models(self) -> dict[str, EmotionModel]:
        """Name to emotion model, in training order."""
        models = [_emotion_model(given) for given in self.emotion_models or ()]
        return {model.name: model for model in models}

    @property
    def known_emotion_models(self) -> set[str]:
        """Names that `resolve_emotion_model` understands."""
        return {*self.trained_emotion_models, *EMOTION_MODELS}

    def is_trained(self, emotion_model: EmotionModel) -> bool:
        """Whether these very labels were trained, whatever the name."""
        return any(model.labels == emotion_model.labels for model in self.trained_emotion_models.values())

    def source_for(self, target: EmotionModel) -> EmotionModel:
        """The trained emotion model whose predictions can be told in terms of `target`: itself where it was trained.

        Else the first one that leads to all of its labels, or to all but neutral where none does.

        Raises:
            DataError: if there is none.
        """
        trained = self.trained_emotion_models
        for model in trained.values():
            if model.labels == target.labels:
                return model
        missing: dict[str, set[str | None]] = {}
        for model in trained.values():
            with suppress(EmotionMappingError):
                reached = map_distribution(np.full(len(model), 1 / len(model)), model, target) > 0
                # A label that nothing leads to would always get nothing.
                pairs = zip(reached, target.polarities, strict=True)
                missing[model.name] = {polarity for there, polarity in pairs if not there}
        for allowed in (set(), {"neutral"}):
            for name, polarities in missing.items():
                if polarities <= allowed:
                    return trained[name]
        asked = f"the labels {', '.join(target.labels[:4])}..." if target.name == "custom" else target.name
        raise DataError(
            f"This model knows {', '.join(trained)} and cannot tell {asked}; choose one of those, or a method that "
            "takes any labels (ugrie)."
        )

    def resolve_emotion_model(self, emotion_model: str | EmotionModel | Sequence[str] | None) -> EmotionModel:
        """The emotion model meant: `None` is the default one; a trained one's own label words win over the stock ones.

        A list of exactly the labels that were trained, in any order, means that emotion model.

        Raises:
            DataError: for an unknown name or an impossible list of labels.
        """
        trained = self.trained_emotion_models
        if emotion_model is None:
            return next(iter(trained.values()))
        if isinstance(emotion_model, str) and emotion_model in trained:
            return trained[emotion_model]
        found = get_emotion_model(emotion_model)
        if not isinstance(emotion_model, str | EmotionModel):
            # The very labels that were trained, in another order, are still those: with their words and calibration.
            same = (model for model in trained.values() if set(model.labels) == set(found.labels))
            return next(same, found)
        return found

    def temperature_for(self, emotion_model: EmotionModel) -> float:
        """Temperature fitted for an emotion model; where none was fitted, the mean of the fitted ones, else 1."""
        temperatures = self.temperatures or {}
        if emotion_model.name in temperatures:
            return temperatures[emotion_model.name]
        return sum(temperatures.values()) / len(temperatures) if temperatures else 1.0

    def _fitted(self, emotion_model: EmotionModel, values: dict[str, Any] | None) -> Any:
        """What was fitted for these very labels, else `None`: under a known name may come other labels."""
        trained = self.trained_emotion_models.get(emotion_model.name)
        if trained is None or trained.labels != emotion_model.labels:
            return None
        return (values or {}).get(emotion_model.name)

    def calibrated_probabilities(self, logits: Any, emotion_model: EmotionModel) -> Any:
        """What every prediction and every measurement goes through: softmax(logits / temperature + offsets).

        Args:
            logits: a tensor `(..., labels)` over the labels of `emotion_model`; `-inf` where a label is no candidate.
            emotion_model: decides which temperature and offsets apply.

        Returns:
            A tensor of the same shape, in float32 or better; the last dimension sums to 1.
        """
        logits = logits.float() if logits.dtype.itemsize < 4 else logits
        scaled = logits / self.temperature_for(emotion_model)
        offsets = self._fitted(emotion_model, self.label_offsets)
        return (scaled if offsets is None else scaled + scaled.new_tensor(offsets)).softmax(-1)

    def sure_rule(self, emotion_model: EmotionModel) -> dict[str, float | None]:
        """The rule of `uncertain` for an emotion model, as fields of [`EmotionPrediction`]."""
        threshold = self._fitted(emotion_model, self.sure_thresholds)
        return {
            "sure_confidence": self.sure_confidence,
            "sure_ratio": self.sure_ratio,
            "sure_threshold": threshold,
            "sure_coverage": None if threshold is None else self.sure_coverage,
        }


@strict
class ClassifierConfig(ImageEmotionConfig):
    """Of models whose classifier has columns of its own for every emotion model."""

    @classmethod
    def from_dict(cls, config_dict: dict[str, Any], **kwargs: Any):
        """As in the base class.

        Raises:
            DataError: if other emotion models have as many labels as the stored ones, so that their columns of the
                classifier would be taken for each other's unnoticed.
        """
        result = super().from_dict(config_dict, **kwargs)
        if kwargs.get("emotion_models") and config_dict.get("emotion_models"):
            stored, new = super().from_dict(config_dict), result[0] if isinstance(result, tuple) else result
            before, after = ([m.labels for m in c.trained_emotion_models.values()] for c in (stored, new))
            if before != after and sum(map(len, before)) == sum(map(len, after)):
                raise DataError(
                    f"The checkpoint's classifier has as many columns for other labels ({', '.join(before[0])}...); "
                    "load it as it is and give it new emotion models with set_emotion_models."
                )
        return result

    @property
    def label_columns(self) -> dict[str, slice]:
        """Emotion model name to its columns of the classifier."""
        columns, start = {}, 0
        for name, model in self.trained_emotion_models.items():
            columns[name] = slice(start, start + len(model))
            start += len(model)
        return columns


__all__ = ["CALIBRATION_FIELDS", "ClassifierConfig", "ImageEmotionConfig"]

"""What the configurations of the three methods share: emotion models, calibration and the rule of `uncertain`."""

from __future__ import annotations

from collections.abc import Sequence

from transformers import PreTrainedConfig

from iec_hub.emotions import EMOTION_MODELS, EmotionModel, get_emotion_model
from iec_hub.prediction import SURE_CONFIDENCE, SURE_RATIO


class ImageEmotionConfig(PreTrainedConfig):
    r"""
    Fields of every image emotion model.

    Args:
        emotion_models (`list[dict]`, *optional*):
            The emotion models the checkpoint was trained on, as [`EmotionModel.to_dict`] writes them; the first is
            the default one. Left out: Mikels' eight.
        temperatures (`dict[str, float]`, *optional*):
            Emotion model name to the temperature that divides its logits, fitted on validation; 1 where absent.
        sure_confidence (`float`, *optional*, defaults to 0.5), sure_ratio (`float`, *optional*, defaults to 2.0):
            The rule of [`EmotionPrediction.uncertain`].
    """

    model_type = ""

    emotion_models: list[dict] | tuple[dict, ...] | None = None
    temperatures: dict[str, float] | None = None
    sure_confidence: float = SURE_CONFIDENCE
    sure_ratio: float = SURE_RATIO

    def __post_init__(self, **kwargs):
        models = self.emotion_models or [EMOTION_MODELS["mikels8"]]
        models = [EmotionModel.from_dict(m) if isinstance(m, dict) else get_emotion_model(m) for m in models]
        self.emotion_models = [model.to_dict() for model in models]
        self.temperatures = {str(name): float(value) for name, value in (self.temperatures or {}).items()}
        # What generic tools show as this model's labels: those of the default emotion model.
        if kwargs.get("id2label") is None:
            kwargs["id2label"] = dict(enumerate(models[0].labels))
            kwargs["label2id"] = {label: index for index, label in enumerate(models[0].labels)}
        super().__post_init__(**kwargs)

    @property
    def trained_emotion_models(self) -> dict[str, EmotionModel]:
        """Name to emotion model, in training order."""
        models = [EmotionModel.from_dict(data) for data in self.emotion_models or ()]
        return {model.name: model for model in models}

    @property
    def known_emotion_models(self) -> set[str]:
        """Names that `resolve_emotion_model` understands."""
        return {*self.trained_emotion_models, *EMOTION_MODELS}

    def is_trained(self, emotion_model: EmotionModel) -> bool:
        """Whether these very labels were trained, whatever the name."""
        return any(model.labels == emotion_model.labels for model in self.trained_emotion_models.values())

    def resolve_emotion_model(self, emotion_model: str | EmotionModel | Sequence[str] | None) -> EmotionModel:
        """The emotion model meant: `None` is the default one; a trained one's own label words win over the stock ones.

        Raises:
            DataError: for an unknown name or an impossible list of labels.
        """
        trained = self.trained_emotion_models
        if emotion_model is None:
            return next(iter(trained.values()))
        if isinstance(emotion_model, str) and emotion_model in trained:
            return trained[emotion_model]
        return get_emotion_model(emotion_model)

    def temperature_for(self, emotion_model: EmotionModel) -> float:
        """Temperature fitted for an emotion model; where none was fitted, the mean of the fitted ones, else 1."""
        temperatures = self.temperatures or {}
        if emotion_model.name in temperatures:
            return temperatures[emotion_model.name]
        return sum(temperatures.values()) / len(temperatures) if temperatures else 1.0


__all__ = ["ImageEmotionConfig"]

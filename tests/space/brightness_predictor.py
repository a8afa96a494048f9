"""A stand-in for the predictor: its answer follows from the picture's brightness alone, so that it can be checked."""

from collections.abc import Sequence

import numpy as np
from PIL import Image

from iec_hub.emotions import EMOTION_MODELS, EmotionModel, get_emotion_model
from iec_hub.prediction import EmotionPrediction, Evidence

CELLS = 7


class BrightnessPredictor:
    """Black means the first label, white the last, and what is between is shared among the nearest ones."""

    name = "brightness"
    default_emotion_model = EMOTION_MODELS["mikels8"]
    emotion_models = {name: EMOTION_MODELS[name] for name in ("mikels8", "ekman7")}

    def __init__(self, sharpness: float = 4.0):
        self.sharpness = sharpness
        self.calls: list[dict[str, object]] = []

    def predict(
        self,
        images: Sequence[Image.Image],
        emotion_model: str | EmotionModel | None = None,
        labels: Sequence[str] | None = None,
        evidence: bool = False,
        batch_size: int = 32,
    ) -> list[EmotionPrediction]:
        self.calls.append({"emotion_model": emotion_model, "labels": labels, "evidence": evidence})
        target = EmotionModel.from_labels(labels) if labels is not None else get_emotion_model(emotion_model)
        return [self._predict(image, target, evidence) for image in images]

    def _predict(self, image: Image.Image, target: EmotionModel, evidence: bool) -> EmotionPrediction:
        grey = np.asarray(image.convert("L").resize((CELLS, CELLS), Image.Resampling.BOX), dtype=np.float64) / 255
        distance = np.abs(np.arange(len(target)) - grey.mean() * (len(target) - 1))
        weights = np.exp(-self.sharpness * distance / max(1, len(target) - 1) * 4)
        probabilities = weights / weights.sum()
        top = int(probabilities.argmax())
        template = f"The photo evokes {target.phrases[top]}, which is {target.labels[top]} among {target.title}."
        spread = grey - grey.min()
        regions = spread / spread.max() if spread.max() > 0 else spread
        return EmotionPrediction(
            emotion_model=target.name,
            labels=target.labels,
            probabilities=tuple(probabilities.tolist()),
            method="ugrie",
            template=template,
            evidence=Evidence(regions=regions) if evidence else None,
            model=self.name,
        )

"""A stand-in for a predictor that decides from words: its concepts, steps and boxes can be followed by hand."""

from collections.abc import Sequence

import numpy as np
from brightness_predictor import CELLS, BrightnessPredictor
from PIL import Image

from iec_hub.emotions import EmotionModel, get_emotion_model
from iec_hub.prediction import (
    EmbeddedText,
    EmotionPrediction,
    Evidence,
    ReasoningStep,
    ScoredText,
    Tag,
    from_distribution,
)

# What is taken for ink; letters are looked for along rows of it.
INK = 64


class ReasoningPredictor(BrightnessPredictor):
    """Says how bright and how varied a picture is, and finds the rectangles of ink that stand on white ground."""

    name = "reasoning"
    method = "aciec"
    open_labels = False
    reads_embedded_text = True
    emotion_models = {"mikels8": BrightnessPredictor.default_emotion_model}

    def __init__(self) -> None:
        super().__init__()
        self.sizes: list[tuple[int, int]] = []

    def predict(
        self,
        images: Sequence[Image.Image],
        emotion_model: str | EmotionModel | None = None,
        labels: Sequence[str] | None = None,
        evidence: bool = False,
        batch_size: int = 32,
    ) -> list[EmotionPrediction]:
        self.sizes += [image.size for image in images]
        return [self._reason(image, get_emotion_model(emotion_model), evidence) for image in images]

    def _reason(self, image: Image.Image, target: EmotionModel, evidence: bool) -> EmotionPrediction:
        grey = np.asarray(image.convert("L").resize((CELLS, CELLS), Image.Resampling.BOX), dtype=np.float64) / 255
        brightness, variety = float(grey.mean()), float(grey.std() * 2)
        light, feeling = ("bright", "contentment") if brightness > 0.5 else ("dark", "fear, sadness")
        weights = np.exp(-6 * np.abs(np.arange(len(target)) / (len(target) - 1) - brightness))
        spread = abs(grey - brightness)
        words = (ScoredText(light, 0.31), ScoredText("picture", 0.12), ScoredText("quiet", 0.05))
        return from_distribution(
            dict(zip(target.labels, (weights / weights.sum()).tolist(), strict=True)),
            emotion_model=target.name,
            method=self.method,
            concepts=(
                ScoredText(f"{light} sky", round(max(brightness, 1 - brightness), 3)),
                ScoredText("quiet place", round(1 - min(variety, 1), 3)),
            ),
            reasoning=(
                ReasoningStep("brightness", f"a {light} picture", feeling),
                ReasoningStep("colorfulness", "few colours", "calm"),
                ReasoningStep("overall", "a photo", feeling),
            ),
            captions=(f"A {light} picture that feels quiet.", "Nobody is in it."),
            embedded_text=tuple(inked(image)),
            attributes=(Tag("brightness", f"{brightness:.3f}", source="computed"),),
            evidence=Evidence(regions=spread / spread.max() if spread.max() > 0 else spread, words=words)
            if evidence
            else None,
            model=self.name,
        )


def inked(image: Image.Image) -> list[EmbeddedText]:
    """Rows of black on white as texts with their boxes; none in a picture without much white."""
    dark = np.asarray(image.convert("L")) < INK
    if not 0 < dark.mean() < 0.2:
        return []
    rows = np.flatnonzero(np.diff(np.r_[0, dark.any(axis=1).astype(int), 0]))
    found = []
    for top, bottom in zip(rows[::2].tolist(), rows[1::2].tolist(), strict=True):
        columns = np.flatnonzero(dark[top:bottom].any(axis=0))
        left, right = int(columns[0]), int(columns[-1]) + 1
        box = ((left, top), (right, top), (right, bottom), (left, bottom))
        found.append(EmbeddedText(f"line {len(found) + 1}, {right - left} wide", 0.9, box))
    return found

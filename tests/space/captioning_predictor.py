"""A stand-in for a predictor that writes captions and reads those of visitors: both can be followed by hand."""

import re
from collections.abc import Sequence

import numpy as np
from brightness_predictor import CELLS, BrightnessPredictor
from PIL import Image

from iec_hub.emotions import EmotionModel, get_emotion_model
from iec_hub.errors import DataError
from iec_hub.prediction import CaptionWord, EmotionPrediction, Evidence, Tag, from_distribution

# What a word adds to the measured brightness, and how charged it is; any other word adds nothing.
WORDS = {"dark": (-0.6, 0.8), "gloomy": (-0.3, 0.6), "bright": (0.6, 0.8), "sunny": (0.3, 0.4), "photo": (0.0, 0.2)}


class CaptioningPredictor(BrightnessPredictor):
    """Describes the brightness of a picture, then judges by the mean of what it measured and what the words say."""

    name = "captioning"
    method = "escnet"
    reads_captions = True
    open_labels = False
    emotion_models = {"mikels8": BrightnessPredictor.default_emotion_model}

    def check_target(
        self, emotion_model: str | EmotionModel | None = None, labels: Sequence[str] | None = None
    ) -> EmotionModel:
        target = EmotionModel.from_labels(labels) if labels is not None else get_emotion_model(emotion_model)
        if target.name not in ("mikels8", "sentiment2"):
            raise DataError(f"{self.name} tells Mikels' emotions apart, not {target.title}; choose another method.")
        return target

    def predict(
        self,
        images: Sequence[Image.Image],
        emotion_model: str | EmotionModel | None = None,
        labels: Sequence[str] | None = None,
        evidence: bool = False,
        batch_size: int = 32,
        captions: Sequence[str | None] | None = None,
    ) -> list[EmotionPrediction]:
        self.calls.append({"evidence": evidence, "captions": captions})
        target = self.check_target(emotion_model, labels)
        given = captions if captions is not None else [None] * len(images)
        return [self._read(image, target, evidence, text) for image, text in zip(images, given, strict=True)]

    def _read(
        self, image: Image.Image, target: EmotionModel, evidence: bool, caption: str | None
    ) -> EmotionPrediction:
        grey = np.asarray(image.convert("L").resize((CELLS, CELLS), Image.Resampling.BOX), dtype=np.float64) / 255
        brightness = grey.mean()
        text = caption or f"A {'bright, sunny' if brightness > 0.5 else 'dark, gloomy'} photo of something."
        words = [(match, *WORDS.get(match[0].lower(), (0.0, 0.05))) for match in re.finditer(r"[\w’']+", text)]
        believed = np.clip(brightness + sum(added for _, added, _ in words), 0, 1)
        distance = np.abs(np.arange(len(target)) / (len(target) - 1) - believed)
        weights = np.exp(-6 * distance)
        looked = tuple(
            CaptionWord(match[0], *match.span(), charge, self._regions(grey, added) if evidence else None)
            for match, added, charge in words
        )
        return from_distribution(
            dict(zip(target.labels, (weights / weights.sum()).tolist(), strict=True)),
            emotion_model=target.name,
            method=self.method,
            captions=(text,),
            attributes=None if caption else (Tag("brightness", f"{brightness:.3f}", source="computed"),),
            evidence=Evidence(regions=_scaled(abs(grey - brightness)) if evidence else None, caption_words=looked),
            model=self.name,
        )

    @staticmethod
    def _regions(grey: np.ndarray, added: float) -> np.ndarray:
        """Words for darkness look at the dark parts, all others at the bright ones."""
        return _scaled(1 - grey if added < 0 else grey)


def _scaled(cells: np.ndarray) -> np.ndarray:
    return cells / cells.max() if cells.max() > 0 else cells

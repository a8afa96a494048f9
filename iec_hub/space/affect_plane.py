"""Where a prediction lies between unpleasant and pleasant, calming and stirring.

The coordinates of the labels were fitted to people's ratings by `training/fit_affect_plane.py`; none is typed in.
"""

import json
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

from iec_hub.prediction import EmotionPrediction

PLANE_FILE = Path(__file__).with_name("affect_plane.json")
DIMENSIONS = ("valence", "arousal")


@dataclass(frozen=True)
class Fit:
    """How one dimension agrees with people's ratings: Pearson's r on `n` test pictures, with its 95 % interval."""

    n: int
    r: float
    low: float
    high: float


@dataclass(frozen=True)
class AffectPlane:
    """The plane of one emotion model.

    Attributes:
        coordinates: label to valence and arousal, each from -1 to 1; 0 is the middle of people's scale.
        fits: per checkpoint and dimension how far it can be trusted.
        source: whose ratings they are.
        pictures: how many of them were learned from.
    """

    coordinates: Mapping[str, tuple[float, float]]
    fits: Mapping[str, Mapping[str, Fit]]
    source: str
    pictures: int

    def place(self, prediction: EmotionPrediction) -> tuple[float, float]:
        """Valence and arousal: the mean of the labels' coordinates under the distribution."""
        pairs = [(share, self.coordinates[label]) for label, share in prediction.distribution.items()]
        valence, arousal = (sum(share * at[axis] for share, at in pairs) for axis in range(2))
        return valence, arousal

    def fit(self, checkpoint: str, dimension: str) -> Fit | None:
        """How far a dimension can be trusted for a checkpoint; None where that was not measured."""
        measured = self.fits.get(checkpoint)
        return None if measured is None else measured[dimension]


def affect_plane(emotion_model: str, labels: tuple[str, ...]) -> AffectPlane | None:
    """The plane of an emotion model; None for labels that nobody's ratings were fitted for."""
    plane = _planes().get(emotion_model)
    return plane if plane is not None and set(plane.coordinates) == set(labels) else None


def known_planes() -> tuple[str, ...]:
    """The names of the emotion models that have a plane."""
    return tuple(_planes())


@cache
def _planes() -> dict[str, AffectPlane]:
    content = json.loads(PLANE_FILE.read_text(encoding="utf-8"))
    return {name: _plane(content, plane) for name, plane in content["emotion_models"].items()}


def _plane(content: Mapping[str, Any], plane: Mapping[str, Any]) -> AffectPlane:
    return AffectPlane(
        coordinates={label: (at["valence"], at["arousal"]) for label, at in plane["labels"].items()},
        fits={
            checkpoint: {dimension: Fit(of["n"], of["r"], *of["interval"]) for dimension, of in dimensions.items()}
            for checkpoint, dimensions in plane["test"].items()
        },
        source=content["source"],
        pictures=content["pictures"]["train"],
    )

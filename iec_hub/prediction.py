"""What a user gets back: one :class:`EmotionPrediction` per image.

A prediction is a distribution over an emotion model and everything the method can say about where it comes
from. What a method does not produce is ``None``, never invented. This module needs neither torch nor
transformers, so results can be read back and shown anywhere.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

SURE_CONFIDENCE = 0.5
SURE_RATIO = 2.0


@dataclass(frozen=True)
class ScoredText:
    """A word, concept or sentence with a score in [0, 1]."""

    text: str
    score: float


@dataclass(frozen=True)
class ReasoningStep:
    """One step from an attribute of the image to the feeling that it evokes."""

    attribute: str
    observation: str
    feeling: str


@dataclass(frozen=True)
class EmbeddedText:
    """Text read inside the image.

    `box` holds the four corners ``((x, y), ...)`` in pixels of the opened image, clockwise from the top left;
    `confidence` lies in [0, 1]. The text is untrusted: escape it before showing it.
    """

    text: str
    confidence: float
    box: tuple[tuple[float, float], ...] = ()


@dataclass(frozen=True)
class Tag:
    """One emotional attribute of a picture, such as its scene, and where that is known from.

    Attributes:
        attribute: "brightness", "colorfulness", "scene", "object", "facial_expression" or "human_action".
        label: what it is; a number as text for the first two.
        confidence: in [0, 1].
        source: "annotation", "computed", the name of the tagger that said so, or "guess" where none was sure.
    """

    attribute: str
    label: str
    confidence: float = 1.0
    source: str = "annotation"


@dataclass(frozen=True)
class CaptionWord:
    """A word of a caption: how emotionally charged the model takes it to be, and where it looks when it reads it.

    Attributes:
        text: the word as it stands in the caption, ``caption[start:end]``.
        salience: in [0, 1], the value of the model's gate for this word.
        regions: float array ``(rows, columns)`` in [0, 1], row 0 at the top: 0 where the word looks no more than
            elsewhere, and small all over for a word that is found nowhere.
    """

    text: str
    start: int
    end: int
    salience: float
    regions: np.ndarray | None = None

    def to_dict(self) -> dict[str, Any]:
        regions = None if self.regions is None else np.round(self.regions, 4).tolist()
        return {**vars(self), "salience": round(self.salience, 4), "regions": regions}


@dataclass(frozen=True)
class Evidence:
    """Where the decision comes from.

    Attributes:
        regions: float array of shape ``(rows, columns)`` in [0, 1]: how strongly each cell of the picture spoke
            for the top emotion, row 0 at the top; the strongest cell is 1. All zeros: nothing spoke for it.
        words: words of the method's text with their share of the decision, strongest first.
        caption_words: the words of the first caption, in reading order.
    """

    regions: np.ndarray | None = None
    words: tuple[ScoredText, ...] | None = None
    caption_words: tuple[CaptionWord, ...] | None = None

    def to_dict(self) -> dict[str, Any]:
        return {
            "regions": None if self.regions is None else np.round(self.regions, 4).tolist(),
            "words": None if self.words is None else [vars(word) for word in self.words],
            "caption_words": None if self.caption_words is None else [word.to_dict() for word in self.caption_words],
        }


@dataclass(frozen=True, repr=False)
class EmotionPrediction:
    """The emotion that a picture evokes in viewers, as a distribution, with its explanation.

    Attributes:
        emotion_model: name of the emotion model, ``"custom"`` for labels given by the caller.
        labels: the labels, in the emotion model's order.
        probabilities: one probability per label, in the same order, summing to 1.
        method: ``"ugrie"``, ``"escnet"`` or ``"aciec"``.
        template: the filled sentence, for methods that fill one.
        evidence: regions and words that spoke for the top emotion.
        concepts, reasoning, captions, embedded_text, attributes: see the methods that fill them; ``None`` where a
            method has no such part, an empty tuple where it looked and found nothing.
        sure_confidence, sure_ratio: the rule behind :attr:`uncertain`, where there is no `sure_threshold`.
        sure_threshold: the confidence from which on the prediction is sure, where one was fitted on validation; it
            replaces that rule.
        sure_coverage: the share of the validation pictures that `sure_threshold` was fitted to call sure.
        model: name of the checkpoint that spoke.
    """

    emotion_model: str
    labels: tuple[str, ...]
    probabilities: tuple[float, ...]
    method: str
    template: str | None = None
    evidence: Evidence | None = None
    concepts: tuple[ScoredText, ...] | None = None
    reasoning: tuple[ReasoningStep, ...] | None = None
    captions: tuple[str, ...] | None = None
    embedded_text: tuple[EmbeddedText, ...] | None = None
    attributes: tuple[Tag, ...] | None = None
    sure_confidence: float = field(default=SURE_CONFIDENCE)
    sure_ratio: float = field(default=SURE_RATIO)
    sure_threshold: float | None = None
    sure_coverage: float | None = None
    model: str = ""

    def __post_init__(self) -> None:
        if len(self.labels) != len(self.probabilities) or not self.labels:
            raise ValueError(f"{len(self.labels)} labels need as many probabilities, got {len(self.probabilities)}")
        total = math.fsum(self.probabilities)
        if not math.isfinite(total) or min(self.probabilities) < 0 or abs(total - 1) > 1e-3:
            raise ValueError(f"probabilities must be at least 0 and sum to 1, got a sum of {total}")

    @property
    def ranking(self) -> tuple[tuple[str, float], ...]:
        """Labels with their probabilities, most probable first; ties keep the emotion model's order."""
        return tuple(sorted(zip(self.labels, self.probabilities, strict=True), key=lambda item: -item[1]))

    @property
    def distribution(self) -> dict[str, float]:
        """Label to probability, in the emotion model's order."""
        return dict(zip(self.labels, self.probabilities, strict=True))

    @property
    def emotion(self) -> str:
        """The most probable label."""
        return self.ranking[0][0]

    @property
    def confidence(self) -> float:
        """Probability of the top label: of the viewers, the share that is expected to name it.

        Where training data had votes, that is lower than how often the top label is the viewers' own top label.
        """
        return self.ranking[0][1]

    @property
    def entropy(self) -> float:
        """Shannon entropy divided by that of the uniform distribution: 0 is one emotion, 1 is no idea."""
        if len(self.labels) == 1:
            return 0.0
        return -sum(p * math.log(p) for p in self.probabilities if p > 0) / math.log(len(self.labels))

    @property
    def uncertain(self) -> bool:
        """Whether the top label should be read as a guess.

        Where a threshold was fitted on validation, a prediction is sure when its top label holds at least
        `sure_threshold` of the probability. Elsewhere it is sure when its top label holds at least `sure_confidence`
        (half) of the probability, or at least `sure_ratio` times (twice) as much as the second label. Every other one
        is uncertain.
        """
        if len(self.labels) == 1:
            return False
        if self.sure_threshold is not None:
            return self.confidence < self.sure_threshold
        return self._close

    @property
    def _close(self) -> bool:
        """Whether the top label has neither `sure_confidence` nor `sure_ratio` times as much as the second."""
        if self.confidence >= self.sure_confidence:
            return False
        return self.confidence < self.sure_ratio * self.ranking[1][1]

    @property
    def contenders(self) -> tuple[tuple[str, float], ...]:
        """The top label with its probability, and the second where it is uncertain which of the two it is."""
        return self.ranking[: 2 if self.uncertain and self._close else 1]

    def summary(self) -> str:
        """A few words for people.

        Such as ``"awe (62 %)"``; where it is uncertain ``"torn between awe (35 %) and fear (30 %)"``, or ``"guessing
        awe (55 %)"`` where the second label is far behind.
        """
        named = " and ".join(f"{label} ({p:.0%})" for label, p in self.contenders)
        return f"{'torn between' if len(self.contenders) > 1 else 'guessing'} {named}" if self.uncertain else named

    def to_dict(self) -> dict[str, Any]:
        """JSON-ready dictionary with every field and derived figure."""

        def rows(items: Sequence[Any] | None) -> list[Any] | None:
            return None if items is None else [item if isinstance(item, str) else dict(vars(item)) for item in items]

        return {
            "emotion": self.emotion,
            "confidence": self.confidence,
            "uncertain": self.uncertain,
            "entropy": self.entropy,
            "distribution": self.distribution,
            "emotion_model": self.emotion_model,
            "method": self.method,
            "model": self.model,
            "template": self.template,
            "evidence": None if self.evidence is None else self.evidence.to_dict(),
            "concepts": rows(self.concepts),
            "reasoning": rows(self.reasoning),
            "captions": rows(self.captions),
            "embedded_text": rows(self.embedded_text),
            "attributes": rows(self.attributes),
        }

    def __repr__(self) -> str:
        bars = ", ".join(f"{label} {p:.2f}" for label, p in self.ranking[:4])
        more = f", {len(self.labels) - 4} more" if len(self.labels) > 4 else ""
        filled = f", {self.template!r}" if self.template else ""
        return f"EmotionPrediction({self.emotion_model}: {bars}{more}; {self.summary()}{filled})"


@dataclass(frozen=True)
class Progress:
    """What is known of a prediction before it is done.

    Attributes:
        stage: "read" once text in the picture was read, "described" once the method has put the picture into words
            (for a reasoner that answers step by step, after each step), "decided" once the distribution is there.
        fields: those fields of :class:`EmotionPrediction` that are known by now, by name.
        prediction: when decided, the prediction without evidence.
    """

    stage: str
    fields: Mapping[str, Any] = field(default_factory=dict)
    prediction: EmotionPrediction | None = None


def from_distribution(distribution: Mapping[str, float], **fields: Any) -> EmotionPrediction:
    """Build a prediction from a label to probability mapping; `fields` are :class:`EmotionPrediction`'s."""
    return EmotionPrediction(labels=tuple(distribution), probabilities=tuple(distribution.values()), **fields)

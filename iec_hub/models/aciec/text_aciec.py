"""The text that ACIEC decides from: "concepts </s> affective sentences </s> embedded text"."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, NamedTuple

from iec_hub.affect.attributes import ImageAttributes
from iec_hub.affect.embedded_text import joined_embedded_text
from iec_hub.affect.reasoning import Reasoning
from iec_hub.data.schema import joined_text
from iec_hub.errors import DataError
from iec_hub.models.aciec.configuration_aciec import AciecConfig
from iec_hub.prediction import EmbeddedText, ScoredText


class TextParts(NamedTuple):
    """The three sources as plain text; an empty one says nothing."""

    concepts: str = ""
    sentences: str = ""
    embedded_text: str = ""


@dataclass(frozen=True)
class ImageText:
    """Everything that was said about one image.

    Attributes:
        concepts: best first.
        embedded_text: `None` where nobody looked for any.
        attributes: what the small reasoner saw.
    """

    concepts: tuple[ScoredText, ...] = ()
    reasoning: Reasoning | None = None
    embedded_text: tuple[EmbeddedText, ...] | None = None
    attributes: ImageAttributes | None = None

    def parts(self, config: AciecConfig) -> TextParts:
        """What the classifier reads, without the sources that the configuration switches off."""
        concepts = ", ".join(concept.text for concept in self.concepts[: config.concepts_read])
        read = joined_embedded_text(self.embedded_text) if self.embedded_text else ""
        return TextParts(
            concepts if config.use_concepts else "",
            reasoning_text(self.reasoning) if config.use_sentences and self.reasoning else "",
            read if config.use_embedded_text else "",
        )

    def as_fields(self, config: AciecConfig) -> dict[str, Any]:
        """Fields of [`EmotionPrediction`]; what a model does not use is absent."""
        reasoning = self.reasoning if config.use_sentences else None
        return {
            "concepts": self.concepts[: config.concepts_shown] if config.use_concepts else None,
            "reasoning": reasoning.steps if reasoning else None,
            "captions": reasoning.sentences if reasoning else None,
            "embedded_text": self.embedded_text if config.use_embedded_text else None,
            "attributes": self.attributes.as_tags() if reasoning and self.attributes else None,
        }


def reasoning_text(reasoning: Reasoning) -> str:
    """The affective sentences, then every step: what comes last is cut first.

    The last word on the whole picture is a sentence already.
    """
    steps = [
        f"{step.observation.rstrip('.')}: {step.feeling}." for step in reasoning.steps if step.attribute != "whole"
    ]
    return " ".join([*reasoning.sentences, *steps])


def checked_parts(text: Any) -> TextParts:
    """A sentence or [`TextParts`] as parts on one line each, without control characters.

    Raises:
        DataError: if it is neither, or blank.
    """
    given = TextParts(sentences=text) if isinstance(text, str) else text
    if isinstance(given, TextParts) and all(isinstance(part, str | None) for part in given):
        parts = TextParts(*(joined_text([part]) or "" for part in given))
        if any(parts):
            return parts
    raise DataError("A text to classify is blank or no text; give a sentence, or TextParts with some words.")


__all__ = ["ImageText", "TextParts", "checked_parts", "reasoning_text"]

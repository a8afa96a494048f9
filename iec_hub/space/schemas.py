"""What the endpoints take and answer with, as types: gradio derives the JSON schemas that programs see from them."""

from typing import Any, TypedDict

# A picture is a text or gradio's description of an uploaded file. Its type names no "gradio.FileData": that would
# tell programs (and gradio's MCP server) that web addresses are fetched, which they are not.
SentPicture = str | dict[str, Any]


class ScoredTextAnswer(TypedDict):
    """A word or concept with a score from 0 to 1."""

    text: str
    score: float


class StepAnswer(TypedDict):
    """One step of a chain of thought."""

    attribute: str
    observation: str
    feeling: str


class TextAnswer(TypedDict):
    """Text in a picture; `box` holds four corners in pixels, clockwise from the text's top left."""

    text: str
    confidence: float
    box: list[list[float]]


class CaptionWordAnswer(TypedDict):
    """A word of the caption, `caption[start:end]`, its salience and where it looks, both from 0 to 1."""

    text: str
    start: int
    end: int
    salience: float
    regions: list[list[float]] | None


class EvidenceAnswer(TypedDict):
    """Where a decision comes from: rows of cells over the picture, words with shares, words of the caption."""

    regions: list[list[float]] | None
    words: list[ScoredTextAnswer] | None
    caption_words: list[CaptionWordAnswer] | None


class TagAnswer(TypedDict):
    """An emotional attribute of the picture, such as its scene; `confidence` from 0 to 1."""

    attribute: str
    label: str
    confidence: float
    source: str


class PredictionAnswer(TypedDict):
    """:meth:`iec_hub.prediction.EmotionPrediction.to_dict`; null stands for what the method has no part for."""

    emotion: str
    confidence: float
    uncertain: bool
    entropy: float
    distribution: dict[str, float]
    emotion_model: str
    method: str
    model: str
    template: str | None
    evidence: EvidenceAnswer | None
    concepts: list[ScoredTextAnswer] | None
    reasoning: list[StepAnswer] | None
    captions: list[str] | None
    embedded_text: list[TextAnswer] | None
    attributes: list[TagAnswer] | None


class BatchRow(TypedDict):
    """One file of a batch: its prediction, or the sentence that says why there is none."""

    file: str
    prediction: PredictionAnswer | None
    error: str | None


class ReasonAnswer(TypedDict):
    """A chain of thought: its steps, the sentences that they add up to, and the emotion that was decided on."""

    steps: list[StepAnswer]
    sentences: list[str]
    emotion: str
    confidence: float
    method: str

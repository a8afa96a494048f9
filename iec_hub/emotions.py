"""Emotion models: their labels, label words and polarities, and the mapping between them.

An emotion model is an ordered list of emotions; probabilities, votes and phrases all use its order.
"""

import difflib
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from iec_hub.errors import DataError, EmotionMappingError

POLARITIES = ("positive", "negative", "neutral", "ambiguous")
MAX_LABELS = 500
MAX_LABEL_LENGTH = 80
MAX_WORDS = 12

_NO_MASS = 1e-9  # less than this is the rounding of a softmax, not a belief


def _plain_text(text: Any, what: str) -> str:
    """Text that may go into a template: one line, printable, and free of tokenizer markup."""
    if not isinstance(text, str):
        raise DataError(f"{what} has to be text, not {type(text).__name__}.")
    text = " ".join(text.split())
    if not text:
        raise DataError(f"{what} is empty; give it at least one letter.")
    if len(text) > MAX_LABEL_LENGTH:
        raise DataError(f'{what} "{text[:30]}..." is too long; shorten it to {MAX_LABEL_LENGTH} characters.')
    # "<mask>" or "</s>" in a label would be read by the tokenizer as its own special token.
    if not text.isprintable() or "<" in text or ">" in text:
        raise DataError(f"{what} {repr(text)} holds control characters, '<' or '>'; use plain words.")
    return text


def _quoted(labels: Iterable[str], limit: int = 12) -> str:
    quoted = [f'"{label}"' for label in labels]
    return ", ".join(quoted[:limit]) + (f" and {len(quoted) - limit} more" if len(quoted) > limit else "")


@dataclass(frozen=True)
class Emotion:
    """One emotion of an emotion model.

    Attributes:
        label: Its name, as in data sets ("fear"); at most 80 characters.
        words: The words that stand for it in a sentence, from strong to weak; `(label,)` if left out.
        polarity: One of `POLARITIES`, or None where it is not known (a custom label).

    Raises:
        DataError: If a label or word is empty, too long or no plain text, or the polarity is unknown.
    """

    label: str
    words: tuple[str, ...] = ()
    polarity: str | None = None

    def __post_init__(self) -> None:
        label = _plain_text(self.label, "An emotion label")
        words = (self.words,) if isinstance(self.words, str) else tuple(self.words) or (label,)
        if len(words) > MAX_WORDS:
            raise DataError(f'The label "{label}" has {len(words)} words; give at most {MAX_WORDS}.')
        words = tuple(_plain_text(word, f'A word for "{label}"') for word in words)
        if self.polarity is not None and self.polarity not in POLARITIES:
            given = repr(self.polarity)[:40]
            raise DataError(f'The polarity of "{label}" is {given}; use one of {", ".join(POLARITIES)}, or none.')
        object.__setattr__(self, "label", label)
        object.__setattr__(self, "words", words)

    @property
    def phrase(self) -> str:
        """The words as English: "terror, fear, or apprehension", "a or b", or the one word."""
        if len(self.words) == 1:
            return self.words[0]
        if len(self.words) == 2:
            return " or ".join(self.words)
        return ", ".join(self.words[:-1]) + ", or " + self.words[-1]


@dataclass(frozen=True)
class EmotionModel:
    """An ordered set of emotions that a picture can evoke.

    Attributes:
        name: What code and data sets call it ("mikels8").
        title: What a sentence calls it ("Mikels' emotions"), as in "Among Mikels' emotions, ...".
        emotions: 2 to 500 emotions with distinct labels (upper and lower case do not distinguish).
        source: Where it is from, for people to read.

    Raises:
        DataError: If there are fewer than 2 or more than 500 emotions, or two share a label.
    """

    name: str
    title: str
    emotions: tuple[Emotion, ...]
    source: str = ""

    def __post_init__(self) -> None:
        object.__setattr__(self, "name", _plain_text(self.name, "The name of an emotion model"))
        object.__setattr__(self, "title", _plain_text(self.title, "The title of an emotion model"))
        object.__setattr__(self, "emotions", tuple(self.emotions))
        if not 2 <= len(self.emotions) <= MAX_LABELS:
            raise DataError(f"An emotion model needs 2 to {MAX_LABELS} labels; {len(self.emotions)} given.")
        indices: dict[str, int] = {}
        for index, emotion in enumerate(self.emotions):
            if indices.setdefault(emotion.label.casefold(), index) != index:
                raise DataError(f'The label "{emotion.label}" is given twice; name each emotion once.')
        object.__setattr__(self, "_indices", indices)

    def __len__(self) -> int:
        return len(self.emotions)

    @property
    def labels(self) -> tuple[str, ...]:
        return tuple(emotion.label for emotion in self.emotions)

    @property
    def phrases(self) -> tuple[str, ...]:
        return tuple(emotion.phrase for emotion in self.emotions)

    @property
    def polarities(self) -> tuple[str | None, ...]:
        return tuple(emotion.polarity for emotion in self.emotions)

    def index(self, label: str) -> int:
        """Position of a label, whatever its case.

        Raises:
            DataError: If the model lacks the label; the message names the nearest one.
        """
        text = " ".join(str(label).split())
        found = self._indices.get(text.casefold())  # type: ignore[attr-defined]
        if found is not None:
            return found
        near = difflib.get_close_matches(text[:MAX_LABEL_LENGTH].casefold(), self._indices, n=1, cutoff=0.5)
        hint = f'the nearest is "{self.labels[self._indices[near[0]]]}" of' if near else "use one of"
        raise DataError(f"{repr(text[:40])} is no label of {self.name}; {hint} {_quoted(self.labels)}.")

    @classmethod
    def from_labels(
        cls,
        labels: Iterable[str],
        name: str = "custom",
        title: str = "these emotions",
        words: Mapping[str, str | Sequence[str]] | None = None,
    ) -> "EmotionModel":
        """An emotion model from any list of labels.

        A label that a built-in emotion model has takes that one's polarity; another has none (None).

        Args:
            labels: 2 to 500 distinct labels, each at most 80 characters.
            words: Label -> its word or words in a sentence; a label left out stands for itself.

        Raises:
            DataError: If the labels do not make a model, or `words` names a label that is not among them.
        """
        if isinstance(labels, str | bytes) or not isinstance(labels, Iterable):
            raise DataError('Labels have to be a list of texts such as ["cosy", "eerie"], not a single value.')
        labels = [_plain_text(label, "An emotion label") for label in labels]
        words = {_plain_text(label, "A key of words").casefold(): value for label, value in (words or {}).items()}
        strange = set(words) - {label.casefold() for label in labels}
        if strange:
            raise DataError(f"Words are given for {_quoted(sorted(strange))}, which is not among the labels.")
        emotions = []
        for label in labels:
            known = _EMOTIONS.get(label.casefold())
            emotions.append(Emotion(label, words.get(label.casefold(), ()), known.polarity if known else None))
        return cls(name, title, tuple(emotions))

    def to_dict(self) -> dict[str, Any]:
        """The model as JSON types; `from_dict` reads it back."""
        emotions = [{"label": e.label, "words": list(e.words), "polarity": e.polarity} for e in self.emotions]
        return {"name": self.name, "title": self.title, "source": self.source, "emotions": emotions}

    @classmethod
    def from_dict(cls, data: Mapping[str, Any]) -> "EmotionModel":
        """The model that `to_dict` wrote.

        Raises:
            DataError: If a part is missing or of the wrong kind.
        """
        try:
            emotions = tuple(Emotion(e["label"], e.get("words") or (), e.get("polarity")) for e in data["emotions"])
            return cls(data["name"], data["title"], emotions, str(data.get("source") or ""))
        except (KeyError, TypeError, AttributeError) as error:
            raise DataError(
                "This is not an emotion model; give a dictionary with name, title and emotions, each with a label."
            ) from error

    def distribution(self, votes: str | Mapping[str, float] | Sequence[str] | Sequence[float]) -> np.ndarray:
        """Votes as a label distribution.

        Args:
            votes: One label; labels, one per vote; label -> votes (or probability); or one number per
                label, in the order of the model. Numbers are not negative, and some number is positive.

        Returns:
            Shape (n,), float64, sums to 1.

        Raises:
            DataError: If a label is unknown or the numbers are not votes.
        """
        counts = np.zeros(len(self))
        for label, count in self._pairs(votes):
            index = self.index(label)
            try:
                counts[index] += float(count)
            except (TypeError, ValueError) as error:
                raise DataError(f'The votes for "{label}" are {repr(count)[:40]}; give a number.') from error
        if not np.all(np.isfinite(counts)) or np.any(counts < 0):
            raise DataError(f"Votes for {self.name} have to be finite numbers that are not negative.")
        if counts.sum() <= 0:
            raise DataError(f"There is no vote for any label of {self.name}; give at least one.")
        return counts / counts.sum()

    def _pairs(self, votes: Any) -> list[tuple[str, Any]]:
        """Votes in any accepted form, as (label, how many)."""
        if isinstance(votes, Mapping):
            return list(votes.items())
        if isinstance(votes, str):
            return [(votes, 1)]
        if not isinstance(votes, Iterable):
            raise DataError(f"Votes for {self.name} have to be labels or numbers, not one {type(votes).__name__}.")
        votes = list(votes)
        if votes and all(isinstance(vote, str) for vote in votes):
            return [(vote, 1) for vote in votes]
        if len(votes) != len(self):
            raise DataError(f"{len(votes)} votes were given for the {len(self)} labels of {self.name}; give one each.")
        return list(zip(self.labels, votes, strict=True))


# Words are Plutchik's intensities of an emotion, from strong to weak: the project's best guess of UGRIE's label
# words, after SimEmotion of the same group. Mikels' labels take those of their nearest Plutchik emotion.
# Surprise may be pleasant or not. Anticipation is counted with Mikels' excitement, whose words it shares.
_EMOTIONS = {
    emotion.label: emotion
    for emotion in (
        Emotion("amusement", ("ecstasy", "joy", "serenity"), "positive"),
        Emotion("anger", ("rage", "anger", "annoyance"), "negative"),
        Emotion("anticipation", ("vigilance", "anticipation", "interest"), "positive"),
        Emotion("awe", ("amazement", "surprise", "distraction"), "positive"),
        Emotion("contentment", ("admiration", "trust", "acceptance"), "positive"),
        Emotion("disgust", ("loathing", "disgust", "boredom"), "negative"),
        Emotion("excitement", ("vigilance", "anticipation", "interest"), "positive"),
        Emotion("fear", ("terror", "fear", "apprehension"), "negative"),
        Emotion("joy", ("ecstasy", "joy", "serenity"), "positive"),
        Emotion("negative", ("negative", "unpleasant"), "negative"),
        Emotion("neutral", ("neutral", "calm", "nothing in particular"), "neutral"),
        Emotion("positive", ("positive", "pleasant"), "positive"),
        Emotion("sadness", ("grief", "sadness", "pensiveness"), "negative"),
        Emotion("surprise", ("amazement", "surprise", "distraction"), "ambiguous"),
        Emotion("trust", ("admiration", "trust", "acceptance"), "positive"),
    )
}
_MIKELS = "Mikels et al., Emotional category data on images from the International Affective Picture System, 2005"
_EKMAN = "Ekman, An argument for basic emotions, 1992"
_PLUTCHIK = "Plutchik, A general psychoevolutionary theory of emotion, 1980"
_BUILT_IN = (  # name, title, labels, source
    ("mikels8", "Mikels' emotions", "amusement anger awe contentment disgust excitement fear sadness", _MIKELS),
    ("ekman6", "Ekman's emotions", "anger disgust fear joy sadness surprise", _EKMAN),
    ("ekman7", "Ekman's emotions and neutral", "anger disgust fear joy sadness surprise neutral", _EKMAN),
    ("plutchik8", "Plutchik's emotions", "joy trust fear surprise sadness disgust anger anticipation", _PLUTCHIK),
    ("sentiment2", "sentiments", "negative positive", "Polarity"),
    ("sentiment3", "sentiments and neutral", "negative neutral positive", "Polarity, with neutral"),
)
EMOTION_MODELS: dict[str, EmotionModel] = {
    name: EmotionModel(name, title, tuple(_EMOTIONS[label] for label in labels.split()), source)
    for name, title, labels, source in _BUILT_IN
}
EmotionModelLike = str | EmotionModel | Sequence[str]


def get_emotion_model(model: EmotionModelLike) -> EmotionModel:
    """The emotion model of that name, the model itself, or a custom one from a list of labels.

    Raises:
        DataError: If no built-in model has that name, or the labels do not make a model.
    """
    if isinstance(model, EmotionModel):
        return model
    if not isinstance(model, str):
        return EmotionModel.from_labels(model)
    found = EMOTION_MODELS.get(model.strip().casefold())
    if found is None:
        names = ", ".join(EMOTION_MODELS)
        raise DataError(f"There is no emotion model {repr(model[:40])}; use one of {names}, or a list of labels.")
    return found


def _checked(probabilities: Any, model: EmotionModel) -> np.ndarray:
    try:
        array = np.asarray(probabilities, dtype=np.float64)
    except (TypeError, ValueError) as error:
        raise DataError("Probabilities have to be an array of numbers, with one row per picture.") from error
    if array.ndim == 0 or array.shape[-1] != len(model):
        raise DataError(
            f"Probabilities of shape {array.shape} do not fit {model.name}; the last axis needs {len(model)} values."
        )
    if not np.all(np.isfinite(array)) or np.any(array < 0):
        raise DataError("Probabilities have to be finite numbers that are not negative.")
    return array


def _is_sentiment(model: EmotionModel) -> bool:
    return {label.casefold() for label in model.labels} - {"neutral"} == {"negative", "positive"}


def _used(array: np.ndarray, model: EmotionModel) -> list[Emotion]:
    """The emotions to which some row gives mass."""
    mass = array.reshape(-1, len(model)).max(axis=0, initial=0.0)
    return [emotion for emotion, value in zip(model.emotions, mass, strict=True) if value > _NO_MASS]


def _to_sentiment(array: np.ndarray, source: EmotionModel, target: EmotionModel) -> np.ndarray:
    unknown = [emotion.label for emotion in _used(array, source) if emotion.polarity is None]
    if unknown:
        raise EmotionMappingError(
            f"{source.name} cannot be read as {target.name}, as the polarity of {_quoted(unknown)} is not known; "
            "give these emotions a polarity."
        )
    labels = {label.casefold() for label in target.labels}
    matrix = np.zeros((len(source), len(target)))
    for row, polarity in enumerate(source.polarities):
        if polarity in labels:
            matrix[row, target.index(polarity)] = 1.0
        elif polarity is not None:
            matrix[row, [target.index("negative"), target.index("positive")]] = 0.5
    return array @ matrix


def map_distribution(probabilities: Any, source: EmotionModelLike, target: EmotionModelLike) -> np.ndarray:
    """A distribution over one emotion model, as one over another, where that means something.

    - To sentiments: mass is summed by polarity. An ambiguous emotion (surprise) counts half positive and
      half negative; so does neutral where the target has no neutral.
    - To a model that has every emotion with mass: mass moves to the same label. Neutral is the absence of
      an emotion, so where the target lacks it the others are scaled up to the former total.

    Args:
        probabilities: Shape (..., n), not negative; n labels of `source`.

    Returns:
        Shape (..., m), float64; every row has the mass it had.

    Raises:
        EmotionMappingError: If the target cannot express what the source says; the message says why.
        DataError: If the probabilities do not fit the source, or a model is unknown.
    """
    source, target = get_emotion_model(source), get_emotion_model(target)
    array = _checked(probabilities, source)
    if _is_sentiment(target):
        return _to_sentiment(array, source, target)
    if _is_sentiment(source):
        raise EmotionMappingError(
            f"{source.name} says only how pleasant a picture is, which does not tell emotions apart; "
            f"predict {target.name} directly."
        )
    target_labels = {label.casefold(): index for index, label in enumerate(target.labels)}
    lost = [e for e in _used(array, source) if e.label.casefold() not in target_labels]
    missing = [emotion.label for emotion in lost if emotion.polarity != "neutral"]
    if missing:
        raise EmotionMappingError(
            f"{source.name} cannot be read as {target.name}, which has no {_quoted(missing)}; "
            f"predict {target.name} directly or map to sentiments."
        )
    mapped = np.zeros((*array.shape[:-1], len(target)))
    for index, label in enumerate(source.labels):
        if label.casefold() in target_labels:
            mapped[..., target_labels[label.casefold()]] = array[..., index]
    if lost:
        before, after = array.sum(axis=-1, keepdims=True), mapped.sum(axis=-1, keepdims=True)
        if np.any((after <= _NO_MASS) & (before > _NO_MASS)):
            raise EmotionMappingError(
                f"A distribution that is all neutral says nothing about {target.name}, which has no neutral; "
                "leave it out or map to sentiments."
            )
        mapped *= np.divide(before, after, out=np.ones_like(before), where=after > 0)
    return mapped


def positive_mass(probabilities: Any, model: EmotionModelLike) -> np.ndarray:
    """How much of a distribution is positive: mass on positive emotions and half of neutral and ambiguous.

    Args:
        probabilities: Shape (..., n), not negative.

    Returns:
        Shape (...), 0 (all negative) to 1 (all positive) where the rows sum to 1.

    Raises:
        EmotionMappingError: If an emotion with mass has no known polarity.
        DataError: If the probabilities do not fit the model.
    """
    sentiment = EMOTION_MODELS["sentiment2"]
    return map_distribution(probabilities, model, sentiment)[..., sentiment.index("positive")]

"""Emotional concepts: adjective-noun pairs (ANPs) such as "misty forest", and the hierarchy above them.

A concept belongs to an emotion, and the emotion to a polarity. Which ones is learned from data that name both, or, for
the polarity, taken from the sentiment that was published with the vocabulary; nothing here is guessed from a list.
"""

from __future__ import annotations

import csv
import io
import json
import unicodedata
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from functools import cached_property, lru_cache
from importlib.resources import files
from pathlib import Path
from typing import Any

import numpy as np

from iec_hub.emotions import EmotionModel
from iec_hub.errors import DataError
from iec_hub.prediction import ScoredText

LONGEST_NAME = 60
MOST_CONCEPTS = 20_000
MOST_SENTIMENT = 2.0
_LARGEST_FILE = 10_000_000
POLARITIES = ("negative", "positive")
# Observations that a concept's own emotions are weighed against, all of them in the proportions of all concepts.
PRIOR_WEIGHT = 5.0


@dataclass(frozen=True)
class Concept:
    """One concept.

    Attributes:
        name: in lower case, words separated by blanks.
        sentiment: as published, from -2 (negative) to 2 (positive); None where nothing was.
        emotion: the label that it belongs to, as learned; None where nothing is known.
        polarity: "positive", "negative" or None.
    """

    name: str
    sentiment: float | None = None
    emotion: str | None = None
    polarity: str | None = None


@dataclass(frozen=True)
class ConceptVocabulary:
    """The concepts that are looked for, in a fixed order.

    Attributes:
        concepts: unique names.

    Raises:
        DataError: If there is none or more than 20,000, a name is not one line of 1 to 60 characters without markup,
            or one stands there twice.
    """

    concepts: tuple[Concept, ...]

    def __post_init__(self) -> None:
        if not self.concepts:
            raise DataError("There is no concept in the vocabulary; give at least one.")
        if len(self.concepts) > MOST_CONCEPTS:
            raise DataError(f"The vocabulary has {len(self.concepts)} concepts; give at most {MOST_CONCEPTS}.")
        seen: set[str] = set()
        for concept in self.concepts:
            if not _is_name(concept.name):
                raise DataError(
                    f"{concept.name[:80]!r} is no concept; give names of 1 to {LONGEST_NAME} letters without markup."
                )
            if concept.name in seen:
                raise DataError(f"The concept {concept.name!r} stands twice in the vocabulary; name it once.")
            seen.add(concept.name)

    @classmethod
    def from_names(cls, names: Iterable[Any]) -> ConceptVocabulary:
        """A vocabulary of names, "misty_forest" and "Misty forest" being one; of SentiBank's all is known as there."""
        known = {concept.name: concept for concept in default_vocabulary().concepts}
        unique = dict.fromkeys(plain_concept(name) for name in names)
        return cls(tuple(known.get(name, Concept(name)) for name in unique))

    def __len__(self) -> int:
        return len(self.concepts)

    @property
    def names(self) -> tuple[str, ...]:
        return tuple(concept.name for concept in self.concepts)

    @cached_property
    def index(self) -> dict[str, int]:
        """Name to its place."""
        return {concept.name: place for place, concept in enumerate(self.concepts)}

    @cached_property
    def _longest(self) -> int:
        return max(len(name.split()) for name in self.names)

    def find(self, text: str | None) -> list[int]:
        """Places of the concepts that a text lists, in its order, each once; what is no concept is passed over.

        Lists with and without separators are read: "misty forest, old house" and "misty_forest old_house" and
        "misty forest old house". Of two that overlap the first and longest counts.
        """
        found: dict[int, None] = {}
        for part in str(text or "").replace(";", ",").replace("\n", ",").split(","):
            words = plain_concept(part, longest=None).split()
            at = 0
            while at < len(words):
                for length in range(min(self._longest, len(words) - at), 0, -1):
                    place = self.index.get(" ".join(words[at : at + length]))
                    if place is not None:
                        found.setdefault(place)
                        at += length
                        break
                else:
                    at += 1
        return list(found)

    def levels(self, emotion_model: EmotionModel) -> np.ndarray:
        """The hierarchy as ids, coarse to fine: int array `(concepts, 3)` of polarity, emotion and concept.

        -1 where a concept's polarity or emotion (a label of `emotion_model`) is not known.
        """
        rows = []
        for place, concept in enumerate(self.concepts):
            polarity = POLARITIES.index(concept.polarity) if concept.polarity in POLARITIES else -1
            emotion = emotion_model.labels.index(concept.emotion) if concept.emotion in emotion_model.labels else -1
            rows.append((polarity, emotion, place))
        return np.array(rows, dtype=np.int64)

    def learned(
        self, concepts: Sequence[Sequence[int]], distributions: np.ndarray, emotion_model: EmotionModel
    ) -> ConceptVocabulary:
        """The same concepts with polarity and emotion learned from images or texts that have both.

        Where the sentiment of a concept was published, its sign is the polarity, else the polarity is that of most of
        its images and :data:`PRIOR_WEIGHT` average ones. The emotion is the label of that polarity, so that the levels
        form a tree, whose share among the concept's images is the greatest multiple of that among all images; none
        where no image has such a label.

        Args:
            concepts: per item, places of its concepts.
            distributions: `(items, labels)`, each row sums to 1.

        Raises:
            DataError: If there are not as many of both, or other labels.
        """
        distributions = np.asarray(distributions, dtype=np.float64)
        if distributions.shape != (len(concepts), len(emotion_model)) or not len(concepts):
            raise DataError(
                f"Distributions of shape {distributions.shape} do not fit {len(concepts)} items and the "
                f"{len(emotion_model)} labels of {emotion_model.name}; give one row per item."
            )
        prior = distributions.mean(0)
        votes = np.zeros((len(self), len(emotion_model)))
        for places, distribution in zip(concepts, distributions, strict=True):
            votes[list(places)] += distribution
        shares = (votes + PRIOR_WEIGHT * prior) / (votes.sum(1, keepdims=True) + PRIOR_WEIGHT)
        lift = shares / np.maximum(prior, 1e-9)
        polarities = np.array(emotion_model.polarities)
        learned = []
        for place, concept in enumerate(self.concepts):
            polarity = _published_polarity(concept.sentiment)
            seen = votes[place].sum() > 0
            if polarity is None and seen:
                masses = {name: shares[place][polarities == name].sum() for name in POLARITIES}
                polarity = max(POLARITIES, key=masses.__getitem__)
            among = (polarities == polarity) if polarity else np.zeros(len(polarities), dtype=bool)
            emotion = None
            if votes[place][among].sum() > 0:
                emotion = emotion_model.labels[int(np.where(among, lift[place], -1).argmax())]
            learned.append(replace(concept, polarity=polarity, emotion=emotion))
        return ConceptVocabulary(tuple(learned))

    def top(self, scores: np.ndarray, number: int = 5) -> tuple[ScoredText, ...]:
        """The best concepts of one image, best first.

        Args:
            scores: `(concepts,)` in [0, 1].
        """
        best = np.argsort(-np.asarray(scores), kind="stable")[:number]
        return tuple(ScoredText(self.concepts[i].name, float(min(max(scores[i], 0.0), 1.0))) for i in best)

    def to_list(self) -> list[dict[str, Any]]:
        """JSON-ready; absent facts are left out."""
        return [{key: value for key, value in vars(c).items() if value is not None} for c in self.concepts]

    @classmethod
    def from_list(cls, entries: Iterable[Any]) -> ConceptVocabulary:
        """From :meth:`to_list`, or from plain names.

        Raises:
            DataError: If an entry is neither a name nor such a dictionary.
        """
        concepts = []
        for entry in entries:
            fields = {"name": entry} if isinstance(entry, str) else entry
            name = fields.get("name") if isinstance(fields, dict) else None
            sentiment = fields.get("sentiment") if isinstance(fields, dict) else None
            if not isinstance(name, str) or not _is_sentiment(sentiment):
                raise DataError(
                    f"{str(entry)[:80]!r} is no concept; give a name, or a dictionary with 'name' and, if known, "
                    "'sentiment' (from -2 to 2), 'emotion' and 'polarity'."
                )
            emotion = fields.get("emotion")
            polarity = fields.get("polarity") if fields.get("polarity") in POLARITIES else None
            concepts.append(
                Concept(plain_concept(name), sentiment, emotion if isinstance(emotion, str) else None, polarity)
            )
        return cls(tuple(concepts))


def plain_concept(name: Any, longest: int | None = LONGEST_NAME) -> str:
    """A name in the form of :attr:`Concept.name`; what is longer than `longest` or not printable is cut."""
    text = str(name)
    if not text.isascii() or not text.isprintable():  # most are, and there are many
        text = "".join(c if c.isprintable() else " " for c in unicodedata.normalize("NFKC", text))
    return " ".join(text.replace("_", " ").casefold().split())[:longest].strip()


def _is_name(name: str) -> bool:
    return 0 < len(name) <= LONGEST_NAME and not set("<>") & set(name) and name == plain_concept(name)


def _is_sentiment(value: Any) -> bool:
    if value is None:
        return True
    return isinstance(value, int | float) and not isinstance(value, bool) and abs(value) <= MOST_SENTIMENT


def _published_polarity(sentiment: float | None) -> str | None:
    if sentiment is None or sentiment == 0:
        return None
    return "positive" if sentiment > 0 else "negative"


@lru_cache(maxsize=1)
def default_vocabulary() -> ConceptVocabulary:
    """SentiBank's 2,089 ANPs (Borth et al., ACM Multimedia 2013), with the Visual Sentiment Ontology's sentiment."""
    content = json.loads((files("iec_hub.affect") / "sentibank_concepts.json").read_text(encoding="utf-8"))
    return ConceptVocabulary(
        tuple(Concept(name, value, polarity=_published_polarity(value)) for name, value in content["concepts"].items())
    )


def read_vocabulary(path: Path) -> ConceptVocabulary:
    """A vocabulary from a file: a JSON list, or one name per line; in a CSV file the first column holds the names.

    Raises:
        DataError: If the file cannot be read or holds no names.
    """
    kind = path.suffix.lower()
    try:
        with path.open("rb") as file:
            content = file.read(_LARGEST_FILE + 1)
        if len(content) > _LARGEST_FILE:
            raise ValueError("it is too large")
        text = content.decode("utf-8-sig")
        entries = json.loads(text) if kind == ".json" else None
        if kind == ".json" and not isinstance(entries, list):
            raise ValueError("it holds no list")
        rows = csv.reader(io.StringIO(text)) if kind == ".csv" else ([line] for line in text.splitlines())
        names = [row[0] for row in rows if row and row[0].strip()] if entries is None else entries
    except (OSError, ValueError, RecursionError, csv.Error) as error:
        # Not an OSError's own text, which names the folder.
        reason = (error.strerror or "") if isinstance(error, OSError) else " ".join(str(error).split())
        reason = reason[:120] or type(error).__name__
        raise DataError(f"{path.name} cannot be read as a list of concepts; correct the file ({reason}).") from error
    if all(isinstance(name, str) for name in names):
        return ConceptVocabulary.from_names(names)
    return ConceptVocabulary.from_list(names)


__all__ = [
    "POLARITIES",
    "Concept",
    "ConceptVocabulary",
    "default_vocabulary",
    "plain_concept",
    "read_vocabulary",
]

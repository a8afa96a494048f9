"""The emotional-attribute chain of thought: from what a picture shows, attribute by attribute, to what it evokes.

Any reasoner answers with the same :class:`Reasoning`. The prompts are data (:class:`ReasoningPrompts`) and can be
replaced; :mod:`iec_hub.affect.reasoning_parsing` reads what a language model answers to them.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, fields
from importlib.resources import files
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

from iec_hub.affect.attributes import ATTRIBUTES
from iec_hub.data.schema import joined_text
from iec_hub.errors import DataError
from iec_hub.prediction import ReasoningStep

if TYPE_CHECKING:
    from PIL import Image

__all__ = ["Reasoner", "Reasoning", "ReasoningPrompts", "sentences_from_steps"]

_LONGEST_PROMPT = 4000
_LONGEST_FILE = 200_000


@dataclass(frozen=True)
class Reasoning:
    """How one picture was reasoned about.

    Attributes:
        steps: attribute, observation and the feeling it evokes, in the order of
            :data:`iec_hub.affect.attributes.ATTRIBUTES`, each attribute at most once; an attribute that the picture
            does not show is left out. Texts are on one line and without control characters, but not escaped for HTML.
        sentences: affective sentences that join the steps; the same holds for their texts.
        source: name of the reasoner that spoke; empty where none did.
        fallback: one sentence why another reasoner than the one asked spoke, or none at all; None where the one
            asked spoke.
    """

    steps: tuple[ReasoningStep, ...] = ()
    sentences: tuple[str, ...] = ()
    source: str = ""
    fallback: str | None = None


class Reasoner(Protocol):
    """Something that reasons about pictures.

    Attributes:
        name: what stands as the `source` of its reasoning.
    """

    name: str

    def reason(
        self, images: Sequence[Image.Image], embedded_texts: Sequence[str | None] | None = None
    ) -> list[Reasoning]:
        """One reasoning per picture; never raises because of one picture.

        Args:
            images: opened pictures.
            embedded_texts: the untrusted text read inside each picture, or None; left out, nothing was read.

        Raises:
            DataError: If there are more or fewer texts than pictures.
        """
        ...


def sentences_from_steps(steps: Sequence[ReasoningStep]) -> tuple[str, ...]:
    """One sentence per step that says what the step says, for a reasoner that wrote steps and no sentences."""
    written = []
    for step in steps:
        seen = step.observation.rstrip(" .!?;,")
        written.append(f"{seen[:1].upper()}{seen[1:]}: this evokes {step.feeling}.")
    return tuple(written)


@dataclass(frozen=True)
class ReasoningPrompts:
    """What a language model is asked.

    Attributes:
        version: names the wording, for whoever keeps answers.
        structured: asks for all steps and sentences as one JSON object.
        questions: attribute to question, asked one after the other in this order; of
            :data:`iec_hub.affect.attributes.ATTRIBUTES`, at least one.
        sentences: asks for the affective sentences once all questions are answered.
        retry: is put behind a prompt whose answer could not be read.
        quotation: stands before the text that was read inside the picture, which follows as one JSON string.
        after_quotation: stands between that text and the request; may be empty.

    Raises:
        DataError: If a text is missing, empty, too long or no text, or an attribute is unknown.
    """

    version: str
    structured: str
    questions: Mapping[str, str]
    sentences: str
    retry: str
    quotation: str
    after_quotation: str = ""

    def __post_init__(self) -> None:
        for field in fields(self):
            if field.name != "questions":
                _check_prompt(field.name, getattr(self, field.name), empty=field.name == "after_quotation")
        if not isinstance(self.questions, Mapping) or not self.questions:
            raise DataError("The prompts have no questions; give attribute and question for at least one attribute.")
        for attribute, question in self.questions.items():
            if attribute not in ATTRIBUTES:
                shown = joined_text([str(attribute)[:40]])
                raise DataError(f"The prompts ask for {shown!r}; give one of {', '.join(ATTRIBUTES)}.")
            _check_prompt(f"questions.{attribute}", question)

    @classmethod
    def load(cls, path: str | Path | None = None) -> ReasoningPrompts:
        """The prompts of a JSON file with this class's attributes as keys; left out, the ones of this package.

        Raises:
            DataError: If the file cannot be read or has another form.
        """
        source = files("iec_hub.affect") / "reasoning_prompts.json" if path is None else Path(path)
        try:
            raw = source.read_bytes()
            if len(raw) > _LONGEST_FILE:
                raise ValueError("it is too long")
            content = json.loads(raw.decode("utf-8"))
        # Deeply nested JSON ends in a RecursionError.
        except (OSError, ValueError, RecursionError) as error:
            reason = joined_text([str(error)[:200]])
            raise DataError(
                f"The prompts cannot be read; give a JSON file like the package's own ({reason})."
            ) from error
        return cls.from_dict(content)

    @classmethod
    def from_dict(cls, content: Any) -> ReasoningPrompts:
        """Reads the content of such a file.

        Raises:
            DataError: If it has another form.
        """
        names = [field.name for field in fields(cls)]
        if not isinstance(content, dict):
            raise DataError(f"The prompts are no JSON object; give one with the keys {', '.join(names)}.")
        needed = [name for name in names if name != "after_quotation"]
        wrong = [name for name in needed if name not in content] + [name for name in content if name not in names]
        if wrong:
            shown = joined_text([str(wrong[0])[:40]])
            raise DataError(f"The prompts lack {shown!r} or do not know it; give exactly {', '.join(names)}.")
        return cls(**content)

    @property
    def digest(self) -> str:
        """12 hexadecimal digits that change with any of the texts, for whoever keeps answers."""
        content = {field.name: getattr(self, field.name) for field in fields(self)}
        # Not sorted: the order of the questions counts.
        raw = json.dumps(content | {"questions": list(self.questions.items())}, ensure_ascii=False)
        return hashlib.sha256(raw.encode()).hexdigest()[:12]


def _check_prompt(name: str, text: Any, empty: bool = False) -> None:
    if not isinstance(text, str) or len(text) > _LONGEST_PROMPT or not (text.strip() or empty):
        raise DataError(f"The prompt {name!r} has to be a text of 1 to {_LONGEST_PROMPT} characters; write one.")

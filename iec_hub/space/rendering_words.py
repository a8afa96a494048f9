"""What a decision from words rests on, as HTML: deciding words, concepts, reasoning and affective sentences.

In every function `None` is a part that a method does not have, which gives no HTML, and an empty one is a part in
which nothing was found, which gives one sentence.
"""

import math
import re
from collections.abc import Mapping, Sequence
from html import escape

from iec_hub.prediction import ReasoningStep, ScoredText
from iec_hub.space import texts
from iec_hub.space.escaping import percent, plain, safe_html

# More than these would hide what matters.
MAX_WORDS = 8
MAX_CONCEPTS = 12
MAX_STEPS = 12
MAX_SENTENCES = 8
LONGEST_WORD = 60
LONGEST_SENTENCE = 600


def section(title: str, hint: str, body: str) -> str:
    """A heading, a line that says how to read what follows, and that."""
    return f'<h3>{escape(title)}</h3><p class="iec-hint iec-lead">{escape(hint)}</p>{body}'


def nothing(title: str, sentence: str) -> str:
    """A heading, and in place of its content the sentence that nothing was found."""
    return f'<h3>{escape(title)}</h3><p class="iec-rest">{escape(sentence)}</p>'


def score_of(value: float) -> float:
    """A score that is no number, or beyond 0 and 1, as one between them."""
    return min(1.0, max(0.0, value)) if math.isfinite(value) else 0.0


def deciding(words: Sequence[ScoredText] | None) -> list[tuple[str, float]]:
    """The words that spoke for the decision with their shares of it (0 to 1), strongest first."""
    given = ((plain(word.text, LONGEST_WORD).strip(), score_of(word.score)) for word in words or ())
    return sorted(((text, share) for text, share in given if text and share > 0), key=lambda item: -item[1])


def word_marks(words: Sequence[tuple[str, float]]) -> dict[str, float]:
    """How strongly each shown word is marked wherever it stands: its share next to the strongest one's, 0 to 1."""
    marks: dict[str, float] = {}
    for text, share in words[:MAX_WORDS]:
        marks.setdefault(text.casefold(), share / words[0][1])
    return marks


def marked(text: str, marks: Mapping[str, float], longest: int = LONGEST_SENTENCE) -> str:
    """A text in which the deciding words are marked, whole words only and whatever their case."""
    text = plain(text, longest)
    if not marks:
        return escape(text)
    # The longest first, so that "dark sky" is not taken for "dark".
    words = "|".join(re.escape(word) for word in sorted(marks, key=len, reverse=True))
    pieces, position = [], 0
    for match in re.finditer(rf"(?<!\w)(?:{words})(?!\w)", text, re.IGNORECASE):
        # Some letters match others that no longer fold to the same ones.
        strength = marks.get(match[0].casefold())
        if strength is not None:
            pieces += [escape(text[position : match.start()]), _mark(match[0], strength)]
            position = match.end()
    return "".join([*pieces, escape(text[position:])])


def deciding_html(words: Sequence[ScoredText] | None, emotion: str) -> str:
    """The words that decided as a list of bars, and what the others add up to."""
    if words is None:
        return ""
    found = deciding(words)
    if not found:
        return nothing(texts.DECIDING, texts.NO_DECIDING)
    strongest = found[0][1]
    rows = "".join(
        f'<li class="iec-weight"><bdi>{_mark(text, share / strongest)}</bdi> '
        f'<span class="iec-track" aria-hidden="true"><span style="width:{100 * share / strongest:.1f}%"></span></span>'
        f'<span class="iec-part">{percent(share)}</span></li>'
        for text, share in found[:MAX_WORDS]
    )
    others, rest = 1.0 - sum(share for _, share in found[:MAX_WORDS]), ""
    if others >= 0.005:
        rest = f'<p class="iec-rest">{texts.OTHER_WORDS.format(share=percent(others))}</p>'
    hint = texts.deciding_hint(plain(emotion))
    return section(texts.DECIDING, hint, f'<ul class="iec-weights" role="list">{rows}</ul>{rest}')


def concepts_html(concepts: Sequence[ScoredText] | None, marks: Mapping[str, float]) -> str:
    """The concepts as chips, each with its score as text and as a bar."""
    if concepts is None:
        return ""
    if not concepts:
        return nothing(texts.CONCEPTS, texts.NO_CONCEPTS)
    chips = "".join(
        f'<li class="iec-chip"><bdi>{marked(concept.text, marks, LONGEST_WORD)}</bdi> '
        f'<span class="iec-part">{percent(score_of(concept.score))}</span>'
        f'<i aria-hidden="true"><i style="width:{100 * score_of(concept.score):.1f}%"></i></i></li>'
        for concept in concepts[:MAX_CONCEPTS]
    )
    return section(texts.CONCEPTS, texts.CONCEPTS_HINT, f'<ul class="iec-chips" role="list">{chips}</ul>')


def reasoning_html(steps: Sequence[ReasoningStep] | None, marks: Mapping[str, float]) -> str:
    """The chain of thought as numbered steps: what was looked at, what was seen, and the feeling that it evokes."""
    if steps is None:
        return ""
    if not steps:
        return nothing(texts.REASONING, texts.NO_REASONING)
    rows = "".join(f"<li>{_step(step, marks)}</li>" for step in steps[:MAX_STEPS])
    return section(texts.REASONING, texts.REASONING_HINT, f'<ol class="iec-steps" role="list">{rows}</ol>')


def sentences_html(sentences: Sequence[str] | None, marks: Mapping[str, float]) -> str:
    """The affective sentences as quotations."""
    if sentences is None:
        return ""
    if not sentences:
        return nothing(texts.SENTENCES, texts.NO_SENTENCES)
    quotes = "".join(
        f'<blockquote class="iec-sentence" dir="auto">{marked(sentence, marks)}</blockquote>'
        for sentence in sentences[:MAX_SENTENCES]
    )
    return section(texts.SENTENCES, texts.SENTENCES_HINT, f'<div class="iec-quotes">{quotes}</div>')


def _step(step: ReasoningStep, marks: Mapping[str, float]) -> str:
    name = safe_html(texts.step_name(step.attribute), LONGEST_WORD)
    felt = ""
    if step.feeling.strip():
        # The arrow is a picture of the word that a screen reader says in its place; no line ends with it.
        felt = (
            ' <span class="iec-arrow" aria-hidden="true">→</span>&nbsp;'
            f'<span class="iec-aside">{escape(texts.EVOKES)} </span>'
            f'<bdi class="iec-felt">{marked(step.feeling, marks)}</bdi>'
        )
    return (
        f'<bdi class="iec-looked">{name}</bdi><span class="iec-aside">: </span>'
        f'<span class="iec-thought"><bdi>{marked(step.observation, marks)}</bdi>{felt}</span>'
    )


def _mark(text: str, strength: float) -> str:
    return f'<mark class="iec-mark" style="--charge:{strength:.3f}">{escape(text)}</mark>'

"""How strongly a picture evokes each emotion, in words: "clear awe and some contentment".

The words are this project's own. They are as fine as a reader needs, and as coarse as a language model that has seen
few pictures can learn.
"""

from __future__ import annotations

from collections.abc import Sequence

from iec_hub.affect.phrases import plain_name

# From which probability on an emotion is told with which strength; what is below the last one is not told.
STRENGTHS = (
    (0.62, "very strong"),
    (0.47, "strong"),
    (0.35, "clear"),
    (0.26, "moderate"),
    (0.18, "some"),
    (0.12, "slight"),
    (0.07, "faint"),
)
MOST_FEELINGS = 3
# Labels that are no nouns.
_ADJECTIVES = ("neutral", "positive", "negative")
NO_FEELING = "no clear feeling"


def feeling_words(labels: Sequence[str], probabilities: Sequence[float], most: int = MOST_FEELINGS) -> str:
    """The most probable emotions with their strengths, strongest first.

    Args:
        labels: emotions, untrusted: their words are taken without markup.
        probabilities: one per label.

    Returns:
        "strong fear", "clear awe and some contentment", "some awe, some fear and slight joy"; :data:`NO_FEELING`
        where no emotion has the last strength.
    """
    order = sorted(range(len(labels)), key=lambda i: -probabilities[i])[:most]
    told = []
    for index in order:
        word = next((word for least, word in STRENGTHS if probabilities[index] >= least), None)
        name = plain_name(labels[index]).lower()
        if word is not None and name:
            told.append(f"{word} {name} feelings" if name in _ADJECTIVES else f"{word} {name}")
    if len(told) < 2:
        return "".join(told) or NO_FEELING
    return f"{', '.join(told[:-1])} and {told[-1]}"


__all__ = ["MOST_FEELINGS", "NO_FEELING", "STRENGTHS", "feeling_words"]

"""Leak check: how much of an accuracy hangs on emotion words in a text that decides.

A text may name the very emotion that is asked for. Masking those words shows what the rest of the text is worth.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from functools import lru_cache

from iec_hub.emotions import EMOTION_MODELS, EmotionModel

MASK = "..."
_ENDINGS = (
    *("ation", "ement", "edom", "ance", "ence", "ness", "ment", "tion"),
    *("ing", "ful", "ion", "ity", "ous", "al", "er", "ed", "e", "y"),
)
_SHORTEST_STEM = 4
# What they leave is a word of its own: "sad" of "sadness", but not "ang" of "anger".
_LEAVES_A_WORD = ("ness", "ful")
# Other forms of label words that begin otherwise, and "happy", which is what everybody says for joy.
_FURTHER_STEMS = ("angr", "boring", "bored", "ecstat", "griev", "happi", "happy", "raging", "terrif")
# Words that begin like an emotion and are none.
_ORDINARY = ("admiral", "amazon", "contenti", "contents")
_BEFORE = ("dis", "en", "mis", "out", "over", "un")
# Of a short word its own forms alone, "sadder" and "saddened", neither "saddle" nor "joint". They are put behind each
# other, so no form may be made of others: that would take forever on a hostile text.
_FORMS = (
    *("s", "d", "ed", "en", "er", "est", "ing", "ly"),
    *("ness", "ful", "less", "ment", "ous", "some", "struck"),
)
_FUNCTION_WORDS = {"a", "an", "and", "for", "in", "of", "on", "or", "the", "to", "with"}


def emotion_stems(emotion_models: Iterable[EmotionModel] = ()) -> tuple[str, ...]:
    """How the words for emotions begin: of all labels and label words of the package's emotion models and the given
    ones; "sad" for "sadness", "amus" for "amusement"."""
    stems = set(_FURTHER_STEMS)
    for model in (*EMOTION_MODELS.values(), *emotion_models):
        for phrase in (*model.labels, *model.phrases):
            stems |= {_stem(word) for word in re.findall(r"[^\W\d_]+", phrase.casefold())}
    return tuple(sorted(stems - _FUNCTION_WORDS))


def _stem(word: str) -> str:
    """The word without an ending, unless what is left is too short to tell words apart."""
    for ending in _ENDINGS:
        shortest = _SHORTEST_STEM - 1 if ending in _LEAVES_A_WORD else _SHORTEST_STEM
        if word.endswith(ending) and len(word) - len(ending) >= shortest:
            return word.removesuffix(ending)
    return word


@lru_cache(maxsize=8)
def _pattern(stems: tuple[str, ...]) -> re.Pattern[str]:
    long = "|".join(re.escape(stem) for stem in stems if len(stem) >= _SHORTEST_STEM)
    forms = f"(?:{'|'.join(_FORMS)})*"
    short = "|".join(
        f"{re.escape(stem)}{re.escape(stem[-1])}?{forms}" for stem in stems if 2 < len(stem) < _SHORTEST_STEM
    )
    whole = "|".join(re.escape(stem) for stem in stems if len(stem) <= 2)
    # An underscore, which stands between the words of a concept, is no letter here.
    kinds = [rf"(?:{long})[^\W_]*"] * bool(long) + [f"(?:{part})" for part in (short, whole) if part]
    begin = rf"(?<![^\W_])(?!{'|'.join(_ORDINARY)})(?:{'|'.join(_BEFORE)})?"
    return re.compile(rf"{begin}(?:{'|'.join(kinds)})(?![^\W_])" if kinds else r"(?!)", re.IGNORECASE)


def masked_emotion_words(text: str, stems: tuple[str, ...] | None = None) -> str:
    """The text with every word that begins like an emotion's replaced by :data:`MASK`; rather too many than too few.

    "Unhappy" and "enraged" are masked as "happy" and "rage" are.

    Args:
        stems: of :func:`emotion_stems`; left out, the package's.
    """
    return _pattern(emotion_stems() if stems is None else stems).sub(MASK, text)


__all__ = ["MASK", "emotion_stems", "masked_emotion_words"]

"""Blanks that a text reader lost, put back: "IAMSOHAPPY" is "I AM SO HAPPY".

Word and pair frequencies are those of the package `wordsegment` (from the Google Web Trillion Word Corpus, by Norvig,
"Natural Language Corpus Data", 2009). Only letters that English has are ever parted, and only where each part is
common, so that names, other languages, links and hashtags stay as they are.
"""

from __future__ import annotations

import math
import re
import threading
from collections.abc import Mapping, Sequence
from functools import cache

# Occurrences in the corpus's 1.02e12 words.
_TOTAL = 1024908267229.0
# Least number for words of two, three and more letters: the shorter, the more of them are only abbreviations.
_COMMON_WORD = {2: 1e8, 3: 3e7}
_COMMON_LONG_WORD = 3e6
_STOP_WORD = 1e9
# A token as frequent as this is a word whatever it could be split into ("into", "together", "therapist").
_KNOWN_WORD = 1.5e6
# How many times more probable, as a power of ten, the words of a split have to be than the token as a rare word.
_MARGIN = 1.0
_LONGEST_TOKEN, _LONGEST_WORD = 120, 20
# The reader's own trust in a blank where it wrote none. Measured on lines of known words: within words it stays below
# 0.05, between glued ones it mostly lies from 0.1 to 0.5. From the first share on it only backs a split into common
# words, from the second one a blank stands unless it would cut a known word, from the third one always.
_WEAK_BLANK, _SEEN_BLANK, _SURE_BLANK = 0.015, 0.1, 0.4

_LINK = re.compile(r"https?:|www\.|://|[@#$]|\w\.(?:com|org|net|edu|gov|io|co|uk|de|fr|me|ly|tv)\b", re.IGNORECASE)
_PARTS = re.compile(r"[A-Za-z]+(?:['’][A-Za-z]+)*|[^A-Za-z]+")
# Where the blank after a sentence's or a clause's end is missing; an abbreviation or a number has none there.
_FULL_STOP = re.compile(r"(?:(?<=[a-z]{2})[.!?;]+(?=[A-Z][a-z])|(?<=[A-Z]{2})[.!?;]+(?=[A-Z]{2}))")
_COMMA = re.compile(r"(?<=[A-Za-z]{2})[,;](?=[A-Za-z]{2})")
# A lower-case l that can only be the capital I, which many fonts draw alike: "l am", "l'm", "CGl".
_LOWER_L = re.compile(r"^l(?=$|['’](?:m|ll|ve|d)$)|(?<=[A-Z]{2})l(?=[A-Z]|$)")
_ENDED_WORD = re.compile(r"([A-Za-z]+)[.,!?;:\"')]*")
_SHORTEST_MENDED = 4
_LAST_I = re.compile(r"(?<=[a-z]{3})I(?=$|['’])")
# Written without its apostrophe the corpus has few of these; they count as common where the apostrophe was read.
_CONTRACTIONS = frozenset(
    ("im", "ive", "id", "ill", "youre", "youve", "youd", "youll", "hes", "shes", "its", "thats", "whats", "theres")
    + ("heres", "whos", "lets", "were", "weve", "wed", "theyre", "theyve", "theyll", "dont", "doesnt", "didnt", "cant")
    + (
        "couldnt",
        "wont",
        "wouldnt",
        "shouldnt",
        "isnt",
        "arent",
        "wasnt",
        "werent",
        "havent",
        "hasnt",
        "hadnt",
        "aint",
    )
)
_CONTRACTION_NUMBER = 2e7
# What the corpus wrote in two words.
_WHOLE = frozenset(("cannot", "alot"))
_LOADING = threading.Lock()


def restore_spaces(text: str, blanks: Sequence[float] | None = None) -> str:
    """One line of text with the blanks that a reader lost between English words.

    Where the reader tells its trust in blanks and had none, a token is only parted into several words or at a very
    frequent one ("Ijust"): compounds such as "facepalm" look like two words to a corpus that is older than they are.

    Args:
        text: as it was read.
        blanks: for each character of the text the reader's trust, 0 to 1, that a blank stands before it; optional.
    """
    # A letter that English lacks says that this is another language.
    english = not any(letter.isalpha() and not letter.isascii() for letter in text)
    parts, start = [], 0
    for token in text.split(" "):
        trust = None if blanks is None else blanks[start : start + len(token)]
        parts += _parted_token(token, trust, english)
        start += len(token) + 1
    return " ".join(_mended(parts) if english else parts)


def _parted_token(token: str, trust: Sequence[float] | None, english: bool) -> list[str]:
    """The words of what stood between two blanks."""
    if len(token) > _LONGEST_TOKEN or _LINK.search(token):
        return [token]
    cuts = set() if trust is None else {i for i in range(1, len(token)) if _is_seen(token, i, trust[i])}
    if english:
        token = _LOWER_L.sub("I", token)
        cuts |= {found.start() for found in _LAST_I.finditer(token)}
        cuts |= {found.end() for found in _COMMA.finditer(token)}
        if trust is None:
            cuts |= {found.end() for found in _FULL_STOP.finditer(token)}
    places = [0, *sorted(cuts), len(token)]
    pieces = []
    for start, end in zip(places, places[1:], strict=False):
        piece = token[start:end]
        pieces.append(_parted_piece(piece, None if trust is None else trust[start:end]) if english else piece)
    return pieces


def _mended(parts: Sequence[str]) -> list[str]:
    """Neighbours put together that are no words and together are one, such as "h onestly" and "wh en"."""
    mended: list[str] = []
    for part in parts:
        ending = _ENDED_WORD.fullmatch(part)
        if mended and ending and mended[-1].isalpha() and _belong_together(mended[-1], ending[1]):
            mended[-1] += part
        else:
            mended.append(part)
    return mended


def _belong_together(first: str, second: str) -> bool:
    # "Wal Mart", "the M": two capitals are two words.
    if _is_camel_case(first + second):
        return False
    words, _ = _frequencies()
    first, second = first.lower(), second.lower()
    whole = words.get(first + second, 0)
    if whole < _KNOWN_WORD or len(first + second) < _SHORTEST_MENDED:
        return False
    return any(part not in ("a", "i") and (len(part) == 1 or not _number(part, words)) for part in (first, second))


def _is_seen(token: str, index: int, trust: float) -> bool:
    """Whether the reader's trust in a blank before the character is enough."""
    if trust >= _SURE_BLANK or trust < _SEEN_BLANK:
        return trust >= _SURE_BLANK
    before, after = re.search(r"[A-Za-z]*$", token[:index]).group(), re.match(r"[A-Za-z]*", token[index:]).group()
    if before and after:
        words, _ = _frequencies()
        return words.get((before + after).lower(), 0) < _KNOWN_WORD
    return token[index].isalnum() and (token[index - 1].isalnum() or token[index - 1] in ".,;:!?\"'")


def _parted_piece(piece: str, trust: Sequence[float] | None) -> str:
    parts = []
    for run in _PARTS.finditer(piece):
        own = None if trust is None else trust[run.start() : run.end()]
        parts.append(_parted_word(run.group(), own) if run.group()[0].isalpha() else run.group())
    return "".join(parts)


def _parted_word(word: str, trust: Sequence[float] | None) -> str:
    """A run of letters and apostrophes as words, in its own upper and lower case."""
    marks = sum(not letter.isalpha() for letter in word)
    if marks > 1 or len(word) < 3 or _is_camel_case(word):
        return word
    parts, start = [], 0
    for length in best_split(word.lower().replace("’", "'")):
        parts.append(word[start : start + length])
        start += length
    if len(parts) == 2 and trust is not None and trust[len(parts[0])] < _WEAK_BLANK:
        return " ".join(parts) if any(map(is_very_frequent, parts)) else word
    return " ".join(parts)


def is_very_frequent(word: str) -> bool:
    """Whether every thousandth word or more is this one, such as "the", "of" or "I"."""
    words, _ = _frequencies()
    return words.get(word.lower(), 0) >= _STOP_WORD


def _is_camel_case(word: str) -> bool:
    """Names such as iPhone, McDonald or SpongeBob; "Ijust" is none: a first capital alone tells nothing."""
    inner = [index for index in range(1, len(word)) if word[index].isupper() and word[index - 1].islower()]
    return bool(inner) and not word.isupper()


def _frequencies() -> tuple[Mapping[str, float], Mapping[str, float]]:
    """Words and pairs of words with their number of occurrences; both empty where the package is missing."""
    # The cache alone would let every thread that comes meanwhile load half a million rows of its own.
    with _LOADING:
        return _loaded_frequencies()


@cache
def _loaded_frequencies() -> tuple[Mapping[str, float], Mapping[str, float]]:
    try:
        import wordsegment
    except ImportError:
        return {}, {}
    segmenter = wordsegment.Segmenter()
    segmenter.load()
    return segmenter.unigrams, segmenter.bigrams


def best_split(word: str) -> tuple[int, ...]:
    """Lengths of the common English words that a lower-case token is made of; `(len(word),)` where it stays whole."""
    words, pairs = _frequencies()
    plain = word.replace("'", "")
    if not words or words.get(plain, 0) >= _KNOWN_WORD or plain in _WHOLE:
        return (len(word),)
    if plain != word and plain in _CONTRACTIONS:
        return (len(word),)
    # best[end][start of the last word] = log10 of the probability, and the start of the word before it.
    best: list[dict[int, tuple[float, int]]] = [{} for _ in range(len(word) + 1)]
    for end in range(1, len(word) + 1):
        for start in range(max(0, end - _LONGEST_WORD), end):
            number = _number(word[start:end], words)
            if number and start == 0:
                best[end][0] = (math.log10(number / _TOTAL), 0)
            elif number:
                options = [
                    (score + chance, before)
                    for before, (score, _) in best[start].items()
                    if (chance := _chance(word[before:start], word[start:end], words, pairs)) is not None
                ]
                if options:
                    best[end][start] = max(options)
    if not best[-1]:
        return (len(word),)
    start, (score, _) = max(best[-1].items(), key=lambda item: item[1][0])
    # As wordsegment scores a word it does not know: less with every letter.
    rare = math.log10(words[plain] / _TOTAL) if plain in words else math.log10(10 / _TOTAL) - len(plain)
    if start == 0 or score < rare + _MARGIN:
        return (len(word),)
    lengths, end = [], len(word)
    while end:
        lengths.append(end - start)
        end, start = start, best[end][start][1]
    return tuple(reversed(lengths))


def _number(part: str, words: Mapping[str, float]) -> float:
    """Occurrences of a part that may stand alone, 0 for one that is too rare for that."""
    plain = part.replace("'", "")
    if plain != part:
        # An apostrophe belongs into its word: "it'" and "'s" are none.
        inside = part[0] != "'" and part[-1] != "'"
        return max(_CONTRACTION_NUMBER, words.get(plain, 0)) if inside and plain in _CONTRACTIONS else 0.0
    if len(part) == 1:
        return words[part] if part in "ai" else 0.0
    number = words.get(part, 0.0)
    return number if number >= _COMMON_WORD.get(len(part), _COMMON_LONG_WORD) else 0.0


def _chance(first: str, second: str, words: Mapping[str, float], pairs: Mapping[str, float]) -> float | None:
    """log10 of the probability of `second` after `first`; None where nothing speaks for this pair.

    A pair that the corpus lacks is possible between words that are long or very frequent (the "stupid backoff" of
    Brants et al., 2007, with the tenth of the word's own probability).
    """
    plain = (first.replace("'", ""), second.replace("'", ""))
    pair = pairs.get(" ".join(plain), 0)
    if pair:
        return math.log10(pair / max(pair, _number(first, words)))
    if all(_number(part, words) >= _STOP_WORD or len(part) > 2 for part in (first, second)):
        return math.log10(_number(second, words) / _TOTAL) - 1 if min(map(len, plain)) > 1 else None
    return None

"""Names of scenes, objects, actions and expressions as English phrases: articles, plurals, prepositions.

:mod:`iec_hub.affect.phrase_tables` holds what the rules here get wrong; any other name goes by the rules.
"""

from __future__ import annotations

import re

from iec_hub.affect.phrase_tables import (
    ACTIONS,
    EXPRESSIONS,
    MANY_PERSONS,
    MASS,
    OBJECTS,
    ONLY_ONES,
    PERSONS,
    PLURAL_WITHOUT_S,
    PREPOSITIONS,
    PROPER,
    SCENE_PHRASES,
    SCENE_WORDS,
    SINGULAR_WITH_S,
)

LONGEST_NAME = 60

_INDEFINITE = re.compile(r"^(?:an?|some|one) (?=\w)", re.IGNORECASE)
_DETERMINED = ("the ", "this ", "that ", "these ", "those ", "several ", "many ", "two ", "three ")
# A vowel that is spoken "you" or "one" takes "a"; a silent h takes "an".
_SPOKEN_CONSONANT = re.compile(
    r"^(?:uni(?!n|m)|us[aeiu]|ut[eo]|u[bfkr][aeiou](?!n)|eu|ewe|ewer|one\b|once|ufo|urin)", re.I
)
_SPOKEN_VOWEL = re.compile(r"^(?:hour|honest|honou?r|heir|8|11\b|18\b|x-?ray)", re.I)
_MACHINE = re.compile(r"\b(?:cassette|cd|dvd|media|mp3|music|record|tape|video) player$", re.I)
_LETTERS_WITH_VOWEL = frozenset("AEFHILMNORSX")


def plain_name(label: object) -> str:
    """An untrusted name as plain words: one line, no markup, brackets or sentence ends, at most 60 characters."""
    text = "".join(c if c.isprintable() else " " for c in str(label)[:1000]).replace("_", " ")
    text = re.sub(r"\([^()]*\)", " ", text)
    text = re.sub(r"[<>\[\]{}()|\\\"`*#@^~=;:!?…]+|[.,](?=\s|$)", " ", text)
    kept = ""
    for word in text.split():
        if len(f"{kept} {word}") > LONGEST_NAME:
            break
        kept = f"{kept} {word}".lstrip()
    # A first word that alone is too long is cut.
    return (kept or text.strip()[:LONGEST_NAME]).strip("-–—'/.,& ")


def lower_name(name: str) -> str:
    """The name as it stands within a sentence: proper names and abbreviations keep their capitals."""
    # "CD player" holds an abbreviation, "TEDDY BEAR" only shouts.
    shouted = name.isupper() and name not in ("TV", "DVD", "UFO")
    words = []
    for word in name.split():
        abbreviation = 2 <= len(word) <= 4 and word.isupper() and not shouted
        words.append(PROPER.get(word.casefold(), word if abbreviation else word.lower()))
    return " ".join(words)


def with_article(name: str) -> str:
    """`name` with "a" or "an", "the" where there is only one, or as it is if plural, a mass or already determined."""
    if name.casefold() in ONLY_ONES:
        return f"the {name}"
    if name.lower().startswith(_DETERMINED) or _takes_no_article(name):
        return name
    return f"{'an' if _begins_with_vowel(name) else 'a'} {name}"


def article_for(word: str) -> str:
    """ "a" or "an", whichever stands before `word`."""
    return "an" if _begins_with_vowel(word) else "a"


def _begins_with_vowel(name: str) -> bool:
    first = name.split()[0] if name.split() else ""
    if len(first) > 1 and first.isupper() and not (len(first) > 3 and any(c in "AEIOU" for c in first[1:])):
        return first[0] in _LETTERS_WITH_VOWEL
    if _SPOKEN_VOWEL.match(name):
        return True
    return name[:1].lower() in "aeiouáéíóúàèìòùäöüâêîôûåæœø" and not _SPOKEN_CONSONANT.match(name)


def _takes_no_article(name: str) -> bool:
    head = head_word(name)
    return is_plural(name) or head in MASS


def head_word(name: str) -> str:
    """The word that says what it is: "chest" in "chest of drawers", "truck" in "fire truck"."""
    words = re.split(r" (?:of|with|in|on|for) ", name.casefold())[0].split()
    return words[-1] if words else ""


def is_plural(name: str) -> bool:
    """Whether the name stands for several things: "trees", "people"."""
    head = head_word(name)
    if head in PLURAL_WITHOUT_S:
        return True
    s_ending = len(head) > 3 and head.endswith("s") and not head.endswith(("ss", "us", "is"))
    return s_ending and head not in SINGULAR_WITH_S


def object_phrase(label: object) -> str:
    """An object with its article, "a bench", "trees"; empty if there is no name."""
    name = object_name(label)
    return with_article(name) if name else ""


def object_name(label: object) -> str:
    """An object's name without an article, as it stands within a sentence; empty if there is none."""
    name = lower_name(_INDEFINITE.sub("", plain_name(label)))
    name = OBJECTS.get(plain_name(label).casefold(), name)
    return name.replace(" & ", " and ")


def is_person(name: str) -> bool:
    """Whether an object's name stands for a person or several."""
    return head_word(name) in PERSONS and not _MACHINE.search(name)


def is_several_persons(name: str) -> bool:
    """Whether an object's name stands for more than one person."""
    return head_word(name) in MANY_PERSONS or (is_person(name) and is_plural(name))


def scene_phrases(label: object) -> tuple[str, str] | None:
    """A scene as what a picture shows and as a place: ("a beach", "on a beach"); None if there is no name."""
    name = lower_name(_INDEFINITE.sub("", plain_name(label)))
    if not name:
        return None
    if name in SCENE_PHRASES:
        return SCENE_PHRASES[name]
    name = _without_slash(name)
    if name in SCENE_PHRASES:
        return SCENE_PHRASES[name]
    if name.endswith(" interior"):
        inside = with_article(name.removesuffix(" interior"))
        return f"the inside of {inside}", f"inside {inside}"
    preposition = _preposition(name)
    words = SCENE_WORDS.get(name, name)
    if preposition.endswith(" the") and not words.startswith("the "):
        return f"the {words}", f"{preposition} {words}"
    thing = with_article(words)
    return thing, f"{preposition} {thing}"


def _preposition(name: str) -> str:
    """The longest known ending decides: an "outdoor swimming pool" goes with "swimming pool"."""
    words = name.removeprefix("the ").split()
    for start in range(len(words)):
        ending = " ".join(words[start:])
        if ending in PREPOSITIONS:
            found = PREPOSITIONS[ending]
            # "the desert" is one of a kind, "a salt desert" is not.
            return found.removesuffix(" the") if start else found
    return "in"


def _without_slash(name: str) -> str:
    """Places365's kinds: "field/wild" is a wild field, "bakery/shop" a bakery, "church/outdoor" a church."""
    head, _, kind = name.partition("/")
    head, kind = head.strip(), kind.replace("/", " ").strip()
    if not kind or kind in ("shop", "indoor", "outdoor", "interior", "exterior", "indoors", "outdoors", "public"):
        return head or kind
    return f"{kind} {head}".strip()


def action_phrase(label: object) -> tuple[str, str] | None:
    """Who, if the name says so, and what they are doing: ("", "riding a bike"), ("a baby", "crawling").

    None if there is no name.
    """
    name = lower_name(plain_name(label).replace("/", " or "))
    if not name:
        return None
    words = ACTIONS.get(name.casefold(), name)
    who, separator, what = words.partition("|")
    if separator:
        return who, what
    doing = any(word.endswith("ing") for word in words.split()[:2]) and words.split()[0] not in ("wing", "king")
    return "", words if doing else f"doing {words}"


def expression_word(label: object) -> str:
    """A facial expression as an adjective: "surprise" is "surprised"; empty if there is no name."""
    name = lower_name(plain_name(label))
    return EXPRESSIONS.get(name, name).removesuffix(" face").removesuffix(" expression")

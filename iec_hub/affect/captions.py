"""Affective captions: one sentence made of a picture's emotional attributes, and of the emotion it evokes.

The sentences are this project's own design. A caption says what the attributes say and nothing else; a slot that is
absent leaves no trace.
"""

from __future__ import annotations

import random
from collections.abc import Sequence
from dataclasses import dataclass, replace

from iec_hub.affect.attributes import ImageAttributes
from iec_hub.affect.phrase_tables import GENERAL_OBJECTS
from iec_hub.affect.phrases import (
    action_phrase,
    article_for,
    expression_word,
    head_word,
    is_person,
    is_several_persons,
    lower_name,
    object_name,
    plain_name,
    scene_phrases,
    with_article,
)

# Of 1,200 photographs of FI, OASIS and Emotion6, about the darkest 15 % and the brightest 10 %.
DARK, BRIGHT = 0.25, 0.6
VERY_DARK, VERY_BRIGHT = 0.12, 0.75
# Hasler and Suesstrunk's "slightly", "quite" and "highly colourful", as in `attributes.colorfulness`.
DULL, VIVID = 0.14, 0.54
VERY_DULL, VERY_VIVID = 0.05, 0.75
MOST_OBJECTS = 3

_TONES = {
    "dark": ("dark", "dim", "dimly lit"),
    "bright": ("bright", "luminous", "brightly lit"),
    "dull": ("dull", "muted", "drab"),
    "vivid": ("vivid", "colourful", "vibrant"),
}
_PHOTOS = ("photo", "picture", "image", "shot")
# Labels that are no nouns: what the picture does.
_FEELINGS = {
    "neutral": ("leaves people neutral", "leaves viewers neutral", "leaves people with neutral feelings"),
    "positive": ("evokes positive feelings", "makes people feel positive", "gives viewers positive feelings"),
    "negative": ("evokes negative feelings", "makes people feel negative", "gives viewers negative feelings"),
}
# Objects that an action names by a word of its own.
_MEANS = {
    "bicycle": "bike",
    "canoe": "canoeing",
    "drink": "drinking",
    "motorcycle": "motorcycling",
    "skateboard": "skateboarding",
    "skis": "skiing",
    "snowboard": "snowboarding",
    "snowmobile": "snowmobiling",
    "surfboard": "surfing",
}
_FEEL = "makes people feel "
# The source of a tag that is told for want of a surer one.
GUESS = "guess"
_NOUNS = frozenset(
    ("amusement", "anger", "anticipation", "awe", "contentment", "disgust", "excitement", "fear", "joy", "sadness")
    + ("surprise", "trust")
)


@dataclass(frozen=True)
class _Wording:
    """The choices that a seed makes; the defaults are the plain caption."""

    tones: int = 0
    stress: int = 0
    photo: str = "photo"
    people_last: bool = False
    face: int = 0
    frame: int = 0
    feeling: int = 0
    join: int = 0
    # Whether what is shown is only guessed.
    guessed: bool = False

    @classmethod
    def drawn(cls, seed: int | str) -> _Wording:
        # Seeded by text: the same on every machine and in every process.
        draw = random.Random(f"affective caption {seed}")
        return cls(
            tones=draw.randrange(3),
            stress=draw.randrange(3),
            photo=draw.choice(_PHOTOS),
            people_last=draw.random() < 0.4,
            face=draw.randrange(3),
            frame=draw.randrange(6),
            feeling=draw.randrange(3),
            join=draw.randrange(4),
        )


@dataclass(frozen=True)
class _Content:
    """What the picture shows, as phrases; an empty text is an absent one."""

    people: str = ""
    # Whether a phrase of the people already has a "with".
    with_look: bool = False
    things: tuple[str, ...] = ()
    scene: str = ""
    place: str = ""


def compose_caption(attributes: ImageAttributes, emotion: str | None = None, seed: int | str | None = None) -> str:
    """One sentence that says what the attributes say, such as "A dark, dull photo of a cat on a beach."

    Brightness and colorfulness are named only where they are clearly low or high (:data:`DARK`, :data:`BRIGHT`,
    :data:`DULL`, :data:`VIVID`). At most three objects are named, people first; an object that the action or the
    scene already names is not repeated. Names are untrusted: they are put on one line, without markup and at most
    60 characters long, but not escaped for HTML.

    Where all tags are guesses (:data:`GUESS`), the sentence says so: "A dark photo that may show a cat."

    Args:
        attributes: what is known of the picture.
        emotion: the label of an emotion that the sentence ends on ("..., which makes people feel fear."), of a
            built-in emotion model or any other; None says nothing of it.
        seed: None gives the plain wording; any seed gives one of many, the same for the same seed.

    Returns:
        The sentence; "A photo." where nothing is known or notable.
    """
    wording = _Wording() if seed is None else _Wording.drawn(seed)
    wording = replace(wording, guessed=bool(attributes.tags) and all(tag.source == GUESS for tag in attributes.tags))
    tones = _tones(attributes, wording)
    content = _content(attributes, wording)
    feeling = _feeling(emotion, wording)
    return _sentence(tones, content, feeling, wording)


def _tones(attributes: ImageAttributes, wording: _Wording) -> list[str]:
    """Up to two adjectives, with an intensity where the value is extreme and the wording wants one."""
    words = []
    scales = (
        (attributes.brightness, ("dark", DARK, VERY_DARK), ("bright", BRIGHT, VERY_BRIGHT)),
        (attributes.colorfulness, ("dull", DULL, VERY_DULL), ("vivid", VIVID, VERY_VIVID)),
    )
    for value, (low, at_most, least), (high, at_least, most) in scales:
        if value is None or at_most < value < at_least:
            continue
        word = low if value <= at_most else high
        extreme = value <= least or value >= most
        # One intensity word in a caption is enough.
        stress = ("", "very " if extreme else "", "very " if extreme else "rather ")[wording.stress]
        words.append(("" if words and " " in words[0] else stress) + _TONES[word][wording.tones])
    return words


def _content(attributes: ImageAttributes, wording: _Wording) -> _Content:
    scene = scene_phrases(attributes.scene.label) if attributes.scene else None
    action = action_phrase(attributes.human_action.label) if attributes.human_action else None
    face = expression_word(attributes.facial_expression.label) if attributes.facial_expression else ""
    persons, things = _objects(attributes, action, scene)
    who, doing = action or ("", "")
    several = len(persons) > 1 or any(is_several_persons(name) for name in persons)
    people = [with_article(name) for name in persons]
    if action or face:
        people = people or [who or "someone"]
    if who and people != [who]:
        people, doing = [*people, f"{who} {doing}"], ""
    phrases = [with_article(name) for name in things]
    look = ""
    if face and several:
        # Whose face it is, is not known.
        phrases.insert(0, with_article(f"{face} face"))
    elif face:
        look = "with " + with_article(f"{face} {('face', 'expression', 'face')[wording.face]}")
    acting = " ".join(part for part in (_joined(people), look, doing) if part)
    scenery = scene or ("", "")
    if people and not (face or doing):
        return _Content("", False, (*people, *phrases), *scenery)
    return _Content(acting, bool(look), tuple(phrases), *scenery)


def _objects(
    attributes: ImageAttributes, action: tuple[str, str] | None, scene: tuple[str, str] | None
) -> tuple[list[str], list[str]]:
    """Persons and other objects to name, without articles: the surest first, general classes after exact ones."""
    doing = action[1].casefold() if action else ""
    names: dict[str, str] = {}
    for tag in attributes.objects:
        name = object_name(tag.label)
        if name and not _says(doing, name) and not (scene and _is_scene(scene, name)):
            names.setdefault(name.casefold(), name)
    persons = [name for name in names.values() if is_person(name)]
    # "A man and a person" would be two.
    persons = [name for name in persons if name not in ("person", "human")] or persons
    things = [name for name in names.values() if not is_person(name)]
    things.sort(key=lambda name: name.casefold() in GENERAL_OBJECTS)
    kept = persons[:MOST_OBJECTS]
    return kept, things[: MOST_OBJECTS - len(kept)]


def _says(doing: str, name: str) -> bool:
    """Whether an action names the object: "riding a bike" a bicycle, "skateboarding" a skateboard."""
    name = name.casefold()
    return f" {name} " in f" {doing} " or _MEANS.get(name, " ") in doing.split()


def _is_scene(scene: tuple[str, str], name: str) -> bool:
    """Whether the object is the scene: a tower at a tower, mountains in the mountains."""
    heads = {head_word(scene[0]).rstrip("s"), scene[1].split()[-1].rstrip("s")}
    return head_word(name).rstrip("s") in heads


def _joined(parts: Sequence[str]) -> str:
    """ "a", "a and b", "a, b and c"."""
    if len(parts) < 2:
        return "".join(parts)
    return f"{', '.join(parts[:-1])} and {parts[-1]}"


def _feeling(emotion: str | None, wording: _Wording) -> str:
    """What the picture does to people, as a verb phrase: "makes people feel fear"; empty without an emotion."""
    name = lower_name(plain_name(emotion)) if emotion is not None else ""
    if not name:
        return ""
    if name in _FEELINGS:
        return _FEELINGS[name][wording.feeling]
    if name in _NOUNS:
        return (f"makes people feel {name}", f"fills viewers with {name}", f"evokes a feeling of {name}")[
            wording.feeling
        ]
    return f"evokes {name}"


def _sentence(tones: list[str], content: _Content, feeling: str, wording: _Wording) -> str:
    shown = _shown(content, wording)
    photo = " ".join((", ".join(tones), wording.photo)).strip()
    a_photo = f"{article_for(photo)} {photo}"
    if not shown:
        return _finished(f"{a_photo} that {feeling}" if feeling else a_photo)
    place = content.place if content.people or content.things else ""
    if wording.guessed:
        start = f"{a_photo} that may show {shown}"
    elif wording.frame == 1:
        start = f"this {photo} shows {shown}"
    elif wording.frame == 2 and feeling:
        # A clause between commas ends with one.
        closing = "," if ", with " in shown or ", along with " in shown else ""
        return _finished(f"this {photo} of {shown}{closing} {feeling}")
    elif wording.frame == 3 and place:
        start = f"taken {place}, this {photo} shows {_shown(content, wording, placed=False)}"
    elif wording.frame == 4 and len(tones) == 2:
        start = f"this {wording.photo}, {' and '.join(tones)}, shows {shown}"
    elif wording.frame == 5 and feeling.startswith(_FEEL):
        return _finished(f"people feel {feeling.removeprefix(_FEEL)} at the sight of this {photo} of {shown}")
    else:
        start = f"{a_photo} of {shown}"
    if not feeling:
        return _finished(start)
    return _finished(start + (", which ", ", which ", ", and it ", ", a view that ")[wording.join] + feeling)


def _shown(content: _Content, wording: _Wording, placed: bool = True) -> str:
    """What follows "a photo of"."""
    people, things, place = content.people, _joined(content.things), content.place if placed else ""
    if not people and not things:
        return content.scene
    first, second = (things, people) if wording.people_last and people and things else (people, things)
    if not (first and second):
        return f"{first or second} {place}".strip()
    return f"{first} {place}".strip() + f", {'along ' if content.with_look else ''}with {second}"


def _finished(sentence: str) -> str:
    return f"{sentence[:1].upper()}{sentence[1:]}."

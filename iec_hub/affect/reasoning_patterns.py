"""The words by which language models name attributes, feelings, sentences and what is not there."""

from __future__ import annotations

import re


def _any(words: str) -> str:
    """A pattern of any of these words; "_" stands for a space inside of one."""
    return "(?:" + "|".join(word.replace("_", " ") for word in words.split()) + ")"


def _words(text: str) -> tuple[str, ...]:
    return tuple(text.split())


_WORDS = {
    "brightness": "brightness bright light lights lighting lightness luminance luminosity illumination exposure "
    "darkness",
    "colorfulness": "color colors colour colours colorfulness colourfulness coloring colouring palette hue hues "
    "saturation",
    "scene": "scene scenes scenery setting settings place location background environment landscape surroundings",
    "object": "object objects thing things item items",
    "facial_expression": "facial face faces expression expressions",
    "human_action": "action actions activity activities behavior behaviour behaviors behaviours pose poses posture "
    "gesture gestures movement",
}
ATTRIBUTE_OF = {word: attribute for attribute, words in _WORDS.items() for word in words.split()}
# What else may stand in a heading.
FILLERS = _words("and attribute evoked human in of overall palette people s step the")
# "Objects in the scene" is about objects: what stands behind these words only says where.
WHERE = re.compile(r"\b(?:in|of|within|on|and|or|for|with|from)\b|[/&,(]")

# The keys of a JSON answer, in small letters with "_" for spaces; the first that is there counts.
KEYS = {
    "attribute": _words("attribute name aspect type element category attribute_name step"),
    "observation": _words(
        "observation observations description details detail observed see what what_you_see what_i_see value content "
        "evidence analysis"
    ),
    "feeling": _words(
        "feeling feelings emotion emotions evokes evoked_feeling evoked_emotion effect feeling_evoked emotion_evoked "
        "emotional_effect mood evoked affect impact"
    ),
    "sentences": _words(
        "sentences sentence affective_sentences affective_sentence captions caption affective_caption "
        "affective_captions summary conclusion overall final_sentences"
    ),
}

ARROW = re.compile("\\s*(?:-+>|=+>|\u2192|\u21d2|\u27a1\ufe0f?|\u27f6|\u2014>|\u2013>)\\s*")
_SEPARATED = r"\W{0,3}[:=]\W{0,3}\s*"
FEELING_LABEL = re.compile(
    rf"[\s.;,(\-\u2013\u2014|*]{{1,6}}(?:evoked |emotional )?{_any('feelings? emotions? mood effect')}(?: evoked)?"
    + _SEPARATED,
    re.IGNORECASE,
)
OBSERVATION_LABEL = re.compile(
    rf"^{_any('observations? description what_you_see what_i_see seen details?')}{_SEPARATED}", re.IGNORECASE
)
_EVOKING = "evok(?:es?|ing) creat(?:es?|ing) convey(?:s|ing)? suggest(?:s|ing)? giv(?:es?|ing) inspir(?:es?|ing) "
_EVOKING += "arous(?:es?|ing)"
# "The picture is dark, evoking fear", "..., which creates a sense of calm".
EVOKES = re.compile(
    rf"[\s,;]{{1,4}}(?:{_any('and which that this it they')}\s){{0,2}}(?:{_any('can may might')}\s)?"
    rf"(?:{_any(_EVOKING)}|(?:the )?{_any('feelings? emotions? mood')}(?: it)?(?: {_any('evoked evokes')})?"
    rf" {_any('is are')})\s+",
    re.IGNORECASE,
)
FEELING_START = re.compile(
    rf"^(?:(?:{_any('it this that which')}\s)?{_any(_EVOKING)}\s)?(?:{_any('a an the some')}\s)?"
    rf"(?:{_any('strong deep general overall')}\s)?(?:{_any('feelings? senses? emotions? mood atmosphere')}\sof\s)?",
    re.IGNORECASE,
)

FENCE = re.compile(r"```+ *\w*")
THINKING = re.compile(r"^.*</think(?:ing)?>", re.DOTALL | re.IGNORECASE)
# Bullets, numbers, "Step 2 (" and marks before a line's text.
ITEM = re.compile(
    r"^[\s>*\-\u2022\u25cf\u25aa+#_|]*"
    rf"(?:{_any('step attribute sentence')}?\s*\(?\d{{1,2}}[.):]?(?=\W|$)[\s*_.):\-]*)?",
    re.IGNORECASE,
)
# "Brightness: dark", "Brightness - dark", "Brightness | dark".
LABEL = re.compile(r"^([^:\uff1a|\n]{2,60}?)[\s*_]*(?:[:\uff1a|]|\s[-\u2013\u2014]\s)[\s*_|]*(.*)$")
SENTENCES_LABEL = re.compile(
    rf"^(?:{_any('affective final summary overall')} )*{_any('sentences? summary conclusion captions? overall')}"
    r"\s*(?:\(.{0,40}\))?$",
    re.IGNORECASE,
)

# What an answer that was cut off ends in.
LOOSE_END = re.compile(rf"(?:[\s,;(]+{_any('and or but of in a an the with to for also')})+$", re.IGNORECASE)
_SEEN = "visible present shown detected seen depicted discernible here"
# A whole answer that says that there is nothing, in small letters and without full stops.
NONE = re.compile(
    "(?:"
    + _any("none nothing no n/?a null nil absent unknown unclear empty undefined")
    + "|not "
    + _any("applicable visible present shown available detected seen clear")
    # "The picture evokes fear" names nothing that is seen.
    + "|"
    + _any("the this")
    + " "
    + _any("picture image photo photograph scene")
    + f")(?: {_any(_SEEN + ' applicable found at_all')})?"
)
_SHOWN = _any(
    "persons? people humans? human_beings? faces? facial expressions? actions? activit(?:y|ies) objects? figures? one"
)
NONE_SHOWN = re.compile(
    r"(?:there (?:is|are|aren't|isn't) |i (?:can|do) ?n[o']t see |(?:the )?(?:picture|image|photo)(?: \w+){0,2} )?"
    f"{_any('no not_any any not without_any without')}"
    f"(?: {_any('clear visible discernible identifiable obvious apparent human distinct specific other living')})*"
    f" {_SHOWN}(?:(?: |, | or | and ){_SHOWN})*(?: (?:is|are))?(?: (?:(?:clearly|directly) )?{_any(_SEEN)})?"
    r"(?: (?:in|on|within|at)(?: (?:the|this|it))?(?: \w+)?)?"
)
# Where there is nobody, whatever else a step about people says is made up.
NOBODY = re.compile(
    r"^(?:there (?:is|are) )?(?:no|not any|without) (?:(?:visible|discernible) )?(?:people|persons?|humans?|faces)\b"
)
HUMAN = ("facial_expression", "human_action")

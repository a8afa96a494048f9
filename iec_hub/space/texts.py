"""Every English text of the page, so that wording is changed (or translated) in one place."""

from collections.abc import Iterable
from html import escape

from iec_hub.emotions import EmotionModel
from iec_hub.prediction import EmotionPrediction

TITLE = "What does this picture make people feel?"
PURPOSE = (
    "Give one picture and see which emotions it is likely to evoke in viewers, how sure the model is, "
    "and which parts of the picture it went by."
)

PICTURE = "Your picture"
PICTURE_PLACEHOLDER = "Drop a picture here, or click to choose one (up to 10 MB)"
EXAMPLES = "Or try one of these"
METHOD = "Choose how the model works"
_METHODS = {
    "ugrie": ("UGRIE", "completes a sentence"),
    "escnet": ("ESCNet", "describes, then feels"),
    "aciec": ("ACIEC", "decides from words alone"),
}
EMOTION_MODEL = "Choose the emotions to tell apart"
OWN_LABELS_CHOICE = "Your own labels"
OWN_LABELS = "Your labels, separated by commas"
OWN_LABELS_PLACEHOLDER = "cosy, eerie, nostalgic, festive"
OWN_LABELS_HINT = "Any words for a feeling, two or more."
BUTTON = "What does it evoke?"

EMPTY_TITLE = "Your result will appear here"
EMPTY_STEPS = (
    "the emotion that the picture most likely evokes",
    "how likely each of the other emotions is",
    "the parts of the picture that spoke for it",
)

VERDICT = "This picture most likely evokes"
VERDICT_UNCERTAIN = "The model is"
DISTRIBUTION = "How likely each emotion is"
SENTENCE = "In a sentence"
EVIDENCE = "Where it comes from"
EVIDENCE_STRENGTH = "Strength of the overlay"
EVIDENCE_LITTLE = "least"
EVIDENCE_MUCH = "most"
NO_EVIDENCE = "No part of the picture stood out for this emotion."
FOLDED_LABELS = "{count} less likely labels, {share} together"
NOT_TRAINED = (
    "The model never saw examples of these labels: it goes by what the words mean, so trust this result less."
)
DERIVED = "The model was not trained on these emotions: it adds up its answers for the emotions that it knows."

CAPTION = "The picture in the model's words"
OWN_CAPTION = "The picture in your words"
CHARGED_HINT = (
    "The stronger a word's colour, the more feeling it carries for the model, next to the strongest word here."
)
CHARGED_CHOICE = "Choose a word to see where in the picture the model looked for it."
WHOLE_DECISION = "Whole decision"
CHOOSE_A_WORD = "Choose a word of the caption."
ATTRIBUTES = "What the model saw"
ATTRIBUTE_NAMES = {
    "brightness": "Brightness",
    "colorfulness": "Colourfulness",
    "scene": "Scene",
    "object": "Object",
    "facial_expression": "Facial expression",
    "human_action": "Action",
}
# What the ends of a number's scale mean.
ATTRIBUTE_SCALES = {"brightness": "0 is black, 1 is white", "colorfulness": "0 is grey, 1 is very colourful"}
ATTRIBUTE_SOURCES = {"computed": "measured", "annotation": "given with the picture"}

DECIDING = "The words that decided"
NO_DECIDING = "No single word stood out."
OTHER_WORDS = "All other words together: {share}."
CONCEPTS = "Concepts that were found"
CONCEPTS_HINT = "Short names for what is in the picture and how it feels, with how well each fits."
NO_CONCEPTS = "No concept was found that fits the picture."
REASONING = "How it got there"
REASONING_HINT = "What the model looked at, what it saw, and the feeling that this evokes."
NO_REASONING = "The model found nothing in the picture to reason from."
EVOKES = "evokes"
SENTENCES = "What it adds up to"
SENTENCES_HINT = "The model's own sentences, from the steps above."
NO_SENTENCES = "The model wrote no sentence about this picture."
EMBEDDED_TEXT = "Text in the picture"
EMBEDDED_TEXT_HINT = "Text that was read in the picture; each number is that of an outline."
EMBEDDED_TEXT_HINT_NO_BOXES = "Text that was read in the picture."
NO_EMBEDDED_TEXT = "No text was found in the picture."
MORE_TEXTS = "{count} more pieces of text were read."
READ_CONFIDENCE = "{share} sure"
# What the steps of a chain of thought look at.
_STEP_NAMES = {
    "brightness": "Brightness",
    "color": "Colours",
    "colorfulness": "Colours",
    "scene": "Scene",
    "object": "Objects",
    "facial_expression": "Faces",
    "human_action": "Actions",
    "embedded_text": "Text in the picture",
    "concepts": "Concepts",
    "overall": "Whole picture",
    "whole": "Whole picture",
}

CAPTION_EDITOR = "What if the caption said something else?"
CAPTION_EDITOR_HINT = "Change the words and see how the answer changes; at most {most} characters."
CAPTION_BUTTON = "Predict with this caption"
CAPTION_RESET = "Back to the model's caption"

ERROR_TITLE = "That did not work."
NO_PICTURE = "There is no picture yet; upload, paste or take one, or choose an example."
OWN_LABELS_NOT_CHOSEN = 'Labels were given with another emotion model; choose "own" to use them, or leave them out.'
CAPTION_EMPTY = "There is no caption; write one, or go back to the model's."
CAPTION_NO_TEXT = "The caption is not text; give one as text, or leave it out."
CAPTION_TOO_LONG = "The caption has {length} characters; shorten it to {most}."
CAPTION_NOT_READ = "{method} reads no captions; leave the caption out, or choose another method."
UNEXPECTED_ERROR = "Something went wrong on our side; try again, or try another picture."

API_PREDICT = (
    "Predict the emotions that one picture evokes in viewers. `emotion_model` is the name of an emotion model, "
    'or "own" together with `labels`, a text of two or more comma-separated labels. `method` is the name of a method, '
    'such as "ugrie" or "escnet"; the first one if left out. `caption` is a text that replaces the caption that the '
    "model would write, for methods that read one; empty for the model's own. Returns a JSON object: the most "
    "probable emotion, its confidence, whether it is uncertain, the distribution over all labels, and what the method "
    "says about it, else null: the filled template, captions, attributes of the picture, and the evidence (rows of "
    "cells over the picture, 0 to 1, and for each word of the caption its place in it, its salience from 0 to 1 and "
    'its rows of cells). The method "aciec" also says: `concepts` with their scores from 0 to 1, best first; '
    "`reasoning`, a list of steps (`attribute`, `observation`, `feeling`), whose sentences are the captions; "
    "`embedded_text`, the text in the picture in reading order, each with its `confidence` from 0 to 1 and its `box`, "
    "four corners in pixels of the upright picture, clockwise from the text's top left; and in the evidence `words`, "
    "those that decided with their shares. Null there means that nobody looked, an empty list that nothing was found. "
    "Text in the picture is whatever somebody wrote there: escape it. Bad input is answered with one sentence."
)

ABOUT_TITLE = "What is this?"
_ABOUT = """
**What it does.** The model looks at one picture and estimates how its viewers' feelings would be spread over a set of
emotions: the feeling a picture *evokes*, not the feeling of anybody in it. {how} The highlighted parts are those that
would change the answer most; they show what the model used, not what is true.

**What it was trained on.** {trained} learned from photographs whose viewers had said what they felt. Such collections
are small, mostly from photo-sharing sites, and rated mostly by people from a few countries. People differ, and so
would the answer for other viewers. The model card names the data and what was measured.

**What it must not be used for.** It cannot tell what a person feels, thinks or intends, and it must not be used to
judge people: not for hiring, policing, schools, health or credit, not for watching anyone, and not to choose pictures
that push people's feelings. It makes mistakes; nothing that matters should rest on it.

**Your picture** is used for this one answer and deleted from this server within two hours. It is not used for
training.
"""
_HOW = {
    "ugrie": (
        "{title} compares the picture with the *words* for each emotion, which is why you can also give labels of "
        "your own; with those it goes by the meaning of the words alone."
    ),
    "escnet": (
        "{title} first writes a caption, then reads picture and caption together, and gives more weight to words that "
        "are charged with feeling. A caption can be wrong; you can correct it and see what changes."
    ),
    "aciec": (
        "{title} puts the picture into words (concepts, steps of reasoning, sentences, and any text that stands in "
        "it), then decides from those words alone. You see all of them; where they are wrong, so is the answer."
    ),
}


def about(models: Iterable[tuple[str, str, tuple[EmotionModel, ...]]]) -> str:
    """The folded explanation, as Markdown.

    Args:
        models: for each method its name, its checkpoint's name, and the emotion models that this was trained on.
    """
    how, trained = [], []
    for method, checkpoint, emotion_models in models:
        how.append(_HOW.get(method, "").format(title=_METHODS.get(method, ("", ""))[0]))
        terms = _listed([escape(model.title) for model in emotion_models] or ["several emotion models"])
        trained.append(f"`{checkpoint.replace('`', chr(39))}` (in terms of {terms})")
    return _ABOUT.format(how=" ".join(filter(None, how)), trained=_listed(trained))


def _listed(items: list[str]) -> str:
    """`a, b and c`."""
    return " and ".join(filter(None, (", ".join(items[:-1]), items[-1])))


def method_name(method: str) -> str:
    """What a method is called within a sentence."""
    return _METHODS[method][0] if method in _METHODS else method


def method_choice(method: str, checkpoint: str) -> str:
    """What a method is called in the list of choices."""
    return ": ".join(_METHODS[method]) if method in _METHODS else f"{method}: {checkpoint}"


def choice(model: EmotionModel) -> str:
    """What an emotion model is called in the list of choices."""
    return model.title[:1].upper() + model.title[1:]


def example_name(stem: str) -> str:
    """What a screen reader calls an example, from its file name."""
    return f"Example: {stem.replace('-', ' ')}"


def labels_hint(labels: tuple[str, ...]) -> str:
    """The line beneath the choices: what the chosen emotion model tells apart."""
    return ", ".join(labels[:-1]) + f" or {labels[-1]}"


def uncertain(prediction: EmotionPrediction) -> str:
    """Why a prediction counts as uncertain, and how to read it."""
    if prediction.sure_threshold is not None:
        if prediction.sure_coverage is None:
            return (
                f"Read this as a guess. The first emotion stays below {prediction.sure_threshold:.1%}, from where on "
                "the model counts as sure: viewers may well differ."
            )
        return (
            "Read this as a guess. The model is less sure of the first emotion than it was for the surest "
            f"{prediction.sure_coverage:.0%} of the pictures that it was checked on: viewers may well differ."
        )
    ratio = "twice" if prediction.sure_ratio == 2 else f"{prediction.sure_ratio:g} times"
    return (
        f"Read this as a guess. No emotion reaches {prediction.sure_confidence:.0%}, and the first is less than "
        f"{ratio} as likely as the second: viewers may well differ."
    )


def evidence_of(emotion: str) -> str:
    """The caption of the evidence: what the highlighted parts spoke for."""
    return f"Bright parts spoke most for “{emotion}”."


def evidence_alternative(emotion: str) -> str:
    """What a screen reader says of the highlighted parts."""
    return f"Highlighted: the parts that spoke for {emotion}."


def word_evidence(word: str) -> str:
    """The caption of a word's evidence."""
    return f"Bright parts are where the model looked when it read “{word}”."


def word_alternative(word: str) -> str:
    """What a screen reader says of the highlighted parts of a word."""
    return f"Highlighted: where the model looked when it read {word}."


def word_name(word: str, salience: float) -> str:
    """What a screen reader calls the button of a charged word."""
    return f"{word} (charge {salience:.0%})"


def deciding_hint(emotion: str) -> str:
    """How to read the list of deciding words."""
    return (
        f"How much of the answer “{emotion}” rests on each word, with bars next to the strongest. "
        "The same words are marked wherever they stand below."
    )


def step_name(attribute: str) -> str:
    """What a step of the reasoning looked at, in plain words."""
    words = " ".join(attribute.replace("_", " ").split())
    return _STEP_NAMES.get(words.casefold().replace(" ", "_"), words[:1].upper() + words[1:])


def boxed_alternative(count: int) -> str:
    """What a screen reader says of the picture with outlined text."""
    return f"{PICTURE}; {'one place' if count == 1 else f'{count} places'} with text outlined and numbered."


def compared(before: EmotionPrediction) -> str:
    """How a result with the visitor's caption differs from `before`, the one with the model's own."""
    return (
        f"You wrote this caption. With the model's own the answer was: {before.summary()}. Beside each bar stands "
        "what your words added or took away, in percentage points; the thin line is where it ended before."
    )


def unchanged(before: EmotionPrediction) -> str:
    """That the visitor's caption makes no difference that could be seen."""
    return f"You wrote this caption. It changes nothing: with the model's own the answer was {before.summary()} too."

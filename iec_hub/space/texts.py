"""Every English text of the page, so that wording is changed (or translated) in one place."""

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
EVIDENCE_LITTLE = "spoke little"
EVIDENCE_MUCH = "spoke most"
NO_EVIDENCE = "No part of the picture stood out for this emotion."
FOLDED_LABELS = "{count} less likely labels, {share} together"
NOT_TRAINED = (
    "The model never saw examples of these labels: it goes by what the words mean, so trust this result less."
)

ERROR_TITLE = "That did not work."
NO_PICTURE = "There is no picture yet; upload, paste or take one, or choose an example."
OWN_LABELS_NOT_CHOSEN = 'Labels were given with another emotion model; choose "own" to use them, or leave them out.'
UNEXPECTED_ERROR = "Something went wrong on our side; try again, or try another picture."

API_PREDICT = (
    "Predict the emotions that one picture evokes in viewers. `emotion_model` is the name of an emotion model, "
    'or "own" together with `labels`, a text of two or more comma-separated labels. Returns a JSON object: the most '
    "probable emotion, its confidence, whether it is uncertain, the distribution over all labels, the filled template "
    "and the evidence (rows of cells over the picture, 0 to 1). Bad input is answered with one sentence."
)

ABOUT_TITLE = "What is this?"
_ABOUT = """
**What it does.** The model looks at one picture and estimates how its viewers' feelings would be spread over a set of
emotions: the feeling a picture *evokes*, not the feeling of anybody in it. It compares the picture with the
*words* for each emotion, which is why you can also give labels of your own. The highlighted parts are those that
would change the answer most; they show what the model used, not what is true.

**What it was trained on.** `{name}` learned from photographs whose viewers had said what they felt, in terms of
{trained}. Such collections are small, mostly from photo-sharing sites, and rated mostly by people from a few
countries. People differ, and so would the answer for other viewers. With labels that were not part of the
training it goes by the meaning of the words alone. Its model card names the data and what was measured.

**What it must not be used for.** It cannot tell what a person feels, thinks or intends, and it must not be used to
judge people: not for hiring, policing, schools, health or credit, not for watching anyone, and not to choose pictures
that push people's feelings. It makes mistakes; nothing that matters should rest on it.

**Your picture** is used for this one answer and deleted from this server within two hours. It is not used for
training.
"""


def about(name: str, trained: tuple[EmotionModel, ...]) -> str:
    """The folded explanation, as Markdown, of a checkpoint and the emotion models it was trained on."""
    titles = [escape(model.title) for model in trained] or ["several emotion models"]
    listed = " and ".join(filter(None, (", ".join(titles[:-1]), titles[-1])))
    return _ABOUT.format(name=name.replace("`", "'"), trained=listed)


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
    ratio = "twice" if prediction.sure_ratio == 2 else f"{prediction.sure_ratio:g} times"
    return (
        f"Read this as a guess. No emotion reaches {prediction.sure_confidence:.0%}, and the first is less than "
        f"{ratio} as likely as the second: viewers may well differ."
    )


def evidence_of(emotion: str) -> str:
    """The caption of the evidence: what the highlighted parts spoke for."""
    return f"Bright parts spoke most for “{emotion}”."


def picture_alternative(emotion: str) -> str:
    """What a screen reader says in place of the picture with its highlighted parts."""
    return f"Your picture, with the parts that spoke for {emotion} highlighted."

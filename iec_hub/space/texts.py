"""Every English text of the page, so that wording is changed (or translated) in one place."""

import math
from collections.abc import Sequence

from iec_hub.emotions import EmotionModel
from iec_hub.prediction import EmotionPrediction

TITLE = "What does this picture make people feel?"
PURPOSE = (
    "Give one picture and see which emotions it is likely to evoke in viewers, how sure the model is, "
    "and which parts of the picture it went by."
)

TAB_SINGLE = "One picture"
TAB_MANY = "Many pictures"
TAB_COMPARE = "Compare"
TAB_ABOUT = "About"

# One picture

PICTURE = "Your picture"
PICTURE_PLACEHOLDER = "Drop or paste a picture here, or click to choose one (up to {size})"
EXAMPLES = "Or try one of these"
METHOD = "Method"
_METHODS = {
    "ugrie": ("UGRIE", "completes a sentence"),
    "escnet": ("ESCNet", "describes, then feels"),
    "aciec": ("ACIEC", "decides from words alone"),
}
EMOTION_MODEL = "Emotions to tell apart"
OWN_LABELS_CHOICE = "Your own labels"
OWN_LABELS = "Your labels, separated by commas"
OWN_LABELS_PLACEHOLDER = "cosy, eerie, nostalgic, festive"
OWN_LABELS_HINT = "Any words for a feeling, two or more."
ALL_METHODS = {2: "Both", 3: "All three"}
ALL_METHODS_MORE = "All {count}"
BUTTON = "What does it evoke?"
WORDS = "Change the words for each emotion"
WORDS_EDITOR = "One emotion on each line, then its words"
WORDS_HINT = "{methods} reads these words to find each emotion. Change them and see how the answer changes."
WORDS_BUTTON = "Predict with these words"
WORDS_RESET = "Back to the usual words"
WORDS_CHANGED = "You changed the words for the emotions."
WORDS_TOO_LONG = "The words for the emotions have {length} characters; shorten them to {most}."
WORDS_NO_COLON = 'A line of the words lacks its colon: "{line}"; write it like "fear: terror, fear".'

START_TITLE = "Choose a picture to begin"
START = "Drop or paste one of your own, or click one of the examples. Everything you see then is an estimate."
METHOD_IDEAS = {
    "ugrie": "Completes the sentence “The photo evokes …” with words for feelings. It takes any words, yours too.",
    "escnet": "Describes the picture first, then weighs picture and caption together. You can correct the caption.",
    "aciec": "Puts the picture into words step by step, reads text in it, and decides from those words alone.",
}
WHY_UNCERTAIN = "Why this is a guess"
WHY_SURE = "How sure is that?"
UNFOLD = "Where in the picture, and why"
ANSWERING = "Looking at the picture…"
ANSWERING_SEVERAL = "Each answer appears as soon as it is ready."
THINKING = "Looking…"
# What is going on after a stage of the answer.
STAGES = {
    "read": "The text in the picture was read; now describing the picture…",
    "described": "Put into words; now deciding…",
    "decided": "Decided; now looking for the parts that spoke for it…",
}
NO_METHOD = "There is no method {name} here; use one of {methods}."
OTHER_EMOTIONS = "{method} cannot tell these emotions apart; it can be asked for {offered}."

# Where methods agree and differ.
CLOSE = "Their numbers are close: for no emotion more than {points} percentage points apart."
FURTHEST = "They are furthest apart on {label}: {least_method} gives it {least}, {most_method} {most}."
PLEASANT = "All of these are pleasant feelings, so they differ less than it may seem."
UNPLEASANT = "All of these are unpleasant feelings, so they differ less than it may seem."
ONLY_ONE = "Only {method} can be asked for these emotions."
EMOTION_COLUMN = "Emotion"
APART_TABLE = "How likely each method finds the emotions on which they differ most"

SHARE = "Share these settings"
SHARE_BUTTON = "Make a link"
SHARE_LINK = "Link to these settings"
SHARE_EXAMPLE = "The link opens the page with these settings and the example picture."
SHARE_SETTINGS = "The link opens the page with these settings; whoever opens it chooses a picture."
SHARE_OWN = "The link opens the page with these settings. Your own picture is not part of it: it stays with you."
LINK_BAD = "The link that you opened has settings that this page does not know; the page shows its usual ones."

VERDICT = "This picture most likely evokes"
TORN, GUESSING, AND = "torn between", "guessing", "and"
VERDICT_UNCERTAIN = "The model is"
DISTRIBUTION = "How likely each emotion is"
SENTENCE = "In a sentence"
EVIDENCE = "Where it comes from"
EVIDENCE_STRENGTH = "Overlay strength"
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
WHOLE_DECISION = "Back to the whole decision"

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

# Many pictures

MANY_FILES = "Your pictures"
MANY_LIMITS = (
    "Drop pictures here, or a zip archive of pictures: up to {pictures} at a time, each picture up to {size}, an "
    "archive up to {archive}. Files that cannot be read are listed with the reason."
)
MANY_BUTTON = "Judge these pictures"
MANY_EXAMPLES = "Try it with our {count} examples"
MANY_STOP = "Stop"
MANY_ADD = "Add more pictures"
MANY_PROGRESS = "Pictures done"
MANY_QUARTERS = "{share} of the pictures done."
MANY_CSV = "Download as CSV (spreadsheet)"
MANY_JSON = "Download as JSON (everything)"
MANY_EMPTY_TITLE = "Your pictures will appear here"
MANY_EMPTY_STEPS = (
    "each picture with the emotion that it most likely evokes",
    "how the emotions are spread over all of them, and how pleasant and how stirring they are",
    "a table to sort, filter and download",
)
MANY_NO_FILES = "There are no pictures yet; choose some, drop them, or try the examples."
MANY_TOO_MANY = "There are more than {most} pictures; choose at most {most} at a time."
MANY_NO_NAME = "a picture without a name"
MANY_GONE = "These results are no longer on the server; judge the pictures again."
MANY_SUMMARY = "All pictures together"
MANY_SPREAD = "How many pictures evoke what"
MANY_SPREAD_HINT = (
    "Choose an emotion to see only its pictures. Guesses are hatched. The average is of its share in every picture."
)
MANY_SPREAD_COLUMNS = ("Emotion", "Pictures", "Guesses", "Average")
MANY_PLANE = "How pleasant, and how stirring"
MANY_PLANE_AXES = ("unpleasant", "pleasant", "calming", "stirring")
MANY_PLANE_TITLES = ("Unpleasant to pleasant", "Calming to stirring")
MANY_PLANE_UNKNOWN = "{title}: how far this model can be trusted here was not measured."
MANY_NO_PLANE = (
    "There is no plot of pleasant and stirring for these labels: it is known only for {known}, "
    "from pictures that people rated."
)
MANY_VIEW = "Show as"
MANY_VIEWS = (("gallery", "Gallery"), ("table", "Table"))
MANY_EMOTION = "Emotion"
MANY_ALL_EMOTIONS = "All emotions"
MANY_CERTAINTY = "How sure"
MANY_CERTAINTIES = (("", "All"), ("sure", "Sure"), ("guess", "Guesses"), ("failed", "Not read"))
MANY_ORDER = "Sort by"
MANY_ORDERS = (
    ("index", "Order given"),
    ("name", "File name"),
    ("emotion", "Emotion"),
    ("-confidence", "Surest first"),
    ("confidence", "Least sure first"),
    ("-valence", "Most pleasant first"),
    ("valence", "Least pleasant first"),
    ("-arousal", "Most stirring first"),
)
MANY_SHOWN = "{shown} of {all} shown"
MANY_NONE_SHOWN = "No picture fits this choice; show all emotions, or all pictures."
MANY_TABLE = "The pictures and what they evoke; the headings sort them."
MANY_COLUMNS = (
    ("name", "File"),
    ("emotion", "Most likely"),
    ("confidence", "Share"),
    ("second", "Second"),
    ("certainty", "How sure"),
    ("valence", "Pleasant"),
    ("arousal", "Stirring"),
)
MANY_PENDING = "waiting …"
MANY_SURE = "sure"
MANY_GUESS = "a guess"
MANY_FAILED = "not read"
MANY_CLOSE = "Close"
MANY_BEFORE = "Previous"
MANY_AFTER = "Next"

ARCHIVE_DAMAGED = "{name} is damaged or no zip archive; pack it again."
ARCHIVE_FILE_TOO_LARGE = "{name} is larger than {most}; pack fewer pictures, or give them one by one."
ARCHIVE_EMPTY = "{name} holds no files; put pictures into it."
ARCHIVE_ENTRIES = "{name} lists {count} files; pack at most {most}."
ARCHIVE_TOO_LARGE = "{name} unpacks to more than {most}; pack fewer pictures."
ARCHIVE_GONE = "The archive is no longer on the server; upload it again."
ENTRY_TWICE = "The archive holds two files of this name; only the first is read."
ENTRY_OUTSIDE = "This name leads out of the archive, so it is not read; pack the picture under a plain name."
ENTRY_LINK = "This is a link or a device, not a picture; pack the picture itself."
ENTRY_ARCHIVE = "Archives within archives are not opened; upload this one by itself."
ENTRY_NO_PICTURE = "This is no picture of a known format; save it as JPEG, PNG or WebP."
ENTRY_ENCRYPTED = "This has a password; pack it without one."
ENTRY_METHOD = "This is packed in a way that is not read; pack it as an ordinary zip archive."
ENTRY_TOO_LARGE = "This is larger than {most}; save it smaller."
ENTRY_RATIO = "This unpacks to more than {ratio} times its size, as no photograph does; give the picture itself."
ENTRY_DAMAGED = "This is damaged in the archive; pack it again."

# Errors

ERROR_TITLE = "That did not work."
NO_PICTURE = "There is no picture yet; upload, paste or take one, or choose an example."
OWN_LABELS_NOT_CHOSEN = 'Labels were given with another emotion model; choose "own" to use them, or leave them out.'
CAPTION_EMPTY = "There is no caption; write one, or go back to the model's."
CAPTION_NO_TEXT = "The caption is not text; give one as text, or leave it out."
CAPTION_TOO_LONG = "The caption has {length} characters; shorten it to {most}."
CAPTION_NOT_READ = "{method} reads no captions; leave the caption out, or choose another method."
UNEXPECTED_ERROR = "Something went wrong on our side; try again, or try another picture."

# Serving

LINE_FULL = "Too many people are asking at the moment; try again in a minute."
TOO_SLOW = "This took longer than {seconds:.0f} seconds and was stopped; try again in a minute, or ask for less."
LABELS_TOO_LONG = "The labels have {length} characters together; shorten them to {most}."

# Programs

API_PREDICT = (
    "Predict the emotions that one picture evokes in viewers. Only `image` is needed: the picture as a `data:` URL "
    "with base64, or what the upload of a file answered; web addresses are not fetched. `method` is the name of a "
    "method, the first one if left out; `emotion_model` is the name of an emotion model, the method's own if left "
    "out. Offered are {methods}. `labels`, two or more of your own, take the emotion model's place: a list, or a text "
    "with commas. `caption` replaces the caption that the model would write, for methods that read one. `evidence` "
    "adds which parts of the picture, and which words, spoke for the answer. Returns the most probable emotion, its "
    "confidence, whether it is uncertain, the distribution over all labels, and what the method says about it; null "
    "stands for what the method has no part for, an empty list for nothing found. Text in the picture is whatever "
    "somebody wrote there: escape it. Bad input is answered with one sentence."
)
API_METHOD = '"{name}" for {targets}'
API_OWN_LABELS = "any labels of your own"
API_PREDICT_BATCH = (
    "Predict the emotions of several pictures: `files` is a list of pictures, each as in `predict`, or of uploaded "
    "zip archives of pictures; the other arguments are those of `predict`. Returns a list of rows in the same order, "
    "each with the name of its `file`, and its `prediction` or the `error`, a sentence that says why there is none. A "
    "bad picture costs no other its answer."
)
API_CONCEPTS = (
    "Name the concepts in one picture: short phrases for what is in it and how it feels, such as a noun with an "
    "adjective. Returns a list of `text` and `score` from 0 to 1, best first; an empty one if nothing fits."
)
API_REASON = (
    "Think about the feeling that one picture evokes, step by step. Returns `steps`, each with the `attribute` that "
    "was looked at, the `observation` and the `feeling` that it evokes; the `sentences` that they add up to; and the "
    "`emotion` that was decided on, with its `confidence` and the `method` that did so."
)
API_READ_TEXT = (
    "Read the text that stands in one picture, such as a caption, a sign or a quote. Returns a list in reading order, "
    "each with its `text`, its `confidence` from 0 to 1 and its `box`, four corners in pixels of the upright picture, "
    "clockwise from the text's top left. The text is whatever somebody wrote there: escape it."
)
NO_WEB_ADDRESSES = "Web addresses are not fetched; upload the picture, or send it as a data: URL with base64."
BAD_DATA_URL = "The picture is no readable data: URL; write data:image/png;base64, and the file's bytes in base64."
LARGE_DATA_URL = "The picture is larger than {most} MB; save it smaller."
EMOTION_MODEL_NO_TEXT = "The emotion model is not text; give the name of one, or leave it out."
OWN_LABELS_MISSING = 'Labels are missing; give two or more with "own", or name an emotion model.'
OWN_LABELS_NO_TEXT = "The labels are not text; give a list of texts, or one text with commas."
NO_FILES = "There are no files; give a list of pictures."
TOO_MANY_FILES = "There are more than {most} pictures; give fewer at once."
NO_CONCEPTS_HERE = "None of the methods that are offered here names concepts; use predict instead."
NO_REASONING_HERE = "None of the methods that are offered here reasons in steps; use predict instead."
NO_TEXT_HERE = "None of the methods that are offered here reads text in pictures; use predict instead."
NO_SUCH_ADDRESS = "There is nothing at this address; see the page for programs, docs/space-api.md."
NO_SUCH_ENDPOINT = "There is no such endpoint; use predict, predict_batch, concepts, reason or read_text."
NO_CALL = 'The call cannot be read; send a JSON object with the arguments as a list in "data".'
NO_JSON = "The request is no JSON; send UTF-8 text with one JSON object."
TOO_DEEP = "The request is nested too deeply; send plain values."
REQUEST_TOO_LARGE = "The request is larger than {most} MB; upload the picture first, and send what that answers."
NO_FORM = "The upload is no form; send the picture as multipart/form-data in the field files."
NO_LENGTH = "The upload does not say how long it is; send it with a Content-Length."
NO_ROOM = "There is no room for more pictures right now; try again in some minutes."
UPLOAD_TOO_LARGE = "The files are larger than {most} MB together; send fewer at once."
WRONG_COUNT = "The call has {count} values and takes {wanted}; send as many as it takes."
MISSING_ARGUMENT = "The argument {name} is missing; add it."
UNKNOWN_ARGUMENT = "There is no argument {name}; use {wanted}."

# Compare

COMPARE_WHAT = "What do you want to compare?"
COMPARE_PICTURES = "Two pictures"
COMPARE_METHODS = "Two methods on one picture"
SIDES = ("A", "B")
PICTURE_SIDES = ("Picture A", "Picture B")
COMPARE_ONE_PICTURE = "The picture"
COMPARE_PLACEHOLDER = "Drop a picture, or click"
COMPARE_FIRST_METHOD = "Method A"
COMPARE_SECOND_METHOD = "Method B"
COMPARE_BUTTON = "Compare"
COMPARE_SWAP = "Swap A and B"
COMPARE_TRY = "Show me an example"
COMPARE_EMPTY_TITLE = "The difference will appear here"
COMPARE_EMPTY_STEPS = (
    "what A and B have in common, in one sentence",
    "for each emotion, how much more likely it is for A or for B",
    "what the model saw in each, side by side",
)
COMPARE_WAITING = "The other answer is on its way; then the difference will stand here."
COMPARE_THINKING = "Looking at it…"
COMPARE_TWO_NEEDED = "Two pictures are needed; choose one for A and one for B."
COMPARE_SAME_METHOD = "A and B are the same method; choose another one for B."
COMPARE_OTHER_EMOTIONS = "{method} cannot be asked for these emotions; choose others."
COMPARE_OTHER_LABELS = "The two answers are about different labels; choose the same emotions for both."
COMPARE_FAILED = "There is nothing to compare: A and B both need an answer."
COMPARE_DIFFERENCE = "How the answers differ"
COMPARE_AXIS = "More likely for {side}"
COMPARE_POINTS_HINT = (
    "Bars and signed numbers are percentage points; each bar points to where the emotion is likelier."
)
COMPARE_POINTS_TO = "points more for {side}"
COMPARE_NO_POINTS = "no difference"
COMPARE_EMOTION = "Emotion"
COMPARE_FOLDED = "{count} labels that differ less are left out."
COMPARE_WORDS = "What was put into words"
COMPARE_NO_WORDS = "{side} puts nothing into words."
COMPARE_SHARED = "Found in both: {concepts}."
COMPARE_NOT_SHARED = "No concept was found in both."

# About

ABOUT_TITLE = "What is this?"
ABOUT_INTRO = (
    "Give it one picture, and it estimates how the feelings of the picture's viewers would be spread over a set of "
    "emotions: what the picture evokes, not what anybody in it feels. People differ, so the answer is a distribution, "
    "and where the model is torn it says so."
)
ABOUT_HIGHLIGHTS = (
    "Highlighted parts and marked words are those that would change the answer most. They show what the model went "
    "by, not what is true."
)
ABOUT_HOW = "How each method works"
# Method: what to read beneath its diagram, and what a screen reader says in the diagram's place.
ABOUT_METHODS = {
    "ugrie": (
        "It completes a sentence about the picture and compares how well the words for each emotion fit. So it also "
        "takes labels of your own, and goes by what their words mean.",
        "The picture goes through a vision tower, which sees shapes and colours, and a mapping network, which turns "
        "them into something like words. With these a language model completes the sentence: this picture makes "
        "people feel. The words for each emotion are compared, and the answer is a distribution.",
    ),
    "escnet": (
        "It writes a caption, reads picture and caption together, and gives more weight to words that are charged "
        "with feeling. A caption can be wrong; correct it and see what changes.",
        "The picture goes two ways: a captioner describes it in a sentence, and a vision tower sees shapes and "
        "colours. Both meet where charged words count more than others, and the answer is a distribution.",
    ),
    "aciec": (
        "It puts the picture into words, then decides from these words alone. You see all of them; where they are "
        "wrong, so is the answer.",
        "The picture is put into words in three ways: concepts, steps of reasoning from what is seen to what it "
        "evokes, and any text that stands in it. Only these words go on to a text classifier, which never sees the "
        "picture, and the answer is a distribution.",
    ),
}
# What stands in the boxes of the diagrams; each text is one line of about 20 characters at most.
DIAGRAM_PICTURE = "picture"
DIAGRAM_ANSWER = "distribution"
DIAGRAM_UGRIE = (
    ("Vision tower", "sees shapes and colours"),
    ("Mapping network", "makes them word-like"),
    ("Language model", "“… makes people feel ___”"),
    ("words for", "each emotion"),
)
DIAGRAM_ESCNET = (
    ("Captioner", "“a lamp by a bed”"),
    ("Vision tower", "shapes, colours"),
    ("Fusion", "charged words count more"),
)
DIAGRAM_ACIEC = (
    ("Concepts", "“quiet sky”"),
    ("Reasoning", "seen → felt"),
    ("Text in it", "“Sale”"),
    ("Text classifier", "decides from words alone"),
    ("only words", "pass on"),
)
ABOUT_NOT = "What it must not be used for"
ABOUT_NOT_ITEMS = (
    "To tell what a person feels, thinks or intends. A smiling face may evoke sadness.",
    "To judge people: not for hiring, work, schools, policing, health, insurance or credit.",
    "To watch anyone, or to choose pictures that push people's feelings.",
    "Where it matters that the answer is right. It is often wrong, and more so with drawings, memes and screenshots.",
)
ABOUT_FOR = (
    "It is made for research on what pictures evoke, for demonstrations of that, and for exploring collections where "
    "a person looks at the results."
)
ABOUT_TRAINED = "What the models were trained on"
ABOUT_TRAINED_INTRO = (
    "All learned from photographs whose viewers had said what they felt. Such collections are small, mostly from "
    "photo-sharing sites, and rated mostly by people from a few countries. Other viewers may feel differently."
)
ABOUT_TELLS_APART = "tells apart"
ABOUT_STARTED = "started from"
ABOUT_SPLITS = {"train": "{count} to train on", "validation": "{count} to choose by", "test": "{count} to test on"}
ABOUT_TERMS = "terms: {terms}"
ABOUT_NO_DATA = "Its folder does not say what it was trained on; ask those who made it."
ABOUT_NOTES = "Notes of those who made {name}"
ABOUT_RESULTS = "How good they are"
ABOUT_RESULTS_INTRO = (
    "Right means: the first emotion is the one that most viewers named. The dot is what was measured; the band is the "
    "95 % interval, what it might have been with other test pictures; the thin line is what always naming the most "
    "frequent emotion would reach."
)
ABOUT_RIGHT = "right for {share}"
ABOUT_INTERVAL = "95 % interval {low} to {high}"
ABOUT_MOST_FREQUENT = "always the most frequent emotion: {share}"
ABOUT_MACRO_F1 = "macro F1 {value}"
ABOUT_MACRO_F1_INTERVAL = "macro F1 {value} ({low} to {high})"
ABOUT_SURE = "sure of {share}, right for {right} of these and {others} of the others"
ABOUT_SPLIT_NAMES = {"test": "test pictures", "validation": "validation pictures"}
ABOUT_FLATTERS = "These pictures also set the model's calibration, so the figures flatter."
ABOUT_SMALL = "With {count} pictures an interval spans about {points} percentage points."
ABOUT_SAME = "The intervals of all models here overlap: these pictures do not show that one is better than another."
ABOUT_APART = "The intervals of {best} and {worst} do not overlap."
ABOUT_NO_RESULTS = (
    "{name}: nothing was measured, or its folder does not hold the results. Take its answers as guesses."
)
ABOUT_SOURCE = "Read from metrics.json of {names}, in which the training wrote what it measured{seeds}."
ABOUT_SEED = " (seed {seed})"
ABOUT_PRIVACY = "Your pictures"
ABOUT_PRIVACY_ITEMS = (
    "A picture is used for the answers that you ask for, and for nothing else. Nothing is used for training.",
    "It is deleted from this server within {time}. No picture, file name, caption or answer is written to a log.",
    "Your browser loads this page from this server alone; nothing is asked of any other site.",
)


def about_time(seconds: float) -> str:
    """A time in words, rounded up to minutes or hours."""
    minutes = max(1, math.ceil(seconds / 60))
    if minutes <= 90:
        return "a minute" if minutes == 1 else f"{minutes} minutes"
    return f"{math.ceil(minutes / 60)} hours"


def method_name(method: str) -> str:
    """What a method is called within a sentence."""
    return _METHODS[method][0] if method in _METHODS else method


def method_choice(method: str, checkpoint: str) -> str:
    """What a method is called in the list of choices."""
    if method in _METHODS:
        return ": ".join(_METHODS[method])
    return method if method == checkpoint else f"{method}: {checkpoint}"


def method_task(method: str) -> str:
    """What a method does, in a few words; empty where that is not known."""
    return _METHODS[method][1] if method in _METHODS else ""


def all_methods(count: int) -> str:
    """The choice of all methods side by side."""
    return ALL_METHODS.get(count) or ALL_METHODS_MORE.format(count=count)


def listed(items: Sequence[str]) -> str:
    """`a, b and c`."""
    return " and ".join(filter(None, (", ".join(items[:-1]), items[-1])))


def agreed(count: int, emotion: str, guesses: Sequence[str]) -> str:
    """That all methods name one emotion; `guesses` are those that are not sure."""
    who = all_methods(count)
    if len(guesses) == count:
        none = "neither of them is" if count == 2 else "none of them is"
        return f"{who} lean towards {emotion}, but {none} sure."
    if guesses:
        return f"{who} say {emotion}, but {listed(guesses)} {'are' if len(guesses) > 1 else 'is'} only guessing."
    return f"{who} say {emotion}."


def disagreed(groups: Sequence[tuple[Sequence[str], str]], guesses: Sequence[str], count: int) -> str:
    """Which methods name which emotion, such as "UGRIE and ESCNet say awe, ACIEC says fear." """
    said = ", ".join(f"{listed(who)} {'say' if len(who) > 1 else 'says'} {what}" for who, what in groups)
    if len(guesses) == count:
        return f"{said}. {'Neither' if count == 2 else 'None'} of them is sure."
    if guesses:
        return f"{said}. {listed(guesses)} {'are' if len(guesses) > 1 else 'is'} only guessing."
    return f"{said}."


def words_before(before: EmotionPrediction) -> str:
    """How a result with the visitor's words for the emotions relates to `before`, the one with the usual words."""
    return (
        f"{WORDS_CHANGED} With the usual ones the answer was: {before.summary()}. Beside each bar stands what your "
        "words added or took away, in percentage points; the thin line is where it ended before."
    )


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


def sure(prediction: EmotionPrediction) -> str:
    """Why a prediction counts as sure, and what that is worth."""
    if prediction.sure_threshold is None:
        why = f"The first emotion reaches {prediction.sure_confidence:.0%}, or is clearly ahead of the second."
    elif prediction.sure_coverage is None:
        why = f"The first emotion reaches {prediction.sure_threshold:.1%}, from where on the model counts as sure."
    else:
        why = (
            "The model is as sure of the first emotion as it was for the surest "
            f"{prediction.sure_coverage:.0%} of the pictures that it was checked on."
        )
    return f"{why} That is no certainty: how often it was right when it was sure stands in the tab “{TAB_ABOUT}”."


def changed_answers(methods: Sequence[str]) -> str:
    """Which answers rest on what the visitor wrote."""
    return f"{listed(methods)} {'go' if len(methods) > 1 else 'goes'} by your words here."


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
        "The same words are marked wherever they stand."
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


def compared_tops(names: tuple[str, str], left: EmotionPrediction, right: EmotionPrediction) -> str:
    """What two answers say, and whether that is the same."""
    if left.emotion == right.emotion:
        unsure = left.uncertain or right.uncertain
        said = f"Both most likely evoke {left.emotion}" if names == PICTURE_SIDES else f"Both say {left.emotion}"
        if left.uncertain and right.uncertain:
            return f"{said}, but both are guesses."
        return f"{said}; for {names[0] if left.uncertain else names[1]} it is a guess." if unsure else f"{said}."
    verbs = (" most likely evokes", "") if names == PICTURE_SIDES else (" says", " says")
    sides = (
        f"{name}{verb} {answer.emotion}{' (a guess)' if answer.uncertain else ''}"
        for name, verb, answer in zip(names, verbs, (left, right), strict=True)
    )
    return ", ".join(sides) + "."


def compared_most(label: str, name: str, points: int) -> str:
    """Which label differs most: by how many percentage points it is likelier on the side called `name`."""
    if not points:
        return "The two distributions are the same to within a percentage point."
    unit = "percentage point" if points == 1 else "percentage points"
    return f"They differ most in {label}: {points} {unit} more for {name}."


def overlap(share: float) -> str:
    """How much two distributions have in common; `share` from 0 to 1."""
    if share >= 0.9:
        alike = "nearly the same"
    elif share >= 0.7:
        alike = "much alike"
    elif share >= 0.4:
        alike = "partly alike"
    else:
        alike = "very different"
    return f"Taken as a whole the answers are {alike}: they overlap by {share:.0%}."


def many_status(done: int, total: int, failed: int, finished: bool, seconds: float | None = None) -> str:
    """How far a batch is; once it is `finished`, how it ended."""
    read = f", {failed} could not be read" if failed else ""
    if not finished:
        return f"{done} of {total} pictures done{read}."
    if failed == total:
        return "No picture could be read; each says why."
    if done < total:
        return f"Stopped: {done} of {total} pictures done{read}. What is done is below."
    took = "" if seconds is None else f" in {seconds:.0f} s" if seconds >= 10 else f" in {seconds:.1f} s"
    return f"{'One picture' if total == 1 else f'All {total} pictures'} done{took}{read}."


def many_thumbnail(name: str) -> str:
    """What a screen reader calls a small picture."""
    return f"Thumbnail of {name}"


def many_spread(count: int, guesses: int, label: str) -> str:
    """A bar of the summary, for a mouse and a screen reader."""
    of = f", {guesses} of them {'a guess' if guesses == 1 else 'guesses'}" if guesses else ""
    return f"{label}: {count} {'picture' if count == 1 else 'pictures'}{of}"


def many_plane_hint(pictures: int, raters: str) -> str:
    """Where the plot's coordinates are from."""
    return (
        f"Each dot is a picture, placed by its emotions. Where an emotion lies was learned from {pictures} "
        f"photographs that people had rated ({raters})."
    )


def many_plane_quality(title: str, r: float, low: float, high: float, n: int) -> str:
    """How far one axis of the plot can be trusted; `r` was measured on `n` pictures of a test split."""
    if low <= 0:
        trust = "do not read anything into it"
    elif r < 0.3:
        trust = "read it as a faint hint at most"
    elif r < 0.7:
        trust = "read it as a rough guide"
    else:
        trust = "it follows people's ratings well"
    interval = f"95\u00a0% interval {low:.2f} to {high:.2f}"
    return f"{title}: {trust} (r = {r:.2f} with people's ratings, {interval}, {n} test pictures)."


def many_plane_alternative(count: int, valence: float, arousal: float) -> str:
    """What a screen reader says of the plot."""
    pleasant = "pleasant" if valence >= 0 else "unpleasant"
    stirring = "stirring" if arousal >= 0 else "calming"
    return (
        f"{count} {'picture' if count == 1 else 'pictures'} between unpleasant and pleasant, calming and stirring; on "
        f"average {pleasant} ({valence:+.2f}) and {stirring} ({arousal:+.2f}). The table has each picture's place."
    )

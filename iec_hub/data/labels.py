"""Label names as data sets write them: spellings, columns, and which emotion model they belong to."""

import difflib
import re
from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import replace

from iec_hub.emotions import EMOTION_MODELS, MAX_LABELS, Emotion, EmotionModel
from iec_hub.errors import DataError

# Spelling in a data set -> label of the built-in emotion models. The one place for them.
LABEL_ALIASES = {
    "amuse": "amusement",
    "amused": "amusement",
    "angry": "anger",
    "awed": "awe",
    "content": "contentment",
    "contented": "contentment",
    "contentedness": "contentment",
    "disgusted": "disgust",
    "disgusting": "disgust",
    "excite": "excitement",
    "excited": "excitement",
    "exciting": "excitement",
    "afraid": "fear",
    "fearful": "fear",
    "scared": "fear",
    "happiness": "joy",
    "happy": "joy",
    "joyful": "joy",
    "neg": "negative",
    "neutrality": "neutral",
    "pos": "positive",
    "sad": "sadness",
    "surprised": "surprise",
    "surprising": "surprise",
    "trusting": "trust",
}
# Labels of no built-in model make a model of their own where more than this share of the rows has one; fewer are
# skipped and reported.
_OWN_SHARE = 0.1
# More labels than this, most of them on one picture only, are no labels but descriptions.
_MOST_RARE_LABELS = 20
_NEGATIONS = ("un", "in", "im", "ir", "dis", "non", "non-", "not ", "a")
_COLUMN_PREFIX = re.compile(r"^(?:prob|probability|votes?)[.\s_:]\s*")


def shown(value: object, limit: int = 60) -> str:
    """An untrusted value for a message: quoted, short, on one line, with nothing a terminal would obey."""
    text = str(value)
    text = repr(text if len(text) <= limit else f"{text[: limit // 2]}...{text[-limit // 2 :]}")
    return f'"{text[1:-1]}"'


def shown_list(values: Iterable[object], limit: int = 12) -> str:
    """The first values for a message, and how many more there are."""
    values = list(values)
    more = f" and {len(values) - limit} more" if len(values) > limit else ""
    return ", ".join(shown(value, 40) for value in values[:limit]) + more


def label_index(label: str, emotion_model: EmotionModel) -> int:
    """Position of a label in the model, whatever its case and spelling ("sad" for "sadness").

    Raises:
        DataError: If the model has no such label; the message names the nearest one.
    """
    text = " ".join(str(label).split())
    alias = LABEL_ALIASES.get(text.casefold())
    # A custom model may have "happy" itself, so the spelling as it is comes first.
    if alias is not None and not _has(emotion_model, text) and _has(emotion_model, alias):
        return emotion_model.index(alias)
    return emotion_model.index(text)


def is_label(label: object, emotion_model: EmotionModel) -> bool:
    """Whether `label_index` finds the label."""
    text = " ".join(str(label).split()).casefold()
    return _has(emotion_model, text) or _has(emotion_model, LABEL_ALIASES.get(text, ""))


def unknown_label_kind(label: object, emotion_model: EmotionModel, fixed: bool) -> str:
    """The kind (`SKIPPED_KINDS`) of a row whose label the model lacks.

    Args:
        fixed: The labels were listed by the caller, so that another one was left out on purpose, unless it is
            a misspelling of one of them.
    """
    on_purpose = fixed and nearest_misspelt(str(label), emotion_model.labels) is None
    return "left out" if on_purpose else "label"


def _has(emotion_model: EmotionModel, label: str) -> bool:
    return label.casefold() in {known.casefold() for known in emotion_model.labels} if label else False


def column_label(column: object) -> str:
    """What a vote column's header says: "[prob. anger]", "votes_anger" and "Anger" are all "anger"."""
    text = " ".join(str(column).split()).strip("[]'\" ").casefold()
    return _COLUMN_PREFIX.sub("", text)


def vote_columns(columns: Iterable[str], emotion_model: EmotionModel) -> list[str] | None:
    """The column of every label, in the order of the model; None if a label has no column.

    Raises:
        DataError: If two columns stand for the same label.
    """
    found: dict[int, str] = {}
    for column in columns:
        label = column_label(column)
        if not is_label(label, emotion_model):
            continue
        index = label_index(label, emotion_model)
        if index in found:
            first = shown_list((found[index], column))
            raise DataError(
                f'Two columns, {first}, give votes for "{emotion_model.labels[index]}"; remove or rename one of them.'
            )
        found[index] = column
    return [found[i] for i in range(len(emotion_model))] if len(found) == len(emotion_model) else None


def emotion_model_of_columns(columns: Iterable[str]) -> EmotionModel | None:
    """The built-in emotion model all of whose labels have a column; the one with most labels if there are several.

    Raises:
        DataError: If two models of the same size fit, so that the caller has to choose.
    """
    columns = list(columns)
    fitting = [m for m in EMOTION_MODELS.values() if _column_count(columns, m) == len(m)]
    if not fitting:
        return None
    largest = [m for m in fitting if len(m) == max(len(other) for other in fitting)]
    if len(largest) > 1:
        raise DataError(
            f"The columns fit {' and '.join(m.name for m in largest)} equally well; give the one you mean "
            "as emotion_model."
        )
    return largest[0]


def _column_count(columns: Iterable[str], emotion_model: EmotionModel) -> int:
    labels = {column_label(column) for column in columns}
    return len({label_index(label, emotion_model) for label in labels if is_label(label, emotion_model)})


def unused_label_columns(columns: Iterable[str], used: Iterable[str]) -> list[str]:
    """Columns that name an emotion of some built-in model but are not read, such as "neutral" beside Mikels' eight."""
    used = set(used)
    return [
        column
        for column in columns
        if column not in used and any(is_label(column_label(column), model) for model in EMOTION_MODELS.values())
    ]


def is_misspelt(text: str, known: str) -> bool:
    """Whether one text is likely the other with a slip of the hand, not another word ("unhappy" beside "happy")."""
    first, second = (" ".join(word.casefold().replace("_", " ").split()) for word in (text, known))
    if min(len(first), len(second)) < 4 or any(f"{no}{a}" == b for no in _NEGATIONS for a, b in _both(first, second)):
        return False
    # "level 1" and "level 2" are two labels.
    if any(character.isdigit() for character in first + second):
        return False
    ratio = difflib.SequenceMatcher(None, first, second).ratio()
    # Letters that changed places cost two edits, but are one slip.
    return ratio >= 0.85 or (ratio >= 0.7 and sorted(first) == sorted(second))


def _both(first: str, second: str) -> tuple[tuple[str, str], tuple[str, str]]:
    return (first, second), (second, first)


def nearest_misspelt(text: str, known: Iterable[str]) -> str | None:
    """The one of the known texts that this is likely a misspelling of; None if there is none."""
    near = [word for word in known if is_misspelt(text, word)]
    return max(near, key=lambda word: difflib.SequenceMatcher(None, text.casefold(), word).ratio(), default=None)


def own_emotion_model(labels: Iterable[str], name: str) -> EmotionModel:
    """An emotion model of a data set's own label words, in their order.

    A label stands for itself, with spaces for underscores. It takes the polarity of the built-in label that it is
    or is a spelling of ("happy": joy's); the polarity of another one is not known. Where the labels are those
    of a built-in model, in its order, it is that model.

    Args:
        labels: 2 to 500 labels that differ in more than upper and lower case.
        name: The data set's; the model is called so.

    Raises:
        DataError: If the labels do not make a model.
    """
    model = EmotionModel.from_labels(labels)
    for built_in in EMOTION_MODELS.values():
        if tuple(label.casefold() for label in model.labels) == built_in.labels:
            return built_in
    known = {emotion.label: emotion.polarity for built_in in EMOTION_MODELS.values() for emotion in built_in.emotions}
    emotions = [
        Emotion(
            e.label, (e.label.replace("_", " "),), known.get(LABEL_ALIASES.get(e.label.casefold(), e.label.casefold()))
        )
        for e in model.emotions
    ]
    # A model named like a data set is told from another data set's; "custom" is what callers' lists are called.
    plain = " ".join(re.sub(r"[^\w.-]+", " ", name.rstrip("/").rpartition("/")[2])[:60].split()) or "custom"
    return replace(model, name=f"{plain} labels" if plain in EMOTION_MODELS else plain, emotions=tuple(emotions))


def emotion_model_for_labels(
    counts: Mapping[str, int], wanted: EmotionModel | None, what: str, name: str = "custom", fixed: bool = False
) -> EmotionModel:
    """The model to read labels as: the wanted one if no built-in model knows more of them, else their own.

    Without a wanted one it is the built-in model that fits (`emotion_model_of_labels`), or, where more than one row
    in ten has a label that no built-in model has, all labels as a model of their own, in alphabetical order.
    Misspellings of a built-in model's labels do not count: those rows are skipped, and reported.

    Args:
        counts, what: As for `emotion_model_of_labels`.
        name: What a model of own labels is called.
        fixed: Read as the wanted model whatever else fits; rows with other labels are left out.

    Raises:
        DataError: If no model fits.
    """
    if wanted is None:
        return _found_model(counts, what, name)
    known = _known_rows(counts, wanted)
    if fixed and not known:
        raise DataError(
            f"None of the labels of {what} ({shown_list(counts)}) is one of yours "
            f"({shown_list(wanted.labels)}); list labels that are in the data set."
        )
    if fixed:
        _check_asked(counts, wanted, what)
    if fixed or (known and known >= max(_known_rows(counts, model) for model in EMOTION_MODELS.values())):
        return wanted
    try:
        return emotion_model_of_labels(counts, what)
    except DataError:
        if known:
            return wanted
        raise


def _check_asked(counts: Mapping[str, int], wanted: EmotionModel, what: str) -> None:
    """Refuses a listed label that the data have in another spelling only."""
    there = {label_index(label, wanted) for label in counts if is_label(label, wanted)}
    others = [label for label in counts if not is_label(label, wanted)]
    for index, label in enumerate(wanted.labels):
        nearest = None if index in there else nearest_misspelt(label, others)
        if nearest is not None:
            raise DataError(f"{shown(label)} is no label of {what}; did you mean {shown(nearest)}? Correct your list.")


def _found_model(counts: Mapping[str, int], what: str, name: str) -> EmotionModel:
    nearest = max(EMOTION_MODELS.values(), key=lambda model: _known_rows(counts, model))
    spellings = [*nearest.labels, *LABEL_ALIASES]
    unknown = {label: count for label, count in counts.items() if not is_label(label, nearest)}
    own = sum(count for label, count in unknown.items() if nearest_misspelt(label, spellings) is None)
    if own <= _OWN_SHARE * sum(counts.values()):
        return emotion_model_of_labels(counts, what)
    return own_emotion_model(_own_labels(counts, what), name)


def _own_labels(counts: Mapping[str, int], what: str) -> list[str]:
    """The labels in alphabetical order, each once, in its most frequent spelling.

    Raises:
        DataError: If they are no label words.
    """
    spellings: dict[str, Counter[str]] = {}
    for label, count in counts.items():
        text = " ".join(str(label).split())
        spellings.setdefault(text.casefold(), Counter())[text] += count
    labels = [spellings[key].most_common(1)[0][0] for key in sorted(spellings)]
    once = sum(spelling.total() == 1 for spelling in spellings.values())
    if len(labels) == 1:
        raise DataError(
            f"All pictures of {what} have the label {shown(labels[0])}; at least two different emotions are needed, "
            "each in a folder of its name or in the column of labels."
        )
    if not any(character.isalpha() for label in labels for character in label):
        raise DataError(
            f"The labels of {what} ({shown_list(labels)}) are numbers; write the emotions' names instead, as their "
            "words are read."
        )
    if len(labels) > MAX_LABELS or (len(labels) > _MOST_RARE_LABELS and 2 * once > len(labels)):
        raise DataError(
            f"{what} has {len(labels)} different labels, {once} of them on one picture only "
            f"({shown_list(labels, 3)}); give each picture one of a few emotion words, or list the labels "
            "to use (--labels)."
        )
    return labels


def _known_rows(counts: Mapping[str, int], emotion_model: EmotionModel) -> int:
    return sum(count for label, count in counts.items() if is_label(label, emotion_model))


def emotion_model_of_labels(counts: Mapping[str, int], what: str) -> EmotionModel:
    """The built-in emotion model that labels are from.

    The model that knows most of the rows' labels is taken, if it knows at least half, so that a few misspelt
    labels do not hide it. Where several know the same labels, one that lies inside all the others is taken
    (Ekman's six before Ekman's six and neutral).

    Args:
        counts: Label -> number of rows.
        what: What carries the labels, for the message ("the folders of fi/").

    Raises:
        DataError: If no model or more than one fits.
    """
    models = list(EMOTION_MODELS.values())
    rows = {model.name: _known_rows(counts, model) for model in models}
    best = max(rows.values(), default=0)
    if best == 0 or 2 * best < sum(counts.values()):
        raise DataError(
            f"The labels of {what} ({shown_list(counts)}) fit no known emotion model; give emotion_model as a name "
            f"({', '.join(EMOTION_MODELS)}), or list your labels (--labels)."
        )
    fitting = [m for m in models if rows[m.name] == best]
    for model in fitting:
        labels = set(model.labels)
        if all(labels <= set(other.labels) for other in fitting):
            return model
    raise DataError(
        f"The labels of {what} ({shown_list(counts)}) fit {', '.join(m.name for m in fitting)}; give the one you mean "
        "as emotion_model, or list your labels (--labels)."
    )

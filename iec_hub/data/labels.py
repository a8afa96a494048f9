"""Label names as data sets write them: spellings, columns, and which emotion model they belong to."""

import re
from collections.abc import Iterable, Mapping

from iec_hub.emotions import EMOTION_MODELS, EmotionModel
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


def emotion_model_for_labels(counts: Mapping[str, int], wanted: EmotionModel | None, what: str) -> EmotionModel:
    """The model to read labels as: the wanted one if no built-in model knows more of them, else their own.

    Args:
        counts, what: As for `emotion_model_of_labels`.

    Raises:
        DataError: If no model fits.
    """
    if wanted is None:
        return emotion_model_of_labels(counts, what)
    known = _known_rows(counts, wanted)
    if known and known >= max(_known_rows(counts, model) for model in EMOTION_MODELS.values()):
        return wanted
    try:
        return emotion_model_of_labels(counts, what)
    except DataError:
        if known:
            return wanted
        raise


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
            f"({', '.join(EMOTION_MODELS)}) or as the list of the labels."
        )
    fitting = [m for m in models if rows[m.name] == best]
    for model in fitting:
        labels = set(model.labels)
        if all(labels <= set(other.labels) for other in fitting):
            return model
    raise DataError(
        f"The labels of {what} ({shown_list(counts)}) fit {', '.join(m.name for m in fitting)}; give the one you mean "
        "as emotion_model."
    )

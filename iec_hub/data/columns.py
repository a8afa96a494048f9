"""Which columns of a table are read, under which names, and which are likely misspelt."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from iec_hub.data.labels import column_label, nearest_misspelt, shown, shown_list
from iec_hub.emotions import EMOTION_MODELS, EmotionModel
from iec_hub.errors import DataError

FILE_COLUMNS = ("file_name", "filename", "file", "image_path", "image", "image filename", "image_filename")
LABEL_COLUMNS = ("emotion", "label", "labels", "emotions")
TEXT_COLUMNS = ("text", "caption", "concepts", "tags")
NUMBER_ATTRIBUTES = ("brightness", "colorfulness")
ATTRIBUTES = (*NUMBER_ATTRIBUTES, "scene", "object", "facial_expression", "human_action")
OPTIONAL_COLUMNS = ("split", "id", "image_id", *TEXT_COLUMNS, "valence", "arousal", *ATTRIBUTES)


@dataclass(frozen=True)
class Columns:
    """Which columns of a table are read; a name is None where the table has no such column."""

    names: tuple[str, ...]
    file_name: str | None
    label: str | None
    known: dict[str, str]

    @classmethod
    def of(cls, names: Iterable[str]) -> "Columns":
        names = tuple(names)
        by_key: dict[str, str] = {}
        for name in names:
            by_key.setdefault(_key(name), name)
        first = [next((by_key[key] for key in keys if key in by_key), None) for keys in (FILE_COLUMNS, LABEL_COLUMNS)]
        return cls(names, first[0], first[1], {key: by_key[key] for key in OPTIONAL_COLUMNS if key in by_key})

    def misspelt(self, missing: Iterable[str]) -> dict[str, str]:
        """Column -> the missing one that its name is likely a misspelling of."""
        missing = [name for name in missing if name not in self.known]
        read = {self.file_name, self.label, *self.known.values()}
        near = {name: nearest_misspelt(_key(name), missing) for name in self.names if name not in read}
        return {name: known for name, known in near.items() if known is not None}

    def did_you_mean(self, wanted: EmotionModel | None = None) -> str:
        """For a message that labels are missing: which columns are likely misspelt ones, " (did you mean ...?)"."""
        models = [wanted] if wanted is not None else EMOTION_MODELS.values()
        labels = {label.casefold() for model in models for label in model.labels} - {
            column_label(n) for n in self.names
        }
        return _did_you_mean(self.misspelt((*LABEL_COLUMNS, *sorted(labels))))

    def check(self, what: str) -> None:
        """Refuses a table without a file column, or with one that should say the splits but is misspelt.

        Args:
            what: The table, for the message.

        Raises:
            DataError: In both cases: a data set whose splits are not read would be trained on as a whole.
        """
        if self.file_name is None:
            raise DataError(
                f'{shown(what)} has no column "file_name": its columns are {shown_list(self.names, 40)}'
                f"{_did_you_mean(self.misspelt(FILE_COLUMNS))}."
            )
        if splits := self.misspelt(("split",)):
            raise DataError(
                f'{shown(what)} has a column {shown(next(iter(splits)))}; did you mean "split"? Rename the column.'
            )

    def notes(self) -> list[str]:
        """Sentences on columns that are not read and look like misspelt ones that would be."""
        optional = [name for name in OPTIONAL_COLUMNS if name != "split"]
        return [
            f"The column {shown(name)} is not read; did you mean {shown(known)}?"
            for name, known in self.misspelt(optional).items()
        ]


def _key(name: object) -> str:
    return " ".join(str(name).split()).strip("[]'\" ").casefold()


def _did_you_mean(misspelt: Mapping[str, str]) -> str:
    pairs = " and ".join(f"{shown(known)} by {shown(name)}" for name, known in list(misspelt.items())[:3])
    return f" (did you mean {pairs}?)" if pairs else ""

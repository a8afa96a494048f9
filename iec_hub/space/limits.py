"""How much a visitor may ask of the server, and how the server shares its work."""

import os
from dataclasses import dataclass, fields

from iec_hub.errors import DataError

# More threads than this wait for each other more than they help.
_MOST_WORKERS = 4


@dataclass(frozen=True)
class Limits:
    """Bounds of what is taken; whoever asks for more gets one sentence.

    Attributes:
        file_bytes: largest picture, within an archive too.
        archive_bytes: largest zip archive of pictures.
        pixels: most pixels of one picture.
        pictures: most pictures of one batch, those within archives included.
        caption: most characters of a caption.
        labels: most characters of all own labels together.
        waiting: most pictures that wait for a method; whoever comes then is told to come back.
        seconds: longest that one picture may take, waiting included.
        batch: most pictures that a model sees at once.
        workers: batches that are worked on at the same time; 0 is one for each processor core, at most 4.

    Raises:
        DataError: if one of them is no positive number.
    """

    file_bytes: int = 10_000_000
    archive_bytes: int = 60_000_000
    pixels: int = 50_000_000
    pictures: int = 200
    caption: int = 400
    labels: int = 4_000
    waiting: int = 128
    seconds: float = 60.0
    batch: int = 8
    workers: int = 0

    def __post_init__(self) -> None:
        for field in fields(self):
            value = getattr(self, field.name)
            kinds = (int, float) if field.name == "seconds" else (int,)
            least = {"workers": 0, "seconds": 0.1}.get(field.name, 1)
            if isinstance(value, bool) or not isinstance(value, kinds) or not least <= value < 2**40:
                kind = "number" if field.name == "seconds" else "whole number"
                raise DataError(f"The limit {field.name} is not a {kind} of at least {least}; correct it.")

    @property
    def threads(self) -> int:
        """Batches that are worked on at the same time."""
        return self.workers or min(_MOST_WORKERS, available_cores())


def available_cores() -> int:
    """Processor cores that this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1

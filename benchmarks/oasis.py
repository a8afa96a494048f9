"""The OASIS pictures (Kurdi et al., 2017): human captions and valence, no emotion labels."""

from __future__ import annotations

import csv
from pathlib import Path

from iec_hub.data import EmotionExample
from iec_hub.emotions import get_emotion_model

SPLITS = ("train", "validation", "test")


def read_oasis(folder: Path) -> dict[str, list[EmotionExample]]:
    """Split name to its pictures in the order of `metadata.csv`, with `valence` (1 to 7) and `text`, the caption.

    Nobody asked what emotion the pictures evoke, so their distribution means nothing. The origin of a picture is the
    one that training gives it, so that cached features are found again.
    """
    nothing = get_emotion_model("sentiment2")
    splits: dict[str, list[EmotionExample]] = {split: [] for split in SPLITS}
    with (folder / "metadata.csv").open(encoding="utf-8-sig", newline="") as file:
        for number, row in enumerate(csv.DictReader(file), start=2):
            splits[row["split"]].append(
                EmotionExample(
                    folder / row["file_name"],
                    nothing,
                    nothing.distribution([1, 1]),
                    text=" ".join(row["caption"].split()),
                    valence=float(row["valence"]),
                    split=row["split"],
                    origin=f"metadata.csv:{number}",
                    id=row["file_name"],
                )
            )
    return splits

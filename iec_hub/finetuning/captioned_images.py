"""Images with captions to train a captioner on: affective caption data sets and CSV files."""

from __future__ import annotations

import csv
import logging
import random
import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from PIL import Image
from torch.utils.data import Dataset

from iec_hub.affect.caption_card import DATA_FOLDER
from iec_hub.affect.caption_rows import datasets_library
from iec_hub.data.hub import DatasetImage
from iec_hub.data.labels import shown
from iec_hub.data.rows import file_inside
from iec_hub.errors import DataError, ImageError
from iec_hub.images import open_image
from iec_hub.predictor import DECODE_SIDE

logger = logging.getLogger(__name__)

# A mirror image would make these words untrue.
_SIDES = re.compile(r"\b(left|right)", re.IGNORECASE)


@dataclass(frozen=True)
class CaptionedImage:
    """An image and what may be said of it.

    Attributes:
        image: what `iec_hub.images.open_image` reads.
        captions: at least one; the first is the plain wording.
        origin: where the row is, "captions.csv:12".
    """

    image: Any
    captions: tuple[str, ...]
    origin: str = ""


@dataclass
class CaptionPairs(Dataset):
    """Pairs of an image and a caption, one for each image and epoch.

    With `augment` the wording is drawn anew every epoch and half of the images are mirrored, unless the caption tells
    left from right; crops would cut off what it tells. The draw depends on `(seed, epoch, index)` alone. Without, each
    image has its first caption. An image that cannot be opened is replaced by the next one that can.
    """

    items: Sequence[CaptionedImage]
    augment: bool = True
    seed: int = 0
    epoch: int = field(default=0, init=False)
    _broken: set[int] = field(default_factory=set, init=False, repr=False)

    def set_epoch(self, epoch: int) -> None:
        """Called by accelerate's data loader."""
        self.epoch = epoch

    def __len__(self) -> int:
        return len(self.items)

    def __getitem__(self, index: int) -> dict[str, Any]:
        """The RGB `image`, at least as large as captioners read, and its `caption`.

        Raises:
            DataError: if no image at all can be opened.
        """
        rng = random.Random(f"{self.seed}/{self.epoch}/{index}")
        item, image = self._opened(index)
        caption = rng.choice(item.captions) if self.augment else item.captions[0]
        if self.augment and rng.random() < 0.5 and not _SIDES.search(caption):
            image = image.transpose(Image.Transpose.FLIP_LEFT_RIGHT)
        return {"image": image, "caption": caption}

    def _opened(self, index: int) -> tuple[CaptionedImage, Image.Image]:
        for step in range(len(self.items)):
            place = (index + step) % len(self.items)
            if place in self._broken:
                continue
            try:
                return self.items[place], open_image(self.items[place].image, max_side=DECODE_SIDE)
            except ImageError as error:
                self._broken.add(place)
                logger.warning("%s is left out: %s", self.items[place].origin or f"Image {place}", error)
        raise DataError("None of the captioned images can be opened; check their files.")


def read_caption_data(
    folder: Path,
    split: str = "train",
    images: Path | Mapping[str, Path] | None = None,
    emotion_words: bool = False,
    human_captions: bool = False,
) -> list[CaptionedImage]:
    """One split of an affective caption data set, as `training/build_affective_captions.py` writes it.

    Args:
        folder: the data set's, with `data/<split>.parquet`; without that file there are no images.
        images: the folder of the pictures, or one by the name of each data set that was captioned; needed unless the
            pictures are in the parquet files. Of several data sets in one folder, each has a folder of its name there.
        emotion_words: captions that end with the emotion word; rows without one are left out.
        human_captions: also what people wrote.

    Raises:
        DataError: if it is no such data set, or its pictures cannot be found.
    """
    datasets = datasets_library()
    if not (folder / DATA_FOLDER).is_dir():
        raise DataError(
            f"{shown(folder.name)} is no affective caption data set: it has no folder {DATA_FOLDER!r}; build one with "
            "training/build_affective_captions.py."
        )
    path = folder / DATA_FOLDER / f"{split}.parquet"
    if not path.is_file():
        return []
    rows = _parquet_rows(path, emotion_words)
    stored = None
    if rows and "image" in rows[0]:
        # Memory-mapped: the pictures of a large data set do not fit into memory.
        stored = datasets.Dataset.from_parquet(str(path), columns=["image"])
        stored = stored.cast_column("image", datasets.Image(decode=False))
    find = _ImageFolders(images, {str(row["dataset"]) for row in rows})
    ending = "_with_emotion" if emotion_words else ""
    items, problems = [], []
    for number, row in enumerate(rows):
        origin = f"{path.name}:{number}"
        texts = [row[f"caption{ending}"], *(row[f"variants{ending}"] or ())] if row[f"caption{ending}"] else []
        captions = _lines([*texts, *((row["human_captions"] or ()) if human_captions and texts else ())])
        try:
            if not captions:
                raise DataError("it has no such caption; leave it out.")
            image = find(row) if stored is None else DatasetImage(stored, "image", number)
        except DataError as error:
            problems.append(f"{origin}: {error}")
            continue
        items.append(CaptionedImage(image, captions, origin))
    _report(path.name, items, problems)
    return items


def _parquet_rows(path: Path, emotion_words: bool) -> list[dict[str, Any]]:
    """All columns that are read, but of `image` only whether it is there."""
    import pyarrow as pa
    from pyarrow import parquet

    ending = "_with_emotion" if emotion_words else ""
    wanted = ["file_name", "dataset", f"caption{ending}", f"variants{ending}", "human_captions"]
    try:
        columns = parquet.read_schema(path).names
        missing = [name for name in wanted if name not in columns]
        if missing:
            raise DataError(
                f"{shown(path.name)} has no column {missing[0]!r}; build the captions with "
                "training/build_affective_captions.py."
            )
        rows = parquet.read_table(path, columns=wanted).to_pylist()
    except (pa.ArrowException, OSError) as error:
        raise DataError(f"{shown(path.name)} cannot be read as a parquet file; build or copy it again.") from error
    return [row | {"image": None} for row in rows] if "image" in columns else rows


class _ImageFolders:
    """Finds the file of a row in the folder of its data set."""

    def __init__(self, images: Path | Mapping[str, Path] | None, names: set[str]):
        if isinstance(images, Mapping):
            self._folders = {name: Path(folder) for name, folder in images.items()}
        elif images is None:
            self._folders = {}
        elif len(names) == 1 and not (Path(images) / next(iter(names))).is_dir():
            self._folders = dict.fromkeys(names, Path(images))
        else:
            # A name is from a file, so it may lead nowhere else.
            inside = [name for name in names if Path(name).name == name != ".."]
            self._folders = {name: Path(images) / name for name in inside}

    def __call__(self, row: Mapping[str, Any]) -> Path:
        name = str(row["dataset"])
        if name not in self._folders:
            raise DataError(f"the pictures of {shown(name)} are not inside; give the folder of its images.")
        return file_inside(self._folders[name], row["file_name"])


def read_caption_table(path: Path, split: str = "train") -> list[CaptionedImage]:
    """One split of a CSV file with `file_name`, `split` and columns that begin with `caption`, each with one caption.

    The columns are those of [`~iec_hub.finetuning.ugrie_loading.read_captions`], which joins the captions to one text.
    Without a column `split`, all rows train.

    Raises:
        DataError: if the file is no CSV file in UTF-8.
    """
    items, problems = [], []
    try:
        with path.open(encoding="utf-8-sig", newline="") as file:
            for number, row in enumerate(csv.DictReader(file), start=2):
                if (row.get("split") or "train") != split:
                    continue
                captions = _lines(value for name, value in row.items() if name and name.startswith("caption"))
                image = path.parent / (row.get("file_name") or "")
                if captions and image.is_file():
                    items.append(CaptionedImage(image, captions, f"{path.name}:{number}"))
                else:
                    problems.append(f"{path.name}:{number}: no caption, or no such image")
    except (UnicodeDecodeError, csv.Error) as error:
        raise DataError(f"{path.name} is not a CSV file in UTF-8; convert it.") from error
    _report(path.name, items, problems)
    return items


def _lines(texts: Iterable[Any]) -> tuple[str, ...]:
    """Texts on one line each, each once, without blank ones."""
    return tuple(dict.fromkeys(" ".join(text.split()) for text in texts if isinstance(text, str) and text.strip()))


def _report(name: str, items: Sequence[CaptionedImage], problems: Sequence[str]) -> None:
    if problems and not items:
        raise DataError(f"{shown(name)} has no image with a caption that can be used; the first row: {problems[0]}")
    if problems:
        logger.warning("%s: %d rows are left out; the first: %s", name, len(problems), problems[0])


def caption_pairs(
    caption_data: Sequence[str | Path] = (),
    image_roots: Sequence[str | Path | Mapping[str, Path]] = (),
    captions: Sequence[str | Path] = (),
    emotion_words: bool = False,
    seed: int = 0,
    human_captions: bool = False,
) -> tuple[CaptionPairs, CaptionPairs | None] | None:
    """Pairs for training and for validation from data sets and CSV files; `None` if none is named.

    Args:
        caption_data, image_roots: folders of affective captions, and for each where its images are (or none at all);
            see [`read_caption_data`].
        captions: CSV files, see [`read_caption_table`].
        seed: of the draw of captions in training.

    Returns:
        The splits `train` and `validation`; the latter is `None` where no source has one.

    Raises:
        DataError: if a source cannot be read, or nothing is left to train on.
    """
    if not caption_data and not captions:
        return None
    roots = [root if isinstance(root, Mapping) else Path(root) for root in image_roots] or [None] * len(caption_data)
    if len(roots) != len(caption_data):
        raise DataError(f"{len(caption_data)} caption data sets came with {len(roots)} image folders; give one each.")
    splits = {}
    for split in ("train", "validation"):
        splits[split] = [
            item
            for folder, root in zip(caption_data, roots, strict=True)
            for item in read_caption_data(Path(folder), split, root, emotion_words, human_captions)
        ]
        splits[split] += [item for path in captions for item in read_caption_table(Path(path), split)]
    if not splits["train"]:
        raise DataError("The captions have no split 'train' to learn from; name one of their splits so.")
    if not splits["validation"]:
        logger.warning("The captions have no split 'validation', so that the captioner trains all its epochs.")
    held_out = CaptionPairs(splits["validation"], augment=False) if splits["validation"] else None
    return CaptionPairs(splits["train"], augment=True, seed=seed), held_out


__all__ = ["CaptionPairs", "CaptionedImage", "caption_pairs", "read_caption_data", "read_caption_table"]

"""Layouts whose labels are in the names: folders of classes, FI, ArtPhoto."""

import os
import re
from collections import Counter
from pathlib import Path

from iec_hub.data.labels import (
    emotion_model_for_labels,
    is_label,
    label_index,
    shown,
    shown_list,
    unknown_label_kind,
)
from iec_hub.data.rows import file_inside
from iec_hub.data.schema import SPLITS, EmotionDataset, EmotionExample, SkippedRow, is_split_name, split_name
from iec_hub.emotions import EMOTION_MODELS, EmotionModel
from iec_hub.errors import DataError
from iec_hub.images import IMAGE_EXTENSIONS, find_images

_MIKELS = EMOTION_MODELS["mikels8"]
# "amusement_123.jpg": an emotion, an underscore, a number.
_NAMED_FILE = re.compile(r"^([a-z]+)_\d+\.[a-z]+$", re.IGNORECASE)
_SPLIT_LIST_ENDINGS = (".txt", ".csv", ".lst")


def subfolders(folder: Path) -> list[Path]:
    """The folders in a folder, sorted, without hidden ones."""
    return sorted(path for path in folder.iterdir() if path.is_dir() and not path.name.startswith("."))


def loose_images(folder: Path) -> list[Path]:
    """The image files directly in a folder, sorted, without hidden ones."""
    return sorted(
        path
        for path in folder.iterdir()
        if path.suffix.lower() in IMAGE_EXTENSIONS and path.is_file() and not path.name.startswith(".")
    )


def unwrapped(folder: Path) -> Path:
    """The folder that holds the classes: a single folder inside ("images/") that is no label is passed through."""
    for _ in range(3):
        inside = subfolders(folder)
        known = any(is_label(f.name, model) for f in inside for model in EMOTION_MODELS.values())
        if len(inside) != 1 or known or is_split_name(inside[0].name):
            return folder
        if loose_images(folder) or not subfolders(inside[0]):
            return folder
        folder = inside[0]
    return folder


def class_folders(folder: Path) -> list[tuple[Path, str | None]]:
    """The class folders with their split: `<label>/`, or `<split>/<label>/` where some folder is a split."""
    folders = subfolders(folder)
    splits = [path for path in folders if is_split_name(path.name)]
    # Beside splits another folder ("annotations/") is no label; a label may be called "test" if it holds images.
    if splits and (len(splits) == len(folders) or any(subfolders(path) for path in splits)):
        return [(label, split_name(split.name)) for split in splits for label in subfolders(split)]
    return [(path, None) for path in folders]


def load_class_folders(
    source: Path, emotion_model: EmotionModel | None, name: str, fixed: bool = False
) -> EmotionDataset:
    """Reads `<label>/*.jpg` or `<split>/<label>/*.jpg`; the folder's name is the label.

    Args:
        fixed: Read the labels of `emotion_model` alone; images of other folders are left out.

    Raises:
        DataError: If there are no class folders, or their names fit no emotion model.
    """
    return _read_class_folders(source, emotion_model, name, {}, fixed)


def load_fi(source: Path, emotion_model: EmotionModel | None, name: str) -> EmotionDataset:
    """Reads FI (You et al., 2016): `<emotion>/<emotion>_123.jpg` over Mikels' eight.

    Lists of splits are optional: `train.txt`, `val.txt`, `test.txt` (or .csv, .lst), an image's path from the
    folder on each line, and anything after it.

    Raises:
        DataError: If the folders are not emotions of the model.
    """
    listed, skipped = _split_lists(source, unwrapped(source))
    dataset = _read_class_folders(source, _MIKELS, name, listed)
    dataset.skipped += skipped
    if listed and (rest := sum(example.split is None for example in dataset)):
        dataset.notes.append(f"{rest} images are in no list of a split.")
    return dataset if emotion_model is None else dataset.mapped_to(emotion_model)


def _read_class_folders(
    source: Path, wanted: EmotionModel | None, name: str, listed: dict[Path, str], fixed: bool = False
) -> EmotionDataset:
    root = unwrapped(source)
    found = [(folder, split, find_images([folder])) for folder, split in class_folders(root)]
    # A folder without images says nothing of the labels ("annotations/"), except where nothing else is there.
    counts = Counter({folder.name: 0 for folder, _, _ in found})
    for folder, _, images in found:
        counts[folder.name] += len(images)
    labels = {label: count for label, count in counts.items() if count}
    if not labels:
        raise DataError(
            f"{shown(name)} has no images in class folders{_other_endings(root)}; expected <label>/*.jpg or "
            "<split>/<label>/*.jpg, one folder per emotion."
        )
    model = emotion_model_for_labels(labels, wanted, f"the folders of {name}", name, fixed)
    empty = [label for label in counts if label not in labels]
    notes = [f"The folders {shown_list(empty)} have no images."] if empty else []
    examples: list[EmotionExample] = []
    classes = {folder for folder, _, _ in found}
    strays = [path for path in subfolders(root) if not is_split_name(path.name) and path not in classes]
    loose = [p for folder in dict.fromkeys([root, *(f.parent for f in classes)]) for p in loose_images(folder)]
    skipped = [
        SkippedRow(_relative(path, source), "the image is in no class folder; move it into its label's.")
        for path in (*sorted(loose), *find_images(strays))
    ]
    for folder, split, images in found:
        try:
            distribution = model.distribution(model.labels[label_index(folder.name, model)])
        except DataError as error:
            kind = unknown_label_kind(folder.name, model, fixed)
            skipped += [SkippedRow(_relative(image, source), str(error), split, kind) for image in images]
            continue
        for image in images:
            origin = _relative(image, source)
            examples.append(
                EmotionExample(image, model, distribution, split=split or listed.get(image), origin=origin, id=origin)
            )
    dataset = EmotionDataset(examples, model, skipped, name, notes)
    return dataset if wanted is None or wanted == model else dataset.mapped_to(wanted)


def _other_endings(root: Path) -> str:
    """What the folders hold instead of images, where it is something: phones' .heic, or videos."""
    endings = Counter(
        path.suffix.lower() for folder in subfolders(root) for path in folder.rglob("*") if path.is_file()
    )
    endings.pop("", None)
    return f", but {endings.total()} other files ({shown_list(dict(endings.most_common()), 3)})" if endings else ""


def _relative(path: Path, source: Path) -> str:
    return path.relative_to(source).as_posix()


def split_list_files(folder: Path) -> list[tuple[Path, str]]:
    """Files such as `train.txt` and `val.csv` with their split."""
    files = (path for path in sorted(folder.iterdir()) if path.suffix.lower() in _SPLIT_LIST_ENDINGS)
    return [(path, split_name(path.stem)) for path in files if split_name(path.stem) in SPLITS]  # type: ignore[misc]


def _split_lists(source: Path, root: Path) -> tuple[dict[Path, str], list[SkippedRow]]:
    """Image -> split from lists of splits, and the lines that name no image."""
    listed: dict[Path, str] = {}
    skipped: list[SkippedRow] = []
    for path, split in split_list_files(source):
        with open(path, encoding="utf-8-sig", errors="replace") as file:
            for number, line in enumerate(file, start=1):
                file_name = line.strip().split(",")[0].split("\t")[0].strip()
                if not file_name or (number == 1 and "." not in file_name):
                    continue  # An empty line or a header.
                try:
                    image = _listed_image(file_name, (source, root))
                except DataError as error:
                    skipped.append(SkippedRow(f"{path.name}:{number}", str(error), split))
                    continue
                if listed.setdefault(image, split) != split:
                    reason = f"the image is also in the list of {listed[image]}, where it stays."
                    skipped.append(SkippedRow(f"{path.name}:{number}", reason, split))
    return listed, skipped


def _listed_image(file_name: str, folders: tuple[Path, Path]) -> Path:
    """The image of a list's line: from either folder, and with or without a label index after a space."""
    for text in dict.fromkeys((file_name, file_name.split()[0])):
        for folder in dict.fromkeys(folders):
            try:
                return Path(os.path.normpath(file_inside(folder, text)))
            except DataError as error:
                problem = error
    raise problem


def emotion_of_file(path: Path) -> str | None:
    """The emotion in a file name such as "sad_0123.jpg"; None if there is none of Mikels' eight."""
    match = _NAMED_FILE.match(path.name)
    return match[1] if match and is_label(match[1], _MIKELS) else None


def load_artphoto(source: Path, emotion_model: EmotionModel | None, name: str) -> EmotionDataset:
    """Reads ArtPhoto (Machajdik and Hanbury, 2010): `<emotion>_0123.jpg` in one folder, over Mikels' eight.

    Raises:
        DataError: If no file is named so.
    """
    examples: list[EmotionExample] = []
    skipped: list[SkippedRow] = []
    for image in find_images([source]):
        emotion, origin = emotion_of_file(image), _relative(image, source)
        if emotion is None:
            reason = f"the name does not begin with an emotion and a number; expected {shown_list(_MIKELS.labels)}."
            skipped.append(SkippedRow(origin, reason))
            continue
        distribution = _MIKELS.distribution(_MIKELS.labels[label_index(emotion, _MIKELS)])
        examples.append(EmotionExample(image, _MIKELS, distribution, origin=origin, id=image.stem))
    if not examples:
        raise DataError(f"{shown(name)} has no images named <emotion>_<number>.jpg; choose another layout.")
    dataset = EmotionDataset(examples, _MIKELS, skipped, name)
    return dataset if emotion_model is None else dataset.mapped_to(emotion_model)

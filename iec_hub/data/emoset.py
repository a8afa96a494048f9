"""EmoSet-118K (Yang et al., 2023) as it is published, with its six emotional attributes."""

import json
import re
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from iec_hub.data.folders import subfolders
from iec_hub.data.labels import label_index, shown
from iec_hub.data.rows import attributes_of, file_inside
from iec_hub.data.schema import EmotionDataset, EmotionExample, SkippedRow, split_name
from iec_hub.emotions import EMOTION_MODELS, EmotionModel
from iec_hub.errors import DataError
from iec_hub.images import find_images

_MODEL = EMOTION_MODELS["mikels8"]
_SPLIT_FILES = ("train.json", "val.json", "validation.json", "test.json")
# "amusement_12865": the emotion is the first part of an image's id.
_IMAGE_ID = re.compile(r"^([A-Za-z]+)_[\w-]+$")
_LARGEST_ANNOTATION = 2**20


def split_files(folder: Path) -> list[Path]:
    """The split files that are there, train first."""
    return [folder / name for name in _SPLIT_FILES if (folder / name).is_file()]


def load_emoset(source: Path, emotion_model: EmotionModel | None, name: str) -> EmotionDataset:
    """Reads EmoSet: `image/<emotion>/x.jpg`, `annotation/<emotion>/x.json` and `train.json`, `val.json`, `test.json`.

    An entry of a split file is `[emotion, image_id, image_path, annotation_path]` (as published),
    `[emotion, image_path, annotation_path]` (earlier), an object with such keys, or an image id alone. Without
    split files all images in `image/` are read. An image without an annotation file has no attributes; one
    with a broken file is skipped.

    Raises:
        DataError: If there are neither split files nor images, or a split file is not JSON.
    """
    examples: list[EmotionExample] = []
    skipped: list[SkippedRow] = []
    emotions = _emotion_names(source)
    without = 0
    for origin, entry, split in _entries(source, skipped):
        try:
            label, image_id, image, annotation = _parts(entry, emotions)
            attributes = _annotation(source, annotation)
            without += attributes is None
            example = EmotionExample(
                image=file_inside(source, image),
                emotion_model=_MODEL,
                distribution=_MODEL.distribution(_MODEL.labels[label_index(label, _MODEL)]),
                attributes=attributes_of(attributes or {}),
                split=split,
                origin=origin,
                id=image_id,
            )
        except DataError as error:
            skipped.append(SkippedRow(origin, str(error), split))
            continue
        examples.append(example)
    notes = [f"{without} images have no annotation file, so no attributes."] if without else []
    dataset = EmotionDataset(examples, _MODEL, skipped, name, notes)
    return dataset if emotion_model is None else dataset.mapped_to(emotion_model)


def _entries(source: Path, skipped: list[SkippedRow]) -> Iterator[tuple[str, Any, str | None]]:
    """Origin, entry and split of every image; a split file that is no list of entries is skipped as a row."""
    files = split_files(source)
    for path in files:
        split = split_name(path.stem)
        content = _json(path, limit=None)
        if isinstance(content, Mapping):
            # {"amusement_1": {...}} or {"amusement_1": "amusement"}
            content = [
                {"image_id": key, **(value if isinstance(value, Mapping) else {"emotion": value})}
                for key, value in content.items()
            ]
        if not isinstance(content, list):
            skipped.append(SkippedRow(path.name, "the file is no list of images; download it again.", split))
            continue
        for number, entry in enumerate(content, start=1):
            yield f"{path.name} entry {number}", entry, split
    if not files:
        folders = subfolders(source / "image") if (source / "image").is_dir() else []
        if not folders:
            raise DataError(f"{shown(source.name)} is not EmoSet: it has neither train.json nor image/<emotion>/.")
        for path in find_images(folders):
            relative = path.relative_to(source).as_posix()
            yield relative, {"emotion": path.parent.name, "image_id": path.stem, "image_path": relative}, None


def _parts(entry: Any, emotions: Mapping[str, str]) -> tuple[str, str, str, str]:
    """Emotion, image id, image path and annotation path of an entry in any of its published forms.

    Raises:
        DataError: If it has another form.
    """
    image = annotation = label = ""
    if isinstance(entry, str):
        image_id = Path(entry.replace("\\", "/")).stem
    elif isinstance(entry, Mapping):
        image = str(entry.get("image_path") or entry.get("image") or "")
        image_id = str(entry.get("image_id") or entry.get("id") or Path(image).stem)
        label = str(entry.get("emotion", entry.get("label", "")))
        annotation = str(entry.get("annotation_path") or entry.get("annotation") or "")
    elif isinstance(entry, list) and len(entry) in (3, 4) and all(isinstance(part, str | int) for part in entry):
        label, image, annotation = str(entry[0]), str(entry[-2]), str(entry[-1])
        image_id = str(entry[1]) if len(entry) == 4 else Path(image.replace("\\", "/")).stem
    else:
        raise DataError(
            f"the entry is {shown(entry)}; expected [emotion, image_id, image_path, annotation_path] or an image id."
        )
    label = emotions.get(label, label)
    if not label:
        match = _IMAGE_ID.match(image_id)
        if match is None:
            raise DataError(f"the image id {shown(image_id)} does not begin with an emotion; expected amusement_123.")
        label = match[1]
    return (
        label,
        image_id[:200],
        image or f"image/{label}/{image_id}.jpg",
        annotation or f"annotation/{label}/{image_id}.json",
    )


def _emotion_names(source: Path) -> dict[str, str]:
    """Index (as text) -> emotion from `info.json`, for split files that give an index."""
    path = source / "info.json"
    info = _json(path, limit=None) if path.is_file() else {}
    try:
        return {str(index): str(label) for label, index in info["emotion"]["label2idx"].items()}
    except (KeyError, TypeError, AttributeError):
        return {}


def _annotation(source: Path, file_name: str) -> Mapping[str, Any] | None:
    """An annotation file's content; None if there is no such file."""
    try:
        path = file_inside(source, file_name)
    except DataError as error:
        if "there is no image" in str(error):
            return None
        raise
    content = _json(path, limit=_LARGEST_ANNOTATION)
    if not isinstance(content, Mapping):
        raise DataError(f"the annotation {shown(file_name)} is no JSON object; download it again.")
    return content


def _json(path: Path, limit: int | None) -> Any:
    try:
        if limit is not None and path.stat().st_size > limit:
            raise DataError(f"{shown(path.name)} is larger than {limit // 2**20} MiB, too large for an annotation.")
        return json.loads(path.read_text(encoding="utf-8-sig"))
    except DataError:
        raise
    except (OSError, ValueError, RecursionError) as error:
        raise DataError(f"{shown(path.name)} is not readable as JSON; download it again.") from error

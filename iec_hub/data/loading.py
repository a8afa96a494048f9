"""Any data set -> one schema: `load_emotion_dataset`, which knows the layouts."""

import os
from collections import Counter
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from iec_hub.data import emoset, folders, vote_tables
from iec_hub.data.checks import check_own_labels
from iec_hub.data.folders import class_folders, emotion_of_file, loose_images, split_list_files, subfolders, unwrapped
from iec_hub.data.hub import is_datasets_object, is_hub_id, is_saved_dataset, load_hub
from iec_hub.data.labels import is_label, label_index, own_emotion_model, shown, shown_list
from iec_hub.data.schema import EmotionDataset, EmotionExample, SkippedRow
from iec_hub.data.tabular import load_metadata, metadata_files
from iec_hub.emotions import EMOTION_MODELS, EmotionModel, EmotionModelLike, get_emotion_model
from iec_hub.errors import DataError, ImageError

if TYPE_CHECKING:
    from datasets import Dataset, DatasetDict

_LOADERS: dict[str, Callable[..., EmotionDataset]] = {
    "metadata": load_metadata,
    "datasets": load_hub,
    "emoset": emoset.load_emoset,
    "fi": folders.load_fi,
    "emotion6": vote_tables.load_emotion6,
    "ldl": vote_tables.load_ldl,
    "artphoto": folders.load_artphoto,
    "abstract": vote_tables.load_abstract,
    "class_folders": folders.load_class_folders,
}
LAYOUTS = tuple(_LOADERS)
# Their labels are the user's own words; the others are published data sets over a known emotion model.
_FREE_LABELS = ("metadata", "datasets", "class_folders")
_MIKELS = EMOTION_MODELS["mikels8"]


def load_emotion_dataset(
    source: "str | os.PathLike[str] | Dataset | DatasetDict",
    *,
    layout: str = "auto",
    emotion_model: EmotionModelLike | None = None,
    labels: Sequence[str] | None = None,
    split: str | None = None,
    verify_images: bool = False,
) -> EmotionDataset:
    """Reads a data set into one schema: images with label distributions, and what else is known of them.

    A row that cannot be used (no image, unknown label, broken votes, a path out of the folder) is left out
    and recorded in `EmotionDataset.skipped` with its file and line; one logging warning gives their number.

    Args:
        source: A folder, a metadata.csv or metadata.jsonl, an id on the Hub, or a `datasets` object.
        layout: One of `LAYOUTS`, or "auto" to recognise it:

            - metadata: `metadata.csv` or `metadata.jsonl`, in the folder or in its split folders.
            - datasets: a `datasets` data set from the Hub, from disk or in memory.
            - emoset, fi, emotion6, ldl (Flickr-LDL, Twitter-LDL), artphoto, abstract: as published.
            - class_folders: `<label>/*.jpg` or `<split>/<label>/*.jpg`.
        emotion_model: The emotion model to read the labels as: a name, a model, or a list of labels. By default
            it is found from the labels: a built-in one that has them, or else a model of the data set's own
            labels, in alphabetical order. Labels of another model are mapped where that means something (EmoSet
            to "sentiment2").
        labels: The labels to read and their order, instead of an emotion model; a single label, a list of votes or
            columns of votes may have more. Rows without one of these labels are left out; votes for others are
            not counted.
        split: Only this split ("train", "validation", "test", or the data set's own name).
        verify_images: Open every image and leave out those that are broken.

    Raises:
        DataError: If the source, layout, labels or split cannot be found, no row can be used, or one of the data
            set's own labels is likely a misspelling of another (`similar_labels`).
        EmotionMappingError: If the data set's labels cannot be mapped to `emotion_model`.
    """
    if labels is not None and emotion_model is not None:
        raise DataError("Both labels and emotion_model are given; give one of them.")
    model = None if emotion_model is None else get_emotion_model(emotion_model)
    if layout != "auto" and layout not in _LOADERS:
        raise DataError(f"There is no layout {shown(layout)}; use auto, {', '.join(LAYOUTS)}.")
    found, layout = _source_and_layout(source, layout)
    name = _name(source)
    if labels is not None:
        dataset = _with_labels(found, layout, own_emotion_model(labels, name), name)
    else:
        dataset = _LOADERS[layout](found, model, name)
        if model is None:
            check_own_labels(dataset)
    # A missing split is a clearer message than a data set without usable rows.
    if split is not None and dataset.examples:
        dataset = dataset.split(split)
    if verify_images:
        dataset = verified(dataset)
    if not dataset.examples:
        raise DataError(_nothing_left(dataset))
    dataset.warn_of_skipped()
    return dataset


def _with_labels(source: Any, layout: str, emotion_model: EmotionModel, name: str) -> EmotionDataset:
    """The data set over labels that the caller listed."""
    if layout in _FREE_LABELS:
        return _LOADERS[layout](source, emotion_model, name, fixed=True)
    return limited_to(_LOADERS[layout](source, None, name), emotion_model)


def limited_to(dataset: EmotionDataset, emotion_model: EmotionModel) -> EmotionDataset:
    """The data set over some of its labels; votes for others are not counted, examples without votes are left out.

    Raises:
        DataError: If the data set lacks one of the labels.
    """
    columns = [label_index(label, dataset.emotion_model) for label in emotion_model.labels]
    examples, skipped = [], list(dataset.skipped)
    for example in dataset:
        shares = example.distribution[columns]
        if shares.sum() > 0:
            shares = shares / shares.sum()
            examples.append(replace(example, emotion_model=emotion_model, distribution=shares))
        else:
            reason = f"its label {shown(example.label)} is not one of {shown_list(emotion_model.labels)}."
            skipped.append(SkippedRow(example.origin, reason, example.split, "left out"))
    return replace(dataset, examples=examples, emotion_model=emotion_model, skipped=skipped, notes=list(dataset.notes))


def _nothing_left(dataset: EmotionDataset) -> str:
    if not dataset.skipped:
        return f"{shown(dataset.name)} has no row that can be used, it is empty."
    return (
        f"{shown(dataset.name)} has no row that can be used: of {len(dataset.skipped)} rows "
        f"{dataset.skipped_counts()}; the first: {dataset.skipped[0]}"
    )


def _name(source: Any) -> str:
    if is_datasets_object(source):
        return getattr(getattr(source, "info", None), "dataset_name", None) or "datasets data set"
    path = Path(source)
    # A folder given as "." or ".." has no name of its own.
    return (path.resolve().name or str(source)) if path.exists() else str(source)


def _source_and_layout(source: Any, layout: str) -> tuple[Any, str]:
    """What the loader of the layout takes, and the layout."""
    if is_datasets_object(source):
        if layout not in ("auto", "datasets"):
            raise DataError(f'A datasets object has the layout "datasets", not "{layout}"; leave the layout out.')
        return source, "datasets"
    if not isinstance(source, str | os.PathLike):
        raise DataError(f"A data set is a folder, a Hub id or a datasets object, not a {type(source).__name__}.")
    path = Path(source)
    try:
        is_folder, is_file = path.is_dir(), path.is_file()
    except (OSError, ValueError) as error:  # A name that is too long, or holds a zero byte.
        raise DataError(f"{shown(source)} cannot be opened; check the path.") from error
    if is_folder:
        return path, recognise_layout(path) if layout == "auto" else layout
    if is_file:
        if layout not in ("auto", "metadata") or not metadata_files(path):
            raise DataError(f"{shown(path.name)} is a file; give its folder, or a table named .csv, .tsv or .jsonl.")
        return path, "metadata"
    # A name below a folder that is here is meant as a path, whatever it looks like.
    here = isinstance(source, str) and "/" in source and Path(source).parent.is_dir()
    if layout in ("auto", "datasets") and isinstance(source, str) and is_hub_id(source) and not here:
        return source, "datasets"
    raise DataError(f"There is no folder {shown(source)}; check the path, or give an id of the Hub (owner/name).")


def recognise_layout(folder: Path) -> str:
    """The layout of a folder, by its files; see `load_emotion_dataset`.

    Raises:
        DataError: If it is none of them.
    """
    if metadata_files(folder):
        return "metadata"
    if is_saved_dataset(folder):
        return "datasets"
    if any(path.name.casefold() == vote_tables.ABSTRACT_FILE for path in folder.iterdir()):
        return "abstract"
    if (folder / "image").is_dir() and (emoset.split_files(folder) or (folder / "annotation").is_dir()):
        return "emoset"
    for path in vote_tables.truth_files(folder):
        header = vote_tables.read_header(path)[1]
        for layout, name in (("emotion6", "ekman7"), ("ldl", "mikels8")):
            if vote_tables.has_label_columns(header, EMOTION_MODELS[name]):
                return layout
    if list(folder.glob("*ldl*.mat")):
        return "ldl"
    if _is_artphoto(folder):
        return "artphoto"
    root = unwrapped(folder)
    if _is_fi(folder, root):
        return "fi"
    if class_folders(root):
        return "class_folders"
    raise DataError(
        f"{shown(folder.name or str(folder))} is no known layout; put images into <label>/ folders, or write a "
        f"metadata.csv with file_name and emotion, or name the layout: {', '.join(LAYOUTS)}."
    )


def _is_artphoto(folder: Path) -> bool:
    images = loose_images(folder)
    return bool(images) and 2 * sum(emotion_of_file(path) is not None for path in images) > len(images)


def _is_fi(folder: Path, root: Path) -> bool:
    """Class folders of Mikels' emotions with files named after them, or with lists of splits."""
    classes = subfolders(root)
    if not classes or not all(is_label(path.name, _MIKELS) for path in classes):
        return False
    named = Counter(emotion_of_file(path) is not None for label in classes for path in loose_images(label)[:20])
    return named[True] > named[False] or bool(split_list_files(folder))


def verified(dataset: EmotionDataset, workers: int = 8) -> EmotionDataset:
    """The data set without the images that cannot be opened; each becomes a skipped row with its reason.

    Args:
        workers: Threads that open images.
    """

    def problem(example: EmotionExample) -> str | None:
        try:
            if example.image is not None:
                example.open()
        except ImageError as error:
            return str(error)
        return None

    with ThreadPoolExecutor(workers) as pool:
        problems = list(pool.map(problem, dataset.examples))
    pairs = list(zip(dataset.examples, problems, strict=True))
    broken = [SkippedRow(example.origin, reason, example.split, "image") for example, reason in pairs if reason]
    kept = [example for example, reason in pairs if not reason]
    return EmotionDataset(kept, dataset.emotion_model, [*dataset.skipped, *broken], dataset.name, list(dataset.notes))

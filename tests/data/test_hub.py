import subprocess
import sys
from dataclasses import replace

import numpy as np
import pytest

from iec_hub.data import DatasetImage, EmotionDataset, load_emotion_dataset, with_splits
from iec_hub.errors import DataError

datasets = pytest.importorskip("datasets")
Image, ClassLabel, Value = datasets.Image, datasets.ClassLabel, datasets.Value


@pytest.fixture(autouse=True)
def quiet():
    datasets.disable_progress_bars()


def made(columns, features):
    return datasets.Dataset.from_dict(columns, features=datasets.Features(features))


def embedded(paths):
    return [{"bytes": path.read_bytes(), "path": None} for path in paths]


def test_class_labels_and_pictures_that_stay_in_the_data_set(pictures):
    names = ["sad", "awe", "fear"]
    columns = {"image": embedded(pictures[:3]), "label": [1, 0, -1], "caption": ["x", None, "y"]}
    dataset = load_emotion_dataset(
        made(columns, {"image": Image(), "label": ClassLabel(names=names), "caption": Value("string")})
    )
    assert [example.label for example in dataset] == ["awe", "sadness"]
    assert dataset[0].text == "x" and isinstance(dataset[0].image, DatasetImage)
    for _ in range(2):  # It can be opened again.
        assert dataset[1].open().mode == "RGB"
    assert [row.origin for row in dataset.skipped] == ["row:2"] and "no label" in dataset.skipped[0].reason


def test_vote_columns_in_a_dictionary_of_splits_on_disk(pictures, tmp_path):
    labels = ("negative", "neutral", "positive")
    columns = {"picture": [str(pictures[0])], "negative": [1], "neutral": [0], "positive": [3]}
    part = made(columns, {"picture": Image(), **dict.fromkeys(labels, Value("int64"))})
    datasets.DatasetDict({"train": part, "val": part}).save_to_disk(tmp_path / "saved")
    dataset = load_emotion_dataset(tmp_path / "saved")
    assert dataset.emotion_model.name == "sentiment3" and dataset.splits() == ("train", "validation")
    np.testing.assert_allclose(dataset[0].distribution, [0.25, 0, 0.75])
    assert dataset[0].open().size and dataset[1].origin == "validation:0"


def test_votes_as_a_list_of_class_labels_and_a_split_column(pictures, tmp_path):
    feature = datasets.List(ClassLabel(names=["joy", "neutral", "fear"]))
    columns = {"image": embedded(pictures[:2]), "votes": [[0, 0, 2, 1], []], "split": ["test", "test"]}
    part = made(columns, {"image": Image(), "votes": feature, "split": Value("string")})
    (tmp_path / "data").mkdir()
    part.to_parquet(tmp_path / "data" / "part.parquet")
    for source in (part, part.with_format("numpy")):
        dataset = load_emotion_dataset(source)
        assert dataset.emotion_model.name == "ekman7" and dataset[0].split == "test" and len(dataset) == 1
        np.testing.assert_allclose(dataset[0].distribution, [0, 0, 0.25, 0.5, 0, 0, 0.25])


def test_rows_without_a_picture_are_skipped_and_broken_ones_when_asked_for(pictures):
    images = [*embedded(pictures[:1]), None, {"bytes": b"no picture", "path": None}]
    part = made({"image": images, "emotion": ["awe"] * 3}, {"image": Image(), "emotion": Value("string")})
    assert [row.origin for row in load_emotion_dataset(part).skipped] == ["row:1"]
    checked = load_emotion_dataset(part, verify_images=True)
    assert len(checked) == 1 and [row.origin for row in checked.skipped] == ["row:1", "row:2"]


def test_a_data_set_without_pictures_or_labels_is_one_sentence(pictures):
    with pytest.raises(DataError, match="no image column"):
        load_emotion_dataset(made({"emotion": ["awe"]}, {"emotion": Value("string")}))
    part = made({"image": embedded(pictures[:1]), "size": [1]}, {"image": Image(), "size": Value("int64")})
    with pytest.raises(DataError, match='"size"'):
        load_emotion_dataset(part)
    with pytest.raises(DataError, match="layout"):
        load_emotion_dataset(part, layout="fi")


def test_an_unknown_id_is_one_sentence(monkeypatch):
    def refuse(name):
        raise ConnectionError("no\nnetwork")

    monkeypatch.setattr(datasets, "load_dataset", refuse)
    with pytest.raises(DataError, match="ConnectionError: no network") as error:
        load_emotion_dataset("nobody/nothing")
    assert "\n" not in str(error.value)


def test_datasets_is_not_imported_until_it_is_needed_and_its_absence_named():
    code = (
        "import sys; sys.modules['datasets'] = None\n"
        "import iec_hub.data as data\n"
        "assert not {'torch', 'transformers', 'PIL'} & set(sys.modules), 'heavy import'\n"
        "try: data.load_emotion_dataset('nobody/nothing')\n"
        "except ValueError as error: print(error)\n"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert "pip install 'iec-hub[data]'" in done.stdout


def test_own_class_labels_and_made_splits(pictures):
    columns = {"image": embedded(pictures[:12]), "label": [0, 1] * 6}
    part = made(columns, {"image": Image(), "label": ClassLabel(names=["wistful", "cosy"])})
    dataset = load_emotion_dataset(part)
    assert dataset.emotion_model.labels == ("cosy", "wistful") and dataset[0].label == "wistful"
    unsplit = with_splits(EmotionDataset([replace(e, split=None) for e in dataset], dataset.emotion_model))
    assert unsplit.splits() == ("train", "validation", "test")
    # The same pictures as files are divided alike.
    files = [replace(e, split=None, image=path) for e, path in zip(dataset, pictures, strict=False)]
    assert [e.split for e in with_splits(EmotionDataset(files, dataset.emotion_model))] == [e.split for e in unsplit]

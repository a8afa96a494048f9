import logging

import pytest

from iec_hub.data import LAYOUTS, load_emotion_dataset
from iec_hub.errors import DataError


@pytest.mark.parametrize(
    ("source", "words"),
    [("/nowhere/at/all", "no folder"), ("../x", "no folder"), (3, "int"), ("a\0b", "no folder|cannot be opened")],
)
def test_a_source_that_is_not_there_is_one_sentence(source, words, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    with pytest.raises(DataError, match=words) as error:
        load_emotion_dataset(source)
    assert "\n" not in str(error.value)


def test_an_unknown_layout_names_the_known_ones(tmp_path):
    with pytest.raises(DataError, match=", ".join(LAYOUTS)):
        load_emotion_dataset(tmp_path, layout="folders")


@pytest.mark.parametrize("layout", [layout for layout in LAYOUTS if layout != "datasets"])
def test_every_layout_refuses_an_empty_folder_in_one_sentence(tmp_path, layout):
    with pytest.raises(DataError) as error:
        load_emotion_dataset(tmp_path, layout=layout)
    assert str(error.value).endswith(".") and "\n" not in str(error.value)


def test_a_file_that_is_no_table_is_refused(tree):
    with pytest.raises(DataError, match="is a file"):
        load_emotion_dataset(tree("a.jpg") / "a.jpg")


def test_broken_images_are_found_when_asked_for(tree, caplog):
    files = {"awe/b.jpg": b"no image", "awe/c.jpg": b""}
    folder = tree("awe/a.jpg", "fear/d.jpg", files=files)
    assert len(load_emotion_dataset(folder)) == 4
    with caplog.at_level(logging.WARNING):
        dataset = load_emotion_dataset(folder, verify_images=True)
    assert [example.id for example in dataset] == ["awe/a.jpg", "fear/d.jpg"]
    assert [row.origin for row in dataset.skipped] == ["awe/b.jpg", "awe/c.jpg"]
    assert "2 of 4 rows were skipped" in caplog.text


def test_a_clean_data_set_warns_of_nothing(tree, caplog):
    load_emotion_dataset(tree("awe/a.jpg", "fear/d.jpg"))
    assert not caplog.records

import pytest

from iec_hub.data import load_emotion_dataset, recognise_layout
from iec_hub.errors import DataError, EmotionMappingError


def test_class_folders_without_splits(tree):
    folder = tree("joy/a.jpg", "joy/deep/b.PNG", "sad/c.jpg", "loose.jpg", files={"joy/notes.txt": "x"})
    (folder / "empty").mkdir()
    (folder / ".hidden").mkdir()
    dataset = load_emotion_dataset(folder)
    assert recognise_layout(folder) == "class_folders"
    assert dataset.emotion_model.name == "ekman6"
    assert dataset.class_counts() == {"anger": 0, "disgust": 0, "fear": 0, "joy": 2, "sadness": 1, "surprise": 0}
    assert dataset.splits() == () and dataset[0].origin == "joy/a.jpg"
    assert [row.origin for row in dataset.skipped] == ["loose.jpg"]
    assert dataset.notes == ['The folders "empty" have no images.']


def test_class_folders_in_split_folders(tree):
    folder = tree("train/awe/a.jpg", "val/awe/b.jpg", "test/fear/c.jpg", "test/d.jpg")
    dataset = load_emotion_dataset(folder)
    assert dataset.splits() == ("train", "validation", "test")
    assert len(dataset.split("valid")) == 1 and dataset.split("test")[0].label == "fear"
    assert [row.origin for row in dataset.skipped] == ["test/d.jpg"]
    assert load_emotion_dataset(folder, split="train").class_counts()["awe"] == 1
    with pytest.raises(DataError, match="train, validation, test"):
        load_emotion_dataset(folder, split="holdout")


def test_an_unknown_class_folder_is_reported_image_by_image(tree):
    dataset = load_emotion_dataset(tree("awe/a.jpg", "awe/b.jpg", "contentmant/c.jpg", "contentmant/d.jpg"))
    assert len(dataset) == 2 and [row.origin for row in dataset.skipped] == ["contentmant/c.jpg", "contentmant/d.jpg"]
    assert '"contentment"' in dataset.skipped[0].reason


def test_custom_class_folders_need_their_labels(tree):
    folder = tree("cosy/a.jpg", "eerie/b.jpg")
    with pytest.raises(DataError, match="emotion_model"):
        load_emotion_dataset(folder)
    assert load_emotion_dataset(folder, emotion_model=["eerie", "cosy"])[0].label == "cosy"


def test_a_wanted_model_that_lacks_labels_is_mapped_to_or_refused(tree):
    folder = tree("awe/a.jpg", "fear/b.jpg")
    assert load_emotion_dataset(folder, emotion_model="sentiment2")[1].label == "negative"
    with pytest.raises(EmotionMappingError, match='"awe"'):
        load_emotion_dataset(folder, emotion_model="ekman6")


def test_a_folder_that_wraps_the_classes_is_passed_through(tree):
    assert load_emotion_dataset(tree("data/images/awe/a.jpg", "data/images/fear/b.jpg"))[0].label == "awe"


@pytest.mark.parametrize("names", [(), ("a.jpg",), ("pictures/a.jpg",)])
def test_a_folder_of_no_layout_is_one_sentence(tree, names):
    with pytest.raises(DataError) as error:
        load_emotion_dataset(tree(*names))
    assert "\n" not in str(error.value) and "emotion" in str(error.value)


FI = ("amusement/amusement_1.jpg", "amusement/amusement_2.jpg", "sadness/sadness_3.jpg", "awe/awe_4.jpg")


def test_fi_without_lists(tree):
    folder = tree(*FI)
    assert recognise_layout(folder) == "fi"
    dataset = load_emotion_dataset(folder)
    assert dataset.emotion_model.name == "mikels8" and len(dataset) == 4 and dataset.splits() == ()


def test_fi_with_lists_of_splits(tree):
    folder = tree(
        *FI,
        files={
            "train.txt": "amusement/amusement_1.jpg 0\nsadness/sadness_3.jpg,7\n../secret.jpg 1\n\n",
            "val.txt": "amusement/amusement_2.jpg\nawe/gone.jpg\namusement/amusement_1.jpg\n",
        },
    )
    dataset = load_emotion_dataset(folder)
    assert [example.split for example in dataset] == ["train", "validation", None, "train"]
    assert [row.origin for row in dataset.skipped] == ["train.txt:3", "val.txt:2", "val.txt:3"]
    assert "leaves" in dataset.skipped[0].reason
    assert dataset.notes == ["1 images are in no list of a split."]
    assert len(load_emotion_dataset(folder, split="train")) == 2


def test_artphoto(tree):
    folder = tree("amusement_0001.jpg", "content_0002.jpg", "sad_0003.jpg", "logo.jpg")
    assert recognise_layout(folder) == "artphoto"
    dataset = load_emotion_dataset(folder)
    assert [example.label for example in dataset] == ["amusement", "contentment", "sadness"]
    assert [row.origin for row in dataset.skipped] == ["logo.jpg"]

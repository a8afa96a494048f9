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


def test_class_folders_of_own_words_are_their_own_labels(tree):
    folder = tree("eerie/a.jpg", "Cosy/b.jpg")
    dataset = load_emotion_dataset(folder)
    assert dataset.emotion_model.labels == ("Cosy", "eerie") and dataset[1].label == "eerie"
    assert load_emotion_dataset(folder, emotion_model=["eerie", "cosy"]).emotion_model.name == "custom"


@pytest.mark.parametrize("name", ["annotations/x/a.jpg", "extra/b.jpg"])
def test_a_folder_beside_the_splits_is_no_label(tree, name):
    dataset = load_emotion_dataset(tree("train/cosy/a.jpg", "train/eerie/b.jpg", "val/cosy/c.jpg", name))
    assert dataset.emotion_model.labels == ("cosy", "eerie") and dataset.splits() == ("train", "validation")
    assert [row.origin for row in dataset.skipped] == [name]


@pytest.mark.parametrize(
    ("names", "words"),
    [
        (("pictures/a.jpg", "pictures/b.jpg"), 'have the label "pictures"; at least two different emotions'),
        (("2019/a.jpg", "2020/b.jpg"), "are numbers"),
        (tuple(f"picture {chr(97 + n)}/a.jpg" for n in range(21)), "21 different labels, 21 of them on one"),
    ],
)
def test_folders_that_are_no_emotions_are_one_sentence(tree, names, words):
    with pytest.raises(DataError, match=words) as error:
        load_emotion_dataset(tree(*names))
    assert "\n" not in str(error.value)


def test_pictures_of_a_format_that_is_not_read_are_named(tree):
    folder = tree(files={"cosy/a.HEIC": b"x", "eerie/b.heic": b"x"})
    with pytest.raises(DataError, match=r'no images in class folders, but 2 other files \("\.heic"\)'):
        load_emotion_dataset(folder)


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


def test_listed_labels_are_a_part_of_a_published_data_set(tree):
    dataset = load_emotion_dataset(tree(*FI), labels=["sad", "amusement"])
    assert [example.label for example in dataset] == ["amusement", "amusement", "sad"]
    assert dataset.emotion_model.labels == ("sad", "amusement")
    assert [(row.origin, row.kind) for row in dataset.skipped] == [("awe/awe_4.jpg", "left out")]
    with pytest.raises(DataError, match="'cosy' is no label of mikels8"):
        load_emotion_dataset(tree(*FI), labels=["cosy", "awe"])


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

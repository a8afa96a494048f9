import logging
from dataclasses import replace

import pytest

from iec_hub.data import EmotionDataset, EmotionExample, check_trainable, load_emotion_dataset, similar_labels
from iec_hub.data.labels import is_misspelt
from iec_hub.data.schema import SkippedRow
from iec_hub.emotions import EMOTION_MODELS, EmotionModel
from iec_hub.errors import DataError

OWN = EmotionModel.from_labels(["cosy", "eerie", "wistful"])


def make(model=OWN, skipped=(), **counts):
    """`train=[2, 1]` is two pictures of the first label and one of the second."""
    examples = [
        EmotionExample(None, model, model.distribution(label), split=split, origin=f"{split}:{n}")
        for split, numbers in counts.items()
        for label, number in zip(model.labels, numbers, strict=False)
        for n in range(number)
    ]
    return EmotionDataset(examples, model, list(skipped), "moods")


@pytest.mark.parametrize(
    ("first", "second"),
    [("contentmnt", "contentment"), ("Sadnes", "sadness"), ("gloomy", "golomy"), ("joyfull", "joyful")],
)
def test_slips_of_the_hand_are_misspellings(first, second):
    assert is_misspelt(first, second) and is_misspelt(second, first)


@pytest.mark.parametrize(
    ("first", "second"),
    [("unhappy", "happy"), ("uncomfortable", "comfortable"), ("level 1", "level 2"), ("fear", "dear"), ("awe", "owe")]
    + [("lonely", "lovely"), ("content", "contentment")],
)
def test_other_words_are_not(first, second):
    assert not is_misspelt(first, second) and not is_misspelt(second, first)


def test_built_in_labels_are_not_taken_for_each_other():
    labels = {label for model in EMOTION_MODELS.values() for label in model.labels}
    assert not [(a, b) for a in labels for b in labels if a != b and is_misspelt(a, b)]


def test_only_a_rare_label_is_a_misspelling():
    assert similar_labels({"wistful": 40, "wistfull": 4, "cosy": 3}) == [("wistfull", "wistful")]
    assert similar_labels({"wistful": 2, "wistfull": 1}) == [("wistfull", "wistful")]
    assert similar_labels({"wistful": 40, "wistfull": 5}) == similar_labels({"wistful": 1, "wistfull": 1}) == []


def test_a_misspelt_label_of_ones_own_is_named_with_its_line(tree):
    table = "file_name,emotion\n" + "a.jpg,wistful\n" * 5 + "a.jpg,cosy\n" * 3 + "a.jpg,wistfull\n"
    folder = tree("a.jpg", files={"metadata.csv": table})
    with pytest.raises(DataError) as error:
        load_emotion_dataset(folder)
    assert str(error.value) == (
        '"wistfull" (1 picture, metadata.csv:10) looks like "wistful" (5 pictures) misspelt; correct it, or list your '
        "labels with --labels."
    )
    assert load_emotion_dataset(folder, labels=["wistfull", "wistful", "cosy"]).class_counts()["wistfull"] == 1


def test_a_label_that_was_listed_wrongly_is_named(tree):
    folder = tree("cosy/a.jpg", "eerie/b.jpg", "wistful/c.jpg")
    with pytest.raises(DataError, match='"wistfull" is no label of .*; did you mean "wistful"'):
        load_emotion_dataset(folder, labels=["cosy", "wistfull"])
    with pytest.raises(DataError, match="None of the labels"):
        load_emotion_dataset(folder, labels=["awe", "fear"])


def test_a_data_set_with_two_classes_and_two_splits_can_be_trained_on(caplog):
    check_trainable(make(EmotionModel.from_labels(["cosy", "eerie"]), train=[2, 2], validation=[1, 1]))
    assert not caplog.records


@pytest.mark.parametrize(
    ("counts", "words"),
    [
        ({}, "no train split: it has no splits"),
        ({"train": [9, 9, 9]}, "no validation split: its splits are train"),
        ({"train": [9], "validation": [3]}, 'All 9 training pictures of moods have the label "cosy"'),
        ({"train": [9, 9], "validation": [3, 3, 3]}, 'no training pictures of "wistful"'),
        ({"train": [9, 9], "validation": [3, 3]}, 'no training pictures of "wistful"'),
        ({"train": [9, 1, 1], "validation": [3, 3]}, r'fewer than 2 training pictures of "eerie" \(1\), "wistful"'),
        ({"train": [9, 9, 9], "validation": [1]}, "validation split of moods has 1 picture, fewer than 2"),
    ],
)
def test_what_cannot_be_trained_on_is_one_sentence(counts, words):
    with pytest.raises(DataError, match=words) as error:
        check_trainable(make(**counts))
    assert "\n" not in str(error.value) and str(error.value).endswith(".")


def test_one_picture_is_enough_where_that_is_asked_for():
    check_trainable(make(train=[1, 1, 1], validation=[1]), minimum=1)


def test_votes_for_a_class_count_though_no_picture_has_it_on_top():
    dataset = make(train=[9, 9, 0], validation=[3, 3])
    voted = [0.8, 0, 0.2]
    examples = [replace(e, distribution=voted) if n < 2 else e for n, e in enumerate(dataset)]
    check_trainable(replace(dataset, examples=examples))


def test_emotions_of_a_built_in_model_may_be_missing_and_are_named(caplog):
    dataset = make(EMOTION_MODELS["ekman6"], train=[4, 4], validation=[2, 2])
    with caplog.at_level(logging.WARNING):
        check_trainable(dataset)
    assert 'no picture is labelled "fear", "joy", "sadness", "surprise" of ekman6' in caplog.text


def lost(kind, number, reason="there is a reason."):
    return [SkippedRow(f"metadata.csv:{n}", reason, None, kind) for n in range(number)]


def test_a_data_set_most_of_which_is_lost_gives_the_counts():
    skipped = lost("image", 15) + lost("file", 5)
    with pytest.raises(DataError) as error:
        check_trainable(make(skipped=skipped, train=[4, 4, 4], validation=[2, 2, 2]))
    assert str(error.value) == (
        "20 of 38 rows of moods cannot be used: 5 naming no image file in the folder, 15 with an image that cannot be "
        "opened; correct or remove them, the first being metadata.csv:0: there is a reason."
    )
    check_trainable(make(skipped=skipped[:18], train=[4, 4, 4], validation=[2, 2, 2]))


def test_what_was_left_out_on_purpose_is_not_lost():
    skipped = lost("left out", 100) + lost("duplicate", 100)
    check_trainable(make(skipped=skipped, train=[4, 4, 4], validation=[2, 2, 2]))


def test_unknown_labels_are_corrected_before_training(tree):
    table = "file_name,emotion,split\n" + "a.jpg,awe,train\na.jpg,fear,train\na.jpg,awe,val\n" * 3
    dataset = load_emotion_dataset(tree("a.jpg", files={"metadata.csv": table + "a.jpg,contentmnt,train\n"}))
    with pytest.raises(DataError, match='1 picture of .* has an unknown label: .* metadata.csv:11: .*"contentment"'):
        check_trainable(dataset)


@pytest.mark.parametrize(
    "files",
    [{"cosy/a.jpg": b"x", "eerie/b.jpg": b""}, {"metadata.csv": "file_name,emotion\nc.jpg,cosy\nd.jpg,eerie\n"}],
)
def test_a_data_set_all_pictures_of_which_fail_is_one_sentence(tree, files):
    with pytest.raises(DataError) as error:
        load_emotion_dataset(tree(files=files), verify_images=True)
    message = str(error.value)
    assert "of 2 rows 2 " in message and "the first: " in message and "\n" not in message

import json

import pytest

from iec_hub.data import load_emotion_dataset, recognise_layout
from iec_hub.errors import DataError

ANNOTATION = {
    "image_id": "amusement_1",
    "emotion": "amusement",
    "brightness": 0.3,
    "colorfulness": 0.7,
    "scene": "church",
    "object": ["Lamp", "Human face"],
    "facial_expression": "happy",
    "human_action": "dancing",
}
IMAGES = ("image/amusement/amusement_1.jpg", "image/sadness/sadness_2.jpg")
PATHS = [(image, image.replace("image/", "annotation/", 1).replace(".jpg", ".json")) for image in IMAGES]


def annotated(**files):
    return {PATHS[0][1]: json.dumps(ANNOTATION), **{k: json.dumps(v) for k, v in files.items()}}


@pytest.mark.parametrize(
    "entries",
    [
        [["amusement", "amusement_1", *PATHS[0]], ["sadness", "sadness_2", *PATHS[1]]],
        [["amusement", *PATHS[0]], ["sadness", *PATHS[1]]],
        ["amusement_1", "sadness_2"],
        [{"image_id": "amusement_1", "emotion": "amusement"}, {"image_path": PATHS[1][0], "emotion": "sadness"}],
        {"amusement_1": "amusement", "sadness_2": {"emotion": "sadness"}},
        [[0, "amusement_1", *PATHS[0]], [7, "sadness_2", *PATHS[1]]],
    ],
)
def test_every_form_of_the_split_files(tree, entries):
    info = {"emotion": {"label2idx": {"amusement": 0, "sadness": 7}}}
    folder = tree(*IMAGES, files=annotated(**{"train.json": entries, "info.json": info}))
    assert recognise_layout(folder) == "emoset"
    dataset = load_emotion_dataset(folder)
    assert [example.label for example in dataset] == ["amusement", "sadness"] and not dataset.skipped
    assert [example.id for example in dataset] == ["amusement_1", "sadness_2"]
    assert dataset[0].split == "train" and dataset[0].image == folder / IMAGES[0]
    assert dataset[0].attributes == {k: v for k, v in ANNOTATION.items() if k not in ("image_id", "emotion")}
    assert dataset[1].attributes is None
    assert dataset.notes == ["1 images have no annotation file, so no attributes."]


def test_splits_and_broken_entries(tree):
    bad = [
        ["amusement", "amusement_1", *PATHS[0]],
        ["amusemnt", "amusement_1", *PATHS[0]],
        ["amusement", "x", "../x.jpg", PATHS[0][1]],
        ["amusement", "x", "image/amusement/gone.jpg", PATHS[0][1]],
        ["amusement", "amusement_1", PATHS[0][0], "../../a.json"],
        [1],
        "17",
        None,
    ]
    dataset = load_emotion_dataset(
        tree(*IMAGES, files=annotated(**{"train.json": bad, "val.json": bad[:1], "test.json": 3}))
    )
    assert dataset.splits() == ("train", "validation")
    assert [row.origin for row in dataset.skipped] == [*(f"train.json entry {n}" for n in range(2, 9)), "test.json"]
    assert '"amusement"' in dataset.skipped[0].reason and "leaves" in dataset.skipped[3].reason


def test_a_broken_annotation_skips_its_image(tree):
    folder = tree(
        *IMAGES,
        files={
            PATHS[0][1]: "{",
            PATHS[1][1]: json.dumps(ANNOTATION | {"brightness": 3}),
            "train.json": json.dumps(["amusement_1", "sadness_2", "sadness_2"]),
        },
    )
    with pytest.raises(DataError, match="no row that can be used"):
        load_emotion_dataset(folder)


def test_without_split_files_all_images_are_read(tree):
    folder = tree(*IMAGES, files=annotated())
    dataset = load_emotion_dataset(folder)
    assert len(dataset) == 2 and dataset.splits() == () and dataset[0].attributes["scene"] == "church"
    assert load_emotion_dataset(folder, emotion_model="sentiment2")[1].label == "negative"

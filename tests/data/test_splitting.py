from collections import Counter
from dataclasses import replace

import pytest
from PIL import Image, ImageEnhance

from iec_hub.data import EmotionDataset, EmotionExample, load_emotion_dataset, with_splits
from iec_hub.emotions import EmotionModel
from iec_hub.errors import DataError

MODEL = EmotionModel.from_labels(["cosy", "eerie"])


def example(image, label="cosy", **fields):
    return EmotionExample(image, MODEL, MODEL.distribution(label), **fields)


def chosen(dataset):
    """Origin -> split."""
    return {item.origin: item.split for item in dataset}


@pytest.fixture(scope="module")
def crops(pictures):
    """Some two hundred different pictures: the photographs' quarters, mirrored too, as (name, image)."""
    images = []
    for path in pictures:
        with Image.open(path) as image:
            image = image.convert("RGB").resize((128, 128))
        for side in ((0, 0), (64, 0), (0, 64), (64, 64)):
            part = image.crop((*side, side[0] + 64, side[1] + 64))
            images += [part, part.transpose(Image.Transpose.FLIP_LEFT_RIGHT)]
    return list(enumerate(images))


@pytest.fixture(scope="module")
def many(crops):
    """One picture in four is eerie."""
    return EmotionDataset(
        [example(image, "eerie" if n % 4 == 0 else "cosy", origin=f"{n}") for n, image in crops], MODEL
    )


def test_everything_is_divided_by_class(many):
    divided = with_splits(many)
    assert divided.splits() == ("train", "validation", "test") and len(divided) == len(many)
    assert [item.origin for item in divided] == [item.origin for item in many]
    for label, total in many.class_counts().items():
        for split in ("validation", "test"):
            share = divided.split(split).class_counts()[label] / total
            assert 0.05 <= share <= 0.25, (label, split, share)
    assert (
        "divided by the files' content, seed 42: train " in divided.notes[-1] and divided.notes[-1] in divided.report()
    )
    assert many.notes == [] and many.splits() == ()


def test_the_order_and_names_do_not_matter_but_the_seed_does(many):
    divided = chosen(with_splits(many))
    turned = replace(many, examples=[replace(item, id=f"new {item.origin}") for item in reversed(many.examples)])
    assert chosen(with_splits(turned)) == divided
    assert chosen(with_splits(many, seed=1)) != divided


def test_pictures_that_are_added_move_no_other(many):
    half = replace(many, examples=many.examples[: len(many) // 2])
    before, after = chosen(with_splits(half)), chosen(with_splits(many))
    assert {origin: after[origin] for origin in before} == before


def test_validation_is_taken_out_of_train_alone(many):
    given = ["train"] * 100 + ["test"] * (len(many) - 100)
    examples = [replace(item, split=split) for item, split in zip(many, given, strict=True)]
    divided = with_splits(replace(many, examples=examples))
    moved = Counter(zip(given, (item.split for item in divided), strict=True))
    assert moved["test", "test"] == len(many) - 100 and 5 <= moved["train", "validation"] <= 25
    assert moved.total() == moved["test", "test"] + moved["train", "validation"] + moved["train", "train"]
    assert "The train split was divided" in divided.notes[-1]
    assert chosen(with_splits(divided)) == chosen(divided) and with_splits(divided).notes == divided.notes


def test_pictures_in_no_split_are_used_only_where_train_is_missing(many):
    few = replace(many, examples=[replace(item, split=None if n % 2 else "test") for n, item in enumerate(many)])
    divided = with_splits(few)
    assert divided.splits() == ("train", "validation", "test")
    assert len(divided.split("test")) == len(few.split("test"))
    trained = replace(many, examples=[replace(item, split=None if n == 5 else "train") for n, item in enumerate(many)])
    divided = with_splits(trained)
    assert divided[5].split is None and divided.notes[0] == "1 pictures are in no split and are not used."


def test_near_duplicates_stay_together_whatever_their_labels(tree, pictures):
    folder = tree(*(f"{label}/{n}.jpg" for n in range(len(pictures)) for label in ("cosy", "eerie")))
    # Every photograph is in both classes, and a worse copy of each in the other one.
    for path in list(folder.glob("*/*.jpg")):
        with Image.open(path) as image:
            other = folder / ("eerie" if path.parent.name == "cosy" else "cosy") / f"copy-of-{path.name}"
            ImageEnhance.Brightness(image.resize((160, 120))).enhance(1.1).save(other, quality=60)
    divided = with_splits(load_emotion_dataset(folder, emotion_model=["cosy", "eerie"]), validation=0.3, test=0.3)
    splits = chosen(divided)
    for origin, split in splits.items():
        label, name = origin.split("/")
        if not name.startswith("copy"):
            copy = f"{'eerie' if label == 'cosy' else 'cosy'}/copy-of-{name}"
            assert splits[copy] == split
    assert set(splits.values()) == {"train", "validation", "test"}


@pytest.mark.parametrize(
    ("count", "least"),
    [(1, {"train": 1}), (2, {"train": 1, "validation": 1}), (3, {"train": 1, "validation": 1, "test": 1})],
)
def test_few_pictures_of_a_class_go_to_train_first(crops, count, least):
    examples = [example(image, "cosy") for _, image in crops[:count]]
    examples += [example(image, "eerie") for _, image in crops[10:20]]
    divided = with_splits(EmotionDataset(examples, MODEL))
    assert Counter(item.split for item in divided if item.label == "cosy") == least
    assert {item.split for item in divided if item.label == "eerie"} == {"train", "validation", "test"}


@pytest.mark.parametrize("seed", range(20))
def test_every_class_keeps_its_share_in_every_split(crops, seed):
    divided = with_splits(EmotionDataset([example(image) for _, image in crops[:8]], MODEL), seed=seed)
    counts = Counter(item.split for item in divided)
    assert counts["train"] >= 4 and 1 <= counts["validation"] <= 2 and 1 <= counts["test"] <= 2


def test_without_test_or_validation(many):
    assert with_splits(many, test=0).splits() == ("train", "validation")
    assert with_splits(many, validation=0).splits() == ("train", "test")
    with pytest.raises(DataError, match="nothing to train on"):
        with_splits(many, validation=0.5, test=0.5)
    with pytest.raises(DataError, match="nothing to train on"):
        with_splits(many, validation=-0.1)


def test_splits_without_train_are_one_sentence(many):
    only_test = replace(many, examples=[replace(item, split="test") for item in many])
    with pytest.raises(DataError, match="no train split: its splits are test"):
        with_splits(only_test)


def test_a_picture_that_cannot_be_opened_gets_a_split_too(tree):
    folder = tree(*(f"{label}/{n}.jpg" for label in ("cosy", "eerie") for n in range(5)), files={"cosy/x.jpg": b"no"})
    divided = with_splits(load_emotion_dataset(folder, emotion_model=["cosy", "eerie"]))
    assert None not in chosen(divided).values() and len(divided) == 11

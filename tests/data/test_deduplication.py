import numpy as np
import pytest
from PIL import Image, ImageEnhance

from iec_hub.data import load_emotion_dataset, remove_duplicates
from iec_hub.data.deduplication import hamming_distances
from iec_hub.errors import DataError


@pytest.fixture
def repeated(tree, pictures):
    """Train and test share a picture: once as it is, once smaller, brighter and recompressed."""
    folder = tree(
        "train/awe/a.jpg", "train/awe/b.jpg", "train/fear/c.jpg", "train/fear/d.jpg", "val/awe/e.jpg", "test/awe/f.jpg"
    )
    (folder / "test/fear").mkdir()
    (folder / "test/awe/same.jpg").write_bytes(pictures[0].read_bytes())
    with Image.open(pictures[1]) as image:
        near = ImageEnhance.Brightness(image.resize((160, 120))).enhance(1.1)
        near.save(folder / "test/fear/near.jpg", quality=60)
    (folder / "train/fear/twice.jpg").write_bytes(pictures[2].read_bytes())
    return folder


def names(dataset):
    return [example.id for example in dataset]


def test_train_gives_up_what_test_holds(repeated):
    dataset = load_emotion_dataset(repeated)
    cleaned, removed = remove_duplicates(dataset)
    assert [item.example.id for item in removed] == ["train/awe/a.jpg", "train/awe/b.jpg"]
    assert [item.kept.id for item in removed] == ["test/awe/same.jpg", "test/fear/near.jpg"]
    assert removed[0].distance == 0 and removed[1].distance <= 6
    assert len(cleaned) == len(dataset) - 2 and "train/fear/twice.jpg" in names(cleaned)
    assert [row.origin for row in cleaned.skipped] == ["train/awe/a.jpg", "train/awe/b.jpg"]
    assert "also test/awe/same.jpg (test)" in cleaned.report()


def test_another_split_can_keep_its_copy(repeated):
    cleaned, _ = remove_duplicates(load_emotion_dataset(repeated), keep="train")
    assert names(cleaned.split("test")) == ["test/awe/f.jpg"]


def test_copies_within_a_split_go_when_asked(repeated):
    dataset = load_emotion_dataset(repeated)
    cleaned, removed = remove_duplicates(dataset, within_splits=True)
    assert [item.example.id for item in removed][-1] == "train/fear/twice.jpg" and len(cleaned) == len(dataset) - 3


def test_only_the_same_hash_with_threshold_zero_and_bad_arguments(repeated):
    dataset = load_emotion_dataset(repeated)
    assert "train/awe/a.jpg" in {item.example.id for item in remove_duplicates(dataset, threshold=0)[1]}
    for wrong in ({"threshold": 65}, {"threshold": -1}, {"keep": "holdout"}):
        with pytest.raises(DataError):
            remove_duplicates(dataset, **wrong)


def test_an_image_that_cannot_be_opened_is_skipped(tree):
    folder = tree("train/awe/a.jpg", "test/fear/b.jpg", files={"train/awe/broken.jpg": b"x"})
    cleaned, removed = remove_duplicates(load_emotion_dataset(folder))
    assert not removed and [row.origin for row in cleaned.skipped] == ["train/awe/broken.jpg"]


def test_different_pictures_are_not_duplicates(tree, pictures):
    folder = tree(*(f"awe/{number}.jpg" for number in range(len(pictures))))
    assert not remove_duplicates(load_emotion_dataset(folder), within_splits=True)[1]


@pytest.mark.parametrize("has_bitwise_count", [True, False])
def test_distances_are_counts_of_bits(monkeypatch, has_bitwise_count):
    if not has_bitwise_count:
        monkeypatch.delattr(np, "bitwise_count", raising=False)
    first, second = [0, 2**64 - 1, 5], [0, 7]
    table = hamming_distances(np.array(first, dtype=np.uint64), np.array(second, dtype=np.uint64))
    assert table.tolist() == [[(a ^ b).bit_count() for b in second] for a in first]

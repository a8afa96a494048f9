import pytest

from iec_hub.data import few_shot, load_emotion_dataset
from iec_hub.errors import DataError


@pytest.fixture
def dataset(tree):
    return load_emotion_dataset(tree(*(f"train/{x}/{n}.jpg" for x in ("negative", "positive") for n in range(6))))


def ids(dataset):
    return [example.id for example in dataset]


def test_every_class_gets_its_shots_the_same_way_each_time(dataset):
    drawn = few_shot(dataset, 3, seed=1)
    assert drawn.class_counts() == {"negative": 3, "positive": 3}
    assert ids(drawn) == ids(few_shot(dataset, 3, seed=1)) == sorted(ids(drawn))
    assert any(ids(few_shot(dataset, 3, seed=seed)) != ids(drawn) for seed in range(2, 5))


def test_fewer_shots_are_a_part_of_more(dataset):
    assert set(ids(few_shot(dataset, 2, seed=4))) < set(ids(few_shot(dataset, 5, seed=4)))


def test_a_class_with_too_few_is_named(dataset):
    with pytest.raises(DataError, match='"negative" of .* has 6 examples, fewer than 7'):
        few_shot(dataset, 7)
    with pytest.raises(DataError, match="at least 1"):
        few_shot(dataset, 0)


def test_shots_are_not_drawn_across_splits(tree):
    dataset = load_emotion_dataset(tree("train/negative/1.jpg", "test/positive/2.jpg"))
    with pytest.raises(DataError, match="several splits"):
        few_shot(dataset, 1)

"""Names as specific as a classifier is certain."""

from __future__ import annotations

import numpy as np
import pytest

from iec_hub.affect.hedging import LabelHierarchy, imagenet_columns, imagenet_hierarchy
from iec_hub.errors import DataError

CLASSES = ("beagle", "poodle", "cat", "trout", "beach", "dune")
GROUPS = {"dog": [0, 1], "mammal": [0, 1, 2], "animal": [0, 1, 2, 3], "coast": [4], "landscape": [4, 5]}


@pytest.fixture(scope="module")
def hierarchy() -> LabelHierarchy:
    return LabelHierarchy(CLASSES, GROUPS, {"beach": "scene", "dune": "scene", "landscape": "scene"}, source="net")


def named(hierarchy: LabelHierarchy, row: list[float], minimum: float, most: int = 3) -> list[tuple[str, float]]:
    tags = hierarchy.hedge(np.array([row]), minimum, most)[0]
    return [(tag.label, round(tag.confidence, 6)) for tag in tags]


@pytest.mark.parametrize(
    ("row", "expected"),
    [
        ([0.7, 0.1, 0.1, 0.0, 0.1, 0.0], [("beagle", 0.7)]),
        ([0.4, 0.4, 0.1, 0.0, 0.1, 0.0], [("dog", 0.8)]),
        ([0.2, 0.2, 0.2, 0.1, 0.2, 0.1], [("mammal", 0.6)]),
        ([0.2, 0.1, 0.1, 0.2, 0.2, 0.2], [("animal", 0.6)]),
        ([0.2, 0.1, 0.1, 0.05, 0.3, 0.25], [("landscape", 0.55)]),
        ([0.2, 0.1, 0.1, 0.05, 0.25, 0.2], []),
    ],
)
def test_the_most_specific_certain_name_is_given(
    hierarchy: LabelHierarchy, row: list[float], expected: list[tuple[str, float]]
) -> None:
    assert named(hierarchy, row, 0.5) == expected


def test_several_names_do_not_overlap_and_come_in_order(hierarchy: LabelHierarchy) -> None:
    row = [0.15, 0.15, 0.0, 0.0, 0.35, 0.35]
    assert named(hierarchy, row, 0.3) == [("beach", 0.35), ("dune", 0.35), ("dog", 0.3)]
    assert named(hierarchy, row, 0.3, most=1) == [("beach", 0.35)]
    # The landscape is certain only as a whole; its parts are not named beside it.
    assert named(hierarchy, row, 0.5) == [("landscape", 0.7)]


def test_of_groups_that_share_a_class_the_more_probable_is_given() -> None:
    crossing = LabelHierarchy(("a", "b", "c"), {"ab": [0, 1], "bc": [1, 2]})
    assert named(crossing, [0.3, 0.3, 0.4], 0.55) == [("bc", 0.7)]


def test_tags_say_what_and_who(hierarchy: LabelHierarchy) -> None:
    tag = hierarchy.hedge(np.array([[0, 0, 0, 0, 0.5, 0.5]]), 0.9)[0][0]
    assert (tag.attribute, tag.label, tag.confidence, tag.source) == ("scene", "landscape", 1.0, "net")


def test_classes_that_share_a_name_are_one_and_unnamed_ones_count_in_groups() -> None:
    shared = LabelHierarchy(("pig", "cat", "pig", "boar", None), {"pig": [3], "mammal": [0, 1, 2, 3, 4]})
    assert named(shared, [0.2, 0.1, 0.2, 0.2, 0.3], 0.5) == [("pig", 0.6)]
    assert named(shared, [0.1, 0.1, 0.1, 0.1, 0.6], 0.5) == [("mammal", 1.0)]


def test_sums_of_rounded_numbers_reach_their_minimum(hierarchy: LabelHierarchy) -> None:
    assert named(hierarchy, [0.1, 0.2, 0.0, 0.0, 0.0, 0.0], 0.3) == [("dog", 0.3)]


def test_a_batch_is_each_of_its_rows(hierarchy: LabelHierarchy) -> None:
    rows = np.random.default_rng(0).dirichlet(np.full(6, 0.4), size=50)
    batch = hierarchy.hedge(rows, 0.4)
    alone = [hierarchy.hedge(row[None], 0.4)[0] for row in rows]
    assert [[tag.label for tag in tags] for tags in batch] == [[tag.label for tag in tags] for tags in alone]
    assert sum(bool(tags) for tags in batch) > 10
    assert hierarchy.hedge(np.zeros((0, 6)), 0.4) == []


def test_the_rule_against_its_definition() -> None:
    """Random hierarchies: what is named is certain, nothing below it is, and names share no class."""
    rng = np.random.default_rng(1)
    for _ in range(20):
        groups = {f"g{i}": rng.choice(12, size=rng.integers(2, 9), replace=False).tolist() for i in range(6)}
        hierarchy = LabelHierarchy([f"c{i}" for i in range(12)], groups)
        sets = {name: set(np.flatnonzero(hierarchy.members[:, i])) for i, name in enumerate(hierarchy.names)}
        row = rng.dirichlet(np.full(12, 0.5))
        certain = {name for name, classes in sets.items() if sum(row[list(classes)]) >= 0.3}
        lowest = {name for name in certain if not any(sets[other] < sets[name] for other in certain)}
        names = [tag.label for tag in hierarchy.hedge(row[None], 0.3, most=12)[0]]
        assert set(names) <= lowest
        for name in lowest - set(names):
            assert any(sets[name] & sets[other] for other in names)
        assert sum(len(sets[name]) for name in names) == len(set().union(*(sets[name] for name in names)))


@pytest.mark.parametrize(
    "rows",
    [np.full((1, 5), 0.2), np.full(6, 1 / 6), np.full((1, 6), np.nan), np.full((1, 6), -0.1), np.full((1, 6), 7)],
)
def test_what_are_no_probabilities_is_refused(hierarchy: LabelHierarchy, rows: np.ndarray) -> None:
    with pytest.raises(DataError):
        hierarchy.hedge(rows, 0.5)


def test_wrong_hierarchies_and_thresholds_are_refused(hierarchy: LabelHierarchy) -> None:
    with pytest.raises(DataError, match="above 0"):
        hierarchy.hedge(np.full((1, 6), 1 / 6), 0.0)
    with pytest.raises(DataError, match="not there"):
        LabelHierarchy(("a",), {"b": [1]})
    with pytest.raises(DataError, match="empty"):
        LabelHierarchy(("a",), {"b": []})
    with pytest.raises(DataError, match="no class or group 'b'"):
        LabelHierarchy(("a",), attributes={"b": "scene"})


def imagenet_row(*classes: tuple[int, float]) -> np.ndarray:
    row = np.zeros((1, 1000))
    for index, share in classes:
        row[0, index] = share
    return row


@pytest.mark.parametrize(
    ("classes", "expected"),
    # 207 golden retriever, 281 tabby, 285 Egyptian cat, 291 lion, 292 tiger, 978 seashore, 970 alp, 979 valley,
    # 497 church, 668 mosque, 817 sports car, 511 convertible, 18 magpie, 84 peacock, 963 pizza, 934 hot dog
    [
        ([(207, 0.9)], ("object", "dog")),
        ([(281, 0.3), (285, 0.3)], ("object", "cat")),
        ([(291, 0.3), (292, 0.3)], ("object", "big cat")),
        ([(978, 0.9)], ("scene", "beach")),
        ([(970, 0.4), (979, 0.4)], ("scene", "landscape")),
        ([(497, 0.4), (668, 0.4)], ("scene", "place of worship")),
        ([(817, 0.4), (511, 0.4)], ("object", "car")),
        ([(18, 0.4), (84, 0.4)], ("object", "bird")),
        ([(963, 0.4), (934, 0.4)], ("object", "food")),
    ],
)
def test_imagenets_classes_have_everyday_names(classes: list[tuple[int, float]], expected: tuple[str, str]) -> None:
    (tag,) = imagenet_hierarchy().hedge(imagenet_row(*classes), 0.5)[0]
    assert (tag.attribute, tag.label) == expected


def test_imagenets_names_fit_into_a_sentence() -> None:
    hierarchy = imagenet_hierarchy()
    assert len(hierarchy.members) == 1000
    assert not set(hierarchy.names) & {"entity", "artifact", "whole", "ungulate", "instrumentality", "placental"}
    for name in hierarchy.names:
        assert name == " ".join(name.split())
        assert not set(name) & set("_,/()") and len(name) <= 25
    assert {
        "dog",
        "bird",
        "cat",
        "insect",
        "fish",
        "flower",
        "fruit",
        "food",
        "vehicle",
        "boat",
        "musical instrument",
    } <= (set(hierarchy.names))
    assert set(hierarchy.attributes) == {"object", "scene"}


def test_imagenets_order_is_recognised_by_its_labels() -> None:
    labels = ["tench, Tinca tinca", "goldfish, Carassius auratus", "great white shark"] + ["x"] * 997
    assert imagenet_columns(labels) == slice(0, None)
    assert imagenet_columns(["background", *labels]) == slice(1, None)
    assert imagenet_columns(["n01440764", "n01443537", "n01484850"] + ["x"] * 997) == slice(0, None)
    assert imagenet_columns(labels[::-1]) is None
    assert imagenet_columns(labels[:10]) is None

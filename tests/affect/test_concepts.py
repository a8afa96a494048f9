"""Emotional concepts: names, what is known of them, and the hierarchy above them."""

import json
from pathlib import Path

import numpy as np
import pytest

from iec_hub.affect.concepts import (
    LONGEST_NAME,
    MOST_CONCEPTS,
    POLARITIES,
    Concept,
    ConceptVocabulary,
    default_vocabulary,
    plain_concept,
    read_vocabulary,
)
from iec_hub.emotions import EMOTION_MODELS
from iec_hub.errors import DataError

NAMES = ("misty forest", "old house", "old", "misty", "very old stone house")
MIKELS = EMOTION_MODELS["mikels8"]


@pytest.fixture
def small() -> ConceptVocabulary:
    return ConceptVocabulary.from_list(NAMES)


def one_hot(*labels: str) -> np.ndarray:
    return np.eye(len(MIKELS))[[MIKELS.labels.index(label) for label in labels]]


def test_the_default_vocabulary_is_sentibanks() -> None:
    vocabulary = default_vocabulary()
    assert len(vocabulary) == len(set(vocabulary.names)) == 2089
    assert all(1 < len(name.split()) < 5 for name in vocabulary.names)
    known = {concept.name: concept for concept in vocabulary.concepts}
    assert known["abused dog"].polarity == "negative" and known["adorable baby"].polarity == "positive"
    assert {concept.polarity for concept in vocabulary.concepts} <= {None, *POLARITIES}
    values = [concept.sentiment for concept in vocabulary.concepts if concept.sentiment is not None]
    assert -2 <= min(values) < -1 and 1 < max(values) <= 2 and len(values) > 1000
    assert all(concept.emotion is None for concept in vocabulary.concepts), "learned, not listed"
    assert default_vocabulary() is vocabulary


@pytest.mark.parametrize(
    ("name", "plain"),
    [
        ("Misty_forest", "misty forest"),
        ("  MISTY \t forest\n", "misty forest"),
        ("misty\x00forest\x1b[31m", "misty forest [31m"),
        ("mis\u202ety", "mis ty"),
        ("ﬁne", "fine"),
        ("STRASSE straße", "strasse strasse"),
        ("__", ""),
        (5, "5"),
        ("x" * 100, "x" * LONGEST_NAME),
    ],
)
def test_names_become_plain(name: object, plain: str) -> None:
    assert plain_concept(name) == plain
    assert plain_concept(plain) == plain


def test_names_are_one_whatever_their_writing() -> None:
    vocabulary = ConceptVocabulary.from_names(["Adorable_Baby", "adorable baby", "brand new"])
    assert vocabulary.names == ("adorable baby", "brand new")
    first, second = vocabulary.concepts
    assert first.polarity == "positive" and first.sentiment == 2.0 and second == Concept("brand new")


@pytest.mark.parametrize(
    ("text", "found"),
    [
        ("misty forest, old house", ["misty forest", "old house"]),
        ("misty_forest old_house", ["misty forest", "old house"]),
        ("Misty Forest old HOUSE", ["misty forest", "old house"]),
        ("old house; misty forest\nold house", ["old house", "misty forest"]),
        ("a very old stone house", ["very old stone house"]),
        ("very old house", ["old house"]),
        ("misty old forest house", ["misty", "old"]),
        ("misty, forest", ["misty"]),
        ("nothing of that", []),
        ("", []),
        (None, []),
        ("x " * 5000 + "old", ["old"]),
    ],
)
def test_concepts_are_found_in_lists(small: ConceptVocabulary, text: str | None, found: list[str]) -> None:
    assert [small.names[place] for place in small.find(text)] == found


def test_levels_are_polarity_emotion_and_concept() -> None:
    vocabulary = ConceptVocabulary(
        (
            Concept("a", None, "awe", "positive"),
            Concept("b", None, "joy", "negative"),  # no label of Mikels' eight
            Concept("c"),
            Concept("d", None, None, "positive"),
        )
    )
    awe = MIKELS.labels.index("awe")
    levels = vocabulary.levels(MIKELS)
    assert levels.dtype == np.int64
    assert levels.tolist() == [[1, awe, 0], [0, -1, 1], [-1, -1, 2], [1, -1, 3]]


def test_emotions_are_learned_by_what_is_more_frequent_than_usual() -> None:
    vocabulary = ConceptVocabulary.from_list(["often", "special", "unseen"])
    # "special" occurs with awe more than all do, though contentment is more frequent with it.
    concepts = [[0]] * 30 + [[1]] * 10
    labels = ["contentment"] * 28 + ["awe"] * 2 + ["contentment"] * 6 + ["awe"] * 4
    learned = vocabulary.learned(concepts, one_hot(*labels), MIKELS)
    often, special, unseen = learned.concepts
    assert often.emotion == "contentment" and special.emotion == "awe"
    assert often.polarity == special.polarity == "positive" and unseen == Concept("unseen")
    assert vocabulary.concepts[0].emotion is None, "the old one is not changed"


def test_a_few_images_are_weighed_against_the_average() -> None:
    vocabulary = ConceptVocabulary.from_list(["once", "often"])
    concepts = [[0]] + [[1]] * 4 + [[]] * 40
    labels = ["fear"] + ["fear"] * 4 + ["awe"] * 40
    once, often = vocabulary.learned(concepts, one_hot(*labels), MIKELS).concepts
    assert often.emotion == "fear" and often.polarity == "negative"
    # One image against people's usual feeling is chance, and with no positive one there is no positive emotion.
    assert once.polarity == "positive" and once.emotion is None


def test_a_published_sentiment_decides_the_polarity_and_which_emotions_are_open() -> None:
    vocabulary = ConceptVocabulary((Concept("kind", 1.5), Concept("even", 0.0), Concept("far", -1.0)))
    labels = ["fear"] * 9 + ["awe"] + ["fear"] * 10
    kind, even, far = vocabulary.learned([[0]] * 10 + [[1]] * 10, one_hot(*labels), MIKELS).concepts
    assert (kind.polarity, kind.emotion) == ("positive", "awe")
    assert (even.polarity, even.emotion) == ("negative", "fear"), "zero is no sign"
    assert (far.polarity, far.emotion) == ("negative", None)


def test_learned_levels_are_a_tree() -> None:
    generator = np.random.default_rng(0)
    vocabulary = default_vocabulary()
    concepts = [generator.choice(2089, 5, replace=False).tolist() for _ in range(500)]
    learned = vocabulary.learned(concepts, generator.dirichlet(np.ones(8), 500), MIKELS)
    assert learned.names == vocabulary.names
    for polarity, emotion, _ in learned.levels(MIKELS):
        assert emotion < 0 or MIKELS.polarities[emotion] == POLARITIES[polarity]
    assert (learned.levels(MIKELS)[:, 1] >= 0).sum() > 1000


def test_items_and_distributions_have_to_be_as_many(small: ConceptVocabulary) -> None:
    for concepts, model in (([[0]], MIKELS), ([], MIKELS), ([[0], [1]], EMOTION_MODELS["sentiment2"])):
        with pytest.raises(DataError, match=r"^Distributions of shape \(2, 8\) do not fit [^\n]*\.$"):
            small.learned(concepts, one_hot("awe", "fear"), model)


def test_the_best_come_first_and_ties_keep_their_order(small: ConceptVocabulary) -> None:
    scores = np.array([0.2, 0.9, 0.9, 1.7, -0.5])
    best = small.top(scores, 4)
    assert [concept.text for concept in best] == ["misty", "old house", "old", "misty forest"]
    assert [concept.score for concept in best] == [1.0, 0.9, 0.9, 0.2]
    assert len(small.top(scores, 50)) == 5 and small.top(scores)[-1].score == 0.0


def test_a_vocabulary_comes_back_from_its_list() -> None:
    vocabulary = ConceptVocabulary((Concept("a b", -1.5, "fear", "negative"), Concept("c"), Concept("d", 0)))
    stored = json.loads(json.dumps(vocabulary.to_list()))
    assert stored[1] == {"name": "c"} and ConceptVocabulary.from_list(stored) == vocabulary
    assert ConceptVocabulary.from_list(default_vocabulary().to_list()) == default_vocabulary()


@pytest.mark.parametrize(
    ("entries", "reason"),
    [
        ([], "There is no concept"),
        ([3], "'3' is no concept"),
        ([{"title": "dog"}], "is no concept"),
        ([{"name": "dog", "sentiment": "good"}], "is no concept"),
        ([{"name": "dog", "sentiment": float("inf")}], "is no concept"),
        (["dog", "DOG"], "'dog' stands twice"),
        (["<script>"], "is no concept"),
        (["\n"], "'' is no concept"),
        ([str(number) for number in range(MOST_CONCEPTS + 1)], f"at most {MOST_CONCEPTS}"),
    ],
)
def test_what_is_no_vocabulary_is_one_sentence(entries: list, reason: str) -> None:
    with pytest.raises(DataError, match=r"^[^\n]*; [^\n]*\.$") as error:
        ConceptVocabulary.from_list(entries)
    assert reason in str(error.value)


@pytest.mark.parametrize("name", ["", "Dog", "a  b", "a_b", "a\nb", "x" * 61, "a\u202eb", "<i>"])
def test_a_concept_made_by_hand_has_to_be_plain(name: str) -> None:
    with pytest.raises(DataError, match=r"^[^\n]* is no concept; [^\n]*\.$"):
        ConceptVocabulary((Concept(name),))


@pytest.mark.parametrize(
    ("file", "content"),
    [
        ("names.txt", "Misty_forest\n\nold house\r\nmisty forest\n"),
        ("names.csv", '"misty forest",1\nold house,2\n,3\n'),
        ("names.json", '["misty_forest", "old house"]'),
        ("facts.json", '[{"name": "misty forest"}, {"name": "old house"}]'),
        ("mark.txt", "\ufeffmisty forest\nold house"),
    ],
)
def test_vocabularies_are_read_from_files(tmp_path: Path, file: str, content: str) -> None:
    (tmp_path / file).write_text(content, encoding="utf-8")
    assert read_vocabulary(tmp_path / file).names == ("misty forest", "old house")


@pytest.mark.parametrize(
    ("file", "content"),
    [
        ("names.json", b'{"a": 1}'),
        ("names.json", b"[1"),
        ("names.txt", b"\xff\xfe\x00"),
        ("names.json", b"[" * 100_000),
        ("names.txt", b"\n\n"),
        ("names.txt", b"dog\n" * 3_000_000),
        ("names.json", b"[1, null]"),
        ("names.json", b'["dog", 1]'),
        ("names.txt", b"<b>dog</b>"),
        ("names.csv", b'"' + b"a" * 200_000 + b'"'),
    ],
)
def test_a_bad_file_is_one_sentence(tmp_path: Path, file: str, content: bytes) -> None:
    (tmp_path / file).write_bytes(content)
    with pytest.raises(DataError, match=r"^[^\n]*; [^\n]*\.$"):
        read_vocabulary(tmp_path / file)


def test_a_missing_file_is_one_sentence_without_its_folder(tmp_path: Path) -> None:
    for path in (tmp_path / "none.txt", tmp_path):
        with pytest.raises(DataError, match=r"^[^\n]* cannot be read as a list of concepts; [^\n]*\.$") as error:
            read_vocabulary(path)
        assert str(tmp_path) not in str(error.value)

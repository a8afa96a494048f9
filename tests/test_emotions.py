import json
import subprocess
import sys

import numpy as np
import pytest

from iec_hub.emotions import (
    EMOTION_MODELS,
    POLARITIES,
    Emotion,
    EmotionModel,
    get_emotion_model,
    map_distribution,
    positive_mass,
)
from iec_hub.errors import DataError, EmotionMappingError

MIKELS = EMOTION_MODELS["mikels8"]


def random_rows(model: EmotionModel, rows: int = 5) -> np.ndarray:
    return np.random.default_rng(0).dirichlet(np.ones(len(model)), size=rows)


def test_the_module_imports_neither_torch_nor_transformers():
    code = "import sys, iec_hub.emotions; sys.exit(bool({'torch', 'transformers', 'gradio'} & set(sys.modules)))"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0


def test_built_in_models_have_the_fields_labels_in_order():
    assert MIKELS.labels == (
        "amusement", "anger", "awe", "contentment", "disgust", "excitement", "fear", "sadness",
    )  # fmt: skip
    assert EMOTION_MODELS["ekman6"].labels == ("anger", "disgust", "fear", "joy", "sadness", "surprise")
    assert EMOTION_MODELS["ekman7"].labels == (*EMOTION_MODELS["ekman6"].labels, "neutral")
    assert EMOTION_MODELS["plutchik8"].labels == (
        "joy", "trust", "fear", "surprise", "sadness", "disgust", "anger", "anticipation",
    )  # fmt: skip
    assert EMOTION_MODELS["sentiment2"].labels == ("negative", "positive")
    assert EMOTION_MODELS["sentiment3"].labels == ("negative", "neutral", "positive")
    assert [len(model) for model in EMOTION_MODELS.values()] == [8, 6, 7, 8, 2, 3]


@pytest.mark.parametrize("model", EMOTION_MODELS.values(), ids=EMOTION_MODELS)
def test_built_in_models_are_complete(model):
    assert set(model.polarities) <= set(POLARITIES)
    assert len(set(model.phrases)) == len(model), "two labels with one phrase could never be told apart"
    assert model.title and model.source


def test_one_label_has_one_meaning_in_all_models():
    seen: dict[str, Emotion] = {}
    for model in EMOTION_MODELS.values():
        for emotion in model.emotions:
            assert seen.setdefault(emotion.label, emotion) == emotion
    assert seen["surprise"].polarity == "ambiguous"


def test_phrases_are_english():
    assert MIKELS.phrases[MIKELS.index("fear")] == "terror, fear, or apprehension"
    assert Emotion("mixed", ("sweet", "bitter")).phrase == "sweet or bitter"
    assert Emotion("eerie").phrase == "eerie"


def test_index_ignores_case_and_names_the_nearest_label():
    assert MIKELS.index(" Fear ") == 6
    with pytest.raises(DataError, match='the nearest is "sadness"'):
        MIKELS.index("saddness")
    with pytest.raises(DataError, match='use one of "amusement"'):
        MIKELS.index("zzz")


def test_custom_labels_borrow_polarity_but_keep_their_own_words():
    model = EmotionModel.from_labels(["Fear", "cosy"], words={"COSY": ["cosy", "snug"]})
    assert model.labels == ("Fear", "cosy")
    assert model.phrases == ("Fear", "cosy or snug")
    assert model.polarities == ("negative", None)
    assert (model.name, model.title) == ("custom", "these emotions")


@pytest.mark.parametrize(
    ("labels", "reason"),
    [
        ([], "2 to 500"),
        (["joy"], "2 to 500 labels; 1 given"),
        (["joy", " "], "empty"),
        (["joy", "Joy"], "given twice"),
        (["joy", "x" * 81], "shorten"),
        ([f"label {i}" for i in range(501)], "2 to 500 labels; 501"),
        (["joy", "<mask>"], "plain words"),
        (["joy", "\u202efear"], "plain words"),
        (["joy", 3], "has to be text"),
        ("joy, fear", "list of texts"),
        (7, "list of texts"),
    ],
)
def test_bad_custom_labels_are_refused_in_one_sentence(labels, reason):
    with pytest.raises(DataError, match=reason) as caught:
        EmotionModel.from_labels(labels)
    assert str(caught.value).endswith(".") and "\n" not in str(caught.value)
    assert len(str(caught.value)) < 250


def test_the_largest_and_longest_label_sets_are_accepted():
    assert len(EmotionModel.from_labels([f"label {i}" for i in range(500)])) == 500
    assert EmotionModel.from_labels(["x" * 80, "two\nlines"]).labels[1] == "two lines"


def test_words_for_a_strange_label_are_refused():
    with pytest.raises(DataError, match="not among the labels"):
        EmotionModel.from_labels(["a", "b"], words={"c": "d"})


def test_an_unknown_polarity_is_refused():
    with pytest.raises(DataError, match="use one of positive"):
        Emotion("eerie", polarity="dark")


@pytest.mark.parametrize("model", [*EMOTION_MODELS.values(), EmotionModel.from_labels(["cosy", "eerie"])])
def test_json_round_trip(model):
    assert EmotionModel.from_dict(json.loads(json.dumps(model.to_dict()))) == model


@pytest.mark.parametrize("data", [{}, {"name": "a", "title": "b", "emotions": [{}, {}]}, {"emotions": 3}, [], None])
def test_a_dictionary_that_is_no_model_is_refused(data):
    with pytest.raises(DataError, match="not an emotion model"):
        EmotionModel.from_dict(data)


def test_distribution_takes_labels_votes_and_numbers():
    model = get_emotion_model("sentiment3")
    assert model.distribution("Positive").tolist() == [0, 0, 1]
    assert model.distribution(["positive", "negative", "positive", "neutral"]).tolist() == [0.25, 0.25, 0.5]
    assert model.distribution({"negative": 1, "positive": 3}).tolist() == [0.25, 0, 0.75]
    assert model.distribution({"negative": "2", "NEGATIVE": 2}).tolist() == [1, 0, 0]
    assert model.distribution(np.array([2, 2, 4])).tolist() == [0.25, 0.25, 0.5]


@pytest.mark.parametrize(
    ("votes", "reason"),
    [
        ({"negative": -1, "positive": 3}, "not negative"),
        ({"negative": float("nan")}, "finite"),
        ({"negative": float("inf")}, "finite"),
        ({"negative": 0}, "no vote"),
        ({}, "no vote"),
        ([], "0 votes"),
        ([1, 2], "2 votes"),
        ({"negative": "many"}, "give a number"),
        ({"negative": None}, "give a number"),
        ("happy", "no label"),
        (3, "labels or numbers"),
    ],
)
def test_votes_that_mean_nothing_are_refused(votes, reason):
    with pytest.raises(DataError, match=reason):
        get_emotion_model("sentiment3").distribution(votes)


def test_get_emotion_model():
    assert get_emotion_model("MIKELS8") is MIKELS
    assert get_emotion_model(MIKELS) is MIKELS
    assert get_emotion_model(["cosy", "eerie"]).labels == ("cosy", "eerie")
    with pytest.raises(DataError, match="mikels8, ekman6, ekman7"):
        get_emotion_model("mikels")


@pytest.mark.parametrize("target", ["sentiment2", "sentiment3"])
@pytest.mark.parametrize("source", EMOTION_MODELS)
def test_mapping_to_sentiments_conserves_mass(source, target):
    rows = random_rows(EMOTION_MODELS[source]).reshape(5, 1, -1)
    mapped = map_distribution(rows, source, target)
    assert mapped.shape == (5, 1, len(EMOTION_MODELS[target]))
    np.testing.assert_allclose(mapped.sum(axis=-1), 1.0)
    np.testing.assert_allclose(positive_mass(mapped, target), positive_mass(rows, source))


def test_mapping_to_sentiments_sums_by_polarity():
    mapped = map_distribution(MIKELS.distribution({"amusement": 1, "awe": 1, "fear": 2}), "mikels8", "sentiment2")
    assert mapped.tolist() == [0.5, 0.5]
    surprise = EMOTION_MODELS["ekman7"].distribution("surprise")
    assert map_distribution(surprise, "ekman7", "sentiment3").tolist() == [0.5, 0, 0.5]
    neutral = EMOTION_MODELS["ekman7"].distribution("neutral")
    assert map_distribution(neutral, "ekman7", "sentiment3").tolist() == [0, 1, 0]
    assert map_distribution(neutral, "ekman7", "sentiment2").tolist() == [0.5, 0.5]


def test_mapping_between_models_that_share_labels():
    ekman6, ekman7, plutchik8 = (EMOTION_MODELS[name] for name in ("ekman6", "ekman7", "plutchik8"))
    rows = random_rows(ekman6)
    wider = map_distribution(rows, ekman6, ekman7)
    np.testing.assert_allclose(wider[:, :6], rows)
    assert not wider[:, 6].any()
    np.testing.assert_allclose(map_distribution(wider, ekman7, ekman6), rows)
    moved = map_distribution(rows, ekman6, plutchik8)
    np.testing.assert_allclose(moved[:, plutchik8.index("joy")], rows[:, ekman6.index("joy")])
    np.testing.assert_allclose(moved.sum(axis=-1), 1.0)


def test_neutral_is_spread_over_the_emotions_in_their_proportion():
    ekman7 = EMOTION_MODELS["ekman7"]
    mapped = map_distribution(ekman7.distribution({"joy": 1, "fear": 3, "neutral": 4}), "ekman7", "ekman6")
    np.testing.assert_allclose(mapped, EMOTION_MODELS["ekman6"].distribution({"joy": 1, "fear": 3}))
    with pytest.raises(EmotionMappingError, match="all neutral"):
        map_distribution(ekman7.distribution("neutral"), "ekman7", "ekman6")


def test_mappings_without_meaning_are_refused_with_the_reason():
    with pytest.raises(EmotionMappingError, match="how pleasant"):
        map_distribution([0.5, 0.5], "sentiment2", "mikels8")
    with pytest.raises(EmotionMappingError, match='no "amusement", "awe"'):
        map_distribution(random_rows(MIKELS), "mikels8", "ekman6")
    custom = EmotionModel.from_labels(["cosy", "fear"])
    with pytest.raises(EmotionMappingError, match='polarity of "cosy"'):
        map_distribution([0.5, 0.5], custom, "sentiment2")
    with pytest.raises(EmotionMappingError, match="polarity"):
        positive_mass([0.5, 0.5], custom)


def test_only_emotions_with_mass_can_stand_in_the_way():
    custom = EmotionModel.from_labels(["cosy", "fear"])
    assert map_distribution([0, 1], custom, "sentiment2").tolist() == [1, 0]
    mapped = map_distribution(MIKELS.distribution(["anger", "fear"]), "mikels8", "ekman6")
    assert mapped.tolist() == [0.5, 0, 0.5, 0, 0, 0]


def test_labels_are_matched_whatever_their_order_and_case():
    other = EmotionModel.from_labels(["SURPRISE", "sadness", "joy", "fear", "disgust", "anger"])
    rows = random_rows(EMOTION_MODELS["ekman6"])
    np.testing.assert_allclose(map_distribution(rows, "ekman6", other), rows[:, ::-1])


@pytest.mark.parametrize(
    ("values", "reason"),
    [
        ([1.0], "do not fit"),
        (1.0, "do not fit"),
        ([np.nan, 1], "finite"),
        ([-0.5, 1.5], "not negative"),
        ("x", "number"),
    ],
)
def test_bad_probabilities_are_refused(values, reason):
    with pytest.raises(DataError, match=reason):
        map_distribution(values, "sentiment2", "sentiment3")


def test_an_empty_batch_maps_to_an_empty_batch():
    assert map_distribution(np.zeros((0, 8)), "mikels8", "sentiment2").shape == (0, 2)
    assert map_distribution(np.zeros((0, 6)), "ekman6", "ekman7").shape == (0, 7)


def test_positive_mass_counts_half_of_neutral_and_ambiguous():
    ekman7 = EMOTION_MODELS["ekman7"]
    assert positive_mass(ekman7.distribution({"joy": 1, "surprise": 1, "neutral": 1, "fear": 1}), ekman7) == 0.5
    assert positive_mass(np.eye(7), ekman7).tolist() == [0, 0, 0, 1, 0, 0.5, 0.5]

import pytest

from iec_hub.data.labels import (
    LABEL_ALIASES,
    column_label,
    emotion_model_of_columns,
    emotion_model_of_labels,
    label_index,
    own_emotion_model,
    vote_columns,
)
from iec_hub.emotions import EMOTION_MODELS, EmotionModel
from iec_hub.errors import DataError

MIKELS, EKMAN7 = EMOTION_MODELS["mikels8"], EMOTION_MODELS["ekman7"]


@pytest.mark.parametrize(
    ("spelling", "model", "label"),
    [("Content", MIKELS, "contentment"), (" SAD ", MIKELS, "sadness"), ("happiness", EKMAN7, "joy")],
)
def test_aliases_name_the_models_label(spelling, model, label):
    assert model.labels[label_index(spelling, model)] == label


def test_every_alias_leads_to_a_built_in_label():
    known = {label for model in EMOTION_MODELS.values() for label in model.labels}
    assert set(LABEL_ALIASES.values()) <= known
    assert not set(LABEL_ALIASES) & known


def test_a_custom_label_is_not_taken_for_an_alias():
    model = EmotionModel.from_labels(["happy", "joy"])
    assert label_index("happy", model) == 0


def test_an_unknown_label_names_the_nearest():
    with pytest.raises(DataError, match="sadness"):
        label_index("sadnes", MIKELS)


def test_headers_of_published_tables_are_read():
    columns = ["[image filename]", *(f"[prob. {label}]" for label in EKMAN7.labels)]
    assert column_label("[prob. anger]") == "anger"
    assert emotion_model_of_columns(columns) == EKMAN7
    assert vote_columns(columns, EKMAN7) == columns[1:]


def test_columns_are_matched_to_the_largest_model_whatever_their_order():
    assert emotion_model_of_columns(["file_name", *reversed(EKMAN7.labels)]) == EKMAN7
    assert emotion_model_of_columns(EKMAN7.labels[:-1]).name == "ekman6"
    assert emotion_model_of_columns(MIKELS.labels[:-1]) is None


def test_columns_that_fit_two_models_are_left_to_the_caller():
    with pytest.raises(DataError, match="mikels8 and plutchik8"):
        emotion_model_of_columns({*MIKELS.labels, *EMOTION_MODELS["plutchik8"].labels})


def test_two_columns_of_one_label_are_refused():
    with pytest.raises(DataError, match='"sad", "sadness"'):
        vote_columns(["sad", *MIKELS.labels], MIKELS)


@pytest.mark.parametrize(
    ("labels", "name"),
    [
        (["awe", "fear"], "mikels8"),
        (["joy", "fear"], "ekman6"),
        (["joy", "neutral"], "ekman7"),
        (["trust", "fear"], "plutchik8"),
        (["Pos", "neg"], "sentiment2"),
        (["positive", "neutral"], "sentiment3"),
    ],
)
def test_labels_are_matched_to_the_smallest_model_inside_all_that_fit(labels, name):
    assert emotion_model_of_labels(dict.fromkeys(labels, 1), "x").name == name


def test_a_few_misspelt_labels_do_not_hide_the_model():
    assert emotion_model_of_labels({"awe": 5, "sadnes": 1}, "x") == MIKELS


@pytest.mark.parametrize(("labels", "words"), [(["fear", "anger"], "mikels8, ekman6"), (["cosy", "eerie"], "cosy")])
def test_labels_that_do_not_decide_are_left_to_the_caller(labels, words):
    with pytest.raises(DataError, match=words) as error:
        emotion_model_of_labels(dict.fromkeys(labels, 1), "the folders of x")
    assert "emotion_model" in str(error.value)


@pytest.mark.parametrize(
    ("name", "called"),
    [
        ("moods", "moods"),
        ("somebody/moods-2", "moods-2"),
        ("mikels8", "mikels8 labels"),
        ("<b>x</b>/", "b"),
        ("//", "custom"),
    ],
)
def test_a_model_of_own_labels_is_called_like_its_data_set(name, called):
    assert own_emotion_model(["cosy", "eerie"], name).name == called


def test_own_labels_take_polarities_that_are_known():
    model = own_emotion_model(["Sad", "cosy_evening", "joy"], "x")
    assert model.polarities == ("negative", None, "positive")
    assert model.labels == ("Sad", "cosy_evening", "joy") and model.phrases == ("Sad", "cosy evening", "joy")


@pytest.mark.parametrize("labels", [["cosy"], ["cosy", "Cosy"], ["cosy", "<mask>"], "cosy"])
def test_labels_that_make_no_model_are_one_sentence(labels):
    with pytest.raises(DataError) as error:
        own_emotion_model(labels, "x")
    assert "\n" not in str(error.value)

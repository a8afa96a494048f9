import json
import logging
from pathlib import Path

import numpy as np
import pytest

from iec_hub.data import load_emotion_dataset
from iec_hub.emotions import EMOTION_MODELS
from iec_hub.errors import DataError, EmotionMappingError

EKMAN7 = ",".join(EMOTION_MODELS["ekman7"].labels)
FIXTURES = Path(__file__).parents[1] / "fixtures"


def lines(*rows):
    return "\n".join(rows) + "\n"


def reasons(dataset):
    return {row.origin: row.reason for row in dataset.skipped}


def test_one_label_a_row_with_everything_optional(tree):
    header = "file_name,split,emotion,caption,concepts,tags,valence,arousal,brightness,scene,object,licence"
    folder = tree(
        "images/a.jpg",
        "images/b.jpg",
        files={
            "metadata.csv": lines(
                header,
                'images/a.jpg,train,Content,"A quiet, warm room",warm room,lamp,6.5,2,0.4,bedroom,Lamp;Bed,CC BY',
                "images/b.jpg,val,sad,,dark sky,cloud,,NA,,,,CC BY",
            )
        },
    )
    dataset = load_emotion_dataset(folder)
    first, second = dataset
    assert dataset.emotion_model.name == "mikels8" and not dataset.skipped
    assert first.label == "contentment" and first.distribution.sum() == 1
    assert first.image == folder / "images/a.jpg" and first.open().mode == "RGB"
    assert first.text == "A quiet, warm room" and (first.valence, first.arousal) == (6.5, 2.0)
    assert first.attributes["object"] == ["Lamp", "Bed"] and first.attributes["scene"] == "bedroom"
    assert first.attributes["brightness"] == 0.4 and first.attributes["concepts"] == "warm room"
    assert (first.split, first.origin, first.id) == ("train", "metadata.csv:2", "images/a.jpg")
    assert second.text == "dark sky; cloud" and second.valence is None and second.split == "validation"


def test_votes_become_shares_and_columns_have_any_order(tree):
    folder = tree(
        "a.jpg",
        files={
            "metadata.csv": lines("neutral,joy,anger,disgust,fear,sadness,surprise,file_name", "1,3,0,0,0,0,0,a.jpg")
        },
    )
    dataset = load_emotion_dataset(folder / "metadata.csv")
    assert dataset.emotion_model.name == "ekman7"
    np.testing.assert_allclose(dataset[0].distribution, [0, 0, 0, 0.75, 0, 0, 0.25])


def test_every_broken_row_is_reported_with_its_line(tree, caplog):
    folder = tree(
        "a.jpg",
        files={
            "metadata.csv": lines(
                f"file_name,{EKMAN7}",
                "a.jpg,1,0,0,0,0,0,0",
                "../a.jpg,1,0,0,0,0,0,0",
                "/etc/passwd,1,0,0,0,0,0,0",
                "C:\\a.jpg,1,0,0,0,0,0,0",
                "b.jpg,1,0,0,0,0,0,0",
                "a.jpg,many,0,0,0,0,0,0",
                "a.jpg,,0,0,0,0,0,1",
                "a.jpg,-1,2,0,0,0,0,0",
                "a.jpg,nan,1,0,0,0,0,0",
                "a.jpg,inf,1,0,0,0,0,0",
                "a.jpg,0,0,0,0,0,0,0",
                "a.jpg,1,0",
                ",1,0,0,0,0,0,0",
                "a\x07.jpg,1,0,0,0,0,0,0",
            )
        },
    )
    with caplog.at_level(logging.WARNING):
        dataset = load_emotion_dataset(folder)
    found = reasons(dataset)
    assert len(dataset) == 1 and list(found) == [f"metadata.csv:{n}" for n in (13, *range(3, 13), 14, 15)]
    for line, words in {
        3: "leaves the data set folder",
        4: "leaves the data set folder",
        5: "leaves the data set folder",
        6: "no image",
        7: '"many", which is not a number',
        8: '"anger" is "", which is not a number',
        9: "negative",
        10: '"nan"',
        11: '"inf"',
        12: "all votes are zero",
        13: "3 cells, the header 8",
        14: "file name is empty",
        15: "no plain name",
    }.items():
        assert words in found[f"metadata.csv:{line}"]
    assert [record for record in caplog.records if "13 of 14 rows were skipped" in record.getMessage()]
    assert len(caplog.records) == 1
    assert "13 rows skipped" in dataset.report() and "metadata.csv:7" in dataset.report()
    assert "\x07" not in dataset.report()


def test_huge_votes_do_not_overflow(tree):
    folder = tree("a.jpg", files={"metadata.csv": lines(f"file_name,{EKMAN7}", "a.jpg,1e308,1e308,0,0,0,0,0")})
    np.testing.assert_allclose(load_emotion_dataset(folder)[0].distribution[:2], 0.5)


def test_an_unknown_label_is_skipped_and_the_nearest_named(tree):
    folder = tree("a.jpg", files={"metadata.csv": lines("file_name,label", "a.jpg,awe", "a.jpg,sadnes")})
    assert '"sadness"' in reasons(load_emotion_dataset(folder))["metadata.csv:3"]


def test_a_file_of_another_encoding_loses_only_its_broken_rows(tree):
    content = lines("file_name,emotion,text", "a.jpg,awe,fine").encode() + b"a.jpg,awe,caf\xe9\n"
    dataset = load_emotion_dataset(tree("a.jpg", files={"metadata.csv": b"\xef\xbb\xbf" + content}))
    assert len(dataset) == 1 and "UTF-8" in reasons(dataset)["metadata.csv:3"]


def test_an_open_quote_is_named_as_such(tree):
    folder = tree(
        "a.jpg",
        files={
            "metadata.csv": lines(
                "file_name,emotion,text", "a.jpg,awe,x", 'a.jpg,awe,"open', "a.jpg,awe,y", "a.jpg,fear"
            )
        },
    )
    dataset = load_emotion_dataset(folder)
    # The rows after it are not swallowed.
    assert [example.origin for example in dataset] == ["metadata.csv:2", "metadata.csv:4"]
    assert "quote" in reasons(dataset)["metadata.csv:3"] and "metadata.csv:5" in reasons(dataset)


def test_a_cell_may_hold_lines(tree):
    folder = tree(
        "a.jpg", files={"metadata.csv": lines("file_name,emotion,text", 'a.jpg,awe,"one', 'two"', "a.jpg,fear,")}
    )
    dataset = load_emotion_dataset(folder)
    assert dataset[0].text == "one two" and dataset[1].origin == "metadata.csv:4"


@pytest.mark.parametrize("delimiter", [";", "\t"])
def test_other_delimiters_are_recognised(tree, delimiter):
    folder = tree("a.jpg", files={"metadata.csv": lines(f"file_name{delimiter}emotion", f"a.jpg{delimiter}awe")})
    assert load_emotion_dataset(folder)[0].label == "awe"


def test_json_lines(tree):
    rows = [
        {"file_name": "a.jpg", "emotion": "joy", "object": ["Lamp"], "valence": 3},
        {"file_name": "a.jpg", "emotion": ["joy", "joy", "fear", "neutral"]},
        {"file_name": "a.jpg", "emotion": {"joy": 3, "fear": 1}},
        {"file_name": "a.jpg"},
        {"file_name": ["a.jpg"], "emotion": "joy"},
        {"file_name": "a.jpg", "emotion": {"joy": float("nan")}},
    ]
    text = lines(*map(json.dumps, rows), "{not json", "[1]", "", '{"a":' * 5000)
    dataset = load_emotion_dataset(tree("a.jpg", files={"metadata.jsonl": text}))
    assert dataset.emotion_model.name == "ekman7" and len(dataset) == 3
    assert dataset[0].attributes == {"object": ["Lamp"]}
    np.testing.assert_allclose(dataset[1].distribution, [0, 0, 0.25, 0.5, 0, 0, 0.25])
    np.testing.assert_allclose(dataset[2].distribution, [0, 0, 0.25, 0.75, 0, 0, 0])
    assert sorted(reasons(dataset)) == sorted(f"metadata.jsonl:{n}" for n in (4, 5, 6, 7, 8, 10))


def test_metadata_in_split_folders(tree):
    table = lines("file_name,emotion", "a.jpg,awe", "../test/a.jpg,awe")
    dataset = load_emotion_dataset(
        tree("train/a.jpg", "test/a.jpg", files={"train/metadata.csv": table, "test/metadata.csv": table})
    )
    assert dataset.splits() == ("train", "test")
    # The table's own folder bounds its file names.
    assert set(reasons(dataset)) == {"train/metadata.csv:3", "test/metadata.csv:3"}
    assert len(dataset.split("train").skipped) == 1


def test_a_table_without_labels_says_what_it_saw_and_what_it_wants():
    with pytest.raises(DataError) as error:
        load_emotion_dataset(FIXTURES / "coco_cc_by")
    message = str(error.value)
    assert '"licence"' in message and '"emotion"' in message and "contentment" in message and "\n" not in message


@pytest.mark.parametrize(
    ("table", "words"),
    [
        ("", "no readable header"),
        ("emotion,text\nawe,x\n", 'no column "file_name"'),
        ("file_name,emotion,emotion\n", "twice"),
        ("file_name,emotion\na.jpg,\n", "is empty"),
        ("file_name,emotion\nb.jpg,awe\n", "no row that can be used"),
    ],
)
def test_a_table_that_cannot_be_read_is_one_sentence(tree, table, words):
    with pytest.raises(DataError, match=words):
        load_emotion_dataset(tree("a.jpg", files={"metadata.csv": table}))


def test_own_words_in_a_column_are_the_labels(tree):
    rows = ("a.jpg,eerie", "a.jpg,quiet_joy", "a.jpg,Happy", "a.jpg,happy", "a.jpg,happy", "a.jpg,")
    dataset = load_emotion_dataset(tree("a.jpg", files={"metadata.csv": lines("file_name,emotion", *rows)}))
    model = dataset.emotion_model
    assert model.labels == ("eerie", "happy", "quiet_joy") and dataset.class_counts()["happy"] == 3
    assert model.phrases[2] == "quiet joy" and model.polarities == (None, "positive", None)
    assert model.name not in (*EMOTION_MODELS, "custom") and set(reasons(dataset)) == {"metadata.csv:7"}


def test_a_few_unknown_labels_are_skipped_and_many_are_labels(tree):
    folder = tree("a.jpg", files={"metadata.csv": lines("file_name,emotion", *["a.jpg,awe"] * 10, "a.jpg,cosy")})
    dataset = load_emotion_dataset(folder)
    assert dataset.emotion_model.name == "mikels8" and dataset.skipped[0].kind == "label"
    table = lines("file_name,emotion", *["a.jpg,awe"] * 10, *["a.jpg,cosy"] * 2)
    (folder / "metadata.csv").write_text(table, encoding="utf-8")
    assert load_emotion_dataset(folder).emotion_model.labels == ("awe", "cosy")


def test_listed_labels_are_the_only_ones_in_their_order(tree):
    rows = ("a.jpg,awe", "a.jpg,fear", "a.jpg,sad", "a.jpg,sadnes")
    folder = tree("a.jpg", files={"metadata.csv": lines("file_name,emotion", *rows)})
    dataset = load_emotion_dataset(folder, labels=["sadness", "awe"])
    assert dataset.emotion_model.labels == ("sadness", "awe")
    assert [example.label for example in dataset] == ["awe", "sadness"]
    assert [(row.origin, row.kind) for row in dataset.skipped] == [
        ("metadata.csv:3", "left out"),
        ("metadata.csv:5", "label"),
    ]
    assert 'nearest is "sadness"' in dataset.skipped[1].reason
    with pytest.raises(DataError, match="give one of them"):
        load_emotion_dataset(folder, labels=["sadness", "awe"], emotion_model="mikels8")


def test_listed_labels_choose_columns_of_votes(tree):
    folder = tree(
        "a.jpg", files={"metadata.csv": lines(f"file_name,{EKMAN7}", "a.jpg,1,3,0,4,0,0,0", "a.jpg,0,0,0,0,1,0,0")}
    )
    dataset = load_emotion_dataset(folder, labels=["disgust", "anger"])
    np.testing.assert_allclose(dataset[0].distribution, [0.75, 0.25])
    assert [(row.origin, row.kind) for row in dataset.skipped] == [("metadata.csv:3", "left out")]
    with pytest.raises(DataError, match='did you mean "surprize" by "surprise"'):
        load_emotion_dataset(folder, labels=["disgust", "surprize"])


def test_built_in_labels_that_are_listed_are_the_built_in_model(tree):
    folder = tree("a.jpg", files={"metadata.csv": lines("file_name,emotion", "a.jpg,joy")})
    assert load_emotion_dataset(folder, labels=EMOTION_MODELS["ekman6"].labels).emotion_model.name == "ekman6"


@pytest.mark.parametrize(
    ("header", "words"),
    [
        ("fil_name,emotion", 'did you mean "file_name" by "fil_name"'),
        ("file_name,emotoin", 'did you mean "emotion" by "emotoin"'),
        ("file_name,emotion,splt", '"splt"; did you mean "split"'),
        ("file_name,amusement,anger,awe,contentmnt,disgust,excitement,fear,sadness", '"contentment" by "contentmnt"'),
    ],
)
def test_a_misspelt_column_is_named_with_the_nearest(tree, header, words):
    row = "a.jpg,awe,train" if "splt" in header else ",".join(["a.jpg", *["1"] * header.count(",")])
    with pytest.raises(DataError, match=words) as error:
        load_emotion_dataset(tree("a.jpg", files={"metadata.csv": lines(header, row)}))
    assert "\n" not in str(error.value)


def test_a_misspelt_optional_column_is_noted(tree):
    folder = tree("a.jpg", files={"metadata.csv": lines("file_name,emotion,capton,licence", "a.jpg,awe,x,CC BY")})
    assert load_emotion_dataset(folder).notes == ['The column "capton" is not read; did you mean "caption"?']


def test_custom_labels_are_given_by_the_caller(tree):
    folder = tree("a.jpg", files={"metadata.csv": lines("file_name,eerie,cosy", "a.jpg,3,1")})
    dataset = load_emotion_dataset(folder, emotion_model=["cosy", "eerie"])
    np.testing.assert_allclose(dataset[0].distribution, [0.25, 0.75])
    with pytest.raises(DataError, match='"eerie"'):
        load_emotion_dataset(folder)


def test_labels_are_mapped_to_the_model_that_is_asked_for(tree):
    folder = tree("a.jpg", files={"metadata.csv": lines("file_name,emotion", "a.jpg,awe", "a.jpg,fear")})
    dataset = load_emotion_dataset(folder, emotion_model="sentiment2")
    assert [example.label for example in dataset] == ["positive", "negative"]
    with pytest.raises(EmotionMappingError):
        load_emotion_dataset(folder, emotion_model="plutchik8")


def test_label_columns_that_are_not_read_are_noted(tree):
    header = ",".join(EMOTION_MODELS["mikels8"].labels)
    folder = tree("a.jpg", files={"metadata.csv": lines(f"file_name,{header},neutral", "a.jpg,1,0,0,0,0,0,0,0,5")})
    dataset = load_emotion_dataset(folder)
    assert dataset.notes == ['The columns "neutral" are no labels of mikels8 and are not read.']
    assert dataset.notes[0] in dataset.report()


def test_texts_lose_control_characters(tree):
    folder = tree("a.jpg", files={"metadata.csv": lines("file_name,emotion,text", "a.jpg,awe,a \x1b[31m b\u202e c")})
    assert load_emotion_dataset(folder)[0].text == "a [31m b c"

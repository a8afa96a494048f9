import numpy as np
import pytest

from iec_hub.data import load_emotion_dataset, recognise_layout
from iec_hub.emotions import EMOTION_MODELS
from iec_hub.errors import DataError

EMOTION6 = "[image filename]\t[valence]\t[arousal]\t" + "\t".join(
    f"[prob. {x}]" for x in EMOTION_MODELS["ekman7"].labels
)
# The order of the published tables is not that of the model.
LDL = "images-name Amusement Awe Contentment Excitement Anger Disgust Fear Sadness"


def test_emotion6_takes_votes_not_the_keyword_folder(tree):
    folder = tree(
        "images/disgust/1.jpg",
        "images/joy/1.jpg",
        files={
            "ground_truth.txt": f"{EMOTION6}\n"
            "disgust/1.jpg\t2.5\t3.8\t0.133333\t0.7\t0\t0.0666667\t0.1\t0\t0\n"
            "joy/1.jpg\t5\t4\t0\t0\t0\t0\t0\t0\t1\r\n"
            "joy/2.jpg\t5\t4\t0\t0\t0\t0\t0\t0\t1\n"
            "joy/1.jpg\t5\t4\t0\t0\t0\n"
        },
    )
    assert recognise_layout(folder) == "emotion6"
    dataset = load_emotion_dataset(folder)
    assert dataset.emotion_model.name == "ekman7" and [e.label for e in dataset] == ["disgust", "neutral"]
    np.testing.assert_allclose(dataset[0].distribution[:2], [0.133333, 0.7], atol=1e-6)
    assert (dataset[0].valence, dataset[0].arousal) == (2.5, 3.8) and dataset[0].id == "disgust/1.jpg"
    assert [row.origin for row in dataset.skipped] == ["ground_truth.txt:4", "ground_truth.txt:5"]


def test_emotion6_without_neutral(tree):
    folder = tree(
        "images/joy/1.jpg",
        files={
            "ground_truth.txt": f"{EMOTION6}\n"
            "joy/1.jpg\t5\t4\t0\t0\t0\t.3\t.1\t0\t.6\n"
            "joy/1.jpg\t5\t4\t0\t0\t0\t0\t0\t0\t1\n"
        },
    )
    dataset = load_emotion_dataset(folder, emotion_model="ekman6")
    np.testing.assert_allclose(dataset[0].distribution, [0, 0, 0, 0.75, 0.25, 0])
    assert "all neutral" in dataset.skipped[0].reason and len(dataset) == 1


def test_emotion6_with_spaces_and_quotes_and_splits(tree):
    header = "images-name " + " ".join(f'"[prob. {label}]"' for label in EMOTION_MODELS["ekman7"].labels)
    folder = tree(
        "images/joy/1.jpg",
        files={"test_ground_truth.txt": f"{header}\njoy/1.jpg 0 0 0 1 0 0 0\n", "ground_truth.txt": "unused"},
    )
    dataset = load_emotion_dataset(folder)
    assert dataset[0].label == "joy" and dataset.splits() == ("test",)


@pytest.mark.parametrize("delimiter", [" ", ",", "\t"])
def test_ldl_votes_follow_the_header(tree, delimiter):
    rows = f"{LDL}\n1.jpg 0 0 8 0 0 0 0 3\n2 0 0 0 0 11 0 0 0\n../1.jpg 1 0 0 0 0 0 0 0\n1.jpg 0 0 0 0 0 0 0 0\n"
    folder = tree("images/1.jpg", "images/2.jpg", files={"ground_truth.txt": rows.replace(" ", delimiter)})
    assert recognise_layout(folder) == "ldl"
    dataset = load_emotion_dataset(folder)
    assert [example.label for example in dataset] == ["contentment", "anger"]
    np.testing.assert_allclose(dataset[0].distribution.max(), 8 / 11)
    assert "leaves" in dataset.skipped[0].reason and "all votes are zero" in dataset.skipped[1].reason


def test_ldl_tables_of_splits(tree):
    row = "1.jpg 8 0 0 0 0 0 0 0\n"
    folder = tree("images/1.jpg", files={f"{split}_ground_truth.txt": f"{LDL}\n{row}" for split in ("train", "test")})
    assert load_emotion_dataset(folder).splits() == ("train", "test")


def test_ldl_with_only_its_matlab_file_says_what_to_do(tree):
    with pytest.raises(DataError, match=r"ground_truth\.txt"):
        load_emotion_dataset(tree("images/1.jpg", files={"twitterldl_config.mat": b"MATLAB"}))


def test_a_table_of_votes_needs_its_header(tree):
    with pytest.raises(DataError, match="does not name the labels"):
        load_emotion_dataset(tree("images/1.jpg", files={"ground_truth.txt": "1.jpg 1 0 0 0 0 0 0 0\n"}), layout="ldl")


ABSTRACT = "'','Amusement','Anger','Awe','Content','Disgust','Excitement','Fear','Sad'\r\n"


@pytest.mark.parametrize("header", [ABSTRACT, ABSTRACT.replace("'", ""), ""])
def test_abstract(tree, header):
    votes = "'abstract_0001.jpg',0,1,2,3,4,3,0,1\r\n'abstract_0002.jpg',1,0,0,0,0,0,0,x\r\n"
    folder = tree("abstract_0001.jpg", "abstract_0002.jpg", files={"ABSTRACT_groundTruth.csv": header + votes})
    assert recognise_layout(folder) == "abstract"
    dataset = load_emotion_dataset(folder)
    np.testing.assert_allclose(dataset[0].distribution * 14, [0, 1, 2, 3, 4, 3, 0, 1])
    assert dataset[0].id == "abstract_0001.jpg" and '"x"' in dataset.skipped[0].reason


def test_ldl_votes_in_a_table_of_another_name_when_named(tree):
    folder = tree("images/1.jpg", files={"votes.csv": f"{LDL}\n1.jpg 8 0 0 0 0 0 0 0\n".replace(" ", ",")})
    assert load_emotion_dataset(folder, layout="ldl")[0].label == "amusement"

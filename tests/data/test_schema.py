import numpy as np
import pytest

from iec_hub.data import EmotionDataset, EmotionExample, SkippedRow
from iec_hub.emotions import EMOTION_MODELS
from iec_hub.errors import DataError

EKMAN7 = EMOTION_MODELS["ekman7"]


def example(*votes, split=None, origin="x:1"):
    return EmotionExample(None, EKMAN7, np.array(votes) / sum(votes), split=split, origin=origin)


def test_a_distribution_is_checked_copied_and_fixed():
    votes = np.eye(7)[0]
    made = EmotionExample(None, EKMAN7, votes)
    votes[0] = 5
    assert made.distribution[0] == 1 and made.label == "anger"
    with pytest.raises(ValueError, match="read-only"):
        made.distribution[0] = 2
    for wrong in (np.ones(7), np.full(7, np.nan), np.eye(6)[0], np.array([2, -1, 0, 0, 0, 0, 0])):
        with pytest.raises(DataError):
            EmotionExample(None, EKMAN7, wrong)
    with pytest.raises(DataError, match="no image"):
        made.open()


def test_data_sets_are_sequences_with_splits_and_a_report():
    rows = [example(1, 0, 0, 0, 0, 0, 0, split="train"), example(0, 0, 1, 1, 0, 0, 0, split="test")]
    skipped = [SkippedRow("x:9", "broken", "train"), SkippedRow("y:1", "gone")]
    dataset = EmotionDataset([*rows, example(0, 0, 0, 0, 0, 0, 1)], EKMAN7, skipped, "demo")
    assert len(dataset) == 3 and isinstance(dataset[1:], EmotionDataset) and len(dataset[1:]) == 2
    assert dataset.splits() == ("train", "test") and dataset.distributions().shape == (3, 7)
    assert dataset.split("training").skipped == skipped[:1]
    report = dataset.report()
    assert "demo: 3 examples over ekman7, 2 rows skipped" in report
    assert "test: 1 (anger 0, disgust 0, fear 1" in report and "(no split): 1" in report
    assert "skipped x:9: broken" in report and "1 more rows" in dataset.report(most_reasons=1)


def test_emotion_models_are_not_mixed():
    other = EMOTION_MODELS["mikels8"]
    with pytest.raises(DataError, match="map it first"):
        EmotionDataset([example(1, 0, 0, 0, 0, 0, 0)], other)


def test_mapping_keeps_everything_but_the_labels():
    dataset = EmotionDataset([example(0, 0, 0, 3, 0, 0, 1, split="train")], EKMAN7)
    mapped = dataset.mapped_to("sentiment3")
    np.testing.assert_allclose(mapped[0].distribution, [0, 0.25, 0.75])
    assert mapped[0].split == "train" and mapped.emotion_model.name == "sentiment3"
    assert dataset.mapped_to("ekman7") is dataset

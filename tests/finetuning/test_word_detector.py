"""The word detector learns what can be told, at the precision asked for, and nothing else."""

import json
from pathlib import Path

import pytest
import torch

from iec_hub.errors import DataError
from iec_hub.finetuning.word_detector import WordLabel, fit_word_detector, mentions, read_vocabulary

DOG = WordLabel("dog", "object", ("dogs?", "puppy"), ("animal",))
ANIMAL = WordLabel("animal", "object", ("animals?",))
GHOST = WordLabel("ghost", "object", ("ghosts?",))


def test_a_special_word_tells_its_general_one() -> None:
    told = mentions(["Two DOGS run", "an animal", "a hotdog stand", "puppy"], [DOG, ANIMAL])
    assert told.tolist() == [[1, 1], [0, 1], [0, 0], [1, 1]]


def test_what_can_be_told_is_kept_and_noise_is_not() -> None:
    generator = torch.Generator().manual_seed(0)
    features = torch.randn(2, 200, 6, generator=generator)
    features[1] = features[0] + 0.05 * torch.randn(200, 6, generator=generator)
    seen = (features[0, :, 0] > 0.5).float()
    noise = (torch.rand(200, generator=generator) < 0.2).float()
    fit = fit_word_detector(features, torch.stack([seen, noise], 1), [DOG, GHOST], precision=0.8)
    assert [label.label for label in fit.labels] == ["dog"]
    assert fit.weight.shape == (1, 6) and fit.entries[0]["implies"] == ["animal"]
    assert fit.entries[0]["guess"] <= fit.entries[0]["threshold"]
    told = (features[0] @ fit.weight.T + fit.bias).sigmoid()[:, 0] >= fit.entries[0]["threshold"]
    assert float(seen[told].mean()) >= 0.8
    report = {row["label"]: row for row in fit.report}
    assert report["dog"]["precision"] >= 0.8 and report["ghost"]["recall"] < 0.1


def test_nothing_to_tell_is_one_sentence() -> None:
    with pytest.raises(DataError, match="more captions"):
        fit_word_detector(torch.randn(1, 30, 3), torch.zeros(30, 1), [DOG])


def test_a_vocabulary_that_is_none(tmp_path: Path) -> None:
    path = tmp_path / "words.json"
    for content in ("{}", "[1]", json.dumps([{"label": "dog", "attribute": "object", "words": ["("]}])):
        path.write_text(content, encoding="utf-8")
        if content != "{}":
            with pytest.raises(DataError, match="vocabulary"):
                read_vocabulary(path)


def test_the_shipped_vocabulary_reads() -> None:
    labels = read_vocabulary(Path(__file__).parents[2] / "training" / "escnet_words.json")
    names = [label.label for label in labels]
    assert len(set(names)) == len(names) > 40
    # Gender is not told from appearance.
    assert not {"man", "woman", "boy", "girl"} & set(names)
    assert {general for label in labels for general in label.implies} <= set(names)

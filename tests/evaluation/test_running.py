from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from iec_hub.data import EmotionDataset, EmotionExample, SkippedRow
from iec_hub.emotions import EMOTION_MODELS, EmotionModel
from iec_hub.errors import DataError
from iec_hub.evaluation import evaluate_distributions
from iec_hub.evaluation.running import evaluate_predictor, predict_dataset

EKMAN = EMOTION_MODELS["ekman7"]


def make_dataset(images, model=EKMAN, **fields) -> EmotionDataset:
    random = np.random.default_rng(0)
    examples = [
        EmotionExample(image, model, random.dirichlet(np.ones(len(model))), origin=f"metadata.csv:{number}")
        for number, image in enumerate(images, 2)
    ]
    return EmotionDataset(examples, model, name="pictures", **fields)


@pytest.mark.parametrize("batch_size", [2, 32])
def test_figures_are_those_of_the_predictions(tiny_predictor, pictures, batch_size):
    dataset = make_dataset(pictures[:7])
    result = evaluate_predictor(tiny_predictor, dataset, batch_size=batch_size)
    predicted = [p.probabilities for p in tiny_predictor.predict(pictures[:7], EKMAN)]
    expected = evaluate_distributions(predicted, dataset.distributions())
    assert {name: result[name] for name in expected} == pytest.approx(expected, abs=1e-5)
    assert result["n"] == 7 and result["skipped"] == 0
    assert (result["emotion_model"], result["model"], result["method"]) == ("ekman7", "tiny-ugrie", "ugrie")


def test_pictures_that_cannot_be_read_are_counted_and_named(tiny_predictor, pictures, tmp_path):
    (tmp_path / "bad.jpg").write_text("no picture")
    images = [pictures[0], tmp_path / "bad.jpg", pictures[1], None, Image.open(pictures[2])]
    dataset = make_dataset(images, skipped=[SkippedRow("metadata.csv:9", "no votes")])
    reasons: list[SkippedRow] = []
    result = evaluate_predictor(tiny_predictor, dataset, on_skipped=reasons.append)
    assert result["n"] == 3 and result["skipped"] == 3
    assert {row.origin for row in reasons} == {"metadata.csv:3", "metadata.csv:5"}
    assert any("bad.jpg" in row.reason for row in reasons) and any("no image" in row.reason for row in reasons)
    predicted, kept, _ = predict_dataset(tiny_predictor, dataset)
    assert [example.origin for example in kept] == ["metadata.csv:2", "metadata.csv:4", "metadata.csv:6"]
    alone = tiny_predictor.predict(pictures[:3], EKMAN)
    assert np.allclose(predicted, [p.probabilities for p in alone], atol=1e-5)


def test_left_out_pictures_are_logged_where_nobody_asks(tiny_predictor, pictures, tmp_path, caplog):
    evaluate_predictor(tiny_predictor, make_dataset([pictures[0], tmp_path / "gone.jpg"]))
    assert "gone.jpg" in caplog.text


def test_nothing_to_evaluate_is_an_error(tiny_predictor, tmp_path):
    with pytest.raises(DataError, match="None of the 1 pictures .*gone.jpg"):
        evaluate_predictor(tiny_predictor, make_dataset([tmp_path / "gone.jpg"]))
    with pytest.raises(DataError, match="None of the 0 pictures"):
        evaluate_predictor(tiny_predictor, make_dataset([]))


def test_progress_sees_every_picture(tiny_predictor, pictures):
    seen = []

    def progress(results, total):
        assert total == 3
        for result in results:
            seen.append(Path(result.file))
            yield result

    evaluate_predictor(tiny_predictor, make_dataset(pictures[:3]), progress=progress)
    assert seen == pictures[:3]


def test_the_words_a_checkpoint_was_trained_with_are_used(build_tiny_ugrie, pictures):
    from iec_hub.predictor import EmotionPredictor

    stock = EMOTION_MODELS["sentiment2"]
    own = EmotionModel.from_labels(stock.labels, name=stock.name, words={"negative": ["bad"], "positive": ["good"]})
    predictor = EmotionPredictor(*build_tiny_ugrie(emotion_models=[own.to_dict()]))
    predicted, _, _ = predict_dataset(predictor, make_dataset(pictures[:2], stock))
    trained = [p.probabilities for p in predictor.predict(pictures[:2], "sentiment2")]
    assert np.allclose(predicted, trained, atol=1e-6)

"""Calibration is fitted on validation, written into the configuration, and applied wherever probabilities are told."""

import json

import pytest
import torch

from iec_hub.emotions import EMOTION_MODELS, EmotionModel
from iec_hub.errors import DataError
from iec_hub.evaluation import evaluate_distributions
from iec_hub.finetuning.measuring import ScoredImages, calibrate, fit_calibration, measure, measure_scored
from iec_hub.finetuning.training_data import ImageSource
from iec_hub.models import UgrieConfig

MIKELS, EKMAN = EMOTION_MODELS["mikels8"], EMOTION_MODELS["ekman7"]


def scored(
    name: str, emotion_model: EmotionModel, count: int, temperature: float, offsets: torch.Tensor | None = None
) -> ScoredImages:
    """Images whose labels are drawn from softmax(logits / temperature + offsets)."""
    generator = torch.Generator().manual_seed(len(name))
    logits = 2 * torch.randn(count, len(emotion_model), generator=generator)
    chances = (logits / temperature + (0 if offsets is None else offsets)).softmax(-1)
    labels = torch.multinomial(chances, 1, generator=generator)[:, 0]
    return ScoredImages(name, emotion_model, logits, torch.eye(len(emotion_model))[labels])


@pytest.fixture
def config() -> UgrieConfig:
    return UgrieConfig(emotion_models=["mikels8", "ekman7"])


OFFSETS = torch.linspace(-1.5, 1.5, 8)


def test_each_emotion_model_gets_what_its_images_say(config):
    validation = [
        scored("tilted", MIKELS, 300, 1.5, OFFSETS),
        scored("plain", EKMAN, 200, 2.5),
        scored("more of it", EKMAN, 200, 2.5),
    ]
    log = fit_calibration(config, validation, coverage=0.6)
    assert log["temperatures"] == config.temperatures
    assert config.temperatures["ekman7"] == pytest.approx(2.5, rel=0.15)
    assert config.temperatures["mikels8"] == pytest.approx(1.5, rel=0.15)
    assert set(config.label_offsets) == {"mikels8"}, "offsets only where they help"
    assert torch.tensor(config.label_offsets["mikels8"]).sub(OFFSETS).abs().max() < 0.8
    found = log["calibration"]
    assert found["mikels8"]["offset_gain"] > found["mikels8"]["offset_standard_error"] > 0
    assert found["ekman7"]["offsets"] is None and found["ekman7"]["pictures"] == 400
    assert found["ekman7"]["offset_gain"] <= found["ekman7"]["offset_standard_error"]
    for name in ("mikels8", "ekman7"):
        assert found[name]["share"] == pytest.approx(0.6, abs=0.01)
        assert config.sure_thresholds[name] == found[name]["threshold"]
    assert json.loads(json.dumps(log)) == log


def test_what_is_measured_is_calibrated_and_follows_the_fitted_rule(config):
    images = scored("tilted", MIKELS, 300, 1.5, OFFSETS)
    before = measure_scored(config, [images])["tilted"]
    fit_calibration(config, [images], coverage=0.6)
    after = measure_scored(config, [images])["tilted"]
    assert after["soft_cross_entropy"] < before["soft_cross_entropy"] - 0.1 and after["ece"] < before["ece"]
    scaled = images.logits.double() / config.temperatures["mikels8"] + torch.tensor(config.label_offsets["mikels8"])
    plain = evaluate_distributions(scaled.softmax(-1).numpy(), images.distributions.numpy())
    assert {key: after[key] for key in plain} == pytest.approx(plain, rel=1e-5)
    assert after["sure"]["share"] == pytest.approx(0.6, abs=0.01) and after["sure"]["sure_coverage"] == 0.6
    assert before["sure"].keys().isdisjoint({"sure_threshold", "sure_coverage"})
    assert after["labels"] == list(MIKELS.labels) and after["emotion_model"] == "mikels8"


def test_a_second_fit_keeps_no_more_than_the_temperature_of_labels_without_images(config):
    fit_calibration(config, [scored("tilted", MIKELS, 300, 1.5, OFFSETS)], coverage=0.6)
    before = config.temperatures["mikels8"]
    log = fit_calibration(config, [scored("plain", EKMAN, 100, 2.0)])
    assert config.temperatures["mikels8"] == before and set(log["temperatures"]) == {"mikels8", "ekman7"}
    assert set(log["calibration"]) == {"ekman7"}
    assert not config.label_offsets and not config.sure_thresholds and config.sure_coverage is None
    config.set_emotion_models(["ekman7"])
    assert set(fit_calibration(config, [scored("plain", EKMAN, 100, 2.0)])["temperatures"]) == {"ekman7"}


def test_a_few_images_that_are_all_right_call_for_no_certainty(config):
    labels = torch.arange(6)
    images = ScoredImages("few", MIKELS, 2 * torch.eye(8)[labels], torch.eye(8)[labels])
    fit_calibration(config, [images])
    assert config.calibrated_probabilities(images.logits, MIKELS).max() < 0.95


@pytest.mark.parametrize("case", ["two images", "one class", "no candidates"])
def test_what_little_there_is_can_be_fitted_and_measured(config, case):
    images = scored("few", MIKELS, 40, 1.5)
    if case == "two images":
        images = ScoredImages("few", MIKELS, images.logits[:2], images.distributions[:2])
    if case == "one class":
        images = ScoredImages("few", MIKELS, images.logits, torch.eye(8)[torch.zeros(40, dtype=int)])
    if case == "no candidates":
        votes = torch.where(images.distributions[:, 7:] > 0, torch.eye(8)[0], images.distributions)
        logits = images.logits.clone()
        logits[:, 7] = -torch.inf
        images = ScoredImages("few", MIKELS, logits, votes)
    log = fit_calibration(config, [images], coverage=0.7)
    assert log["calibration"]["mikels8"]["offsets"] is None
    measured = measure_scored(config, [images])["few"]
    assert json.dumps([log, measured], allow_nan=False)
    assert measured["sure"]["share"] >= 0.7


def test_a_coverage_that_is_no_share_is_refused(config):
    with pytest.raises(DataError, match="A coverage of 70 is no share"):
        fit_calibration(config, [scored("plain", EKMAN, 50, 2.0)], coverage=70)


def test_a_model_is_calibrated_and_measured_from_its_pictures(build_tiny_ugrie, pictures):
    from iec_hub.data import EmotionExample

    model, processor = build_tiny_ugrie()
    examples = [EmotionExample(path, MIKELS, MIKELS.distribution("awe"), origin=path.name) for path in pictures[:4]]
    source = ImageSource("photographs", MIKELS, torch.eye(8)[torch.arange(4)], examples=examples)
    temperatures = calibrate(model, processor, [source])
    assert temperatures == model.config.temperatures and set(temperatures) == {"mikels8"}
    measured = measure(model, processor, [source])["photographs"]
    assert measured["n"] == 4 and sum(map(sum, measured["confusion"])) == 4

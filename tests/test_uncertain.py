"""`uncertain`: the general rule, a threshold fitted to a stated coverage, and that both are told as they are."""

import json

import pytest
import torch

from iec_hub import EmotionPredictor
from iec_hub.emotions import EmotionModel, get_emotion_model
from iec_hub.errors import DataError
from iec_hub.models import EscnetConfig, UgrieConfig
from iec_hub.prediction import EmotionPrediction
from iec_hub.space import texts

LABELS = ("awe", "fear", "joy")


def prediction(*probabilities: float, **rule: float) -> EmotionPrediction:
    return EmotionPrediction("own", LABELS, probabilities, "ugrie", **rule)


class TestPrediction:
    @pytest.mark.parametrize(
        ("probabilities", "threshold", "uncertain", "summary"),
        [
            ((0.6, 0.3, 0.1), None, False, "awe (60%)"),
            ((0.45, 0.35, 0.2), None, True, "torn between awe (45%) and fear (35%)"),
            ((0.6, 0.3, 0.1), 0.7, True, "guessing awe (60%)"),
            ((0.45, 0.35, 0.2), 0.7, True, "torn between awe (45%) and fear (35%)"),
            ((0.45, 0.35, 0.2), 0.45, False, "awe (45%)"),
            ((0.48, 0.2, 0.32), 0.5, True, "torn between awe (48%) and joy (32%)"),
        ],
    )
    def test_a_threshold_replaces_the_general_rule(self, probabilities, threshold, uncertain, summary):
        given = prediction(*probabilities, sure_threshold=threshold)
        assert (given.uncertain, given.summary()) == (uncertain, summary)
        assert given.to_dict()["uncertain"] is uncertain

    def test_a_single_label_is_never_uncertain(self):
        assert not EmotionPrediction("own", ("awe",), (1.0,), "ugrie", sure_threshold=1.0).uncertain


class TestPage:
    def test_the_general_rule_is_told(self):
        told = texts.uncertain(prediction(0.45, 0.35, 0.2))
        assert "No emotion reaches 50%" in told and "twice as likely" in told

    def test_a_fitted_rule_is_told_and_the_general_one_is_not(self):
        told = texts.uncertain(prediction(0.6, 0.3, 0.1, sure_threshold=0.7, sure_coverage=0.65))
        assert "surest 65% of the pictures" in told and "twice" not in told and "No emotion reaches" not in told

    def test_a_threshold_without_a_coverage_is_told(self):
        assert "below 72.5%" in texts.uncertain(prediction(0.6, 0.3, 0.1, sure_threshold=0.725))


class TestConfig:
    def test_what_was_fitted_is_stored(self, tmp_path):
        offsets = [0.25, -0.25, 0.0, 0.5, 0.0, -0.5, 0.0, 0.0]
        UgrieConfig(
            label_offsets={"mikels8": offsets}, sure_thresholds={"mikels8": 0.4}, sure_coverage=0.7
        ).save_pretrained(tmp_path)
        loaded = UgrieConfig.from_pretrained(tmp_path)
        assert loaded.label_offsets == {"mikels8": offsets} and loaded.sure_coverage == 0.7
        logits, mikels = torch.randn(5, 8), get_emotion_model("mikels8")
        expected = (logits + torch.tensor(offsets)).softmax(-1)
        torch.testing.assert_close(loaded.calibrated_probabilities(logits, mikels), expected)
        assert loaded.sure_rule(mikels) == {
            "sure_confidence": 0.5, "sure_ratio": 2.0, "sure_threshold": 0.4, "sure_coverage": 0.7,
        }  # fmt: skip

    def test_an_older_configuration_says_what_it_said(self, tmp_path):
        UgrieConfig(temperatures={"mikels8": 2.0}, sure_ratio=3).save_pretrained(tmp_path)
        stored = json.loads((tmp_path / "config.json").read_text())
        for name in ("label_offsets", "sure_thresholds", "sure_coverage"):
            stored.pop(name, None)
        (tmp_path / "config.json").write_text(json.dumps(stored))
        loaded, logits = UgrieConfig.from_pretrained(tmp_path), torch.randn(5, 8)
        mikels = get_emotion_model("mikels8")
        torch.testing.assert_close(loaded.calibrated_probabilities(logits, mikels), (logits / 2).softmax(-1))
        assert loaded.sure_rule(mikels)["sure_threshold"] is None and loaded.sure_rule(mikels)["sure_ratio"] == 3

    def test_other_labels_under_the_same_name_get_no_offsets(self):
        config = UgrieConfig(label_offsets={"mikels8": [1.0] + [0.0] * 7}, sure_thresholds={"mikels8": 0.4})
        others = EmotionModel.from_labels([f"label {i}" for i in range(8)], name="mikels8")
        logits = torch.zeros(1, 8)
        assert config.calibrated_probabilities(logits, others).unique().numel() == 1
        assert config.sure_rule(others)["sure_threshold"] is None

    @pytest.mark.parametrize("new", [["ekman7"], [["calm", "tense", "sad"]]])
    def test_offsets_go_with_their_labels(self, new, tmp_path):
        fitted = {"label_offsets": {"mikels8": [0.5] + [0.0] * 7}, "sure_thresholds": {"mikels8": 0.4}}
        config = UgrieConfig(**fitted)
        config.set_emotion_models(["mikels8", *new])
        assert config.label_offsets and config.sure_thresholds
        config.set_emotion_models(new)
        assert not config.label_offsets and not config.sure_thresholds
        EscnetConfig(**fitted).save_pretrained(tmp_path)
        loaded = EscnetConfig.from_pretrained(tmp_path, emotion_models=new)
        assert not loaded.label_offsets and not loaded.sure_thresholds

    def test_half_precision_and_absent_candidates(self):
        config, mikels = UgrieConfig(label_offsets={"mikels8": [1.0] + [0.0] * 7}), get_emotion_model("mikels8")
        logits = torch.zeros(2, 8, dtype=torch.bfloat16)
        logits[0, 3] = -torch.inf
        probabilities = config.calibrated_probabilities(logits, mikels)
        assert probabilities.dtype == torch.float32 and probabilities[0, 3] == 0
        torch.testing.assert_close(probabilities.sum(-1), torch.ones(2))

    @pytest.mark.parametrize(
        ("fields", "reason"),
        [
            ({"temperatures": {"mikels8": 0.0}}, "temperature of mikels8 is 0"),
            ({"temperatures": {"mikels8": float("nan")}}, "temperature of mikels8"),
            ({"label_offsets": {"mikels8": [0.0]}}, "do not fit its labels"),
            ({"label_offsets": {"mikels8": [float("inf")] * 8}}, "do not fit its labels"),
            ({"sure_thresholds": {"mikels8": 40.0}}, "shares from 0 to 1"),
            ({"sure_coverage": -0.5}, "shares from 0 to 1"),
            ({"label_offsets": {"mikels8": "none"}}, "label_offsets"),
        ],
    )
    def test_what_cannot_have_been_fitted_is_refused(self, fields, reason):
        with pytest.raises(DataError, match=reason):
            UgrieConfig.from_dict({**UgrieConfig().to_dict(), **fields})


class TestPredictor:
    def test_offsets_and_threshold_reach_the_predictions(self, build_tiny_escnet, pictures):
        offsets = {"mikels8": [0.0] * 7 + [5.0]}
        plain = EmotionPredictor(*build_tiny_escnet())
        tuned = EmotionPredictor(
            *build_tiny_escnet(label_offsets=offsets, sure_thresholds={"mikels8": 0.97}, sure_coverage=0.3)
        )
        for before, after in zip(plain.predict(pictures[:3]), tuned.predict(pictures[:3]), strict=True):
            shifted = (torch.tensor(before.probabilities).log() + torch.tensor(offsets["mikels8"])).softmax(-1)
            assert after.probabilities == pytest.approx(shifted.tolist(), abs=1e-4)
            assert (after.sure_threshold, after.sure_coverage) == (0.97, 0.3)
            assert after.uncertain == (after.confidence < 0.97)

    def test_a_derived_emotion_model_follows_the_general_rule(self, build_tiny_escnet, pictures):
        tuned = EmotionPredictor(*build_tiny_escnet(sure_thresholds={"mikels8": 0.97, "ekman7": 0.9}))
        derived = tuned.predict(pictures[:1], "sentiment2")[0]
        assert derived.sure_threshold is None and derived.sure_confidence == 0.5
        assert tuned.predict(pictures[:1], "ekman7")[0].sure_threshold == 0.9

"""Predictions of a method with captions and a classifier per emotion model: told, edited, mapped and refused."""

from pathlib import Path

import numpy as np
import pytest

import iec_hub
from iec_hub.emotions import EMOTION_MODELS, EmotionModel, map_distribution
from iec_hub.errors import DataError
from iec_hub.predictor import EmotionPredictor


def probabilities(predictions) -> np.ndarray:
    return np.array([prediction.probabilities for prediction in predictions])


class TestCaptions:
    """What a method that writes and reads captions adds."""

    def test_the_checkpoint_says_what_it_takes(self, tiny_escnet_predictor, tiny_predictor, build_tiny_escnet):
        assert tiny_escnet_predictor.method == "escnet" and tiny_escnet_predictor.name == "tiny-escnet"
        assert tiny_escnet_predictor.reads_captions and not tiny_escnet_predictor.open_labels
        assert not tiny_predictor.reads_captions and tiny_predictor.open_labels
        assert not EmotionPredictor(*build_tiny_escnet(use_captions=False)).reads_captions

    def test_every_prediction_has_its_caption_and_where_that_is_from(self, tiny_escnet_predictor, pictures):
        predictions = tiny_escnet_predictor.predict(pictures)
        assert all(p.labels == EMOTION_MODELS["mikels8"].labels and p.method == "escnet" for p in predictions)
        assert np.allclose(probabilities(predictions).sum(1), 1, atol=1e-9)
        assert len({prediction.captions for prediction in predictions}) > len(pictures) / 2
        assert len(np.unique(probabilities(predictions).round(4), axis=0)) == len(pictures)
        for prediction in predictions:
            (caption,) = prediction.captions
            tags = {tag.attribute: tag for tag in prediction.attributes}
            assert {"brightness", "colorfulness"} <= tags.keys()
            assert tags["brightness"].source == "computed" and 0 <= float(tags["brightness"].label) <= 1
            assert {tag.source for name, tag in tags.items() if name in ("scene", "object")} <= {"detector"}
            assert prediction.template is None
            assert [caption[word.start : word.end] for word in prediction.evidence.caption_words] == [
                word.text for word in prediction.evidence.caption_words
            ]

    @pytest.mark.parametrize("batch_size", [1, 3])
    def test_neither_batches_nor_files_nor_repetition_change_anything(
        self, tiny_escnet_predictor, pictures, batch_size
    ):
        whole = tiny_escnet_predictor.predict(pictures[:7])
        parts = tiny_escnet_predictor.predict(pictures[:7], batch_size=batch_size)
        files = [result.prediction for result in tiny_escnet_predictor.predict_files(pictures[:7])]
        assert [p.captions for p in whole] == [p.captions for p in parts] == [p.captions for p in files]
        assert np.allclose(probabilities(whole), probabilities(parts), atol=1e-5)
        assert np.allclose(probabilities(whole), probabilities(files), atol=1e-6)

    def test_words_have_regions_only_with_evidence(self, tiny_escnet_predictor, pictures):
        plain = tiny_escnet_predictor.predict(pictures[:3])
        explained = tiny_escnet_predictor.predict(pictures[:3], evidence=True)
        assert np.allclose(probabilities(plain), probabilities(explained), atol=1e-5)
        for without, full in zip(plain, explained, strict=True):
            assert without.evidence.regions is None and full.evidence.regions.shape == (4, 4)
            assert all(word.regions is None for word in without.evidence.caption_words)
            assert all(word.regions.shape == (4, 4) for word in full.evidence.caption_words)
            saliences = [[word.salience for word in p.evidence.caption_words] for p in (without, full)]
            assert saliences[0] == pytest.approx(saliences[1], abs=1e-5) and len(set(saliences[0])) > 1
            assert without.to_dict()["evidence"]["caption_words"][0]["regions"] is None

    def test_an_edited_caption_replaces_the_models_own(self, tiny_escnet_predictor, pictures):
        own = tiny_escnet_predictor.predict(pictures[:3])
        given = [None, "An old man feels\tfear\n and sadness.", None]
        edited = tiny_escnet_predictor.predict(pictures[:3], captions=given, batch_size=2)
        assert edited[1].captions == ("An old man feels fear and sadness.",) and edited[1].attributes is None
        assert not np.allclose(edited[1].probabilities, own[1].probabilities, atol=1e-3)
        for index in (0, 2):
            assert edited[index].captions == own[index].captions
            assert edited[index].attributes == own[index].attributes
            assert np.allclose(edited[index].probabilities, own[index].probabilities, atol=1e-5)
        repeated = tiny_escnet_predictor.predict(pictures[:1], captions=own[0].captions)
        assert np.allclose(repeated[0].probabilities, own[0].probabilities, atol=1e-6)

    @pytest.mark.parametrize("captions", [["A dog."], "AB", [], ["A."] * 3])
    def test_captions_have_to_be_as_many_as_images(self, tiny_escnet_predictor, pictures, captions):
        with pytest.raises(DataError, match=r"^2 images need a list of as many captions, with None .*\.$"):
            tiny_escnet_predictor.predict(pictures[:2], captions=captions)

    def test_methods_without_captions_refuse_them_before_anything_is_read(self, tiny_predictor, build_tiny_escnet):
        ablation = EmotionPredictor(*build_tiny_escnet(use_captions=False), name="blind")
        for predictor in (tiny_predictor, ablation):
            with pytest.raises(DataError, match=rf"^{predictor.name} does not read captions; .*\.$"):
                predictor.predict(["missing.jpg"], captions=["A dog."])

    def test_without_captions_the_ablation_says_nothing_of_them(self, build_tiny_escnet, pictures):
        predictor = EmotionPredictor(*build_tiny_escnet(use_captions=False))
        plain, explained = (predictor.predict(pictures[:1], evidence=asked)[0] for asked in (False, True))
        assert plain.captions is None and plain.attributes is None and plain.evidence is None
        assert explained.evidence.caption_words is None and explained.evidence.regions is not None


# Mikels' emotions come first, but know no neutral.
SOURCES = {"ekman6": "ekman7", "sentiment2": "mikels8", "sentiment3": "ekman7"}


class TestMappedEmotionModels:
    """A method with a classifier per emotion model tells others where they follow from those."""

    @pytest.mark.parametrize("name", ["ekman6", "sentiment2", "sentiment3"])
    def test_predictions_are_mapped_after_the_temperature(self, tiny_escnet_predictor, pictures, name):
        source = SOURCES[name]
        before = tiny_escnet_predictor.predict(pictures[:4], source)
        mapped = tiny_escnet_predictor.predict(pictures[:4], name)
        assert all(p.emotion_model == name and p.labels == EMOTION_MODELS[name].labels for p in mapped)
        expected = map_distribution(probabilities(before), source, name)
        assert np.allclose(probabilities(mapped), expected, atol=1e-6)
        assert [p.captions for p in before] == [p.captions for p in mapped]

    def test_sentiments_of_a_model_with_neutral_keep_it(self, build_tiny_escnet, pictures):
        predictor = EmotionPredictor(*build_tiny_escnet(emotion_models=["ekman7"], temperatures={"ekman7": 3.0}))
        seven = probabilities(predictor.predict(pictures[:3]))
        three = probabilities(predictor.predict(pictures[:3], "sentiment3"))
        assert np.allclose(three[:, 1], seven[:, EMOTION_MODELS["ekman7"].index("neutral")], atol=1e-6)
        assert np.allclose(seven.sum(1), 1)

    def test_without_a_model_that_knows_neutral_the_others_tell_how_pleasant_it_is(self, build_tiny_escnet, pictures):
        predictor = EmotionPredictor(*build_tiny_escnet(emotion_models=["mikels8"]))
        two, three = (probabilities(predictor.predict(pictures[:3], f"sentiment{n}")) for n in (2, 3))
        assert np.allclose(three[:, [0, 2]], two, atol=1e-6) and np.allclose(three[:, 1], 0)

    def test_each_emotion_model_has_its_own_temperature(self, build_tiny_escnet, pictures):
        plain = EmotionPredictor(*build_tiny_escnet())
        warm = EmotionPredictor(*build_tiny_escnet(temperatures={"mikels8": 2.0, "ekman7": 5.0}))
        for name, source, temperature in (("mikels8", "mikels8", 2.0), ("ekman6", "ekman7", 5.0)):
            cold = probabilities(plain.predict(pictures[:3], source)) ** (1 / temperature)
            expected = map_distribution(cold / cold.sum(1, keepdims=True), source, name)
            assert np.allclose(probabilities(warm.predict(pictures[:3], name)), expected, atol=1e-5)

    @pytest.mark.parametrize("name", ["ekman6", "sentiment2", "sentiment3"])
    def test_evidence_is_of_the_mapped_label(self, tiny_escnet_predictor, pictures, name):
        for prediction in tiny_escnet_predictor.predict(pictures[:3], name, evidence=True):
            assert prediction.evidence.regions.shape == (4, 4)
            assert np.isfinite(prediction.evidence.regions).all() and prediction.evidence.regions.max() <= 1
        top = tiny_escnet_predictor.predict(pictures[:1], "sentiment2", evidence=True)[0]
        of_source = tiny_escnet_predictor.predict(pictures[:1], evidence=True)[0]
        assert not np.allclose(top.evidence.regions, of_source.evidence.regions, atol=1e-3)

    @pytest.mark.parametrize("name", ["ekman6", "sentiment2", "sentiment3"])
    def test_a_method_that_takes_any_labels_is_not_asked_about_what_follows_from_its_training(
        self, tiny_predictor, pictures, name
    ):
        source = SOURCES[name]
        told = tiny_predictor.predict(pictures[:3], name, evidence=True)
        expected = map_distribution(probabilities(tiny_predictor.predict(pictures[:3], source)), source, name)
        assert np.allclose(probabilities(told), expected, atol=1e-6)
        for prediction in told:
            phrase = EMOTION_MODELS[name].phrases[prediction.labels.index(prediction.emotion)]
            assert phrase in prediction.template and EMOTION_MODELS[name].title in prediction.template
            assert prediction.evidence.regions.max() <= 1

    def test_a_method_that_takes_any_labels_is_asked_about_own_labels_and_own_words(self, tiny_predictor, pictures):
        stock = EMOTION_MODELS["sentiment2"]
        told = probabilities(tiny_predictor.predict(pictures[:3], stock))
        own = EmotionModel.from_labels(stock.labels, stock.name, stock.title, {stock.labels[0]: ["sunny"]})
        for asked in ({"emotion_model": own}, {"labels": list(stock.labels)}, {"emotion_model": "plutchik8"}):
            target = tiny_predictor.check_target(**asked)
            assert tiny_predictor.source_for(target) == target
        assert not np.allclose(probabilities(tiny_predictor.predict(pictures[:3], own)), told, atol=1e-4)

    def test_what_cannot_be_told_is_one_sentence_without_images(self, tiny_escnet_predictor, tiny_predictor):
        own = ["cosy", "eerie", "sublime"]
        for call in (tiny_escnet_predictor.check_target, lambda **asked: tiny_escnet_predictor.predict([], **asked)):
            with pytest.raises(
                DataError, match=r"^This model knows mikels8, ekman7 and cannot tell the labels cosy.*\.$"
            ):
                call(labels=own)
            with pytest.raises(DataError, match="no emotion model 'mikels9'"):
                call(emotion_model="mikels9")
            with pytest.raises(DataError, match="both given"):
                call(emotion_model="ekman7", labels=own)
        assert tiny_escnet_predictor.check_target().name == "mikels8"
        assert tiny_escnet_predictor.check_target("ekman6").name == "ekman6"
        assert tiny_predictor.check_target(labels=own).labels == tuple(own)
        with pytest.raises(DataError, match="cannot tell"):
            tiny_escnet_predictor.predict_files(["missing.jpg"], labels=own)

    def test_only_sentiments_tell_no_emotions(self, build_tiny_escnet):
        predictor = EmotionPredictor(*build_tiny_escnet(emotion_models=["sentiment3"]))
        for name in ("mikels8", "ekman7", "plutchik8"):
            with pytest.raises(DataError, match=f"cannot tell {name}"):
                predictor.check_target(name)
        assert predictor.check_target("sentiment2").name == "sentiment2"

    def test_labels_that_were_trained_are_known_in_any_order(self, tiny_escnet_predictor, pictures):
        labels = list(EMOTION_MODELS["ekman7"].labels)
        (prediction,) = tiny_escnet_predictor.predict(pictures[:1], labels=labels)
        (stock,) = tiny_escnet_predictor.predict(pictures[:1], "ekman7")
        assert prediction.emotion_model == "ekman7" and prediction.probabilities == stock.probabilities
        (turned,) = tiny_escnet_predictor.predict(pictures[:1], labels=labels[::-1])
        assert turned.distribution == stock.distribution


def test_labels_that_no_trained_one_can_reach_are_refused(tiny_escnet_predictor: EmotionPredictor) -> None:
    """Trust and anticipation would always get nothing."""
    with pytest.raises(DataError, match="plutchik8"):
        tiny_escnet_predictor.check_target("plutchik8")
    own = [*EMOTION_MODELS["ekman7"].labels, "boredom"]
    with pytest.raises(DataError, match="cannot tell"):
        tiny_escnet_predictor.check_target(labels=own)


def test_the_bundled_model_says_what_it_sees_and_reads_what_it_is_told() -> None:
    examples = Path(iec_hub.__file__).parent / "space" / "examples"
    predictor = EmotionPredictor.from_pretrained(method="escnet", device="cpu")
    assert predictor.method == "escnet"
    pictures = [examples / f"{name}.jpg" for name in ("cat-and-mirror", "pizza", "bed-at-night")]
    cat, pizza, bed = predictor.predict(pictures, emotion_model="ekman7", evidence=True)
    assert "cat" in cat.captions[0] and "pizza" in pizza.captions[0] and "lamp" in bed.captions[0]
    words = {word.text: word for word in bed.evidence.caption_words}
    assert words["lamp"].salience > words["of"].salience
    rows, columns = words["lamp"].regions.shape
    looked = words["lamp"].regions[: rows // 2, columns // 2 :].sum() / words["lamp"].regions.sum()
    assert looked > 0.5  # the lamp stands in the upper right quarter
    sad, glad = (
        predictor.predict(pictures[2:], emotion_model="ekman7", captions=[text])[0]
        for text in ("A photo of a crying child.", "A photo of a happy birthday party.")
    )
    assert sad.distribution["sadness"] > glad.distribution["sadness"]
    assert glad.distribution["joy"] > sad.distribution["joy"]

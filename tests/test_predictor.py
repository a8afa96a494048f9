import json
import shutil
import threading
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from PIL import Image
from safetensors.torch import load_file, save_file

from iec_hub.emotions import EMOTION_MODELS, EmotionModel
from iec_hub.errors import CheckpointError, DataError, ImageError
from iec_hub.images import open_image
from iec_hub.predictor import EmotionPredictor
from iec_hub.reading_ahead import READ_AHEAD_THREADS, OpenedImage


@pytest.fixture
def predictor(tiny_ugrie_dir):
    """One of its own, for tests that change it."""
    return EmotionPredictor.from_pretrained(tiny_ugrie_dir, device="cpu")


@pytest.fixture
def mixed_files(pictures, tmp_path) -> list[Path]:
    """Good files with bad ones at the beginning, in the middle and at the end."""
    text = tmp_path / "text.jpg"
    text.write_text("not a picture")
    cut = tmp_path / "cut.jpg"
    cut.write_bytes(pictures[0].read_bytes()[:3000])
    return [tmp_path / "missing.jpg", *pictures[:3], text, *pictures[3:6], tmp_path, pictures[6], cut]


def probabilities(predictions) -> np.ndarray:
    return np.array([prediction.probabilities for prediction in predictions])


def test_predictions_are_distributions_over_the_default_emotion_model(tiny_predictor, pictures):
    predictions = tiny_predictor.predict(pictures[:4])
    assert [p.labels for p in predictions] == [EMOTION_MODELS["mikels8"].labels] * 4
    assert all(p.emotion_model == "mikels8" and p.method == "ugrie" for p in predictions)
    assert np.allclose(probabilities(predictions).sum(1), 1, atol=1e-9)
    assert all(p.template.startswith("Among Mikels' emotions, this image makes people feel ") for p in predictions)
    assert len(np.unique(probabilities(predictions).round(4), axis=0)) == 4, "the picture has to matter"


def test_template_is_filled_with_the_phrase_of_the_top_label(tiny_predictor, pictures):
    for prediction in tiny_predictor.predict(pictures[:6], "ekman7"):
        model = tiny_predictor.emotion_models["ekman7"]
        assert model.phrases[model.index(prediction.emotion)] in prediction.template


@pytest.mark.parametrize("batch_size", [2, 3, 32])
def test_batch_size_does_not_change_predictions(tiny_predictor, pictures, batch_size):
    singles = [tiny_predictor.predict([picture])[0] for picture in pictures[:7]]
    batched = tiny_predictor.predict(pictures[:7], batch_size=batch_size)
    assert np.allclose(probabilities(singles), probabilities(batched), atol=1e-5)


def test_every_kind_of_image_gives_the_same(tiny_predictor, pictures):
    path = pictures[0]
    with open(path, "rb") as stream:
        kinds = [path, str(path), path.read_bytes(), stream, open_image(path)]
        rows = probabilities(tiny_predictor.predict(kinds))
    assert np.allclose(rows, rows[0], atol=1e-6)


def test_predict_leaves_the_given_image_alone(tiny_predictor, pictures):
    image = Image.open(pictures[0])
    size = image.size
    tiny_predictor.predict([image])
    assert image.size == size


def test_resizing_ahead_equals_the_image_processor(tiny_predictor, pictures):
    full = [open_image(picture) for picture in pictures[:3]]
    ahead = [tiny_predictor._open(image).image for image in full]
    pixels = [tiny_predictor.processor(images=images)["pixel_values"] for images in (full, ahead)]
    assert torch.equal(*pixels)


@pytest.mark.parametrize("size", [{"shortest_edge": 64}, {"height": 64, "width": 64}])
def test_big_images_are_kept_small_while_they_wait(predictor, size):
    predictor.processor.image_processor.size = size
    opened = predictor._open(Image.new("RGB", (4000, 3000))).image
    assert min(opened.size) >= 64 and max(opened.size) <= 2100


def test_nothing_to_predict_gives_nothing(tiny_predictor):
    assert tiny_predictor.predict([]) == []
    assert list(tiny_predictor.predict_files([])) == []


@pytest.mark.parametrize("one", ["photo.jpg", Path("photo.jpg"), b"bytes", Image.new("RGB", (8, 8))])
def test_one_image_alone_is_refused_in_a_sentence(tiny_predictor, one):
    for call in (tiny_predictor.predict, tiny_predictor.predict_files):
        with pytest.raises(DataError, match="put it into a list"):
            call(one)


def test_predict_stops_at_a_bad_image(tiny_predictor, pictures, tmp_path):
    with pytest.raises(ImageError, match="missing.jpg"):
        tiny_predictor.predict([pictures[0], tmp_path / "missing.jpg"])


@pytest.mark.parametrize("batch_size", [1, 3, 32])
def test_bad_files_keep_their_places(tiny_predictor, mixed_files, batch_size):
    results = list(tiny_predictor.predict_files(mixed_files, batch_size=batch_size))
    assert [result.file for result in results] == mixed_files
    bad = [index for index, result in enumerate(results) if result.prediction is None]
    assert bad == [0, 4, 8, 10]
    assert "missing.jpg" in results[0].error and "text.jpg" in results[4].error and "cut.jpg" in results[10].error
    good = [result for result in results if result.prediction is not None]
    assert all(result.error is None for result in good)
    alone = tiny_predictor.predict([result.file for result in good], batch_size=1)
    assert np.allclose(probabilities(r.prediction for r in good), probabilities(alone), atol=1e-5)


def test_files_may_come_from_a_generator_and_as_texts(tiny_predictor, pictures):
    results = list(tiny_predictor.predict_files(str(picture) for picture in pictures[:3]))
    assert [result.file for result in results] == pictures[:3]


def test_wrong_requests_are_refused_before_anything_is_read(tiny_predictor, pictures):
    with pytest.raises(DataError, match="no emotion model"):
        tiny_predictor.predict_files(pictures, emotion_model="mikels9")
    with pytest.raises(DataError, match="both given"):
        tiny_predictor.predict_files(pictures, emotion_model="mikels8", labels=["a", "b"])
    with pytest.raises(DataError, match="at least 1"):
        tiny_predictor.predict_files(pictures, batch_size=0)
    for labels in (["calm"], [], ["calm", "Calm"], ["calm", ""], ["calm", "<mask>"]):
        with pytest.raises(DataError) as error:
            tiny_predictor.predict(pictures[:1], labels=labels)
        assert "\n" not in str(error.value)


def test_own_labels_and_untrained_emotion_models(tiny_predictor, pictures):
    (prediction,) = tiny_predictor.predict(pictures[:1], labels=["cosy", "eerie", "sublime"])
    assert prediction.labels == ("cosy", "eerie", "sublime") and prediction.emotion_model == "custom"
    model = EmotionModel.from_labels(["calm", "tense"], name="arousal", title="levels of arousal")
    (prediction,) = tiny_predictor.predict(pictures[:1], model)
    assert prediction.emotion_model == "arousal" and "Among levels of arousal" in prediction.template
    assert len(tiny_predictor.predict(pictures[:1], "plutchik8")[0].labels) == 8


def test_a_failing_batch_costs_only_the_image_that_fails(predictor, pictures, monkeypatch):
    whole = predictor._predict_batch
    marked = open_image(pictures[1]).resize((64, 64), predictor.processor.image_processor.resample).tobytes()

    def failing(images, target, evidence):
        if any(opened.image.tobytes() == marked for opened in images):
            raise RuntimeError("secret detail")
        return whole(images, target, evidence)

    monkeypatch.setattr(predictor, "_predict_batch", failing)
    results = list(predictor.predict_files([pictures[0], pictures[1], pictures[2]]))
    assert [result.prediction is None for result in results] == [False, True, False]
    assert "RuntimeError" in results[1].error and "secret" not in results[1].error


def test_next_batch_is_read_while_the_model_works(predictor, pictures, monkeypatch):
    opened: list[Path] = []
    read_ahead = threading.Event()
    open_one, whole = predictor._open, predictor._predict_batch

    def opening(source, read_text):
        opened.append(source)
        if source == pictures[2]:
            read_ahead.set()
        return open_one(source, read_text)

    def working(images, target, evidence):
        assert read_ahead.wait(20), "the second batch has to be read before the first is predicted"
        return whole(images, target, evidence)

    monkeypatch.setattr(predictor, "_open", opening)
    monkeypatch.setattr(predictor, "_predict_batch", working)
    results = predictor.predict_files(pictures[:6], batch_size=2)
    assert next(results).file == pictures[0]
    assert set(opened) <= set(pictures[:4]), "only one batch is read ahead"
    assert len(list(results)) == 5
    assert sorted(opened) == pictures[:6], "every file is read once"


def test_who_stops_early_does_not_wait_for_the_rest(predictor, pictures, monkeypatch):
    files = [Path(f"{number}.jpg") for number in range(80)]
    started: list[Path] = []
    may_go_on = threading.Event()

    def opening(source, read_text):
        started.append(source)
        assert source in files[:40] or may_go_on.wait(20)
        return OpenedImage(Image.new("RGB", (64, 64)))

    monkeypatch.setattr(predictor, "_open", opening)
    results = predictor.predict_files(files, batch_size=40)
    assert next(results).file == files[0]
    threading.Timer(0.2, may_go_on.set).start()
    results.close()
    assert len(started) <= 40 + READ_AHEAD_THREADS


def test_evidence_has_the_grid_and_leaves_the_prediction_alone(tiny_predictor, pictures):
    plain = tiny_predictor.predict(pictures[:5])
    explained = tiny_predictor.predict(pictures[:5], evidence=True, batch_size=2)
    assert np.allclose(probabilities(plain), probabilities(explained), atol=1e-5)
    for prediction in explained:
        regions = prediction.evidence.regions
        assert regions.shape == (4, 4)
        assert regions.min() >= 0 and regions.max() in (0, pytest.approx(1))
    assert all(prediction.evidence is None for prediction in plain)
    assert any(not np.allclose(p.evidence.regions, explained[0].evidence.regions) for p in explained[1:])


def test_evidence_works_where_gradients_are_off(tiny_predictor, pictures):
    with torch.inference_mode():
        (prediction,) = tiny_predictor.predict(pictures[:1], evidence=True)
    assert prediction.evidence.regions.max() > 0
    assert all(parameter.grad is None for parameter in tiny_predictor.model.parameters())


def test_hiding_what_spoke_for_an_emotion_costs_it_more_than_hiding_the_rest(tiny_predictor, pictures):
    images = [open_image(picture).resize((64, 64)) for picture in pictures]
    before = tiny_predictor.predict(images, evidence=True)
    drops = {}
    for name, order in (("most", -1), ("least", 1)):
        hidden = []
        for image, prediction in zip(images, before, strict=True):
            pixels = np.array(image)
            for cell in np.argsort(order * prediction.evidence.regions.ravel(), kind="stable")[:4]:
                row, column = divmod(int(cell), 4)
                pixels[16 * row : 16 * row + 16, 16 * column : 16 * column + 16] = 127
            hidden.append(Image.fromarray(pixels))
        after = tiny_predictor.predict(hidden)
        drops[name] = np.mean([b.confidence - a.distribution[b.emotion] for b, a in zip(before, after, strict=True)])
    assert drops["most"] > drops["least"]


def test_checkpoint_says_what_it_is(tiny_predictor):
    assert tiny_predictor.method == "ugrie"
    assert tiny_predictor.name == "tiny-ugrie", "a name, not a path of this machine"
    assert list(tiny_predictor.emotion_models) == ["mikels8", "ekman7"]
    assert tiny_predictor.default_emotion_model.name == "mikels8"
    assert tiny_predictor.model.dtype == torch.float32 and not tiny_predictor.model.training


def test_trained_label_words_win_over_the_stock_ones(build_tiny_ugrie, pictures):
    own = EmotionModel.from_labels(["good", "bad"], name="sentiment2", words={"good": ["lovely"], "bad": ["awful"]})
    predictor = EmotionPredictor(*build_tiny_ugrie(emotion_models=[own.to_dict()]))
    assert predictor.predict(pictures[:1], "sentiment2")[0].labels == ("good", "bad")


def test_half_precision_checkpoint_runs_in_full_precision_on_the_cpu(build_tiny_ugrie, tmp_path, pictures):
    model, processor = build_tiny_ugrie()
    model.half().save_pretrained(tmp_path)
    processor.save_pretrained(tmp_path)
    predictor = EmotionPredictor.from_pretrained(tmp_path, device="cpu")
    assert {parameter.dtype for parameter in predictor.model.parameters()} == {torch.float32}
    predictor.predict(pictures[:1])


class TestLoading:
    @pytest.fixture
    def copy(self, tiny_ugrie_dir, tmp_path) -> Path:
        return Path(shutil.copytree(tiny_ugrie_dir, tmp_path / "copy"))

    def refused(self, *args, **kwargs) -> str:
        with pytest.raises(CheckpointError) as error:
            EmotionPredictor.from_pretrained(*args, **kwargs)
        sentence = str(error.value)
        assert "\n" not in sentence
        return sentence

    def test_unknown_names(self, tmp_path):
        assert "could not be loaded" in self.refused("nobody/nothing")
        assert "could not be loaded" in self.refused(tmp_path)
        assert "no method 'escnett'" in self.refused(method="escnett")

    def test_wrong_method_and_device(self, tiny_ugrie_dir):
        assert "not of escnet" in self.refused(tiny_ugrie_dir, method="escnet")
        assert "no device 'abacus'" in self.refused(tiny_ugrie_dir, device="abacus")

    @pytest.mark.parametrize("name", ["config.json", "model.safetensors", "processor_config.json", "tokenizer.json"])
    def test_missing_file(self, copy, name):
        (copy / name).unlink()
        assert "could not be loaded" in self.refused(copy)

    def test_damaged_weights(self, copy):
        weights = copy / "model.safetensors"
        weights.write_bytes(weights.read_bytes()[:5000])
        assert "could not be loaded" in self.refused(copy)

    def test_missing_weights_are_not_filled_with_random_numbers(self, copy):
        weights = load_file(copy / "model.safetensors")
        del weights["mapping.input.weight"]
        save_file(weights, copy / "model.safetensors", metadata={"format": "pt"})
        assert "mapping.input.weight" in self.refused(copy)

    def test_another_model(self, copy):
        config = (copy / "config.json").read_text().replace('"model_type": "ugrie"', '"model_type": "bert"')
        (copy / "config.json").write_text(config)
        assert "could not be loaded" in self.refused(copy)

    @pytest.mark.parametrize(
        ("field", "value", "reason"),
        [
            ("captioner_config", {"model_type": "bert"}, "does not write about images"),
            ("captioner_config", {"model_type": "no-such-type"}, "no-such-type"),
            ("captioner_config", {"model_type": "attribute_captioner", "labels": ["dog"]}, "A label of the captioner"),
            ("captioner_config", {"model_type": "attribute_captioner", "pooled_size": 5}, "channels of the pooled"),
            ("text_config", {"model_type": "t5"}, "no encoder"),
            ("fusion_heads", "many", "fusion_heads"),
            ("fusion_size", 30, "fusion_size 30"),
        ],
    )
    def test_a_damaged_configuration_of_parts(self, tiny_escnet_dir, tmp_path, field, value, reason):
        folder = Path(shutil.copytree(tiny_escnet_dir, tmp_path / "copy"))
        config = json.loads((folder / "config.json").read_text(encoding="utf-8")) | {field: value}
        (folder / "config.json").write_text(json.dumps(config), encoding="utf-8")
        sentence = self.refused(folder)
        assert "could not be loaded" in sentence and reason in sentence

    def test_pickled_weights_are_never_read(self, copy):
        torch.save(load_file(copy / "model.safetensors"), copy / "pytorch_model.bin")
        (copy / "model.safetensors").unlink()
        assert "could not be loaded" in self.refused(copy)


def test_an_image_processor_without_resizing_gets_the_picture_as_it_is(predictor):
    predictor.processor = SimpleNamespace(image_processor=SimpleNamespace(do_resize=False))
    assert predictor._open(Image.new("RGB", (300, 200))).image.size == (300, 200)

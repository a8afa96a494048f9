import re

import numpy as np
import pytest
import torch
from PIL import Image
from transformers import pipeline
from transformers.pipelines import PIPELINE_REGISTRY

import iec_hub
from iec_hub.errors import DataError, ImageError
from iec_hub.prediction import CaptionWord, EmotionPrediction, Evidence, Tag

TASK = "image-emotion-classification"


@pytest.fixture(scope="module")
def classify(tiny_ugrie_dir):
    return pipeline(TASK, model=str(tiny_ugrie_dir))


def test_one_image_gives_the_predictors_dictionary(classify, tiny_predictor, pictures):
    assert isinstance(classify, iec_hub.ImageEmotionClassificationPipeline)
    result = classify(str(pictures[0]))
    expected = tiny_predictor.predict(pictures[:1])[0].to_dict()
    assert result.pop("distribution") == pytest.approx(expected.pop("distribution"), abs=1e-6)
    assert result.pop("confidence") == pytest.approx(expected.pop("confidence"), abs=1e-6)
    assert result.pop("entropy") == pytest.approx(expected.pop("entropy"), abs=1e-6)
    assert result == expected


def test_lists_keep_their_order_whatever_the_batch(classify, pictures):
    images = [pictures[0], Image.open(pictures[1]), pictures[2].read_bytes(), str(pictures[3])]
    singles = [classify(image)["distribution"] for image in images]
    for batch_size in (1, 3):
        results = classify(images, batch_size=batch_size)
        assert [result["distribution"] for result in results] == [pytest.approx(s, abs=1e-5) for s in singles]
    assert classify([]) == []


def test_generators_and_data_sets_are_streamed(classify, pictures):
    read = []

    def stream():
        for picture in pictures[:5]:
            read.append(picture)
            yield picture

    results = classify(stream(), batch_size=2)
    assert read == []
    first = next(results)
    assert len(read) == 2
    expected = classify(pictures[:5])
    assert [first["emotion"], *(result["emotion"] for result in results)] == [e["emotion"] for e in expected]

    class Folder(torch.utils.data.Dataset):
        def __len__(self):
            return 3

        def __getitem__(self, index):
            if index >= 3:
                raise IndexError
            return pictures[index]

    assert [result["emotion"] for result in classify(Folder())] == [e["emotion"] for e in expected[:3]]


def test_settings_of_the_call_and_of_the_pipeline(classify, tiny_ugrie_dir, pictures):
    assert classify(pictures[0], emotion_model="ekman7")["emotion_model"] == "ekman7"
    result = classify(pictures[0], labels=["cosy", "eerie"], evidence=True)
    assert set(result["distribution"]) == {"cosy", "eerie"}
    assert np.array(result["evidence"]["regions"]).shape == (4, 4)
    fixed = pipeline(TASK, model=str(tiny_ugrie_dir), labels=["cosy", "eerie"], batch_size=2)
    assert set(fixed(pictures[0])["distribution"]) == {"cosy", "eerie"}
    assert fixed(pictures[0], emotion_model="ekman7")["emotion_model"] == "ekman7"


def test_errors_are_sentences(classify, pictures):
    with pytest.raises(ImageError, match="missing.jpg"):
        classify("missing.jpg")
    with pytest.raises(DataError, match="no emotion model"):
        classify(pictures[0], emotion_model="mikels9")
    with pytest.raises(TypeError, match="emotion_modle"):
        classify(pictures[0], emotion_modle="ekman7")


def test_half_precision_only_where_asked_for(build_tiny_ugrie, tmp_path, pictures):
    model, processor = build_tiny_ugrie()
    model.half().save_pretrained(tmp_path)
    processor.save_pretrained(tmp_path)
    assert pipeline(TASK, model=str(tmp_path), device="cpu").model.dtype == torch.float32
    asked = pipeline(TASK, model=str(tmp_path), device="cpu", dtype=torch.bfloat16)
    assert asked.model.dtype == torch.bfloat16
    assert asked(pictures[0])["confidence"] > 0


def test_without_a_model_it_takes_the_default_checkpoint(tiny_ugrie_dir, pictures, monkeypatch):
    default = PIPELINE_REGISTRY.supported_tasks[TASK]["default"]
    name, revision = default["model"]
    assert "ugrie-mini" in name
    monkeypatch.setitem(default, "model", (str(tiny_ugrie_dir), revision))
    assert pipeline(TASK)(pictures[0])["model"] == "tiny-ugrie"


def test_a_model_and_a_processor_can_be_given(build_tiny_ugrie, pictures):
    model, processor = build_tiny_ugrie()
    classify = pipeline(TASK, model=model, processor=processor)
    assert classify(pictures[0])["method"] == "ugrie"


class WordCounter:
    """In place of a predictor that reads captions: the more words, the likelier the first label."""

    def predict(self, images, batch_size=32, captions=None):
        given = captions if captions is not None else [None] * len(images)
        if len(given) != len(images):
            raise DataError(f"{len(images)} images need as many captions.")
        return [self.judge(caption or "A photo.") for caption in given]

    def judge(self, caption):
        words = tuple(CaptionWord(match[0], *match.span(), 0.5) for match in re.finditer(r"\w+", caption))
        share = min(1.0, len(words) / 10)
        return EmotionPrediction(
            emotion_model="custom",
            labels=("talkative", "terse"),
            probabilities=(share, 1 - share),
            method="escnet",
            captions=(caption,),
            attributes=(Tag("brightness", "0.3", source="computed"),),
            evidence=Evidence(caption_words=words),
        )


@pytest.fixture
def reading(build_tiny_ugrie):
    model, processor = build_tiny_ugrie()
    classify = pipeline(TASK, model=model, processor=processor)
    classify.predictor = WordCounter()
    return classify


def test_captions_attributes_and_words_are_in_the_dictionary(reading, pictures):
    own = reading(pictures[0])
    assert own["captions"] == ["A photo."] and own["attributes"][0]["source"] == "computed"
    result = reading(pictures[0], captions="Two dark rooms.")
    assert result["captions"] == ["Two dark rooms."] and result["distribution"]["talkative"] == pytest.approx(0.3)
    assert [word["text"] for word in result["evidence"]["caption_words"]] == ["Two", "dark", "rooms"]
    assert reading(pictures[0], captions=["Two dark rooms."]) == result


def test_captions_go_with_their_images_in_lists_and_streams(reading, pictures):
    captions = ["One.", None, "Two words.", "Here are three."]
    expected = [["One."], ["A photo."], ["Two words."], ["Here are three."]]
    for batch_size in (1, 3):
        results = reading(pictures[:4], captions=captions, batch_size=batch_size)
        assert [result["captions"] for result in results] == expected
        streamed = reading(iter(pictures[:4]), captions=iter(captions), batch_size=batch_size)
        assert [result["captions"] for result in streamed] == expected


def test_wrong_captions_are_sentences(reading, classify, tiny_ugrie_dir, pictures):
    with pytest.raises(DataError, match="one caption per image"):
        reading(pictures[:2], captions="One caption for two.")
    with pytest.raises(DataError, match="one caption per image"):
        reading(pictures[0], captions=3)
    with pytest.raises(DataError, match="as many captions"):
        reading(pictures[:3], captions=["One."])
    with pytest.raises(DataError, match="as many captions"):
        list(reading(iter(pictures[:3]), captions=["One."]))
    with pytest.raises(DataError, match="with each call"):
        pipeline(TASK, model=str(tiny_ugrie_dir), captions=["One."])
    with pytest.raises(DataError, match="caption"):
        classify(pictures[0], captions="UGRIE reads none.")

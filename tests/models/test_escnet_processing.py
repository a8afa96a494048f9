"""ESCNet's processor: two tokenizers, captions of any kind, and the columns of the classifier."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from tiny_parts import (
    TOKENIZERS,
    attribute_captioner_config,
    blip_config,
    build_escnet,
    byte_level_tokenizer,
    image_processor,
    random_pictures,
    tensors_of,
    wordpiece_tokenizer,
)
from transformers import AutoProcessor

from iec_hub.affect.attributes import brightness, colorfulness
from iec_hub.emotions import EMOTION_MODELS, EmotionModel
from iec_hub.errors import DataError
from iec_hub.models import EscnetProcessor
from iec_hub.predictor import EmotionPredictor

HOSTILE = {
    "control": "A \x00dog\x1b[31m\u202e and\u200b a \x07cat.",
    "lines": "A dog.\r\n\r\n=cmd|' /C calc'!A0\tB",
    "long": "A terrible storm " * 600,
    "one_word": "a" * 10_000,
    "markup": "<img src=x onerror=alert(1)> & <b>fear</b>",
    "special": "[SEP] [CLS] [PAD] [MASK] </s> <pad> <mask> fear",
    "unicode": "\U0001f480 жуть 恐怖 خوف e\u0301 \ud83d\ude00".encode("utf-16", "surrogatepass").decode("utf-16"),
    "marks": "?!... -- ''",
}


@pytest.mark.parametrize("kind", TOKENIZERS)
@pytest.mark.parametrize("name", HOSTILE)
def test_hostile_captions_break_nothing(name: str, kind: str) -> None:
    tokenizer = TOKENIZERS[kind]()
    text = {"model_type": "roberta"} if kind == "byte_level" else {}
    model, processor = build_escnet(tokenizer=tokenizer, captioner=attribute_captioner_config(), text=text)
    predictor = EmotionPredictor(model, processor)
    hostile, harmless = predictor.predict(random_pictures(2), captions=[HOSTILE[name], "A dog."], evidence=True)
    assert np.isfinite(hostile.probabilities).all()
    caption = hostile.captions[0]
    assert caption.isprintable() and len(caption) <= 4000
    for word in hostile.evidence.caption_words:
        assert caption[word.start : word.end] == word.text and 0 <= word.salience <= 1
        assert np.isfinite(word.regions).all() and word.regions.shape == (4, 4)
    (alone,) = predictor.predict(random_pictures(2)[1:], captions=["A dog."])
    assert harmless.probabilities == pytest.approx(alone.probabilities, abs=1e-5)


@pytest.mark.parametrize("kind", ["wordpiece", "byte_level"])
def test_a_tokenizers_own_tokens_in_a_caption_are_text(kind: str) -> None:
    tokenizer = TOKENIZERS[kind]()
    processor = EscnetProcessor(image_processor(), tokenizer)
    caption = f"joy {tokenizer.sep_token} {tokenizer.pad_token} {tokenizer.mask_token} fear"
    for _ in range(2):
        ids = processor.caption_tensors([caption])["caption_ids"][0].tolist()
        plain = processor.caption_tensors(["joy fear"])["caption_ids"][0].tolist()
        for special in (tokenizer.sep_token_id, tokenizer.pad_token_id, tokenizer.mask_token_id):
            assert ids.count(special) == plain.count(special)


@pytest.mark.parametrize("blank", ["", "   ", "\x00\x1b\n", "\u200b"])
def test_a_blank_caption_asks_for_the_models_own(blank: str) -> None:
    model, processor = build_escnet(captioner=attribute_captioner_config())
    predictor = EmotionPredictor(model, processor)
    (own,), (blanked,) = (predictor.predict(random_pictures(1), captions=given) for given in (None, [blank]))
    assert blanked.captions == own.captions and blanked.probabilities == own.probabilities
    model, processor = build_escnet()  # and where there is no captioner, it is none
    (silent,) = EmotionPredictor(model, processor).predict(random_pictures(1), captions=[blank], evidence=True)
    assert silent.captions is None and silent.evidence.caption_words is None


def test_a_blank_caption_given_to_the_model_itself_is_none() -> None:
    model, processor = build_escnet(captioner=attribute_captioner_config())
    for texts in (["", ""], ["", "A dog."]):
        batch = model.gather(processor(images=random_pictures(2), emotion_models="mikels8"), processor, texts)
        output = model(**tensors_of(batch), vision_features=batch["vision_features"])
        fields = model.explain(batch, output, processor, [0, 0])
        assert fields[0] == {"captions": None, "attributes": None, "caption_words": None}
    assert fields[1]["captions"] == ("A dog.",) and [w.text for w in fields[1]["caption_words"]] == ["A", "dog"]


def test_long_captions_are_cut_where_the_encoder_ends() -> None:
    for kind, text in (("wordpiece", {}), ("byte_level", {"model_type": "roberta"})):
        model, processor = build_escnet(tokenizer=TOKENIZERS[kind](), text=text | {"max_position_embeddings": 14})
        assert processor.caption_length == 12
        batch = processor(images=random_pictures(1), captions="fear and joy " * 50, emotion_models="mikels8")
        assert batch["caption_ids"].shape == (1, 12)
        assert batch["caption_ids"][0, -1] == processor.tokenizer.eos_token_id
        assert model(**tensors_of(batch)).logits.isfinite().all()


def test_two_tokenizers_are_saved_and_loaded(tmp_path: Path) -> None:
    words, bytes_ = wordpiece_tokenizer(), byte_level_tokenizer()
    model, processor = build_escnet(
        None, bytes_, blip_config(words), words, text={"model_type": "roberta"}, emotion_models=["ekman7"]
    )
    processor.caption_length = 20
    for part in (model, processor):
        part.save_pretrained(tmp_path)
    loaded = AutoProcessor.from_pretrained(tmp_path)
    assert type(loaded) is EscnetProcessor and loaded.caption_length == 20
    assert loaded.emotion_models == processor.emotion_models
    assert loaded.tokenizer.get_vocab() == bytes_.get_vocab()
    assert loaded.captioner_tokenizer.get_vocab() == words.get_vocab()
    ids = torch.tensor([words("fear and joy")["input_ids"]])
    assert loaded.read_captions(ids) == ["fear and joy"] != processor.tokenizer.batch_decode(ids)
    given = {"images": random_pictures(2), "captions": ["A dog.", "Fear and sadness."]}
    before, after = (tensors_of(part(**given)) for part in (processor, loaded))
    assert before.keys() == after.keys() and all(torch.equal(before[name], after[name]) for name in before)
    assert "_settings" not in (tmp_path / "processor_config.json").read_text(encoding="utf-8")
    first, second = (EmotionPredictor(model, part).predict(random_pictures(2)) for part in (processor, loaded))
    assert [p.captions for p in first] == [p.captions for p in second]


def test_what_a_captioner_writes_is_one_printable_line() -> None:
    processor = EscnetProcessor(image_processor(), byte_level_tokenizer())
    ids = processor.tokenizer("fear\x00\x1b[31m\n and\u202e joy")["input_ids"]
    assert processor.read_captions(torch.tensor([ids])) == ["fear [31m and joy"]
    assert processor.read_captions(torch.tensor([ids[:1]])) == [""]


def test_brightness_and_colour_come_with_the_images() -> None:
    _, processor = build_escnet()
    pictures = random_pictures(2)
    batch = processor(images=pictures)
    assert batch["brightness"] == [brightness(picture) for picture in pictures]
    assert batch["colorfulness"] == [colorfulness(picture) for picture in pictures]
    assert [model.name for model in batch["emotion_models"]] == ["mikels8", "mikels8"]
    assert "caption_ids" not in batch


def test_captions_can_be_written_for_cached_features_alone() -> None:
    model, processor = build_escnet(captioner=attribute_captioner_config())
    batch = processor(images=random_pictures(2), emotion_models="mikels8")
    features = model.get_image_features(batch["pixel_values"])
    bare = processor(emotion_models="mikels8", batch_size=2) | {"vision_features": features}
    gathered = model.gather(bare, processor)
    assert len(gathered["captions"]) == 2 and all(found.brightness is None for found in gathered["attributes"])
    assert gathered["captions"] != model.gather(batch, processor)["captions"], "light and colour were told too"


def test_columns_of_the_classifier_are_those_of_the_emotion_models() -> None:
    _, processor = build_escnet()
    batch = processor(images=random_pictures(3), emotion_models=["sentiment2", "mikels8", "sentiment2"])
    assert batch["candidate_ids"].tolist() == [15, 16, *range(8)]
    assert batch["candidate_mask"].long().tolist() == [[1, 1] + [0] * 8, [0, 0] + [1] * 8, [1, 1] + [0] * 8]
    twin = EmotionModel("feelings", "these", EMOTION_MODELS["mikels8"].emotions)  # the same labels by another name
    assert processor(emotion_models=twin, batch_size=1)["candidate_ids"].tolist() == list(range(8))


def test_labels_lie_on_their_own_columns() -> None:
    _, processor = build_escnet()
    distributions = [np.array([0.25, 0.75]), np.eye(8)[2]]
    batch = processor(captions=["A.", "B."], emotion_models=["sentiment2", "mikels8"], distributions=distributions)
    expected = torch.zeros(2, 10)
    expected[0, :2], expected[1, 4] = torch.tensor([0.25, 0.75]), 1
    assert torch.equal(batch["labels"], expected) and "pixel_values" not in batch


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        ({"emotion_models": ["mikels8", "ekman7"]}, "3 images came with 2 emotion models; give one each, or one."),
        ({"emotion_models": "mikels"}, "There is no emotion model 'mikels'; use one of .*"),
        ({"emotion_models": "plutchik8"}, "This model has no classifier for plutchik8; it has mikels8, .*"),
        ({"emotion_models": ["cosy", "eerie"]}, "This model has no classifier for custom; .*"),
        ({"captions": ["A."]}, "3 images came with 1 captions; give one each."),
        ({"captions": "A."}, "3 images came with 1 captions; give one each."),
        ({"distributions": [np.ones(8) / 8]}, "3 images came with 1 distributions; give one each."),
        ({"distributions": [np.ones(3)] * 3}, "A distribution over mikels8 needs 8 values, not 3."),
        ({"return_tensors": "np"}, "return_tensors is 'np'; .*"),
    ],
)
def test_bad_input_is_one_sentence(arguments: dict[str, Any], sentence: str) -> None:
    _, processor = build_escnet()
    with pytest.raises(DataError, match=f"^{sentence}$"):
        processor(images=random_pictures(3), **arguments)

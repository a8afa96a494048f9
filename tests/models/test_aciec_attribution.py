"""Which words ACIEC's decision comes from, and texts that are classified without an image."""

from typing import Any

import numpy as np
import pytest
import torch
from tiny_parts import TOKENIZERS, build_aciec, random_pictures

from iec_hub.emotions import EMOTION_MODELS
from iec_hub.errors import DataError
from iec_hub.models import AciecForImageEmotion, AciecProcessor
from iec_hub.models.aciec import TextParts
from iec_hub.models.aciec.attribution_aciec import MOST_SHOWN, MOST_WORDS, deciding_words
from iec_hub.predictor import EmotionPredictor

KINDS = {"wordpiece": {}, "byte_level": {"model_type": "roberta", "type_vocab_size": 1}}


def planted(kind: str, **weights: float) -> tuple[AciecForImageEmotion, AciecProcessor]:
    """A model without attention whose first label's logit is the sum of the weights of the words it reads.

    Of a word that is several tokens the last one is charged.
    """
    model, processor = build_aciec(tokenizer=TOKENIZERS[kind](), text=KINDS[kind], emotion_models=["sentiment2"])
    with torch.no_grad():
        for layer in model.text_encoder.encoder.layer:
            for linear in (layer.attention.output.dense, layer.output.dense):
                linear.weight.zero_(), linear.bias.zero_()
        embeddings = model.text_encoder.embeddings
        for table in (embeddings.word_embeddings, embeddings.position_embeddings, embeddings.token_type_embeddings):
            table.weight.zero_()
        # The layer norms turn (a, -a, 0...) into the same, whatever a is: the direction tells the word.
        for place, (word, weight) in enumerate(weights.items()):
            token = processor.tokenizer(f" {word}", add_special_tokens=False)["input_ids"][-1]
            embeddings.word_embeddings.weight[token, 2 * place] = 1.0
            embeddings.word_embeddings.weight[token, 2 * place + 1] = -1.0
            model.emotion_classifier.weight[:, 2 * place] = torch.tensor([weight, 0.0])
        model.emotion_classifier.weight[:, 2 * len(weights) :] = 0
        model.emotion_classifier.weight[:, 1::2] = 0
        model.emotion_classifier.bias.copy_(torch.tensor([3.0, 0.0]))
    return model, processor


def words_of(model: Any, processor: Any, texts: list[TextParts], top: int = 0) -> list[dict[str, float]]:
    batch = processor(texts=texts, emotion_models="sentiment2")
    found = deciding_words(model, processor, batch, texts, [top] * len(texts))
    return [{word.text: word.score for word in item} for item in found]


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("part", range(3))
def test_the_word_that_decides_has_the_top_share(kind: str, part: int) -> None:
    model, processor = planted(kind, awe=50.0, joy=4.0)
    texts = ["dog, joy sky", "A photo of joy.", "see the joy"]
    texts[part] = f"so much awe {texts[part]}"
    (words,) = words_of(model, processor, [TextParts(*texts)])
    assert next(iter(words)) == "awe" and words["awe"] > 0.6
    assert sum(words.values()) <= 1 + 1e-6 and all(share > 0 for share in words.values())
    assert list(words.values()) == sorted(words.values(), reverse=True)


def test_the_same_word_is_one_wherever_it_stands_and_however_it_is_written() -> None:
    model, processor = planted("wordpiece", awe=8.0, joy=8.0)
    (words,) = words_of(model, processor, [TextParts("Awe, dog", "awe and AWE once more, joy", "awe")])
    assert "Awe" in words and not {"awe", "AWE"} & words.keys()
    assert words["Awe"] > 2 * words["joy"]


def test_words_against_the_label_are_left_out_and_speak_for_the_other() -> None:
    model, processor = planted("wordpiece", awe=20.0, joy=-20.0)
    text = [TextParts(sentences="awe joy")]
    assert words_of(model, processor, text) == [{"awe": pytest.approx(1.0)}]
    assert words_of(model, processor, text, top=1) == [{"joy": pytest.approx(1.0)}]


def test_a_share_is_the_drop_of_the_log_probability() -> None:
    model, processor = build_aciec(emotion_models=["sentiment2"])
    parts = TextParts("joy", "fear and awe", "")
    (words,) = words_of(model, processor, [parts])
    ids, spans = processor.lay_out(parts)
    texts, drops = ["joy", "fear", "and", "awe"], {}

    def score(hidden: int | None) -> float:
        mask = torch.tensor([[0 if place == hidden else 1 for place in range(len(ids))]])
        with torch.inference_mode():
            logits = model(input_ids=torch.tensor([ids]), attention_mask=mask).logits
        return logits.log_softmax(-1)[0, 0].item()

    places = [place for place, span in enumerate(spans) if span is not None]
    for text, place in zip(texts, places, strict=True):
        drops[text] = score(None) - score(place)
    total = sum(drop for drop in drops.values() if drop > 0)
    expected = {text: drop / total for text, drop in drops.items() if drop > 0}
    assert words == pytest.approx(expected, abs=1e-4) and expected


@pytest.mark.parametrize("kind", KINDS)
def test_letters_that_are_written_in_bytes_belong_to_their_word(kind: str) -> None:
    model, processor = build_aciec(tokenizer=TOKENIZERS[kind](), text=KINDS[kind], emotion_models=["sentiment2"])
    text, masks = TextParts(sentences="joy жуть"), []
    forward = model.forward
    model.forward = lambda **given: masks.append(given["attention_mask"]) or forward(**given)
    batch = processor(texts=[text], emotion_models="sentiment2")
    deciding_words(model, processor, batch, [text], [0])
    _, spans = processor.lay_out(text)
    own = [place for place, span in enumerate(spans) if span and span[1] < span[2] and span[2] > 4]
    assert not masks[0][2, own].any() and masks[0][2].sum() == len(spans) - len(own)


def test_nothing_decides_in_an_empty_text() -> None:
    model, processor = build_aciec(emotion_models=["sentiment2"])
    assert words_of(model, processor, [TextParts(), TextParts("...", "?!", "--")]) == [{}, {}]


def test_padding_of_other_texts_changes_no_share() -> None:
    model, processor = build_aciec(emotion_models=["sentiment2"])
    short, long = TextParts("joy", "fear awe", ""), TextParts("sadness " * 5, "anger and disgust " * 9, "trust")
    alone = [words_of(model, processor, [text])[0] for text in (short, long)]
    both = words_of(model, processor, [short, long])
    for one, together in zip(alone, both, strict=True):
        assert together == pytest.approx(one, abs=1e-4)


def test_long_texts_are_tried_and_shown_to_a_limit() -> None:
    model, processor = build_aciec(
        text={"max_position_embeddings": 514}, emotion_models=["sentiment2"], text_length=512
    )
    many = " ".join(chr(97 + i // 26) + chr(97 + i % 26) for i in range(200))
    calls, forward = [], model.forward
    model.forward = lambda **given: calls.append(len(given["input_ids"])) or forward(**given)
    batch = processor(texts=[TextParts(sentences=many)], emotion_models="sentiment2")
    (words,) = deciding_words(model, processor, batch, [TextParts(sentences=many)], [0])
    assert sum(calls) == MOST_WORDS + 1 and 0 < len(words) <= MOST_SHOWN
    assert sum(word.score for word in words) <= 1 + 1e-6


def test_mixed_emotion_models_have_their_own_words() -> None:
    model, processor = build_aciec()
    texts = [TextParts(sentences="joy and fear"), TextParts(sentences="awe of sadness")]
    batch = processor(texts=texts, emotion_models=["sentiment2", "mikels8"])
    found = deciding_words(model, processor, batch, texts, [1, 3])
    for text, name, top, words in zip(texts, ("sentiment2", "mikels8"), (1, 3), found, strict=True):
        alone = deciding_words(model, processor, processor(texts=[text], emotion_models=name), [text], [top])[0]
        assert [word.text for word in words] == [word.text for word in alone]
        assert [word.score for word in words] == pytest.approx([word.score for word in alone], abs=1e-4)


@pytest.mark.parametrize("kind", [*KINDS, "unigram"])
def test_texts_are_classified_without_images(kind: str) -> None:
    predictor = EmotionPredictor(*build_aciec(tokenizer=TOKENIZERS[kind](), text=KINDS.get(kind)))
    texts = ["A day of joy.", TextParts("happy dog", "It evokes fear.", "Keep out!"), TextParts(embedded_text="awe")]
    found = predictor.classify_texts(texts, "ekman7", evidence=True, batch_size=2)
    assert [p.labels for p in found] == [EMOTION_MODELS["ekman7"].labels] * 3
    assert len({p.probabilities for p in found}) == 3
    for prediction in found:
        assert prediction.method == "aciec" and sum(prediction.probabilities) == pytest.approx(1)
        assert prediction.evidence.regions is None and prediction.concepts is None and prediction.reasoning is None
        assert sum(word.score for word in prediction.evidence.words) <= 1 + 1e-6
    plain = predictor.classify_texts(texts, "ekman7")
    assert all(prediction.evidence is None for prediction in plain)
    assert np.allclose([p.probabilities for p in plain], [p.probabilities for p in found], atol=1e-6)


def test_texts_are_cleaned_before_they_are_read() -> None:
    predictor = EmotionPredictor(*build_aciec())
    plain, odd = predictor.classify_texts(["joy and fear", "  joy\x00 and\n\n fear\x1b "])
    assert plain.probabilities == odd.probabilities


@pytest.mark.parametrize(
    "text", ["", " \n\x00", None, 5, TextParts(), TextParts(" ", "", "\t"), TextParts("a", 5, None)]
)
def test_what_is_no_text_is_one_sentence(text: Any) -> None:
    predictor = EmotionPredictor(*build_aciec())
    with pytest.raises(DataError, match=r"^A text to classify is blank or no text; [^\n]*\.$"):
        predictor.classify_texts(["joy", text])


def test_a_picture_and_its_words_are_decided_alike() -> None:
    model, processor = build_aciec()
    predictor = EmotionPredictor(model, processor)
    pictures = random_pictures(3)
    seen = predictor.predict(pictures)
    with torch.inference_mode():
        parts = model.gather(processor(images=pictures), processor)["parts"]
    read = predictor.classify_texts(parts)
    assert np.allclose([p.probabilities for p in seen], [p.probabilities for p in read], atol=1e-5)

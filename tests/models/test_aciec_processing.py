"""ACIEC's processor: three sources side by side, cut where they have to be, and nobody's text is a command."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from tiny_parts import TOKENIZERS, build_aciec, image_processor, random_pictures, tensors_of
from transformers import AutoProcessor

from iec_hub.affect.attributes import brightness, colorfulness
from iec_hub.emotions import EMOTION_MODELS, EmotionModel
from iec_hub.errors import DataError
from iec_hub.models import AciecProcessor
from iec_hub.models.aciec import TextParts

PARTS = TextParts("happy dog, joy", "As a whole it evokes fear.", "awe")
HOSTILE = {
    "special": "[SEP] [CLS] [PAD] [MASK] </s> <s> <pad> <mask> fear",
    "lines": "A dog.\r\n\r\n=cmd|' /C calc'!A0\tB",
    "one_word": "a" * 10_000,
    "markup": "<img src=x onerror=alert(1)> & <b>fear</b>",
    "unicode": "\U0001f480 жуть 恐怖 خوف e\u0301",
    "marks": "?!... -- ''",
}


def processor_with(kind: str, **fields: Any) -> AciecProcessor:
    return AciecProcessor(image_processor(), TOKENIZERS[kind](), **fields)


def ids_of(processor: AciecProcessor, text: str) -> list[int]:
    return processor.tokenizer(text, add_special_tokens=False)["input_ids"]


@pytest.mark.parametrize(
    ("kind", "begin", "end"),
    [("wordpiece", "[CLS]", "[SEP]"), ("byte_level", "<s>", "</s>"), ("unigram", "<s>", "</s>")],
)
def test_layout_has_the_marks_of_the_tokenizer(kind: str, begin: str, end: str) -> None:
    processor = processor_with(kind)
    begin, end = processor.tokenizer.convert_tokens_to_ids([begin, end])
    ids, _ = processor.lay_out(PARTS)
    own = [ids_of(processor, part) for part in PARTS]
    assert ids == [begin, *own[0], end, *own[1], end, *own[2], end]


@pytest.mark.parametrize("kind", TOKENIZERS)
def test_empty_sources_keep_their_marks(kind: str) -> None:
    processor = processor_with(kind)
    marks = processor.lay_out(TextParts())[0]
    assert len(marks) == 4 and len(set(marks[1:])) == 1 and processor.lay_out(TextParts())[1] == [None] * 4
    places = []
    for index in range(3):
        ids, spans = processor.lay_out(TextParts(*("joy" if part == index else "" for part in range(3))))
        places.append(next(place for place, span in enumerate(spans) if span is not None))
        assert {span[0] for span in spans if span is not None} == {index}
        assert [i for i, span in zip(ids, spans, strict=True) if span is None] == marks
    assert places == [1, 2, 3]


@pytest.mark.parametrize("kind", TOKENIZERS)
@pytest.mark.parametrize("part", range(3))
def test_spans_are_the_letters_that_a_token_stands_for(kind: str, part: int) -> None:
    processor = processor_with(kind)
    text = "  Fear, and an-other joy's café 恐怖!"
    ids, spans = processor.lay_out(TextParts(*(text if index == part else "" for index in range(3))))
    covered = set()
    for token, span in zip(ids, spans, strict=True):
        if span is None:
            continue
        assert span[0] == part and 0 <= span[1] <= span[2] <= len(text)
        piece = processor.tokenizer.decode([token]).strip().casefold()
        covered |= set(range(*span[1:]))
        if piece.isascii() and piece.isalpha():
            assert text[span[1] : span[2]].strip().casefold() == piece
    assert {place for place, letter in enumerate(text) if letter.isalpha()} <= covered


@pytest.mark.parametrize("kind", TOKENIZERS)
@pytest.mark.parametrize("part", range(3))
def test_marks_in_a_text_are_text(kind: str, part: int) -> None:
    processor = processor_with(kind)
    special = set(processor.tokenizer.all_special_ids) - {processor.tokenizer.unk_token_id}
    texts = [HOSTILE["special"] if index == part else "joy" for index in range(3)]
    for _ in range(2):  # a tokenizer has a state
        ids, spans = processor.lay_out(TextParts(*texts))
        assert sum(token in special for token in ids) == 4
        assert [token in special for token in ids] == [span is None for span in spans]
        if kind != "unigram":  # which knows its marks as words, and reads them as unknown ones
            assert processor.tokenizer.unk_token_id not in ids


@pytest.mark.parametrize("kind", TOKENIZERS)
@pytest.mark.parametrize("name", HOSTILE)
def test_hostile_texts_break_nothing(kind: str, name: str) -> None:
    text = {"model_type": "roberta"} if kind == "byte_level" else {}
    model, processor = build_aciec(tokenizer=TOKENIZERS[kind](), text=text)
    texts = [TextParts(*([HOSTILE[name]] * 3)), TextParts(sentences="joy")]
    with torch.inference_mode():
        both = model(**tensors_of(processor(texts=texts, emotion_models="mikels8"))).logits
        alone = model(**tensors_of(processor(texts=texts[1:], emotion_models="mikels8"))).logits
    assert both.isfinite().all()
    torch.testing.assert_close(both[1], alone[0], atol=1e-5, rtol=1e-4)


@pytest.mark.parametrize(
    ("lengths", "kept"),
    [
        ((5, 10, 5), (5, 10, 5)),
        ((50, 50, 50), (8, 10, 8)),
        ((50, 50, 0), (8, 18, 0)),
        ((0, 50, 50), (0, 18, 8)),
        ((3, 50, 50), (3, 15, 8)),
        ((50, 0, 50), (8, 0, 18)),
        ((50, 4, 50), (8, 4, 14)),
        ((0, 0, 50), (0, 0, 26)),
        ((50, 0, 0), (26, 0, 0)),
        ((50, 10, 2), (14, 10, 2)),
    ],
)
def test_what_is_too_long_keeps_its_share(lengths: tuple[int, ...], kept: tuple[int, ...]) -> None:
    """30 tokens, of which 4 are marks: a third of the other 26 are 8."""
    processor = processor_with("wordpiece", text_length=30)
    words = ("joy", "fear", "awe")
    ids, spans = processor.lay_out(
        TextParts(*(" ".join([word] * length) for word, length in zip(words, lengths, strict=True)))
    )
    assert tuple(sum(span is not None and span[0] == part for span in spans) for part in range(3)) == kept
    assert len(ids) == len(spans) == 4 + sum(kept) <= 30
    for word, count in zip(words, kept, strict=True):
        assert ids.count(processor.tokenizer.convert_tokens_to_ids(word)) == count


def test_no_text_is_longer_than_the_encoder_reads() -> None:
    for kind, text in (("wordpiece", {}), ("byte_level", {"model_type": "roberta"})):
        model, processor = build_aciec(tokenizer=TOKENIZERS[kind](), text=text | {"max_position_embeddings": 20})
        assert processor.text_length == 18
        batch = processor(texts=[TextParts(*["fear and joy " * 50] * 3)], emotion_models="mikels8")
        assert batch["input_ids"].shape == (1, 18)
        assert model(**tensors_of(batch)).logits.isfinite().all()
    _, processor = build_aciec(text_length=12)
    assert processor.text_length == 12


def test_padding_is_on_the_right() -> None:
    processor = processor_with("byte_level")
    batch = processor.text_tensors([PARTS, TextParts("joy")])
    ids, mask = batch["input_ids"], batch["attention_mask"]
    short = len(processor.lay_out(TextParts("joy"))[0])
    assert ids.shape == mask.shape and mask[0].all()
    assert mask[1].tolist() == [1] * short + [0] * (ids.shape[1] - short)
    assert (ids[1, short:] == processor.tokenizer.pad_token_id).all()


def test_the_processor_is_saved_and_loaded(tmp_path: Path) -> None:
    model, processor = build_aciec(emotion_models=["ekman7"], text_length=20)
    for part in (model, processor):
        part.save_pretrained(tmp_path)
    loaded = AutoProcessor.from_pretrained(tmp_path)
    assert type(loaded) is AciecProcessor and loaded.text_length == 20
    assert [model["name"] for model in loaded.emotion_models] == ["ekman7"]
    assert loaded.lay_out(PARTS) == processor.lay_out(PARTS)
    assert "concepts" not in (tmp_path / "processor_config.json").read_text(encoding="utf-8")


def test_images_come_with_their_light_and_colours() -> None:
    _, processor = build_aciec()
    pictures = random_pictures(2)
    batch = processor(images=pictures)
    assert batch["images"] == pictures and batch["pixel_values"].shape == (2, 3, 32, 32)
    assert batch["brightness"] == [brightness(picture) for picture in pictures]
    assert batch["colorfulness"] == [colorfulness(picture) for picture in pictures]
    assert batch["emotion_models"] == [EMOTION_MODELS["mikels8"]] * 2 and "input_ids" not in batch
    assert processor(images=pictures[0])["pixel_values"].shape == (1, 3, 32, 32)


def test_columns_and_labels_are_those_of_the_emotion_models() -> None:
    _, processor = build_aciec()
    rows = [np.array([0.25, 0.75]), np.eye(8)[2]]
    batch = processor(texts=[PARTS] * 2, emotion_models=["sentiment2", "mikels8"], distributions=rows)
    assert batch["candidate_ids"].tolist() == [15, 16, *range(8)]
    assert batch["candidate_mask"].long().tolist() == [[1, 1] + [0] * 8, [0, 0] + [1] * 8]
    expected = torch.zeros(2, 10)
    expected[0, :2], expected[1, 4] = torch.tensor([0.25, 0.75]), 1
    assert torch.equal(batch["labels"], expected) and "pixel_values" not in batch
    twin = EmotionModel("feelings", "these", EMOTION_MODELS["mikels8"].emotions)  # the same labels by another name
    assert processor(emotion_models=twin, batch_size=1)["candidate_ids"].tolist() == list(range(8))


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        ({"emotion_models": ["mikels8", "ekman7"]}, "3 images came with 2 emotion models; give one each, or one."),
        ({"emotion_models": "mikels"}, "There is no emotion model 'mikels'; use one of .*"),
        ({"emotion_models": "plutchik8"}, "This model has no classifier for plutchik8; it has mikels8, .*"),
        ({"texts": [PARTS]}, "3 images came with 1 texts; give one each."),
        ({"distributions": [np.ones(8) / 8]}, "3 images came with 1 distributions; give one each."),
        ({"distributions": [np.ones(3)] * 3}, "A distribution over mikels8 needs 8 values, not 3."),
        ({"return_tensors": "np"}, "return_tensors is 'np'; .*"),
        ({"images": None, "do_resize": False}, "Without images the argument 'do_resize' means nothing; .*"),
    ],
)
def test_bad_input_is_one_sentence(arguments: dict[str, Any], sentence: str) -> None:
    _, processor = build_aciec()
    with pytest.raises(DataError, match=f"^{sentence}$"):
        processor(**({"images": random_pictures(3)} | arguments))

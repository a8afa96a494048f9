"""UGRIE's processor: templates, label words and tokenizers."""

from pathlib import Path

import numpy as np
import pytest
import torch
from tiny_parts import TOKENIZERS, build_ugrie, image_processor, random_pictures, tensors_of, wordpiece_tokenizer
from tokenizers import normalizers
from transformers import AutoProcessor

from iec_hub.emotions import EMOTION_MODELS, Emotion, EmotionModel
from iec_hub.errors import DataError
from iec_hub.models import UgrieProcessor

OWN = EmotionModel("moods", "moods", (Emotion("warm", ("joy", "trust"), "positive"), Emotion("cold", ("fear",))))


@pytest.mark.parametrize("kind", TOKENIZERS)
def test_prompt_and_candidate_are_the_tokens_of_the_whole_sentence(kind: str) -> None:
    """A candidate scored with other tokens than the sentence has would be scored as a misspelling."""
    tokenizer = TOKENIZERS[kind]()
    processor = UgrieProcessor(image_processor(), tokenizer)
    begins = [tokenizer.bos_token_id] if kind != "unigram" else []
    for model in EMOTION_MODELS.values():
        batch = processor(emotion_models=model, batch_size=1)
        prompt = batch["decoder_input_ids"][0].tolist()
        assert prompt[: 1 + len(begins)] == [tokenizer.eos_token_id, *begins]
        rows = zip(batch["candidate_ids"], batch["candidate_attention_mask"], strict=True)
        for index, (ids, mask) in enumerate(rows):
            whole = tokenizer(processor.fill_template(model, index), add_special_tokens=False)["input_ids"]
            written = prompt[1 + len(begins) :] + ids[mask.bool()].tolist()
            assert whole[: len(written)] == written
            assert tokenizer.unk_token_id not in written
        template = batch["input_ids"][0].tolist()
        assert template.count(tokenizer.mask_token_id) == 1 and template[-1] == tokenizer.eos_token_id


def test_templates_and_label_words_come_from_the_configuration(tmp_path: Path) -> None:
    templates = {"moods": "{emotion_model}: I feel {emotion} now.", "default": "It looks {emotion}!"}
    model, processor = build_ugrie(emotion_models=[OWN, "ekman6"], templates=templates)
    assert processor.fill_template("moods", 0) == "moods: I feel joy or trust now."
    assert processor.fill_template("ekman6", 3) == "It looks ecstasy, joy, or serenity!"
    words = processor.tokenizer.batch_decode(processor(emotion_models="moods", batch_size=1)["candidate_ids"])
    assert [text.replace("[PAD]", "").strip() for text in words] == ["joy or trust", "fear"]
    assert processor.resolve_emotion_model(None) == OWN

    for part in (model, processor):
        part.save_pretrained(tmp_path)
    loaded = AutoProcessor.from_pretrained(tmp_path)
    assert type(loaded) is UgrieProcessor and loaded.templates == processor.templates
    assert loaded.fill_template("moods", 0) == "moods: I feel joy or trust now."
    assert loaded.decoder_start_token_id == processor.decoder_start_token_id
    before, after = (
        part(images=random_pictures(2), emotion_models=["moods", "ekman6"]) for part in (processor, loaded)
    )
    assert all(torch.equal(after[name], tensor) for name, tensor in tensors_of(before).items())
    assert before["emotion_models"] == after["emotion_models"]


def test_adopting_a_configuration_forgets_the_old_templates() -> None:
    model, processor = build_ugrie()
    old = processor(emotion_models="mikels8", batch_size=1)["input_ids"]
    model.config.templates = {"default": "Feel {emotion}."}
    new = processor.adopt(model.config)(emotion_models="mikels8", batch_size=1)["input_ids"]
    assert new.shape[1] < old.shape[1]


def test_a_mixed_batch_says_which_candidates_are_whose() -> None:
    _, processor = build_ugrie()
    twin = EmotionModel("mikels8", "Mikels' emotions", EMOTION_MODELS["mikels8"].emotions, "elsewhere")
    batch = processor(images=random_pictures(3), emotion_models=["sentiment2", "mikels8", "sentiment2"])
    assert batch["pixel_values"].shape == (3, 3, 32, 32)
    assert batch["candidate_ids"].shape[0] == 10
    assert batch["candidate_mask"].long().tolist() == [[1, 1] + [0] * 8, [0, 0] + [1] * 8, [1, 1] + [0] * 8]
    same = processor(
        emotion_models=[EMOTION_MODELS["mikels8"], EmotionModel.from_dict(EMOTION_MODELS["mikels8"].to_dict())]
    )
    assert same["candidate_mask"].all() and same["candidate_mask"].shape == (2, 8)
    two = processor(emotion_models=[EMOTION_MODELS["mikels8"], twin])
    assert two["candidate_mask"].sum(1).tolist() == [8, 8] and two["candidate_mask"].shape == (2, 16)


def test_own_labels_as_a_plain_list_serve_all_images() -> None:
    _, processor = build_ugrie()
    batch = processor(images=random_pictures(2), emotion_models=["cosy", "eerie", "grim"])
    assert batch["candidate_mask"].shape == (2, 3) and batch["emotion_models"][0].labels == ("cosy", "eerie", "grim")


def test_labels_lie_on_their_own_candidates() -> None:
    _, processor = build_ugrie()
    distributions = [np.array([0.25, 0.75]), np.eye(8)[2]]
    batch = processor(emotion_models=["sentiment2", "mikels8"], distributions=distributions)
    expected = torch.zeros(2, 10)
    expected[0, :2], expected[1, 4] = torch.tensor([0.25, 0.75]), 1
    assert torch.equal(batch["labels"], expected) and "pixel_values" not in batch


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        ({"emotion_models": ["mikels8", "ekman7"]}, "3 images came with 2 emotion models; give one each, or one."),
        ({"emotion_models": "mikels"}, "There is no emotion model 'mikels'; use one of .*"),
        ({"distributions": [np.ones(8) / 8]}, "3 images came with 1 distributions; give one each."),
        ({"distributions": [np.ones(3)] * 3}, "A distribution over mikels8 needs 8 values, not 3."),
        ({"return_tensors": "np"}, "return_tensors is 'np'; .*"),
    ],
)
def test_bad_input_is_one_sentence(arguments: dict, sentence: str) -> None:
    _, processor = build_ugrie()
    with pytest.raises(DataError, match=f"^{sentence}$"):
        processor(images=random_pictures(3), **arguments)


def test_a_label_that_a_tokenizer_would_read_as_its_own_is_refused() -> None:
    _, processor = build_ugrie(tokenizer=TOKENIZERS["byte_level"]())
    for label in ("<mask>", "joy</s>"):
        with pytest.raises(DataError, match="'<' or '>'"):
            processor(images=random_pictures(1), emotion_models=["fear", label])


def test_a_label_without_readable_words_is_refused() -> None:
    tokenizer = wordpiece_tokenizer()
    backend = tokenizer.backend_tokenizer
    backend.normalizer = normalizers.Sequence([normalizers.Replace("\u3042", ""), backend.normalizer])
    processor = UgrieProcessor(image_processor(), tokenizer)
    with pytest.raises(DataError, match="^The label '\u3042' has no words that the model can read; .*[.]$"):
        processor(emotion_models=["joy", "\u3042"], batch_size=1)


def test_kept_texts_do_not_grow_without_end() -> None:
    _, processor = build_ugrie()
    for number in range(150):
        processor(emotion_models=EmotionModel.from_labels([f"a{number}", "b"]), batch_size=1)
    assert len(processor._texts) <= 64

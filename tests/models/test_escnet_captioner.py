"""Who writes ESCNet's captions, how often the image is looked at for them, and the words that people are shown."""

from typing import Any

import pytest
import torch
from tiny_parts import (
    TOKENIZERS,
    attribute_captioner_config,
    blip_config,
    build_escnet,
    encoder_decoder_config,
    git_config,
    random_pictures,
    tensors_of,
    wordpiece_tokenizer,
)
from torch import nn

from iec_hub.affect.hedging import imagenet_hierarchy
from iec_hub.errors import DataError
from iec_hub.models.escnet import AttributeCaptioner, AttributeCaptionerConfig
from iec_hub.models.escnet.captioner_escnet import generate_ids
from iec_hub.models.escnet.words_escnet import caption_words
from iec_hub.models.image_emotion import region_evidence
from iec_hub.predictor import EmotionPredictor

TOWERS = {
    "attributes": ("clip", attribute_captioner_config),
    "blip_shared": (None, lambda: blip_config(wordpiece_tokenizer())),
    "blip_beside": ("resnet", lambda: blip_config(wordpiece_tokenizer())),
    "git": ("clip", lambda: git_config(wordpiece_tokenizer())),
    "encoder_decoder": ("clip", lambda: encoder_decoder_config(wordpiece_tokenizer())),
}
SHORT = {"caption_generation": {"max_new_tokens": 6, "num_beams": 2}}


def build(kind: str, **fields: Any) -> tuple[Any, Any]:
    tower, captioner = TOWERS[kind]
    return build_escnet(tower, captioner=captioner(), **(SHORT | fields))


@pytest.mark.parametrize("evidence", [False, True], ids=["plain", "evidence"])
@pytest.mark.parametrize("kind", ["attributes", "blip_shared"])
def test_an_image_is_looked_at_once(kind: str, evidence: bool) -> None:
    model, processor = build(kind)
    predictor, looks = EmotionPredictor(model, processor), []
    model.vision_model.register_forward_hook(lambda *_: looks.append(1))
    predictions = predictor.predict(random_pictures(3), evidence=evidence)
    assert len(looks) == 1
    assert all((p.evidence.regions is not None) == evidence for p in predictions if p.evidence)
    assert predictor.predict(random_pictures(5), batch_size=2, captions=[None, "A dog.", "A cat.", "A boat.", None])
    assert len(looks) == 1 + 3


@pytest.mark.parametrize("kind", TOWERS)
def test_any_captioner_writes_and_what_it_writes_is_read(kind: str) -> None:
    model, processor = build(kind)
    pictures = random_pictures(4)
    batch = processor(images=pictures, emotion_models="mikels8")
    with torch.inference_mode():
        gathered = model.gather(batch, processor)
        again = model.gather(batch, processor)
    texts = gathered["captions"]
    assert texts == again["captions"] and len(texts) == 4 and any(texts)
    assert not any(token in text for text in texts for token in processor.tokenizer.all_special_tokens)
    assert all(text == " ".join(text.split()) for text in texts)
    expected = processor.caption_tensors(texts)
    assert all(torch.equal(gathered[name], tensor) for name, tensor in expected.items())
    told = EmotionPredictor(model, processor)
    own, given = told.predict(pictures), told.predict(pictures, captions=texts)
    for first, second in zip(own, given, strict=True):
        assert first.probabilities == pytest.approx(second.probabilities, abs=1e-5)
        assert first.captions == second.captions
    one = [told.predict([picture])[0].captions for picture in pictures]
    assert one == [prediction.captions for prediction in own]


def test_blip_writes_the_same_from_what_the_classifier_has_seen() -> None:
    model, processor = build("blip_shared")
    pixels = processor(images=random_pictures(4))["pixel_values"]
    with torch.inference_mode():
        for settings in ({"num_beams": 1}, {"num_beams": 3}):
            seen = model.get_image_features(pixels)
            ids = generate_ids(model.captioner, pixels, seen, max_new_tokens=8, **settings)
            assert torch.equal(ids, model.captioner.generate(pixel_values=pixels, max_new_tokens=8, **settings))
            assert torch.equal(ids, generate_ids(model.captioner, None, seen, max_new_tokens=8, **settings))
            assert len({tuple(row) for row in ids.tolist()}) > 1, "the picture has to matter"
        end, head = model.captioner.config.text_config.sep_token_id, model.captioner.text_decoder.cls.predictions
        head.bias[end] += 20  # a sentence ends where its end is written, here at once
        short = generate_ids(model.captioner, pixels, model.get_image_features(pixels), max_new_tokens=8)
        assert torch.equal(short, model.captioner.generate(pixel_values=pixels, max_new_tokens=8))
        assert short.shape == (4, 2) and (short[:, 1] == end).all()
        head.bias[end] -= 20
        with torch.enable_grad():
            seen = model.get_image_features(pixels.requires_grad_(), evidence=True)
        assert torch.equal(ids, generate_ids(model.captioner, None, seen, max_new_tokens=8, **settings))


@pytest.mark.parametrize("captioner", [git_config, blip_config, encoder_decoder_config])
def test_a_captioner_of_another_size_sees_the_image_resized(captioner: Any) -> None:
    model, processor = build_escnet(captioner=captioner(wordpiece_tokenizer(), image_size=48), **SHORT)
    pixels = processor(images=random_pictures(2))["pixel_values"]
    assert pixels.shape[-1] == 32
    large = nn.functional.interpolate(pixels, (48, 48), mode="bicubic", align_corners=False, antialias=True)
    with torch.inference_mode():
        ids = generate_ids(model.captioner, pixels, None, max_new_tokens=5)
        assert torch.equal(ids, model.captioner.generate(pixel_values=large, max_new_tokens=5))
        gathered = model.gather(processor(images=random_pictures(2)), processor)
    assert len(gathered["captions"]) == 2


def test_a_generator_without_images_is_one_sentence() -> None:
    model, processor = build("git")
    features = model.get_image_features(processor(images=random_pictures(1))["pixel_values"])
    with pytest.raises(DataError, match=r"^A captioner of type 'git' needs images; give pixel_values\.$"):
        model.generate_caption(processor, vision_features=features)


def test_captions_are_generated_only_where_none_is_given() -> None:
    model, processor = build("blip_shared")
    batch, seen = processor(images=random_pictures(3), emotion_models="mikels8"), []
    with torch.inference_mode():
        own = model.gather(batch, processor)["captions"]
        decoder = model.captioner.text_decoder
        handle = decoder.register_forward_hook(lambda *_: seen.append(1))
        mixed = model.gather(batch, processor, [None, "A red boat.", None])["captions"]
        assert mixed == [own[0], "A red boat.", own[2]] and seen
        seen.clear()
        given = processor(images=random_pictures(3), captions=["A.", "B.", "C."])
        assert model.gather(given, processor)["captions"] == ["A.", "B.", "C."]
        assert not seen
        handle.remove()
    with pytest.raises(DataError, match=r"^3 images came with 2 captions; give one each, or None\.$"):
        model.gather(batch, processor, ["A.", "B."])


def test_without_a_captioner_the_image_speaks_alone_or_with_what_is_given() -> None:
    model, processor = build_escnet()
    predictor = EmotionPredictor(model, processor)
    (prediction,) = predictor.predict(random_pictures(1), evidence=True)
    assert prediction.captions is None and prediction.attributes is None
    assert prediction.evidence.caption_words is None and prediction.evidence.regions is not None
    (told,) = predictor.predict(random_pictures(1), captions=["An old man is sad."])
    assert told.captions == ("An old man is sad.",) and told.probabilities != prediction.probabilities
    mixed = predictor.predict(random_pictures(2), captions=[None, "An old man is sad."])
    assert mixed[0].probabilities == pytest.approx(prediction.probabilities, abs=1e-5)
    with pytest.raises(DataError, match=r"^This model has no captioner; [^\n]*\.$"):
        model.generate_caption(processor, torch.zeros(1, 3, 32, 32))


def sure_captioner(**fields: Any) -> AttributeCaptioner:
    """Detects label i where channel i of the pooled image is positive."""
    torch.manual_seed(0)
    captioner = AttributeCaptioner(AttributeCaptionerConfig(**(attribute_captioner_config(8) | fields))).eval()
    nn.init.zeros_(captioner.detector.bias)
    nn.init.eye_(captioner.detector.weight)
    return captioner


def test_the_captioner_tells_what_reaches_its_threshold() -> None:
    captioner = sure_captioner()
    pooled = torch.full((2, 8), -3.0)
    pooled[0, [0, 3]] = torch.tensor([2.0, 1.0])  # dog, beach
    pooled[1, [0, 1, 2]] = torch.tensor([0.5, 3.0, 1.0])
    first, second = captioner.describe(pooled, [0.1, None], [0.4, None])
    assert [tag.label for tag in first.tags] == ["dog", "beach"]
    assert first.tags[0].confidence == pytest.approx(torch.tensor(2.0).sigmoid().item(), abs=1e-4)
    assert (first.brightness, second.brightness, first.colorfulness) == (0.1, None, 0.4)
    assert [tag.label for tag in second.tags] == ["tree", "boat", "dog"]
    sentences = captioner.captions(pooled, [first, second], [None, None])
    assert "dog" in sentences[0] and "beach" in sentences[0] and "tree" not in sentences[0]
    assert sentences == captioner.captions(pooled, captioner.describe(pooled, [0.1, None], [0.4, None]), [None] * 2)
    few = sure_captioner(most_objects=1)
    assert [tag.label for tag in few.describe(pooled, [None] * 2, [None] * 2)[1].tags] == ["tree"]
    labels = [entry | {"threshold": 0.9} for entry in captioner.config.labels]
    assert [tag.label for tag in sure_captioner(labels=labels).describe(pooled, [None] * 2, [None] * 2)[0].tags] == []


def test_the_surest_guess_stands_in_where_nothing_is_told() -> None:
    labels = [entry | {"threshold": 0.9, "guess": 0.6} for entry in attribute_captioner_config()["labels"]]
    captioner = sure_captioner(labels=labels)
    pooled = torch.full((3, 8), -3.0)
    pooled[0, [0, 3]] = torch.tensor([0.7, 1.0])  # dog, beach: neither is sure
    pooled[1, [0, 3]] = torch.tensor([3.0, 1.0])  # dog is
    told = captioner.describe(pooled, [None] * 3, [None] * 3)
    assert [[tag.label for tag in found.tags] for found in told] == [["beach"], ["dog"], []]
    assert told[0].tags[0].source != told[1].tags[0].source == "detector"


def test_a_special_name_makes_the_general_one_unnecessary() -> None:
    labels = [
        {"label": "dog", "attribute": "object", "threshold": 0.5, "implies": ["animal"]},
        {"label": "animal", "attribute": "object", "threshold": 0.5},
    ]
    captioner = sure_captioner(labels=labels)
    both, general = captioner.describe(
        torch.tensor([[1.0, 3.0], [-1.0, 3.0]]) @ torch.eye(2, 8), [None] * 2, [None] * 2
    )
    assert [tag.label for tag in both.tags] == ["dog"] and [tag.label for tag in general.tags] == ["animal"]


def test_the_classifiers_names_join_the_detectors() -> None:
    hierarchy = imagenet_hierarchy("imagenet")
    captioner = sure_captioner(classifier_size=8, classifier_minimum=0.5)
    nn.init.zeros_(captioner.classifier.weight)
    nn.init.constant_(captioner.classifier.bias, -20.0)
    captioner.classifier.bias.data[1] = 20.0
    (found,) = captioner.describe(torch.full((1, 8), -3.0), [None], [None])
    assert [tag.source for tag in found.tags] == ["imagenet"]
    assert hierarchy.members[1, hierarchy.names.index(found.tags[0].label)]


def test_an_emotion_ends_the_caption_only_where_that_is_wanted() -> None:
    captioner = sure_captioner(emotions=["fear", "awe"])
    nn.init.zeros_(captioner.emotion_head.bias)
    nn.init.eye_(captioner.emotion_head.weight)
    pooled = torch.eye(2, 8)
    assert captioner.emotion_words(pooled) == ["fear", "awe"]
    sentences = captioner.captions(pooled, captioner.describe(pooled, [None] * 2, [None] * 2), [None] * 2)
    assert "fear" in sentences[0] and "awe" in sentences[1]
    assert sure_captioner().emotion_words(pooled) == [None, None]


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16], ids=["fp16", "bf16"])
@pytest.mark.parametrize("kind", ["attributes", "blip_shared"])
def test_half_precision_checkpoints_write_and_predict(kind: str, dtype: torch.dtype, tmp_path: Any) -> None:
    norm = {"feature_norm": "power"} if kind == "attributes" else {}
    tower, captioner = TOWERS[kind]
    extra = norm | ({"classifier_size": 32, "emotions": ["fear", "awe"]} if norm else {})
    for part in build_escnet(tower, captioner=captioner() | extra, **(SHORT | norm)):
        part.save_pretrained(tmp_path)
    exact, half = (
        EmotionPredictor.from_pretrained(tmp_path, device="cpu", dtype=kind) for kind in (torch.float32, dtype)
    )
    captions = ["A dog."] * 2
    for prediction in half.predict(random_pictures(2), evidence=True):
        assert prediction.evidence.regions.max() <= 1
    for first, second in zip(
        *(predictor.predict(random_pictures(2), captions=captions) for predictor in (exact, half)), strict=True
    ):
        assert first.probabilities == pytest.approx(second.probabilities, abs=0.05)


def words_of(kind: str, caption: str, length: int = 64) -> tuple[Any, ...]:
    """Words of a caption whose token i has gate i / 100 and looks at place i."""
    tokenizer = TOKENIZERS[kind]()
    ids = tokenizer(caption, truncation=True, max_length=length)["input_ids"]
    places = len(ids) + len(ids) % 2
    gates = torch.arange(len(ids)) / 100
    return caption_words(caption, tokenizer, torch.tensor(ids), gates, torch.eye(len(ids), places), (2, places // 2))


@pytest.mark.parametrize("kind", TOKENIZERS)
@pytest.mark.parametrize(
    ("caption", "expected"),
    [
        ("An old man.", ["An", "old", "man"]),
        ("A café in Zürich, naïve", ["A", "café", "in", "Zürich", "naïve"]),
        ("It's a so-called joy!", ["It's", "a", "so-called", "joy"]),
        ("  two   spaces ", ["two", "spaces"]),
        ("人々の喜び and fear", ["人々の喜び", "and", "fear"]),
        ("🙂 joy 🙂🙂 fear", ["joy", "fear"]),
        ("<script>alert(1)</script>", ["script", "alert", "1", "script"]),
    ],
)
def test_words_stand_where_they_stand_in_the_caption(kind: str, caption: str, expected: list[str]) -> None:
    words = words_of(kind, caption)
    assert [word.text for word in words] == expected
    assert all(caption[word.start : word.end] == word.text for word in words)
    saliences = [word.salience for word in words]
    assert saliences == sorted(set(saliences)) and saliences[0] >= 0 and saliences[-1] <= 1
    for word in words:
        assert word.regions.min() >= 0 and 0 < word.regions.max() <= 1
        assert word.regions.ravel()[round(100 * word.salience)] > 0  # its last token's own place


@pytest.mark.parametrize("kind", TOKENIZERS)
def test_words_that_were_cut_off_are_left_out(kind: str) -> None:
    caption = " ".join(["joy"] * 40)
    whole, cut = words_of(kind, caption), words_of(kind, caption, length=12)
    assert len(whole) == 40 and 0 < len(cut) < 13
    assert [word.start for word in cut] == [word.start for word in whole[: len(cut)]]


def test_a_words_tokens_are_taken_together() -> None:
    words = words_of("wordpiece", "fear xyz")  # [CLS] fear x ##y ##z [SEP]
    assert [word.salience for word in words] == pytest.approx([0.01, 0.04])
    # Six times as much as at the average place is more than four times, which is full strength; twice is a third.
    assert words[0].regions.ravel().tolist() == [0, 1, 0, 0, 0, 0]
    assert words[1].regions.ravel().tolist() == pytest.approx([0, 0, 1 / 3, 1 / 3, 1 / 3, 0])


def test_marks_beside_a_word_are_not_its_own() -> None:
    (first, second) = words_of("wordpiece", "(fear(joy)!")  # [CLS] ( fear ( joy ) ! [SEP]
    assert [int(word.regions.sum()) for word in (first, second)] == [1, 1]
    assert [int(word.regions.argmax()) for word in (first, second)] == [2, 4]


def test_a_word_that_looks_everywhere_or_nowhere_points_at_nothing() -> None:
    tokenizer, gates = wordpiece_tokenizer(), torch.full((3,), 0.5)
    ids = torch.tensor(tokenizer("fear")["input_ids"])
    for attention in (torch.full((3, 16), 1 / 16), torch.zeros(3, 16)):
        (word,) = caption_words("fear", tokenizer, ids, gates, attention, (4, 4))
        assert word.regions.shape == (4, 4) and word.regions.max() < 1e-6


def test_a_word_that_is_hardly_found_is_shown_faintly() -> None:
    tokenizer, gates = wordpiece_tokenizer(), torch.full((3,), 0.5)
    ids = torch.tensor(tokenizer("fear")["input_ids"])
    attention = torch.zeros(3, 16)
    attention[:, 5] = 0.05
    (word,) = caption_words("fear", tokenizer, ids, gates, attention, (4, 4))
    assert word.regions.max() == pytest.approx(0.05) and word.regions.argmax() == 5


def test_caption_words_of_a_prediction_are_the_models_own_gates() -> None:
    model, processor = build("attributes")
    caption = "An old man makes people feel fear."
    batch = processor(images=random_pictures(2), captions=["A.", caption], emotion_models="mikels8")
    with torch.inference_mode():
        output = model(**tensors_of(batch))
    predictor = EmotionPredictor(model, processor)
    words = predictor.predict(random_pictures(2), captions=["A.", caption], evidence=True)[1].evidence.caption_words
    tokens = processor.tokenizer.convert_ids_to_tokens(batch["caption_ids"][1])
    place = tokens.index("fear")
    assert [word.text for word in words] == caption.strip(".").split()
    assert words[-1].salience == pytest.approx(output.word_gates[1, place].item(), abs=1e-5)
    looked = output.word_attention[1, place].reshape(4, 4)
    shown = ((looked / looked.mean() - 1) / 3).clamp(0, 1) * looked.sum()
    assert shown.any()
    torch.testing.assert_close(torch.tensor(words[-1].regions).float(), shown, atol=1e-4, rtol=1e-3)


@pytest.mark.parametrize("kind", ["attributes", "blip_shared"])
def test_evidence_is_of_the_image_with_its_caption(kind: str) -> None:
    """Another caption asks for other regions: the gradient runs through the fusion."""
    model, processor = build(kind)
    regions = []
    for caption in ("A dog.", "Fear and sadness of an old man."):
        batch = tensors_of(processor(images=random_pictures(1), captions=[caption], emotion_models="mikels8"))
        features = model.get_image_features(batch.pop("pixel_values").requires_grad_(), evidence=True)
        score = model(**batch, vision_features=features).logits.log_softmax(-1)[:, 2]
        regions.append(region_evidence(score, features))
    assert regions[0].shape == (1, 4, 4) and not torch.allclose(*regions, atol=1e-3)

"""Words learn where they are from which captions tell them."""

import torch

from iec_hub.finetuning.trainer import EmotionTrainingArguments
from iec_hub.finetuning.training_data import ImageSource
from iec_hub.finetuning.word_grounding import (
    CaptionedPlaces,
    PlacesAndCaptions,
    WordGrounding,
    captioned_places,
    ground_words,
    named_places,
)
from tests.finetuning.test_escnet_start import EKMAN
from tests.models.tiny_parts import build_escnet

# The tiny tokenizer knows these whole.
WORDS = ("fear", "awe", "joy", "anger")


def images(width: int, number: int = 192) -> PlacesAndCaptions:
    """Each image shows one of four things at one of nine places; its caption names it."""
    generator = torch.Generator().manual_seed(0)
    looks = 3 * torch.nn.functional.normalize(torch.randn(len(WORDS), width, generator=generator), dim=-1)
    items = []
    for i in range(number):
        places = 0.1 * torch.randn(1, 9, width, generator=generator)
        places[0, (5 * i) % 9] += looks[i % len(WORDS)]
        items.append(CaptionedPlaces(places, [f"A {WORDS[i % len(WORDS)]}."]))
    return PlacesAndCaptions(items)


def looked_at(model, processor, data) -> float:
    """How much of what a word's attention finds in the image lies where the thing is."""
    shares = []
    for i, item in enumerate(data.items):
        places, captions = item.places, item.captions
        batch = processor(emotion_models=EKMAN, captions=captions)
        pooled = torch.zeros(1, model.image_classifier.in_features)
        output = model(
            caption_ids=batch["caption_ids"],
            caption_attention_mask=batch["caption_attention_mask"],
            pooled_features=pooled,
            token_features=places,
        )
        word = processor.tokenizer(captions[0])["input_ids"].index(
            processor.tokenizer(WORDS[i % len(WORDS)], add_special_tokens=False)["input_ids"][0]
        )
        attention = output.word_attention[0, word]
        shares.append(float(attention[(5 * i) % 9] / attention.sum()))
    return sum(shares) / len(shares)


def test_words_learn_to_look_at_what_they_name(tmp_path) -> None:
    model, processor = build_escnet()
    data = images(model.fusion.image_input.in_features)
    before = {name: tensor.clone() for name, tensor in model.state_dict().items()}
    with torch.no_grad():
        first = looked_at(model, processor, data)
    arguments = EmotionTrainingArguments(str(tmp_path), use_cpu=True, warmup_steps=2, disable_tqdm=True)
    log = ground_words(model, processor, data, 60, arguments, learning_rate=1e-2)
    model.eval()
    with torch.no_grad():
        assert looked_at(model, processor, data) > max(0.6, 2 * first)
    assert log[-1]["loss"] < log[0]["loss"]
    changed = {name for name, tensor in model.state_dict().items() if not torch.equal(tensor, before[name])}
    assert {name.split(".")[1] for name in changed} == {"image_input", "image_norm", "words_to_image"}


def test_words_that_are_not_there_are_found_nowhere(tmp_path) -> None:
    model, processor = build_escnet()
    data = images(model.fusion.image_input.in_features)
    arguments = EmotionTrainingArguments(str(tmp_path), use_cpu=True, warmup_steps=2, disable_tqdm=True)
    ground_words(model, processor, data, 60, arguments, learning_rate=1e-2)
    model.eval()
    fearful = torch.cat([item.places for item in data.items[:: len(WORDS)]])
    found = {}
    for word in ("fear", "joy"):
        batch = processor(emotion_models=EKMAN, captions=[f"A {word}."] * len(fearful))
        tensors = {name: value for name, value in batch.items() if torch.is_tensor(value)}
        pooled = torch.zeros(len(fearful), model.image_classifier.in_features)
        with torch.no_grad():
            attention = model(**tensors, pooled_features=pooled, token_features=fearful).word_attention
        found["a"], found[word] = attention.sum(-1)[:, 1:3].mean(0)
    assert found["fear"] > 0.6
    assert found["joy"] < found["fear"] - 0.2 and found["a"] < found["fear"] - 0.4


def test_a_batch_that_tells_nothing_has_a_loss() -> None:
    model, processor = build_escnet()
    batch = processor.caption_tensors(["A photo.", ""])
    places = torch.randn(2, 4, model.fusion.image_input.in_features)
    assert WordGrounding(model, processor)(places, **batch)["loss"].isfinite()


def test_a_word_looks_where_a_map_says(tmp_path) -> None:
    """Captions alone cannot tell which of two things that are always together is meant."""
    model, processor = build_escnet()
    generator = torch.Generator().manual_seed(0)
    looks = 3 * torch.randn(2, model.fusion.image_input.in_features, generator=generator)
    items = []
    for i in range(96):
        places = 0.1 * torch.randn(1, 9, looks.shape[1], generator=generator)
        maps = torch.zeros(1, 9)
        for thing, place in enumerate((i % 9, (i + 4) % 9)):
            places[0, place] += looks[thing] if i % 2 else 0
        maps[0, i % 9] = 1
        items.append(CaptionedPlaces(places, ["A fear."], maps) if i % 2 else CaptionedPlaces(places, ["A joy."]))
    data = PlacesAndCaptions(items)
    arguments = EmotionTrainingArguments(str(tmp_path), use_cpu=True, warmup_steps=2, disable_tqdm=True)
    ground_words(model, processor, data, 80, arguments, learning_rate=1e-2)
    model.eval()
    batch = processor.caption_tensors(["A fear."])
    pooled = torch.zeros(1, model.image_classifier.in_features)
    with torch.no_grad():
        output = model(**batch, pooled_features=pooled, token_features=items[1].places)
    attention = output.word_attention[0, 2]
    assert attention[1] > 0.5 and attention[1] > 3 * attention[5]


def test_an_imagenet_head_says_where_it_sees_what_it_names() -> None:
    captioner = build_escnet(captioner={"model_type": "attribute_captioner", "classifier_size": 8, "pooled_size": 32})[
        0
    ].captioner
    with torch.no_grad():
        captioner.classifier.weight.zero_()
        captioner.classifier.bias.zero_()
        captioner.classifier.weight[281, 0] = 40.0  # tabby
    places = torch.zeros(2, 9, 32)
    places[0, 4, 0], places[1, 7, 0] = 3.0, 3.0
    (item,) = named_places(captioner, [places, torch.zeros(2, 9, 32)])
    assert item.captions == ["A photo of a cat."]
    assert item.maps.argmax(1).tolist() == [4, 7]
    torch.testing.assert_close(item.maps.sum(1), torch.ones(2))


def test_labelled_images_are_read_with_the_captions_of_all_views() -> None:
    tokens = torch.randn(2, 2, 4, 8)
    source = ImageSource("a", EKMAN, torch.ones(2, 7) / 7, tokens=tokens, captions=[["X.", "Y."], ["X.", "Z."]])
    items = captioned_places([source, ImageSource("b", EKMAN, torch.ones(3, 7))])
    assert [list(item.captions) for item in items] == [["X."], ["Y.", "Z."]]
    assert torch.equal(items[1].places, tokens[:, 1])
    data, seen = PlacesAndCaptions(items), set()
    for epoch in range(20):
        data.set_epoch(epoch)
        seen.add(data[1]["caption"])
    assert seen == {"Y.", "Z."} and not data[1]["where"].any()

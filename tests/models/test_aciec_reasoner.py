"""ACIEC's reasoners: the small one's steps and feelings, another one instead, and the sources that can be left out."""

from collections.abc import Sequence
from typing import Any

import pytest
import torch
from tiny_parts import COLUMNS, CONCEPTS, attribute_captioner_config, build_aciec, random_pictures

from iec_hub.affect.attributes import ImageAttributes
from iec_hub.affect.captions import GUESS
from iec_hub.affect.feelings import feeling_words
from iec_hub.affect.reasoning import Reasoning
from iec_hub.emotions import EMOTION_MODELS
from iec_hub.errors import DataError
from iec_hub.models.aciec import ImageText, reasoning_text
from iec_hub.models.aciec.configuration_aciec import FEELING_ATTRIBUTES
from iec_hub.models.aciec.reasoner_aciec import in_bins, known_numbers, reason
from iec_hub.models.image_emotion import region_evidence
from iec_hub.prediction import EmbeddedText, ReasoningStep, ScoredText, Tag

LABELS = EMOTION_MODELS["sentiment2"].labels
EVEN = {name: (0.5, 0.5) for name in FEELING_ATTRIBUTES}
WORDS = (EmbeddedText("Keep out!", 0.9), EmbeddedText("joy", 0.8))


def steps_of(reasoning: Reasoning) -> dict[str, str]:
    return {step.attribute: step.observation for step in reasoning.steps}


def test_steps_are_told_in_order_from_light_to_the_whole() -> None:
    tags = (Tag("scene", "beach", 0.9), Tag("object", "dog", 0.8), Tag("human_action", "running", 0.7))
    tags += (Tag("facial_expression", "happy", 0.6), Tag("object", "tree", 0.5, GUESS))
    found = ImageAttributes(0.05, 0.6, tags)
    feelings = EVEN | {"brightness": (0.05, 0.95), "whole": (1.0, 0.0)}
    told = reason(found, ["happy dog", "bright sky", "old house"], feelings, LABELS)
    assert told.source == "aciec" and told.fallback is None
    assert [step.attribute for step in told.steps] == list(FEELING_ATTRIBUTES)
    seen = steps_of(told)
    assert seen["brightness"] == "very dark light" and seen["colorfulness"] == "vivid colours"
    assert "beach" in seen["scene"] and "running" in seen["scene"]
    assert "dog" in seen["object"] and "perhaps a tree" in seen["object"] and "happy face" in seen["object"]
    assert seen["concepts"] == "happy dog and bright sky"
    assert told.steps[0].feeling == feeling_words(LABELS, (0.05, 0.95)) == f"very strong {LABELS[1]} feelings"
    assert told.sentences[1] == f"As a whole it evokes very strong {LABELS[0]} feelings."
    assert "dog" in told.sentences[0]


@pytest.mark.parametrize(
    ("value", "light", "colours"),
    [
        (0.0, "very dark light", "very dull colours"),
        (0.14, "dark light", "dull colours"),
        (0.25, "dark light", None),
        (0.4, None, None),
        (0.6, "bright light", "vivid colours"),
        (0.75, "very bright light", "very vivid colours"),
        (1.0, "very bright light", "very vivid colours"),
    ],
)
def test_light_and_colours_have_words(value: float, light: str | None, colours: str | None) -> None:
    seen = steps_of(reason(ImageAttributes(value, value), [], EVEN, LABELS))
    assert (seen.get("brightness"), seen.get("colorfulness")) == (light, colours)


def test_what_is_absent_has_no_step_and_what_is_unrecognised_says_so() -> None:
    told = reason(ImageAttributes(), [], EVEN, LABELS)
    assert steps_of(told) == {
        "scene": "an unnamed place",
        "object": "unnamed things",
        "whole": "all of it together",
    }
    assert told.sentences[0] == "A photo."


def test_hostile_names_are_told_without_markup() -> None:
    tags = tuple(Tag(kind, "<script>alert(1)</script>\x1b", 0.9) for kind in ("scene", "object", "human_action"))
    told = reason(ImageAttributes(0.4, 0.4, tags), [], EVEN, ("<b>joy</b>", "fear"))
    texts = [text for step in told.steps for text in (step.observation, step.feeling)] + list(told.sentences)
    assert all("<" not in text and text.isprintable() for text in texts)


def test_values_are_shared_between_the_nearest_bins() -> None:
    bins = in_bins(known_numbers([0.0, 1.0, 0.25, 0.5, 7.0, None]))
    assert bins.shape == (6, 11)
    torch.testing.assert_close(bins[:5].sum(1), torch.ones(5))
    assert bins[0, 0] == 1 and bins[1, 10] == 1 and bins[4, 10] == 1 and not bins[5].any()
    torch.testing.assert_close(bins[2, 2:4], torch.tensor([0.5, 0.5]))
    assert bins[3].argmax() == 5


def test_each_feeling_reads_its_own_part_of_the_image() -> None:
    model, _ = build_aciec()
    whole, light, colour = torch.randn(2, 32), torch.tensor([0.1, 0.9]), torch.tensor([0.3, 0.6])
    embedded = model.concept_detector.embed(whole)
    read = {name: model.reasoner.inputs(name, whole, embedded, light, colour) for name in FEELING_ATTRIBUTES}
    assert torch.equal(read["brightness"], in_bins(light)) and torch.equal(read["concepts"], embedded)
    assert torch.equal(read["colorfulness"], torch.cat([in_bins(colour), whole[:, :8]], 1))
    for name in ("scene", "object"):
        assert torch.equal(read[name], whole[:, slice(*COLUMNS[name])])
    assert torch.equal(read["whole"], whole)
    feelings = model.reasoner(whole, embedded, light, colour)
    assert list(feelings) == list(FEELING_ATTRIBUTES)
    for name, logits in feelings.items():
        torch.testing.assert_close(logits, model.reasoner.feelings[name](read[name]))
    assert torch.equal(model.reasoner.whole_feeling(whole), feelings["whole"])


def test_feelings_are_in_the_words_of_each_items_emotion_model() -> None:
    model, processor = build_aciec()
    names = ["mikels8", "sentiment2", "ekman7"]
    pooled = torch.randn(1, 32).repeat(3, 1)
    models = [model.config.trained_emotion_models[name] for name in names]
    told, found = model.reason(pooled, [0.1] * 3, [0.2] * 3, models, [["happy dog"]] * 3)
    whole = model.reasoner.whole_feeling(pooled)[0]
    for name, emotion_model, reasoning in zip(names, models, told, strict=True):
        shares = whole[model.config.label_columns[name]].softmax(-1).tolist()
        assert reasoning.steps[-1].feeling == feeling_words(emotion_model.labels, shares)
    assert [reasoning.steps[0].observation for reasoning in told] == ["very dark light"] * 3
    assert len({reasoning.steps[-1].feeling for reasoning in told}) == 3 and found[0].brightness == 0.1
    batch = model.gather(processor(images=random_pictures(3), emotion_models=names), processor)
    alone = model.gather(processor(images=random_pictures(3)[1:2], emotion_models="sentiment2"), processor)
    assert alone["parts"][0] == batch["parts"][1]


@pytest.mark.parametrize("observer", [None, attribute_captioner_config()], ids=["blind", "observer"])
def test_unknown_light_is_left_out(observer: dict[str, Any] | None) -> None:
    model, processor = build_aciec(observer=observer)
    pooled, mikels = torch.randn(2, 32), [EMOTION_MODELS["mikels8"]] * 2
    told, found = model.reason(pooled, [None, 0.1], [None, 0.1], mikels, [[], []])
    assert not {"brightness", "colorfulness"} & steps_of(told[0]).keys()
    assert steps_of(told[1])["brightness"] == "very dark light" and found[0].brightness is None
    batch = processor(images=random_pictures(2))
    del batch["brightness"], batch["colorfulness"]
    assert "brightness" not in steps_of(model.gather(batch, processor)["texts"][0].reasoning)


def test_an_observer_names_what_it_sees() -> None:
    model, processor = build_aciec(observer=attribute_captioner_config())
    gathered = model.gather(processor(images=random_pictures(4)), processor)
    for text, pooled in zip(gathered["texts"], gathered["vision_features"].pooled, strict=True):
        expected = model.reasoner.observer.describe(pooled[None], [text.attributes.brightness], [None])[0]
        assert text.attributes.tags == expected.tags
        for tag in text.attributes.objects:
            assert tag.label in steps_of(text.reasoning)["object"]
        assert text.as_fields(model.config)["attributes"] == text.attributes.as_tags()
    assert any(text.attributes.objects for text in gathered["texts"])


class OtherReasoner(torch.nn.Module):
    """Says something about every second picture; a module, as a vision-language model is."""

    name = "other"

    def __init__(self, answers: int | None = None):
        super().__init__()
        self.layer, self.answers = torch.nn.Linear(2, 2), answers
        self.asked: list[tuple[Any, Any]] = []

    def reason(self, images: Sequence[Any], embedded_texts: Sequence[str | None] | None = None) -> list[Reasoning]:
        self.asked.append((list(images), list(embedded_texts)))
        said = Reasoning((ReasoningStep("scene", "a far land", "longing"),), ("It evokes longing.",), self.name)
        silent = Reasoning(fallback="other could not read its own answer.")
        return ([said, silent, Reasoning()] * len(images))[: self.answers or len(images)]


def test_another_reasoner_speaks_instead_and_the_small_one_where_it_is_silent() -> None:
    model, processor = build_aciec()
    batch = processor(images=random_pictures(3))
    batch["embedded_text"] = [WORDS, None, ()]
    small = [text.reasoning for text in model.gather(batch, processor)["texts"]]
    other = OtherReasoner()
    assert not model.looks_at_images
    model.use_reasoner(other)
    assert model.looks_at_images
    texts = [text.reasoning for text in model.gather(batch, processor)["texts"]]
    assert other.asked == [(batch["images"], ["Keep out! joy", None, None])]
    assert texts[0].source == "other" and texts[0].steps[0].observation == "a far land"
    assert texts[1].steps == small[1].steps and texts[1].source == "aciec"
    assert texts[1].fallback == "other could not read its own answer."
    assert texts[2].fallback == "other said nothing about this picture."
    model.use_reasoner(None)
    assert not model.looks_at_images
    assert [text.reasoning for text in model.gather(batch, processor)["texts"]] == small


def test_a_reasoner_is_no_part_of_the_checkpoint() -> None:
    model, _ = build_aciec()
    before, children = set(model.state_dict()), list(model.children())
    model.use_reasoner(OtherReasoner())
    assert set(model.state_dict()) == before and list(model.children()) == children


def test_a_reasoner_needs_pictures_and_answers_about_each() -> None:
    model, processor = build_aciec()
    model.use_reasoner(OtherReasoner())
    batch = processor(images=random_pictures(2))
    blind = {name: value for name, value in batch.items() if name != "images"}
    with pytest.raises(DataError, match=r"^A vision-language reasoner needs the images themselves; [^\n]*\.$"):
        model.gather(blind, processor)
    model.use_reasoner(OtherReasoner(answers=1))
    with pytest.raises(DataError, match=r"^other answered 1 times about 2 images; [^\n]*\.$"):
        model.gather(batch, processor)


def test_no_reasoner_is_loaded_unless_one_is_named() -> None:
    model, _ = build_aciec()
    with pytest.raises(DataError, match=r"^This checkpoint names no reasoner; [^\n]*\.$"):
        model.load_reasoner()


TEXT = ImageText(
    (ScoredText("happy dog", 0.9), ScoredText("old house", 0.2)),
    Reasoning((ReasoningStep("scene", "a beach.", "joy"), ReasoningStep("whole", "all", "awe")), ("One.", "Two.")),
    WORDS,
    ImageAttributes(0.5),
)


def test_reasoning_as_text_ends_with_the_steps_and_says_the_whole_once() -> None:
    assert reasoning_text(TEXT.reasoning) == "One. Two. a beach: joy."


@pytest.mark.parametrize(
    ("switch", "part", "fields"),
    [
        ("use_concepts", 0, ["concepts"]),
        ("use_sentences", 1, ["reasoning", "captions", "attributes"]),
        ("use_embedded_text", 2, ["embedded_text"]),
    ],
)
def test_a_source_that_is_switched_off_is_neither_read_nor_shown(switch: str, part: int, fields: list[str]) -> None:
    whole, config = build_aciec()[0].config, build_aciec(**{switch: False})[0].config
    for name, value in TEXT.as_fields(config).items():
        assert (value is None) == (name in fields), name
        assert TEXT.as_fields(whole)[name] is not None
    assert TEXT.parts(whole) == ("happy dog, old house", "One. Two. a beach: joy.", "Keep out! joy")
    read = TEXT.parts(config)
    assert read[part] == "" and all(text for place, text in enumerate(read) if place != part)


def test_without_concepts_the_sentences_do_not_tell_them() -> None:
    model, processor = build_aciec(use_concepts=False)
    gathered = model.gather(processor(images=random_pictures(3)), processor)
    for parts in gathered["parts"]:
        assert parts.sentences and not any(name in parts.sentences for name in CONCEPTS)


def test_text_that_nobody_may_read_reaches_no_reasoner() -> None:
    model, processor = build_aciec(use_embedded_text=False)
    other = OtherReasoner()
    model.use_reasoner(other)
    batch = processor(images=random_pictures(1))
    batch["embedded_text"] = [WORDS]
    assert model.gather(batch, processor)["parts"][0].embedded_text == "" and other.asked[0][1] == [None]


def test_the_heat_map_is_of_the_whole_pictures_feeling() -> None:
    model, processor = build_aciec()
    batch = processor(images=random_pictures(2), emotion_models=["sentiment2", "mikels8"])
    pixels = batch["pixel_values"].requires_grad_()
    batch["vision_features"] = features = model.get_image_features(pixels, evidence=True)
    score = model.evidence_score(batch, [1, 5])
    logits = model.reasoner.feelings["whole"](features.pooled)
    columns = model.config.label_columns
    expected = [logits[0, columns["sentiment2"]].log_softmax(-1)[1], logits[1, columns["mikels8"]].log_softmax(-1)[5]]
    torch.testing.assert_close(score, torch.stack(expected))
    regions = region_evidence(score, features)
    assert regions.shape == (2, 4, 4) and regions.isfinite().all() and regions.max() == 1

"""What ACIEC's text classifier learns from: files of texts, and how they are drawn and put together."""

from collections import Counter
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import pytest
import torch

from iec_hub.affect.concepts import ConceptVocabulary
from iec_hub.emotions import EMOTION_MODELS, EmotionModel
from iec_hub.finetuning.emotion_texts import (
    EmotionTexts,
    KindSampler,
    Semantics,
    TextCollator,
    TextSource,
    comments,
    concept_lists,
    told_in,
)
from iec_hub.models.aciec import TextParts

MIKELS, EKMAN = EMOTION_MODELS["mikels8"], EMOTION_MODELS["ekman7"]
NAMES = ("dark house", "bright beach", "old lamp", "calm lake", "loud street", "wide sky", "tiny boat", "wild sea")


def one_hot(emotion_model: EmotionModel, *labels: str) -> torch.Tensor:
    return torch.eye(len(emotion_model))[[emotion_model.index(label) for label in labels]]


def images(name: str, emotion_model: EmotionModel, number: int = 20, versions: int = 3) -> TextSource:
    """Texts "concept I V", "sentence I V" of image I in wording V; its labels are I-th in turn."""
    texts = [
        [TextParts(f"concept {i} {v}", f"sentence {i} {v}", f"sign {i}") for v in range(versions)]
        for i in range(number)
    ]
    return TextSource(name, emotion_model, texts, torch.eye(len(emotion_model)).repeat(9, 1)[:number])


def remarks(emotion_model: EmotionModel, number: int = 6, label: int = 0) -> TextSource:
    rows = [[TextParts(embedded_text=f"remark {i}")] for i in range(number)]
    return TextSource("", emotion_model, rows, torch.eye(len(emotion_model))[[label] * number], quotable=True)


def drawn(data: EmotionTexts, epochs: int = 1) -> list[dict[str, Any]]:
    found = []
    for epoch in range(epochs):
        data.set_epoch(epoch)
        found += [data[i] for i in range(len(data))]
    return found


def write(path: Path, *rows: str) -> Path:
    path.write_text("\n".join(rows) + "\n", encoding="utf-8")
    return path


def test_lists_of_concepts_are_told_in_several_orders_beside_other_words(tmp_path: Path) -> None:
    path = write(
        tmp_path / "lists.csv",
        "emotion,concepts,tags",
        f"fear,{' '.join(NAMES)},night fence",
        "awe,wide_sky; calm_lake,",
        "awe,old lamp,one concept is no list",
    )
    vocabulary = ConceptVocabulary.from_names(NAMES)
    source = concept_lists(path, MIKELS, vocabulary, seed=0)
    assert len(source) == 2 and not source.quotable and source.name == ""
    assert torch.equal(source.distributions, one_hot(MIKELS, "fear", "awe"))
    first, second = source.versions
    assert [parts.sentences for parts in first] == ["", "A photo of night fence.", "A photo of night fence."]
    assert [parts.sentences for parts in second] == ["", "", ""] and all(not p.embedded_text for p in first + second)
    told = [parts.concepts.split(", ") for parts in first]
    assert all(4 <= len(names) <= 8 and set(names) <= set(NAMES) and len(set(names)) == len(names) for names in told)
    assert len(set(map(tuple, told))) > 1
    assert {tuple(sorted(parts.concepts.split(", "))) for parts in second} == {("calm lake", "wide sky")}
    assert concept_lists(path, MIKELS, vocabulary, seed=0).versions == source.versions
    assert concept_lists(path, MIKELS, vocabulary, seed=1).versions != source.versions


def test_a_file_without_lists_of_concepts_has_none(tmp_path: Path) -> None:
    path = write(tmp_path / "said.csv", "emotion,text", "joy,what a day", "fear,a dark house at night")
    assert concept_lists(path, EKMAN, ConceptVocabulary.from_names(NAMES), seed=0) is None


def test_comments_are_texts_inside_an_image(tmp_path: Path) -> None:
    path = write(tmp_path / "said.csv", "emotion,text,answer", "joy,What a day!,Yes", "fear,,Run", "poetry,lost,lost")
    source = comments(path, EKMAN)
    assert source.versions == [
        [TextParts(embedded_text="What a day! Yes")],
        [TextParts(embedded_text="Run")],
    ]
    assert source.quotable and torch.equal(source.distributions, one_hot(EKMAN, "joy", "fear"))


def test_an_emotion_is_shared_among_those_it_may_be_as_they_are_frequent() -> None:
    pleasure = EMOTION_MODELS["sentiment2"]
    source = TextSource("", pleasure, [[TextParts("good")], [TextParts("bad")]], torch.eye(2).flip(0), quotable=True)
    prior = torch.tensor([0.1, 0.05, 0.2, 0.25, 0.05, 0.05, 0.1, 0.2])
    told = told_in(source, MIKELS, prior)
    positive = torch.tensor([p == "positive" for p in MIKELS.polarities])
    torch.testing.assert_close(told.distributions[0], prior * positive / prior[positive].sum())
    torch.testing.assert_close(told.distributions[1], prior * ~positive / prior[~positive].sum())
    assert told.versions == source.versions and told.quotable and told.emotion_model is MIKELS and told.name == ""


def test_a_text_without_an_emotion_of_the_others_is_left_out() -> None:
    small = EMOTION_MODELS["ekman6"]
    texts = [[TextParts(label)] for label in ("joy", "neutral", "fear")]
    source = TextSource("", EKMAN, texts, one_hot(EKMAN, "joy", "neutral", "fear"))
    told = told_in(source, small, torch.full((6,), 1 / 6))
    assert told.versions == [texts[0], texts[2]] and not told.quotable
    torch.testing.assert_close(told.distributions, one_hot(small, "joy", "fear"))
    neutral = TextSource("", EKMAN, texts[1:2], one_hot(EKMAN, "neutral"))
    assert told_in(neutral, small, torch.full((6,), 1 / 6)) is None


def test_emotions_that_cannot_be_mapped_are_told_in_no_other_words() -> None:
    custom = EmotionModel.from_labels(["cosy", "eerie"])
    source = TextSource("", EKMAN, [[TextParts("a")]], one_hot(EKMAN, "joy"))
    assert told_in(source, custom, torch.tensor([0.5, 0.5])) is None


def test_items_depend_on_seed_epoch_and_index_alone() -> None:
    def data(seed: int, epoch: int) -> EmotionTexts:
        found = EmotionTexts([images("a", EKMAN)], [remarks(EKMAN)], 6, source_dropout=0.3, quoted=0.3, seed=seed)
        found.set_epoch(epoch)
        return found

    def read(given: EmotionTexts) -> list[TextParts]:
        order = torch.randperm(len(given)).tolist()
        found = {i: given[i]["parts"] for i in order}
        return [found[i] for i in range(len(given))]

    assert len(data(0, 0)) == 26
    assert read(data(0, 1)) == read(data(0, 1))
    assert read(data(0, 1)) != read(data(0, 2)) and read(data(0, 1)) != read(data(1, 1))


def test_every_wording_is_read_some_time() -> None:
    data = EmotionTexts([images("a", EKMAN, number=4)], source_dropout=0.0)
    found = drawn(data, 40)
    assert len({item["parts"] for item in found}) == 12
    for item in found:
        number, version = item["parts"].concepts.split()[1:]
        assert item["parts"].sentences == f"sentence {number} {version}", "the parts belong together"
        assert item["distribution"].argmax() == int(number) and item["emotion_model"] is EKMAN


def test_sources_are_hidden_as_often_as_they_should_and_never_both() -> None:
    found = [item["parts"] for item in drawn(EmotionTexts([images("a", EKMAN)], source_dropout=0.2), 150)]
    hidden = Counter((bool(parts.concepts), bool(parts.sentences)) for parts in found)
    assert hidden[False, False] == 0 and all(parts.embedded_text for parts in found)
    assert hidden[False, True] / len(found) == pytest.approx(0.2, abs=0.03)
    assert hidden[True, False] / len(found) == pytest.approx(0.2, abs=0.03)


def test_the_only_source_of_an_image_is_never_hidden() -> None:
    texts = [[TextParts(concepts="dark house")], [TextParts(sentences="A house.")]]
    source = TextSource("a", EKMAN, texts, one_hot(EKMAN, "joy", "fear"))
    found = [item["parts"] for item in drawn(EmotionTexts([source], source_dropout=0.5), 50)]
    assert found == [texts[0][0], texts[1][0]] * 50


def test_a_comment_in_an_image_takes_most_of_its_label() -> None:
    surprise = EKMAN.index("surprise")
    data = EmotionTexts([images("a", EKMAN)], [remarks(EKMAN, label=surprise)], quoted=0.3, source_dropout=0.0)
    found = drawn(data, 100)
    quoting = [item for item in found if item["parts"].embedded_text.startswith("remark")]
    assert len(quoting) / len(found) == pytest.approx(0.3, abs=0.04)
    assert len({item["parts"].embedded_text for item in quoting}) == 6
    for item in quoting:
        own = torch.eye(7)[int(item["parts"].concepts.split()[1]) % 7]
        torch.testing.assert_close(item["distribution"], 0.25 * own + 0.75 * torch.eye(7)[surprise])
    for item in found:
        if item["parts"].embedded_text.startswith("sign"):
            assert item["distribution"].max() == 1


def test_only_comments_in_the_same_emotions_are_put_into_images() -> None:
    lists = TextSource("", MIKELS, [[TextParts("wide sky")]], one_hot(MIKELS, "awe"))
    data = EmotionTexts([images("a", MIKELS), images("b", EKMAN)], [remarks(EKMAN), lists], quoted=1.0)
    for item in drawn(data, 3):
        assert item["parts"].embedded_text.startswith("remark" if item["emotion_model"] is EKMAN else "sign")
        assert item["distribution"].shape == (len(item["emotion_model"]),)


def test_held_out_texts_are_read_as_they_are() -> None:
    source = images("a", EKMAN)
    data = EmotionTexts([source], [remarks(EKMAN)], augment=False, quoted=1.0, source_dropout=0.5)
    for epoch in range(2):
        data.set_epoch(epoch)
        assert [data[i]["parts"] for i in range(20)] == [versions[0] for versions in source.versions]
    assert torch.equal(torch.stack([data[i]["distribution"] for i in range(20)]), source.distributions)


def test_other_texts_come_from_every_source_as_often() -> None:
    large, small = remarks(EKMAN, number=50), TextSource("", MIKELS, [[TextParts("sky")]], one_hot(MIKELS, "awe"))
    found = drawn(EmotionTexts([images("a", EKMAN)], [large, small], 10))[20:]
    assert Counter(item["emotion_model"].name for item in found) == {"ekman7": 5, "mikels8": 5}
    assert len(EmotionTexts([images("a", EKMAN)], [], 10)) == 20


def test_sources_of_which_nothing_is_left_are_passed_over() -> None:
    empty = remarks(EKMAN, number=0)
    assert len(EmotionTexts([images("a", EKMAN)], [empty], 10, quoted=1.0)) == 20
    found = drawn(EmotionTexts([images("a", EKMAN)], [empty, remarks(EKMAN)], 10, quoted=1.0), 3)
    assert len(found) == 90 and all(item["parts"].embedded_text.startswith("remark") for item in found)


def order(number: int, texts: int, epoch: int, batch_size: int = 8, seed: int = 0) -> list[int]:
    data = EmotionTexts([images("a", EKMAN, number)], [remarks(EKMAN)], texts, seed=seed)
    data.set_epoch(epoch)
    sampler = KindSampler(data, batch_size)
    found = list(sampler)
    assert len(sampler) == len(found) and list(sampler) == found
    return found


@pytest.mark.parametrize(("number", "texts"), [(40, 24), (43, 21), (5, 2), (43, 0)])
def test_every_text_is_read_once_an_epoch_in_batches_of_one_kind(number: int, texts: int) -> None:
    found = order(number, texts, 0)
    assert sorted(found) == list(range(number + texts))
    batches = [found[start : start + 8] for start in range(0, len(found), 8)]
    whole = number // 8 + texts // 8
    assert all(len({i < number for i in batch}) == 1 for batch in batches[:whole])
    if texts > 8:
        kinds = [batch[0] < number for batch in batches[:whole]]
        assert kinds != sorted(kinds) and kinds != sorted(kinds, reverse=True), "the kinds alternate"


def test_the_order_depends_on_seed_and_epoch() -> None:
    assert order(43, 21, 1) == order(43, 21, 1)
    assert order(43, 21, 1) != order(43, 21, 2) and order(43, 21, 1) != order(43, 21, 1, seed=1)


Parts = tuple[Any, Any]


@pytest.fixture
def parts(build_tiny_aciec: Callable[..., Parts]) -> Parts:
    return build_tiny_aciec()


def items(*sources: TextSource) -> list[dict[str, Any]]:
    return [item for source in sources for item in drawn(EmotionTexts([source], augment=False))]


def test_a_batch_is_what_the_model_learns_from(parts: Parts) -> None:
    model, processor = parts
    given = items(images("a", MIKELS, number=2), images("b", EKMAN, number=3))
    batch = TextCollator(processor)(given)
    assert "semantics" not in batch and "emotion_models" not in batch
    assert batch["input_ids"].shape == batch["attention_mask"].shape and len(batch["input_ids"]) == 5
    for row, item in enumerate(given):
        labels = batch["labels"][row, batch["candidate_mask"][row]]
        torch.testing.assert_close(labels.float(), item["distribution"])
    expected = processor.text_tensors([item["parts"] for item in given])["input_ids"]
    assert torch.equal(batch["input_ids"], expected)
    assert model(**batch).loss.isfinite()


def similarities(semantics: Semantics, processor: Any, texts: Sequence[TextParts]) -> torch.Tensor:
    found = semantics(processor.text_tensors(texts))
    torch.testing.assert_close(found.norm(dim=-1), torch.ones(len(texts)))
    return found @ found.T


def test_semantics_are_frozen_and_ignore_padding(parts: Parts) -> None:
    model, processor = parts
    semantics = Semantics(model.text_encoder.train())
    assert not model.text_encoder.training and not any(p.requires_grad for p in model.text_encoder.parameters())
    sky = TextParts("a wide sky")
    alike = similarities(semantics, processor, [sky, sky, TextParts("joy", "fear and anger " * 9)])
    assert alike[0, 1] == pytest.approx(1, abs=1e-5) and alike[0, 2] < 0.999
    alone = semantics(processor.text_tensors([sky]))
    padded = semantics(processor.text_tensors([sky, TextParts("fear " * 30)]))[:1]
    torch.testing.assert_close(alone, padded, atol=3e-2, rtol=0)


def test_semantics_come_with_the_batch_and_can_be_trained_with(parts: Parts) -> None:
    model, processor = parts
    semantics = Semantics(model.text_encoder)
    given = items(images("a", EKMAN, number=4))
    batch = TextCollator(processor, semantics)(given)
    assert batch["semantics"].shape == (4, model.text_encoder.config.hidden_size)
    torch.testing.assert_close(batch["semantics"], semantics(batch))
    assert not batch["semantics"].is_inference()
    plain = TextCollator(processor)(given)
    assert all(torch.equal(batch[name], value) for name, value in plain.items() if torch.is_tensor(value))

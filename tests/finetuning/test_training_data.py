from collections.abc import Callable
from typing import Any

import pytest
import torch

from iec_hub.emotions import EMOTION_MODELS
from iec_hub.finetuning.training_data import ImageSource, MixedEmotionData, TextSource, UgrieCollator
from iec_hub.models.feature_norm import PowerNorm

EKMAN, MIKELS = EMOTION_MODELS["ekman7"], EMOTION_MODELS["mikels8"]

WIDTH, SEMANTIC = 6, 4


def source(name: str, emotion_model: Any, count: int = 6, **fields: Any) -> ImageSource:
    generator = torch.Generator().manual_seed(len(name))
    distributions = torch.rand(count, len(emotion_model), generator=generator).softmax(-1)
    features = torch.rand(2, count, WIDTH, generator=generator)
    return ImageSource(name, emotion_model, distributions, features, **fields)


def texts(**fields: Any) -> TextSource:
    vectors = torch.nn.functional.normalize(
        torch.randn(5, 2, SEMANTIC, generator=torch.Generator().manual_seed(1)), -1
    )
    return TextSource(MIKELS, vectors, torch.eye(8)[:5], **fields)


def words(*names: str) -> TextSource:
    return TextSource(None, torch.ones(len(names), 1, SEMANTIC), words=names)


@pytest.fixture(scope="module")
def collator(build_tiny_ugrie: Callable[..., tuple[Any, Any]]) -> Callable[..., UgrieCollator]:
    processor = build_tiny_ugrie()[1]
    return lambda **fields: UgrieCollator(processor, WIDTH, semantic_size=SEMANTIC, **fields)


def items(data: MixedEmotionData) -> list[dict[str, Any]]:
    return [data[i] for i in range(len(data))]


def test_labels_stand_in_the_columns_of_their_emotion_model(collator: Callable[..., UgrieCollator]) -> None:
    sources = [source("a", MIKELS, 3), source("b", EKMAN, 3)]
    rows = items(MixedEmotionData(sources, augment=False))
    batch = collator()([rows[i] for i in (4, 0, 3, 1)])
    assert batch["labels"].shape == (4, 15)
    for row, (owner, index) in enumerate([(1, 1), (0, 0), (1, 0), (0, 1)]):
        own = batch["labels"][row, batch["candidate_mask"][row]]
        torch.testing.assert_close(own, sources[owner].distributions[index])
        assert batch["labels"][row, ~batch["candidate_mask"][row]].abs().sum() == 0


@pytest.mark.parametrize("rooted", [False, True])
def test_mixup_is_convex_and_stays_within_a_data_set(collator: Callable[..., UgrieCollator], rooted: bool) -> None:
    root = PowerNorm.root if rooted else None
    low, high = source("low", MIKELS), source("high", MIKELS)
    low.features, high.features = low.features * 0.1, high.features + 5
    rows = items(MixedEmotionData([low, high], augment=False))
    plain, mixed = collator()(rows), collator(mixup=0.5, root=root)(rows)
    torch.testing.assert_close(mixed["labels"].sum(1), torch.ones(12))
    assert not torch.equal(mixed["labels"], plain["labels"])
    for part in (slice(0, 6), slice(6, 12)):
        for name in ("pooled_features", "labels"):
            before, after = plain[name][part], mixed[name][part]
            assert (after >= before.amin(0) - 1e-4).all() and (after <= before.amax(0) + 1e-4).all()
    again = collator(mixup=0.5, root=root)(rows)
    assert torch.equal(again["pooled_features"], mixed["pooled_features"])


def test_every_data_set_has_its_own_teacher(collator: Callable[..., UgrieCollator]) -> None:
    """Also where two share an emotion model."""
    sure = [torch.full((8,), -50.0).index_fill(0, torch.tensor([k]), 50.0) for k in (2, 5)]
    sources = [
        source(name, MIKELS, 2, teacher=lambda pooled, k=k: sure[k].expand(len(pooled), -1))
        for k, name in enumerate(("first", "second"))
    ]
    rows = items(MixedEmotionData(sources, augment=False))
    labels = collator(teacher_weight=0.75)(rows)["labels"]
    for row, (k, i) in enumerate([(0, 0), (0, 1), (1, 0), (1, 1)]):
        expected = 0.25 * sources[k].distributions[i] + 0.75 * sure[k].softmax(-1)
        torch.testing.assert_close(labels[row], expected)


def test_texts_hide_the_image_and_words_name_themselves(collator: Callable[..., UgrieCollator]) -> None:
    data = MixedEmotionData([source("a", MIKELS, 2)], [texts(), words("lamp", "river", "stone")], 30, augment=False)
    rows = items(data)
    assert {row.get("word") for row in rows[2:]} == {None, "lamp", "river", "stone"}
    batch = collator()(rows)
    assert batch["visual_mask"].tolist() == [1, 1] + [0] * 30
    assert (batch["semantic_features"][:2] == 0).all()
    torch.testing.assert_close(batch["semantic_features"][2:].norm(dim=-1), torch.ones(30))
    assert batch["labels"].shape[1] == 8 + 3
    for row, item in enumerate(rows):
        if "word" in item:
            own = batch["labels"][row, batch["candidate_mask"][row]]
            assert own.tolist() == [float(word == item["word"]) for word in ("lamp", "river", "stone")]


@pytest.mark.parametrize("word", ["lamp", "nothing"])
def test_a_word_alone_cannot_be_told_apart(collator: Callable[..., UgrieCollator], word: str) -> None:
    image = MixedEmotionData([source("a", MIKELS, 2)], augment=False)
    lonely = MixedEmotionData(texts=[words(word)], texts_per_epoch=1)
    assert len(collator()([*items(image), *items(lonely)])["labels"]) == 2  # beside others it is left out
    batch = collator()(items(lonely))  # a batch must not be empty, so here it gets a rival
    assert batch["labels"].tolist() == [[1.0, 0.0]]


def test_items_depend_on_seed_epoch_and_index_alone() -> None:
    def data(seed: int, epoch: int) -> MixedEmotionData:
        mixture = MixedEmotionData([source("a", MIKELS)], [texts()], 6, visual_dropout=0.5, seed=seed)
        mixture.set_epoch(epoch)
        return mixture

    def drawn(mixture: MixedEmotionData) -> list[Any]:
        order = torch.randperm(len(mixture)).tolist()
        found = {i: mixture[i] for i in order}
        return [(found[i]["key"], found[i]["visible"]) for i in range(len(mixture))]

    assert drawn(data(0, 1)) == drawn(data(0, 1))
    assert drawn(data(0, 1)) != drawn(data(0, 2))
    assert drawn(data(0, 1)) != drawn(data(1, 1))
    assert {visible for _, visible in drawn(data(0, 1))[:6]} == {True, False}

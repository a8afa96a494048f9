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
def test_mixup_is_convex_and_stays_within_a_data_set(rooted: bool) -> None:
    root = PowerNorm.root if rooted else None
    low, high = source("low", MIKELS), source("high", MIKELS)
    low.features, high.features = low.features * 0.1, high.features + 5
    mixed = items(MixedEmotionData([low, high], mixup=0.5, root=root))
    labels = torch.stack([item["distribution"] for item in mixed])
    torch.testing.assert_close(labels.sum(1), torch.ones(12))
    assert not torch.equal(labels, torch.cat([low.distributions, high.distributions]))
    for owner, part in ((low, mixed[:6]), (high, mixed[6:])):
        pairs = [(owner.features.flatten(0, 1), "pooled_features"), (owner.distributions, "distribution")]
        for before, name in pairs:
            after = torch.stack([item[name] for item in part])
            assert (after >= before.amin(0) - 1e-4).all() and (after <= before.amax(0) + 1e-4).all()
    again = items(MixedEmotionData([low, high], mixup=0.5, root=root))
    assert all(torch.equal(a["pooled_features"], b["pooled_features"]) for a, b in zip(mixed, again, strict=True))


def test_a_mixed_image_keeps_its_caption_and_is_the_larger_part() -> None:
    one = source("a", MIKELS, 2, captions=[["first", "second"]])
    one.features = torch.stack([torch.zeros(WIDTH), torch.ones(WIDTH)]).expand(2, -1, -1)
    one.distributions = torch.eye(8)[:2]
    data = MixedEmotionData([one], mixup=0.5)
    for epoch in range(20):
        data.set_epoch(epoch)
        first, second = items(data)
        assert (first["caption"], second["caption"]) == ("first", "second")
        assert first["pooled_features"].max() <= 0.5 and second["pooled_features"].min() >= 0.5
        assert first["distribution"][0] >= 0.5 and second["distribution"][1] >= 0.5


def test_several_small_batches_hold_what_a_large_one_holds(collator: Callable[..., UgrieCollator]) -> None:
    """Mixing, drawing and weighing go by the item, so neither processes nor accumulation change what is learned."""
    weights = torch.linspace(0.5, 1.5, 6)
    rows = items(MixedEmotionData([source("a", MIKELS, weights=weights)], mixup=0.5, visual_dropout=0.3))
    whole, parts = collator()(rows), [collator()(rows[:3]), collator()(rows[3:])]
    for name in ("pooled_features", "labels", "visual_mask"):
        assert torch.equal(whole[name], torch.cat([part[name] for part in parts]))


def test_weights_scale_an_images_labels(collator: Callable[..., UgrieCollator]) -> None:
    weights = torch.tensor([0.5, 2.0, 1.0])
    data = MixedEmotionData([source("a", MIKELS, 3, weights=weights), source("b", EKMAN, 1)])
    torch.testing.assert_close(collator()(items(data))["labels"].sum(1), torch.tensor([0.5, 2.0, 1.0, 1.0]))
    held_out = MixedEmotionData([source("a", MIKELS, 3, weights=weights)], augment=False)
    torch.testing.assert_close(collator()(items(held_out))["labels"].sum(1), torch.ones(3))


def test_shares_say_how_often_an_image_is_drawn() -> None:
    shares = torch.tensor([0.7, 0.3, 0.0]).double()
    data = MixedEmotionData([source("a", MIKELS, 3, shares=shares)], seed=1)
    one = data.images[0]
    one.distributions = torch.eye(8)[:3]
    drawn = torch.zeros(8)
    for epoch in range(200):
        data.set_epoch(epoch)
        drawn += sum(item["distribution"] for item in items(data))
    assert drawn.sum() == 600 and drawn[2] == 0
    assert drawn[0] / 600 == pytest.approx(0.7, abs=0.06)


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
        return [(found[i]["visible"], sorted(map(str, found[i].items()))) for i in range(len(mixture))]

    assert drawn(data(0, 1)) == drawn(data(0, 1))
    assert drawn(data(0, 1)) != drawn(data(0, 2))
    assert drawn(data(0, 1)) != drawn(data(1, 1))
    assert {visible for visible, _ in drawn(data(0, 1))[:6]} == {True, False}

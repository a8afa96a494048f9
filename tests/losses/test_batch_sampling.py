"""What an epoch of the hierarchical sampler holds."""

from itertools import combinations

import numpy as np
import pytest
import torch
from accelerate.data_loader import BatchSamplerShard
from torch.utils.data import DataLoader

from iec_hub.errors import DataError
from iec_hub.losses import HierarchicalBatchSampler, hierarchical_contrastive_loss


def random_labels(seed: int, n: int = 400, unknown: float = 0.1, alike: float = 1.0) -> np.ndarray:
    """Labels of 2 polarities, 8 emotions and 40 concepts, of very unequal sizes when `alike` is small."""
    rng = np.random.default_rng(seed)
    concept = rng.choice(40, n, p=rng.dirichlet(np.full(40, alike)))
    labels = np.stack([concept // 20, concept // 5, concept], axis=1)
    labels[rng.random(n) < unknown, 2] = -1
    labels[rng.random(n) < unknown / 2, 1:] = -1
    labels[rng.random(n) < unknown / 4] = -1
    return labels


def deepest_agreement(one: np.ndarray, two: np.ndarray) -> int:
    """The finest level down to which two samples have the same known labels; -1 for none."""
    agree = (one == two) & (one >= 0) & (two >= 0)
    return int(agree.cumprod().sum()) - 1


def kinds(labels: np.ndarray, batch: list[int]) -> set[int]:
    """The levels at which some pair of the batch agrees, and not at a finer one."""
    return {deepest_agreement(labels[i], labels[j]) for i, j in combinations(batch, 2)} - {-1}


@pytest.mark.parametrize(("seed", "alike"), [(0, 1.0), (1, 1.0), (2, 0.1)])
@pytest.mark.parametrize("batch_size", [5, 32, 64, 1000])
def test_an_epoch_holds_every_sample_once(seed: int, alike: float, batch_size: int) -> None:
    labels = random_labels(seed, alike=alike)
    sampler = HierarchicalBatchSampler(labels, batch_size, seed)
    batches = list(sampler)
    assert sorted(index for batch in batches for index in batch) == list(range(400))
    assert all(len(batch) == batch_size for batch in batches[:-1]) and 0 < len(batches[-1]) <= batch_size
    assert len(batches) == len(sampler)
    short = HierarchicalBatchSampler(labels, batch_size, seed, drop_last=True)
    assert list(short) == [batch for batch in batches if len(batch) == batch_size]
    assert len(list(short)) == len(short)


@pytest.mark.parametrize("seed", range(4))
@pytest.mark.parametrize("batch_size", [8, 16, 50])
def test_every_full_batch_has_positives_at_every_level(seed: int, batch_size: int) -> None:
    labels = random_labels(seed)
    sampler = HierarchicalBatchSampler(torch.from_numpy(labels), batch_size, drop_last=True)
    for epoch in range(2):
        sampler.set_epoch(epoch)
        assert all(kinds(labels, batch) == {0, 1, 2} for batch in sampler)
    rng = np.random.default_rng(seed)
    drawn = [rng.choice(400, 8, replace=False).tolist() for _ in range(50)]
    assert not all(kinds(labels, batch) == {0, 1, 2} for batch in drawn)


def test_in_even_data_every_sample_has_a_positive_of_every_kind() -> None:
    concept = np.arange(240) % 24
    labels = np.stack([concept // 12, concept // 6, concept], axis=1)
    for batch in HierarchicalBatchSampler(labels, 8, seed=3):
        for i in batch:
            assert {deepest_agreement(labels[i], labels[j]) for j in batch if j != i} >= {0, 1, 2}


def test_a_concept_of_odd_size_leaves_no_sample_alone() -> None:
    # 3 samples of each of 16 concepts: the triples stay whole, as 12 samples are a block.
    concept = np.arange(48) % 16
    labels = np.stack([concept // 8, concept // 4, concept], axis=1)
    for batch in HierarchicalBatchSampler(labels, 12):
        assert all(sum(labels[i, 2] == labels[j, 2] for j in batch) == 3 for i in batch)


def test_rare_pairs_are_spread_over_the_batches() -> None:
    # 100 samples of one emotion: four concepts are there twice, all others once. There are four batches.
    concept = np.concatenate([np.repeat(np.arange(4), 2), np.arange(4, 96)])
    labels = np.stack([np.zeros(100, int), np.zeros(100, int), concept], axis=1)
    for epoch in range(3):
        sampler = HierarchicalBatchSampler(labels, 25, seed=1)
        sampler.set_epoch(epoch)
        assert [kinds(labels, batch) for batch in sampler] == [{1, 2}] * 4


def test_batches_with_rare_pairs_do_not_always_come_first() -> None:
    # Two pairs for five batches: two batches have one each, at another place in every epoch.
    labels = np.stack([np.zeros(40, int), np.r_[0, 0, 1, 1, 2:38]], axis=1)
    sampler, places = HierarchicalBatchSampler(labels, 8), set()
    for epoch in range(8):
        sampler.set_epoch(epoch)
        places.add(tuple(number for number, batch in enumerate(sampler) if 1 in kinds(labels, batch)))
    assert len(places) > 3 and {len(place) for place in places} == {2}


def test_kinds_of_pairs_that_no_block_has_together_are_joined_in_a_batch() -> None:
    # The first polarity has a single emotion, so no pair that agrees in polarity alone; the second no concept twice.
    first = np.stack([np.zeros(40, int), np.zeros(40, int), np.arange(40) % 4], axis=1)
    second = np.stack([np.ones(80, int), 1 + np.arange(80) % 4, 100 + np.arange(80)], axis=1)
    labels = np.concatenate([first, second])
    assert all(kinds(labels, batch) == {0, 1, 2} for batch in HierarchicalBatchSampler(labels, 12))


def test_a_large_class_does_not_take_the_partners_of_the_others() -> None:
    # 90 of 100 pairs are of emotion 0, so that each of the other 10 pairs can be joined with one of them.
    labels = np.stack([np.zeros(200, int), np.arange(200) // 180, np.arange(200) // 180], axis=1)
    batches = list(HierarchicalBatchSampler(labels, 20))
    assert all(0 in kinds(labels, batch) for batch in batches)


def test_the_order_depends_on_seed_and_epoch_alone() -> None:
    labels = random_labels(0)
    sampler, twin = HierarchicalBatchSampler(labels, 32, seed=5), HierarchicalBatchSampler(labels.tolist(), 32, seed=5)
    first = list(sampler)
    assert list(sampler) == first == list(twin)
    sampler.set_epoch(1)
    assert list(sampler) != first and list(sampler) != list(HierarchicalBatchSampler(labels, 32, seed=6))
    sampler.set_epoch(0)
    assert list(sampler) == first


@pytest.mark.parametrize("labels", [[[-1, -1, -1]] * 7, [[0, -1, 3]] * 7, [[i, i, i] for i in range(7)], [[0, 0, 0]]])
def test_unknown_and_single_labels(labels: list[list[int]]) -> None:
    batches = list(HierarchicalBatchSampler(np.array(labels), 4))
    assert sorted(index for batch in batches for index in batch) == list(range(len(labels)))


def test_several_processes_get_whole_different_batches() -> None:
    labels = random_labels(1, n=384)
    sampler = HierarchicalBatchSampler(labels, 32, seed=2)
    shards = [list(BatchSamplerShard(sampler, num_processes=2, process_index=rank)) for rank in range(2)]
    assert [batch for step in zip(*shards, strict=True) for batch in step] == list(sampler)


def test_a_data_loader_with_it_trains() -> None:
    labels = torch.from_numpy(random_labels(2, n=96))
    rows = torch.randn(96, 8, generator=torch.Generator().manual_seed(0))
    table = torch.utils.data.TensorDataset(rows, labels)
    loader = DataLoader(table, batch_sampler=HierarchicalBatchSampler(labels, 16))
    layer = torch.nn.Linear(8, 8)
    optimizer = torch.optim.Adam(layer.parameters(), lr=0.03)
    epochs = []
    for epoch in range(8):
        loader.batch_sampler.set_epoch(epoch)
        losses = []
        for batch, batch_labels in loader:
            loss = hierarchical_contrastive_loss(layer(batch), batch_labels, constraint=None)
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            losses.append(loss.item())
        epochs.append(sum(losses) / len(losses))
    assert len(losses) == 6 and min(losses) > 0 and epochs[-1] < epochs[0] - 0.1


def test_what_cannot_be_used_is_refused() -> None:
    labels = random_labels(0, n=10)
    for wrong in (labels[:, 0], labels.astype(float), labels[:0], labels[:, :0]):
        with pytest.raises(DataError, match="give integers"):
            HierarchicalBatchSampler(wrong, 4)
    for batch_size, seed in ((1, 0), (4, -1)):
        with pytest.raises(DataError, match="at least 2 samples"):
            HierarchicalBatchSampler(labels, batch_size, seed)

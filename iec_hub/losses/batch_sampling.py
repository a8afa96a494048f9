"""Batches that hold positives at every level of a hierarchy of labels."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import torch
from torch.utils.data import Sampler

from iec_hub.errors import DataError


@dataclass
class _Group:
    """Samples that agree down to some level; `children` are parted by the next level."""

    members: list[int]
    children: list[_Group] = field(default_factory=list)


@dataclass(frozen=True)
class _Block:
    """Samples that stay together; bit l of `levels` says that two of them agree at level l and at no finer one."""

    indices: list[int]
    levels: int = 0


class HierarchicalBatchSampler(Sampler[list[int]]):
    """
    Batches for [`hierarchical_contrastive_loss`], after the sampler of "Use All The Labels" (CVPR 2022).

    There, an anchor is joined by a sample of the same label at the finest level, one that differs only there, and so
    on, then by a new anchor. Here the samples themselves are matched, so that each of them is in an epoch exactly
    once: pairs of one concept (one triple where the number is odd), two such pairs of different concepts of one
    emotion, and two of those of different emotions of one polarity. Such a block, 8 samples of 3 levels, has a
    positive at every level for every sample. Every full batch gets a block, or several parts, that has a pair of each
    kind for as long as there are any, and is filled up with other blocks, drawn at random. What has no partner left
    (a concept seen once, the surplus of an emotion that outnumbers the others) is spread at random.

    A sample with an unknown label at a level pairs with others at the coarser levels only.

    The order depends on seed and epoch alone. [`set_epoch`] must be called before each epoch, or every epoch is the
    first one. Give it as `DataLoader(..., batch_sampler=sampler)`. With several processes, accelerate deals out whole
    batches, as this class knows nothing of processes: all of them must use the same seed and epoch. It may repeat
    samples at the end so that all processes have equally many batches. Leave its `split_batches` off, which would cut
    batches up.

    Args:
        labels: `(n, levels)` integers, a tensor, an array or lists, coarse to fine; below 0 is unknown.
        batch_size: samples per batch, at least 2. Below `2 ** levels` a batch may miss the coarsest kinds of pairs.
        seed: at least 0.
        drop_last: leaves out a last batch that is not full; it holds other samples in each epoch.

    Raises:
        DataError: If an argument cannot be used.
    """

    def __init__(self, labels: Any, batch_size: int, seed: int = 0, *, drop_last: bool = False):
        table = np.asarray(labels.detach().cpu() if isinstance(labels, torch.Tensor) else labels)
        if table.ndim != 2 or 0 in table.shape or table.dtype.kind not in "iu":
            raise DataError(
                f"Labels of type {table.dtype} and shape {table.shape} cannot be used; give integers (n, levels)."
            )
        if batch_size < 2 or seed < 0:
            raise DataError(
                f"A batch size of {batch_size} with seed {seed} cannot be used; give at least 2 samples and 0."
            )
        self.batch_size, self.seed, self.drop_last, self.epoch = batch_size, seed, drop_last, 0
        self._samples, self._levels = table.shape
        self._root = _grouped(table.tolist(), list(range(len(table))), 0)

    def set_epoch(self, epoch: int) -> None:
        """Sets which epoch the next iteration is, from 0."""
        self.epoch = epoch

    def __len__(self) -> int:
        """Batches per epoch."""
        full, rest = divmod(self._samples, self.batch_size)
        return full + (rest > 0 and not self.drop_last)

    def __iter__(self) -> Iterator[list[int]]:
        rng = np.random.default_rng([self.seed, self.epoch])
        blocks = _blocks(self._root, 0, rng)
        by_levels: dict[int, list[_Block]] = defaultdict(list)
        for number in rng.permutation(len(blocks)):
            by_levels[blocks[number].levels].append(blocks[number])
        heads = [self._head(by_levels) for _ in range(self._samples // self.batch_size)]
        others = [block.indices for same_levels in by_levels.values() for block in same_levels]
        others += [head[self.batch_size :] for head in heads]
        fill = iter([index for number in rng.permutation(len(others)) for index in others[number]])
        batches = []
        for head in heads:
            batch = head[: self.batch_size]
            batches.append(batch + [next(fill) for _ in range(self.batch_size - len(batch))])
        # The first batches were served first; where kinds of pairs are rare, these should not come first always.
        for number in rng.permutation(len(batches)):
            yield batches[number]
        last = list(fill)
        if last and not self.drop_last:
            yield last

    def _head(self, by_levels: dict[int, list[_Block]]) -> list[int]:
        """Takes blocks that together have a pair of each level, as far as there are any."""
        missing, head = (1 << self._levels) - 1, []
        while missing and len(head) < self.batch_size:
            useful = [levels for levels, blocks in by_levels.items() if blocks and levels & missing]
            if not useful:
                break
            # Most of what is missing. Of equal ones the lower, as a block that has more besides is a higher number.
            best = max(useful, key=lambda levels: ((levels & missing).bit_count(), -levels))
            head += by_levels[best].pop().indices
            missing &= ~best
        return head


def _grouped(table: list[list[int]], members: list[int], level: int) -> _Group:
    """Parts samples by their labels from `level` on."""
    if level == len(table[0]):
        return _Group(members)
    known: dict[int, list[int]] = defaultdict(list)
    unknown = []
    for index in members:
        if table[index][level] < 0:
            unknown.append(_Group([index]))
        else:
            known[table[index][level]].append(index)
    children = [_grouped(table, indices, level + 1) for indices in known.values()]
    return _Group(members, children + unknown)


def _blocks(group: _Group, level: int, rng: np.random.Generator) -> list[_Block]:
    """Blocks of a group, whose members agree at all levels below `level`."""
    if not group.children:
        return _pairs([group.members[number] for number in rng.permutation(len(group.members))], level)
    parts = [_blocks(group.children[number], level + 1, rng) for number in rng.permutation(len(group.children))]
    if level == 0:
        return [block for part in parts for block in part]
    return _matched(parts, 1 << (level - 1))


def _pairs(indices: list[int], level: int) -> list[_Block]:
    """Pairs of samples that agree at all levels, with one triple where their number is odd."""
    if len(indices) == 1:
        return [_Block(indices)]
    cuts = list(range(0, len(indices) - 1, 2))
    ends = [*cuts[1:], len(indices)]
    return [_Block(indices[cut:end], 1 << (level - 1)) for cut, end in zip(cuts, ends, strict=True)]


def _matched(parts: list[list[_Block]], levels: int) -> list[_Block]:
    """Joins as many blocks of different parts as possible, two by two; the others are left as they are."""
    largest = max(range(len(parts)), key=lambda number: len(parts[number]))
    parts = [parts[largest], *parts[:largest], *parts[largest + 1 :]]
    blocks = [block for part in parts for block in part]
    # Blocks of one part lie side by side. Partners lie further apart than the largest part is long, or, where that
    # part outnumbers all others together, one of them is not in it.
    count = min(len(blocks) // 2, len(blocks) - len(parts[0]))
    middle = len(blocks) - count
    joined = [
        _Block(one.indices + two.indices, one.levels | two.levels | levels)
        for one, two in zip(blocks[:count], blocks[middle:], strict=True)
    ]
    return joined + blocks[count:middle]


__all__ = ["HierarchicalBatchSampler"]

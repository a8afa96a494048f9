"""Pictures that are there twice: found by perceptual hash, so that no test picture is also trained on."""

from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace

import numpy as np

from iec_hub.data.labels import shown_list
from iec_hub.data.schema import SPLITS, EmotionDataset, EmotionExample, SkippedRow
from iec_hub.errors import DataError, ImageError
from iec_hub.images import perceptual_hash

# Most bits in which two hashes of one picture differ (resized, recompressed, brightened). Among 1.1 million pairs
# of different Emotion6 pictures none was closer than 8, and most lie near 32.
DUPLICATE_DISTANCE = 6
_BLOCK = 2**21
# The hash is of 32 x 32 pixels, so a JPEG need not be decoded in full.
_HASH_SIDE = 64
_BITS_OF_BYTE = np.array([byte.bit_count() for byte in range(256)], dtype=np.uint8)


@dataclass(frozen=True, eq=False)
class RemovedDuplicate:
    """A removed example, the one it repeats, and the number of bits (0 to 64) in which their hashes differ."""

    example: EmotionExample
    kept: EmotionExample
    distance: int

    @property
    def reason(self) -> str:
        """Why it was removed, for people."""
        where = f"{self.kept.origin} ({self.kept.split or 'no split'})"
        return f"the picture is also {where}; {self.distance} of 64 bits of their hashes differ."


def remove_duplicates(
    dataset: EmotionDataset,
    *,
    threshold: int = DUPLICATE_DISTANCE,
    keep: str | Sequence[str] = ("test", "validation", "train"),
    within_splits: bool = False,
    workers: int = 8,
) -> tuple[EmotionDataset, list[RemovedDuplicate]]:
    """Leaves out pictures that are in two splits, from the one that can spare them.

    A picture of the test split that is also in train is removed from train, so that results compare with
    others on the same test split. Examples without a split come last. The hash sees only grey: pictures that
    differ in colour alone count as the same.

    Args:
        threshold: Most bits, 0 to 64, in which the hashes of one picture differ; 0 finds only the same hash.
        keep: The split whose copy stays, or splits in falling order of precedence.
        within_splits: Also remove what a split holds twice; the first copy stays.
        workers: Threads that open and hash images.

    Returns:
        The data set without the duplicates, which are among its skipped rows, as are images that cannot be
        opened; and the removed examples, each with the one it repeats.

    Raises:
        DataError: If the threshold is not between 0 and 64 or `keep` is no split of the data set's.
    """
    if not 0 <= threshold <= 64:
        raise DataError(f"The threshold is {threshold}; give a number of bits from 0 to 64.")
    order = _precedence(dataset, keep)
    hashes, skipped = _hashes(dataset, workers)
    removed: dict[int, RemovedDuplicate] = {}
    kept = np.zeros(0, dtype=np.int64)
    for split in order:
        rows = np.array([i for i in hashes if dataset[i].split == split], dtype=np.int64)
        nearest, distance = _nearest(_array(hashes, rows), _array(hashes, kept))
        new = []
        for row, near, bits in zip(rows.tolist(), nearest.tolist(), distance.tolist(), strict=True):
            if bits <= threshold:
                removed[row] = RemovedDuplicate(dataset[row], dataset[int(kept[near])], bits)
            else:
                new.append(row)
        if within_splits:
            new = _first_copies(dataset, hashes, new, threshold, removed)
        kept = np.concatenate([kept, np.array(new, dtype=np.int64)])
    duplicates = [item for _, item in sorted(removed.items())]
    skipped += [SkippedRow(item.example.origin, item.reason, item.example.split, "duplicate") for item in duplicates]
    # A picture that cannot be opened has no hash; an example of text alone has none either, and stays.
    examples = [
        example
        for index, example in enumerate(dataset)
        if index not in removed and (index in hashes or example.image is None)
    ]
    cleaned = replace(dataset, examples=examples, skipped=[*dataset.skipped, *skipped], notes=list(dataset.notes))
    return cleaned, duplicates


def near_duplicate_groups(
    dataset: EmotionDataset, *, threshold: int = DUPLICATE_DISTANCE, workers: int = 8
) -> list[list[int]]:
    """Which examples show one picture: a chain of pairs whose hashes differ by at most `threshold` bits is one group.

    Args:
        threshold: Most bits, 0 to 64.
        workers: Threads that open and hash images.

    Returns:
        Every index of the data set in one group; groups by their first index. What has no picture that can be
        opened is a group of its own.
    """
    hashes, _ = _hashes(dataset, workers)
    rows = np.array(sorted(hashes), dtype=np.int64)
    array = _array(hashes, rows)
    first = list(range(len(dataset)))

    def root(index: int) -> int:
        while first[index] != index:
            first[index] = index = first[first[index]]
        return index

    for row, later, _ in _close_pairs(array, threshold):
        one, other = root(int(rows[row])), root(int(rows[later]))
        first[max(one, other)] = min(one, other)
    groups: dict[int, list[int]] = {}
    for index in range(len(dataset)):
        groups.setdefault(root(index), []).append(index)
    return list(groups.values())


def _precedence(dataset: EmotionDataset, keep: str | Sequence[str]) -> list[str | None]:
    known = dataset.splits()
    wanted = [keep] if isinstance(keep, str) else list(keep)
    strange = [name for name in wanted if name not in (*known, *SPLITS)]
    if strange:
        raise DataError(f"{dataset.name} has no split {shown_list(strange)}; its splits are {shown_list(known)}.")
    others = [name for name in ("test", "validation", "train", *known) if name not in wanted]
    return [*dict.fromkeys([*wanted, *others]), None]


def _hashes(dataset: EmotionDataset, workers: int) -> tuple[dict[int, int], list[SkippedRow]]:
    """Index -> hash of every picture, and the pictures that cannot be opened."""

    def of(example: EmotionExample) -> int | str | None:
        if example.image is None:
            return None
        try:
            return perceptual_hash(example.open(max_side=_HASH_SIDE))
        except ImageError as error:
            return str(error)

    with ThreadPoolExecutor(workers) as pool:
        found = list(pool.map(of, dataset.examples))
    hashes = {index: value for index, value in enumerate(found) if isinstance(value, int)}
    skipped = [
        SkippedRow(dataset[index].origin, value, dataset[index].split, "image")
        for index, value in enumerate(found)
        if isinstance(value, str)
    ]
    return hashes, skipped


def _array(hashes: dict[int, int], rows: np.ndarray) -> np.ndarray:
    return np.array([hashes[index] for index in rows.tolist()], dtype=np.uint64)


def hamming_distances(first: np.ndarray, second: np.ndarray) -> np.ndarray:
    """Number of bits in which hashes differ.

    Args:
        first: uint64 hashes, shape (m,).
        second: uint64 hashes, shape (n,).

    Returns:
        uint8, shape (m, n), 0 to 64.
    """
    different = first[:, None] ^ second[None, :]
    if hasattr(np, "bitwise_count"):
        return np.bitwise_count(different)
    # numpy before 2.0
    return _BITS_OF_BYTE[different.view(np.uint8).reshape(*different.shape, 8)].sum(axis=-1, dtype=np.uint8)


def _nearest(hashes: np.ndarray, others: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """For each hash the position of the nearest other one and its distance (65 where there is none)."""
    nearest, distance = np.zeros(len(hashes), dtype=np.int64), np.full(len(hashes), 65, dtype=np.int64)
    if not len(others):
        return nearest, distance
    # Blocks keep the table of distances within a few tens of megabytes, whatever the data set's size.
    step = max(1, _BLOCK // len(others))
    for start in range(0, len(hashes), step):
        table = hamming_distances(hashes[start : start + step], others)
        nearest[start : start + step] = table.argmin(axis=1)
        distance[start : start + step] = table.min(axis=1)
    return nearest, distance


def _close_pairs(array: np.ndarray, threshold: int) -> Iterator[tuple[int, int, int]]:
    """Pairs of positions, the earlier one first, whose hashes differ by at most `threshold` bits, and by how many."""
    step = max(1, _BLOCK // max(1, len(array)))
    for start in range(0, len(array), step):
        # Earlier rows were compared with all later ones already.
        table = hamming_distances(array[start : start + step], array[start:])
        for row, later in np.argwhere(table <= threshold).tolist():
            if later > row:
                yield start + row, start + later, int(table[row, later])


def _first_copies(
    dataset: EmotionDataset,
    hashes: dict[int, int],
    rows: list[int],
    threshold: int,
    removed: dict[int, RemovedDuplicate],
) -> list[int]:
    """The rows of one split that repeat no earlier one; the others go to `removed`."""
    gone = np.zeros(len(rows), dtype=bool)
    for first, column, bits in _close_pairs(_array(hashes, np.array(rows, dtype=np.int64)), threshold):
        if not gone[first] and not gone[column]:
            gone[column] = True
            removed[rows[column]] = RemovedDuplicate(dataset[rows[column]], dataset[rows[first]], bits)
    return [row for row, is_gone in zip(rows, gone.tolist(), strict=True) if not is_gone]

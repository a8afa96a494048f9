"""Few examples per class, drawn the same way every time."""

from dataclasses import replace

import numpy as np

from iec_hub.data.schema import EmotionDataset
from iec_hub.errors import DataError


def few_shot(dataset: EmotionDataset, shots: int, seed: int = 0) -> EmotionDataset:
    """Draws `shots` examples of every class, in the order of the data set.

    An example's class is its label with most votes. The same data set and seed give the same examples, and
    fewer shots are a part of more shots of the same seed.

    Args:
        dataset: Examples of one split, as `load_emotion_dataset(...).split("train")`.
        shots: Examples per class, at least 1.

    Raises:
        DataError: If `shots` is below 1, a class that occurs has fewer examples, or the data set has several
            splits, as shots drawn from the test split would leak.
    """
    if shots < 1:
        raise DataError(f"{shots} shots cannot be drawn; ask for at least 1 per class.")
    if len({example.split for example in dataset}) > 1:
        raise DataError(
            f"{dataset.name} has several splits ({', '.join(dataset.splits())}); draw from one of them, as "
            'few_shot(dataset.split("train"), ...).'
        )
    by_class: dict[str, list[int]] = {label: [] for label in dataset.emotion_model.labels}
    for index, example in enumerate(dataset):
        by_class[example.label].append(index)
    chosen: list[int] = []
    for number, (label, indices) in enumerate(by_class.items()):
        if not indices:  # a built-in emotion model may have more labels than the data set uses
            continue
        if len(indices) < shots:
            raise DataError(
                f'The class "{label}" of {dataset.name} has {len(indices)} examples, fewer than {shots} shots; '
                "ask for fewer shots or add examples."
            )
        # A generator per class, so that more pictures of one class do not change the draw of another.
        order = np.random.default_rng([seed, number]).permutation(len(indices))
        chosen += [indices[i] for i in order[:shots]]
    return replace(
        dataset,
        examples=[dataset[index] for index in sorted(chosen)],
        skipped=list(dataset.skipped),
        notes=list(dataset.notes),
        name=f"{dataset.name}, {shots} shots, seed {seed}",
    )

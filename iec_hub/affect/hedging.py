"""Names for pictures that are as specific as a classifier's certainty allows: a "dog" where no breed is sure.

After "Hedging your bets: optimizing accuracy-specificity trade-offs in large scale visual recognition" (Deng et al.,
CVPR 2012): the probability of a group is the sum of its classes' probabilities, and of all names that are certain
enough the most specific are given. Here "certain enough" is one threshold and several names may stand for one picture.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping, Sequence
from functools import cached_property, lru_cache
from importlib.resources import files
from typing import Any

import numpy as np

from iec_hub.errors import DataError
from iec_hub.prediction import Tag

# How the names of ImageNet's classes begin, in torchvision's, timm's and transformers' spelling and as WordNet ids.
_IMAGENET_BEGINNINGS = {0: ("tench", "n01440764"), 1: ("goldfish", "n01443537"), 2: ("great white shark", "n01484850")}
_IMAGENET_CLASSES = 1000


class LabelHierarchy:
    """Names over a classifier's classes: the classes' own, which classes may share, and those of groups of them.

    A class name that is also a group's stands for both.

    Attributes:
        names: the names of all nodes, unique.
        attributes: what each name is, "object" or "scene" (or another of EmoSet's attributes).
        members: bool array ``(classes, nodes)``: whether a class belongs to a node.
        within: bool array ``(nodes, nodes)``: whether all classes of the row's node belong to the column's, and not
            the reverse.
        source: what stands as the source of the tags.

    Args:
        classes: one name per class, in the classifier's order; None for a class that only counts in its groups.
        groups: name -> indices of its classes.
        attributes: name -> attribute, where it is not "object".

    Raises:
        DataError: If a group is empty or names a class that is not there, or an attribute's name is unknown.
    """

    def __init__(
        self,
        classes: Sequence[str | None],
        groups: Mapping[str, Iterable[int]] | None = None,
        attributes: Mapping[str, str] | None = None,
        source: str = "classifier",
    ) -> None:
        nodes: dict[str, set[int]] = {}
        for index, name in enumerate(classes):
            if name is not None:
                nodes.setdefault(name, set()).add(index)
        for name, indices in (groups or {}).items():
            indices = set(indices)
            if not indices or not all(0 <= index < len(classes) for index in indices):
                raise DataError(f"The group {name!r} is empty or names classes that are not there; check its indices.")
            nodes.setdefault(name, set()).update(indices)
        unknown = sorted(set(attributes or {}) - set(nodes))
        if unknown:
            raise DataError(f"There is no class or group {unknown[0]!r} to have an attribute; check the name.")
        self.names = tuple(nodes)
        self.attributes = tuple((attributes or {}).get(name, "object") for name in self.names)
        self.source = source
        self.members = np.zeros((len(classes), len(self.names)), dtype=bool)
        for node, indices in enumerate(nodes.values()):
            self.members[sorted(indices), node] = True
        shared = self.members.T.astype(np.float32) @ self.members.astype(np.float32)
        sizes = self.members.sum(axis=0)
        self.within = (shared == sizes[:, None]) & (sizes[:, None] < sizes[None, :])
        self._overlap = shared > 0
        self._sizes = sizes

    @classmethod
    def from_json(cls, content: Mapping[str, Any], source: str = "classifier") -> LabelHierarchy:
        """From ``{"classes": [name], "groups": {name: [index]}, "scenes": [name]}``; other names are objects."""
        return cls(content["classes"], content["groups"], dict.fromkeys(content["scenes"], "scene"), source)

    @cached_property
    def _classes_of_nodes(self) -> tuple[np.ndarray, np.ndarray]:
        """The classes of every node, one node after the other, and where each node's begin."""
        nodes, classes = self.members.T.nonzero()
        return classes, np.searchsorted(nodes, np.arange(len(self.names)))

    def node_probabilities(self, probabilities: np.ndarray) -> np.ndarray:
        """Probability of each node, ``(n, nodes)``, from that of each class, ``(n, classes)``.

        Raises:
            DataError: If there is not one probability from 0 to 1 per class.
        """
        probabilities = np.asarray(probabilities, dtype=np.float64)
        if probabilities.ndim != 2 or probabilities.shape[1] != len(self.members):
            raise DataError(
                f"Probabilities of shape {probabilities.shape} do not fit {len(self.members)} classes; "
                "give one row per picture."
            )
        # NaN fails the comparison too.
        if not np.all((probabilities >= 0) & (probabilities <= 1 + 1e-6)):
            raise DataError("Probabilities have to lie from 0 to 1; apply a softmax to the classifier's logits.")
        # Sums, not a product with a matrix of zeros, whose threads would go on turning while they wait for the next.
        classes, starts = self._classes_of_nodes
        return np.minimum(np.add.reduceat(probabilities[:, classes], starts, axis=1), 1.0)

    def hedge(self, probabilities: np.ndarray, minimum: float, most: int = 3) -> list[tuple[Tag, ...]]:
        """The most specific names that are certain enough.

        A name is given if its probability reaches `minimum` and that of no more specific name does. Names never
        share a class: of two that do, the more probable one is given.

        Args:
            probabilities: ``(n, classes)``, each row sums to at most 1.
            minimum: least probability of a name, above 0 and at most 1.
            most: most names per picture.

        Returns:
            One tuple per picture, most probable name first; empty where no name reaches `minimum`.

        Raises:
            DataError: If the probabilities do not fit, or `minimum` lies outside of its range.
        """
        if not 0 < minimum <= 1:
            raise DataError(f"The least probability of a name is {minimum:g}; give a number above 0 and at most 1.")
        nodes = self.node_probabilities(probabilities)
        # Sums of rounded numbers: 0.1 + 0.2 reaches 0.3 and a child's sum is no more certain than its parent's.
        return [self._name(row, np.flatnonzero(row >= minimum - 1e-9), most) for row in nodes]

    def _name(self, row: np.ndarray, reached: np.ndarray, most: int) -> tuple[Tag, ...]:
        """The names of one picture from the nodes that are certain enough, which are few."""
        has_more_specific = self.within[np.ix_(reached, reached)].any(axis=0)
        kept: list[int] = []
        # Equally probable names: the one of fewer classes first.
        for node in sorted(reached[~has_more_specific], key=lambda node: (-round(row[node], 9), self._sizes[node])):
            if len(kept) < most and not self._overlap[node, kept].any():
                kept.append(node)
        return tuple(Tag(self.attributes[n], self.names[n], float(row[n]), self.source) for n in kept)


@lru_cache(maxsize=1)
def _imagenet_content() -> Mapping[str, Any]:
    return json.loads((files("iec_hub.affect") / "imagenet_objects.json").read_text(encoding="utf-8"))


@lru_cache(maxsize=4)
def imagenet_hierarchy(source: str = "classifier") -> LabelHierarchy:
    """Everyday words over ImageNet's 1,000 classes (in the order of their WordNet identifiers), objects and scenes.

    Whoever names the same source shares one.
    """
    return LabelHierarchy.from_json(_imagenet_content(), source)


def imagenet_columns(labels: Sequence[str]) -> slice | None:
    """Which of a classifier's outputs are ImageNet's 1,000 classes in their usual order; None if it has others.

    Some classifiers have "background" as a class before them.
    """
    offset = int(len(labels) == _IMAGENET_CLASSES + 1 and labels[0].casefold() == "background")
    if len(labels) != _IMAGENET_CLASSES + offset:
        return None
    for index, beginnings in _IMAGENET_BEGINNINGS.items():
        if not labels[index + offset].casefold().replace("_", " ").startswith(beginnings):
            return None
    return slice(offset, None)

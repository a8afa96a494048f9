"""The order in which lines are read: top to bottom and left to right, column by column, however they are turned."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

Box = Sequence[Sequence[float]]
# Shares of the usual height of a line: a blank between words is about 0.3, a gutter between columns more than 1.
_GUTTER = 1.0
_SAME_ROW = 0.5


def reading_order(boxes: Sequence[Box], weights: Sequence[float] | None = None) -> list[int]:
    """Indices of the boxes in the order in which they are read.

    Lines that are turned differently by more than 45 degrees are read apart: first those that say most.

    Args:
        boxes: four corners `(x, y)` each, clockwise from the top left corner of the text, y downwards.
        weights: how much each line says, such as its number of letters; 1 each if left out.
    """
    if not boxes:
        return []
    corners = np.asarray(boxes, dtype=np.float64)
    along = corners[:, 1] - corners[:, 0]
    angles = np.arctan2(along[:, 1], along[:, 0])
    said = np.ones(len(corners)) if weights is None else np.asarray(weights, dtype=np.float64)
    quarters = np.round(angles / (np.pi / 2)).astype(int) % 4
    order: list[int] = []
    for quarter in sorted(set(quarters.tolist()), key=lambda q: (-said[quarters == q].sum(), q)):
        own = np.flatnonzero(quarters == quarter)
        order += [int(own[index]) for index in _upright_order(_turned_back(corners[own], said[own], angles[own]))]
    return order


def _turned_back(corners: np.ndarray, weights: np.ndarray, angles: np.ndarray) -> np.ndarray:
    """Rectangles `(n, 4)` (left, top, right, bottom) around boxes `(n, 4, 2)` once their text runs rightwards."""
    # Mean of directions, not of angles: 179 and -179 degrees are neighbours.
    angle = np.arctan2((weights * np.sin(angles)).sum(), (weights * np.cos(angles)).sum())
    cos, sin = np.cos(angle), np.sin(angle)
    turned = corners @ np.array([[cos, -sin], [sin, cos]])
    return np.concatenate([turned.min(axis=1), turned.max(axis=1)], axis=1)


def _upright_order(rectangles: np.ndarray) -> list[int]:
    return _cut(rectangles, list(range(len(rectangles))))


def _cut(rectangles: np.ndarray, own: list[int]) -> list[int]:
    """Read columns one after the other; where there are none, what is above the widest gap before what is below it."""
    rows = _rows(rectangles, own)
    if len(rows) < 2:
        return [index for row in rows for index in row]
    columns = _columns(rectangles, own)
    if columns:
        return [index for column in columns for index in _cut(rectangles, column)]
    bottoms = [max(rectangles[index, 3] for index in row) for row in rows]
    tops = [min(rectangles[index, 1] for index in row) for row in rows]
    gaps = [tops[i + 1] - max(bottoms[: i + 1]) for i in range(len(rows) - 1)]
    widest = int(np.argmax(gaps)) + 1
    above, below = ([index for row in part for index in row] for part in (rows[:widest], rows[widest:]))
    return _cut(rectangles, above) + _cut(rectangles, below)


def _rows(rectangles: np.ndarray, own: list[int]) -> list[list[int]]:
    """Boxes that stand side by side, each row from left to right, the rows from top to bottom."""
    rows: list[list[int]] = []
    for index in sorted(own, key=lambda i: rectangles[i, 1] + rectangles[i, 3]):
        if rows and any(_beside(rectangles[index], rectangles[other]) for other in rows[-1]):
            rows[-1].append(index)
        else:
            rows.append([index])
    return [sorted(row, key=lambda i: rectangles[i, 0]) for row in rows]


def _beside(first: np.ndarray, second: np.ndarray) -> bool:
    shared = min(first[3], second[3]) - max(first[1], second[1])
    return shared > _SAME_ROW * min(first[3] - first[1], second[3] - second[1])


def _columns(rectangles: np.ndarray, own: list[int]) -> list[list[int]]:
    """Columns from left to right with at least two rows each, or nothing where no free gutter parts such."""
    height = float(np.median(rectangles[own, 3] - rectangles[own, 1]))
    sides: list[list[int]] = []
    right = -np.inf
    for index in sorted(own, key=lambda i: rectangles[i, 0]):
        if rectangles[index, 0] > right + _GUTTER * height or not sides:
            sides.append([])
        sides[-1].append(index)
        right = max(right, rectangles[index, 2])
    if len(sides) < 2 or any(len(_rows(rectangles, side)) < 2 for side in sides):
        return []
    # Columns stand beside each other: a block at the top left and one at the bottom right do not.
    spans = [(rectangles[side, 1].min(), rectangles[side, 3].max()) for side in sides]
    for (top, bottom), (next_top, next_bottom) in zip(spans, spans[1:], strict=False):
        if min(bottom, next_bottom) - max(top, next_top) < _SAME_ROW * min(bottom - top, next_bottom - next_top):
            return []
    return sides

"""The text in a picture as HTML: boxes over the picture, and beneath it what stands in them."""

import math
from collections.abc import Mapping, Sequence
from html import escape

from PIL import Image

from iec_hub.prediction import EmbeddedText
from iec_hub.space import texts
from iec_hub.space.escaping import percent
from iec_hub.space.heat_maps import data_uri
from iec_hub.space.rendering_words import marked, nothing, score_of, section

# A photographed page has hundreds of lines.
MAX_TEXTS = 30
LONGEST_TEXT = 300


def embedded_text_html(
    found: Sequence[EmbeddedText] | None,
    shown: Image.Image,
    size: tuple[int, int],
    marks: Mapping[str, float] | None = None,
) -> str:
    """The text in the picture: numbered outlines over the picture, and a list with the same numbers.

    Args:
        found: in reading order; None where nobody looked, empty where there was none.
        shown: the picture in the size in which it is sent.
        size: width and height of the picture in the pixels of the boxes.
        marks: the deciding words, see :func:`iec_hub.space.rendering_words.word_marks`.
    """
    if found is None:
        return ""
    if not found:
        return nothing(texts.EMBEDDED_TEXT, texts.NO_EMBEDDED_TEXT)
    outlines = {number: box for number, each in enumerate(found[:MAX_TEXTS], 1) if (box := outline(each.box, size))}
    rows = "".join(_row(each, marks or {}) for each in found[:MAX_TEXTS])
    more = ""
    if len(found) > MAX_TEXTS:
        more = f'<p class="iec-rest">{escape(texts.MORE_TEXTS.format(count=len(found) - MAX_TEXTS))}</p>'
    picture = _boxed(shown, outlines, size) if outlines else ""
    hint = texts.EMBEDDED_TEXT_HINT if outlines else texts.EMBEDDED_TEXT_HINT_NO_BOXES
    return section(texts.EMBEDDED_TEXT, hint, f'{picture}<ol class="iec-read">{rows}</ol>{more}')


def outline(box: Sequence[Sequence[float]], size: tuple[int, int]) -> list[tuple[float, float]]:
    """The corners of a box, kept within the picture; empty where they make no area of it."""
    try:
        corners = [(float(x), float(y)) for x, y in box]
    except (TypeError, ValueError):
        return []
    if len(corners) < 3 or not all(math.isfinite(value) for corner in corners for value in corner):
        return []
    corners = [(min(max(x, 0.0), float(size[0])), min(max(y, 0.0), float(size[1]))) for x, y in corners]
    if len({x for x, _ in corners}) < 2 or len({y for _, y in corners}) < 2:
        return []
    return corners


def _boxed(shown: Image.Image, outlines: Mapping[int, Sequence[tuple[float, float]]], size: tuple[int, int]) -> str:
    width, height = size
    # A light line on a dark one can be seen on any picture. The browser scales both with the picture.
    corners = [" ".join(f"{x:.1f},{y:.1f}" for x, y in box) for box in outlines.values()]
    lines = "".join(f'<polygon class="{name}" points="{at}"/>' for name in ("iec-edge", "iec-line") for at in corners)
    # Outside the drawing, where their size does not depend on the picture's.
    badges = "".join(
        f'<span class="iec-badge" style="--x:{100 * box[0][0] / width:.2f}%;--y:{100 * box[0][1] / height:.2f}%" '
        f'aria-hidden="true">{number}</span>'
        for number, box in outlines.items()
    )
    return (
        f'<div class="iec-picture iec-boxed"><img width="{shown.width}" height="{shown.height}" '
        f'alt="{escape(texts.boxed_alternative(len(outlines)))}" src="{data_uri(shown, "JPEG")}">'
        f'<svg class="iec-boxes" viewBox="0 0 {width} {height}" preserveAspectRatio="none" aria-hidden="true" '
        f'focusable="false">{lines}</svg>{badges}</div>'
    )


def _row(each: EmbeddedText, marks: Mapping[str, float]) -> str:
    confidence = escape(texts.READ_CONFIDENCE).format(share=percent(score_of(each.confidence)))
    text = marked(each.text, marks, LONGEST_TEXT)
    return f'<li><q dir="auto">{text}</q> <span class="iec-source">{confidence}</span></li>'

"""How each method works, as drawings within the page: from the picture at the top to the distribution at the bottom.

Their colours come from `about.css`, so that they follow the theme; a description stands in for them.
"""

from collections.abc import Sequence
from html import escape

from iec_hub.space import texts

WIDTH, HEIGHT = 320, 400
_PICTURE_TOP, _ANSWER_TOP = 8, 330
_CENTRE = WIDTH // 2


def method_diagram(method: str) -> str:
    """An SVG of a method; empty for one that is not known."""
    drawing = {"ugrie": _ugrie, "escnet": _escnet, "aciec": _aciec}.get(method)
    if drawing is None:
        return ""
    described = escape(texts.ABOUT_METHODS[method][1])
    arrow = (
        f'<defs><marker id="iec-tip-{method}" viewBox="0 0 8 8" refX="7" refY="4" markerWidth="7" markerHeight="7" '
        'orient="auto"><path class="iec-tip" d="M0 0 8 4 0 8Z"/></marker></defs>'
    )
    return (
        f'<svg class="iec-diagram" viewBox="0 0 {WIDTH} {HEIGHT}" role="img" aria-label="{described}">'
        f"{arrow}{_picture()}{drawing()}{_distribution()}</svg>"
    )


def _ugrie() -> str:
    vision, mapping, language, words = texts.DIAGRAM_UGRIE
    return (
        _arrow("ugrie", (_CENTRE, 70), (_CENTRE, 92))
        + _box(60, 94, 200, vision)
        + _arrow("ugrie", (_CENTRE, 142), (_CENTRE, 164))
        + _box(60, 166, 200, mapping)
        + _arrow("ugrie", (104, 214), (104, 244))
        + _box(4, 246, 200, language, "iec-words")
        + _arrow("ugrie", (224, 270), (206, 270))
        + _box(226, 246, 92, words, "iec-words", small=True)
        + _arrow("ugrie", (104, 294), (104, 312), (_CENTRE, 312), (_CENTRE, 328))
    )


def _escnet() -> str:
    captioner, vision, fusion = texts.DIAGRAM_ESCNET
    return (
        _arrow("escnet", (130, 70), (82, 114))
        + _arrow("escnet", (190, 70), (238, 114))
        + _box(8, 116, 148, captioner, "iec-words")
        + _box(168, 116, 144, vision)
        + _arrow("escnet", (82, 164), (110, 214))
        + _arrow("escnet", (238, 164), (210, 214))
        + _box(50, 216, 220, fusion)
        + _arrow("escnet", (_CENTRE, 264), (_CENTRE, 328))
    )


def _aciec() -> str:
    concepts, reasoning, text, classifier, wall = texts.DIAGRAM_ACIEC
    return (
        _arrow("aciec", (130, 70), (54, 114))
        + _arrow("aciec", (_CENTRE, 70), (_CENTRE, 114))
        + _arrow("aciec", (190, 70), (266, 114))
        + _box(4, 116, 100, concepts, "iec-words", small=True)
        + _box(110, 116, 100, reasoning, "iec-words", small=True)
        + _box(216, 116, 100, text, "iec-words", small=True)
        # The picture stops here.
        + f'<path class="iec-wall" d="M8 190H{WIDTH - 8}"/>'
        + "".join(
            f'<text class="iec-aside-text iec-small" x="205" y="{206 + 15 * index}" text-anchor="middle">'
            f"{escape(line)}</text>"
            for index, line in enumerate(wall)
        )
        + _arrow("aciec", (54, 164), (78, 228))
        + _arrow("aciec", (_CENTRE, 164), (_CENTRE, 228))
        + _arrow("aciec", (266, 164), (242, 228))
        + _box(50, 230, 220, classifier, "iec-words")
        + _arrow("aciec", (_CENTRE, 278), (_CENTRE, 328))
    )


def _picture() -> str:
    """A framed landscape."""
    left, top = _CENTRE - 28, _PICTURE_TOP
    return (
        f'<g class="iec-photo"><rect x="{left}" y="{top}" width="56" height="42" rx="4"/>'
        f'<circle cx="{left + 15}" cy="{top + 13}" r="5"/>'
        f'<path d="M{left + 4} {top + 37} {left + 20} {top + 21} {left + 30} {top + 31} {left + 39} {top + 18} '
        f'{left + 52} {top + 37}Z"/></g>'
        f'<text class="iec-aside-text" x="{_CENTRE}" y="{top + 57}" text-anchor="middle">'
        f"{escape(texts.DIAGRAM_PICTURE)}</text>"
    )


def _distribution() -> str:
    """A few bars, the first the longest."""
    heights = (38, 20, 12, 6, 3)
    bars = "".join(
        f'<rect x="{_CENTRE - 45 + 19 * index}" y="{_ANSWER_TOP + 42 - height}" width="14" height="{height}"/>'
        for index, height in enumerate(heights)
    )
    return (
        f'<g class="iec-outcome">{bars}</g>'
        f'<text class="iec-aside-text" x="{_CENTRE}" y="{_ANSWER_TOP + 58}" text-anchor="middle">'
        f"{escape(texts.DIAGRAM_ANSWER)}</text>"
    )


def _box(x: int, y: int, width: int, lines: Sequence[str], kind: str = "", small: bool = False) -> str:
    size = " iec-small" if small else ""
    shown = "".join(
        f'<text class="{"iec-box-title" if index == 0 else "iec-box-line"}{size}" x="{x + width // 2}" '
        f'y="{y + 20 + 18 * index}" text-anchor="middle">{escape(line)}</text>'
        for index, line in enumerate(lines)
    )
    return f'<rect class="iec-box {kind}" x="{x}" y="{y}" width="{width}" height="48" rx="7"/>{shown}'


def _arrow(method: str, *points: tuple[int, int]) -> str:
    path = " ".join(f"{x} {y}" for x, y in points)
    return f'<path class="iec-flow" d="M{path}" marker-end="url(#iec-tip-{method})"/>'

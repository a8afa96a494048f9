"""What many pictures add up to, as HTML: how the emotions are spread, and a plane of pleasant and stirring.

The first is a table with bars in it, the second an image whose numbers are in the table of the pictures: nothing is
told by colour or place alone.
"""

import math
from html import escape

from iec_hub.emotions import EMOTION_MODELS
from iec_hub.space import texts
from iec_hub.space.affect_plane import DIMENSIONS, AffectPlane, known_planes
from iec_hub.space.batch_rows import Batch
from iec_hub.space.escaping import percent, safe_html
from iec_hub.space.rendering import label_colours

# Own labels may be hundreds.
MOST_BARS = 20
_WIDTH, _HEIGHT, _EDGE = 360, 280, 26
_RADIUS = 5
_NEAREST_END = 0.3


def summary_html(batch: Batch) -> str:
    """Both plots, which have their places before there is anything in them."""
    return (
        f'<section class="iec-many-summary"><h2>{escape(texts.MANY_SUMMARY)}</h2>'
        f'<div class="iec-plots"><div>{spread_html(batch)}</div><div>{plane_html(batch)}</div></div></section>'
    )


def spread_html(batch: Batch) -> str:
    """Per label how many pictures most likely evoke it, how many of these are guesses, and its average share.

    At most `MOST_BARS` labels, then the commonest in their order.
    """
    predictions = batch.predictions
    counts = {label: [0, 0, 0.0] for label in batch.labels}
    for prediction in predictions:
        of = counts[prediction.emotion]
        of[0] += 1
        of[1] += prediction.uncertain
        for label, share in prediction.distribution.items():
            counts[label][2] += share / len(predictions)
    kept = set(sorted(counts, key=lambda label: (-counts[label][0], -counts[label][2]))[:MOST_BARS])
    colours = dict(zip(batch.labels, label_colours(batch.labels), strict=True))
    most = max(1, *(count for count, _, _ in counts.values()))
    rows = "".join(_spread_row(label, colours[label], *of, most) for label, of in counts.items() if label in kept)
    heads = "".join(f'<th scope="col">{escape(column)}</th>' for column in texts.MANY_SPREAD_COLUMNS)
    return (
        f'<h3 id="iec-many-spread">{escape(texts.MANY_SPREAD)}</h3>'
        f'<table class="iec-spread" aria-labelledby="iec-many-spread"><thead><tr>{heads}</tr></thead>'
        f'<tbody>{rows}</tbody></table><p class="iec-hint">{escape(texts.MANY_SPREAD_HINT)}</p>'
    )


def _spread_row(label: str, colour: str, count: int, guesses: int, average: float, most: int) -> str:
    # Guesses are the hatched end of the bar.
    sure, unsure = (100 * part / most for part in (count - guesses, guesses))
    bar = (
        f'<span class="iec-spread-bar" aria-hidden="true"><i style="width:{sure:.2f}%"></i>'
        f'<i class="iec-hatched" style="width:{unsure:.2f}%"></i></span>'
    )
    name = safe_html(texts.many_spread(count, guesses, label))
    return (
        f'<tr class="iec-{colour}"><th scope="row"><button type="button" data-show="{safe_html(label)}" '
        f'title="{name}">{safe_html(label)}</button></th>'
        f'<td><span class="iec-spread-count">{bar}<span>{count}</span></span></td>'
        f"<td>{guesses}</td><td>{percent(average)}</td></tr>"
    )


def plane_html(batch: Batch) -> str:
    """Valence against arousal, a dot per picture, and how far each can be trusted; or why there is no such plot."""
    plane, title = batch.plane, f"<h3>{escape(texts.MANY_PLANE)}</h3>"
    if plane is None:
        known = " or ".join(EMOTION_MODELS[name].title for name in known_planes())
        return f'{title}<p class="iec-hint">{escape(texts.MANY_NO_PLANE.format(known=known))}</p>'
    hint = escape(texts.many_plane_hint(plane.pictures, plane.source.partition(":")[0]))
    trust = "".join(f"<li>{escape(line)}</li>" for line in _trust(plane, batch))
    return (
        f'{title}<div class="iec-plane">{_plane_svg(plane, batch)}</div>'
        f'<p class="iec-hint">{hint}</p><ul class="iec-hint">{trust}</ul>'
    )


def _trust(plane: AffectPlane, batch: Batch) -> list[str]:
    lines = []
    for dimension, title in zip(DIMENSIONS, texts.MANY_PLANE_TITLES, strict=True):
        fit = plane.fit(batch.checkpoint, dimension)
        if fit is None:
            lines.append(texts.MANY_PLANE_UNKNOWN.format(title=title))
        else:
            lines.append(texts.many_plane_quality(title, fit.r, fit.low, fit.high, fit.n))
    return lines


def _plane_svg(plane: AffectPlane, batch: Batch) -> str:
    rows = [(place, row, plane.place(row.prediction)) for place, row in batch.ordered if row.prediction is not None]
    colours = dict(zip(batch.labels, label_colours(batch.labels), strict=True))
    # The middle of people's scale is the middle of the plot; its ends are just beyond the farthest picture.
    far = [max((abs(at[axis]) for _, _, at in rows), default=0.0) for axis in range(2)]
    ends = [max(_NEAREST_END, math.ceil(10 * distance) / 10) for distance in far]
    middle_x, middle_y = _WIDTH / 2, _HEIGHT / 2
    dots = "".join(
        f'<circle class="iec-{colours[row.prediction.emotion]}" data-index="{place}" r="{_RADIUS}" '
        f'cx="{middle_x + valence / ends[0] * (middle_x - _EDGE - _RADIUS):.1f}" '
        f'cy="{middle_y - arousal / ends[1] * (middle_y - _EDGE - _RADIUS):.1f}">'
        f"<title>{safe_html(f'{row.file}: {row.prediction.summary()}')}</title></circle>"
        for place, row, (valence, arousal) in rows
    )
    means = [sum(at[axis] for _, _, at in rows) / max(1, len(rows)) for axis in range(2)]
    alternative = escape(texts.many_plane_alternative(len(rows), *means))
    left, right, bottom, top = (escape(word) for word in texts.MANY_PLANE_AXES)
    return (
        f'<svg viewBox="0 0 {_WIDTH} {_HEIGHT}" role="img" aria-label="{alternative}">'
        f'<rect x="{_EDGE}" y="{_EDGE}" width="{_WIDTH - 2 * _EDGE}" height="{_HEIGHT - 2 * _EDGE}" rx="6"/>'
        f'<path d="M{_EDGE} {middle_y}H{_WIDTH - _EDGE}M{middle_x} {_EDGE}V{_HEIGHT - _EDGE}"/>'
        f'<text x="{middle_x}" y="{_EDGE - 9}" text-anchor="middle">{top} (+{ends[1]:g})</text>'
        f'<text x="{middle_x}" y="{_HEIGHT - 9}" text-anchor="middle">{bottom} (−{ends[1]:g})</text>'
        f'<text x="{_EDGE - 9}" y="{middle_y}" text-anchor="middle" '
        f'transform="rotate(-90 {_EDGE - 9} {middle_y})">{left} (−{ends[0]:g})</text>'
        f'<text x="{_WIDTH - _EDGE + 9}" y="{middle_y}" text-anchor="middle" '
        f'transform="rotate(90 {_WIDTH - _EDGE + 9} {middle_y})">{right} (+{ends[0]:g})</text>{dots}</svg>'
    )

"""The pictures of a batch as HTML: a gallery and a table, which `many.js` sorts and filters in the browser."""

import base64
from collections.abc import Iterable, Sequence
from html import escape

from iec_hub.prediction import EmotionPrediction
from iec_hub.space import texts
from iec_hub.space.batch_rows import Batch, BatchRow
from iec_hub.space.escaping import percent, safe_html
from iec_hub.space.plots import summary_html
from iec_hub.space.rendering import label_colours, result_html


def batch_html(batch: Batch) -> str:
    """The summary, the controls, and the pictures, twice: as a gallery and as a table of those that are done."""
    colours = dict(zip(batch.labels, label_colours(batch.labels), strict=True))
    tiles = "".join(
        _tile(place, batch.rows[place], batch, colours) if place in batch.rows else _pending(place, source.name)
        for place, source in enumerate(batch.sources)
        if place in batch.rows or not batch.finished
    )
    rows = "".join(_table_row(place, row, batch, colours) for place, row in batch.ordered)
    # Where nothing could be read there is nothing to sum up.
    summary = "" if batch.finished and batch.failed == len(batch.rows) else summary_html(batch)
    return (
        f'<div class="iec-result iec-many">{summary}<section class="iec-pictures">{_controls(batch)}'
        f'<p class="iec-none" hidden>{escape(texts.MANY_NONE_SHOWN)}</p>'
        f'<ul class="iec-tiles" role="list">{tiles}</ul>{_table(rows, batch)}</section></div>'
    )


def empty_many_html() -> str:
    """What stands in the place of the pictures before there are any."""
    steps = "".join(f"<li>{escape(step)}</li>" for step in texts.MANY_EMPTY_STEPS)
    return f'<div class="iec-result iec-empty"><h2>{escape(texts.MANY_EMPTY_TITLE)}</h2><ul>{steps}</ul></div>'


def status_html(batch: Batch) -> str:
    """How far a batch is, as a bar and a sentence."""
    done = len(batch.rows)
    sentence = escape(texts.many_status(done, batch.total, batch.failed, batch.finished, batch.seconds))
    # A screen reader that said every picture would never come to an end.
    quarters = texts.MANY_QUARTERS.format(share=f"{4 * done // batch.total / 4:.0%}")
    said = sentence if batch.finished else escape(quarters)
    return (
        f'<div class="iec-status"><p>{sentence}</p><p class="iec-unseen" role="status">{said}</p>'
        f'<progress max="{batch.total}" value="{done}" aria-label="{escape(texts.MANY_PROGRESS)}"></progress></div>'
    )


def details_html(
    place: int, row: BatchRow, note: str = "", explained: EmotionPrediction | None = None, problem: str = ""
) -> str:
    """Everything about one picture: what :func:`iec_hub.space.rendering.result_html` shows of it.

    Args:
        place: of the row in its batch.
        row: one with a prediction.
        note: one more sentence on how to read the result.
        explained: the same prediction with its evidence, once that is there.
        problem: one sentence on why there will be no evidence.
    """
    waiting = explained is None and not problem
    stage = texts.STAGES["decided"] if waiting else ""
    result = result_html(explained or row.prediction, row.image(), size=row.size, note=note, stage=stage)
    steps = "".join(
        f'<button type="button" data-details="{key}">{escape(name)}</button>'
        for key, name in (("-1", texts.MANY_BEFORE), ("1", texts.MANY_AFTER), ("close", texts.MANY_CLOSE))
    )
    source = f"data:image/jpeg;base64,{base64.b64encode(row.picture).decode('ascii')}"
    problem = f'<p class="iec-hint" role="status">{safe_html(problem)}</p>' if problem else ""
    return (
        f'<div class="iec-details-head" data-current="{place}"{" data-more" if waiting else ""}>'
        f'<h2 id="iec-details-name" tabindex="-1">{safe_html(row.file)}</h2>{steps}</div>'
        f'<div class="iec-details"><div><img src="{source}" alt="{escape(texts.PICTURE)}">{problem}</div>'
        f"{result}</div>"
    )


def _controls(batch: Batch) -> str:
    emotions = [("", texts.MANY_ALL_EMOTIONS), *((label, label) for label in batch.labels)]
    has_plane = batch.plane is not None
    orders = [(key, name) for key, name in texts.MANY_ORDERS if has_plane or not key.endswith(("valence", "arousal"))]
    views = "".join(
        f'<label><input type="radio" name="iec-many-view" value="{key}"{" checked" if key == "gallery" else ""}>'
        f"<span>{escape(name)}</span></label>"
        for key, name in texts.MANY_VIEWS
    )
    return (
        f'<div class="iec-controls"><fieldset><legend>{escape(texts.MANY_VIEW)}</legend>{views}</fieldset>'
        f"{_select('emotion', texts.MANY_EMOTION, emotions)}"
        f"{_select('certainty', texts.MANY_CERTAINTY, texts.MANY_CERTAINTIES)}"
        f"{_select('order', texts.MANY_ORDER, orders)}"
        f'<p class="iec-count" role="status" data-text="{escape(texts.MANY_SHOWN)}"></p></div>'
    )


def _select(name: str, label: str, choices: Iterable[tuple[str, str]]) -> str:
    options = "".join(f'<option value="{safe_html(value)}">{safe_html(shown)}</option>' for value, shown in choices)
    return f'<label><span>{escape(label)}</span><select data-control="{name}">{options}</select></label>'


def _keys(place: int, row: BatchRow, batch: Batch) -> str:
    """What a row is sorted and filtered by, as attributes."""
    keys: dict[str, str] = {"index": str(place), "name": row.file.casefold(), "certainty": "failed"}
    prediction = row.prediction
    if prediction is not None:
        keys |= {
            "emotion": prediction.emotion,
            "rank": str(batch.labels.index(prediction.emotion)),
            "confidence": f"{prediction.confidence:.6f}",
            "certainty": _certainty(prediction),
            "second": prediction.ranking[1][0] if len(prediction.ranking) > 1 else "",
        }
        if batch.plane is not None:
            valence, arousal = batch.plane.place(prediction)
            keys |= {"valence": f"{valence:.6f}", "arousal": f"{arousal:.6f}"}
    return " ".join(f'data-{key}="{safe_html(value)}"' for key, value in keys.items())


def _certainty(prediction: EmotionPrediction) -> str:
    return "guess" if prediction.uncertain else "sure"


def _pending(place: int, name: str) -> str:
    """The place of a picture that is not done, so that nothing moves when it is."""
    return (
        f'<li data-index="{place}" data-name="{safe_html(name.casefold())}"><div class="iec-tile iec-pending">'
        f'<span class="iec-tile-sign"></span><span class="iec-tile-name">{safe_html(_last(name))}</span>'
        f"<span>{escape(texts.MANY_PENDING)}</span></div></li>"
    )


def _last(name: str) -> str:
    """The last part of a path."""
    return name.rpartition("/")[2] or name


def _tile(place: int, row: BatchRow, batch: Batch, colours: dict[str, str]) -> str:
    keys = _keys(place, row, batch)
    name = f'<span class="iec-tile-name" title="{safe_html(row.file)}">{safe_html(_last(row.file))}</span>'
    if row.prediction is None:
        # No button: there is nothing more to see.
        sign = '<span class="iec-tile-sign" aria-hidden="true">!</span>'
        reason = f"<span>{safe_html(row.error or '')}</span>"
        return f'<li {keys}><div class="iec-tile iec-failed">{sign}{name}{reason}</div></li>'
    colour = colours[row.prediction.emotion]
    picture = f'<img src="{row.tile}" alt="{safe_html(texts.many_thumbnail(row.file))}">'
    verdict = f'<span class="iec-swatch" aria-hidden="true"></span><span>{safe_html(row.prediction.summary())}</span>'
    return (
        f'<li {keys}><button type="button" class="iec-tile iec-{colour}" data-open="{place}">{picture}{name}'
        f'<span class="iec-tile-verdict">{verdict}</span></button></li>'
    )


def _table(rows: str, batch: Batch) -> str:
    columns = [column for column in texts.MANY_COLUMNS if batch.plane is not None or column[0] not in _PLANE]
    heads = "".join(
        f'<th scope="col" data-column="{key}"><button type="button" data-sort="{key}">{escape(name)}'
        '<span aria-hidden="true"></span></button></th>'
        for key, name in columns
    )
    return (
        f'<div class="iec-table" hidden tabindex="0" role="region" aria-label="{escape(texts.MANY_TABLE)}">'
        f"<table><caption>{escape(texts.MANY_TABLE)}</caption><thead><tr>{heads}</tr></thead>"
        f"<tbody>{rows}</tbody></table></div>"
    )


_PLANE = ("valence", "arousal")


def _table_row(place: int, row: BatchRow, batch: Batch, colours: dict[str, str]) -> str:
    keys, prediction, name = _keys(place, row, batch), row.prediction, safe_html(_last(row.file))
    if prediction is None:
        columns = len(texts.MANY_COLUMNS) - (0 if batch.plane is not None else len(_PLANE)) - 1
        reason = f"{escape(texts.MANY_FAILED)}: {safe_html(row.error or '')}"
        cell = f'<td colspan="{columns}" class="iec-reason">{reason}</td>'
        return f'<tr {keys}><th scope="row" title="{safe_html(row.file)}">{name}</th>{cell}</tr>'
    opener = f'<button type="button" data-open="{place}" title="{safe_html(row.file)}">{name}</button>'
    swatch = f'<span class="iec-swatch iec-{colours[prediction.emotion]}" aria-hidden="true"></span>'
    certainty = texts.MANY_GUESS if prediction.uncertain else texts.MANY_SURE
    cells: Sequence[str] = [
        f"{swatch}{safe_html(prediction.emotion)}",
        percent(prediction.confidence),
        " ".join(f"{safe_html(label)} {percent(share)}" for label, share in prediction.ranking[1:2]),
        escape(certainty),
    ]
    if batch.plane is not None:
        cells = [*cells, *(f"{value:+.2f}".replace("-", "−") for value in batch.plane.place(prediction))]
    return f'<tr {keys}><th scope="row">{opener}</th>{"".join(f"<td>{cell}</td>" for cell in cells)}</tr>'

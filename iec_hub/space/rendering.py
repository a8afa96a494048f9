"""A prediction as HTML, and its evidence as a picture.

Whatever comes from a picture, a file name, a label or a model is escaped here, nowhere else.
"""

import base64
import io
from collections.abc import Sequence
from html import escape

import numpy as np
from PIL import Image

from iec_hub.prediction import EmotionPrediction
from iec_hub.space import texts

# More labels than these would make the list unreadable: the rest is summed up in one line.
MAX_BARS = 12
PICTURE_SIDE = 800
HEAT_SIDE = 400
HEAT_STRENGTH = 70

# Emotions that share their words share a colour; `style.css` says which, for light and dark.
_COLOURS = {
    "joy": ("joy", "amusement", "positive"),
    "anger": ("anger",),
    "awe": ("awe", "surprise"),
    "contentment": ("contentment", "trust"),
    "disgust": ("disgust",),
    "excitement": ("excitement", "anticipation"),
    "fear": ("fear",),
    "sadness": ("sadness", "negative"),
    "neutral": ("neutral",),
}
_COLOUR_OF = {label: colour for colour, labels in _COLOURS.items() for label in labels}

# Ten steps of the perceptually uniform colour map "inferno" (Smith and van der Walt, CC0).
_INFERNO_STEPS = (
    *("000004", "1b0c41", "4a0c6b", "781c6d", "a52c60"),
    *("cf4446", "ed6925", "fb9b06", "f7d13d", "fcffa4"),
)
_INFERNO = np.array(
    [[int(colour[start : start + 2], 16) for start in (0, 2, 4)] for colour in _INFERNO_STEPS], dtype=np.float64
)


def empty_html() -> str:
    """What stands in the result's place before there is one."""
    steps = "".join(f"<li>{escape(step)}</li>" for step in texts.EMPTY_STEPS)
    return f'<div class="iec-result iec-empty"><h2>{escape(texts.EMPTY_TITLE)}</h2><ul>{steps}</ul></div>'


def error_html(message: str) -> str:
    """One sentence in place of a result."""
    title = escape(texts.ERROR_TITLE)
    return f'<div class="iec-result iec-error" role="alert"><h2>{title}</h2><p>{escape(message)}</p></div>'


def result_html(prediction: EmotionPrediction, picture: Image.Image, *, trained: bool = True) -> str:
    """A whole result: verdict, distribution, sentence and evidence.

    Args:
        picture: the picture that was judged, RGB.
        trained: whether the model was trained on these labels; else the result says that it was not.
    """
    opening = texts.VERDICT_UNCERTAIN if prediction.uncertain else texts.VERDICT
    parts = [
        f'<p class="iec-over">{escape(opening)}</p>'
        f'<p class="iec-verdict" role="status">{escape(prediction.summary())}</p>'
    ]
    if prediction.uncertain:
        parts.append(f'<p class="iec-note">{escape(texts.uncertain(prediction))}</p>')
    if not trained:
        parts.append(f'<p class="iec-note">{escape(texts.NOT_TRAINED)}</p>')
    parts.append(f"<h3>{escape(texts.DISTRIBUTION)}</h3>{bars_html(prediction)}")
    if prediction.template:
        sentence = f'<p class="iec-sentence">{escape(prediction.template)}</p>'
        parts.append(f"<h3>{escape(texts.SENTENCE)}</h3>{sentence}")
    if prediction.evidence is not None and prediction.evidence.regions is not None:
        parts.append(f"<h3>{escape(texts.EVIDENCE)}</h3>")
        parts.append(evidence_html(picture, prediction.evidence.regions, prediction.emotion))
    return f'<div class="iec-result">{"".join(parts)}</div>'


def bars_html(prediction: EmotionPrediction) -> str:
    """The distribution as a list of bars with their labels and percentages as text.

    Up to `MAX_BARS` labels keep the order of the emotion model, so that two pictures can be compared row by
    row; of more labels the most probable are shown, in their order.
    """
    pairs = list(prediction.distribution.items())
    rest: Sequence[tuple[str, float]] = ()
    if len(pairs) > MAX_BARS:
        pairs, rest = prediction.ranking[:MAX_BARS], prediction.ranking[MAX_BARS:]
    colours = _colours([label for label, _ in pairs])
    rows = "".join(
        f'<li class="iec-bar iec-{colour}{" iec-top" if label == prediction.emotion else ""}">'
        f'<span class="iec-label">{escape(label)}</span> '
        f'<span class="iec-track" aria-hidden="true"><span style="width:{100 * p:.1f}%"></span></span>'
        f'<span class="iec-share">{_percent(p)}</span></li>'
        for (label, p), colour in zip(pairs, colours, strict=True)
    )
    folded = ""
    if rest:
        share = _percent(sum(p for _, p in rest))
        folded = f'<p class="iec-rest">{escape(texts.FOLDED_LABELS.format(count=len(rest), share=share))}</p>'
    return f'<ul class="iec-bars" role="list">{rows}</ul>{folded}'


def evidence_html(picture: Image.Image, regions: np.ndarray, emotion: str) -> str:
    """The picture beneath its heat map, with a slider for the strength of the latter."""
    shown = picture.convert("RGB")
    shown.thumbnail((PICTURE_SIDE, PICTURE_SIDE))
    heat = heat_map(regions, shown.size)
    spoke = heat is not None
    caption = texts.evidence_of(emotion) if spoke else texts.NO_EVIDENCE
    layer = controls = ""
    if heat is not None:
        layer = f'<img class="iec-heat" alt="" src="{_data_uri(heat, "WEBP")}">'
        # The slider works in the browser alone: nothing is sent or drawn anew when it moves.
        controls = (
            f'<div class="iec-ramp"><span>{escape(texts.EVIDENCE_LITTLE)}</span><i style="background:{_ramp()}"></i>'
            f"<span>{escape(texts.EVIDENCE_MUCH)}</span></div>"
            f'<label class="iec-strength"><span>{escape(texts.EVIDENCE_STRENGTH)}</span>'
            f'<input type="range" min="0" max="100" value="{HEAT_STRENGTH}" '
            "oninput=\"this.closest('figure').style.setProperty('--heat', this.value / 100)\"></label>"
        )
    alternative = escape(texts.picture_alternative(emotion) if spoke else texts.PICTURE)
    width, height = shown.size
    return (
        f'<figure class="iec-evidence" style="--heat:{HEAT_STRENGTH / 100}">'
        f'<div class="iec-picture"><img width="{width}" height="{height}" alt="{alternative}" '
        f'src="{_data_uri(shown, "JPEG")}">{layer}</div>'
        f"<figcaption>{escape(caption)}</figcaption>{controls}</figure>"
    )


def heat_map(regions: np.ndarray, size: tuple[int, int]) -> Image.Image | None:
    """Evidence as a layer to lay over the picture.

    Args:
        regions: shape (rows, columns), 0 to 1, see :class:`iec_hub.prediction.Evidence`.
        size: width and height of the picture; the layer has its proportions, and sides of at most `HEAT_SIDE`.

    Returns:
        RGBA picture: from dark and nearly clear where little was found to bright and nearly opaque, or None where
        nothing spoke.
    """
    cells = np.clip(np.nan_to_num(np.asarray(regions, dtype=np.float32)), 0.0, 1.0)
    if cells.ndim != 2 or cells.size == 0 or cells.max() <= 0:
        return None
    scale = min(1.0, HEAT_SIDE / max(size))
    width, height = (max(1, round(side * scale)) for side in size)
    values = np.asarray(Image.fromarray(cells).resize((width, height), Image.Resampling.BICUBIC))
    values = np.clip(values, 0.0, 1.0)
    steps = np.linspace(0.0, 1.0, len(_INFERNO))
    channels = [np.interp(values, steps, _INFERNO[:, channel]) for channel in range(3)]
    # Dark parts are dimmed rather than left alone, so that bright ones stand out on bright pictures too.
    alpha = 255 * (0.3 + 0.5 * values)
    return Image.fromarray(np.rint(np.stack([*channels, alpha], axis=-1)).astype(np.uint8), "RGBA")


def _percent(p: float) -> str:
    return "&lt;1%" if 0 < p < 0.005 else f"{p:.0%}"


def _colours(labels: Sequence[str]) -> list[str]:
    """A colour name per label: known emotions have their own, the others take what is free, then start over."""
    known = [_COLOUR_OF.get(label.casefold()) for label in labels]
    names = [name for name in _COLOURS if name != "neutral"]
    free = [name for name in names if name not in known]
    others = iter([*free, *names * (1 + len(labels) // len(names))])
    return [name or next(others) for name in known]


def _ramp() -> str:
    colours = ", ".join(f"rgb({r:.0f} {g:.0f} {b:.0f})" for r, g, b in _INFERNO)
    return f"linear-gradient(90deg, {colours})"


def _data_uri(image: Image.Image, file_format: str) -> str:
    """The image inside the page itself, so that no copy of a visitor's picture is written to a disk for it."""
    buffer = io.BytesIO()
    image.save(buffer, file_format, quality=85)
    return f"data:image/{file_format.lower()};base64,{base64.b64encode(buffer.getvalue()).decode('ascii')}"

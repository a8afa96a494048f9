"""A prediction as HTML.

Whatever comes from a picture, a file name, a label, a caption or a model is escaped in the modules of rendering,
nowhere else.
"""

from collections.abc import Sequence
from html import escape

from PIL import Image

from iec_hub.prediction import EmotionPrediction, Tag
from iec_hub.space import texts
from iec_hub.space.escaping import percent, safe_html
from iec_hub.space.rendering_evidence import View, captions_html, evidence_html, evidence_views
from iec_hub.space.rendering_text import embedded_text_html
from iec_hub.space.rendering_words import (
    concepts_html,
    deciding,
    deciding_html,
    reasoning_html,
    sentences_html,
    word_marks,
)

# More labels than these would make the list unreadable: the rest is summed up in one line.
MAX_BARS = 12
MAX_TAGS = 5
PICTURE_SIDE = 800

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


def error_html(message: str) -> str:
    """One sentence in place of a result."""
    title = escape(texts.ERROR_TITLE)
    return f'<div class="iec-result iec-error" role="alert"><h2>{title}</h2><p>{safe_html(message)}</p></div>'


def result_html(
    prediction: EmotionPrediction,
    picture: Image.Image,
    *,
    size: tuple[int, int] | None = None,
    note: str = "",
    before: EmotionPrediction | None = None,
    own_words: bool = False,
    head: str = "",
    stage: str = "",
    folded: bool = False,
    side: int = PICTURE_SIDE,
) -> str:
    """A whole result: verdict, distribution, the parts of the picture that decided, and what was put into words.

    Args:
        picture: the picture that was judged, RGB; it may be smaller than it was then.
        size: width and height of the picture as it was judged, in whose pixels text has its boxes; left out, those of
            `picture`.
        note: one more sentence on how to read the result.
        before: where the visitor wrote the caption or the words for the emotions, the prediction with the usual ones,
            over the same labels.
        own_words: whether it was the words for the emotions.
        head: HTML of what stands above the result.
        stage: what the method is still doing; empty where it is done.
        folded: whether what is long begins folded, as in a narrow card.
        side: longest side of the pictures that are sent, in pixels.
    """
    shown = picture.convert("RGB")
    shown.thumbnail((side, side))
    views = evidence_views(prediction, shown.size)
    where = ""
    if views:
        where = f"<h3>{escape(texts.EVIDENCE)}</h3>{evidence_html(shown, views)}"
    elif stage:
        where = f"<h3>{escape(texts.EVIDENCE)}</h3>{place_html(shown.size, stage)}"
    notes = _notes_html(prediction, note, before, own_words, folded)
    answer = f"{verdict_html(prediction)}<h3>{escape(texts.DISTRIBUTION)}</h3>{bars_html(prediction, before)}"
    # Where all stands in one column, nothing that comes late may push the picture down.
    answer, why = (answer, notes) if folded else (answer + notes, "")
    why += words_html(prediction, shown, views, size or picture.size, before is not None and not own_words, folded)
    state = "iec-deciding" if stage else "iec-done"
    return sheet_html(head, answer, where, why, state if folded else f"{state} iec-alone", folded)


def sheet_html(head: str, answer: str, where: str, why: str, state: str, folded: bool = False) -> str:
    """The parts of a result in their places, which are the same before there is one.

    Args:
        head, answer, where, why: HTML: whose answer it is, the answer, where it comes from, and what was put into
            words.
        state: CSS classes.
        folded: whether narrow screens begin with the answer alone, as several stand beneath each other there.
    """
    # It opens what follows the answer; wide screens show that anyway, and not this (see single.css).
    if folded and (where or why):
        answer += f'<details class="iec-unfold"><summary>{escape(texts.UNFOLD)}</summary></details>'
    parts = (("iec-head", head), ("iec-answer", answer), ("iec-where", where), ("iec-why", why))
    return (
        f'<div class="iec-result {state}"><div class="iec-sheet">'
        + "".join(f'<div class="{name}">{html}</div>' for name, html in parts if html)
        + "</div></div>"
    )


def place_html(size: tuple[int, int], sentence: str) -> str:
    """The place of a picture that is yet to come, so that nothing moves when it does.

    Args:
        size: its width and height.
    """
    width, height = size
    return (
        f'<div class="iec-evidence"><div class="iec-place" style="aspect-ratio:{width}/{height}">'
        f"<span>{escape(sentence)}</span></div></div>"
    )


def verdict_html(prediction: EmotionPrediction) -> str:
    """The emotion, or in words that the model is torn or guessing."""
    opening = texts.VERDICT_UNCERTAIN if prediction.uncertain else texts.VERDICT
    colours = dict(zip(prediction.labels, label_colours(prediction.labels), strict=True))
    # The emotions stand out from the words around them and from their figures.
    named = [f"{safe_html(label)} <small>({p:.0%})</small>" for label, p in prediction.contenders]
    summary = f"<span> {escape(texts.AND)} </span>".join(named)
    if prediction.uncertain:
        lead = texts.TORN if len(named) > 1 else texts.GUESSING
        summary = f'<span class="iec-torn">{escape(lead)} </span>{summary}'
    return (
        f'<div class="iec-call iec-{colours[prediction.emotion]}{" iec-guess" if prediction.uncertain else ""}">'
        f'<p class="iec-over">{escape(opening)} </p><p class="iec-verdict" role="status">{summary}</p></div>'
    )


def _notes_html(
    prediction: EmotionPrediction, note: str, before: EmotionPrediction | None, own_words: bool, folded: bool
) -> str:
    compared = "" if before is None else _compared(prediction, before, own_words)
    uncertain = texts.uncertain(prediction) if prediction.uncertain else ""
    plain = [compared, note] if folded else [compared, uncertain, note]
    notes = "".join(f'<p class="iec-note">{safe_html(text)}</p>' for text in plain if text)
    if folded or not uncertain:
        title, why = (texts.WHY_UNCERTAIN, uncertain) if uncertain else (texts.WHY_SURE, texts.sure(prediction))
        why = f"<h3>{escape(title)}</h3><p>{safe_html(why)}</p>"
        notes += f'<div class="iec-section">{_fold(why, True)}</div>'
    return notes


def words_html(
    prediction: EmotionPrediction,
    shown: Image.Image,
    views: Sequence[View],
    size: tuple[int, int],
    own_caption: bool = False,
    folded: bool = False,
) -> str:
    """Everything that the method put into words; what it has not is left out.

    Args:
        shown: the picture in the size in which it is sent.
        views: the ways to look at the evidence, see :func:`evidence_views`.
        size: width and height of the picture in the pixels of the boxes of text.
        own_caption: whether the visitor wrote the caption.
        folded: whether all but the most telling parts begin folded.
    """
    words = prediction.evidence.words if prediction.evidence is not None else None
    marks = word_marks(deciding(words))
    parts = [reasoning_html(prediction.reasoning, marks), deciding_html(words, prediction.emotion)]
    parts.append(
        _fold(embedded_text_html(prediction.embedded_text, shown, size, marks), folded, bool(prediction.embedded_text))
    )
    parts.append(_fold(concepts_html(prediction.concepts, marks), folded))
    # What a chain of thought ends in are sentences of feeling; captions describe.
    if prediction.reasoning is not None:
        parts.append(_fold(sentences_html(prediction.captions, marks), folded))
    if prediction.attributes:
        parts.append(_fold(f"<h3>{escape(texts.ATTRIBUTES)}</h3>{attributes_html(prediction.attributes)}", folded))
    if prediction.template:
        sentence = f'<p class="iec-sentence">{safe_html(prediction.template)}</p>'
        parts.append(f"<h3>{escape(texts.SENTENCE)}</h3>{sentence}")
    # Last, as the box to change it stands beneath.
    if prediction.reasoning is None and prediction.captions:
        title = texts.OWN_CAPTION if own_caption else texts.CAPTION
        parts.append(f"<h3>{escape(title)}</h3>{captions_html(prediction, views)}")
    return "".join(f'<div class="iec-section">{part}</div>' for part in parts if part)


def _fold(section: str, folded: bool, opened: bool = False) -> str:
    """A section that begins with its heading, as one that this heading opens and closes."""
    if not section or not folded:
        return section
    heading, rest = section.split("</h3>", 1)
    return f'<details class="iec-fold"{" open" if opened else ""}><summary>{heading}</h3></summary>{rest}</details>'


def bars_html(prediction: EmotionPrediction, before: EmotionPrediction | None = None) -> str:
    """The distribution as a list of bars with their labels and percentages as text.

    Up to `MAX_BARS` labels keep the order of the emotion model, so that two pictures can be compared row by
    row; of more labels the most probable are shown, in their order.

    Args:
        before: a prediction over the same labels; each row then also says what it gained or lost since.
    """
    pairs = list(prediction.distribution.items())
    rest: Sequence[tuple[str, float]] = ()
    if len(pairs) > MAX_BARS:
        pairs, rest = prediction.ranking[:MAX_BARS], prediction.ranking[MAX_BARS:]
    colours = label_colours([label for label, _ in pairs])
    earlier = {} if before is None else before.distribution
    rows = "".join(
        f'<li class="iec-bar iec-{colour}{" iec-top" if label == prediction.emotion else ""}">'
        f'<span class="iec-label">{safe_html(label)}</span> '
        f'<span class="iec-track" aria-hidden="true"><span style="width:{100 * p:.1f}%"></span>'
        f"{_mark(earlier.get(label))}</span>"
        f'<span class="iec-share">{percent(p)}</span>{_change(p, earlier.get(label))}</li>'
        for (label, p), colour in zip(pairs, colours, strict=True)
    )
    folded = ""
    if rest:
        share = percent(sum(p for _, p in rest))
        folded = f'<p class="iec-rest">{escape(texts.FOLDED_LABELS.format(count=len(rest), share=share))}</p>'
    compared = " iec-compared" if earlier else ""
    return f'<ul class="iec-bars{compared}" role="list">{rows}</ul>{folded}'


def attributes_html(tags: Sequence[Tag]) -> str:
    """What was seen in the picture and where that is known from, at most `MAX_TAGS` of each attribute."""
    of: dict[str, list[Tag]] = {name: [] for name in texts.ATTRIBUTE_NAMES}
    for tag in tags:
        of.setdefault(tag.attribute, []).append(tag)
    rows = []
    for attribute, found in of.items():
        if not found:
            continue
        name = texts.ATTRIBUTE_NAMES.get(attribute, attribute)
        values = ", ".join(safe_html(_tag(tag)) for tag in found[:MAX_TAGS])
        sources = dict.fromkeys(texts.ATTRIBUTE_SOURCES.get(tag.source, tag.source) for tag in found[:MAX_TAGS])
        remarks = " · ".join(filter(None, (texts.ATTRIBUTE_SCALES.get(attribute), ", ".join(sources))))
        remarks = f' <span class="iec-source">{safe_html(remarks)}</span>' if remarks else ""
        rows.append(f"<div><dt>{safe_html(name)}</dt><dd>{values}{remarks}</dd></div>")
    return f'<dl class="iec-attributes">{"".join(rows)}</dl>'


def _compared(prediction: EmotionPrediction, before: EmotionPrediction, own_words: bool) -> str:
    if own_words:
        return texts.words_before(before)
    pairs = zip(prediction.probabilities, before.probabilities, strict=True)
    same = all(_points(p, earlier) == 0 for p, earlier in pairs) and prediction.summary() == before.summary()
    return texts.unchanged(before) if same else texts.compared(before)


def _points(p: float, earlier: float) -> int:
    """What a probability gained, in whole percentage points."""
    return round(100 * (p - earlier))


def _change(p: float, earlier: float | None) -> str:
    if earlier is None:
        return ""
    points = _points(p, earlier)
    # A real minus sign is as wide as the plus sign.
    text = f"{'+' if points > 0 else '−'}{abs(points)}" if points else "±0"
    return f' <span class="iec-change{"" if points else " iec-same"}">{text}</span>'


def _mark(earlier: float | None) -> str:
    return "" if earlier is None else f'<i style="left:{100 * earlier:.1f}%"></i>'


def _tag(tag: Tag) -> str:
    if tag.attribute not in texts.ATTRIBUTE_SCALES:
        return tag.label if tag.confidence >= 1 else f"{tag.label} ({tag.confidence:.0%})"
    try:
        return f"{float(tag.label):.1f}"
    except ValueError:
        return tag.label


def label_colours(labels: Sequence[str]) -> list[str]:
    """A colour name per label: known emotions have their own, the others take what is free, then start over."""
    known = [_COLOUR_OF.get(label.casefold()) for label in labels]
    names = [name for name in _COLOURS if name != "neutral"]
    free = [name for name in names if name not in known]
    others = iter([*free, *names * (1 + len(labels) // len(names))])
    return [name or next(others) for name in known]

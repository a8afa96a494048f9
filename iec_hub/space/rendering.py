"""A prediction as HTML.

Whatever comes from a picture, a file name, a label, a caption or a model is escaped in the modules of rendering,
nowhere else.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from html import escape

import numpy as np
from PIL import Image

from iec_hub.prediction import CaptionWord, EmotionPrediction, Tag
from iec_hub.space import texts
from iec_hub.space.escaping import percent, safe_html
from iec_hub.space.heat_maps import WORD_HEAT_SIDE, data_uri, heat_map, ramp
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
# Each word's map costs a few kilobytes.
MAX_WORD_MAPS = 12
# Below this share of the strongest word's charge a word is shown as plain text.
LEAST_STRENGTH = 0.15
PICTURE_SIDE = 800
HEAT_STRENGTH = 70
WHOLE = "whole"

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

# Shows one view of the evidence (its layer and its line) and marks its button, in the browser alone. An attribute of
# each button, as scripts within a result do not run.
_SHOW_VIEW = (
    "for(const e of this.closest('.iec-result').querySelectorAll('[data-view]')){"
    "const on=e.dataset.view===this.dataset.view;"
    "if(e.tagName==='BUTTON')e.setAttribute('aria-pressed',on);else e.hidden=!on}"
)


@dataclass(frozen=True)
class View:
    """One way to look at the evidence: that of the whole decision, or of one word of the caption.

    Attributes:
        key: tells the views of one result apart.
        line: what the highlighted parts are, or that there are none.
        heat: the layer over the picture, RGBA, or None where nothing stood out.
        alternative: what a screen reader says of the layer.
    """

    key: str
    line: str
    heat: Image.Image | None = None
    alternative: str = ""


def empty_html() -> str:
    """What stands in the result's place before there is one."""
    steps = "".join(f"<li>{escape(step)}</li>" for step in texts.EMPTY_STEPS)
    return f'<div class="iec-result iec-empty"><h2>{escape(texts.EMPTY_TITLE)}</h2><ul>{steps}</ul></div>'


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
) -> str:
    """A whole result: verdict, distribution, sentence, what the words say, attributes, caption and evidence.

    Args:
        picture: the picture that was judged, RGB; it may be smaller than it was then.
        size: width and height of the picture as it was judged, in whose pixels text has its boxes; left out, those of
            `picture`.
        note: one more sentence on how to read the result.
        before: where the visitor wrote the caption, the prediction with the model's own, over the same labels.
    """
    opening = texts.VERDICT_UNCERTAIN if prediction.uncertain else texts.VERDICT
    parts = [
        f'<p class="iec-over">{escape(opening)}</p>'
        f'<p class="iec-verdict" role="status">{safe_html(prediction.summary())}</p>'
    ]
    compared = "" if before is None else _compared(prediction, before)
    uncertain = texts.uncertain(prediction) if prediction.uncertain else ""
    parts += [f'<p class="iec-note">{safe_html(text)}</p>' for text in (uncertain, compared, note) if text]
    parts.append(f"<h3>{escape(texts.DISTRIBUTION)}</h3>{bars_html(prediction, before)}")
    if prediction.template:
        sentence = f'<p class="iec-sentence">{safe_html(prediction.template)}</p>'
        parts.append(f"<h3>{escape(texts.SENTENCE)}</h3>{sentence}")
    words = prediction.evidence.words if prediction.evidence is not None else None
    marks = word_marks(deciding(words))
    parts.append(deciding_html(words, prediction.emotion))
    if prediction.attributes:
        parts.append(f"<h3>{escape(texts.ATTRIBUTES)}</h3>{attributes_html(prediction.attributes)}")
    parts += [concepts_html(prediction.concepts, marks), reasoning_html(prediction.reasoning, marks)]
    shown = picture.convert("RGB")
    shown.thumbnail((PICTURE_SIDE, PICTURE_SIDE))
    views = evidence_views(prediction, shown.size)
    # What a chain of thought ends in are sentences of feeling; captions describe.
    if prediction.reasoning is not None:
        parts.append(sentences_html(prediction.captions, marks))
    elif prediction.captions:
        title = texts.CAPTION if before is None else texts.OWN_CAPTION
        parts.append(f"<h3>{escape(title)}</h3>{captions_html(prediction, views)}")
    parts.append(embedded_text_html(prediction.embedded_text, shown, size or picture.size, marks))
    if views:
        parts.append(f"<h3>{escape(texts.EVIDENCE)}</h3>{evidence_html(shown, views)}")
    return f'<div class="iec-result">{"".join(parts)}</div>'


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
    colours = _colours([label for label, _ in pairs])
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


def captions_html(prediction: EmotionPrediction, views: Sequence[View] = ()) -> str:
    """The captions; in the first one the charged words are marked, and are buttons where a view is theirs."""
    first, *others = prediction.captions or ("",)
    words = prediction.evidence.caption_words if prediction.evidence is not None else None
    strengths = charges(words or ())
    keys = {view.key for view in views}
    pieces, position = [], 0
    for index, (word, strength) in enumerate(zip(words or (), strengths, strict=True)):
        # A word that is not where it says it is stays plain text.
        if word.start < position or word.end <= word.start or first[word.start : word.end] != word.text:
            continue
        pieces += [safe_html(first[position : word.start]), _word(word, strength, str(index), views, keys)]
        position = word.end
    pieces.append(safe_html(first[position:]))
    hint = ""
    if any(strengths):
        choice = f" {texts.CHARGED_CHOICE}" if keys - {WHOLE} else ""
        hint = f'<p class="iec-hint">{escape(texts.CHARGED_HINT + choice)}</p>'
    more = "".join(f'<p class="iec-sentence" dir="auto">{safe_html(caption)}</p>' for caption in others)
    return f'<p class="iec-sentence iec-caption" dir="auto">{"".join(pieces)}</p>{more}{hint}'


def charges(words: Sequence[CaptionWord]) -> list[float]:
    """Each word's salience as a share of the strongest word's, 0 to 1; 0 for words that are hardly charged."""
    saliences = np.clip(np.nan_to_num([word.salience for word in words]), 0.0, 1.0)
    if not saliences.size or saliences.max() <= 0:
        return [0.0] * len(words)
    shares = saliences / saliences.max()
    return np.where(shares < LEAST_STRENGTH, 0.0, shares).tolist()


def evidence_views(prediction: EmotionPrediction, size: tuple[int, int]) -> list[View]:
    """The views that a prediction has evidence for: of the whole decision, then of its most charged words.

    Args:
        size: width and height of the picture.
    """
    evidence = prediction.evidence
    views: list[View] = []
    if evidence is None:
        return views
    if evidence.regions is not None:
        heat = heat_map(evidence.regions, size)
        line = texts.NO_EVIDENCE if heat is None else texts.evidence_of(prediction.emotion)
        views.append(View(WHOLE, line, heat, texts.evidence_alternative(prediction.emotion)))
    words = evidence.caption_words or ()
    strengths = charges(words)
    for index in sorted(range(len(words)), key=lambda i: -strengths[i])[:MAX_WORD_MAPS]:
        heat = heat_map(words[index].regions, size, WORD_HEAT_SIDE)
        if strengths[index] > 0 and heat is not None:
            text = words[index].text
            views.append(View(str(index), texts.word_evidence(text), heat, texts.word_alternative(text)))
    return views


def evidence_html(shown: Image.Image, views: Sequence[View]) -> str:
    """The picture beneath the heat map of the first view, with a slider for its strength; the others wait hidden.

    Args:
        shown: the picture in the size in which it is sent.
        views: at least one.
    """
    first = views[0].key
    layers = lines = whole = ""
    for view in views:
        at = f'data-view="{escape(view.key)}"{"" if view.key == first else " hidden"}'
        lines += f"<span {at}>{safe_html(view.line)}</span>"
        if view.heat is not None:
            source = data_uri(view.heat, "WEBP")
            layers += f'<img class="iec-heat" {at} alt="{safe_html(view.alternative)}" src="{source}">'
    if first == WHOLE and len(views) > 1:
        whole = _view_button(WHOLE, escape(texts.WHOLE_DECISION), "iec-whole", pressed=True)
    controls = ""
    if layers:
        # The slider works in the browser alone: nothing is sent or drawn anew when it moves.
        controls = (
            f'<div class="iec-ramp"><span>{escape(texts.EVIDENCE_LITTLE)}</span><i style="background:{ramp()}"></i>'
            f"<span>{escape(texts.EVIDENCE_MUCH)}</span></div>"
            f'<label class="iec-strength"><span>{escape(texts.EVIDENCE_STRENGTH)}</span>'
            f'<input type="range" min="0" max="100" value="{HEAT_STRENGTH}" '
            "oninput=\"this.closest('figure').style.setProperty('--heat', this.value / 100)\"></label>"
        )
    width, height = shown.size
    return (
        f'<figure class="iec-evidence" style="--heat:{HEAT_STRENGTH / 100}">{whole}'
        f'<div class="iec-picture"><img width="{width}" height="{height}" alt="{escape(texts.PICTURE)}" '
        f'src="{data_uri(shown, "JPEG")}">{layers}</div>'
        f'<figcaption aria-live="polite">{lines}</figcaption>{controls}</figure>'
    )


def _compared(prediction: EmotionPrediction, before: EmotionPrediction) -> str:
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


def _word(word: CaptionWord, strength: float, key: str, views: Sequence[View], keys: set[str]) -> str:
    text = safe_html(word.text)
    if strength <= 0:
        return text
    style = f'style="--charge:{strength:.3f}"'
    if key not in keys:
        return f'<span class="iec-word" {style}>{text}</span>'
    name = escape(texts.word_name(word.text, word.salience))
    return _view_button(key, text, "iec-word", key == views[0].key, f'{style} aria-label="{name}" title="{name}"')


def _view_button(key: str, text: str, css_class: str, pressed: bool, attributes: str = "") -> str:
    # Not every browser focuses a button that is clicked.
    return (
        f'<button type="button" class="{css_class}" data-view="{escape(key)}" '
        f'aria-pressed="{"true" if pressed else "false"}" '
        f'onfocus="{_SHOW_VIEW}" onclick="this.onfocus()" {attributes}>{text}</button>'
    )


def _colours(labels: Sequence[str]) -> list[str]:
    """A colour name per label: known emotions have their own, the others take what is free, then start over."""
    known = [_COLOUR_OF.get(label.casefold()) for label in labels]
    names = [name for name in _COLOURS if name != "neutral"]
    free = [name for name in names if name not in known]
    others = iter([*free, *names * (1 + len(labels) // len(names))])
    return [name or next(others) for name in known]

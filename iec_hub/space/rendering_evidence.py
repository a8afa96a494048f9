"""Where a decision comes from, as HTML: the heat map over the picture, and the charged words of its caption."""

import re
from collections.abc import Sequence
from dataclasses import dataclass
from html import escape

import numpy as np
from PIL import Image

from iec_hub.prediction import CaptionWord, EmotionPrediction
from iec_hub.space import texts
from iec_hub.space.escaping import safe_html
from iec_hub.space.heat_maps import WORD_HEAT_SIDE, data_uri, heat_map, ramp

# Each word's map costs a few kilobytes.
MAX_WORD_MAPS = 12
# Below this share of the strongest word's charge a word is shown as plain text.
LEAST_STRENGTH = 0.15
HEAT_STRENGTH = 70
_PUNCTUATION = re.compile(r"[.,;:!?…'\")\]’”]+")
WHOLE = "whole"

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


def captions_html(prediction: EmotionPrediction, views: Sequence[View] = ()) -> str:
    """The captions; in the first one the charged words are marked, and are buttons where a view is theirs."""
    first, *others = prediction.captions or ("",)
    words = prediction.evidence.caption_words if prediction.evidence is not None else None
    words = words or ()
    strengths, followed = charges(words), [*(word.start for word in words[1:]), len(first)]
    keys = {view.key for view in views}
    pieces, position = [], 0
    for index, (word, strength, following) in enumerate(zip(words, strengths, followed, strict=False)):
        # A word that is not where it says it is stays plain text.
        if word.start < position or word.end <= word.start or first[word.start : word.end] != word.text:
            continue
        pieces.append(safe_html(first[position : word.start]))
        marked, position = _word(word, strength, str(index), views, keys), word.end
        # A button would leave the comma after it to the next line.
        if strength > 0 and (comma := _PUNCTUATION.match(first, position, max(position, following))):
            marked, position = f'<span class="iec-together">{marked}{safe_html(comma[0])}</span>', comma.end()
        pieces.append(marked)
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
        f'<figure class="iec-evidence" style="--heat:{HEAT_STRENGTH / 100}">'
        f'<div class="iec-picture"><img width="{width}" height="{height}" alt="{escape(texts.PICTURE)}" '
        f'src="{data_uri(shown, "JPEG")}">{layers}</div>'
        f'<figcaption aria-live="polite">{lines}</figcaption>{whole}{controls}</figure>'
    )


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

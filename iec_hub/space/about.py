"""The tab that explains the methods, their data, their results and their limits."""

import re
from collections.abc import Iterable, Sequence
from html import escape

import gradio as gr

from iec_hub.space import texts
from iec_hub.space.cards import Card, Measured, read_card
from iec_hub.space.diagrams import method_diagram
from iec_hub.space.escaping import percent, plain, safe_html
from iec_hub.space.methods import Method
from iec_hub.space.service import Service

LONGEST_NAME = 100
LONGEST_NOTES = 6000


def build_about(page: gr.Blocks, service: Service) -> None:
    """Lay out the tab inside the open `page`."""
    methods = list(service.methods.values())
    gr.HTML(about_html(methods, sum(page.delete_cache)), elem_id="iec-about")


def about_html(methods: Sequence[Method], kept_seconds: float) -> str:
    """The whole explanation.

    Args:
        methods: those that the page offers.
        kept_seconds: after how long an uploaded picture is deleted at the latest.
    """
    cards = [read_card(method) for method in methods]
    kinds = dict.fromkeys(method.kind for method in methods)
    privacy = [item.format(time=texts.about_time(kept_seconds)) for item in texts.ABOUT_PRIVACY_ITEMS]
    parts = [
        f"<h2>{escape(texts.ABOUT_TITLE)}</h2><p>{escape(texts.ABOUT_INTRO)}</p>"
        f"<p>{escape(texts.ABOUT_HIGHLIGHTS)}</p>",
        _methods_html(kinds),
        f"<h2>{escape(texts.ABOUT_NOT)}</h2>{_items(texts.ABOUT_NOT_ITEMS, 'iec-not')}"
        f"<p>{escape(texts.ABOUT_FOR)}</p>",
        _trained_html(cards),
        results_html(cards),
        f"<h2>{escape(texts.ABOUT_PRIVACY)}</h2>{_items(privacy)}",
    ]
    return f'<div class="iec-about">{"".join(parts)}</div>'


def results_html(cards: Sequence[Card]) -> str:
    """What was measured: for each data set a row per model with its interval, and what that says."""
    parts = [f"<h2>{escape(texts.ABOUT_RESULTS)}</h2>"]
    groups = dict.fromkeys((one.data, one.split, one.count) for card in cards for one in card.measured)
    if groups:
        parts.append(f"<p>{escape(texts.ABOUT_RESULTS_INTRO)}</p>")
    for group in groups:
        rows = [(card, one) for card in cards for one in card.measured if (one.data, one.split, one.count) == group]
        parts.append(_data_set_html(rows))
    for card in cards:
        if not card.measured:
            name = texts.method_name(card.method)
            parts.append(f'<p class="iec-note">{safe_html(texts.ABOUT_NO_RESULTS.format(name=name))}</p>')
    if read := [card for card in cards if card.measured]:
        names = ", ".join(plain(card.name, LONGEST_NAME) for card in read)
        seeds = {card.seed for card in read}
        seed = seeds.pop() if len(seeds) == 1 else None
        told = texts.ABOUT_SEED.format(seed=seed) if seed is not None else ""
        source = texts.ABOUT_SOURCE.format(names=names, seeds=told)
        parts.append(f'<p class="iec-hint">{safe_html(source)}</p>')
    return "".join(parts)


def _methods_html(kinds: Iterable[str]) -> str:
    figures = "".join(
        f"<figure><h3>{escape(texts.method_name(kind))}</h3>{method_diagram(kind)}"
        f"<figcaption>{escape(texts.ABOUT_METHODS[kind][0])}</figcaption></figure>"
        for kind in kinds
        if kind in texts.ABOUT_METHODS
    )
    return f'<h2>{escape(texts.ABOUT_HOW)}</h2><div class="iec-methods">{figures}</div>' if figures else ""


def _trained_html(cards: Sequence[Card]) -> str:
    parts = [f"<h2>{escape(texts.ABOUT_TRAINED)}</h2><p>{escape(texts.ABOUT_TRAINED_INTRO)}</p>"]
    shown = "".join(f'<section class="iec-model">{_card_html(card)}</section>' for card in cards)
    return "".join([*parts, f'<div class="iec-models">{shown}</div>'])


def _card_html(card: Card) -> str:
    name = safe_html(card.name, LONGEST_NAME)
    parts = [f'<h3>{safe_html(texts.method_name(card.method))} <code dir="auto">{name}</code></h3><dl>']
    parts.append(_term(texts.ABOUT_TELLS_APART, ", ".join(safe_html(title) for title in card.emotion_models)))
    for data in card.data:
        splits = ", ".join(
            texts.ABOUT_SPLITS[split].format(count=f"{count:,}")
            for split, count in data.splits.items()
            if split in texts.ABOUT_SPLITS
        )
        terms = safe_html(texts.ABOUT_TERMS.format(terms=data.terms)) if data.terms else ""
        parts.append(_term(safe_html(data.name, LONGEST_NAME), "<br>".join(filter(None, (escape(splits), terms)))))
    if card.started_from:
        parts.append(
            _term(texts.ABOUT_STARTED, ", ".join(safe_html(base, LONGEST_NAME) for base in card.started_from))
        )
    parts.append("</dl>")
    if not card.data:
        parts.append(f'<p class="iec-note">{escape(texts.ABOUT_NO_DATA)}</p>')
    if card.notes.strip():
        title = texts.ABOUT_NOTES.format(name=plain(card.name, LONGEST_NAME))
        parts.append(f"<details><summary>{safe_html(title)}</summary>{_notes_html(card.notes)}</details>")
    return "".join(parts)


def _term(name: str, told: str) -> str:
    return f"<div><dt>{name}</dt><dd>{told}</dd></div>" if told else ""


def _data_set_html(rows: Sequence[tuple[Card, Measured]]) -> str:
    one = rows[0][1]
    split = texts.ABOUT_SPLIT_NAMES[one.split]
    title = f"{safe_html(one.data, LONGEST_NAME)} <span>{one.count:,} {escape(split)}</span>"
    shown = "".join(_measured_html(card, measured) for card, measured in rows)
    remarks = " ".join(_remarks(rows))
    return f'<h3>{title}</h3><ul class="iec-measured" role="list">{shown}</ul><p>{safe_html(remarks)}</p>'


def _measured_html(card: Card, one: Measured) -> str:
    band = line = ""
    told = [texts.ABOUT_RIGHT.format(share=f"{one.accuracy:.0%}")]
    if one.interval is not None:
        low, high = one.interval
        band = f'<i class="iec-band" style="left:{100 * low:.1f}%;width:{100 * (high - low):.1f}%"></i>'
        told.append(texts.ABOUT_INTERVAL.format(low=f"{low:.0%}", high=f"{high:.0%}"))
    further = []
    if one.most_frequent is not None:
        line = f'<i class="iec-base" style="left:{100 * one.most_frequent:.1f}%"></i>'
        further.append(texts.ABOUT_MOST_FREQUENT.format(share=f"{one.most_frequent:.0%}"))
    if one.macro_f1 is not None and one.macro_f1_interval is not None:
        low, high = (f"{end:.2f}" for end in one.macro_f1_interval)
        further.append(texts.ABOUT_MACRO_F1_INTERVAL.format(value=f"{one.macro_f1:.2f}", low=low, high=high))
    elif one.macro_f1 is not None:
        further.append(texts.ABOUT_MACRO_F1.format(value=f"{one.macro_f1:.2f}"))
    if one.sure is not None:
        share, right, others = map(percent, one.sure)
        further.append(texts.ABOUT_SURE.format(share=share, right=right, others=others))
    return (
        f"<li><b>{safe_html(texts.method_name(card.method), LONGEST_NAME)}</b>"
        f'<span class="iec-ruler" aria-hidden="true">{band}{line}'
        f'<i class="iec-dot" style="left:{100 * one.accuracy:.1f}%"></i></span>'
        f'<span class="iec-told">{escape(", ".join(told))}</span>'
        f'<span class="iec-further">{"; ".join(further)}</span></li>'
    )


def _remarks(rows: Sequence[tuple[Card, Measured]]) -> list[str]:
    """What the figures of one data set do and do not show."""
    known = [(card, one) for card, one in rows if one.interval is not None]
    remarks = []
    if known:
        width = sum(one.interval[1] - one.interval[0] for _, one in known) / len(known)
        remarks.append(texts.ABOUT_SMALL.format(count=f"{rows[0][1].count:,}", points=f"{100 * width:.0f}"))
    if len(known) > 1:
        best = max(known, key=lambda row: row[1].interval[0])
        worst = min(known, key=lambda row: row[1].interval[1])
        if best[1].interval[0] <= worst[1].interval[1]:
            remarks.append(texts.ABOUT_SAME)
        else:
            names = (texts.method_name(row[0].method) for row in (best, worst))
            remarks.append(texts.ABOUT_APART.format(**dict(zip(("best", "worst"), names, strict=True))))
    if rows[0][1].split == "validation":
        remarks.append(texts.ABOUT_FLATTERS)
    return remarks


def _items(items: Iterable[str], css_class: str = "") -> str:
    rows = "".join(f"<li>{escape(item)}</li>" for item in items)
    return f'<ul class="{css_class}">{rows}</ul>'


def _notes_html(notes: str) -> str:
    """A card's own remarks as paragraphs and lists; their further Markdown is left out rather than interpreted."""
    parts = []
    for block in re.split(r"\n\s*\n", notes[:LONGEST_NOTES]):
        block = re.sub(r"[`*]", "", block).strip()
        if block.startswith("- "):
            items = re.split(r"\n- ", block[2:])
            parts.append(f"<ul>{''.join(f'<li>{safe_html(item)}</li>' for item in items)}</ul>")
        elif block:
            parts.append(f"<p>{safe_html(block)}</p>")
    return "".join(parts)

"""The card of one method: before a question, while it is answered, with its answer, and where it has none."""

from collections.abc import Sequence
from html import escape
from typing import Any

from PIL import Image

from iec_hub.prediction import EmotionPrediction, Progress, from_distribution
from iec_hub.space import texts
from iec_hub.space.escaping import safe_html
from iec_hub.space.methods import Method
from iec_hub.space.rendering import MAX_BARS, label_colours, place_html, result_html, sheet_html, words_html

# Narrow cards stand side by side; a screen with two pixels to a point shows no more than this.
CARD_SIDE = 560
_EMPTY = '<span class="iec-blank" aria-hidden="true"></span>'


def head_html(method: Method) -> str:
    """Whose answer it is, and in a few words how it comes about."""
    task = texts.method_task(method.name)
    # Several models of one method have names of their own; the model says which it is.
    task = f"<p>{escape(task)}</p>" if task else ""
    return f"<h2>{safe_html(texts.method_name(method.name), 60)}</h2>{task}"


def idle_card(method: Method) -> str:
    """What the method does, in the place where its answer will stand."""
    idea = texts.METHOD_IDEAS.get(method.kind, "")
    return sheet_html(head_html(method), f'<p class="iec-idea">{escape(idea)}</p>', "", "", "iec-idle")


def unable_card(method: Method) -> str:
    """That the method cannot tell the chosen emotions apart, and which it can."""
    offered = texts.listed([model.title for model in method.models.values()])
    sentence = texts.OTHER_EMOTIONS.format(method=texts.method_name(method.name), offered=offered)
    return sheet_html(head_html(method), f'<p class="iec-idea">{safe_html(sentence)}</p>', "", "", "iec-idle")


def failed_card(method: Method, message: str) -> str:
    """One sentence in place of the answer."""
    html = f'<div role="alert"><h3>{escape(texts.ERROR_TITLE)}</h3><p>{safe_html(message)}</p></div>'
    return sheet_html(head_html(method), html, "", "", "iec-error")


def waiting_card(
    method: Method,
    labels: Sequence[str],
    shown: Image.Image | None = None,
    size: tuple[int, int] = (3, 2),
    progress: Progress | None = None,
    folded: bool = True,
) -> str:
    """The card while the method is at work, as tall as with its answer, with what it has put into words so far.

    Args:
        labels: what will have a bar.
        shown: the picture as it is sent; left out until it is needed.
        size: width and height of the picture as it is judged.
        progress: what is known so far.
        folded: see :func:`iec_hub.space.rendering.result_html`.
    """
    stage = texts.STAGES.get(progress.stage, texts.THINKING) if progress is not None else texts.THINKING
    rows = "".join(
        f'<li class="iec-bar iec-{colour}"><span class="iec-label">{safe_html(label)}</span> '
        f'<span class="iec-track" aria-hidden="true"></span><span class="iec-share">{_EMPTY}</span></li>'
        for label, colour in zip(labels[:MAX_BARS], label_colours(labels[:MAX_BARS]), strict=True)
    )
    answer = (
        f'<div class="iec-call"><p class="iec-over">{escape(stage)}</p><p class="iec-verdict">{_EMPTY}</p></div>'
        f'<h3>{escape(texts.DISTRIBUTION)}</h3><ul class="iec-bars" role="list">{rows}</ul>'
    )
    where = f"<h3>{escape(texts.EVIDENCE)}</h3>{place_html(size, '')}"
    why = "" if progress is None or shown is None else _so_far(progress, labels, shown, size, folded)
    state = "iec-waiting" if folded else "iec-waiting iec-alone"
    return sheet_html(head_html(method), answer, where, why, state, folded)


def _so_far(progress: Progress, labels: Sequence[str], shown: Image.Image, size: tuple[int, int], folded: bool) -> str:
    """The parts in words; what was not looked for yet is left out rather than said to be missing."""
    known: dict[str, Any] = {name: value for name, value in progress.fields.items() if name in _IN_WORDS}
    if not any(value for value in known.values()):
        return ""
    nobody_knows = dict.fromkeys(labels, 1 / len(labels))
    partial = from_distribution(nobody_knows, emotion_model="", method="", **known)
    # Sentences count as those of a chain of thought only where there is one.
    return words_html(partial, shown, (), size, folded=folded)


_IN_WORDS = frozenset({"concepts", "reasoning", "captions", "embedded_text", "attributes"})


def answer_card(method: Method, prediction: EmotionPrediction, picture: Image.Image, **options: Any) -> str:
    """The card with its answer; `options` are those of :func:`iec_hub.space.rendering.result_html`."""
    note = method.note(prediction.emotion_model, bool(options.get("own_words")))
    return result_html(prediction, picture, head=head_html(method), note=note, **options)

"""How two answers differ, as HTML: in one sentence, label by label, and in the words that each rests on."""

from collections.abc import Sequence
from dataclasses import dataclass
from html import escape

from PIL import Image

from iec_hub.errors import DataError
from iec_hub.prediction import EmotionPrediction
from iec_hub.space import texts
from iec_hub.space.escaping import percent, plain, safe_html
from iec_hub.space.rendering import MAX_BARS, label_colours
from iec_hub.space.rendering_evidence import WHOLE, captions_html, evidence_html, evidence_views
from iec_hub.space.rendering_words import concepts_html, deciding, reasoning_html, sentences_html, word_marks

# Bars of small differences stay short: the longest one is full where it stands for at least this much.
LEAST_SCALE = 20
MAX_SHARED = 12
LONGEST_LABEL = 60


@dataclass(frozen=True)
class Side:
    """One of the two that are compared.

    Attributes:
        name: what it is called, such as "Picture A" or "UGRIE".
        prediction: None while it is awaited, and where there is none.
        picture: as it is shown, RGB.
        error: the sentence in place of a prediction.
    """

    name: str
    prediction: EmotionPrediction | None = None
    picture: Image.Image | None = None
    error: str = ""

    @property
    def done(self) -> bool:
        return self.prediction is not None or bool(self.error)


@dataclass(frozen=True)
class Difference:
    """One label in two answers, each share from 0 to 1.

    Attributes:
        points: what the right one has more, in whole percentage points; negative where it has less.
    """

    label: str
    left: float
    right: float

    @property
    def points(self) -> int:
        return round(100 * (self.right - self.left))


def differences(left: EmotionPrediction, right: EmotionPrediction) -> list[Difference]:
    """Each label's shares in both answers, in the order of the emotion model.

    Raises:
        DataError: if the answers are about different labels.
    """
    if left.labels != right.labels:
        raise DataError(texts.COMPARE_OTHER_LABELS)
    return [Difference(*row) for row in zip(left.labels, left.probabilities, right.probabilities, strict=True)]


def overlap(left: EmotionPrediction, right: EmotionPrediction) -> float:
    """What two distributions have in common, from 0 to 1: the sum over the labels of the smaller probability.

    It is one less the total variation distance.
    """
    return min(1.0, sum(min(each.left, each.right) for each in differences(left, right)))


def difference_sentences(names: tuple[str, str], left: EmotionPrediction, right: EmotionPrediction) -> list[str]:
    """The comparison in words: what both say, where they differ most, and how much they have in common."""
    most = max(differences(left, right), key=lambda each: abs(each.right - each.left))
    name = names[1] if most.points > 0 else names[0]
    return [
        texts.compared_tops(names, left, right),
        texts.compared_most(plain(most.label, LONGEST_LABEL), name, abs(most.points)),
        texts.overlap(overlap(left, right)),
    ]


def empty_comparison_html() -> str:
    """What stands in the comparison's place before there is one."""
    steps = "".join(f"<li>{escape(step)}</li>" for step in texts.COMPARE_EMPTY_STEPS)
    title = escape(texts.COMPARE_EMPTY_TITLE)
    return f'<div class="iec-result iec-versus iec-empty"><h2>{title}</h2><ul>{steps}</ul></div>'


def comparison_html(left: Side, right: Side) -> str:
    """Two answers and their difference; what is still awaited has its place, so that nothing moves."""
    # The sides keep their letters everywhere: methods are named A and B at the inputs too.
    sides = "".join(_side(side, letter) for side, letter in zip((left, right), texts.SIDES, strict=True))
    parts = [f'<div class="iec-said" role="status">{_said(left, right)}</div><div class="iec-sides">{sides}</div>']
    if left.prediction is not None and right.prediction is not None:
        parts += [_chart(left, right), _words(left, right)]
    return f'<div class="iec-result iec-versus">{"".join(parts)}</div>'


def difference_table_html(rows: Sequence[Difference], names: tuple[str, str]) -> str:
    """A row per label with a bar that points to the side on which the label is likelier.

    Up to `MAX_BARS` labels keep the order of the emotion model; of more, those that differ most are shown.
    """
    shown = rows
    if len(rows) > MAX_BARS:
        shown = sorted(rows, key=lambda each: -abs(each.right - each.left))[:MAX_BARS]
    scale = max([LEAST_SCALE, *(abs(row.points) for row in shown)])
    colours = label_colours([row.label for row in shown])
    body = "".join(_row(row, colour, scale, names) for row, colour in zip(shown, colours, strict=True))
    a, b = texts.SIDES
    towards = [escape(texts.COMPARE_AXIS.format(side=letter)) for letter in texts.SIDES]
    head = (
        f'<tr><th scope="col">{escape(texts.COMPARE_EMOTION)}</th><th scope="col" class="iec-number">{escape(a)}</th>'
        f'<th scope="col"><span class="iec-axis"><span><i aria-hidden="true">←</i> {towards[0]}</span>'
        f'<span>{towards[1]} <i aria-hidden="true">→</i></span></span></th>'
        f'<th scope="col" class="iec-number">{escape(b)}</th></tr>'
    )
    folded = ""
    if len(rows) > len(shown):
        left_out = texts.COMPARE_FOLDED.format(count=len(rows) - len(shown))
        folded = f'<p class="iec-rest">{escape(left_out)}</p>'
    return f'<table class="iec-differences"><thead>{head}</thead><tbody>{body}</tbody></table>{folded}'


def _said(left: Side, right: Side) -> str:
    if left.prediction is None or right.prediction is None:
        missing = texts.COMPARE_FAILED if left.done and right.done else texts.COMPARE_WAITING
        return f"<p>{escape(missing)}</p>"
    said = difference_sentences((left.name, right.name), left.prediction, right.prediction)
    return "".join(f"<p>{safe_html(sentence)}</p>" for sentence in said)


def _side(side: Side, letter: str) -> str:
    badge = f'<span class="iec-letter" aria-hidden="true">{escape(letter)}</span>'
    # "Picture A" says its letter itself; of a method it is said before its name.
    name = side.name if side.name in texts.PICTURE_SIDES else f"{letter}: {side.name}"
    title = f'<h2>{badge}<span class="iec-aside">{safe_html(name)}</span>'
    title += f'<span aria-hidden="true">{safe_html(side.name)}</span></h2>'
    if side.error:
        return f'<section class="iec-side iec-error">{title}<p role="alert">{safe_html(side.error)}</p></section>'
    if side.prediction is None or side.picture is None:
        return f'<section class="iec-side iec-awaited">{title}<p>{escape(texts.COMPARE_THINKING)}</p></section>'
    opening = texts.VERDICT_UNCERTAIN if side.prediction.uncertain else texts.VERDICT
    views = [view for view in evidence_views(side.prediction, side.picture.size) if view.key == WHOLE]
    shown = evidence_html(side.picture, views) if views else ""
    return (
        f'<section class="iec-side">{title}<p class="iec-over">{escape(opening)}</p>'
        f'<p class="iec-verdict">{safe_html(side.prediction.summary())}</p>{shown}</section>'
    )


def _chart(left: Side, right: Side) -> str:
    table = difference_table_html(differences(left.prediction, right.prediction), (left.name, right.name))
    hint = escape(texts.COMPARE_POINTS_HINT)
    return f'<h2>{escape(texts.COMPARE_DIFFERENCE)}</h2><p class="iec-hint iec-lead">{hint}</p>{table}'


def _row(row: Difference, colour: str, scale: int, names: tuple[str, str]) -> str:
    points = abs(row.points)
    side = "iec-right" if row.points > 0 else "iec-left"
    if points:
        said = texts.COMPARE_POINTS_TO.format(side=names[1] if row.points > 0 else names[0])
        told = f'<b>+{points}<span class="iec-aside"> {safe_html(said)}</span></b>'
    else:
        told = f'<b class="iec-same">±0<span class="iec-aside"> {escape(texts.COMPARE_NO_POINTS)}</span></b>'
    return (
        f'<tr class="iec-{colour}"><th scope="row"><bdi>{safe_html(row.label)}</bdi></th>'
        f'<td class="iec-number">{percent(row.left)}</td>'
        f'<td><span class="iec-diverging {side}" style="--length:{points / scale:.3f}">'
        f'<i aria-hidden="true"></i>{told}</span></td>'
        f'<td class="iec-number">{percent(row.right)}</td></tr>'
    )


def _words(left: Side, right: Side) -> str:
    """What each side put into words; nothing where neither did."""
    told = [_side_words(side) for side in (left, right)]
    if not any(told):
        return ""
    columns = "".join(
        f'<div class="iec-side"><h3 class="iec-whose">{safe_html(side.name)}</h3>'
        f"{words or '<p class=iec-rest>' + safe_html(texts.COMPARE_NO_WORDS.format(side=side.name)) + '</p>'}</div>"
        for side, words in zip((left, right), told, strict=True)
    )
    shared = _shared(left.prediction, right.prediction)
    return f'<h2>{escape(texts.COMPARE_WORDS)}</h2>{shared}<div class="iec-sides">{columns}</div>'


def _side_words(side: Side) -> str:
    prediction = side.prediction
    marks = word_marks(deciding(prediction.evidence.words if prediction.evidence is not None else None))
    parts = []
    if prediction.template:
        parts.append(f'<h3>{escape(texts.SENTENCE)}</h3><p class="iec-sentence">{safe_html(prediction.template)}</p>')
    if prediction.reasoning is None and prediction.captions:
        parts.append(f"<h3>{escape(texts.CAPTION)}</h3>{captions_html(prediction)}")
    parts += [concepts_html(prediction.concepts, marks), reasoning_html(prediction.reasoning, marks)]
    if prediction.reasoning is not None:
        parts.append(sentences_html(prediction.captions, marks))
    return "".join(parts)


def _shared(left: EmotionPrediction, right: EmotionPrediction) -> str:
    if not left.concepts or not right.concepts:
        return ""
    there = {concept.text.casefold() for concept in right.concepts}
    both = [concept.text for concept in left.concepts if concept.text.casefold() in there][:MAX_SHARED]
    said = texts.COMPARE_SHARED.format(concepts=", ".join(both)) if both else texts.COMPARE_NOT_SHARED
    return f'<p class="iec-hint iec-lead">{safe_html(said)}</p>'

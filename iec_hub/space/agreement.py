"""Where several methods agree and differ about one picture: sentences, and rows of what they differ on most."""

import math
from collections.abc import Mapping
from dataclasses import dataclass
from html import escape, unescape

from iec_hub.emotions import EMOTION_MODELS
from iec_hub.prediction import EmotionPrediction
from iec_hub.space import texts
from iec_hub.space.escaping import percent, safe_html

# More rows than these would be the bars once more.
MAX_ROWS = 3
# Closer than this is not worth a reader's time.
CLOSE = 0.10
# Each method has a shape of its own, as colours are the emotions'.
SHAPES = ("circle", "square", "diamond", "ring", "triangle", "bar")
_POLARITIES = {emotion.label: emotion.polarity for model in EMOTION_MODELS.values() for emotion in model.emotions}


@dataclass(frozen=True)
class Gap:
    """How far methods are apart on one label.

    Attributes:
        shares: the label's probability by method, in the order of the methods.
        least, most: the methods that give it least and most.
    """

    label: str
    shares: Mapping[str, float]

    @property
    def least(self) -> str:
        return min(self.shares, key=self.shares.__getitem__)

    @property
    def most(self) -> str:
        return max(self.shares, key=self.shares.__getitem__)

    @property
    def width(self) -> float:
        return self.shares[self.most] - self.shares[self.least]


def gaps(answers: Mapping[str, EmotionPrediction]) -> list[Gap]:
    """The labels that all answers share, those on which they are furthest apart first.

    Args:
        answers: by method, at least one.
    """
    first, *others = (answer.distribution for answer in answers.values())
    shared = [label for label in first if all(label in other for other in others)]
    found = [Gap(label, {name: answer.distribution[label] for name, answer in answers.items()}) for label in shared]
    return sorted(found, key=lambda gap: -gap.width)


def verdict(answers: Mapping[str, EmotionPrediction]) -> str:
    """One sentence on what the methods say, for people who never heard of them.

    Args:
        answers: by the method's name as it is shown, at least two.
    """
    said: dict[str, list[str]] = {}
    for name, answer in answers.items():
        said.setdefault(answer.emotion, []).append(name)
    guesses = [name for name, answer in answers.items() if answer.uncertain]
    if len(said) == 1:
        return texts.agreed(len(answers), next(iter(said)), guesses)
    groups = sorted(said.items(), key=lambda item: -len(item[1]))
    return texts.disagreed([(names, emotion) for emotion, names in groups], guesses, len(answers))


def remarks(answers: Mapping[str, EmotionPrediction]) -> list[str]:
    """Further sentences: whether what they say is at least alike, and what they are furthest apart on."""
    tops = {answer.emotion.casefold() for answer in answers.values()}
    sentences = []
    polarities = {_POLARITIES.get(top) for top in tops}
    if len(tops) > 1 and polarities == {"positive"}:
        sentences.append(texts.PLEASANT)
    elif len(tops) > 1 and polarities == {"negative"}:
        sentences.append(texts.UNPLEASANT)
    widest = gaps(answers)[:1]
    if not widest:
        return sentences
    (gap,) = widest
    if gap.width < CLOSE:
        sentences.append(texts.CLOSE.format(points=max(1, round(100 * gap.width))))
    else:
        # As in the table; what is shown is escaped later.
        shares = {"least": unescape(percent(gap.shares[gap.least])), "most": percent(gap.shares[gap.most])}
        sentences.append(
            texts.FURTHEST.format(label=gap.label, least_method=gap.least, most_method=gap.most, **shares)
        )
    return sentences


def agreement_html(answers: Mapping[str, EmotionPrediction], note: str = "") -> str:
    """The sentences, and a row per label on which the methods are far apart, with each method's mark.

    Args:
        answers: by the method's name as it is shown, at least two, over the same labels.
        note: one more sentence.
    """
    more = "".join(f"<p>{safe_html(sentence)}</p>" for sentence in [*remarks(answers), note] if sentence)
    far = [gap for gap in gaps(answers) if gap.width >= CLOSE][:MAX_ROWS]
    table = _table(far) if far else ""
    return (
        f'<div class="iec-summary"><div class="iec-agree"><h2 class="iec-agreement" role="status">'
        f"{safe_html(verdict(answers))}</h2>{more}</div>{table}</div>"
    )


def _table(far: list[Gap]) -> str:
    shape = dict(zip(far[0].shares, SHAPES * (1 + len(far[0].shares) // len(SHAPES)), strict=False))
    heads = "".join(
        f'<th scope="col"><i class="iec-shape iec-shape-{shape[name]}" aria-hidden="true"></i> '
        f"{safe_html(name, 24)}</th>"
        for name in far[0].shares
    )
    # The scale ends at the next tenth above what is to be shown, so that marks stand apart.
    end = math.ceil(10 * max(gap.shares[gap.most] for gap in far)) / 10
    rows = ""
    for gap in far:
        marks = "".join(
            f'<i class="iec-shape iec-shape-{shape[name]}" style="left:{100 * share / end:.1f}%"></i>'
            for name, share in gap.shares.items()
        )
        line = f"left:{100 * gap.shares[gap.least] / end:.1f}%;right:{100 - 100 * gap.shares[gap.most] / end:.1f}%"
        numbers = "".join(f"<td>{percent(share)}</td>" for share in gap.shares.values())
        rows += (
            f'<tr><th scope="row">{safe_html(gap.label)}</th><td class="iec-span" aria-hidden="true">'
            f'<span class="iec-scale"><b style="{line}"></b>{marks}</span></td>{numbers}</tr>'
        )
    return (
        f'<table class="iec-apart"><caption class="iec-aside">{escape(texts.APART_TABLE)}</caption><thead><tr>'
        f'<th scope="col">{escape(texts.EMOTION_COLUMN)}</th><td class="iec-span" aria-hidden="true"></td>{heads}</tr>'
        f"</thead><tbody>{rows}</tbody></table>"
    )

"""Every fixed text of a model card, and how names that somebody chose are written into Markdown."""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Any

from iec_hub.space.escaping import plain

_UGRIE_CITATION = """@article{shi2024one,
  title   = {One for All: A Unified Generative Framework for Image Emotion Classification},
  author  = {Shi and Deng and Wang and Feng and Zhuang and Wang},
  journal = {IEEE Transactions on Circuits and Systems for Video Technology},
  volume  = {34}, number = {8}, pages = {7057--7068}, year = {2024},
  doi     = {10.1109/TCSVT.2023.3341840}
}"""

_ESCNET_CITATION = """@article{zhou2025improved,
  title   = {Improved {IEC} performance via emotional stimuli-aware captioning},
  author  = {Zhou and Zhai and Gao and Zhu},
  journal = {Scientific Reports}, year = {2025},
  doi     = {10.1038/s41598-025-06094-7}
}"""

_ACIEC_CITATION = """@article{zhou2025analyzing,
  title   = {Analyzing Image Beyond Visual Aspect: Image Emotion Classification via Multiple-Affective Captioning},
  author  = {Zhou and Zhai and Chen and Dai and Yang},
  journal = {arXiv preprint arXiv:2511.23115}, year = {2025}
}"""
CITATIONS = {"ugrie": _UGRIE_CITATION, "escnet": _ESCNET_CITATION, "aciec": _ACIEC_CITATION}

TITLES = {"ugrie": "UGRIE", "escnet": "ESCNet", "aciec": "ACIEC"}
# What each method is, as the end of a sentence.
DESCRIPTIONS = {
    "ugrie": "a vision tower, a mapping network and a BART-family language part that fills a sentence with the "
    "emotion",
    "escnet": "a captioner says what it sees, a caption encoder reads that, and a fusion of image and caption with "
    "gated words decides",
    "aciec": "concepts, a chain of thought and the text in the image are put into words, and a text encoder decides "
    "from those words alone",
}
ABSTRACT_ONLY = (
    "Only the paper's abstract was followed; the design is this implementation's, and no figure here is the paper's."
)

_INTENDED_USE = """The model estimates how the feelings that a picture **evokes in people who look at it** would be
spread over a set of emotions. It is meant for research on and demonstrations of that, and for exploring collections of
pictures where a person looks at the results.

What it is not:

- **It does not read the feelings of a person shown.** A smiling face may evoke sadness, and a picture without people
  fear. Nothing here says what anybody feels, thinks or intends.
- **It must not be used to judge people**: not for hiring, work, schools, policing, health, insurance or credit, and
  not for watching anyone. Article 5(1)(f) of the EU AI Act (Regulation (EU) 2024/1689) prohibits AI systems that infer
  emotions of people at work and in education, but for medical or safety reasons; this model is no such system and must
  not be made part of one. Nor must it choose pictures that push people's feelings.
- **It knows its annotators, not everybody.** What a picture evokes depends on culture, age, time and life. The labels
  are those of the annotators of the data that it is trained on, mostly few people from few countries; other viewers
  may feel differently, and so may the same viewers on another day.
- **It is often wrong**{results}, and more so on pictures unlike those it is trained on: drawings, memes, medical
  pictures, screenshots. Nothing that matters should rest on it.

Predictions are distributions, because viewers differ. The flag `uncertain` is part of the answer."""


def intended_use(measured: bool) -> str:
    """Intended use and limits; `measured` where the card has results to point at."""
    return _INTENDED_USE.format(results=", as the results below say" if measured else "")


# The Hub asks for a name where a licence is "other"; the card's own part says what it means.
LICENSE_NAME = "see-data-terms-and-weights"

# What a run says about terms when nobody told it more.
NO_NOTES = """Nobody has stated terms for these weights. They are derived from the images and labels above and from the
weights that the training started from, whose own terms apply; read those before any use beyond research."""

METRICS_EXPLAINED = """Accuracy: the most probable label has the most votes (any of them where votes are tied). Macro
F1: the mean over labels. Soft cross-entropy and KL (nats) and Brier (squared distance, 0 to 2) compare the whole
distribution with the votes. ECE: mean distance of confidence from accuracy, 15 bins. AURC: mean share of wrong answers
among the surest 1, 2, ... pictures. In brackets: 95 % percentile bootstrap over the pictures (2,000 resamples, fixed
seed); it covers the choice of test pictures, not that of the training data or the seed."""

# Characters that mean something to Markdown, to HTML or to what renders formulas and tables.
_SPECIAL = re.compile(r"([\\`*_\[\]{}<>|~&$#!@^])")
_LONGEST = 200


def escaped(text: Any, longest: int | None = _LONGEST) -> str:
    """A name as plain words of Markdown: one line, nothing in it that makes a link, a heading, a table or HTML."""
    shown = _SPECIAL.sub(r"\\\1", plain(str(text), longest).strip())
    # Addresses become links by themselves, and a line may begin with a list's sign or number.
    shown = re.sub(r"(?i)(://|www\.)", lambda found: found[0].replace(":", "\\:").replace(".", "\\."), shown)
    shown = re.sub(r"^([-+=])", r"\\\1", shown)
    return re.sub(r"^(\d+)([.)])(?=\s|$)", r"\1\\\2", shown)


def code(text: Any, longest: int | None = _LONGEST) -> str:
    """A name as code in running text, not in a table."""
    return "`" + (plain(str(text), longest).replace("`", "'").strip() or " ") + "`"


def figure(value: Any, digits: int = 3) -> str:
    """A number, or a dash where there is none."""
    return "-" if value is None or value != value else f"{value:.{digits}f}"


def percent(value: float | None) -> str:
    return "-" if value is None else f"{100 * value:.0f} %"


def table(rows: Sequence[Sequence[str]], numbers: bool = True) -> str:
    """Rows of ready cells as a Markdown table; the first is the head, and numbers stand to the right."""
    lines = ["| " + " | ".join(cells) + " |" for cells in rows]
    rule = "|---" + ("|---:" if numbers else "|---") * (len(rows[0]) - 1) + "|"
    return "\n".join([lines[0], rule, *lines[1:]])

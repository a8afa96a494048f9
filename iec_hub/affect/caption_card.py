"""What a data set of affective captions holds, and its card."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from iec_hub.affect.attributes import ATTRIBUTES

CARD_NAME, DATA_FOLDER = "README.md", "data"

_TERMS = {
    "path": """The rows name pictures and do not hold them. Labels, attributes, ratings and human captions are those of
the data sets above, or derived from them, and stay under their terms: read those before you publish or use this,
and name the data sets where you do.""",
    "bytes": """**This data set holds copies of the pictures.** Many sets of photographs may not be passed on: read the
terms of the data sets above before anybody else can see this. Labels, attributes, ratings and human captions are
theirs too, or derived from them.""",
}


@dataclass(frozen=True)
class CaptionDataReport:
    """What a build holds.

    Attributes:
        rows: split -> number of rows.
        emotions: emotion model -> label -> number of rows; rows without an emotion are not in it.
        datasets: data set -> number of rows.
        sources: attribute -> source ("annotation", "computed", a tagger) -> number of rows.
        human_captions: how many human captions were joined in.
        skipped: how many rows were left out; `skipped.csv` has them with their reasons.
    """

    rows: dict[str, int] = field(default_factory=dict)
    emotions: dict[str, dict[str, int]] = field(default_factory=dict)
    datasets: dict[str, int] = field(default_factory=dict)
    sources: dict[str, dict[str, int]] = field(default_factory=dict)
    human_captions: int = 0
    skipped: int = 0


class CaptionCounts:
    """Counts over the rows of all splits."""

    def __init__(self) -> None:
        self.rows: Counter[str] = Counter()
        self.datasets: Counter[str] = Counter()
        self.emotions: Counter[tuple[str, str]] = Counter()
        self.sources: Counter[tuple[str, str]] = Counter()
        self.human_captions = 0

    def add(self, table: Any, split: str) -> None:
        self.rows[split] += table.num_rows
        columns = {name: table.column(name).to_pylist() for name in table.column_names if name != "image"}
        self.datasets.update(columns["dataset"])
        pairs = zip(columns["emotion_model"], columns["emotion"], strict=True)
        self.emotions.update(pair for pair in pairs if pair[1])
        for name in ATTRIBUTES:
            for source in columns[f"{name}_source"]:
                self.sources.update(
                    (name, one) for one in ({source} if isinstance(source, str) else set(source or ()))
                )
        self.human_captions += sum(len(captions or ()) for captions in columns["human_captions"])

    def report(self, skipped: int) -> CaptionDataReport:
        nested: tuple[dict[str, dict[str, int]], dict[str, dict[str, int]]] = ({}, {})
        for target, counter in zip(nested, (self.emotions, self.sources), strict=True):
            for (outer, inner), count in sorted(counter.items()):
                target.setdefault(outer, {})[inner] = count
        datasets = dict(sorted(self.datasets.items()))
        return CaptionDataReport(dict(+self.rows), nested[0], datasets, nested[1], self.human_captions, skipped)


def card_text(report: CaptionDataReport, images: str, variants: int, seed: int, taggers: Sequence[str]) -> str:
    """The card as Markdown with Hub metadata.

    Args:
        images: "path" or "bytes", as in `build_caption_data`.
        taggers: names of the taggers that were asked.
    """
    total = sum(report.rows.values())
    files = "\n".join(f"  - split: {split}\n    path: {DATA_FOLDER}/{split}.parquet" for split in report.rows)
    emotions = [
        f"- {_plain(model)}: " + ", ".join(f"{_plain(label)} {count}" for label, count in labels.items())
        for model, labels in report.emotions.items()
    ]
    with_emotion = sum(sum(labels.values()) for labels in report.emotions.values())
    named = [f"`{_plain(name)}`" for name in taggers]
    return f"""---
pretty_name: Affective captions
language: en
license: other
license_name: see-terms-of-the-source-data
task_categories:
- image-to-text
tags:
- affective-computing
- image-emotion-classification
configs:
- config_name: default
  data_files:
{files}
---

# Affective captions

Sentences composed from the emotional attributes of pictures: brightness, colorfulness, scene, objects, facial
expression and human action. A sentence says only what the attributes say; no person and no language model wrote it.

| column | what it holds |
|---|---|
| `caption`, `variants` | the plain wording, and up to {variants} others from seed {seed} |
| `caption_with_emotion`, `variants_with_emotion` | the same, with the emotion that most viewers named |
| `human_captions` | what people wrote of the picture, where a data set has it: {report.human_captions} texts |
| `emotion`, `emotion_labels`, `emotion_distribution` | the top label, and the shares of all labels |
| `valence`, `arousal` | on the data set's own scale |
| `brightness` ... `human_action` | the attributes, each with its `_source` and, where named, its `_confidence` |
| `file_name`, `id` | the picture's path in its data set's folder, and its name |

## Counts

{_table(("split", "rows"), report.rows)}

{_table(("data set", "rows"), report.datasets)}

{with_emotion} of {total} rows have an emotion{":" if emotions else "."}
{chr(10).join(emotions)}

{report.skipped} rows were left out; `skipped.csv` has the reasons.

## Where the attributes are from

{_sources(report)}

"annotation" is the data set's own, "computed" is computed from the pixels, every other name is a tagger
({", ".join(named) or "none was asked"}). A tagger guesses: its confidence stands beside each name.

## Terms

{_TERMS[images]}
"""


def _plain(text: str) -> str:
    """Untrusted text within Markdown: on one line, and with nothing that marks up."""
    return re.sub(r"[^\w .,:/()+-]", " ", text)[:80]


def _table(header: tuple[str, str], rows: Mapping[str, Any]) -> str:
    lines = [
        f"| {' | '.join(header)} |",
        "|---|---:|",
        *(f"| {_plain(key)} | {value} |" for key, value in rows.items()),
    ]
    return "\n".join(lines)


def _sources(report: CaptionDataReport) -> str:
    """A row per attribute: how many rows have it from where."""
    rows = {
        name: ", ".join(f"{_plain(source)} {count}" for source, count in report.sources.get(name, {}).items())
        or "none"
        for name in ATTRIBUTES
    }
    return _table(("attribute", "rows by source"), rows).replace("---:", "---")

"""How well the text in quote pictures is read, and what reading it is worth: word recall, time and emotion accuracy.

    pip install --target FONTS --no-deps font-fjallaone font-caladea font-amatic-sc font-fredoka-one font-roboto \\
        font-lato font-source-serif-pro fontpkg-anton fontpkg-bebas-neue fontpkg-oswald
    python benchmarks/quote_pictures.py --texts goemotions_ekman_test.tsv --labels goemotions_ekman_labels.txt \\
        --photographs OASIS --fonts FONTS --model aciec-mini

OASIS is a folder with `metadata.csv`; its test pictures of middling valence are the backgrounds. Without `--fonts`
only the system's fonts and Pillow's own are used, without `--model` no emotion is predicted. Words are compared in
lower case and without punctuation, each counted as often as it stands there.
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import machine
import numpy as np
import oasis

from iec_hub.affect.embedded_text import RapidTextReader, TextReader, joined_embedded_text
from iec_hub.evaluation import bootstrap_interval
from iec_hub.evaluation.quote_pictures import (
    STYLES,
    QuotePicture,
    balanced_quotes,
    find_fonts,
    quote_pictures,
    read_quotes,
    word_recall,
)

if TYPE_CHECKING:
    from PIL.Image import Image

EMOTION_MODEL = "ekman7"
# OASIS's scale runs from 1, very negative, to 7; 4 is neutral.
NEUTRAL_VALENCE, FARTHEST = 4.0, 0.7
BATCH = 32


def neutral_photographs(folder: Path) -> list[Image]:
    """The test pictures of OASIS that people found neither pleasant nor unpleasant, in the table's order."""
    test = oasis.read_oasis(folder)["test"]
    return [example.open() for example in test if abs(example.valence - NEUTRAL_VALENCE) < FARTHEST]


def timed_reading(reader: TextReader, images: Sequence[Image]) -> tuple[list[str], list[float]]:
    """What is read in each image as one line, and the milliseconds that it took."""
    reader.read(images[:1])
    texts, times = [], []
    for image in images:
        start = time.perf_counter()
        found = reader.read([image])[0]
        times.append(1000 * (time.perf_counter() - start))
        texts.append(joined_embedded_text(found, longest=100_000))
    return texts, times


def recall_rows(pictures: Sequence[QuotePicture], texts: Sequence[str]) -> dict[str, dict[str, Any]]:
    """For all pictures and for each style: word recall with its 95 % interval over pictures, pictures and words."""
    counts = np.array(
        [word_recall(picture.quote.text, text) for picture, text in zip(pictures, texts, strict=True)], dtype=float
    )
    names = np.array([picture.style for picture in pictures])
    rows = {}
    for name in ("all", *dict.fromkeys(names.tolist())):
        own = counts if name == "all" else counts[names == name]
        rows[name] = {
            "recall": interval(lambda drawn, own=own: own[drawn, 0].sum() / own[drawn, 1].sum(), len(own)),
            "pictures": len(own),
            "words": int(own[:, 1].sum()),
        }
    return rows


def interval(score: Callable[[np.ndarray], float], number: int) -> list[float]:
    """The score of all rows and its 95 % bootstrap interval."""
    return [float(value) for value in bootstrap_interval(score, np.arange(number))]


def milliseconds(times: Sequence[float]) -> dict[str, float]:
    return {
        "median": round(float(np.median(times)), 1),
        "mean": round(float(np.mean(times)), 1),
        "p95": round(float(np.quantile(times, 0.95)), 1),
    }


def emotion_rows(predictor: Any, pictures: Sequence[QuotePicture]) -> dict[str, list[float]]:
    """Accuracy over Ekman's emotions and neutral with reading and without, and the difference, with 95 % intervals."""
    right = {}
    for reads in (True, False):
        told: list[str] = []
        for start in range(0, len(pictures), BATCH):
            images = [picture.image for picture in pictures[start : start + BATCH]]
            found = predictor.predict(images, emotion_model=EMOTION_MODEL, read_text=reads)
            told += [prediction.emotion for prediction in found]
        labels = [picture.quote.label for picture in pictures]
        right[reads] = np.array([a == b for a, b in zip(told, labels, strict=True)], dtype=float)
    rows = {"with reading": right[True], "without reading": right[False], "difference": right[True] - right[False]}
    return {name: interval(lambda drawn, own=own: own[drawn].mean(), len(own)) for name, own in rows.items()}


def as_markdown(result: Mapping[str, Any]) -> str:
    """The Markdown of `results/quote_pictures.md`."""
    lines = [
        "# Quote pictures",
        "",
        f"{result['rows']['all']['pictures']} sentences of GoEmotions' test file, as many of each of "
        f"{result['labels']} labels, drawn over "
        f"{result['photographs']} neutral test photographs of OASIS with {result['fonts']} fonts, "
        f"seed {result['seed']}; read by `{result['reader']}` with {result['threads']} threads. Made by `python "
        "benchmarks/quote_pictures.py`. Recall counts words in lower case without punctuation; 95 % bootstrap "
        "intervals over pictures.",
        "",
        "| style | word recall | pictures | words |",
        "|---|---|---|---|",
    ]
    for name, row in result["rows"].items():
        shown = "{:.3f} [{:.3f}, {:.3f}]".format(*row["recall"])
        lines.append(f"| {name} | {shown} | {row['pictures']} | {row['words']} |")
    lines += ["", "| one image at a time, ms | median | mean | 95th percentile |", "|---|---|---|---|"]
    for name, row in result["milliseconds"].items():
        lines.append(f"| {name} | {row['median']} | {row['mean']} | {row['p95']} |")
    lines += ["", f"Text was read in {result['read_in_photographs']} of the {result['photographs']} photographs."]
    if result["emotion"] is not None:
        lines += ["", f"| `{result['checkpoint']}`, {EMOTION_MODEL} | accuracy |", "|---|---|"]
        for name, row in result["emotion"].items():
            sign = "+" if name == "difference" else ""
            lines.append(f"| {name} | " + "{:{s}.3f} [{:{s}.3f}, {:{s}.3f}] |".format(*row, s=sign))
    return "\n".join([*lines, "", f"Machine: {machine.facts_line(result['machine'])}.", ""])


def plain_photographs(pictures: Sequence[QuotePicture], photographs: Sequence[Image]) -> list[Image]:
    """Each photograph once, without text, its shorter side as long as that of the first picture that shows it."""
    first = {picture.background: min(picture.image.size) for picture in reversed(pictures)}
    plain = []
    for index, side in sorted(first.items()):
        scale = side / min(photographs[index].size)
        plain.append(photographs[index].resize([round(scale * length) for length in photographs[index].size]))
    return plain


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--texts", type=Path, required=True, help="GoEmotions' test file with Ekman's labels")
    parser.add_argument("--labels", type=Path, required=True, help="the labels that its numbers mean")
    parser.add_argument("--photographs", type=Path, required=True, help="folder of OASIS")
    parser.add_argument("--fonts", type=Path, nargs="*", default=[], help="folders with more fonts")
    parser.add_argument("--per-label", type=int, default=36, help="sentences of each emotion (default 36)")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--model", help="id or directory of a checkpoint that reads text")
    parser.add_argument("--save-pictures", type=Path, help="folder for the pictures")
    parser.add_argument("--name", default="quote_pictures", help="name of the two files in benchmarks/results")
    given = parser.parse_args()

    photographs = neutral_photographs(given.photographs)
    fonts = find_fonts(given.fonts)
    quotes = balanced_quotes(read_quotes(given.texts, given.labels), given.per_label, given.seed)
    pictures = list(quote_pictures(quotes, photographs, given.seed, fonts, STYLES))
    if given.save_pictures:
        given.save_pictures.mkdir(parents=True, exist_ok=True)
        for number, picture in enumerate(pictures):
            picture.image.save(given.save_pictures / f"{number:04d}-{picture.style.replace(' ', '-')}.png")
    reader = RapidTextReader(threads=given.threads)
    texts, with_text = timed_reading(reader, [picture.image for picture in pictures])
    nothing, without_text = timed_reading(reader, plain_photographs(pictures, photographs))
    result: dict[str, Any] = {
        "reader": reader.name,
        "seed": given.seed,
        "labels": len({quote.label for quote in quotes}),
        "photographs": len(nothing),
        "fonts": len(fonts),
        "threads": given.threads,
        "machine": machine.facts(),
        "rows": recall_rows(pictures, texts),
        "milliseconds": {
            "with text": milliseconds(with_text),
            "without text": milliseconds(without_text),
        },
        "read_in_photographs": sum(map(bool, nothing)),
        "checkpoint": given.model and Path(given.model).name,
        "emotion": None,
    }
    if given.model:
        from iec_hub.predictor import EmotionPredictor

        result["emotion"] = emotion_rows(EmotionPredictor.from_pretrained(given.model), pictures)
    machine.write_results(given.name, result, as_markdown(result))


if __name__ == "__main__":
    main()

"""How close a checkpoint's captions come to what people wrote about OASIS's test pictures.

    pip install --no-deps pycocoevalcap==1.2
    python benchmarks/captions.py --data-dir DIR

DIR holds `oasis`. Beside the checkpoint: the human caption of the training picture that looks most alike, and the same
"A photo." for all. METEOR and SPICE need Java and are left out. Tokens are runs of letters and digits in lower case
(an apostrophe inside a word belongs to it), not those of the Java tokenizer that COCO's figures were made with; there
is one human caption per picture, and CIDEr's word weights are those of this test split: compare the rows with each
other, not with figures of COCO.
"""

from __future__ import annotations

import argparse
import itertools
import re
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import machine
import numpy as np
import oasis
import torch
from pycocoevalcap.bleu.bleu_scorer import BleuScorer
from pycocoevalcap.cider.cider import Cider
from pycocoevalcap.rouge.rouge import Rouge

from iec_hub.data import EmotionExample
from iec_hub.evaluation import bootstrap_interval
from iec_hub.finetuning.features import cached_features
from iec_hub.finetuning.word_detector import WordLabel, mentions, read_vocabulary
from iec_hub.predictor import EmotionPredictor

# Rows of pictures to a score of these pictures.
Score = Callable[[np.ndarray], float]
METRICS = ("BLEU-1", "BLEU-2", "BLEU-3", "BLEU-4", "ROUGE-L", "CIDEr", "word precision", "word recall")
NEIGHBOUR, FLOOR = "nearest training picture", "A photo."
EXAMPLES = 10


def tokenised(caption: str) -> str:
    """Tokens in lower case with a blank between them; one that cannot match where there is no token."""
    return " ".join(re.findall(r"[a-z0-9]+(?:['\u2019][a-z]+)*", caption.lower())) or "."


def scores(candidates: Sequence[str], references: Sequence[str], vocabulary: Sequence[WordLabel]) -> dict[str, Score]:
    """Metric to a function from rows of pictures to the score, one reference per candidate.

    BLEU is the corpus's own; ROUGE-L and CIDEr are means over pictures. Word precision and recall count the
    vocabulary's labels over all pictures: those of the candidate that the reference tells too, and the reverse.
    """
    own, human = ([tokenised(text) for text in texts] for texts in (candidates, references))
    numbered = range(len(own))
    given = ({i: [human[i]] for i in numbered}, {i: [own[i]] for i in numbered})
    per_picture = {"ROUGE-L": Rouge().compute_score(*given)[1], "CIDEr": Cider().compute_score(*given)[1]}
    told, wanted = (mentions(texts, vocabulary).numpy().astype(bool) for texts in (candidates, references))
    right, told, wanted = ((part.sum(1)) for part in (told & wanted, told, wanted))
    cooked = BleuScorer(n=4)
    for text, reference in zip(own, human, strict=True):
        cooked += (text, [reference])

    def bleu(order: int) -> Score:
        def score(rows: np.ndarray) -> float:
            drawn = BleuScorer(n=4)
            drawn.ctest, drawn.crefs = ([part[row] for row in rows] for part in (cooked.ctest, cooked.crefs))
            return float(drawn.compute_score(option="closest")[0][order - 1])

        return score

    def share(part: np.ndarray, whole: np.ndarray) -> Score:
        return lambda rows: float(part[rows].sum() / whole[rows].sum()) if whole[rows].any() else float("nan")

    def mean(values: np.ndarray) -> Score:
        return lambda rows: float(values[rows].mean())

    return (
        {f"BLEU-{order}": bleu(order) for order in (1, 2, 3, 4)}
        | {name: mean(np.asarray(values)) for name, values in per_picture.items()}
        | {"word precision": share(right, told), "word recall": share(right, wanted)}
    )


def measured(
    captions: Mapping[str, Sequence[str]],
    references: Sequence[str],
    vocabulary: Sequence[WordLabel],
    resamples: int = 2000,
) -> dict[str, dict[str, Any]]:
    """Per row of captions and metric the score and its 95 % interval over pictures; also, paired, minus the neighbour.

    A score that is not defined, as the precision of captions without any word, is `None`.
    """
    rows = np.arange(len(references))
    functions = {name: scores(texts, references, vocabulary) for name, texts in captions.items()}

    def interval(score: Score) -> list[float] | None:
        found = bootstrap_interval(score, rows, resamples=resamples)
        return None if np.isnan(found.estimate) else list(found)

    def minus(first: Score, second: Score) -> Score:
        return lambda rows: first(rows) - second(rows)

    result: dict[str, dict[str, Any]] = {}
    for name, own in functions.items():
        result[name] = {metric: interval(own[metric]) for metric in METRICS}
        if name not in (NEIGHBOUR, FLOOR):
            other = functions[NEIGHBOUR]
            result[f"{name}, minus {NEIGHBOUR}"] = {m: interval(minus(own[m], other[m])) for m in METRICS}
    return result


def nearest(train: torch.Tensor, test: torch.Tensor) -> list[int]:
    """For each row of `test` `(n, width)` the row of `train` with the largest cosine."""
    train, test = (torch.nn.functional.normalize(part.double(), dim=1) for part in (train, test))
    return (test @ train.T).argmax(1).tolist()


def neighbour_captions(
    predictor: EmotionPredictor, train: Sequence[EmotionExample], test: Sequence[EmotionExample], cache: Path | None
) -> list[str]:
    """Captions of the training pictures whose normed features, all layers, are most similar."""
    normed = []
    for examples in (train, test):
        pooled = cached_features(predictor.model, predictor.processor, examples, cache)[0]
        with torch.no_grad():
            normed.append(predictor.model.feature_norm(pooled))
    return [train[index].text for index in nearest(*normed)]


def as_markdown(result: Mapping[str, Any]) -> str:
    """The Markdown of `results/captions.md`."""

    def shown(interval: Sequence[float] | None, sign: str) -> str:
        return "-" if interval is None else "{:{s}.3f} [{:{s}.3f}, {:{s}.3f}]".format(*interval, s=sign)

    def cell(text: str) -> str:
        return text.replace("\\", "\\\\").replace("|", "\\|")

    lines = [
        "# Captions",
        "",
        f"Captions of `{result['checkpoint']}` for the {result['n']} test pictures of OASIS against the one human "
        f"caption that each has, with 95 % bootstrap intervals over pictures. Made by `python benchmarks/captions.py "
        f"--data-dir DIR` with the scorers of pycocoevalcap 1.2; METEOR and SPICE need Java and "
        "are left out. Tokens are runs of letters and digits in lower case, CIDEr's weights come from this split "
        "alone: compare the rows with each other, not with figures of COCO.",
        f"Words are the {result['vocabulary']} labels of the word detector's vocabulary; a caption tells one if one "
        "of its words is in it. A human caption leaves much unsaid, so the precision is a lower bound.",
        "BLEU punishes captions that are shorter than the human one; tokens on average: "
        + ", ".join(f"{name} {number}" for name, number in result["mean_tokens"].items())
        + ".",
        "",
        "| captions | " + " | ".join(METRICS) + " |",
        "|---" * (len(METRICS) + 1) + "|",
    ]
    for name, row in result["rows"].items():
        sign = "+" if ", minus " in name else ""
        lines.append(f"| {cell(name)} | " + " | ".join(shown(row[metric], sign) for metric in METRICS) + " |")
    return "\n".join([*lines, "", f"Machine: {machine.facts_line(result['machine'])}.", ""])


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data-dir", type=Path, required=True)
    parser.add_argument("--model", default="escnet-mini", help="id or directory (default escnet-mini)")
    parser.add_argument("--vocabulary", type=Path, default=machine.ROOT / "training" / "escnet_words.json")
    parser.add_argument("--cache", type=Path, help="folder for the neighbours' features")
    parser.add_argument(
        "--limit", type=int, help="the first pictures of each split only, for a trial that writes nothing"
    )
    given = parser.parse_args()
    splits = {
        split: sorted(examples, key=lambda example: example.id)[: given.limit]
        for split, examples in oasis.read_oasis(given.data_dir / "oasis").items()
    }
    test = splits["test"]
    predictor = EmotionPredictor.from_pretrained(given.model, device="cpu")
    name = Path(predictor.name).name
    own = [prediction.captions[0] for prediction in predictor.predict([example.image for example in test])]
    neighbours = neighbour_captions(predictor, splits["train"], test, given.cache)
    human = [example.text for example in test]
    vocabulary = read_vocabulary(given.vocabulary)
    captions = {name: own, NEIGHBOUR: neighbours, FLOOR: [FLOOR] * len(test)}
    result = {
        "checkpoint": name,
        "n": len(test),
        "vocabulary": len(vocabulary),
        "machine": machine.facts(),
        "rows": measured(captions, human, vocabulary),
        "mean_tokens": {
            name: round(float(np.mean([len(tokenised(text).split()) for text in texts])), 1)
            for name, texts in (captions | {"human": human}).items()
        },
    }
    # Shown and not stored: people's captions are OASIS's, not this project's.
    told = zip(test, own, neighbours, human, strict=True)
    for example, *texts in itertools.islice(told, EXAMPLES):
        print(" | ".join((Path(example.id).name, *texts)))
    if given.limit:
        print(as_markdown(result))
    else:
        machine.write_results("captions", result, as_markdown(result))


if __name__ == "__main__":
    main()

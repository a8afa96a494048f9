"""`iec-hub evaluate DIR --split NAME`: the metrics of a labelled data set, as one JSON object."""

from __future__ import annotations

import argparse
import json
import sys
from pathlib import Path
from typing import Any

from iec_hub.errors import DataError

HELP = "measure a checkpoint on labelled pictures"
DESCRIPTION = (
    "Evaluate a checkpoint on one split of a data set: a folder with metadata.csv (file_name, split, and emotion or "
    "one column per label), or another layout that iec_hub.data reads. The last line of the output is one JSON "
    "object; what was left out is named on stderr."
)
MOST_REASONS = 20
SPLITS = ("train", "validation", "test")


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("data", metavar="DIR", help="the data set's folder")
    parser.add_argument("--split", metavar="NAME", help="such as validation or test; needed where there are splits")


def run(arguments: argparse.Namespace) -> int:
    """Evaluate and print; see :func:`iec_hub.cli.main` for what is returned.

    Raises:
        IecHubError: if the data, the split or the model cannot be used.
    """
    from iec_hub.commands.session import count, load_predictor, printable, quiet_libraries, with_progress
    from iec_hub.data import SkippedRow

    with quiet_libraries():
        from iec_hub.evaluation.running import evaluate_predictor

        dataset = _load(arguments)
        if arguments.split is None and dataset.splits():
            # Figures over training pictures would look like results.
            raise DataError(f"{dataset.name} has the splits {', '.join(dataset.splits())}; name one with --split.")
        skipped: list[SkippedRow] = list(dataset.skipped)
        result = evaluate_predictor(
            load_predictor(arguments),
            dataset,
            batch_size=arguments.batch_size,
            progress=with_progress,
            on_skipped=skipped.append,
        )
    for row in skipped[:MOST_REASONS]:
        print(f"skipped {printable(str(row))}", file=sys.stderr)
    if len(skipped) > MOST_REASONS:
        print(f"skipped {count(len(skipped) - MOST_REASONS, 'more row')}", file=sys.stderr)
    print(json.dumps({**result, "split": arguments.split}))
    return 0


def _load(arguments: argparse.Namespace) -> Any:
    """The pictures to measure on; where there are no splits, those that a training makes of them."""
    from iec_hub.data import load_emotion_dataset, with_splits

    dataset = load_emotion_dataset(arguments.data, emotion_model=arguments.labels or arguments.emotion_model)
    if arguments.split is not None and not dataset.splits() and arguments.split in SPLITS:
        shares = _shares_of_the_training(arguments.model)
        dataset = with_splits(dataset, **shares)
        print(
            f"{dataset.name} has no splits; measured on the {arguments.split} pictures that a training with the same "
            f"shares and seed ({shares['seed']}) sets apart.",
            file=sys.stderr,
        )
    return dataset.split(arguments.split) if arguments.split is not None else dataset


def _shares_of_the_training(model: str | None) -> dict[str, Any]:
    """How the checkpoint's own training divided its pictures, as its training.json says; else as a training does."""
    shares: dict[str, Any] = {"validation": 0.15, "test": 0.15, "seed": 42}
    file = Path(model or "") / "training.json"
    if model and file.is_file():
        try:
            record = json.loads(file.read_text(encoding="utf-8"))
            settings, trainer = record.get("settings", {}), record.get("trainer", {})
            shares["validation"] = float(settings.get("validation_share", shares["validation"]))
            shares["test"] = float(settings.get("test_share", shares["test"]))
            shares["seed"] = int(trainer.get("seed", shares["seed"]))
        except (ValueError, TypeError, AttributeError):
            return {"validation": 0.15, "test": 0.15, "seed": 42}
    return shares

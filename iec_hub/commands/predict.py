"""`iec-hub predict PATHS...`: one row per file, on the terminal or in a file."""

from __future__ import annotations

import argparse
import os
import sys
from pathlib import Path

from iec_hub.errors import DataError

HELP = "say which emotion pictures evoke"
DESCRIPTION = (
    "Predict the emotions that pictures evoke. Without --output, one line per picture is printed, and for a single "
    "picture also the words that a method decides from; with it, rows are written as they come. A file that cannot be "
    "read has its row too, with the reason in the column error."
)
OUTPUT_ENDINGS = (".csv", ".jsonl")
# Methods whose evidence says which words decided.
DECIDING_BY_WORDS = ("aciec",)


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("paths", nargs="*", metavar="PATH", help="pictures, or folders that are searched for them")
    parser.add_argument("--output", type=Path, metavar="FILE", help="write a table, .csv or .jsonl")
    parser.add_argument(
        "--evidence",
        action="store_true",
        help="add which regions spoke for it, also per word of a caption (.jsonl; slower)",
    )


def run(arguments: argparse.Namespace) -> int:
    """Predict and write; see :func:`iec_hub.cli.main` for what is returned.

    Raises:
        IecHubError: if there is nothing to predict, or the output or the model cannot be used.
    """
    from iec_hub.images import find_images

    if not arguments.paths:
        raise DataError("No pictures were named; give files or folders.")
    _check_output(arguments.output)
    if arguments.evidence and (arguments.output is None or arguments.output.suffix.lower() != ".jsonl"):
        raise DataError("Only a .jsonl output can hold the grids of --evidence; add --output FILE.jsonl.")
    files = find_images(arguments.paths)
    if arguments.output in files:
        raise DataError(f"{str(arguments.output)!r} is both read and written; choose another output.")
    if not files:
        raise DataError("No pictures are in the folders; give one that holds some, or the files themselves.")

    from iec_hub.commands.session import count, load_predictor, quiet_libraries, with_progress
    from iec_hub.commands.tables import open_table

    with quiet_libraries():
        predictor = load_predictor(arguments)
        # A single picture is explained to whoever looks at the terminal.
        explained = arguments.output is None and len(files) == 1 and predictor.method in DECIDING_BY_WORDS
        labels = predictor.resolve_emotion_model(arguments.emotion_model, arguments.labels).labels
        # Checks what was asked for, before an output that may hold something is opened.
        results = predictor.predict_files(
            files,
            emotion_model=arguments.emotion_model,
            labels=arguments.labels,
            evidence=arguments.evidence or explained,
            batch_size=arguments.batch_size,
        )
        done = failed = 0
        with open_table(arguments.output, labels, files) as table:
            shown = results if arguments.output is None else with_progress(results, len(files))
            interrupted = False
            try:
                for result in shown:
                    table.write(result)
                    done += 1
                    failed += result.prediction is None
            except KeyboardInterrupt:
                interrupted = True
    if failed:
        verb = "has" if failed == 1 else "have"
        print(f"{count(failed, 'file')} of {done} {verb} no prediction; the row says why.", file=sys.stderr)
    if interrupted:
        where = f" in {arguments.output}" if arguments.output else ""
        print(f"Interrupted: {done} of {count(len(files), 'row')} are done{where}.", file=sys.stderr)
        return 130
    return 0


def _check_output(output: Path | None) -> None:
    """Before any work is done: can this be written?"""
    if output is None:
        return
    if output.suffix.lower() not in OUTPUT_ENDINGS:
        raise DataError(f"{str(output)!r} has to end in {' or '.join(OUTPUT_ENDINGS)}; rename the output.")
    folder = output.parent
    if not folder.is_dir():
        raise DataError(f"The folder {str(folder)!r} of the output does not exist; create it first.")
    if output.is_dir():
        raise DataError(f"{str(output)!r} is a folder; name a file in it.")
    if not os.access(output if output.exists() else folder, os.W_OK):
        raise DataError(f"{str(output)!r} may not be written; choose another output.")

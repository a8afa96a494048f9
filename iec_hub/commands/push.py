"""`iec-hub push FOLDER REPO_ID`: a run, a checkpoint or a data set of captions goes to the Hub in one commit."""

from __future__ import annotations

import argparse
import sys
from pathlib import Path
from typing import TYPE_CHECKING

from iec_hub.commands.session import count, printable

if TYPE_CHECKING:
    from iec_hub.hub.publishing import Publication

HELP = "publish a trained model, an adapter or a data set of captions on the Hub"
DESCRIPTION = (
    "Publish a run's folder on the Hub in one commit: weights or adapter, processor, settings, figures, pictures and "
    "the card. Nothing else in the folder leaves this machine. The same command goes on after a failure. Log in "
    "first: hf auth login, or HF_TOKEN."
)


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("folder", metavar="FOLDER", type=Path, help="of a finished run, checkpoint or data set")
    add_repository_arguments(parser)
    parser.add_argument("--revision", metavar="BRANCH", help="push to this branch, made where it is missing")
    parser.add_argument("--tag", metavar="TAG", help="put this tag on the commit, such as v1")
    parser.add_argument("--message", metavar="TEXT", help="of the commit")
    parser.add_argument("--dataset", action="store_true", help="a data set of captions; private unless --public")


def add_repository_arguments(parser: argparse.ArgumentParser) -> None:
    """`REPO_ID`, `--private` and `--public`."""
    parser.add_argument("repo_id", metavar="REPO_ID", help="such as me/mine")
    seen = parser.add_mutually_exclusive_group()
    seen.add_argument("--private", dest="private", action="store_true", default=None, help="only you can see it")
    seen.add_argument("--public", dest="private", action="store_false", help="everybody can see it")


def run(arguments: argparse.Namespace) -> int:
    """Push and print where it is.

    Raises:
        HubError: with one sentence, if it cannot be pushed.
    """
    from iec_hub.hub.publishing import publish_dataset, publish_run

    settings = {name: getattr(arguments, name) for name in ("private", "revision", "tag", "message")}
    show_bars_on_terminals_only()
    if arguments.dataset:
        settings["private"] = True if arguments.private is None else arguments.private
        done = publish_dataset(arguments.folder, arguments.repo_id, **settings)
    else:
        done = publish_run(arguments.folder, arguments.repo_id, **settings)
    report(done)
    return 0


def show_bars_on_terminals_only() -> None:
    """The client draws its bars into files, too."""
    from huggingface_hub.utils import disable_progress_bars

    if not sys.stderr.isatty():
        disable_progress_bars()


def report(done: Publication) -> None:
    """One line: what is where."""
    size = f"{done.size / 1e6:.1f} MB"
    print(f"{done.repo_id}: {count(len(done.files), 'file')}, {size}, {printable(done.commit_url)}")

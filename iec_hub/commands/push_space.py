"""`iec-hub push-space REPO_ID`: the page of this clone becomes a Space on the Hub, in one commit."""

from __future__ import annotations

import argparse

from iec_hub.commands.push import add_repository_arguments, report, show_bars_on_terminals_only

HELP = "publish the page of this clone as a Space on the Hub"
DESCRIPTION = (
    "Publish this clone's page as a Gradio Space in one commit: app.py, requirements.txt, README.md, space.yaml where "
    "there is one, and the package with its bundled checkpoints; README.md then lists the models that are offered. No "
    "secrets are sent. Run it in a clone; log in first: hf auth login, or HF_TOKEN."
)


def add_arguments(parser: argparse.ArgumentParser) -> None:
    add_repository_arguments(parser)
    parser.add_argument("--hardware", metavar="NAME", help="such as t4-small or zero-a10g; left out, as it is")
    parser.add_argument("--message", metavar="TEXT", help="of the commit")


def run(arguments: argparse.Namespace) -> int:
    """Push and print where it is.

    Raises:
        HubError: with one sentence, if this is no clone or it cannot be pushed.
    """
    from iec_hub.hub.publishing import publish_space

    show_bars_on_terminals_only()
    settings = {name: getattr(arguments, name) for name in ("private", "hardware", "message")}
    report(publish_space(arguments.repo_id, **settings))
    return 0

"""`iec-hub merge ADAPTER OUTPUT`: an adapter and its base as one checkpoint."""

from __future__ import annotations

import argparse
import json

HELP = "merge an adapter into its base"
DESCRIPTION = (
    "Write the checkpoint that a LoRA adapter and its base make together, unquantised. It is compared with the "
    "adapter on pictures before it is there; the output is one JSON object with the largest difference."
)


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("adapter", metavar="ADAPTER", help="folder or Hub id of the adapter")
    parser.add_argument("output", metavar="OUTPUT", help="new folder for the merged checkpoint")
    parser.add_argument(
        "--pictures",
        nargs="+",
        default=(),
        metavar="FILE",
        help="pictures to compare on; left out: the package's examples",
    )


def run(arguments: argparse.Namespace) -> int:
    """Merge and print; see :func:`iec_hub.cli.main` for what is returned.

    Raises:
        IecHubError: if the adapter cannot be used, or the merged checkpoint would say something else.
    """
    from iec_hub.commands.session import quiet_libraries

    with quiet_libraries():
        from iec_hub.finetuning.merging import merge

        report = merge(arguments.adapter, arguments.output, arguments.pictures)
    print(json.dumps(report))
    return 0

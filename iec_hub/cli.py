"""The `iec-hub` command: predict, evaluate, train, merge, push, push-space.

Heavy libraries are imported by the commands, so that `iec-hub --help` answers at once.
"""

from __future__ import annotations

import argparse
import os
import sys
from collections.abc import Sequence
from typing import Any, NoReturn

from iec_hub import __version__
from iec_hub.commands import evaluate, merge, predict, push, push_space, train
from iec_hub.errors import IecHubError
from iec_hub.registry import METHODS

USER_ERROR = 2
INTERRUPTED = 130


class _Parser(argparse.ArgumentParser):
    """Says what is wrong in one sentence, instead of the whole usage."""

    def error(self, message: str) -> NoReturn:
        self.exit(USER_ERROR, f"{self.prog}: {message}; see {self.prog} --help.\n")


def build_parser() -> argparse.ArgumentParser:
    parser = _Parser(prog="iec-hub", description="What emotion does a picture evoke, and why?")
    parser.add_argument("--version", action="version", version=f"iec-hub {__version__}")
    commands = parser.add_subparsers(dest="command", metavar="COMMAND", required=True)
    for name, module in (("predict", predict), ("evaluate", evaluate)):
        command = commands.add_parser(name, help=module.HELP, description=module.DESCRIPTION)
        module.add_arguments(command)
        _add_model_arguments(command)
        command.set_defaults(run=module.run)
    for name, module in (("merge", merge), ("push", push), ("push-space", push_space)):
        command = commands.add_parser(name, help=module.HELP, description=module.DESCRIPTION)
        module.add_arguments(command)
        command.set_defaults(run=module.run)
    # Its arguments are those of the method's own trainer, which gets them unread.
    commands.add_parser("train", help=train.HELP, add_help=False)
    return parser


def _add_model_arguments(parser: argparse.ArgumentParser) -> None:
    group = parser.add_argument_group("model")
    group.add_argument("--method", choices=METHODS, help="left out: whatever the checkpoint is")
    group.add_argument("--model", metavar="ID_OR_DIR", help="Hub id or directory; left out: the bundled checkpoint")
    emotions = group.add_mutually_exclusive_group()
    emotions.add_argument("--emotion-model", metavar="NAME", help="such as mikels8, ekman7, plutchik8 or sentiment2")
    emotions.add_argument("--labels", type=_labels, metavar="A,B,C", help="own labels instead, separated by commas")
    group.add_argument("--batch-size", type=_positive, default=32, metavar="N", help="images at once (default 32)")
    group.add_argument(
        "--no-read-text", dest="read_text", action="store_false", help="leave text in pictures unread (aciec; faster)"
    )
    group.add_argument("--device", help="such as cpu or cuda:0; left out: the GPU where there is one")


def _labels(text: str) -> list[str]:
    return [label.strip() for label in text.split(",")]


def _positive(text: str) -> int:
    if not text.isascii() or not text.isdigit() or int(text) < 1:
        raise argparse.ArgumentTypeError(f"{text!r} is not a number of at least 1")
    return int(text)


def main(argv: Sequence[str] | None = None) -> int:
    """Run a command.

    Returns:
        0; 2 for an error of the user, with one sentence on stderr; 130 when interrupted; 1 when the output's reader
        has gone.
    """
    argv = list(sys.argv[1:] if argv is None else argv)
    # File names may hold bytes that the terminal's encoding does not have; one of them must not end the run.
    for stream in (sys.stdout, sys.stderr):
        if hasattr(stream, "reconfigure"):
            stream.reconfigure(errors="backslashreplace")
    # Before torch is imported: threads that spin while they wait make a small machine several times slower.
    os.environ.setdefault("OMP_WAIT_POLICY", "passive")
    try:
        if argv[:1] == ["train"]:
            return train.run(argv[1:])
        arguments: Any = build_parser().parse_args(argv)
        return arguments.run(arguments)
    except IecHubError as error:
        print(f"iec-hub: {error}", file=sys.stderr)
        return USER_ERROR
    except KeyboardInterrupt:
        print("iec-hub: interrupted.", file=sys.stderr)
        return INTERRUPTED
    except BrokenPipeError:
        # Python would complain once more while it flushes at the end.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 1


if __name__ == "__main__":
    sys.exit(main())

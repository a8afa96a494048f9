"""`iec-hub train METHOD ...`: hands its arguments to the method's own trainer."""

from __future__ import annotations

import importlib
import logging
import sys
from collections.abc import Sequence

from iec_hub.errors import DataError

HELP = "fine-tune a method on your own data"
# Method to the module whose `main(argv)` trains it.
TRAINERS = {
    "ugrie": "iec_hub.finetuning.ugrie_command",
    "escnet": "iec_hub.finetuning.escnet_command",
    "aciec": "iec_hub.finetuning.aciec_command",
}


def run(argv: Sequence[str]) -> int:
    """Train the method that `argv` begins with; the rest of `argv` is its trainer's.

    Raises:
        DataError: if the method is missing or unknown.
    """
    known = ", ".join(TRAINERS)
    if argv[:1] in (["-h"], ["--help"]):
        print(f"usage: iec-hub train METHOD ...\n\n{HELP}\n\nMETHOD is one of: {known}")
        print("iec-hub train METHOD --help lists a method's arguments.")
        return 0
    if not argv or argv[0].startswith("-"):
        raise DataError(f"iec-hub train needs a method; use one of: {known}.")
    if argv[0] not in TRAINERS:
        raise DataError(f"There is no trainer for {argv[0][:40]!r}; use one of: {known}.")
    # It tells at import that another package would make it faster.
    logging.getLogger("bitsandbytes").setLevel(logging.ERROR)
    trainer = importlib.import_module(TRAINERS[argv[0]])
    result = trainer.main(list(argv[1:]))
    sys.stdout.flush()
    # A trainer may return its results, for those who call it from Python.
    return result if isinstance(result, int) else 0

"""What the commands share: the predictor that the arguments ask for, silence of libraries, progress, plain text."""

from __future__ import annotations

import logging
import os
import sys
import warnings
from argparse import Namespace
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from iec_hub.predictor import EmotionPredictor


@contextmanager
def quiet_libraries() -> Iterator[None]:
    """Keep what libraries say to developers (loading bars, hints, tracebacks of handled errors) off the terminal."""
    os.environ.setdefault("HF_HUB_DISABLE_PROGRESS_BARS", "1")
    from transformers.utils import logging as transformers_logging

    package_logger = logging.getLogger("iec_hub")
    level, verbosity = package_logger.level, transformers_logging.get_verbosity()
    bars = transformers_logging.is_progress_bar_enabled()
    try:
        package_logger.setLevel(logging.CRITICAL)  # every handled error has its row or sentence
        transformers_logging.set_verbosity(transformers_logging.CRITICAL)
        transformers_logging.disable_progress_bar()
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            yield
    finally:
        package_logger.setLevel(level)
        transformers_logging.set_verbosity(verbosity)
        if bars:
            transformers_logging.enable_progress_bar()


def load_predictor(arguments: Namespace) -> EmotionPredictor:
    """The predictor that `--model`, `--method` and `--device` ask for.

    Raises:
        CheckpointError: if it cannot be loaded.
    """
    from iec_hub.predictor import EmotionPredictor

    predictor = EmotionPredictor.from_pretrained(arguments.model, method=arguments.method, device=arguments.device)
    if not arguments.read_text:
        predictor.text_reader = None
    return predictor


def with_progress(items: Iterable[Any], total: int) -> Iterable[Any]:
    """The items, with a bar on stderr where that is a terminal."""
    from tqdm import tqdm

    return tqdm(items, total=total, unit="image", file=sys.stderr, disable=None, leave=False)


def printable(text: str) -> str:
    """Untrusted text on one line, with nothing that a terminal would obey."""
    return "".join(c if c.isprintable() else c.encode("unicode_escape").decode("ascii") for c in text)


def in_brief(text: str, longest: int) -> str:
    """Untrusted text as :func:`printable` shows it, of at most `longest` characters."""
    # Cut first: escaping a text of megabytes would take its time.
    shown = printable(" ".join(text[: 2 * longest].split()))
    if len(shown) <= longest and len(text) <= 2 * longest:
        return shown
    return f"{shown[: longest - 3].rstrip()}..."


def count(number: int, what: str) -> str:
    """`1 file`, `2 files`."""
    return f"{number} {what}{'' if number == 1 else 's'}"

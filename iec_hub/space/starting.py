"""How the server's process shares cores and memory, and what it gets ready before the first visitor comes."""

import ctypes
import gc
import logging
from collections.abc import Iterable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from threading import Thread
from typing import Any

from iec_hub._registration import after_import
from iec_hub.errors import IecHubError
from iec_hub.space.limits import Limits, available_cores

EXAMPLES = Path(__file__).parent / "examples"
# Of glibc's mallopt.
_M_TRIM_THRESHOLD, _M_MMAP_THRESHOLD, _M_ARENA_MAX = -1, -3, -8
_LARGEST_KEPT = 32 * 2**20  # the most that glibc takes
_MOST_LEFT_OVER = 64 * 2**20  # at the end of the memory, before it is handed back after all

logger = logging.getLogger(__name__)


@contextmanager
def nothing_to_collect() -> Iterator[None]:
    """While modules and models are loaded, look for no garbage: it would be looked for in ever more that stays."""
    gc.disable()
    try:
        yield
    finally:
        gc.enable()


@contextmanager
def mistakes_as_sentences() -> Iterator[None]:
    """End the process with the one sentence of what was configured wrongly, and not with where that was noticed."""
    try:
        yield
    except IecHubError as error:
        raise SystemExit(str(error)) from None


def write_no_stubs() -> None:
    """Keep gradio from parsing and writing type stubs of its own components each time that it is imported.

    They serve editors. Only a gradio that is not imported yet is spared the work.
    """
    after_import("gradio.component_meta", lambda module: setattr(module, "create_or_modify_pyi", lambda *_: None))


def share_cores(limits: Limits) -> None:
    """Divide the cores between the threads that judge: two that compute alone beat one that waits for two cores.

    The reader of text in pictures, which the threads share, computes with as many in each.
    """
    import torch

    from iec_hub.affect.embedded_text import default_text_reader

    each = max(1, available_cores() // limits.threads)
    if not torch.cuda.is_available():
        torch.set_num_threads(each)
    reader = default_text_reader()
    if reader is not None:  # which loads its models when it first reads
        reader.threads = each


def keep_memory() -> None:
    """Let the process use freed memory again instead of handing it back, where it is glibc's.

    Each prediction takes and frees the same large blocks; as new ones, they cost a page fault for every 4 KiB. One
    arena for all threads, as each arena keeps the most that it ever held; what takes time here allocates seldom.
    """
    with suppress(OSError, AttributeError):
        mallopt = ctypes.CDLL(None).mallopt
        mallopt(_M_MMAP_THRESHOLD, _LARGEST_KEPT)
        mallopt(_M_TRIM_THRESHOLD, _MOST_LEFT_OVER)
        mallopt(_M_ARENA_MAX, 1)


def warm_up(predictors: Iterable[Any]) -> Thread:
    """Ask each predictor once about an example, in the background: what it loads late is then there."""

    def ask() -> None:
        from iec_hub.images import open_image

        example = open_image(EXAMPLES / "street-signs-at-dusk.jpg")  # with text, whose reader loads most
        for predictor in predictors:
            try:
                predictor.predict([example], evidence=True)
            except Exception:
                logger.exception("%s failed on an example", predictor.name)
        # What is there by now stays; it is not looked through again.
        gc.collect()
        gc.freeze()

    thread = Thread(target=ask, name="iec-hub-warm-up", daemon=True)
    thread.start()
    return thread

"""Deleting what was uploaded: gradio forgets what it did not finish, and what was there when it was started."""

import asyncio
import logging
import os
import time
from collections.abc import AsyncIterator, Callable, Collection
from contextlib import asynccontextmanager, suppress
from pathlib import Path
from typing import Any

from gradio.utils import get_upload_folder

logger = logging.getLogger(__name__)


def remove_old(folder: str | Path, seconds: float, kept: Collection[str] = ()) -> int:
    """Delete the files below a folder that are older than that, and the folders that this leaves empty.

    Files that the page itself needs, such as its examples, are kept. Links are deleted, never followed.

    Args:
        folder: where gradio keeps what was uploaded.
        kept: paths of files that stay.

    Returns:
        How many files were deleted.
    """
    count, oldest = 0, time.time() - seconds
    for parent, folders, files in os.walk(folder, topdown=False):
        links = [name for name in folders if Path(parent, name).is_symlink()]
        for path in (Path(parent, name) for name in [*files, *links]):
            # Somebody else may have deleted it since.
            with suppress(OSError):
                # The time of the last change of its place: an upload is renamed when it is there in full.
                if str(path) not in kept and path.lstat().st_ctime < oldest:
                    path.unlink()
                    count += 1
        if Path(parent) != Path(folder):
            # One that is not empty, or was filled just now, stays.
            with suppress(OSError):
                if Path(parent).lstat().st_mtime < oldest:
                    Path(parent).rmdir()
    return count


def sweeping(seconds: float, every: float) -> Callable[[Any], Any]:
    """A lifespan for gradio's application that deletes uploads older than `seconds`, and looks `every` so often."""

    @asynccontextmanager
    async def lifespan(app: Any) -> AsyncIterator[None]:
        async def sweep() -> None:
            while True:
                await asyncio.sleep(every)
                kept = {file for block in app.get_blocks().blocks.values() for file in _kept(block)}
                try:
                    await asyncio.to_thread(remove_old, get_upload_folder(), seconds, kept)
                # A disk that fails for once is no reason to keep everything from then on.
                except OSError:
                    logger.warning("Uploads could not be deleted; trying again in %g s", every)

        task = asyncio.create_task(sweep())
        try:
            yield
        finally:
            task.cancel()
            with suppress(asyncio.CancelledError):
                await task

    return lifespan


def _kept(block: Any) -> Collection[str]:
    return getattr(block, "keep_in_cache", ())

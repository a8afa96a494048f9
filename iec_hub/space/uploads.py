"""Which file a request means: only one that a visitor uploaded, never another file of the server."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from iec_hub.errors import ImageError
from iec_hub.space import texts


def uploaded_file(picture: Mapping[str, Any] | None, folder: str | Path) -> Path:
    """The uploaded file that gradio's description of a picture names.

    Args:
        picture: what an image component sends, with the file's `path`; it may be forged.
        folder: where gradio keeps what was uploaded (a component's `GRADIO_CACHE`).

    Raises:
        ImageError: if nothing was uploaded, or the path leads elsewhere. Gradio 6.31 does not look at a path whose
            description lacks `meta`, so that without this anybody could name any picture on the server.
    """
    path = picture.get("path") if isinstance(picture, Mapping) else None
    if not isinstance(path, str) or not path or "\0" in path:
        raise ImageError(texts.NO_PICTURE)
    file = Path(path).resolve()
    if not file.is_relative_to(Path(folder).resolve()):
        raise ImageError(texts.NO_PICTURE)
    return file

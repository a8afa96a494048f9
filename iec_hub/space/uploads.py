"""Which picture a request means: one that was uploaded or sent along; never another file of the server."""

import base64
import binascii
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from iec_hub.errors import ImageError
from iec_hub.space import texts

WEB_ADDRESS = re.compile(r"\s*[a-z][a-z0-9+.-]*://", re.IGNORECASE)
# Its head is short: what is longer than this before the comma is no picture.
_DATA_URL_HEAD = 200


def uploaded_file(picture: Mapping[str, Any] | str | None, folder: str | Path) -> Path:
    """The uploaded file that gradio's description of a picture names.

    Args:
        picture: what an image component sends, with the file's `path`, or that path; it may be forged.
        folder: where gradio keeps what was uploaded (a component's `GRADIO_CACHE`).

    Raises:
        ImageError: if nothing was uploaded, or the path leads elsewhere. Gradio 6.31 does not look at a path whose
            description lacks `meta`, so that without this anybody could name any picture on the server.
    """
    path = picture.get("path") if isinstance(picture, Mapping) else picture
    if not isinstance(path, str) or not path or "\0" in path:
        raise ImageError(texts.NO_PICTURE)
    try:
        file = Path(path).resolve()
        inside = file.is_relative_to(Path(folder).resolve())
    # Half of a surrogate pair, a name of megabytes, a ring of links.
    except (OSError, ValueError, RuntimeError):
        inside = False
    if not inside:
        raise ImageError(texts.NO_PICTURE)
    return file


def sent_picture(picture: Any, folder: str | Path, most: int) -> Path | bytes:
    """The picture that a program sent: the file that it uploaded before, or the bytes in a `data:` URL.

    Args:
        picture: a `data:` URL with base64, or what :func:`uploaded_file` takes; it may be anything.
        folder: where gradio keeps what was uploaded.
        most: most bytes of a picture within the request.

    Raises:
        ImageError: if it is no such thing, or too large. Web addresses are never fetched.
    """
    if not isinstance(picture, str):
        return uploaded_file(picture if isinstance(picture, Mapping) else None, folder)
    if picture[:5].casefold() == "data:":
        return _decoded(picture, most)
    if WEB_ADDRESS.match(picture[:100]):
        raise ImageError(texts.NO_WEB_ADDRESSES)
    return uploaded_file(picture, folder)


def _decoded(url: str, most: int) -> bytes:
    head, comma, encoded = url[:_DATA_URL_HEAD].partition(",")
    if not comma or not head.casefold().endswith(";base64"):
        raise ImageError(texts.BAD_DATA_URL)
    # Measured before it is decoded: four characters hold three bytes.
    if len(url) - len(head) > most * 4 // 3 + 8:
        raise ImageError(texts.LARGE_DATA_URL.format(most=f"{most / 1e6:g}"))
    try:
        return base64.b64decode(url[len(head) + 1 :], validate=True)
    # A character that is none of ASCII's is a ValueError.
    except (binascii.Error, ValueError) as error:
        raise ImageError(texts.BAD_DATA_URL) from error

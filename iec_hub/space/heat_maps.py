"""Evidence as pictures: layers to lay over a picture, and images inside the page itself."""

import base64
import io

import numpy as np
from PIL import Image

HEAT_SIDE = 400
# There are many of them, they are smooth, and the browser scales them up: small ones do.
WORD_HEAT_SIDE = 96

# Ten steps of the perceptually uniform colour map "inferno" (Smith and van der Walt, CC0).
_INFERNO_STEPS = (
    *("000004", "1b0c41", "4a0c6b", "781c6d", "a52c60"),
    *("cf4446", "ed6925", "fb9b06", "f7d13d", "fcffa4"),
)
_INFERNO = np.array(
    [[int(colour[start : start + 2], 16) for start in (0, 2, 4)] for colour in _INFERNO_STEPS], dtype=np.float64
)


def heat_map(regions: np.ndarray | None, size: tuple[int, int], side: int = HEAT_SIDE) -> Image.Image | None:
    """Evidence as a layer to lay over the picture.

    Args:
        regions: shape (rows, columns), 0 to 1, see :class:`iec_hub.prediction.Evidence`; None where there is none.
        size: width and height of the picture; the layer has its proportions.
        side: the layer's longer side in pixels, at most; never more than the picture's.

    Returns:
        RGBA picture: from dark and nearly clear where little was found to bright and nearly opaque, or None where
        nothing spoke.
    """
    if regions is None:
        return None
    cells = np.clip(np.nan_to_num(np.asarray(regions, dtype=np.float32)), 0.0, 1.0)
    if cells.ndim != 2 or cells.size == 0 or cells.max() <= 0:
        return None
    scale = min(1.0, side / max(size))
    width, height = (max(1, round(length * scale)) for length in size)
    values = np.asarray(Image.fromarray(cells).resize((width, height), Image.Resampling.BICUBIC))
    values = np.clip(values, 0.0, 1.0)
    steps = np.linspace(0.0, 1.0, len(_INFERNO))
    channels = [np.interp(values, steps, _INFERNO[:, channel]) for channel in range(3)]
    # Dark parts are dimmed rather than left alone, so that bright ones stand out on bright pictures too.
    alpha = 255 * (0.3 + 0.5 * values)
    return Image.fromarray(np.rint(np.stack([*channels, alpha], axis=-1)).astype(np.uint8), "RGBA")


def ramp() -> str:
    """The heat map's colours as a CSS gradient, from little to much."""
    colours = ", ".join(f"rgb({r:.0f} {g:.0f} {b:.0f})" for r, g, b in _INFERNO)
    return f"linear-gradient(90deg, {colours})"


def data_uri(image: Image.Image, file_format: str) -> str:
    """The image inside the page itself, so that no copy of a visitor's picture is written to a disk for it."""
    buffer = io.BytesIO()
    image.save(buffer, file_format, quality=85)
    return f"data:image/{file_format.lower()};base64,{base64.b64encode(buffer.getvalue()).decode('ascii')}"

"""Safe opening of untrusted images: one function, one RGB picture or one clear error."""

import io
import os
import stat
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any, BinaryIO

import numpy as np

from iec_hub.errors import ImageError

if TYPE_CHECKING:
    from PIL import Image

MAX_PIXELS = 64_000_000
MAX_BYTES = 64 * 2**20
IMAGE_EXTENSIONS = frozenset(
    (".jpg", ".jpeg", ".jpe", ".jfif", ".mpo", ".png", ".webp", ".gif", ".bmp", ".tif", ".tiff")
    + (".avif", ".jp2", ".ppm", ".pgm")
)
# Pillow reads some fifty formats, some through other programs; fewer formats leave less to attack.
_COMMON_FORMATS = ("JPEG", "PNG", "GIF", "BMP", "PPM")
_OTHER_FORMATS = ("WEBP", "TIFF", "AVIF", "JPEG2000")
_ORIENTATION_TAG = 0x0112


def open_image(
    source: "str | Path | bytes | BinaryIO | Image.Image",
    *,
    max_pixels: int = MAX_PIXELS,
    max_bytes: int = MAX_BYTES,
    max_side: int | None = None,
) -> "Image.Image":
    """Any picture as 8-bit RGB, the right way up.

    EXIF orientation is applied, transparency is laid on white, 16-bit, 32-bit and float pictures are
    scaled to 8 bits, CMYK and palettes are converted, and an animation gives its first frame. The result
    carries no metadata, so that nobody can turn it a second time.

    Args:
        source: A file's path, its bytes, a binary stream (read from its beginning), or a PIL image
            (which is not changed; an animation gives the frame it stands at).
        max_pixels: Most pixels (width x height) of the file, checked before anything is decoded.
        max_bytes: Most bytes of the file.
        max_side: A hint that no side longer than this is needed. A JPEG is then decoded at 1/2, 1/4 or 1/8 of
            its size, which is much faster, while its longer side stays at least `max_side` pixels.
            Other pictures are returned in full size.

    Returns:
        A new PIL image of mode RGB, fully loaded.

    Raises:
        ImageError: If the source is missing, a folder, empty, too large, not an image, of a format that is
            not read, or damaged.
    """
    from PIL import Image

    if isinstance(source, Image.Image):
        name = "The image"
        _check_size(source.size, max_pixels, name)
        with _damage_is_an_image_error(name):
            source.load()
            return _to_rgb(source)
    with _stream(source, max_bytes) as (stream, name):
        image = _read_header(stream, name, max_pixels)
        with _damage_is_an_image_error(name):
            if max_side is not None and image.format in ("JPEG", "MPO"):
                image.draft(None, _draft_size(image.size, max_side))
            image.load()
            _check_size(image.size, max_pixels, name)
            return _to_rgb(image)


def _shown(name: str) -> str:
    """A file name for a message: short, on one line, with nothing that a terminal would obey."""
    text = repr(name if len(name) <= 80 else f"{name[:38]}...{name[-38:]}")
    return f'"{text[1:-1]}"'


@contextmanager
def _stream(source: Any, max_bytes: int) -> Iterator[tuple[BinaryIO, str]]:
    """The bytes of a source as a seekable stream, and what to call it in a message."""
    if isinstance(source, str | Path):
        name = _shown(Path(source).name or str(source))
        if str(source).startswith(("http://", "https://")):
            raise ImageError(f"{name} is a web address; download the picture and give its file.")
        try:
            status = os.stat(source)
            # A pipe or a device would block or never end.
            if stat.S_ISREG(status.st_mode):
                _check_bytes(status.st_size, max_bytes, name)
            elif stat.S_ISDIR(status.st_mode):
                raise ImageError(f"{name} is a folder, not an image; name a file in it.")
            else:
                raise ImageError(f"{name} is not a regular file; give an image file.")
            file = open(source, "rb")  # noqa: SIM115
        except FileNotFoundError as error:
            raise ImageError(f"There is no file {name}; check the path.") from error
        except PermissionError as error:
            raise ImageError(f"{name} may not be read; allow it with the file's permissions.") from error
        except (OSError, ValueError) as error:
            if isinstance(error, ImageError):
                raise
            raise ImageError(f"{name} cannot be opened; check the path and the disk.") from error
        with file:
            yield file, name
        return
    name = "The image"
    if not isinstance(source, bytes | bytearray | memoryview):
        if not hasattr(source, "read"):
            raise ImageError(
                f"A {type(source).__name__} is not an image; give a path, bytes, a stream or a PIL image."
            )
        try:
            if hasattr(source, "seekable") and source.seekable():
                source.seek(0)
            source = source.read(max_bytes + 1)
        except (OSError, ValueError) as error:
            raise ImageError(f"{name} cannot be read from its stream; open it again in binary mode.") from error
        if not isinstance(source, bytes | bytearray):
            raise ImageError(f"{name} is a stream of text; open it in binary mode.")
    _check_bytes(len(source), max_bytes, name)
    yield io.BytesIO(source), name


def _check_bytes(count: int, max_bytes: int, name: str) -> None:
    if count == 0:
        raise ImageError(f"{name} is empty (0 bytes); copy or download it again.")
    if count > max_bytes:
        raise ImageError(f"{name} is larger than {max_bytes / 1e6:.3g} MB; save it smaller.")


def _check_size(size: tuple[int, int], max_pixels: int, name: str) -> None:
    width, height = size
    if width < 1 or height < 1:
        raise ImageError(f"{name} has no pixels ({width} x {height}); give another picture.")
    if width * height > max_pixels:
        raise ImageError(
            f"{name} has {width} x {height} pixels, more than {max_pixels / 1e6:.3g} million; make it smaller."
        )


@contextmanager
def _damage_is_an_image_error(name: str) -> Iterator[None]:
    from PIL import Image

    try:
        yield
    except ImageError:
        raise
    except (Image.DecompressionBombError, Image.DecompressionBombWarning) as error:
        raise ImageError(f"{name} has too many pixels; make it smaller.") from error
    # On damaged files Pillow's decoders raise nearly every kind of error, from OSError to KeyError.
    except Exception as error:
        raise ImageError(f"{name} is damaged or cut short; copy or download it again.") from error


def _read_header(stream: BinaryIO, name: str, max_pixels: int) -> "Image.Image":
    """The picture, known by its first bytes and not yet decoded.

    `Image.open` would warn of a large picture before its size can be seen, and to silence a warning is not
    safe in threads; so this looks the format up in Pillow's registry, as `Image.open` does.
    """
    from PIL import Image

    prefix = stream.read(16)
    for formats, load_plugins in ((_COMMON_FORMATS, Image.preinit), (_OTHER_FORMATS, Image.init)):
        load_plugins()
        for format_name in formats:
            factory, accept = Image.OPEN.get(format_name, (None, None))
            if factory is None or accept is None or not _accepts(accept, prefix):
                continue
            stream.seek(0)
            with _damage_is_an_image_error(name):
                image = factory(stream, "")
                _check_size(image.size, max_pixels, name)
                return image
    if prefix[4:8] == b"ftyp" and prefix[8:12] in (b"heic", b"heix", b"hevc", b"mif1"):
        raise ImageError(f"{name} is a HEIC picture, which is not read; save it as JPEG or PNG.")
    raise ImageError(f"{name} is not an image of a known format; save it as JPEG, PNG or WebP.")


def _accepts(accept: Callable[[bytes], bool | str], prefix: bytes) -> bool:
    try:
        # A text says that the format is known but its library is missing.
        return accept(prefix) is True
    except IndexError:
        return False


def _draft_size(size: tuple[int, int], max_side: int) -> tuple[int, int]:
    longer = max(size)
    width, height = (max(1, -(-side * max_side // longer)) for side in size)
    return width, height


def _to_rgb(image: "Image.Image") -> "Image.Image":
    """A new RGB image without metadata from a loaded one of any mode."""
    from PIL import Image

    image = _upright(image)
    if image.mode.startswith(("I", "F")):
        image = Image.fromarray(_to_8_bits(np.asarray(image)))
    if image.has_transparency_data:
        # Palettes and greys with a transparent colour only keep it on the way to RGBA.
        image = image.convert("LA").convert("RGBA") if image.mode == "La" else image.convert("RGBA")
        rgb = Image.new("RGB", image.size, "white")
        rgb.paste(image, mask=image.getchannel("A"))
    else:
        rgb = image.convert("RGB")
    rgb.info = {}
    return rgb


def _upright(image: "Image.Image") -> "Image.Image":
    from PIL import Image

    try:
        orientation = image.getexif().get(_ORIENTATION_TAG)
    # Damaged metadata is no reason to refuse a picture that can be seen; Pillow raises many kinds of error.
    except Exception:
        return image
    turn = Image.Transpose
    method = {
        2: turn.FLIP_LEFT_RIGHT,
        3: turn.ROTATE_180,
        4: turn.FLIP_TOP_BOTTOM,
        5: turn.TRANSPOSE,
        6: turn.ROTATE_270,
        7: turn.TRANSVERSE,
        8: turn.ROTATE_90,
    }.get(orientation)
    return image if method is None else image.transpose(method)


def _to_8_bits(values: np.ndarray) -> np.ndarray:
    """Grey values of any depth, (h, w), scaled to 0..255 (Pillow would clip them).

    The range is that of the type for 16 bits. Wider integers and floats do not say theirs, so it is the
    smallest usual one (0..1 for floats, 0..255 for floats, 0..65535) that holds them, else their own.
    """
    if values.dtype == np.uint16 or values.dtype == np.dtype(">u2"):
        return ((values.astype(np.uint32) + 128) // 257).astype(np.uint8)
    is_float = values.dtype.kind == "f"
    values = np.nan_to_num(values.astype(np.float64), posinf=0.0, neginf=0.0)
    low, high = float(values.min()), float(values.max())
    usual = (1.0, 255.0, 65535.0) if is_float else (65535.0,)
    top = next((top for top in usual if low >= 0 and high <= top), None)
    if top is not None:
        low, high = 0.0, top
    return np.rint((values - low) * (255.0 / ((high - low) or 1.0))).astype(np.uint8)


def find_images(paths: Iterable[str | Path]) -> list[Path]:
    """The image files that the paths name, each once.

    A folder stands for the images in it and in its folders, by file ending (`IMAGE_EXTENSIONS`), sorted.
    Hidden files and folders are left out, and links to folders are not followed, so that a link can neither
    loop nor lead out. A file that is named, or missing, or a folder that may not be read is kept whatever
    its ending: opening it then gives its error.

    Args:
        paths: Files and folders; their order is kept.
    """
    found: dict[Path, None] = {}
    for path in [paths] if isinstance(paths, str | Path) else paths:
        path = Path(path)
        found.update(dict.fromkeys(sorted(_images_in(path)) if os.path.isdir(path) else [path]))
    return list(found)


def _images_in(folder: Path) -> Iterator[Path]:
    unreadable: list[Path] = []
    for parent, folders, files in os.walk(folder, onerror=lambda error: unreadable.append(Path(error.filename))):
        folders[:] = [name for name in folders if not name.startswith(".")]
        for name in files:
            if not name.startswith(".") and os.path.splitext(name)[1].lower() in IMAGE_EXTENSIONS:
                yield Path(parent, name)
    yield from unreadable


def perceptual_hash(image: "Image.Image") -> int:
    """A 64-bit number that stays nearly the same when a picture is resized, recompressed or brightened.

    Compare two with `(a ^ b).bit_count()`: 0 to about 6 for the same picture, about 32 for different ones.
    This is the DCT hash: the picture at 32 x 32 in grey, its 8 x 8 lowest frequencies, each against their
    median.

    Raises:
        ImageError: If the image cannot be decoded.
    """
    from PIL import Image

    with _damage_is_an_image_error("The image"):
        if image.mode not in ("L", "RGB"):
            image = _to_rgb(image)
        grey = np.asarray(image.convert("L").resize((32, 32), Image.Resampling.BOX), dtype=np.float64)
    frequencies = (_COSINES @ grey @ _COSINES.T).ravel()
    # A flat picture has only rounding errors there, which must not decide the bits.
    bits = frequencies > np.median(frequencies[1:]) + 1e-6
    return int("".join("1" if bit else "0" for bit in bits), 2)


# Rows 0..7 of the type 2 discrete cosine transform of 32 values.
_COSINES = np.cos(np.pi / 32 * np.arange(8)[:, None] * (np.arange(32)[None, :] + 0.5))

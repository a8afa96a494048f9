import contextlib
import io
import itertools
import os
import shutil
import struct
import subprocess
import sys
import warnings
import zlib
from pathlib import Path

import numpy as np
import pytest
from PIL import Image, ImageEnhance, ImageOps

from iec_hub.errors import ImageError
from iec_hub.images import find_images, open_image, perceptual_hash

PICTURES = sorted((Path(__file__).parent / "fixtures" / "coco_cc_by").glob("*.jpg"))
PICTURE = PICTURES[0]


@pytest.fixture(autouse=True)
def no_warnings():
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        yield


@pytest.fixture
def picture() -> Image.Image:
    with Image.open(PICTURE) as image:
        return image.convert("RGB").resize((128, 96))


def saved(image: Image.Image, kind: str, **options) -> bytes:
    buffer = io.BytesIO()
    image.save(buffer, kind, **options)
    return buffer.getvalue()


def difference(first: Image.Image, second: Image.Image) -> float:
    return float(np.abs(np.asarray(first, dtype=float) - np.asarray(second, dtype=float)).mean())


def grey_png(values: np.ndarray) -> bytes:
    """A 16-bit grey PNG, written by hand so that no library rescales it."""
    height, width = values.shape
    rows = b"".join(b"\0" + row.astype(">u2").tobytes() for row in values)
    chunks = ((b"IHDR", struct.pack(">IIBBBBB", width, height, 16, 0, 0, 0, 0)), (b"IDAT", zlib.compress(rows)))
    body = b"".join(
        struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))
        for kind, data in (*chunks, (b"IEND", b""))
    )
    return b"\x89PNG\r\n\x1a\n" + body


def png_header(width: int, height: int) -> bytes:
    data = struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)
    header = b"IHDR" + data
    start = b"\x89PNG\r\n\x1a\n" + struct.pack(">I", 13) + header + struct.pack(">I", zlib.crc32(header))
    return start + struct.pack(">I", 2**20) + b"IDAT"


def refusal(source, **options) -> str:
    with pytest.raises(ImageError) as caught:
        open_image(source, **options)
    message = str(caught.value)
    assert message.endswith(".") and "\n" not in message and len(message) < 250
    return message


def test_the_module_imports_neither_torch_nor_transformers():
    code = "import sys, iec_hub.images; sys.exit(bool({'torch', 'transformers', 'gradio'} & set(sys.modules)))"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0


@pytest.mark.parametrize("path", PICTURES[:4], ids=lambda path: path.stem)
def test_paths_bytes_streams_and_images_give_the_same_picture(path):
    with Image.open(path) as image:
        expected = image.convert("RGB")
    stream = io.BytesIO(path.read_bytes())
    stream.seek(100)
    with open(path, "rb") as file, Image.open(path) as lazy:
        for source in (path, str(path), path.read_bytes(), stream, file, lazy, expected):
            result = open_image(source)
            assert result.mode == "RGB"
            assert result is not source
            assert difference(result, expected) == 0


def test_a_stream_that_cannot_seek_is_read(picture):
    class Pipe(io.RawIOBase):
        data = io.BytesIO(saved(picture, "PNG"))

        def readable(self):
            return True

        def readinto(self, buffer):
            return self.data.readinto(buffer)

    assert difference(open_image(io.BufferedReader(Pipe())), picture) == 0


@pytest.mark.parametrize("orientation", range(1, 9))
@pytest.mark.parametrize("kind", ["JPEG", "PNG", "TIFF", "WEBP"])
def test_exif_orientation_is_applied_once(picture, orientation, kind):
    exif = Image.Exif()
    exif[0x0112] = orientation
    data = saved(picture, kind, exif=exif, **({"lossless": True} if kind == "WEBP" else {}))
    with Image.open(io.BytesIO(data)) as image:
        expected = ImageOps.exif_transpose(image).convert("RGB")
    result = open_image(data)
    assert result.size == ((96, 128) if orientation > 4 else (128, 96))
    assert difference(result, expected) == 0
    assert difference(ImageOps.exif_transpose(result), expected) == 0, "a second reader must not turn it again"
    assert "exif" not in result.info


def test_damaged_exif_does_not_hide_the_picture(picture):
    data = saved(picture, "JPEG", exif=b"Exif\0\0MM\0*\xff\xff\xff\xff")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # Pillow warns of damaged metadata
        assert open_image(data).size == picture.size


def test_cmyk(picture):
    assert difference(open_image(saved(picture.convert("CMYK"), "JPEG", quality=95)), picture) < 6
    assert difference(open_image(saved(picture.convert("CMYK"), "TIFF")), picture) < 2


@pytest.mark.parametrize("kind", ["PNG", "GIF", "BMP"])
def test_palette(picture, kind):
    palette = picture.quantize(64)
    assert difference(open_image(saved(palette, kind)), palette.convert("RGB")) == 0


@pytest.mark.parametrize("mode", ["L", "1"])
def test_grey_and_black_and_white(picture, mode):
    grey = picture.convert(mode)
    assert difference(open_image(saved(grey, "PNG")), grey.convert("RGB")) == 0


def test_16_bits_are_scaled_not_clipped(picture):
    grey = np.asarray(picture.convert("L"))
    deep = grey.astype(np.uint16) * 257
    sources = {
        "png": grey_png(deep),
        "tiff": saved(Image.fromarray(deep), "TIFF"),
        "big-endian tiff": saved(Image.frombytes("I;16B", picture.size, deep.astype(">u2").tobytes()), "TIFF"),
        "pgm": b"P5 128 96 65535\n" + deep.astype(">u2").tobytes(),
        "32-bit": Image.fromarray(deep.astype(np.int32)),
        "float 0..1": saved(Image.fromarray((grey / 255).astype(np.float32)), "TIFF"),
        "float 0..255": Image.fromarray(grey.astype(np.float32)),
    }
    for name, source in sources.items():
        result = np.asarray(open_image(source))
        assert np.array_equal(result[..., 0], grey), name
        assert np.array_equal(result[..., 1], grey) and np.array_equal(result[..., 2], grey), name


@pytest.mark.parametrize("values", [[[-5, 3]], [[0, 2**31 - 1]], [[7, 7]], [[-3, -3]]])
def test_wide_integers_keep_their_order(values):
    result = np.asarray(open_image(Image.fromarray(np.array(values, dtype=np.int32))))[0, :, 0].astype(int)
    assert (result[0] < result[1]) == (values[0][0] < values[0][1])


def test_floats_that_are_not_numbers_do_no_harm():
    values = np.array([[np.nan, np.inf, 0.5, 1.0]], dtype=np.float32)
    assert np.asarray(open_image(Image.fromarray(values)))[0, :, 0].tolist() == [0, 0, 128, 255]


def test_transparency_is_laid_on_white(picture):
    alpha = Image.new("L", picture.size, 255)
    alpha.paste(0, (0, 0, 64, 96))
    clear = picture.copy()
    clear.putalpha(alpha)
    for data in (saved(clear, "PNG"), saved(clear, "WEBP", lossless=True), saved(clear.convert("LA"), "PNG")):
        result = np.asarray(open_image(data))
        assert (result[:, :64] == 255).all()
        assert result[:, 64:].std() > 10
    half = Image.new("RGBA", (4, 4), (0, 0, 0, 128))
    assert open_image(half).getpixel((0, 0)) == (127, 127, 127)


def test_a_transparent_colour_is_laid_on_white():
    grey = Image.new("L", (4, 4), 7)
    palette = Image.new("P", (4, 4), 1)
    palette.putpalette([0, 0, 0, 200, 10, 10])
    sources = (
        saved(grey, "PNG", transparency=7),
        saved(Image.new("RGB", (4, 4), (1, 2, 3)), "PNG", transparency=(1, 2, 3)),
        saved(palette, "PNG", transparency=1),
        saved(palette, "PNG", transparency=b"\xff\x00"),
        saved(palette, "GIF", transparency=1),
    )
    for data in sources:
        assert open_image(data).getpixel((0, 0)) == (255, 255, 255)


@pytest.mark.parametrize("kind", ["GIF", "WEBP", "PNG", "TIFF"])
def test_an_animation_gives_its_first_frame(kind):
    frames = [Image.new("RGB", (8, 8), colour) for colour in ("red", "lime", "blue")]
    options = {"lossless": True} if kind == "WEBP" else {}
    data = saved(frames[0], kind, save_all=True, append_images=frames[1:], **options)
    assert open_image(data).getpixel((3, 3)) == (255, 0, 0)


def test_a_callers_image_is_not_changed(picture):
    picture.info = {"note": "mine"}
    before = picture.copy()
    open_image(picture).paste("black", (0, 0, 50, 50))
    assert difference(picture, before) == 0
    assert picture.info == {"note": "mine"}


def test_max_side_decodes_a_jpeg_smaller_but_not_too_small():
    with Image.open(PICTURE) as image:
        full = image.size
    small = open_image(PICTURE, max_side=150)
    assert 150 <= max(small.size) < max(full)
    assert abs(small.width / small.height - full[0] / full[1]) < 0.02
    assert difference(small, open_image(PICTURE).resize(small.size, Image.Resampling.BOX)) < 4
    assert open_image(PICTURE, max_side=10_000).size == full
    assert open_image(PICTURE).size == full


def test_max_side_leaves_other_formats_alone(picture):
    assert open_image(saved(picture, "PNG"), max_side=16).size == picture.size


def test_max_side_goes_with_orientation_and_cmyk():
    exif = Image.Exif()
    exif[0x0112] = 6
    with Image.open(PICTURE) as image:
        data = saved(image, "JPEG", exif=exif)
        inked = saved(image.convert("CMYK"), "JPEG")
    turned = open_image(data, max_side=100)
    assert turned.height > turned.width and 100 <= turned.height < 250
    assert open_image(inked, max_side=100).mode == "RGB"


@pytest.mark.parametrize("share", [0.02, 0.3, 0.6, 0.95])
@pytest.mark.parametrize("kind", ["JPEG", "PNG", "WEBP", "GIF", "BMP", "TIFF"])
def test_a_truncated_file_is_damaged(picture, kind, share):
    data = saved(picture, kind)
    message = refusal(data[: int(len(data) * share)])
    assert "damaged or cut short" in message


def test_a_truncated_real_file_names_itself(tmp_path):
    path = tmp_path / "half.jpg"
    path.write_bytes(PICTURE.read_bytes()[:30_000])
    assert refusal(path) == '"half.jpg" is damaged or cut short; copy or download it again.'
    with Image.open(path) as lazy:
        assert "damaged" in refusal(lazy)


def test_no_damage_escapes_as_another_error(picture):
    random = np.random.default_rng(0)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # Pillow warns of damaged metadata
        for kind in ("JPEG", "PNG", "GIF", "TIFF", "BMP", "WEBP", "JPEG2000", "PPM"):
            data = bytearray(saved(picture.resize((32, 24)), kind))
            for _ in range(60):
                broken = data.copy()
                for place in random.integers(0, len(data), size=4):
                    broken[place] = random.integers(0, 256)
                with contextlib.suppress(ImageError):
                    assert open_image(bytes(broken), max_pixels=100_000).mode == "RGB"


def test_what_is_not_an_image(tmp_path):
    text = tmp_path / "notes.txt"
    text.write_text("A dark, dull photo of a church.")
    assert refusal(text) == '"notes.txt" is not an image of a known format; save it as JPEG, PNG or WebP.'
    assert "not an image" in refusal(b"<svg xmlns='http://www.w3.org/2000/svg'/>")
    assert "not an image" in refusal(b"P")
    assert "not an image" in refusal(b"%!PS-Adobe-3.0 EPSF-3.0\n"), "EPS would start another program"
    assert "HEIC" in refusal(b"\0\0\0\x18ftypheic\0\0\0\0mif1heic")
    assert "NoneType is not an image" in refusal(None)
    assert "binary mode" in refusal(io.StringIO("text"))
    closed = io.BytesIO(b"x")
    closed.close()
    assert "stream" in refusal(closed)


def test_empty_missing_and_folder(tmp_path):
    (tmp_path / "empty.png").touch()
    assert refusal(tmp_path / "empty.png") == '"empty.png" is empty (0 bytes); copy or download it again.'
    assert "empty" in refusal(b"")
    assert refusal(tmp_path / "gone.jpg") == 'There is no file "gone.jpg"; check the path.'
    assert "is a folder" in refusal(tmp_path)
    assert "no file" in refusal("")
    assert "cannot be opened" in refusal("a\0b.jpg")
    assert "cannot be opened" in refusal("x" * 5000 + ".jpg")
    assert "web address" in refusal("https://example.com/a.jpg")
    assert "no pixels" in refusal(Image.new("RGB", (0, 5)))


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="no named pipes here")
def test_a_pipe_does_not_block(tmp_path):
    os.mkfifo(tmp_path / "pipe.jpg")
    assert "not a regular file" in refusal(tmp_path / "pipe.jpg")
    assert "not a regular file" in refusal("/dev/zero")


def test_an_untrusted_file_name_cannot_break_the_message(tmp_path):
    message = refusal(tmp_path / ("a\n\x1b[31m\u202e" + "b" * 150 + ".jpg"))
    assert message.isprintable() and len(message) < 150


@pytest.mark.parametrize("size", [(9000, 9000), (12_000, 12_000), (60_000, 60_000)])
def test_a_decompression_bomb_is_refused_before_decoding(size):
    assert "pixels, more than 64 million" in refusal(png_header(*size))


def test_a_bomb_inside_a_frame_is_refused():
    # A screen of 1 x 1 with a frame of 65535 x 65535, which Pillow grows the picture to.
    data = b"GIF89a" + struct.pack("<HHBBB", 1, 1, 0x80, 0, 0) + bytes(6)
    data += b"," + struct.pack("<HHHHB", 0, 0, 65535, 65535, 0) + b"\x02\x02\x44\x01\x00;"
    refusal(data)


def test_limits_can_be_set(picture, tmp_path):
    data = saved(picture, "PNG")
    assert open_image(data, max_pixels=128 * 96, max_bytes=len(data)).size == (128, 96)
    assert "128 x 96 pixels" in refusal(data, max_pixels=128 * 96 - 1)
    assert "128 x 96 pixels" in refusal(picture, max_pixels=128 * 96 - 1)
    path = tmp_path / "big.png"
    path.write_bytes(data)
    for source in (data, path, io.BytesIO(data)):
        assert "larger than" in refusal(source, max_bytes=len(data) - 1)


def test_a_file_of_wrong_ending_is_read_by_its_content(picture, tmp_path):
    path = tmp_path / "really_a_png.jpg"
    path.write_bytes(saved(picture, "PNG"))
    assert difference(open_image(path), picture) == 0


@pytest.fixture
def folder(tmp_path) -> Path:
    (tmp_path / "b" / "deep").mkdir(parents=True)
    (tmp_path / ".hidden").mkdir()
    for name in ("z.JPG", "a.png", "b/c.webp", "b/deep/d.jpeg", ".secret.jpg", "._a.png", ".hidden/x.jpg", "n.txt"):
        shutil.copyfile(PICTURE, tmp_path / name)
    return tmp_path


def names(paths: list[Path], root: Path) -> list[str]:
    return [path.relative_to(root).as_posix() for path in paths]


def test_find_images_searches_folders(folder):
    assert names(find_images([folder]), folder) == ["a.png", "b/c.webp", "b/deep/d.jpeg", "z.JPG"]
    assert find_images(str(folder)) == find_images([folder])


def test_find_images_keeps_what_is_named(folder):
    paths = [folder / "n.txt", folder / ".secret.jpg", folder / "gone.jpg", folder / "b", folder / "n.txt"]
    assert names(find_images(paths), folder) == ["n.txt", ".secret.jpg", "gone.jpg", "b/c.webp", "b/deep/d.jpeg"]
    assert find_images([]) == []


def test_find_images_does_not_loop(folder):
    before = find_images([folder])
    (folder / "b" / "loop").symlink_to(folder, target_is_directory=True)
    assert find_images([folder]) == before
    (folder / "itself").symlink_to(folder / "itself")
    assert find_images([folder / "itself"]) == [folder / "itself"]
    assert "cannot be opened" in refusal(folder / "itself")


def test_a_named_link_to_a_folder_is_searched(folder, tmp_path_factory):
    link = tmp_path_factory.mktemp("links") / "link"
    link.symlink_to(folder, target_is_directory=True)
    assert len(find_images([link])) == 4


def test_perceptual_hash_knows_a_picture_again():
    hashes = []
    for path in PICTURES:
        image = open_image(path)
        value = perceptual_hash(image)
        assert 0 <= value < 2**64
        hashes.append(value)
        again = [
            open_image(saved(image, "JPEG", quality=40)),
            image.resize((200, 150)),
            ImageEnhance.Brightness(image).enhance(1.2),
            image.convert("RGBA"),
        ]
        assert max((value ^ perceptual_hash(other)).bit_count() for other in again) <= 8
    assert min((a ^ b).bit_count() for a, b in itertools.combinations(hashes, 2)) >= 16


def test_perceptual_hash_of_flat_pictures_is_stable():
    assert perceptual_hash(Image.new("RGB", (50, 40), (90, 90, 90))) == perceptual_hash(Image.new("L", (33, 77), 91))

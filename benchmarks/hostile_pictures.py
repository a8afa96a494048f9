"""Files that are no good pictures, made here: cut, broken, lying, of other kinds, or with a script inside."""

from __future__ import annotations

import gzip
import io
import random
import struct
import tarfile
import zipfile
import zlib
from collections.abc import Iterator

from PIL import Image, ImageCms, PngImagePlugin

# Stands in every file, name and field that is sent: what holds it afterwards has kept or said something.
MARK = "hostile-mark-7f3a"
# Would leave a file of this name in the server's folder if anything ran it.
CANARY = "hostile-canary"
SCRIPT = f"<script>alert('{MARK}')</script><img src=x onerror=alert(1)>$(touch {CANARY})`touch {CANARY}`"
_SVG = '<svg xmlns="http://www.w3.org/2000/svg" xmlns:xlink="http://www.w3.org/1999/xlink">'


def photo(side: int = 96, seed: int = 0) -> Image.Image:
    """A colourful picture, the same for the same seed."""
    draw = random.Random(seed)
    small = Image.new("RGB", (6, 6))
    small.putdata([tuple(draw.randrange(256) for _ in range(3)) for _ in range(36)])
    return small.resize((side, side), Image.Resampling.BICUBIC)


def saved(image: Image.Image, kind: str = "PNG", **options: object) -> bytes:
    buffer = io.BytesIO()
    image.save(buffer, kind, **options)
    return buffer.getvalue()


def cut_and_broken() -> Iterator[tuple[str, bytes, str]]:
    """Pictures of each kind that stop too early, or with bytes that were changed: (name, bytes, expected)."""
    draw = random.Random(1)
    endings = {"PNG": "png", "JPEG": "jpg", "GIF": "gif", "WEBP": "webp", "BMP": "bmp", "TIFF": "tif", "PPM": "ppm"}
    for kind, ending in endings.items():
        whole = saved(photo(), kind)
        for share in (0.02, 0.3, 0.8):
            expected = "either" if share == 0.8 else "sentence"
            yield f"cut-{share}.{ending}", whole[: max(9, int(len(whole) * share))], expected
        for number in range(2):
            broken = bytearray(whole)
            for _ in range(40):
                broken[draw.randrange(20, len(broken))] = draw.randrange(256)
            yield f"broken-{number}.{ending}", bytes(broken), "either"


def other_kinds() -> Iterator[tuple[str, bytes, str]]:
    """Files of other kinds with a picture's name."""
    heads = {
        "text": SCRIPT.encode(),
        "page": f"<!doctype html><body>{SCRIPT}".encode(),
        "nothing": b"",
        "one-byte": b"\x89",
        "zeros": bytes(200_000),
        "noise": random.Random(2).randbytes(200_000),
        "windows-program": b"MZ\x90\0" + bytes(500),
        "linux-program": b"\x7fELF\x02\x01\x01" + bytes(500),
        "shell": f"#!/bin/sh\ntouch {CANARY}\n".encode(),
        "python": f"import os; os.system('touch {CANARY}')".encode(),
        "pickle": f"cposix\nsystem\n(S'touch {CANARY}'\ntR.".encode(),
        "postscript": f"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 9 9\n(%pipe%touch {CANARY}) (w) file\n".encode(),
        "magick": f"push graphic-context\nfill 'url(https://x/\"|touch {CANARY}\")'\npop graphic-context".encode(),
        "pdf": b"%PDF-1.7\n1 0 obj<</OpenAction<</S/JavaScript/JS(app.alert(1))>>>>",
        "json": b'{"path": "/etc/passwd"}',
        "csv": b"=cmd|' /C calc'!A0,1\n",
        "heic": b"\0\0\0\x18ftypheic" + bytes(60),
        "video": b"\0\0\0\x18ftypisom" + bytes(60),
        "sound": b"ID3\x04\0\0\0\0\0\0" + bytes(60),
        "photoshop": b"8BPS\0\x01" + bytes(60),
        "icon": b"\0\0\x01\0\x01\0" + bytes(60),
        "xbm": b"#define x_width 9\n#define x_height 9\nstatic char x[] = {0};",
        "svg": f"{_SVG}<script>alert('{MARK}')</script></svg>".encode(),
        "svg-of-files": f'<!DOCTYPE s [<!ENTITY f SYSTEM "file:///etc/passwd">]>{_SVG}<text>&f;</text></svg>'.encode(),
        "svg-of-the-web": f'{_SVG}<image xlink:href="http://127.0.0.1:9/x.png"/></svg>'.encode(),
        "svg-of-laughs": _laughs(),
        "gzip": gzip.compress(bytes(5_000_000)),
        "tar-that-climbs": _tar(),
    }
    for name, content in heads.items():
        yield f"{name}.png", content, "sentence"


def bombs() -> Iterator[tuple[str, bytes, str]]:
    """Small files that would fill the memory or the disk."""
    yield "bomb-bits.png", saved(Image.new("1", (20_000, 20_000)), "PNG"), "sentence"
    header = struct.pack(">IIBBBBB", 2**31 - 1, 2**31 - 1, 8, 6, 0, 0, 0)
    yield "bomb-header.png", _png([(b"IHDR", header)]), "sentence"
    yield "bomb.gif", b"GIF89a" + struct.pack("<HH", 65535, 65535) + b"\x80\0\0" + bytes(40), "sentence"
    yield "bomb.bmp", b"BM" + bytes(12) + struct.pack("<IiiHH", 40, 60_000, 60_000, 1, 24) + bytes(60), "sentence"
    yield "bomb.ppm", b"P6 99999999 99999999 255\n" + bytes(60), "sentence"
    canvas = b"VP8X" + struct.pack("<I", 10) + bytes(4) + b"\xfe\xff\xff" * 2
    yield "bomb.webp", b"RIFF" + struct.pack("<I", len(canvas) + 4) + b"WEBP" + canvas, "sentence"
    small = saved(photo(), "JPEG")
    yield "bomb.jpg", small.replace(struct.pack(">HH", 96, 96), struct.pack(">HH", 65500, 65500), 1), "sentence"
    yield "bomb.tif", saved(Image.new("1", (12_000, 12_000)), "TIFF", compression="group4"), "sentence"
    frames = [Image.new("P", (64, 64), number % 256) for number in range(1500)]
    yield "many-frames.gif", saved(frames[0], "GIF", save_all=True, append_images=frames[1:]), "answer"
    text = zlib.compress(b"a" * 80_000_000, 9)
    yield "bomb-text.png", _picture_with(b"zTXt", b"Comment\0\0" + text), "either"
    yield "bomb-profile.png", _picture_with(b"iCCP", b"x\0\0" + text), "either"
    yield "long-chunk.png", saved(photo())[:33] + b"\xff\xff\xff\xffIDAT" + bytes(40), "sentence"
    yield "no-pixels.png", _png([(b"IHDR", struct.pack(">IIBBBBB", 0, 0, 8, 2, 0, 0, 0))]), "sentence"
    # Its first directory names itself as the next one.
    yield "ring.tif", b"II*\0" + struct.pack("<IHHHIII", 8, 1, 256, 4, 1, 9, 8), "sentence"
    yield "tags.tif", b"II*\0" + struct.pack("<IH", 8, 65535) + bytes(5000), "sentence"


def with_scripts() -> Iterator[tuple[str, bytes, str]]:
    """Pictures that can be seen, with something else in what goes with them; they get their answer."""
    whole = photo()
    exif = Image.Exif()
    exif[0x010E], exif[0x013B], exif[0x0112] = SCRIPT, SCRIPT, 99
    yield "exif.jpg", saved(whole, "JPEG", exif=exif), "answer"
    yield "exif-broken.jpg", saved(whole, "JPEG", exif=b"Exif\0\0II*\0\xff\xff\xff\xff" + bytes(60)), "answer"
    yield "exif-long.jpg", saved(whole, "JPEG", exif=b"Exif\0\0MM\0*" + MARK.encode() * 3000), "answer"
    yield "comment.jpg", saved(whole, "JPEG", comment=SCRIPT.encode()), "answer"
    yield "terminal.jpg", saved(whole, "JPEG", comment=b"\x1b]0;" + MARK.encode() + b"\x07\x1b[2J"), "answer"
    yield "xmp.jpg", saved(whole, "JPEG", xmp=f"<x:xmpmeta>{SCRIPT}</x:xmpmeta>".encode()), "answer"
    yield "profile.jpg", saved(whole, "JPEG", icc_profile=SCRIPT.encode() * 20), "answer"
    profile = ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()
    yield "profile-cut.png", saved(whole, "PNG", icc_profile=profile[:200]), "answer"
    info = PngImagePlugin.PngInfo()
    info.add_text("Comment", SCRIPT)
    info.add_itxt("Title", SCRIPT, zip=True)
    yield "text.png", saved(whole, "PNG", pnginfo=info), "answer"
    yield "comment.gif", saved(whole.convert("P"), "GIF", comment=SCRIPT.encode()), "answer"
    yield "page-behind.png", saved(whole) + f"<!doctype html>{SCRIPT}".encode(), "answer"
    yield "archive-behind.jpg", saved(whole, "JPEG") + _archive({"../../" + CANARY: b"x"}), "answer"
    yield "php-inside.jpg", saved(whole, "JPEG", comment=f"<?php system('touch {CANARY}'); ?>".encode()), "answer"
    yield "web-shell.php.png", saved(whole), "answer"


def archives() -> Iterator[tuple[str, bytes]]:
    """Archives that climb out of their folder, lie, or grow; each entry gets its answer or its reason."""
    good = saved(photo())
    yield "climbing.zip", _archive({f"../../{CANARY}.png": good, f"/tmp/{CANARY}.png": good})
    yield "backslashes.zip", _archive({f"..\\..\\{CANARY}.png": good, "C:\\x.png": good})
    yield "grows.zip", _archive({"zeros.png": bytes(60_000_000)})
    yield "many.zip", _archive({f"{number}.png": b"" for number in range(3000)})
    yield "nested.zip", _archive({"inner.zip": _archive({"zeros.png": bytes(9_000_000)})})
    yield "scripts.zip", _archive({f"{SCRIPT.replace('/', '')}.png": b"no picture", "=1+1.png": b""})
    yield "link.zip", _archive({"link.png": b"/etc/passwd"}, link=True)
    yield "cut.zip", _archive({"a.png": good})[:-30]
    yield "lies.zip", _archive({"a.png": good}).replace(struct.pack("<I", len(good)), struct.pack("<I", 1))


def _laughs() -> bytes:
    entities = "".join(f'<!ENTITY l{n + 1} "{f"&l{n};" * 10}">' for n in range(9))
    return f'<?xml version="1.0"?><!DOCTYPE s [<!ENTITY l0 "{MARK}">{entities}]>{_SVG}<text>&l9;</text></svg>'.encode()


def _tar() -> bytes:
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w") as archive:
        entry = tarfile.TarInfo(f"../../{CANARY}")
        entry.size = 1
        archive.addfile(entry, io.BytesIO(b"x"))
    return buffer.getvalue()


def _archive(entries: dict[str, bytes], link: bool = False) -> bytes:
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, content in entries.items():
            entry = zipfile.ZipInfo(name)
            entry.compress_type = zipfile.ZIP_DEFLATED
            if link:
                entry.create_system, entry.external_attr = 3, 0o120777 << 16
            archive.writestr(entry, content)
    return buffer.getvalue()


def _chunk(kind: bytes, content: bytes) -> bytes:
    return struct.pack(">I", len(content)) + kind + content + struct.pack(">I", zlib.crc32(kind + content))


def _png(chunks: list[tuple[bytes, bytes]]) -> bytes:
    return b"\x89PNG\r\n\x1a\n" + b"".join(_chunk(*each) for each in chunks) + _chunk(b"IEND", b"")


def _picture_with(kind: bytes, content: bytes) -> bytes:
    """A whole PNG with one more chunk behind its header."""
    whole = saved(photo())
    return whole[:33] + _chunk(kind, content) + whole[33:]

"""The pictures in what a visitor gave: files as they are, zip archives opened without trusting anything in them.

Nothing is ever unpacked onto the disk: the name of an entry is only shown, and its bytes stay in memory.
"""

import io
import stat
import zipfile
import zlib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

from iec_hub.errors import DataError, ImageError
from iec_hub.images import IMAGE_EXTENSIONS
from iec_hub.space import texts
from iec_hub.space.escaping import plain
from iec_hub.space.limits import Limits

LONGEST_NAME = 160
MOST_ENTRIES = 2_000
# The list of contents is read in one piece, before its entries can be counted; the entries in smaller ones.
_LARGEST_DIRECTORY = 1_000_000
_PIECE = 500_000
# Pictures hardly shrink, flat ones up to about this; bombs by a thousand and more.
_LARGEST_RATIO = 200
_SMALL = 1_000_000
_LARGEST_TOTAL = 20
_ARCHIVES = frozenset((".zip", ".7z", ".rar", ".tar", ".gz", ".tgz", ".bz2", ".xz", ".zst", ".cbz", ".jar"))
_LITTER = frozenset(("thumbs.db", "desktop.ini", "__macosx"))
# The other methods unpack without a bound.
_METHODS = frozenset((zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED))
_ENCRYPTED = 0x1


@dataclass(frozen=True)
class Source:
    """One row of a batch: a picture to open, or the reason why there is none.

    Attributes:
        name: what the visitor calls it, such as "beach.jpg" or "holiday.zip/beach.jpg"; untrusted, escape it.
        file: the uploaded picture or archive.
        entry: where the picture stands in the archive's list of contents; None for a picture of its own.
        error: one sentence, where it cannot be read.
    """

    name: str
    file: Path
    entry: int | None = None
    error: str | None = None

    def read(self, most: int) -> Path | bytes:
        """What :func:`iec_hub.images.open_image` takes: the file, or the bytes of the archive's entry.

        Args:
            most: bytes that an entry may have.

        Raises:
            ImageError: if `error` says so, or the entry turns out to be damaged or larger than `most`.
        """
        if self.error is not None:
            raise ImageError(self.error)
        if self.entry is None:
            return self.file
        return _read_entry(self.file, self.entry, most)


def gather(files: Sequence[tuple[str, Path]], limits: Limits) -> list[Source]:
    """Every picture in the files, in order; what is wrong with one of them costs no other its place.

    Args:
        files: the visitor's name of each file, and the file; one whose name ends in ".zip" is an archive.

    Raises:
        DataError: if there is nothing to judge, or there are more pictures than `limits.pictures`.
    """
    sources: list[Source] = []
    for name, file in files:
        shown = shown_name(name)
        if PurePosixPath(shown).suffix.lower() == ".zip":
            sources += _archive(shown, file, limits)
        else:
            sources.append(Source(shown, file))
        # Counted as it grows: each of many archives may hold thousands of entries.
        if len(sources) > limits.pictures:
            raise DataError(texts.MANY_TOO_MANY.format(most=limits.pictures))
    if not sources:
        raise DataError(texts.MANY_NO_FILES)
    return sources


def shown_name(name: str) -> str:
    """A file's name for people: on one line, without control characters, its end kept where it is too long."""
    name = plain(name[-4 * LONGEST_NAME :]).strip() or texts.MANY_NO_NAME
    return name if len(name) <= LONGEST_NAME else f"…{name[1 - LONGEST_NAME :]}"


class _Bounded(io.BufferedReader):
    """A file that refuses to be read in huge pieces: so large is only the contents' list of a bomb."""

    def read(self, size: int | None = -1, /) -> bytes:
        if size is not None and size > _LARGEST_DIRECTORY:
            raise zipfile.BadZipFile("The list of contents is too long")
        return super().read(size)


def _archive(name: str, file: Path, limits: Limits) -> list[Source]:
    try:
        if file.stat().st_size > limits.archive_bytes:
            most = megabytes(limits.archive_bytes)
            return [Source(name, file, error=texts.ARCHIVE_FILE_TOO_LARGE.format(name=name, most=most))]
        with _Bounded(io.FileIO(file)) as stream, zipfile.ZipFile(stream) as archive:
            entries = archive.infolist()
    # Damaged archives raise nearly every kind of error, from struct.error to NotImplementedError.
    except Exception:
        return [Source(name, file, error=texts.ARCHIVE_DAMAGED.format(name=name))]
    wanted = [(index, entry) for index, entry in enumerate(entries) if not _skipped(entry)]
    error = None
    if len(entries) > MOST_ENTRIES:
        error = texts.ARCHIVE_ENTRIES.format(name=name, count=len(entries), most=MOST_ENTRIES)
    elif not wanted:
        error = texts.ARCHIVE_EMPTY.format(name=name)
    elif sum(entry.file_size for _, entry in wanted) > _LARGEST_TOTAL * limits.file_bytes:
        error = texts.ARCHIVE_TOO_LARGE.format(name=name, most=megabytes(_LARGEST_TOTAL * limits.file_bytes))
    if error is not None:
        return [Source(name, file, error=error)]
    return list(_entries(name, file, wanted, limits))


def _entries(
    archive: str, file: Path, wanted: Sequence[tuple[int, zipfile.ZipInfo]], limits: Limits
) -> Iterator[Source]:
    seen: set[str] = set()
    for index, entry in wanted:
        shown = shown_name(f"{archive}/{entry.filename}")
        error = texts.ENTRY_TWICE if entry.filename in seen else _refusal(entry, limits.file_bytes)
        seen.add(entry.filename)
        yield Source(shown, file, index, error)


def _skipped(entry: zipfile.ZipInfo) -> bool:
    """Whether an entry is no file of the visitor's: a folder, or what systems leave behind."""
    parts = PurePosixPath(entry.filename.replace("\\", "/")).parts
    return entry.is_dir() or any(
        part.lower() in _LITTER or (part.startswith(".") and part not in (".", "..")) for part in parts
    )


def _refusal(entry: zipfile.ZipInfo, most: int) -> str | None:
    """Why an entry is not read, if it is not; said before any of it is unpacked."""
    path = PurePosixPath(entry.filename.replace("\\", "/"))
    kind = stat.S_IFMT(entry.external_attr >> 16)
    if path.is_absolute() or ".." in path.parts or ":" in "".join(path.parts[:1]):
        return texts.ENTRY_OUTSIDE
    if kind not in (0, stat.S_IFREG):
        return texts.ENTRY_LINK
    if path.suffix.lower() in _ARCHIVES:
        return texts.ENTRY_ARCHIVE
    if path.suffix.lower() not in IMAGE_EXTENSIONS:
        return texts.ENTRY_NO_PICTURE
    if entry.flag_bits & _ENCRYPTED:
        return texts.ENTRY_ENCRYPTED
    if entry.compress_type not in _METHODS:
        return texts.ENTRY_METHOD
    if entry.file_size > most:
        return texts.ENTRY_TOO_LARGE.format(most=megabytes(most))
    if entry.file_size > max(_SMALL, _LARGEST_RATIO * entry.compress_size):
        return texts.ENTRY_RATIO.format(ratio=_LARGEST_RATIO)
    return None


def _read_entry(file: Path, index: int, most: int) -> bytes:
    try:
        with (
            _Bounded(io.FileIO(file)) as stream,
            zipfile.ZipFile(stream) as archive,
            archive.open(archive.infolist()[index]) as entry,
        ):
            # The declared size may be a lie; zipfile notices one that is too small by its checksum.
            content = bytearray()
            while len(content) <= most and (piece := entry.read(_PIECE)):
                content += piece
    except FileNotFoundError as error:
        raise ImageError(texts.ARCHIVE_GONE) from error
    except (zipfile.BadZipFile, zlib.error, OSError, EOFError, RuntimeError, ValueError, IndexError) as error:
        raise ImageError(texts.ENTRY_DAMAGED) from error
    if len(content) > most:
        raise ImageError(texts.ENTRY_TOO_LARGE.format(most=megabytes(most)))
    return bytes(content)


def megabytes(count: int) -> str:
    """Bytes for people, such as `10 MB`."""
    return f"{count / 1e6:.3g} MB"

"""Zip archives from strangers: what is read of them, what is refused, and with which sentence."""

import io
import stat
import zipfile
from pathlib import Path

import pytest
from PIL import Image

from iec_hub.errors import DataError, ImageError
from iec_hub.images import open_image
from iec_hub.space.archives import MOST_ENTRIES, gather, shown_name
from iec_hub.space.limits import Limits

PHOTOGRAPHS = sorted((Path(__file__).parents[1] / "fixtures" / "coco_cc_by").rglob("*.jpg"))
LIMITS = Limits(file_bytes=1_500_000, pictures=20)


def archive(path: Path, entries: dict[str | zipfile.ZipInfo, bytes], method: int = zipfile.ZIP_DEFLATED) -> Path:
    with zipfile.ZipFile(path, "w", method) as file:
        for name, content in entries.items():
            file.writestr(name, content)
    return path


def refusals(path: Path) -> dict[str, str | None]:
    return {source.name: source.error for source in gather([(path.name, path)], LIMITS)}


def test_pictures_come_in_order_and_are_those_of_the_archive(tmp_path: Path) -> None:
    entries = {f"Holiday 2024/{path.name}": path.read_bytes() for path in PHOTOGRAPHS[:3]}
    given = [("first.jpg", PHOTOGRAPHS[3]), ("trip.zip", archive(tmp_path / "a", entries))]
    sources = gather(given, LIMITS)
    assert [source.name for source in sources] == ["first.jpg", *(f"trip.zip/{name}" for name in entries)]
    assert sources[0].read(LIMITS.file_bytes) == PHOTOGRAPHS[3]
    for source, content in zip(sources[1:], entries.values(), strict=True):
        assert open_image(source.read(LIMITS.file_bytes)).tobytes() == open_image(content).tobytes()
    assert sorted(path.name for path in tmp_path.iterdir()) == ["a"], "something was unpacked"


@pytest.mark.parametrize("method", [zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED])
def test_pictures_as_large_as_those_of_phones_are_read(tmp_path: Path, method: int) -> None:
    photograph = Image.open(PHOTOGRAPHS[0]).resize((1200, 900))
    photograph.save(tmp_path / "large.png")
    content = (tmp_path / "large.png").read_bytes()
    path = archive(tmp_path / "phone.zip", {"IMG_2040.png": content}, method)
    assert path.stat().st_size > 1_200_000, "no larger than what is read at once"
    (source,) = gather([(path.name, path)], Limits())
    assert source.error is None and source.read(Limits().file_bytes) == content


def test_an_archive_may_be_larger_than_a_picture_but_not_without_end(tmp_path: Path) -> None:
    content = PHOTOGRAPHS[0].read_bytes()
    path = archive(tmp_path / "trip.zip", {f"{n}.jpg": content for n in range(4)}, zipfile.ZIP_STORED)
    bounds = {"file_bytes": len(content) + 1, "archive_bytes": path.stat().st_size}
    assert [source.error for source in gather([(path.name, path)], Limits(**bounds))] == [None] * 4
    bounds["archive_bytes"] -= 1
    ((name, error),) = [(source.name, source.error) for source in gather([(path.name, path)], Limits(**bounds))]
    assert name == "trip.zip" and "trip.zip is larger than" in error and "pack fewer pictures" in error


def test_hostile_entries_are_rows_with_their_reason_and_cost_the_good_one_nothing(tmp_path: Path) -> None:
    link = zipfile.ZipInfo("link.jpg")
    link.external_attr = (stat.S_IFLNK | 0o777) << 16
    good = PHOTOGRAPHS[0].read_bytes()
    path = archive(
        tmp_path / "bad.zip",
        {
            "good.jpg": good,
            "../../etc/cron.d/evil.jpg": good,
            "/etc/evil.jpg": good,
            "C:\\evil.jpg": good,
            "..\\evil.jpg": good,
            link: b"/etc/passwd",
            "inner.zip": b"PK",
            "notes.txt": b"hello",
            "bomb.bmp": b"BM" + bytes(1_400_000),
            "large.png": bytes(1_500_001),
            "__MACOSX/._good.jpg": b"x",
            ".hidden/photo.jpg": good,
            "Thumbs.db": b"x",
            "folder/": b"",
        },
    )
    found = {name.removeprefix("bad.zip/"): error for name, error in refusals(path).items()}
    assert found.pop("good.jpg") is None
    words = {
        "../../etc/cron.d/evil.jpg": "leads out",
        "/etc/evil.jpg": "leads out",
        "C:\\evil.jpg": "leads out",
        "..\\evil.jpg": "leads out",
        "link.jpg": "link",
        "inner.zip": "Archives within",
        "notes.txt": "known format",
        "bomb.bmp": "200 times",
        "large.png": "larger than 1.5 MB",
    }
    assert found.keys() == words.keys()
    for name, word in words.items():
        assert word in (found[name] or ""), name
    with pytest.raises(ImageError, match="leads out"):
        gather([("bad.zip", path)], LIMITS)[1].read(LIMITS.file_bytes)


@pytest.mark.filterwarnings("ignore:Duplicate name")
def test_a_name_that_is_there_twice_is_read_once(tmp_path: Path) -> None:
    path = tmp_path / "two.zip"
    with zipfile.ZipFile(path, "w") as file:
        file.writestr("a.jpg", PHOTOGRAPHS[0].read_bytes())
        file.writestr("a.jpg", b"something else")
    first, second = gather([("two.zip", path)], LIMITS)
    assert first.error is None and "two files of this name" in (second.error or "")


def test_other_ways_of_packing_unpack_without_a_bound_and_are_not_read(tmp_path: Path) -> None:
    for method in (zipfile.ZIP_BZIP2, zipfile.ZIP_LZMA):
        path = archive(tmp_path / f"{method}.zip", {"a.jpg": PHOTOGRAPHS[0].read_bytes()}, method)
        assert all("ordinary zip" in (error or "") for error in refusals(path).values())


def patched(path: Path, offset: int, value: bytes) -> Path:
    """The archive with some bytes of its only central entry replaced; `offset` is from that entry's beginning."""
    content = bytearray(path.read_bytes())
    at = content.rindex(b"PK\x01\x02") + offset
    content[at : at + len(value)] = value
    path.write_bytes(content)
    return path


def test_passwords_and_lies_about_the_size(tmp_path: Path) -> None:
    def packed(name: str, content: bytes) -> Path:
        return archive(tmp_path / name, {"a.jpg": content})

    photograph = PHOTOGRAPHS[0].read_bytes()
    encrypted = patched(packed("secret.zip", photograph), 8, b"\x01\x00")
    assert "password" in next(iter(refusals(encrypted).values()))
    # It says that it is small and is not: the checksum of what is read is wrong, and no more than that is read.
    bomb = patched(packed("bomb.zip", bytes(50_000_000)), 24, (100_000).to_bytes(4, "little"))
    (source,) = gather([("bomb.zip", bomb)], LIMITS)
    assert source.error is None
    with pytest.raises(ImageError, match="damaged in the archive"):
        source.read(LIMITS.file_bytes)


@pytest.mark.parametrize("content", [b"", b"PK\x03\x04", PHOTOGRAPHS[0].read_bytes(), b"\x00" * 5000])
def test_what_is_no_archive_is_one_row(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "x.zip"
    path.write_bytes(content)
    assert refusals(path) == {"x.zip": "x.zip is damaged or no zip archive; pack it again."}


def test_archives_that_are_cut_short_or_scrambled_never_raise(tmp_path: Path) -> None:
    whole = archive(tmp_path / "w.zip", {f"{i}.jpg": PHOTOGRAPHS[i].read_bytes() for i in range(3)}).read_bytes()
    path = tmp_path / "x.zip"
    for cut in range(0, len(whole), len(whole) // 40):
        path.write_bytes(whole[:cut] + b"\xff" * 7 + whole[cut + 7 :] if cut % 2 else whole[:cut])
        for source in gather([("x.zip", path)], LIMITS):
            try:
                open_image(source.read(LIMITS.file_bytes))
            except ImageError as error:
                assert str(error).endswith(".")


def test_too_many_entries_and_too_many_pictures(tmp_path: Path) -> None:
    crowded = archive(tmp_path / "c.zip", {f"{i}.txt": b"" for i in range(MOST_ENTRIES + 1)})
    assert "lists 2001 files" in next(iter(refusals(crowded).values()))
    # Ten times as many are not even listed.
    huge = archive(tmp_path / "h.zip", {f"{'x' * 40}{i}.txt": b"" for i in range(20 * MOST_ENTRIES)})
    assert "damaged or no zip" in next(iter(refusals(huge).values()))
    many = archive(tmp_path / "m.zip", {f"{i}.jpg": b"x" for i in range(LIMITS.pictures + 1)})
    with pytest.raises(DataError, match="more than 20 pictures"):
        gather([("m.zip", many)], LIMITS)
    spread = [("a.jpg", PHOTOGRAPHS[0])] * LIMITS.pictures
    assert len(gather(spread, LIMITS)) == LIMITS.pictures
    with pytest.raises(DataError, match="more than 20 pictures"):
        gather([*spread, ("b.jpg", PHOTOGRAPHS[0])], LIMITS)
    with pytest.raises(DataError, match="no pictures yet"):
        gather([], LIMITS)


def test_an_archive_that_unpacks_to_too_much_is_not_opened(tmp_path: Path) -> None:
    noise = io.BytesIO()
    Image.effect_noise((1100, 1100), 80).save(noise, "BMP")
    path = archive(tmp_path / "much.zip", {f"{i}.bmp": noise.getvalue() for i in range(26)}, zipfile.ZIP_STORED)
    assert "unpacks to more than 30 MB" in next(iter(refusals(path).values()))
    assert "holds no files" in next(iter(refusals(archive(tmp_path / "e.zip", {".DS_Store": b""})).values()))


def test_an_archive_that_is_gone_says_so(tmp_path: Path) -> None:
    path = archive(tmp_path / "g.zip", {"a.jpg": PHOTOGRAPHS[0].read_bytes()})
    (source,) = gather([("g.zip", path)], LIMITS)
    path.unlink()
    with pytest.raises(ImageError, match="upload it again"):
        source.read(LIMITS.file_bytes)


@pytest.mark.parametrize("name", ["", "\0", "a\nb.jpg", "\u202egpj.exe", "\ud800.jpg", "x" * 100_000 + ".jpg"])
def test_names_are_short_and_on_one_line(name: str) -> None:
    shown = shown_name(name)
    assert 0 < len(shown) <= 160 and shown.isprintable()
    assert shown.endswith(".jpg") == name.endswith(".jpg")

"""Which file a request means: only what was uploaded, or stands in the request itself."""

import base64
from pathlib import Path

import pytest

from iec_hub.errors import ImageError
from iec_hub.space import texts
from iec_hub.space.uploads import sent_picture, uploaded_file


@pytest.mark.parametrize(
    "picture",
    [None, {}, {"path": None, "url": "data:image/png;base64,AAAA"}, {"path": 3}, {"path": "a\0b"}, "/etc/passwd"]
    + [{"path": "\ud800"}, {"path": "x" * 100_000}, {"path": "~/x.png"}, ""],
)
def test_no_uploaded_file_is_no_picture(picture: object, tmp_path: Path) -> None:
    with pytest.raises(ImageError, match="no picture yet"):
        uploaded_file(picture, tmp_path)


def test_only_files_among_the_uploads_are_pictures(tmp_path: Path) -> None:
    uploads = tmp_path / "uploads"
    uploads.mkdir()
    (tmp_path / "secret.png").touch()
    (uploads / "link.png").symlink_to(tmp_path / "secret.png")
    (uploads / "ring.png").symlink_to(uploads / "ring.png")
    assert uploaded_file({"path": str(uploads / "a" / "b.png")}, uploads) == uploads / "a" / "b.png"
    assert uploaded_file(str(uploads / "a" / "b.png"), uploads) == uploads / "a" / "b.png"
    for path in ("secret.png", "uploads/../secret.png", "uploads/link.png", "uploads2/a.png"):
        for picture in (str(tmp_path / path), {"path": str(tmp_path / path)}):
            with pytest.raises(ImageError, match="no picture yet"):
                uploaded_file(picture, uploads)


def test_a_picture_may_stand_in_the_request_up_to_a_size(tmp_path: Path) -> None:
    content = bytes(range(256)) * 4
    encoded = base64.b64encode(content).decode()
    assert sent_picture(f"data:image/png;base64,{encoded}", tmp_path, len(content)) == content
    assert sent_picture(f"DATA:;Base64,{encoded}", tmp_path, len(content)) == content
    with pytest.raises(ImageError, match="larger than 0.0005 MB; save it smaller"):
        sent_picture(f"data:image/png;base64,{encoded}", tmp_path, 500)
    for url in ("data:image/png,AAAA", "data:image/png;base64", "data:;base64,A", "data:;base64,\u00e9", "data:"):
        with pytest.raises(ImageError) as caught:
            sent_picture(url, tmp_path, 500)
        assert str(caught.value) == texts.BAD_DATA_URL


@pytest.mark.parametrize("address", ["http://127.0.0.1/x.png", " https://a/", "FTP://a/x", "file:///etc/passwd"])
def test_web_addresses_are_not_fetched(address: str, tmp_path: Path) -> None:
    with pytest.raises(ImageError, match="not fetched; upload the picture"):
        sent_picture(address, tmp_path, 500)


def test_anything_else_is_no_picture(tmp_path: Path) -> None:
    (tmp_path / "a.png").touch()
    assert sent_picture({"path": str(tmp_path / "a.png")}, tmp_path, 500) == tmp_path / "a.png"
    for picture in (None, 3, [], ["data:;base64,AAAA"], b"bytes", True):
        with pytest.raises(ImageError, match="no picture yet"):
            sent_picture(picture, tmp_path, 500)

"""Small trees of real pictures in every layout."""

import shutil
from collections.abc import Callable
from pathlib import Path

import pytest

FIXTURES = Path(__file__).parents[1] / "fixtures" / "coco_cc_by"


@pytest.fixture(scope="session")
def pictures() -> list[Path]:
    """Real photographs, all different."""
    return sorted(FIXTURES.glob("*.jpg"))


@pytest.fixture
def tree(tmp_path: Path, pictures: list[Path]) -> Callable[..., Path]:
    """Makes a folder: names become photographs (the next ones in turn), texts become files."""

    def make(*names: str, **texts: str) -> Path:
        for number, name in enumerate(names):
            path = tmp_path / name
            path.parent.mkdir(parents=True, exist_ok=True)
            shutil.copyfile(pictures[number % len(pictures)], path)
        for name, text in texts.pop("files", {}).items():
            path = tmp_path / name
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(text if isinstance(text, bytes) else text.encode())
        assert not texts
        return tmp_path

    return make

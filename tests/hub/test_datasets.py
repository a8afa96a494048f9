"""A data set of affective captions goes to the Hub and comes back as it was."""

import importlib.util
import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from hub_server import HubServer

from iec_hub.affect.caption_data import build_caption_data
from iec_hub.errors import HubError
from iec_hub.hub import publish_dataset

SCRIPT = Path(__file__).parents[2] / "training" / "build_affective_captions.py"
LOAD = """
import io, json
from datasets import load_dataset
from PIL import Image
found = load_dataset("me/captions")
rows = {split: [row["caption"] for row in found[split]] for split in found}
print(json.dumps({"rows": rows, "size": found["train"][0]["image"].size}))
"""


@pytest.fixture
def rated(tmp_path: Path, pictures: list[Path]) -> Path:
    """A data set of six pictures with ratings; one file is no picture."""
    folder = tmp_path / "rated"
    folder.mkdir()
    rows = [f"{path.name},{'train' if n < 4 else 'test'},{n / 2},4" for n, path in enumerate(pictures[:6])]
    for path in pictures[:6]:
        shutil.copyfile(path, folder / path.name)
    (folder / "broken.jpg").write_text("no picture")
    table = ["file_name,split,valence,arousal", *rows, "broken.jpg,train,1,1"]
    (folder / "metadata.csv").write_text("\n".join(table))
    return folder


def build(rated: Path, output: Path) -> Path:
    build_caption_data([rated], output, variants=1, workers=1, images="bytes")
    (output / "data" / "train.parquet.bak").write_text("a copy")
    (output / ".env").write_text("a secret")
    return output


def test_a_data_set_is_pushed_and_loaded_in_another_process(
    hub: HubServer, rated: Path, tmp_path: Path, command: Callable[..., Any]
) -> None:
    from datasets import load_dataset

    output = build(rated, tmp_path / "out")
    done = publish_dataset(output, "me/captions", tag="v1")
    repository = hub.repository("me/captions", "dataset")
    files = {"README.md", "skipped.csv", "data/train.parquet", "data/test.parquet"}
    assert repository.files() == {name: (output / name).read_bytes() for name in files}
    assert repository.private and repository.tags == {"v1": done.oid} and len(repository.messages) == 2
    loaded = command("-c", LOAD)
    assert loaded.returncode == 0, loaded.stderr
    found = json.loads(loaded.stdout.splitlines()[-1])
    for split, count in (("train", 4), ("test", 2)):
        here = load_dataset(
            "parquet", data_files=str(output / "data" / f"{split}.parquet"), cache_dir=str(tmp_path / "cache")
        )
        assert found["rows"][split] == here["train"]["caption"] and len(found["rows"][split]) == count
    assert min(found["size"]) > 0


def test_a_split_that_is_gone_goes_from_the_hub(hub: HubServer, rated: Path, tmp_path: Path) -> None:
    output = build(rated, tmp_path / "out")
    publish_dataset(output, "me/captions", private=False)
    repository = hub.repository("me/captions", "dataset")
    assert not repository.private
    repository.commit("main", repository.files() | {"notes.md": b"mine"}, "By hand")
    (output / "data" / "test.parquet").unlink()
    publish_dataset(output, "me/captions", private=False)
    assert set(repository.files()) == {"README.md", "skipped.csv", "data/train.parquet", "notes.md"}


def test_what_is_not_finished_is_refused(hub: HubServer, rated: Path, tmp_path: Path) -> None:
    output = build(rated, tmp_path / "out")
    table = output / "data" / "train.parquet"
    table.write_bytes(table.read_bytes()[:-10])
    with pytest.raises(HubError, match=r'"train\.parquet" in "out" is damaged'):
        publish_dataset(output, "me/captions")
    (output / "README.md").unlink()
    with pytest.raises(HubError, match="holds no finished data set"):
        publish_dataset(output, "me/captions")
    assert not hub.requests


def test_the_script_builds_and_pushes(
    hub: HubServer, rated: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    spec = importlib.util.spec_from_file_location("build_affective_captions", SCRIPT)
    assert spec is not None and spec.loader is not None
    script = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(script)
    arguments = ["--data", str(rated), "--output", str(tmp_path / "out"), "--variants", "1", "--workers", "1"]
    script.main([*arguments, "--push_to_hub", "me/captions"])
    assert hub.repository("me/captions", "dataset").private and "Pushed to http" in capsys.readouterr().out
    script.main([*arguments, "--push_to_hub", "me/public", "--public"])
    assert not hub.repository("me/public", "dataset").private
    with pytest.raises(SystemExit):
        script.main([*arguments, "--push_to_hub", "somebody-else/captions"])
    assert "needs write access to the name-space" in capsys.readouterr().err

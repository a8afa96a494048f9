"""The lists of models in the front matter of the Space's card follow what the page offers."""

import shutil
from pathlib import Path

import pytest
import yaml
from hub_server import HubServer

from iec_hub.errors import HubError
from iec_hub.hub import publish_space
from iec_hub.hub.space_card import space_card

ROOT = Path(__file__).parents[2]
BASE = "sentence-transformers/all-MiniLM-L6-v2"


@pytest.fixture
def clone(tmp_path: Path) -> Path:
    shutil.copy(ROOT / "README.md", tmp_path)
    return tmp_path


def front_matter(card: str) -> dict:
    return yaml.safe_load(card.split("---\n")[1])


def test_bundled_models_are_listed_by_what_they_were_built_from(clone: Path) -> None:
    card = front_matter(space_card(clone))
    assert card["models"] == [BASE] and "preload_from_hub" not in card


def test_models_from_the_hub_are_listed_and_loaded_before_the_start(clone: Path) -> None:
    before = (clone / "README.md").read_text(encoding="utf-8")
    (clone / "space.yaml").write_text(
        "models:\n  - me/adapter\n  - ugrie-mini\n  - model: me/other\n    revision: v1\n  - escnet-mini\n"
    )
    card = space_card(clone)
    changed = front_matter(card)
    assert changed["models"] == ["me/adapter", "me/other", BASE]
    assert changed["preload_from_hub"] == ["me/adapter"], "a revision cannot be loaded without naming each file"
    kept = {key: value for key, value in front_matter(before).items() if key not in ("models", "preload_from_hub")}
    assert kept.items() <= changed.items() and card.split("---\n", 2)[2] == before.split("---\n", 2)[2]
    # Writing it twice changes nothing, and what is no longer offered goes.
    (clone / "README.md").write_text(card, encoding="utf-8")
    assert space_card(clone) == card
    (clone / "space.yaml").write_text("models: [ugrie-mini]\n")
    assert front_matter(space_card(clone)) == kept | {"models": [BASE]}


def test_a_folder_of_this_disk_cannot_be_offered(clone: Path) -> None:
    (clone / "mine").mkdir()
    (clone / "space.yaml").write_text(f"models: ['{clone / 'mine'}']\n")
    with pytest.raises(HubError, match=r"space\.yaml offers the folder .*; push it, and name it"):
        space_card(clone)
    (clone / "README.md").write_text("# No front matter\n")
    with pytest.raises(HubError, match="no front matter"):
        space_card(clone)


def test_what_is_pushed_has_the_lists(hub: HubServer, tmp_path: Path) -> None:
    clone = tmp_path / "clone"
    ignored = shutil.ignore_patterns("__pycache__", "*.safetensors")
    shutil.copytree(ROOT / "iec_hub", clone / "iec_hub", ignore=ignored)
    for name in ("app.py", "requirements.txt", "README.md", "LICENSE"):
        shutil.copy(ROOT / name, clone)
    from safetensors.numpy import save_file

    for checkpoint in (clone / "iec_hub" / "checkpoints").iterdir():
        save_file({}, checkpoint / "model.safetensors")
    (clone / "space.yaml").write_text("models: [me/adapter]\n")
    publish_space("me/page", clone=clone)
    files = hub.repository("me/page", "space").files()
    assert front_matter(files["README.md"].decode())["preload_from_hub"] == ["me/adapter"]
    assert files["space.yaml"] == b"models: [me/adapter]\n"
    assert "me/adapter" not in (clone / "README.md").read_text(encoding="utf-8"), "the clone stays as it is"

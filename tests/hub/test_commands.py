"""`iec-hub push` and `iec-hub push-space`."""

import argparse
from pathlib import Path

import pytest
from hub_server import HubServer

from iec_hub.commands import push, push_space
from iec_hub.errors import HubError


def run(module, *words: str) -> int:
    parser = argparse.ArgumentParser(description=module.DESCRIPTION)
    module.add_arguments(parser)
    return module.run(parser.parse_args(words))


def test_push_says_what_is_where(hub: HubServer, run_folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    words = [str(run_folder), "me/mine", "--private", "--revision", "try-1", "--tag", "v1", "--message", "Mine"]
    assert run(push, *words) == 0
    repository = hub.repository("me/mine")
    assert repository.private and repository.messages == ["initial commit", "Mine"] and "v1" in repository.tags
    url = f"{hub.endpoint}/me/mine/commit/{repository.branches['try-1']}"
    shown = capsys.readouterr()
    assert shown.out == f"me/mine: 9 files, 0.4 MB, {url}\n" and not shown.err
    # The same again is no second commit.
    assert run(push, *words) == 0 and len(repository.messages) == 2


def test_push_of_a_data_set_is_private_by_itself(hub: HubServer, tmp_path: Path) -> None:
    (tmp_path / "data").mkdir()
    (tmp_path / "data" / "train.parquet").write_bytes(b"PAR1....PAR1")
    (tmp_path / "README.md").write_text("---\nlicense: other\n---\n")
    run(push, str(tmp_path), "me/captions", "--dataset")
    run(push, str(tmp_path), "me/public", "--dataset", "--public")
    assert hub.repository("me/captions", "dataset").private and not hub.repository("me/public", "dataset").private


def test_push_fails_with_one_sentence(hub: HubServer, run_folder: Path) -> None:
    with pytest.raises(HubError, match="name-space"):
        run(push, str(run_folder), "somebody-else/theirs")
    with pytest.raises(HubError, match="no finished data set"):
        run(push, str(run_folder), "me/mine", "--dataset")
    with pytest.raises(SystemExit):
        run(push, str(run_folder), "me/mine", "--private", "--public")


def test_push_space_asks_for_what_the_options_say(hub: HubServer, monkeypatch: pytest.MonkeyPatch) -> None:
    asked = {}

    def publish(repo_id: str, **settings: object) -> object:
        from iec_hub.hub import Publication

        asked.update(settings, repo_id=repo_id)
        return Publication(repo_id, "url", "url/commit", "0" * 40, ("app.py",), 10)

    monkeypatch.setattr("iec_hub.hub.publishing.publish_space", publish)
    assert run(push_space, "me/page", "--private", "--hardware", "zero-a10g") == 0
    assert asked == {"repo_id": "me/page", "private": True, "hardware": "zero-a10g", "message": None}

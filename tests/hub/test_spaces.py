"""The Space is pushed from a clone: everything that it needs, and nothing else."""

import json
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from hub_server import HubServer

from iec_hub.errors import HubError
from iec_hub.hub import publish_space
from iec_hub.hub.contents import space_contents

ROOT = Path(__file__).parents[2]


@pytest.fixture(scope="module")
def in_git() -> set[str]:
    done = subprocess.run(["git", "ls-files", "-z"], cwd=ROOT, capture_output=True, text=True)
    if done.returncode:
        pytest.skip("not in a clone")
    return {name for name in done.stdout.split("\0") if name and (ROOT / name).is_file()}


@pytest.fixture
def clone(tmp_path: Path) -> Path:
    """A clone with checkpoints of a few bytes, and with what lies about in a person's folder."""
    folder = tmp_path / "clone"
    shutil.copytree(
        ROOT / "iec_hub", folder / "iec_hub", ignore=shutil.ignore_patterns("__pycache__", "*.safetensors")
    )
    for name in ("app.py", "requirements.txt", "README.md", "LICENSE", "pyproject.toml"):
        shutil.copy(ROOT / name, folder)
    from safetensors.numpy import save_file

    for checkpoint in (folder / "iec_hub" / "checkpoints").iterdir():
        save_file({}, checkpoint / "model.safetensors")
    for name in (".env", "iec_hub/.env", "iec_hub/key.json", "runs/me/model.safetensors", "iec_hub/space/secret.txt"):
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_text("HF_TOKEN=hf_something")
    (folder / "tests").mkdir()
    (folder / "tests" / "test_x.py").write_text("")
    (folder / "iec_hub" / "__pycache__").mkdir(exist_ok=True)
    (folder / "iec_hub" / "__pycache__" / "x.py").write_text("")
    return folder


def test_all_of_the_package_that_is_in_git_goes_with_it(in_git: set[str]) -> None:
    contents = space_contents(ROOT)
    package = {name for name in in_git if name.startswith("iec_hub/")}
    assert package <= contents.files.keys()
    assert {"app.py", "requirements.txt", "README.md", "LICENSE"} <= contents.files.keys()
    # Links and pictures of the README lead somewhere.
    readme = (ROOT / "README.md").read_text(encoding="utf-8")
    linked = {name for name in re.findall(r"\]\(((?:docs|model_cards)/[^)#]+)\)", readme) if (ROOT / name).is_file()}
    assert linked and linked <= contents.files.keys()
    assert not [name for name in contents.files if name.startswith(("tests/", "training/", "benchmarks/", "."))]
    weights = sum(path.stat().st_size for name, path in contents.files.items() if name.endswith(".safetensors"))
    assert weights / len([n for n in contents.files if n.endswith("model.safetensors")]) <= 30_000_000
    assert contents.size() - weights < 20_000_000, "what is no weight is small"


def test_the_space_is_one_commit_of_a_gradio_space(hub: HubServer, clone: Path) -> None:
    done = publish_space("me/page", clone=clone, private=True, hardware="t4-small")
    repository = hub.repository("me/page", "space")
    assert repository.created["sdk"] == "gradio" and repository.private and repository.hardware == "t4-small"
    assert not {"secrets", "variables"} & repository.created.keys()
    assert len(repository.messages) == 2 and set(done.files) == set(repository.files())
    files = repository.files()
    assert files["app.py"] == (clone / "app.py").read_bytes() and "iec_hub/cli.py" in files
    assert not [name for name in files if name.startswith(("tests", "runs", "pyproject")) or "pycache" in name]
    assert not [body for body in hub.received if b"hf_something" in body]
    assert "iec_hub/checkpoints/ugrie-mini/model.safetensors" in files


def test_a_module_that_was_renamed_goes_from_the_space(hub: HubServer, clone: Path) -> None:
    publish_space("me/page", clone=clone)
    repository = hub.repository("me/page", "space")
    repository.commit("main", repository.files() | {"iec_hub/old.py": b"", "notes.txt": b"mine"}, "By hand")
    (clone / "iec_hub" / "pipeline.py").rename(clone / "iec_hub" / "pipelines.py")
    publish_space("me/page", clone=clone)
    files = repository.files()
    assert not {"iec_hub/old.py", "iec_hub/pipeline.py"} & files.keys()
    assert {"iec_hub/pipelines.py", "notes.txt", "app.py"} <= files.keys()


def test_outside_a_clone_nothing_is_pushed(hub: HubServer, clone: Path, tmp_path: Path) -> None:
    with pytest.raises(HubError, match="The Space is pushed from a clone of iec-hub's repository; clone it"):
        publish_space("me/page", clone=tmp_path)
    (clone / "iec_hub" / "checkpoints" / "escnet-mini" / "model.safetensors").write_text("version https://git-lfs")
    with pytest.raises(HubError, match=r"model\.safetensors in escnet-mini is damaged or not whole"):
        publish_space("me/page", clone=clone)
    (clone / "iec_hub" / "checkpoints" / "escnet-mini" / "model.safetensors").unlink()
    with pytest.raises(HubError, match="bundled checkpoint escnet-mini is missing in this clone"):
        publish_space("me/page", clone=clone)
    text = (clone / "README.md").read_text(encoding="utf-8")
    (clone / "README.md").write_text(text.replace("sdk: gradio", "sdk: docker"), encoding="utf-8")
    with pytest.raises(HubError, match="has no `sdk: gradio`"):
        publish_space("me/page", clone=clone)
    assert not hub.requests


def test_a_package_that_is_installed_elsewhere_pushes_the_clone_in_which_one_is(
    hub: HubServer, clone: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    import iec_hub

    monkeypatch.setattr(iec_hub, "__file__", str(tmp_path / "site-packages" / "iec_hub" / "__init__.py"))
    monkeypatch.chdir(clone)
    (clone / "space.yaml").write_text("models: [ugrie-mini]\n")
    publish_space("me/page")
    assert hub.repository("me/page", "space").files()["space.yaml"] == b"models: [ugrie-mini]\n"
    monkeypatch.chdir(tmp_path)
    with pytest.raises(HubError, match="The Space is pushed from a clone"):
        publish_space("me/page")


def test_what_was_pushed_starts(hub: HubServer, tmp_path: Path) -> None:
    """The files that the Space gets are enough to load its models and build its page; only launching is left out."""
    folder = tmp_path / "space"
    for name, path in space_contents(ROOT).files.items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).symlink_to(path) if name.endswith(".safetensors") else shutil.copy(path, folder / name)
    (folder / "space.yaml").write_text("models: [aciec-mini, ugrie-mini]\n")
    code = """
import json, app, iec_hub
prediction = app.predictors["ugrie"].predict(["iec_hub/space/examples/pizza.jpg"])[0]
named = [function.api_name for function in app.page.fns.values() if function.api_visibility == "public"]
print(json.dumps([iec_hub.__file__, prediction.summary(), named, list(app.predictors)]))
"""
    environment = {name: value for name, value in os.environ.items() if not name.startswith("IEC_HUB_SPACE")}
    environment |= {"HF_HUB_OFFLINE": "1", "CUDA_VISIBLE_DEVICES": ""}
    command = [sys.executable, "-c", code]
    done = subprocess.run(command, cwd=folder, env=environment, capture_output=True, text=True, timeout=120)
    assert done.returncode == 0, done.stderr
    where, top, named, offered = json.loads(done.stdout.splitlines()[-1])
    assert Path(where).is_relative_to(folder) and top
    assert named == ["predict", "predict_batch", "concepts", "reason", "read_text"] and offered == ["aciec", "ugrie"]

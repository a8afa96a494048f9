"""What a push puts on the Hub, and what it leaves on the machine."""

import json
from pathlib import Path

import pytest
from finished_runs import CARD, SECRET, STAYS, make_run
from hub_server import HubServer
from safetensors.torch import save_file

from iec_hub.errors import HubError
from iec_hub.hub import publish_run

RUN_FILES = {
    "README.md",
    "config.json",
    "metrics.json",
    "model.safetensors",
    "pictures/learning_curve.png",
    "processor_config.json",
    "tokenizer.json",
    "tokenizer_config.json",
    "training.json",
}


def test_one_commit_holds_what_belongs_to_the_run_and_nothing_else(hub: HubServer, run_folder: Path) -> None:
    done = publish_run(run_folder, "me/mine")
    repository = hub.repository("me/mine")
    assert repository.files() == {name: (run_folder / name).read_bytes() for name in RUN_FILES}
    assert repository.messages[1:] == ["Push with iec-hub 0.1.0"] and repository.branches == {"main": done.oid}
    assert set(done.files) == RUN_FILES and done.size == sum(map(len, repository.files().values()))
    assert done.commit_url.endswith(f"/me/mine/commit/{done.oid}") and done.repo_id == "me/mine"
    assert all((run_folder / name).is_file() for name in STAYS), "the folder itself is left as it is"
    # Not in the repository, and not in any request either.
    assert hub.received and not [body for body in hub.received if SECRET.encode() in body]


@pytest.mark.parametrize("private", [None, True, False])
def test_who_can_see_it_is_the_callers_choice(hub: HubServer, run_folder: Path, private: bool | None) -> None:
    publish_run(run_folder, "me/mine", private=private)
    wanted = {None: None, True: "private", False: "public"}[private]
    assert hub.repository("me/mine").created.get("visibility") == wanted


def test_what_is_to_be_private_never_goes_where_everybody_sees_it(hub: HubServer, run_folder: Path) -> None:
    hub.add("me/mine")
    with pytest.raises(HubError, match='"me/mine" exists and everybody can see it; make it private'):
        publish_run(run_folder, "me/mine", private=True)
    assert not hub.repository("me/mine").files() and not hub.lfs


def test_a_name_without_an_owner_is_under_the_tokens_owner(hub: HubServer, run_folder: Path) -> None:
    assert publish_run(run_folder, "mine").repo_id == "me/mine"
    assert hub.repository("me/mine").files()


def test_a_branch_is_made_where_it_is_missing(hub: HubServer, run_folder: Path) -> None:
    for _ in range(2):
        done = publish_run(run_folder, "me/mine", revision="more-pictures")
    repository = hub.repository("me/mine")
    assert set(repository.files("more-pictures")) == RUN_FILES and not repository.files("main")
    assert repository.branches["more-pictures"] == done.oid


def test_a_tag_stays_where_it_was_put(hub: HubServer, run_folder: Path) -> None:
    first = publish_run(run_folder, "me/mine", tag="v1", message="The first")
    # Repeating a push changes nothing: no second commit, and the tag is right already.
    assert publish_run(run_folder, "me/mine", tag="v1").oid == first.oid
    repository = hub.repository("me/mine")
    assert repository.tags == {"v1": first.oid} and repository.messages == ["initial commit", "The first"]
    (run_folder / "metrics.json").write_text("{}")
    with pytest.raises(HubError, match='was pushed, but its tag "v1" stays on the commit before'):
        publish_run(run_folder, "me/mine", tag="v1")
    before = dict(repository.branches)
    (run_folder / "metrics.json").write_text('{"seed": 2}')
    with pytest.raises(HubError, match='has the tag "v1" on another commit; choose another tag'):
        publish_run(run_folder, "me/mine", tag="v1")
    assert repository.branches == before, "found out before anything was changed"
    assert publish_run(run_folder, "me/mine", tag="v2").oid == repository.tags["v2"] != first.oid
    with pytest.raises(HubError, match='"v2" is a tag of "me/mine"'):
        publish_run(run_folder, "me/mine", revision="v2")


def test_weights_of_an_earlier_push_do_not_lie_beside_an_adapter(hub: HubServer, run_folder: Path) -> None:
    publish_run(run_folder, "me/mine")
    repository = hub.repository("me/mine")
    by_hand = {"NOTES.md": b"mine", "LICENSE": b"free", "demo/app.py": b"pass"}
    repository.commit("main", repository.files() | by_hand, "By hand")
    (run_folder / "model.safetensors").unlink()
    (run_folder / "pictures" / "learning_curve.png").unlink()
    make_adapter(run_folder, "ugrie-mini")
    publish_run(run_folder, "me/mine")
    gone, new = {"model.safetensors", "pictures/learning_curve.png"}, {"adapter_config.json"}
    new |= {"adapter_model.safetensors"}
    assert set(repository.files()) == (RUN_FILES - gone) | new | set(by_hand)
    assert {name: repository.files()[name] for name in by_hand} == by_hand


def make_adapter(folder: Path, base: str, **config: object) -> None:
    import torch

    save_file({"lora": torch.ones(2)}, folder / "adapter_model.safetensors")
    (folder / "adapter_config.json").write_text(json.dumps({"base_model_name_or_path": base}))
    (folder / "config.json").write_text(json.dumps(json.loads((folder / "config.json").read_text()) | config))


@pytest.fixture
def adapter_folder(run_folder: Path) -> Path:
    (run_folder / "model.safetensors").unlink()
    return run_folder


def test_an_adapter_whose_base_nobody_else_has_is_refused(hub: HubServer, adapter_folder: Path) -> None:
    for base in (str(adapter_folder / "base"), "./runs/base", "C:\\runs\\base", "~/base"):
        make_adapter(adapter_folder, base)
        with pytest.raises(HubError, match=r"is a folder on this disk; push the base first .* or merge"):
            publish_run(adapter_folder, "me/mine")
    make_adapter(adapter_folder, "base")
    with pytest.raises(HubError, match='base "base" is a folder on this disk'):
        publish_run(adapter_folder, "me/mine")
    make_adapter(adapter_folder, "runs/base")
    with pytest.raises(HubError, match='base "runs/base" is not on the Hub; push the base first'):
        publish_run(adapter_folder, "me/mine")
    make_adapter(adapter_folder, "", backbones={"vision": "me/tower", "text": "me/missing"})
    hub.add("me/tower")
    with pytest.raises(HubError, match='base "me/missing" is not on the Hub'):
        publish_run(adapter_folder, "me/mine")
    assert [name for _, name in hub.repositories] == ["me/tower"]


@pytest.mark.parametrize("backbones", [{"vision": "me/tower", "text": "me/text"}, ["me/tower", "me/text"]])
def test_an_adapter_of_known_bases_is_published(
    hub: HubServer, adapter_folder: Path, backbones: object, monkeypatch: pytest.MonkeyPatch
) -> None:
    hub.add("me/tower", private=True)
    hub.add("me/text")
    make_adapter(adapter_folder, "me/tower")
    publish_run(adapter_folder, "me/one")
    # The bundled checkpoint is meant, whatever lies beside the run.
    (adapter_folder.parent / "ugrie-mini").mkdir()
    make_adapter(adapter_folder, "ugrie-mini")
    publish_run(adapter_folder, "me/one")
    make_adapter(adapter_folder, "", backbones=backbones)
    publish_run(adapter_folder, "me/two")
    assert "adapter_model.safetensors" in hub.repository("me/two").files()
    # A folder of the same name takes precedence when the adapter is loaded here, so it is what was trained on.
    (adapter_folder.parent / "me" / "tower").mkdir(parents=True)
    monkeypatch.chdir(adapter_folder.parent)
    with pytest.raises(HubError, match='base "tower" is a folder on this disk'):
        publish_run(adapter_folder, "me/one")


def broken(folder: Path, name: str) -> None:
    path = folder / name
    if name == "README.md":
        path.write_text("---\nlicense: [\n---\n")
    elif name == "model.safetensors":
        path.write_bytes(path.read_bytes()[:-100])
    else:
        path.write_text("{")


@pytest.mark.parametrize("name", ["README.md", "model.safetensors", "config.json"])
def test_what_is_not_whole_is_refused_before_the_hub_is_asked(hub: HubServer, run_folder: Path, name: str) -> None:
    broken(run_folder, name)
    with pytest.raises(HubError, match=f"{name} in .*(damaged|cannot be read)"):
        publish_run(run_folder, "me/mine")
    (run_folder / name).unlink()
    with pytest.raises(HubError, match=r"no card|no model\.safetensors|has no config\.json"):
        publish_run(run_folder, "me/mine")
    assert not hub.requests


def test_a_checkpoint_in_parts_needs_all_of_them(hub: HubServer, run_folder: Path) -> None:
    (run_folder / "model.safetensors").rename(run_folder / "model-00001-of-00002.safetensors")
    index = {"weight_map": {"a": "model-00001-of-00002.safetensors", "b": "model-00002-of-00002.safetensors"}}
    (run_folder / "model.safetensors.index.json").write_text(json.dumps(index))
    with pytest.raises(HubError, match=r'lacks "model-00002-of-00002\.safetensors"'):
        publish_run(run_folder, "me/mine")
    (run_folder / "model-00002-of-00002.safetensors").write_bytes(
        (run_folder / "model-00001-of-00002.safetensors").read_bytes()
    )
    publish_run(run_folder, "me/mine")
    assert len([name for name in hub.repository("me/mine").files() if name.endswith(".safetensors")]) == 2


def test_a_folder_with_a_model_and_an_adapter_says_neither(hub: HubServer, run_folder: Path, tmp_path: Path) -> None:
    make_adapter(run_folder, "ugrie-mini")
    with pytest.raises(HubError, match="a whole model and an adapter; keep one of them"):
        publish_run(run_folder, "me/mine")
    with pytest.raises(HubError, match='There is no folder ".*missing"'):
        publish_run(tmp_path / "missing", "me/mine")


@pytest.mark.parametrize(
    "secret", ["hf_test", "hf_" + "a1B2" * 9, "AKIA" + "A1B2" * 4, "-----BEGIN OPENSSH PRIVATE KEY-----"]
)
def test_a_text_with_a_token_in_it_is_refused(hub: HubServer, run_folder: Path, secret: str) -> None:
    (run_folder / "training.json").write_text(json.dumps({"hub_token": secret}))
    with pytest.raises(HubError, match=r'"training\.json" holds what looks like an access token') as caught:
        publish_run(run_folder, "me/mine")
    assert secret not in str(caught.value) and not hub.requests


def test_the_hub_has_its_own_say_about_the_card(hub: HubServer, run_folder: Path) -> None:
    (run_folder / "README.md").write_text(CARD.replace("other", "{a: b}"))
    with pytest.raises(HubError, match=r'refuses the metadata at the top of README\.md .*"license" must be a string'):
        publish_run(run_folder, "me/mine")
    assert not hub.repository("me/mine").files() and not hub.lfs


def test_a_processor_of_several_tokenizers_is_pushed_whole(
    hub: HubServer, tiny_escnet_dir: Path, tmp_path: Path
) -> None:
    folder = make_run(tiny_escnet_dir, tmp_path / "escnet")
    expected = {path.relative_to(tiny_escnet_dir).as_posix() for path in tiny_escnet_dir.rglob("*") if path.is_file()}
    publish_run(folder, "me/escnet")
    assert expected <= set(hub.repository("me/escnet").files())

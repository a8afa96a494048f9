"""A push that fails: one sentence that says what to do, nothing lost, and nothing half-done on the Hub."""

import threading
from pathlib import Path

import pytest
from hub_server import HubServer
from transformers import TrainingArguments

from iec_hub.errors import HubError
from iec_hub.hub import check_push, failures, publish_run, push_after_training

NAME = "me/mine"


def whole_or_nothing(hub: HubServer, run_folder: Path) -> bool:
    """Whether the repository holds the run; it must hold all of it or nothing."""
    if ("model", NAME) not in hub.repositories or not hub.repository(NAME).files():
        return False
    assert hub.repository(NAME).files()["model.safetensors"] == (run_folder / "model.safetensors").read_bytes()
    assert {"README.md", "config.json", "tokenizer.json"} <= set(hub.repository(NAME).files())
    return True


@pytest.mark.parametrize(
    "where", ["POST /api/repos/create", "preupload", "objects/batch", "PUT /lfs/", "/commit/main"]
)
@pytest.mark.parametrize("status", [429, 500, 503])
def test_what_passes_is_tried_again(
    hub: HubServer, run_folder: Path, no_waiting: list[float], where: str, status: int
) -> None:
    hub.fail(where, status, headers={"Retry-After": "7"} if status == 429 else {}, times=2)
    done = publish_run(run_folder, NAME)
    assert whole_or_nothing(hub, run_folder) and len(hub.repository(NAME).messages) == 2
    assert done.oid == hub.repository(NAME).branches["main"]
    # As long as the Hub asks for; the client itself adds a second.
    assert set(no_waiting) <= ({7, 8} if status == 429 else {1, 2}) and len(no_waiting) == 2


def test_a_page_in_place_of_json_is_trouble_of_the_hubs(
    hub: HubServer, run_folder: Path, no_waiting: list[float]
) -> None:
    hub.fail("/api/validate-yaml", 502, text="<html>Bad gateway</html>")
    publish_run(run_folder, NAME)
    assert whole_or_nothing(hub, run_folder) and no_waiting == [1]


@pytest.mark.parametrize("drop_after", [0, 1000])
@pytest.mark.parametrize("where", ["POST /api/repos/create", "PUT /lfs/", "/commit/main"])
def test_a_server_that_hangs_up_is_asked_again(
    hub: HubServer, run_folder: Path, no_waiting: list[float], where: str, drop_after: int
) -> None:
    hub.fail(where, drop_after=drop_after, times=2)
    publish_run(run_folder, NAME)
    assert whole_or_nothing(hub, run_folder) and len(hub.repository(NAME).messages) == 2
    assert set(no_waiting) <= {1, 2} and len(no_waiting) == 2


def test_a_commit_whose_answer_got_lost_is_not_made_twice(
    hub: HubServer, run_folder: Path, no_waiting: list[float]
) -> None:
    publish_run(run_folder, NAME)
    old = hub.repository(NAME).files()
    hub.repository(NAME).commit("main", old | {"vocab.txt": b"old", "tokenizer.model": b"old"}, "By hand")
    hub.fail("/commit/main", status=None, lose_answer=True)
    done = publish_run(run_folder, NAME, tag="v1")
    repository = hub.repository(NAME)
    assert repository.files() == old and len(repository.messages) == 4 and no_waiting == [1]
    assert repository.tags == {"v1": done.oid} and repository.branches["main"] == done.oid


@pytest.mark.parametrize(
    ("where", "status", "sentence"),
    [
        ("repos/create", 401, "does not accept this token .*; run `hf auth login`, or set HF_TOKEN to a token with"),
        ("repos/create", 402, "wants a payment method"),
        ("repos/create", 403, "may not write to .* needs write access to the name-space"),
        ("preupload", 404, 'There is no "me/mine" that this token can see; check the name'),
        ("/commit/", 409, 'Somebody else changed "me/mine" during the push .*, and push again'),
        ("/commit/", 412, 'Somebody else changed "me/mine" during the push .*, and push again'),
        ("/commit/", 413, r"The Hub refuses .* with status 413 \(injected\)"),
        ("/commit/", 400, r"The Hub refuses .* with status 400 \(injected\)"),
        ("repos/create", 500, r"has trouble of its own \(status 500\); push .* again later"),
        ("PUT /lfs/", 503, r"has trouble of its own \(status 503\)"),
        ("/commit/", 429, "asks for fewer requests; push .* again in some minutes"),
    ],
)
def test_what_stays_is_one_sentence_and_the_push_can_be_repeated(
    hub: HubServer, run_folder: Path, no_waiting: list[float], where: str, status: int, sentence: str
) -> None:
    before = {path: path.read_bytes() for path in run_folder.rglob("*") if path.is_file()}
    hub.fail(where, status, times=100)
    with pytest.raises(HubError, match=sentence) as caught:
        publish_run(run_folder, NAME)
    assert str(caught.value).endswith(".") and "\n" not in str(caught.value) and "hf_test" not in str(caught.value)
    assert not whole_or_nothing(hub, run_folder)
    assert {path: path.read_bytes() for path in run_folder.rglob("*") if path.is_file()} == before
    hub.failures.clear()
    publish_run(run_folder, NAME)
    assert whole_or_nothing(hub, run_folder)


def test_a_long_wait_is_the_callers_decision(hub: HubServer, run_folder: Path, no_waiting: list[float]) -> None:
    hub.fail("/commit/", 429, headers={"Retry-After": "3600"})
    with pytest.raises(HubError, match='push "me/mine" again in 3600 seconds'):
        publish_run(run_folder, NAME)
    hub.failures.clear()
    hub.fail("/commit/", 429, headers={"RateLimit": '"api";r=0;t=900'})
    with pytest.raises(HubError, match="in 900 seconds"):
        publish_run(run_folder, NAME)
    assert not no_waiting


def test_a_server_that_says_nothing_is_not_waited_for_for_ever(
    hub: HubServer, run_folder: Path, no_waiting: list[float], monkeypatch: pytest.MonkeyPatch
) -> None:
    from huggingface_hub import get_session

    monkeypatch.setattr(failures, "LONGEST_SILENCE", 0.05)
    hub.latency = 0.3
    with pytest.raises(HubError, match="The Hub cannot be reached, or hung up"):
        publish_run(run_folder, NAME)
    assert no_waiting == [1, 2, 4, 8] and get_session().timeout.read is None, (
        "other users of the client wait as before"
    )


def test_a_hub_that_is_switched_off_says_how_to_switch_it_on(
    hub: HubServer, run_folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from huggingface_hub import constants

    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", True)
    with pytest.raises(HubError, match="switched off by HF_HUB_OFFLINE or TRANSFORMERS_OFFLINE; unset it"):
        publish_run(run_folder, NAME)


def test_words_of_the_server_are_shown_on_one_line_and_without_tokens(hub: HubServer, run_folder: Path) -> None:
    hub.fail("/commit/", 400, text='{"error": "no\\n\\u001b[31mhf_secretsecret' + "x" * 500 + '"}')
    with pytest.raises(HubError) as caught:
        publish_run(run_folder, NAME)
    assert "hf_secret" not in str(caught.value) and "\x1b" not in str(caught.value) and len(str(caught.value)) < 400


@pytest.mark.parametrize(
    ("token", "name", "sentence"),
    [
        ("hf_wrong", NAME, "does not accept this token .*; run `hf auth login`"),
        ("hf_read", NAME, 'may not write to "me/mine" .*write access to the name-space "me"'),
        ("hf_test", "somebody-else/theirs", 'write access to the name-space "somebody-else"'),
    ],
)
def test_a_token_that_may_not(hub: HubServer, run_folder: Path, token: str, name: str, sentence: str) -> None:
    with pytest.raises(HubError, match=sentence) as caught:
        publish_run(run_folder, name, token=token)
    assert token not in str(caught.value) and not hub.repositories


def test_somebody_elses_repository_is_left_alone(hub: HubServer, run_folder: Path) -> None:
    theirs = hub.add("somebody-else/theirs")
    with pytest.raises(HubError, match='may not write to "somebody-else/theirs"'):
        publish_run(run_folder, "somebody-else/theirs")
    hub.add("somebody-else/secret", private=True)
    with pytest.raises(HubError, match='may not write to "somebody-else/secret"'):
        publish_run(run_folder, "somebody-else/secret")
    assert not theirs.files() and not hub.lfs


def test_without_a_login_the_hub_is_not_asked(
    hub: HubServer, run_folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("HF_TOKEN")
    with pytest.raises(HubError, match="Pushing needs a login; run `hf auth login`, or set HF_TOKEN"):
        publish_run(run_folder, NAME)
    assert not hub.requests


@pytest.mark.parametrize(
    "name", ["a b/c", "me/mine/deep", "me/", "/mine", "https://huggingface.co/me/mine", "me/x.git"]
)
def test_what_cannot_be_a_name(hub: HubServer, run_folder: Path, name: str) -> None:
    with pytest.raises(HubError, match="cannot be a name on the Hub; a name is OWNER/NAME"):
        publish_run(run_folder, name)
    assert not hub.requests


@pytest.mark.parametrize("name", ["", "a b", "../main", "v1..2", "-x", "x.lock", "0123456789" * 4])
def test_what_cannot_be_a_branch_or_a_tag(hub: HubServer, run_folder: Path, name: str) -> None:
    with pytest.raises(HubError, match="cannot be the name of a branch; a name is like v1"):
        publish_run(run_folder, NAME, revision=name)
    with pytest.raises(HubError, match="cannot be the name of a tag"):
        publish_run(run_folder, NAME, tag=name)
    assert not hub.requests


def test_a_change_by_somebody_else_during_the_push_is_not_overwritten(hub: HubServer, run_folder: Path) -> None:
    def meanwhile(repository):
        hub.before_commit = None
        repository.commit("main", {"README.md": b"theirs"}, "Theirs")

    hub.before_commit = meanwhile
    with pytest.raises(HubError, match='Somebody else changed "me/mine" during the push'):
        publish_run(run_folder, NAME)
    assert hub.repository(NAME).files() == {"README.md": b"theirs"}
    publish_run(run_folder, NAME)
    assert whole_or_nothing(hub, run_folder)


def test_a_server_that_dies_in_the_middle_and_comes_back(
    hub: HubServer, run_folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(failures, "FIRST_WAIT", 0.05)
    hub.fail("/commit/", drop_after=1000, then=lambda: threading.Thread(target=hub.stop).start())
    with pytest.raises(
        HubError, match='The Hub cannot be reached, or hung up; check the connection and push "me/mine"'
    ):
        publish_run(run_folder, NAME)
    assert not whole_or_nothing(hub, run_folder)
    hub.start()
    publish_run(run_folder, NAME)
    assert whole_or_nothing(hub, run_folder)
    assert len([line for line in hub.requests if line.startswith("PUT /lfs/")]) == 2, "what had arrived stays there"


def training_arguments(folder: Path, **fields: object) -> TrainingArguments:
    settings = {"output_dir": str(folder), "push_to_hub": True, "hub_model_id": NAME, "use_cpu": True}
    return TrainingArguments(**(settings | fields))


def test_a_push_after_training_follows_the_training_arguments(hub: HubServer, run_folder: Path) -> None:
    done = push_after_training(
        training_arguments(run_folder, hub_private_repo=True, hub_revision="try-2", hub_token="hf_test"), run_folder
    )
    assert hub.repository(NAME).private and hub.repository(NAME).branches["try-2"] == done.oid
    assert push_after_training(training_arguments(run_folder, hub_model_id=None), run_folder).repo_id == "me/run"


def test_a_failed_push_after_training_says_where_the_run_is(hub: HubServer, run_folder: Path, tmp_path: Path) -> None:
    folder = run_folder.rename(tmp_path / "my run")
    arguments = training_arguments(folder, hub_token="hf_wrong", hub_private_repo=True, hub_revision="try-2")
    with pytest.raises(HubError) as caught:
        push_after_training(arguments, folder)
    told = str(caught.value)
    assert f"the run is kept in {folder}, push it with: " in told and "hf_wrong" not in told
    assert told.endswith(f"iec-hub push '{folder}' me/mine --private --revision try-2")


def test_a_push_that_cannot_work_is_found_out_before_the_training(hub: HubServer, tmp_path: Path) -> None:
    check_push(training_arguments(tmp_path))
    check_push(training_arguments(tmp_path, push_to_hub=False, hub_model_id="not a name"))
    with pytest.raises(HubError, match="OWNER/NAME"):
        check_push(training_arguments(tmp_path, hub_model_id="not a name"))
    with pytest.raises(HubError, match="does not accept this token"):
        check_push(training_arguments(tmp_path, hub_token="hf_wrong"))

"""One atomic commit on the Hub: of a training run, of a data set, of the Space.

Whatever happens in between, the repository holds either all of a push or nothing of it, and a push can be repeated:
what has arrived already is not sent again.
"""

from __future__ import annotations

import logging
import os
import re
import shlex
from dataclasses import dataclass, replace
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import iec_hub
from iec_hub.data.labels import shown
from iec_hub.errors import HubError
from iec_hub.hub.contents import CARD, Contents, dataset_contents, run_contents, space_contents
from iec_hub.hub.failures import LOG_IN, retried, wrong_name
from iec_hub.hub.space_card import space_card
from iec_hub.registry import BUNDLED_CHECKPOINTS

logger = logging.getLogger(__name__)

MAIN = "main"
# What git and the Hub both take as the name of a branch or tag.
_REFERENCE = re.compile(r"(?!.*(?:\.\.|//|\.lock$))[A-Za-z0-9][\w./-]{0,99}(?<![./])")
_COMMIT = re.compile(r"[0-9a-f]{40}")


@dataclass(frozen=True)
class Publication:
    """What is on the Hub after a push.

    Attributes:
        repo_id: "owner/name".
        url: the repository's page; `commit_url`: the commit's.
        oid: the commit's name, to be used as `revision`.
        files: paths in the repository.
        size: of all files, in bytes; what the Hub had already was not sent again.
    """

    repo_id: str
    url: str
    commit_url: str
    oid: str
    files: tuple[str, ...]
    size: int


def publish_run(
    folder: str | os.PathLike[str],
    repo_id: str,
    *,
    private: bool | None = None,
    revision: str | None = None,
    tag: str | None = None,
    token: str | None = None,
    message: str | None = None,
) -> Publication:
    """Publish a training run or a checkpoint as a model.

    One commit holds weights or adapter, processor, settings, figures, pictures and the card. Checkpoints of the
    training and anything else in the folder stay where they are; weights of an earlier push that this run does not
    have are deleted in the same commit.

    Args:
        folder: of a finished run.
        repo_id: "owner/name" on the Hub; "name" alone is under the token's owner.
        private: whether only its owner sees it; left out, as the account has it for new repositories.
        revision: a branch, made where it is missing; left out, "main".
        tag: put on the commit.
        token: left out, HF_TOKEN or that of `hf auth login`.
        message: of the commit.

    Raises:
        HubError: with one sentence, if the folder holds no whole run or the Hub does not take it.
    """
    contents = run_contents(Path(folder))
    return _publish(contents, repo_id, private, revision, tag, token, message)


def publish_dataset(
    folder: str | os.PathLike[str],
    repo_id: str,
    *,
    private: bool | None = True,
    revision: str | None = None,
    tag: str | None = None,
    token: str | None = None,
    message: str | None = None,
) -> Publication:
    """Publish what `training/build_affective_captions.py` built as a data set; arguments as in :func:`publish_run`.

    Private unless that is switched off: read the terms of the source data first.

    Raises:
        HubError: with one sentence, if the folder holds no finished data set or the Hub does not take it.
    """
    return _publish(dataset_contents(Path(folder)), repo_id, private, revision, tag, token, message)


def publish_space(
    repo_id: str,
    *,
    clone: str | os.PathLike[str] | None = None,
    private: bool | None = None,
    hardware: str | None = None,
    token: str | None = None,
    message: str | None = None,
) -> Publication:
    """Publish the page of this project as a Gradio Space; no secrets and no variables are sent.

    The lists of models in its card's front matter are those that its `space.yaml` offers, whatever stood there.

    Args:
        clone: of this project's repository; left out, the one that the package is imported from, or for a package
            that is installed elsewhere, the current folder.
        hardware: such as "t4-small" or "zero-a10g"; left out, as it is, or the free processor for a new Space.
        repo_id, private, token, message: as in :func:`publish_run`.

    Raises:
        HubError: with one sentence, if this is no clone or the Hub does not take it.
    """
    clone = Path(clone) if clone else _current_clone()
    contents = space_contents(clone)
    with TemporaryDirectory() as folder:
        card = Path(folder) / CARD
        card.write_text(space_card(clone), encoding="utf-8")
        contents = replace(contents, files={**contents.files, CARD: card})
        done = _publish(contents, repo_id, private, None, None, token, message)
    if hardware:
        api = _client(_token(token))
        retried(lambda: api.request_space_hardware(done.repo_id, hardware), done.repo_id)
    return done


def check_push(arguments: Any) -> None:
    """Look before a long training whether its push can work: the name, the login, and whether the Hub knows the token.

    Args:
        arguments: `TrainingArguments` with `push_to_hub`, `hub_model_id` and `hub_token`; nothing is checked without
            `push_to_hub`.

    Raises:
        HubError: with one sentence.
    """
    if arguments.push_to_hub:
        name = _name(arguments)
        _check_name(name)
        retried(_client(_token(arguments.hub_token)).whoami, name)


def push_after_training(arguments: Any, folder: str | os.PathLike[str]) -> Publication:
    """Publish a finished run as `hub_model_id`, with `hub_private_repo`, `hub_revision` and `hub_token`.

    Call it in one process only, and keep `push_to_hub` from the Trainer, which would push its checkpoints too.

    Args:
        arguments: `TrainingArguments`; without `hub_model_id` the name is that of `output_dir`, as in transformers.
        folder: of the run.

    Raises:
        HubError: with one sentence that says where the run is kept and how to push it again.
    """
    name = _name(arguments)
    try:
        done = publish_run(
            folder,
            name,
            private=arguments.hub_private_repo,
            revision=arguments.hub_revision,
            token=arguments.hub_token,
        )
    except HubError as error:
        reason = str(error).rstrip(".")
        raise HubError(
            f"{reason}; the run is kept in {folder}, push it with: {_command(arguments, folder)}"
        ) from error
    logger.info("Pushed to %s", done.commit_url)
    return done


def _current_clone() -> Path:
    imported = Path(iec_hub.__file__).parents[1]
    return imported if (imported / "app.py").is_file() else Path()


def _name(arguments: Any) -> str:
    return arguments.hub_model_id or Path(arguments.output_dir).resolve().name


def _command(arguments: Any, folder: str | os.PathLike[str]) -> str:
    """What to type to push the run; without the token, which is no thing for a command line."""
    words = ["iec-hub", "push", os.fspath(folder), _name(arguments)]
    words += ["--private"] if arguments.hub_private_repo else []
    words += ["--revision", arguments.hub_revision] if arguments.hub_revision else []
    return shlex.join(words)


def _publish(
    contents: Contents,
    repo_id: str,
    private: bool | None,
    revision: str | None,
    tag: str | None,
    token: str | None,
    message: str | None,
) -> Publication:
    _check_name(repo_id)
    _check_references(revision, tag)
    token = _token(token)
    contents.refuse_secrets(token)
    api, kind = _client(token), contents.kind
    _check_bases(api, contents)
    sdk = "gradio" if kind == "space" else None
    url = retried(
        lambda: api.create_repo(repo_id, private=private, repo_type=kind, space_sdk=sdk, exist_ok=True), repo_id
    )
    repo_id = url.repo_id
    tagged = _prepare_references(api, repo_id, kind, revision, tag)
    branch = revision or MAIN
    before = retried(lambda: api.repo_info(repo_id, repo_type=kind, revision=branch), repo_id)
    if private and not before.private:
        raise HubError(
            f"{shown(repo_id)} exists and everybody can see it; make it private in its settings on the Hub, or choose "
            "another name."
        )
    if tagged not in (None, before.sha):
        raise HubError(f"{shown(repo_id)} has the tag {shown(tag)} on another commit; choose another tag.")
    message = message or f"Push with iec-hub {iec_hub.__version__}"
    done = retried(lambda: _commit(api, contents, repo_id, branch, before.sha, message), repo_id)
    if tag:
        _put_tag(api, repo_id, kind, tag, tagged, done.oid)
    return Publication(repo_id, str(url), done.commit_url, done.oid, tuple(contents.files), contents.size())


def _commit(api: Any, contents: Contents, repo_id: str, branch: str, parent: str, message: str) -> Any:
    """All files in one commit upon `parent`; can be repeated.

    Where a first try arrived and only its answer was lost, nothing differs any more, and the client makes no second
    commit. The Hub refuses a parent that is no longer the newest, so nobody's work is overwritten unseen.
    """
    from huggingface_hub import CommitOperationAdd, CommitOperationDelete

    there = api.repo_info(repo_id, repo_type=contents.kind, revision=branch).siblings or []
    old = [file.rfilename for file in there if contents.owns(file.rfilename) and file.rfilename not in contents.files]
    operations = [CommitOperationAdd(name, str(path)) for name, path in contents.files.items()]
    operations += [CommitOperationDelete(name) for name in old]
    return api.create_commit(
        repo_id,
        operations,
        commit_message=message,
        repo_type=contents.kind,
        revision=branch,
        parent_commit=parent,
    )


def _prepare_references(api: Any, repo_id: str, kind: str, revision: str | None, tag: str | None) -> str | None:
    """Make the branch where it is missing; the commit that the tag is on already, if it is."""
    if revision in (None, MAIN) and not tag:
        return None
    refs = retried(lambda: api.list_repo_refs(repo_id, repo_type=kind), repo_id)
    tags = {ref.name: ref.target_commit for ref in refs.tags}
    if revision in tags:
        raise HubError(f"{shown(revision)} is a tag of {shown(repo_id)}; give the name of a branch.")
    if revision not in (None, MAIN) and revision not in {ref.name for ref in refs.branches}:
        retried(lambda: api.create_branch(repo_id, branch=revision, repo_type=kind, exist_ok=True), repo_id)
    return tags.get(tag)


def _put_tag(api: Any, repo_id: str, kind: str, tag: str, tagged: str | None, oid: str) -> None:
    """Tag the commit, unless the tag is there from an earlier try."""
    if tagged is None:
        retried(lambda: api.create_tag(repo_id, tag=tag, revision=oid, repo_type=kind, exist_ok=True), repo_id)
    elif tagged != oid:
        raise HubError(
            f"{shown(repo_id)} was pushed, but its tag {shown(tag)} stays on the commit before; choose another tag."
        )


def _check_bases(api: Any, contents: Contents) -> None:
    """Raises HubError for the base of an adapter that nobody could load: not bundled, and not on the Hub."""
    for base in contents.bases:
        if base in BUNDLED_CHECKPOINTS.values():
            continue
        if not retried(lambda base=base: api.repo_exists(base), base):
            raise HubError(
                f"The adapter's base {shown(base)} is not on the Hub; push the base first, or merge the adapter into "
                "it (`iec-hub merge`) and push the result."
            )


def _check_name(repo_id: str) -> None:
    from huggingface_hub.errors import HFValidationError
    from huggingface_hub.utils import validate_repo_id

    try:
        validate_repo_id(repo_id)
    except HFValidationError as error:
        raise HubError(wrong_name(repo_id)) from error


def _check_references(revision: str | None, tag: str | None) -> None:
    for what, name in (("branch", revision), ("tag", tag)):
        if name is not None and (not _REFERENCE.fullmatch(name) or _COMMIT.fullmatch(name)):
            raise HubError(f"{shown(name)} cannot be the name of a {what}; a name is like v1 or more-pictures.")


def _token(token: str | None) -> str:
    """The token to push with.

    Raises:
        HubError: if there is none.
    """
    from huggingface_hub import get_token

    found = token or get_token()
    if not found:
        raise HubError(f"Pushing needs a login; {LOG_IN}.")
    return found


def _client(token: str) -> Any:
    from huggingface_hub import HfApi

    return HfApi(token=token, library_name="iec-hub", library_version=iec_hub.__version__)


__all__ = [
    "Publication",
    "check_push",
    "publish_dataset",
    "publish_run",
    "publish_space",
    "push_after_training",
]

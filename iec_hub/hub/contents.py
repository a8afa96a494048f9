"""What of a folder belongs on the Hub. Named file by file: anything else that lies there stays on this machine."""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from iec_hub.data.labels import shown, shown_list
from iec_hub.errors import HubError
from iec_hub.registry import BUNDLED_CHECKPOINTS

CARD = "README.md"
FULL, ADAPTER, INDEX = "model.safetensors", "adapter_model.safetensors", "model.safetensors.index.json"

_PROCESSOR = (
    r"(?:processor_config|preprocessor_config|tokenizer|tokenizer_config|special_tokens_map|added_tokens|vocab"
    r"|chat_template)\.json|vocab\.txt|merges\.txt|chat_template\.jinja"
    r"|tokenizer\.model|spiece\.model|sentencepiece\.bpe\.model"
)
# Not training.yaml, which repeats a run here: it holds paths of this disk.
_RUN = re.compile(
    rf"(?:{_PROCESSOR}|(?:config|generation_config|adapter_config|metrics|training)\.json"
    r"|adapter_model\.safetensors|model(?:-\d{5}-of-\d{5})?\.safetensors|model\.safetensors\.index\.json"
    rf"|README\.md|LICENSE|[a-z_]+_(?:tokenizer|processor)/(?:{_PROCESSOR})|pictures/[\w.-]+\.png)"
)
_DATASET = re.compile(r"README\.md|skipped\.csv|data/[\w.-]+\.parquet")
_SPACE = re.compile(
    r"README\.md|LICENSE|app\.py|space\.yaml|requirements\.txt|(?:docs|model_cards)/[\w.-]+\.(?:md|png)"
    r"|iec_hub/(?:(?!__pycache__)\w+/)*(?:\w+\.py|py\.typed)|iec_hub/affect/\w+\.json"
    r"|iec_hub/space/(?:\w+\.(?:css|js)|affect_plane\.json)"
    rf"|iec_hub/space/examples/[\w.-]+\.(?:jpg|png|md)|iec_hub/checkpoints/[\w-]+/{_RUN.pattern}"
)
# What a person may have written on the Hub itself: it is replaced, but never deleted.
_KEPT = {CARD, "LICENSE"}

_TEXT = (".json", ".yaml", ".md", ".txt", ".csv", ".py")
_MOST_TEXT = 10_000_000
_SECRETS = re.compile(
    r"\bhf_[A-Za-z0-9]{30,}|\bgh[pousr]_[A-Za-z0-9]{30,}|\bgithub_pat_\w{30,}|\bsk-[A-Za-z0-9_-]{30,}"
    r"|\bAKIA[0-9A-Z]{16}\b|-----BEGIN [A-Z ]*PRIVATE KEY-----"
)


@dataclass(frozen=True)
class Contents:
    """What one push carries.

    Attributes:
        kind: "model", "dataset" or "space".
        files: path on the Hub -> file here.
        owns: whether a path on the Hub is the business of such a push, which therefore deletes it where it is not
            among `files`: the weights of an earlier run must not lie beside the adapter of this one.
        bases: what an adapter was trained on, by name.
    """

    kind: str
    files: Mapping[str, Path]
    owns: Callable[[str], bool]
    bases: tuple[str, ...] = ()

    def size(self) -> int:
        """Of all files, in bytes."""
        return sum(path.stat().st_size for path in self.files.values())

    def refuse_secrets(self, token: str) -> None:
        """Raises HubError if a text among the files holds `token` or what looks like an access key."""
        for name, path in self.files.items():
            # A vocabulary is no place for secrets, and may hold any letters.
            if path.suffix not in _TEXT or path.name == "tokenizer.json" or path.stat().st_size > _MOST_TEXT:
                continue
            text = path.read_text(encoding="utf-8", errors="replace")
            if token in text or _SECRETS.search(text):
                raise HubError(f"{shown(name)} holds what looks like an access token; remove it and push again.")


def run_contents(folder: Path) -> Contents:
    """What belongs to a training run or checkpoint: weights or adapter, processor, settings, figures, card.

    Raises:
        HubError: if the folder holds no whole run, or an adapter whose base nobody else has.
    """
    files = _found(folder, _RUN)
    name = shown(folder.name or str(folder))
    if FULL not in files and ADAPTER not in files and INDEX not in files:
        raise HubError(f"{name} holds no {FULL} and no {ADAPTER}; give the folder of a finished run.")
    if ADAPTER in files and (FULL in files or INDEX in files):
        raise HubError(f"{name} holds a whole model and an adapter; keep one of them in a folder and push that.")
    settings = {file: _json(files, file, name) for file in _needed(files)}
    _check_weights(files, settings, name)
    _check_card(files, name)
    bases = _bases(settings) if ADAPTER in files else ()
    for base in bases:
        _check_base(base, folder)
    return Contents("model", files, lambda path: bool(_RUN.fullmatch(path)) and path not in _KEPT, bases)


def dataset_contents(folder: Path) -> Contents:
    """What belongs to a data set of affective captions: its parquet files, its card, what was left out.

    Raises:
        HubError: if the folder holds no finished data set.
    """
    files = _found(folder, _DATASET)
    name = shown(folder.name or str(folder))
    tables = [path for file, path in files.items() if path.suffix == ".parquet"]
    if not tables or CARD not in files:
        raise HubError(f"{name} holds no finished data set (data/*.parquet and {CARD}); build it first.")
    for path in tables:
        with path.open("rb") as file:
            whole = file.read(4) == b"PAR1" and file.seek(-4, 2) and file.read(4) == b"PAR1"
        if not whole:
            raise HubError(f"{shown(path.name)} in {name} is damaged; build the data set again.")
    _check_card(files, name)
    return Contents("dataset", files, lambda path: bool(_DATASET.fullmatch(path)) and path not in _KEPT)


def space_contents(clone: Path) -> Contents:
    """What the Space needs of a clone of this project: the page, the package with its checkpoints, the card.

    Raises:
        HubError: if that is no clone, or a bundled checkpoint is missing.
    """
    files = _found(clone, _SPACE)
    if not {CARD, "app.py", "requirements.txt", "iec_hub/__init__.py"} <= files.keys():
        raise HubError("The Space is pushed from a clone of iec-hub's repository; clone it and push from there.")
    if _check_card(files, "the clone").get("sdk") != "gradio":
        raise HubError(f"The front matter of {CARD} has no `sdk: gradio`; take the one of iec-hub's repository.")
    for checkpoint in BUNDLED_CHECKPOINTS.values():
        prefix = f"iec_hub/checkpoints/{checkpoint}/"
        own = {file.removeprefix(prefix): path for file, path in files.items() if file.startswith(prefix)}
        if FULL not in own:
            raise HubError(f"The bundled checkpoint {checkpoint} is missing in this clone; clone again.")
        _check_weights(own, {}, checkpoint)
    return Contents("space", files, lambda path: bool(_SPACE.fullmatch(path)) and path not in _KEPT)


def _found(folder: Path, pattern: re.Pattern[str]) -> dict[str, Path]:
    """The files under a folder whose path matches, sorted.

    Raises:
        HubError: if there is no such folder.
    """
    if not folder.is_dir():
        raise HubError(f"There is no folder {shown(str(folder))}; give the one to push.")
    paths = {path.relative_to(folder).as_posix(): path for path in sorted(folder.rglob("*")) if path.is_file()}
    return {name: path for name, path in paths.items() if pattern.fullmatch(name)}


def _needed(files: Mapping[str, Path]) -> tuple[str, ...]:
    if ADAPTER in files:
        return ("config.json", "adapter_config.json")
    return ("config.json", INDEX) if INDEX in files else ("config.json",)


def _json(files: Mapping[str, Path], file: str, name: str) -> dict[str, Any]:
    try:
        content = json.loads(files[file].read_text(encoding="utf-8"))
    except KeyError as error:
        raise HubError(f"{name} has no {file}; give the folder of a finished run.") from error
    except (OSError, ValueError) as error:
        raise HubError(f"{file} in {name} cannot be read; train again, or restore it.") from error
    if not isinstance(content, dict):
        raise HubError(f"{file} in {name} cannot be read; train again, or restore it.")
    return content


def _check_weights(files: Mapping[str, Path], settings: Mapping[str, Any], name: str) -> None:
    """Raises HubError where a weight file is missing or was written half; reads the headers only."""
    from safetensors import SafetensorError, safe_open

    index = settings.get(INDEX, {}).get("weight_map", {})
    if missing := sorted(set(index.values()) - files.keys() if isinstance(index, dict) else ()):
        raise HubError(f"{name} lacks {shown_list(missing)}; get the whole checkpoint.")
    for file, path in files.items():
        if path.suffix != ".safetensors":
            continue
        try:
            with safe_open(path, framework="np"):
                pass
        except (SafetensorError, OSError) as error:
            raise HubError(f"{file} in {name} is damaged or not whole; train again, or restore it.") from error


def _check_card(files: Mapping[str, Path], name: str) -> dict[str, Any]:
    """The card's metadata.

    Raises:
        HubError: if there is no card, or its metadata cannot be read.
    """
    import yaml
    from huggingface_hub import RepoCard

    if CARD not in files:
        raise HubError(f"{name} has no card ({CARD}); a run writes one, and what has none is not published.")
    try:
        return RepoCard(files[CARD].read_text(encoding="utf-8")).data.to_dict()
    except (ValueError, TypeError, KeyError, AttributeError, yaml.YAMLError, OSError) as error:
        raise HubError(f"The metadata at the top of {CARD} in {name} cannot be read; correct its YAML.") from error


def _bases(settings: Mapping[str, Mapping[str, Any]]) -> tuple[str, ...]:
    """The names of what the adapter was trained on: one base, or the backbones that the base was assembled from."""
    base = settings["adapter_config.json"].get("base_model_name_or_path")
    if base:
        return (str(base),)
    backbones = settings["config.json"].get("backbones") or {}
    values = backbones.values() if isinstance(backbones, dict) else backbones
    return tuple(str(value) for value in values if value)


def _check_base(base: str, folder: Path) -> None:
    """Raises HubError for a base that is a folder on this disk: nobody else could load the adapter in `folder`."""
    from huggingface_hub.errors import HFValidationError
    from huggingface_hub.utils import validate_repo_id

    path = Path(base)
    try:
        validate_repo_id(base)
        # Loading an adapter looks in these places before it asks the Hub, and in the first for a bundled name too.
        places = (Path(),) if base in BUNDLED_CHECKPOINTS.values() else (Path(), folder, folder.parent)
        local = any((place / path).is_dir() for place in places)
    except HFValidationError:
        local = True
    if local:
        raise HubError(
            f"The adapter's base {shown(path.name)} is a folder on this disk; push the base first and train on its "
            "Hub id, or merge the adapter into it (`iec-hub merge`) and push the result."
        )


__all__ = ["Contents", "dataset_contents", "run_contents", "space_contents"]

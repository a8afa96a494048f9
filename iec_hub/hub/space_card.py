"""The front matter of the Space's card: its lists of models follow what the page offers."""

from __future__ import annotations

import re
from collections.abc import Iterable
from pathlib import Path
from typing import TYPE_CHECKING, Any

from iec_hub.data.labels import shown
from iec_hub.errors import HubError
from iec_hub.registry import checkpoint_path

if TYPE_CHECKING:
    from iec_hub.space.offering import Offer

OFFER_FILE = "space.yaml"
_HUB_ID = re.compile(r"[\w.-]+/[\w.-]+")
_FRONT_MATTER = re.compile(r"(---\n)(.*?)(---\n)", re.DOTALL)


def listed_models(offer: Offer) -> tuple[list[str], list[str]]:
    """What the front matter lists as `models` and as `preload_from_hub`.

    Used are the models that come from the Hub, and what the bundled checkpoints were built from, as their cards say.
    Loaded while the Space is built are those from the Hub, so that nobody waits for a download; not those of a
    certain revision, which cannot be asked for without naming each file.

    Raises:
        HubError: if a model is a folder of this disk.
    """
    if folders := [each.model for each in offer.models if not each.bundled and not each.on_hub]:
        raise HubError(
            f"{OFFER_FILE} offers the folder {shown(folders[0])}; push it, and name it as it is on the Hub."
        )
    on_hub = [each for each in offer.models if each.on_hub]
    bases = [base for each in offer.models if each.bundled for base in _bases(Path(checkpoint_path(each.model)))]
    return _once(each.model for each in on_hub) + _once(bases), _once(e.model for e in on_hub if not e.revision)


def space_card(clone: Path) -> str:
    """The card of a clone, README.md, with the lists of the models that the clone's page offers.

    Raises:
        HubError: if the card has no front matter.
        DataError: if the clone's `space.yaml` cannot be used.
    """
    from iec_hub.space.offering import load_offer

    card = (clone / "README.md").read_text(encoding="utf-8")
    front = _FRONT_MATTER.match(card)
    if front is None:
        raise HubError("README.md has no front matter; take the one of iec-hub's repository.")
    models, preloaded = listed_models(load_offer(clone / OFFER_FILE))
    lines = _with_list(_with_list(front[2], "models", models), "preload_from_hub", preloaded)
    return f"{front[1]}{lines}{front[3]}{card[front.end() :]}"


def _with_list(lines: str, key: str, values: list[str]) -> str:
    """Front matter with a list in place of what stood there under its key, else at its end; the rest as it was."""
    block = "".join([f"{key}:\n", *(f"  - {value}\n" for value in values)]) if values else ""
    there = re.compile(rf"^{key}:.*\n(?:[ \t-].*\n)*", re.MULTILINE)
    return there.sub(block, lines, count=1) if there.search(lines) else lines + block


def _bases(checkpoint: Path) -> list[str]:
    """The models on the Hub that a checkpoint's card names as its base; none where it has no card."""
    from huggingface_hub import RepoCard

    card = checkpoint / "README.md"
    if not card.is_file():
        return []
    named: Any = RepoCard(card.read_text(encoding="utf-8")).data.to_dict().get("base_model") or []
    return [base for base in ([named] if isinstance(named, str) else named) if _HUB_ID.fullmatch(base)]


def _once(names: Iterable[str]) -> list[str]:
    return list(dict.fromkeys(names))

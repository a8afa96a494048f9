"""Which methods and bundled checkpoints there are. Light: no torch, no transformers."""

from __future__ import annotations

from pathlib import Path

METHODS = ("ugrie", "escnet", "aciec")

# Method to the name of the checkpoint that ships with the package.
BUNDLED_CHECKPOINTS = {"ugrie": "ugrie-mini", "escnet": "escnet-mini", "aciec": "aciec-mini"}

_CHECKPOINTS = Path(__file__).parent / "checkpoints"


def checkpoint_path(name: str | Path) -> str:
    """A bundled checkpoint's directory for its name; any other name (directory, Hub id) comes back as it is."""
    if str(name) in BUNDLED_CHECKPOINTS.values() and not Path(name).is_dir():
        return str(_CHECKPOINTS / str(name))
    return str(name)

"""Which models a page offers, and its limits: from a file or the environment of whoever runs it, never from visitors.

A `space.yaml` beside `app.py`, or the file that the environment variable `IEC_HUB_SPACE_CONFIG` names:

    models:
      - ugrie-mini                   # a bundled checkpoint, a folder or a Hub id
      - model: somebody/my-adapter   # or with more about it
        name: My adapter             # what the page calls it
        revision: v1.0
    limits:
      batch: 4

`IEC_HUB_SPACE_MODELS`, such as "ugrie-mini,somebody/my-adapter", replaces the models of the file.
"""

import logging
import os
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field, fields
from itertools import chain, count
from pathlib import Path
from typing import TYPE_CHECKING, Any

import yaml

from iec_hub.errors import CheckpointError, DataError, IecHubError
from iec_hub.registry import BUNDLED_CHECKPOINTS, checkpoint_path
from iec_hub.space.limits import Limits

if TYPE_CHECKING:
    from iec_hub.predictor import EmotionPredictor

CONFIG_VARIABLE, MODELS_VARIABLE = "IEC_HUB_SPACE_CONFIG", "IEC_HUB_SPACE_MODELS"
_LONGEST = 200

logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class OfferedModel:
    """A model to offer.

    Attributes:
        model: name of a bundled checkpoint, folder or Hub id.
        name: what the page and clients call it; None for its method's name, or its own where a method has several.
        revision: of a Hub model; None for the newest.
    """

    model: str
    name: str | None = None
    revision: str | None = None

    @property
    def bundled(self) -> bool:
        return self.model in BUNDLED_CHECKPOINTS.values()

    @property
    def on_hub(self) -> bool:
        return not self.bundled and not Path(self.model).is_dir()


@dataclass(frozen=True)
class Offer:
    """What a page offers; the first model is the one that it begins with."""

    models: tuple[OfferedModel, ...]
    limits: Limits = field(default_factory=Limits)


def load_offer(beside: str | Path | None = None) -> Offer:
    """The offer that is configured; without any, the bundled models.

    Args:
        beside: the file to read where `IEC_HUB_SPACE_CONFIG` names no other; it may be missing.

    Raises:
        DataError: if what is configured cannot be used; one sentence that says what to correct.
    """
    named = os.environ.get(CONFIG_VARIABLE, "").strip()
    content: Any = {}
    if named or (beside is not None and Path(beside).is_file()):
        content = _content(Path(named or beside))
    models = content.get("models")
    listed = os.environ.get(MODELS_VARIABLE, "").strip()
    if listed:
        models = [name.strip() for name in listed.split(",") if name.strip()]
    return Offer(_models(models), _limits(content.get("limits")))


def offered_predictors(offer: Offer) -> dict[str, "EmotionPredictor"]:
    """The offer's predictors by the names that clients call them, made to answer and not to learn.

    What cannot be loaded is logged and left out, so that one model that is gone does not take the others along.

    Raises:
        CheckpointError: if none can be loaded.
    """
    from iec_hub.models.folding import prepare_to_serve
    from iec_hub.predictor import EmotionPredictor

    loaded = []
    for each in offer.models:
        revision = {"revision": each.revision} if each.revision else {}
        try:
            loaded.append((each, EmotionPredictor.from_pretrained(each.model, **revision)))
        except IecHubError as error:
            logger.error("%s is not offered: %s", each.model, error)
    if not loaded:
        raise CheckpointError("None of the configured models can be loaded; the log says why for each.")
    prepare_to_serve(predictor.model for _, predictor in loaded)
    of_method = Counter(predictor.method for each, predictor in loaded if each.name is None)
    predictors: dict[str, EmotionPredictor] = {}
    for each, predictor in loaded:
        usual = predictor.method if of_method[predictor.method] == 1 else each.model
        # A folder's name is for whoever offers it, not for visitors.
        usual = Path(usual).resolve().name if Path(usual).is_dir() else usual
        names = (each.name or usual, usual, f"{usual} ({each.revision or 'newest'})")
        names = chain(names, (f"{usual} {number}" for number in count(2)))
        predictors[next(name for name in names if name not in predictors)] = predictor
    return predictors


def _content(path: Path) -> Mapping[str, Any]:
    try:
        content = yaml.safe_load(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise DataError(f"{path.name} cannot be read ({type(error).__name__}); correct {CONFIG_VARIABLE}.") from error
    except (yaml.YAMLError, UnicodeDecodeError, RecursionError) as error:
        where = getattr(error, "problem_mark", None)
        line = f", line {where.line + 1}" if where is not None else ""
        raise DataError(f"{path.name}{line} is no YAML; correct it.") from error
    if content is None:
        return {}
    if not isinstance(content, Mapping):
        raise DataError(f"{path.name} holds no mapping; give it the keys models and limits.")
    for key in content:
        if key not in ("models", "limits"):
            raise DataError(f"{path.name} has an unknown key {str(key)[:40]!r}; use models and limits.")
    return content


def _models(given: Any) -> tuple[OfferedModel, ...]:
    if given is None:
        there = (name for name in BUNDLED_CHECKPOINTS.values() if Path(checkpoint_path(name)).is_dir())
        return tuple(map(OfferedModel, there))
    if not isinstance(given, list) or not given:
        raise DataError("The models to offer are no list with at least one entry; name a model.")
    models = tuple(_model(number, entry) for number, entry in enumerate(given, 1))
    for what, values in (
        ("model", [(m.model, m.revision) for m in models]),
        ("name", [m.name for m in models if m.name]),
    ):
        if len(set(values)) < len(values):
            raise DataError(f"Two of the models to offer have the same {what}; leave one out or name it otherwise.")
    return models


def _model(number: int, entry: Any) -> OfferedModel:
    entry = {"model": entry} if isinstance(entry, str) else entry
    known = [each.name for each in fields(OfferedModel)]
    if not isinstance(entry, Mapping) or "model" not in entry:
        raise DataError(f"Model {number} to offer names no model; give a name, or a mapping with the key model.")
    for key, value in entry.items():
        if key not in known:
            raise DataError(f"Model {number} to offer has an unknown key {str(key)[:40]!r}; use {', '.join(known)}.")
        if not isinstance(value, str) or not value.strip() or len(value) > _LONGEST or not value.isprintable():
            raise DataError(f"The {key} of model {number} to offer is no short text on one line; correct it.")
    return OfferedModel(**{key: value.strip() for key, value in entry.items()})


def _limits(given: Any) -> Limits:
    if given is None:
        return Limits()
    known = [each.name for each in fields(Limits)]
    if not isinstance(given, Mapping):
        raise DataError(f"The limits are no mapping; give some of {', '.join(known)}.")
    for key in given:
        if key not in known:
            raise DataError(f"There is no limit {str(key)[:40]!r}; use {', '.join(known)}.")
    return Limits(**given)

"""Links that carry the settings of the page: written for a visitor, and read as what anybody may have written."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from hashlib import sha256
from pathlib import Path
from urllib.parse import parse_qsl, urlencode

from iec_hub.emotions import EmotionModel
from iec_hub.errors import DataError, IecHubError
from iec_hub.space import texts
from iec_hub.space.answering import ALL, OWN, read_caption, split_labels
from iec_hub.space.label_words import with_words
from iec_hub.space.limits import Limits
from iec_hub.space.methods import Method

TABS = ("single", "many", "compare", "about")
# Browsers and servers take addresses of about eight thousand characters.
LONGEST_LINK = 8000
_NAMES = frozenset({"tab", "method", "emotions", "labels", "words", "caption", "example"})


@dataclass(frozen=True)
class Settings:
    """What a link holds; empty where it leaves the page's usual setting.

    Attributes:
        method: a method's name, or `ALL`.
        emotions: an emotion model's name, or `OWN`.
        labels: own labels as a text.
        words: the words for the emotions as a text.
        caption: the visitor's.
        example: the name of an example picture, without its ending.
    """

    method: str = ""
    emotions: str = ""
    labels: str = ""
    words: str = ""
    caption: str = ""
    example: str = ""
    tab: str = field(default=TABS[0])


def link_query(settings: Settings) -> str:
    """The part of the address from its question mark on."""
    return "?" + urlencode({name: value for name, value in vars(settings).items() if value})


def read_link(query: str, methods: Mapping[str, Method], examples: Sequence[Path], limits: Limits) -> Settings | None:
    """The settings in the part of an address from its question mark on; None where there are none in it.

    Raises:
        DataError: if some setting is none of this page.
    """
    if len(query) > LONGEST_LINK:
        raise DataError(texts.LINK_BAD)
    try:
        given = {name: value for name, value in parse_qsl(query.lstrip("?"), max_num_fields=32) if name in _NAMES}
        settings = Settings(**given)
        if set(given) <= {"tab"}:
            return None
        _check(settings, methods, examples, limits)
    except (IecHubError, ValueError) as error:
        raise DataError(texts.LINK_BAD) from error
    return settings


def example_of(file: Path, examples: Sequence[Path]) -> str:
    """The name of the example that a file is a copy of; empty where it is a picture of somebody's own."""
    size = file.stat().st_size
    alike = [path for path in examples if path.stat().st_size == size]
    if not alike:
        return ""
    digest = sha256(file.read_bytes()).digest()
    return next((path.stem for path in alike if sha256(path.read_bytes()).digest() == digest), "")


def _check(settings: Settings, methods: Mapping[str, Method], examples: Sequence[Path], limits: Limits) -> None:
    if settings.method == ALL and len(methods) > 1 or not settings.method:
        chosen = list(methods.values())
    elif settings.method in methods:
        chosen = [methods[settings.method]]
    else:
        raise ValueError("no such method")
    if settings.example and settings.example not in {path.stem for path in examples}:
        raise ValueError("no such example")
    if len(settings.labels) > limits.labels or read_caption(settings.caption, limits.caption) != settings.caption:
        raise ValueError("too long")
    if settings.emotions == OWN:
        if not any(method.own_labels for method in chosen):
            raise ValueError("no own labels here")
        model = EmotionModel.from_labels(split_labels(settings.labels))
    elif settings.emotions or settings.words:
        name = settings.emotions or chosen[0].default.name
        model = next((method.models[name] for method in chosen if name in method.models), None)
        if model is None:
            raise ValueError("no such emotion model")
    if settings.words:
        with_words(model, settings.words, limits.labels)

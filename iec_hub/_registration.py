"""Registration with transformers that costs nothing until transformers is used.

`import iec_hub` must stay light, yet afterwards `AutoModel.from_pretrained(...)` has to know our models, whether
transformers was imported before or after. So the tables in which transformers looks up extra models are replaced by
ones that import our models at the first look-up, and the pipeline is registered when `transformers.pipelines` loads.
"""

from __future__ import annotations

import importlib
import importlib.abc
import importlib.machinery
import sys
from collections.abc import Callable
from types import ModuleType
from typing import Any

PIPELINE_TASK = "image-emotion-classification"
MODEL_TYPES = frozenset({"ugrie", "escnet", "aciec", "attribute_captioner"})


class _LazyTable(dict):
    """A table of extra classes that imports ours before it is first read. Writing never triggers an import."""

    def __init__(self, content: dict, wanted: frozenset[str] | None = None):
        super().__init__(content)
        self._wanted = wanted  # keys that are worth the import; None: any look-up is
        self._filled = False

    def _fill(self, key: Any = None) -> None:
        if not self._filled and (self._wanted is None or key is None or key in self._wanted):
            self._filled = True  # first, because the import registers and thereby reads this very table
            importlib.import_module("iec_hub.models")

    def __contains__(self, key: object) -> bool:
        self._fill(key)
        return super().__contains__(key)

    def __getitem__(self, key: Any) -> Any:
        self._fill(key)
        return super().__getitem__(key)

    def get(self, key: Any, default: Any = None) -> Any:
        self._fill(key)
        return super().get(key, default)

    def __iter__(self) -> Any:
        self._fill()
        return super().__iter__()

    def keys(self) -> Any:
        self._fill()
        return super().keys()

    def values(self) -> Any:
        self._fill()
        return super().values()

    def items(self) -> Any:
        self._fill()
        return super().items()


def _watch_configs(module: ModuleType) -> None:
    mapping = module.CONFIG_MAPPING
    mapping._extra_content = _LazyTable(mapping._extra_content, MODEL_TYPES)


def _watch_processors(module: ModuleType) -> None:
    mapping = module.PROCESSOR_MAPPING
    mapping._extra_content = _LazyTable(mapping._extra_content)


def _register_pipeline(module: ModuleType) -> None:
    # It registers itself as it is imported. Where that import is what loads transformers.pipelines, it is still under
    # way here, and registers when it ends.
    importlib.import_module("iec_hub.pipeline")


_HOOKS: dict[str, Callable[[ModuleType], None]] = {
    "transformers.models.auto.configuration_auto": _watch_configs,
    "transformers.models.auto.processing_auto": _watch_processors,
    "transformers.pipelines": _register_pipeline,
}


class _HookFinder(importlib.abc.MetaPathFinder):
    """Runs a hook right after one of the watched modules has been executed."""

    def find_spec(self, fullname: str, path: Any = None, target: Any = None) -> Any:
        if fullname not in _HOOKS:
            return None
        spec = importlib.machinery.PathFinder.find_spec(fullname, path, target)
        if spec is not None and spec.loader is not None:
            execute, hook = spec.loader.exec_module, _HOOKS[fullname]

            def exec_module(module: ModuleType) -> None:
                execute(module)
                hook(module)

            spec.loader.exec_module = exec_module  # type: ignore[method-assign]
        return spec


def after_import(name: str, hook: Callable[[ModuleType], None]) -> None:
    """Run a hook right after a module is executed; at once where it already is imported."""
    _HOOKS[name] = hook
    if name in sys.modules:
        hook(sys.modules[name])


def install() -> None:
    """Watch transformers; modules that are already imported are served at once. Calling it again does nothing."""
    if any(isinstance(finder, _HookFinder) for finder in sys.meta_path):
        return
    sys.meta_path.insert(0, _HookFinder())
    for name, hook in _HOOKS.items():
        if name in sys.modules:
            hook(sys.modules[name])

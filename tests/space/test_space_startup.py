"""What the Space's process settles before the first visitor comes."""

import gc
import sys
from types import ModuleType, SimpleNamespace

import pytest
import torch
from brightness_predictor import BrightnessPredictor

from iec_hub import _registration
from iec_hub.affect.embedded_text import default_text_reader
from iec_hub.space import starting
from iec_hub.space.limits import Limits, available_cores
from iec_hub.space.starting import keep_memory, nothing_to_collect, share_cores, warm_up


def test_no_garbage_is_looked_for_meanwhile_and_again_afterwards() -> None:
    with pytest.raises(ValueError, match="interrupted"), nothing_to_collect():
        assert not gc.isenabled()
        raise ValueError("interrupted")
    assert gc.isenabled()


@pytest.mark.skipif(torch.cuda.is_available(), reason="on a GPU the cores are not divided")
def test_the_threads_that_judge_share_the_cores() -> None:
    before, reader = torch.get_num_threads(), default_text_reader()
    readers = reader.threads
    try:
        share_cores(Limits(workers=available_cores()))
        assert torch.get_num_threads() == reader.threads == 1
        share_cores(Limits(workers=1))
        assert torch.get_num_threads() == reader.threads == available_cores()
    finally:
        torch.set_num_threads(before)
        reader.threads = readers
    assert 1 <= Limits().threads <= available_cores()


def test_freed_memory_is_kept_where_it_is_glibcs(monkeypatch: pytest.MonkeyPatch) -> None:
    told: dict[int, int] = {}
    monkeypatch.setattr(starting.ctypes, "CDLL", lambda name: SimpleNamespace(mallopt=told.__setitem__))
    keep_memory()
    # As malloc.h numbers them: from what size on blocks are asked of the system one by one, how much is left over
    # before it is handed back, and how many arenas there are.
    assert told.keys() == {-3, -1, -8} and told[-8] == 1 and min(told[-3], told[-1]) > 1e7
    monkeypatch.setattr(starting.ctypes, "CDLL", lambda name: SimpleNamespace())
    keep_memory()


def test_warming_up_asks_each_predictor_and_outlives_a_failure(caplog: pytest.LogCaptureFixture) -> None:
    class Failing(BrightnessPredictor):
        name = "failing"

        def predict(self, *given: object, **asked: object) -> list:
            raise RuntimeError

    good = BrightnessPredictor()
    # The stand-in needs the name of an emotion model, which the real one does not.
    asked = []
    good.predict = lambda images, **given: asked.append((len(images), given))  # type: ignore[method-assign]
    try:
        warm_up([Failing(), good]).join(10)
    finally:
        gc.unfreeze()
    assert asked == [(1, {"evidence": True})] and "failing failed on an example" in caplog.text


def test_a_module_is_changed_right_after_its_import(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(_registration, "_HOOKS", dict(_registration._HOOKS))
    monkeypatch.delitem(sys.modules, "colorsys", raising=False)
    _registration.install()

    def mark(module: ModuleType) -> None:
        module.marked = module.rgb_to_hsv(0, 0, 0)

    _registration.after_import("colorsys", mark)
    import colorsys

    assert colorsys.marked == (0.0, 0.0, 0)
    del colorsys.marked
    _registration.after_import("colorsys", mark)  # it is there: at once
    assert colorsys.marked == (0.0, 0.0, 0)


def test_gradio_writes_its_stubs_where_we_keep_it_from_doing_so() -> None:
    component_meta = pytest.importorskip("gradio.component_meta")
    assert callable(component_meta.create_or_modify_pyi)

"""The explanation: what it reads from models' folders, and what it says where there is nothing to read."""

import json
import re
from html import escape
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from brightness_predictor import BrightnessPredictor

from iec_hub.registry import BUNDLED_CHECKPOINTS, checkpoint_path
from iec_hub.space import texts
from iec_hub.space.cards import read_card
from iec_hub.space.diagrams import method_diagram
from iec_hub.space.methods import Method, page_methods

BUNDLED = [(method, name) for method, name in BUNDLED_CHECKPOINTS.items() if Path(checkpoint_path(name)).is_dir()]


def offered(name: str, checkpoint: str, folder: Path | None = None) -> Method:
    """A method whose predictor says where its checkpoint lies."""
    predictor = BrightnessPredictor()
    predictor.name = checkpoint
    if folder is not None:
        predictor.model = SimpleNamespace(config=SimpleNamespace(name_or_path=str(folder)))
    return page_methods({name: predictor})[name]


def written(folder: Path, metrics: Any, training: Any = None) -> Method:
    folder.mkdir(exist_ok=True)
    (folder / "metrics.json").write_text(metrics if isinstance(metrics, str) else json.dumps(metrics))
    if training is not None:
        (folder / "training.json").write_text(json.dumps(training))
    return offered("own-model", folder.name, folder)


@pytest.mark.parametrize(("method", "name"), BUNDLED)
def test_figures_are_those_of_the_bundled_checkpoint(method: str, name: str) -> None:
    card = read_card(offered(method, name))
    log = json.loads((Path(checkpoint_path(name)) / "metrics.json").read_text())
    assert {one.data for one in card.measured} == set(log["test"])
    for one in card.measured:
        told = log["test"][one.data]
        assert (one.split, one.count, one.accuracy) == ("test", told["n"], told["accuracy"])
        assert list(one.interval) == told["intervals"]["accuracy"] and one.interval[0] < one.accuracy < one.interval[1]
        assert one.most_frequent == max(row["support"] for row in told["per_class"]) / told["n"]
        assert one.sure[0] == told["sure"]["share"]
    assert all(data.splits["train"] > 100 and data.terms for data in card.data) and card.started_from and card.notes


def test_the_page_tells_what_was_measured_on_what_and_what_that_does_not_show() -> None:
    pytest.importorskip("gradio")
    from iec_hub.space.about import about_html

    methods = [offered(method, name) for method, name in BUNDLED]
    html = about_html(methods, 7200)
    for method in methods:
        for one in read_card(method).measured:
            assert texts.ABOUT_RIGHT.format(share=f"{one.accuracy:.0%}") in html
            assert f"{one.count:,} {texts.ABOUT_SPLIT_NAMES['test']}" in html
            low, high = (f"{end:.0%}" for end in one.interval)
            assert texts.ABOUT_INTERVAL.format(low=low, high=high) in html
    assert texts.ABOUT_SAME in html and "seed 0" in html and "within 2 hours" in html
    for heading in (texts.ABOUT_NOT, texts.ABOUT_TRAINED, texts.ABOUT_HOW, texts.ABOUT_PRIVACY):
        assert heading in html
    assert html.count("<svg") == len(methods) and html.count('role="img"') == len(methods)


def test_models_whose_intervals_do_not_meet_are_told_apart(tmp_path: Path) -> None:
    pytest.importorskip("gradio")
    from iec_hub.space.about import results_html

    def results(low: float, high: float) -> dict[str, Any]:
        one = {"n": 900, "accuracy": (low + high) / 2, "intervals": {"accuracy": [low, high]}}
        return {"validation": {"mine": one}}

    first, second = written(tmp_path / "a", results(0.3, 0.4)), written(tmp_path / "b", results(0.5, 0.6))
    html = results_html([read_card(first), read_card(second)])
    assert texts.ABOUT_SAME not in html and "do not overlap" in html
    # Only validation was measured, which the calibration has seen.
    assert escape(texts.ABOUT_FLATTERS) in html and "900 validation pictures" in html


def test_a_model_without_results_says_so() -> None:
    pytest.importorskip("gradio")
    from iec_hub.space.about import about_html

    html = about_html([offered("own-model", "somewhere")], 60)
    assert texts.ABOUT_NO_RESULTS.format(name="own-model") in html and texts.ABOUT_NO_DATA in html
    assert texts.ABOUT_RESULTS_INTRO not in html and "<svg" not in html


@pytest.mark.parametrize(
    "metrics",
    [
        "no JSON",
        [],
        {"test": 3, "data": "x", "seed": "0"},
        {"test": {"a": {"n": "many", "accuracy": 0.5}, "b": {"n": 5, "accuracy": 7}, "c": []}},
        '{"test": {"a": {"n": 5, "accuracy": NaN}}}',
        "[" * 100_000,
    ],
)
def test_a_damaged_folder_counts_as_silent(tmp_path: Path, metrics: Any) -> None:
    assert read_card(written(tmp_path / "model", metrics)).measured == ()


def test_what_a_strangers_model_says_of_itself_is_escaped(tmp_path: Path) -> None:
    pytest.importorskip("gradio")
    from iec_hub.space.about import about_html

    evil = "<script>alert(1)</script>"
    metrics = {"test": {evil: {"n": 5, "accuracy": 0.4}}, "data": {evil: f"{evil}\n  train: 3 ({evil} 3)"}}
    record = {
        "base_models": [evil, "/home/somebody/weights"],
        "card_notes": f"- {evil}\n- `x`\n\n**Bold** {evil}",
        "data": [{"name": evil, "terms": evil}],
    }
    html = about_html([written(tmp_path / "model", metrics, record)], 60)
    assert "<script" not in html and "&lt;script&gt;" in html and "3 to train on" in html
    assert "somebody" not in html and "weights" in html and "<li>x</li>" in html and "Bold" in html


@pytest.mark.parametrize("method", sorted(texts.ABOUT_METHODS))
def test_a_diagram_keeps_its_boxes_apart_and_its_texts_within_them(method: str) -> None:
    drawing = method_diagram(method)
    assert f'aria-label="{texts.ABOUT_METHODS[method][1]}"' in drawing.replace("&#x27;", "'")
    found = re.findall(r'class="iec-box [^"]*" x="(\d+)" y="(\d+)" width="(\d+)" height="(\d+)"', drawing)
    boxes = [tuple(map(int, box)) for box in found]
    assert len(boxes) >= 3
    for index, (x, y, width, height) in enumerate(boxes):
        assert x >= 0 and x + width <= 320
        for left, top, wide, high in boxes[index + 1 :]:
            assert x + width <= left or left + wide <= x or y + height <= top or top + high <= y
    assert method_diagram("another") == ""

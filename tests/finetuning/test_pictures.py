"""Pictures of a run: drawn from metrics.json alone, the same every time, whatever the names in it."""

import json
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from iec_hub.errors import DataError
from iec_hub.evaluation import apply_temperature, distribution_report
from iec_hub.finetuning.pictures import confusion, coverage, draw_pictures, picture_names

pytest.importorskip("matplotlib")


def measured(labels: list[str], count: int = 40) -> dict[str, Any]:
    random = np.random.default_rng(len(labels))
    predicted = apply_temperature(2 * random.normal(size=(count, len(labels))), 1.0)
    return distribution_report(predicted, random.integers(len(labels), size=count), labels)


def history(*names: str) -> list[dict[str, float]]:
    entries = []
    for epoch in (1, 2, 3):
        entry = {"epoch": float(epoch), "step": 10 * epoch, "eval_soft_cross_entropy": 2 / epoch, "eval_accuracy": 0.4}
        for name in names:
            entry |= {f"eval_{name}_soft_cross_entropy": 1.9 / epoch, f"eval_{name}_accuracy": 0.1 * epoch}
        entries.append(entry)
    return entries


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return tmp_path


def write(folder: Path, **log: Any) -> Path:
    (folder / "metrics.json").write_text(json.dumps(log), encoding="utf-8")
    return folder


def test_a_run_is_drawn(folder):
    labels = ["anger", "awe", "joy"]
    losses = [{"step": step, "loss": 3 / step} for step in range(1, 31)]
    both = {"first": measured(labels), "second set": measured(labels[:2])}
    write(folder, history=history("first", "second set"), loss_history=losses, test=both, validation=both)
    imported = "matplotlib.pyplot" in sys.modules
    drawn = draw_pictures(folder)
    assert [path.relative_to(folder).as_posix() for path in drawn] == [
        "pictures/learning_curve.png",
        "pictures/confusion-first.png",
        "pictures/confusion-second-set.png",
        "pictures/reliability-first.png",
        "pictures/reliability-second-set.png",
        "pictures/coverage-first.png",
        "pictures/coverage-second-set.png",
    ]
    before = [path.read_bytes() for path in drawn]
    assert len(set(before)) == 7 and max(map(len, before)) < 40_000
    for path in drawn:
        with Image.open(path) as image:
            assert min(image.size) > 200 and len(image.convert("RGB").getcolors(100_000)) > 10
    assert [path.read_bytes() for path in draw_pictures(folder)] == before
    assert imported or "matplotlib.pyplot" not in sys.modules, "no state for the whole process"


def test_the_confusion_picture_shows_the_share_of_each_row():
    counts = [[3, 1], [0, 4]]
    axes = confusion({"confusion": counts, "labels": ["calm", "tense"]}, "title").axes[0]
    assert axes.images[0].get_array().tolist() == [[0.75, 0.25], [0, 1]]
    assert [text.get_text() for text in axes.texts] == ["3", "1", "4"]
    assert [tick.get_text() for tick in axes.get_yticklabels()] == ["calm", "tense"]


def test_the_coverage_picture_marks_what_the_rule_calls_sure():
    results = measured(["anger", "awe", "joy"])
    axes = coverage(results, "title").axes[0]
    curve, _, point = axes.lines
    assert curve.get_xdata()[-1] == 1 and curve.get_ydata()[-1] == pytest.approx(1 - results["accuracy"])
    sure = results["sure"]
    assert (point.get_xdata()[0], point.get_ydata()[0]) == pytest.approx((sure["share"], 1 - sure["accuracy"]))


@pytest.mark.parametrize("labels", [["$x^2$", "<b>&amp;\n", "_{", "ärgerlich"], [f"feeling {i}" for i in range(30)]])
def test_names_are_shown_as_they_are(folder, labels):
    names = ["../../escape", "a/b", "a b", "\x1b[31m$", "ü"]
    write(folder, history=history(*names), validation={name: measured(labels) for name in names})
    drawn = draw_pictures(folder)
    assert len(drawn) == 1 + 3 * 5 and len({path.name for path in drawn}) == len(drawn)
    assert {path.parent for path in folder.rglob("*.png")} == {folder / "pictures"}
    assert all(path.name.isascii() and " " not in path.name for path in drawn)


def test_names_that_would_be_one_file_are_numbered():
    assert picture_names(dict.fromkeys(["a b", "a/b", "A-B", "c"])) == {
        "a b": "a-b",
        "a/b": "a-b-2",
        "A-B": "a-b-3",
        "c": "c",
    }


def test_what_was_not_measured_is_not_drawn(folder):
    assert draw_pictures(write(folder)) == []
    flat = {"accuracy": 0.5, "n": 10}
    write(folder, history=history("only"), test={"only": flat})
    assert [path.name for path in draw_pictures(folder)] == ["learning_curve.png"]
    write(folder, loss_history=[{"step": 1, "loss": 2.0}, {"step": 2, "loss": 1.0}])
    assert [path.name for path in draw_pictures(folder)] == ["learning_curve.png"]


@pytest.mark.parametrize("content", ["[]", "{", '{"test": {"data": {"confusion": 3, "n": 1, "labels": []}}}'])
def test_damaged_metrics_are_one_sentence(folder, content):
    (folder / "metrics.json").write_text(content, encoding="utf-8")
    with pytest.raises(DataError, match="metrics.json") as refused:
        draw_pictures(folder)
    assert str(refused.value).count(". ") == 0


def test_without_matplotlib_there_is_one_warning(folder, monkeypatch, caplog):
    monkeypatch.setitem(sys.modules, "matplotlib", None)
    write(folder, test={"data": measured(["calm", "tense"])})
    assert draw_pictures(folder) == []
    assert [record.getMessage() for record in caplog.records] == [
        'No pictures are drawn without matplotlib; install it with: pip install "iec-hub[train]"'
    ]

"""A bundled checkpoint's card is the one that its run wrote, and its figures are those that the run measured."""

import json
import re
from pathlib import Path

import pytest

from iec_hub.registry import BUNDLED_CHECKPOINTS, checkpoint_path

ROOT = Path(__file__).parents[1]
COLUMNS = {
    "n": "n",
    "accuracy": "accuracy",
    "macro F1": "macro_f1",
    "soft cross-entropy": "soft_cross_entropy",
    "KL": "kl",
    "ECE": "ece",
}


def tables(card: str) -> dict[str, dict[str, dict[str, str]]]:
    """Split to data set to column to figure, of every table with data sets in its rows."""
    found: dict[str, dict[str, dict[str, str]]] = {}
    for split, text in re.findall(r"^### (\w+)\n(.*?)(?=^#|\Z)", card, flags=re.DOTALL | re.MULTILINE):
        rows = [[cell.strip() for cell in line.strip("| ").split("|")] for line in text.splitlines() if "|" in line]
        if rows and rows[0][0] == "data":
            found[split.lower()] = {row[0]: dict(zip(rows[0][1:], row[1:], strict=True)) for row in rows[2:]}
    return found


@pytest.mark.parametrize("name", sorted(BUNDLED_CHECKPOINTS.values()))
class TestBundledCheckpoint:
    def test_its_card_is_the_published_one(self, name: str) -> None:
        written = (Path(checkpoint_path(name)) / "README.md").read_text(encoding="utf-8")
        assert (ROOT / "model_cards" / f"{name}.md").read_text(encoding="utf-8") == written

    def test_its_figures_are_those_that_were_measured(self, name: str) -> None:
        folder = Path(checkpoint_path(name))
        metrics = json.loads((folder / "metrics.json").read_text(encoding="utf-8"))
        shown = tables((folder / "README.md").read_text(encoding="utf-8"))
        assert {"test", "validation"} <= shown.keys()
        for split, by_data in shown.items():
            assert by_data.keys() == metrics[split].keys()
            for data, row in by_data.items():
                assert row.keys() == COLUMNS.keys()
                for column, key in COLUMNS.items():
                    measured = metrics[split][data][key]
                    assert row[column] == (str(measured) if column == "n" else f"{measured:.3f}"), (split, data, key)

    def test_its_card_says_what_it_may_be_used_for(self, name: str) -> None:
        card = (Path(checkpoint_path(name)) / "README.md").read_text(encoding="utf-8").lower()
        assert "research" in card and "must not" in card
        for source in ("emotion6", "fi"):
            assert source in card

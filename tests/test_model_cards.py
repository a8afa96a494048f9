"""The published cards are what the bundled checkpoints' folders and the presets give, with pictures that exist."""

import importlib.util
import json
import re
from pathlib import Path
from types import ModuleType

import pytest
from huggingface_hub import ModelCard

from iec_hub.finetuning.model_card import model_card
from iec_hub.finetuning.model_card_presets import LICENSES, PRESETS, backbones, part_sizes
from iec_hub.registry import BUNDLED_CHECKPOINTS, checkpoint_path

ROOT = Path(__file__).parents[1]
CARDS = ROOT / "model_cards"
METRICS = {
    "accuracy": "accuracy",
    "macro F1": "macro_f1",
    "soft cross-entropy": "soft_cross_entropy",
    "KL": "kl",
    "Brier": "brier",
    "ECE": "ece",
    "AURC": "aurc",
}


@pytest.fixture(scope="module")
def script() -> ModuleType:
    """`training/make_model_cards.py`."""
    spec = importlib.util.spec_from_file_location("make_model_cards", ROOT / "training" / "make_model_cards.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def tables(card: str) -> dict[str, dict[str, dict[str, str]]]:
    """Split to data set to metric to what stands there, of the tables of metrics."""
    found: dict[str, dict[str, dict[str, str]]] = {}
    for split, text in re.findall(r"^### (\w+)\n(.*?)(?=^#|\Z)", card, flags=re.DOTALL | re.MULTILINE):
        rows = [[cell.strip() for cell in line.strip("| ").split("|")] for line in text.splitlines() if "|" in line]
        if rows and rows[0][0] == "metric":
            names = [cell.partition(" (")[0] for cell in rows[0][1:]]
            found[split.lower()] = {
                name: {row[0]: row[place] for row in rows[2:]} for place, name in enumerate(names, start=1)
            }
    return found


def test_the_published_cards_are_what_the_script_writes(script) -> None:
    written = script.cards()
    assert {path.name for path in CARDS.glob("*.md")} == set(written)
    for file, text in written.items():
        assert (CARDS / file).read_text(encoding="utf-8") == text, f"{file}: run training/make_model_cards.py"


@pytest.mark.parametrize("path", sorted(CARDS.glob("*.md")), ids=lambda path: path.stem)
def test_links_lead_somewhere_and_metadata_can_be_read(path: Path) -> None:
    card = path.read_text(encoding="utf-8")
    for link in re.findall(r"\]\(([^)]+)\)", card):
        assert (path.parent / link).is_file(), link
    data = ModelCard(card).data
    assert data.library_name == "transformers" and data.pipeline_tag == "image-classification"
    assert "iec-hub" in data.tags and data.license == "other"
    assert "Article 5(1)(f)" in card


@pytest.mark.parametrize("name", sorted(BUNDLED_CHECKPOINTS.values()))
class TestBundledCheckpoint:
    def test_its_card_is_what_its_folder_gives(self, name: str) -> None:
        folder = Path(checkpoint_path(name))
        assert (folder / "README.md").read_text(encoding="utf-8") == model_card(folder)

    def test_its_pictures_are_there_and_small(self, name: str) -> None:
        folder = Path(checkpoint_path(name))
        shown = re.findall(r"\]\((pictures/[^)]+)\)", (folder / "README.md").read_text(encoding="utf-8"))
        assert len(shown) == 7 and "pictures/learning_curve.png" in shown
        assert sorted(f"pictures/{path.name}" for path in (folder / "pictures").iterdir()) == sorted(shown)
        assert all((folder / file).stat().st_size < 40_000 for file in shown)

    def test_its_figures_are_those_that_were_measured(self, name: str) -> None:
        folder = Path(checkpoint_path(name))
        metrics = json.loads((folder / "metrics.json").read_text(encoding="utf-8"))
        shown = tables((folder / "README.md").read_text(encoding="utf-8"))
        assert shown.keys() == {"test", "validation"}
        for split, by_data in shown.items():
            assert by_data.keys() == metrics[split].keys() == {"emotion6", "fi"}
            for data, column in by_data.items():
                measured = metrics[split][data]
                for title, key in METRICS.items():
                    interval = measured["intervals"].get(key)
                    told = f" [{interval[0]:.3f}, {interval[1]:.3f}]" if interval else ""
                    assert column[title] == f"{measured[key]:.3f}{told}", (split, data, key)

    def test_its_temperatures_are_those_of_its_configuration(self, name: str) -> None:
        folder = Path(checkpoint_path(name))
        config = json.loads((folder / "config.json").read_text(encoding="utf-8"))
        metrics = json.loads((folder / "metrics.json").read_text(encoding="utf-8"))
        assert metrics["temperatures"] == config["temperatures"]
        for emotion_model, temperature in config["temperatures"].items():
            assert f"| {emotion_model} | {temperature:.3f} |" in (folder / "README.md").read_text(encoding="utf-8")

    def test_its_card_says_what_it_may_be_used_for(self, name: str) -> None:
        card = (Path(checkpoint_path(name)) / "README.md").read_text(encoding="utf-8").lower()
        assert "research" in card and "must not" in card
        for source in ("emotion6", "fi"):
            assert source in card


@pytest.mark.parametrize(("method", "size"), PRESETS)
class TestPreset:
    def test_it_claims_no_results(self, method: str, size: str) -> None:
        card = (CARDS / f"{method}-{size}.md").read_text(encoding="utf-8")
        assert "No weights are published here, and nothing was measured" in card
        assert ModelCard(card).data.eval_results is None

    def test_every_backbone_has_its_licence(self, method: str, size: str) -> None:
        card = (CARDS / f"{method}-{size}.md").read_text(encoding="utf-8")
        started = backbones(method, size).values()
        assert ModelCard(card).data.base_model == list(started)
        assert all(f"| `{name}` | {LICENSES[name]} |" in card for name in started)

    def test_its_size_is_that_of_the_built_model(self, method: str, size: str) -> None:
        file = "presets.json" if method == "ugrie" else f"presets-{method}.json"
        built = json.loads((ROOT / "benchmarks" / "results" / file).read_text(encoding="utf-8"))["presets"]
        counted = sum(part_sizes(method, size)[0].values())
        # Those were built with two emotion models, whose labels have columns of their own.
        assert counted == pytest.approx(next(row["parameters"] for row in built if row["preset"] == size), rel=1e-3)

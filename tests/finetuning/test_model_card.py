"""The card of a run: what was measured and asked for, in metadata and Markdown, with every name escaped."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from huggingface_hub import ModelCard

from iec_hub.errors import DataError
from iec_hub.evaluation import apply_temperature, distribution_report
from iec_hub.finetuning.model_card import model_card, write_card
from iec_hub.finetuning.pictures import draw_pictures
from iec_hub.models import AciecConfig, EscnetConfig, UgrieConfig

LABELS = ("calm", "tense", "sad")
NASTY = (
    "x](http://evil.example) <script>alert(1)</script> | `c` $y$ www.evil.example\n## head\n---\n- *b* _i_ a@b.example"
)


def report(labels: tuple[str, ...] = LABELS, count: int = 50, **rule: Any) -> dict[str, Any]:
    random = np.random.default_rng(4)
    predicted = apply_temperature(2 * random.normal(size=(count, len(labels))), 1.0)
    target = (random.random(count)[:, None] > predicted.cumsum(axis=1)).sum(axis=1)
    return distribution_report(predicted, target, labels, rule)


def write_run(
    folder: Path,
    data: str = "holidays",
    labels: tuple[str, ...] = LABELS,
    kind: Any = UgrieConfig,
    told: Any = None,
    **config: Any,
) -> Path:
    """A run's folder without weights; `told` are labels that its metrics name instead."""
    folder.mkdir(parents=True, exist_ok=True)
    kind(emotion_models=[list(labels)], **config).save_pretrained(folder)
    labels = labels if told is None else told
    rule = {"sure_threshold": 0.6, "sure_coverage": 0.7} if "sure_thresholds" in config else {}
    log = {
        "seed": 3,
        "data": {data: f"{data}: 90 examples over custom, 0 rows skipped\n  train: 40 (calm 20, tense 20)"},
        "history": [{"epoch": 1.0, "step": 9, "eval_soft_cross_entropy": 1.0, "eval_accuracy": 0.5}],
        "temperatures": {"custom": 1.2},
        "validation": {data: report(labels, **rule)},
        "test": {data: report(labels, **rule)},
        "parameters": {"trained": 1234567, "frozen": 7, "four_bit": 0, "trained_share": 0.04, "adapter_bytes": 2**21},
        "seconds": 90.0,
        "peak_memory_bytes": 3 * 2**30,
        "teacher_holidays": {"strength": 0.01},
    }
    record = {
        "method": kind.model_type,
        "iec_hub_version": "0.1.0",
        "versions": {"torch": "2.13.0"},
        "base_models": ["openai/clip-vit-base-patch32", "/home/somebody/backbones/language"],
        "data": [{"name": data, "terms": "private photographs"}],
        "license": "cc-by-nc-4.0",
        "card_notes": "Weights for **private** use.",
        "settings": {"freeze": ["vision"], "cache": "/home/somebody/cache", "mixup": 0.0},
        "trainer": {"learning_rate": 0.001, "load_best_model_at_end": True},
    }
    (folder / "metrics.json").write_text(json.dumps(log), encoding="utf-8")
    (folder / "training.json").write_text(json.dumps(record), encoding="utf-8")
    return folder


@pytest.fixture
def run(tmp_path: Path) -> Path:
    return write_run(tmp_path / "my-run")


def rendered(card: str) -> str:
    """The card's Markdown as HTML, with tables, raw HTML and addresses that become links, as on the Hub."""
    markdown_it = pytest.importorskip("markdown_it")
    return markdown_it.MarkdownIt("commonmark", {"html": True}).enable("table").render(card.split("---\n", 2)[2])


class TestMetadata:
    def test_it_tells_what_the_hub_asks_for(self, run):
        data = ModelCard(model_card(run)).data
        assert (data.library_name, data.pipeline_tag) == ("transformers", "image-classification")
        assert data.license == "cc-by-nc-4.0" and {"ugrie", "image-emotion-classification"} <= set(data.tags)
        assert data.datasets == ["holidays"] and data.base_model == ["openai/clip-vit-base-patch32"]
        assert data.metrics == ["accuracy", "f1", "brier_score"]

    def test_the_index_holds_what_was_measured_on_test(self, run):
        measured = json.loads((run / "metrics.json").read_text())["test"]["holidays"]
        results = {result.metric_type: result for result in ModelCard(model_card(run)).data.eval_results}
        assert {result.dataset_split for result in results.values()} == {"test"}
        for kind, key in {"accuracy": "accuracy", "f1": "macro_f1", "brier_score": "brier", "ece": "ece"}.items():
            assert results[kind].metric_value == pytest.approx(measured[key], abs=5e-5)

    def test_without_measurements_there_is_no_index(self, run):
        (run / "metrics.json").unlink()
        card = model_card(run)
        assert ModelCard(card).data.eval_results is None and "Nothing was measured" in card

    def test_an_adapter_says_so(self, run):
        adapter = {"peft_type": "LORA", "base_model_name_or_path": "somebody/ugrie-base"}
        (run / "adapter_config.json").write_text(json.dumps(adapter), encoding="utf-8")
        card = model_card(run)
        data = ModelCard(card).data
        assert "somebody/ugrie-base" in data.base_model and {"lora", "peft"} <= set(data.tags)
        assert data.to_dict()["base_model_relation"] == "adapter"
        for step in ("PeftModel.from_pretrained", "load_adapter", "iec-hub merge", "`somebody/ugrie-base`"):
            assert step in card
        assert "PeftModel" not in model_card(write_run(run.parent / "whole"))


class TestText:
    def test_it_says_what_the_model_is_not_for(self, run):
        card = " ".join(model_card(run).split())
        for part in ("does not read the feelings of a person", "must not be used to judge people", "Article 5(1)(f)"):
            assert part in card
        assert "annotators" in card and "culture" in card

    def test_results_come_with_their_intervals(self, run):
        measured = json.loads((run / "metrics.json").read_text())["test"]["holidays"]
        card = model_card(run)
        for key, title in {"accuracy": "accuracy", "brier": "Brier", "aurc": "AURC"}.items():
            low, high = measured["intervals"][key]
            assert f"| {title} | {measured[key]:.3f} [{low:.3f}, {high:.3f}] |" in card
        for row in measured["per_class"]:
            assert f"| {row['label']} | {row['support']} | {row['predicted']} | {row['precision']:.2f} |" in card

    def test_it_shows_the_pictures_that_there_are(self, run):
        assert "](pictures/" not in model_card(run), "a link to nothing"
        assert "| calm |" in model_card(run).partition("Confusion matrix")[2], "then as a table"
        pytest.importorskip("matplotlib")
        drawn = draw_pictures(run)
        card = model_card(run, pictures="elsewhere")
        assert len(drawn) == 4 and all(f"](elsewhere/{path.name})" in card for path in drawn)

    def test_data_procedure_and_notes_are_told(self, run):
        card = model_card(run)
        expected = ["terms: private photographs", "train: 40 (calm 20, tense 20)", "Weights for **private** use."]
        expected += ['"mixup": 0.0', '"learning_rate": 0.001', '"strength": 0.01', "The best epoch was chosen"]
        expected += ["| 1,234,567 (4 %) |", "| 2.0 MiB |", "| 1.5 minutes |", "| 3,072.0 MiB |", "| 2.13.0 |"]
        for told in expected:
            assert told in card
        assert "/home/somebody" not in card and "somebody" not in card and '"cache": "cache"' in card

    def test_the_rule_of_uncertain_is_the_one_that_holds(self, run, tmp_path):
        assert "That rule was not tuned" in model_card(run)
        assert "| custom | 1.000 (not fitted itself) | none | the general rule |" in model_card(run)
        tuned = model_card(
            write_run(
                tmp_path / "tuned",
                temperatures={"custom": 1.2},
                label_offsets={"custom": [0.25, -0.25, 0.0]},
                sure_thresholds={"custom": 0.6},
                sure_coverage=0.7,
            )
        )
        assert "70 % of the validation pictures are called sure" in tuned and "was not tuned" not in tuned
        assert "| custom | 1.200 | calm +0.25, tense -0.25, sad +0.00 | 60.0 % |" in tuned

    @pytest.mark.parametrize("kind", [UgrieConfig, EscnetConfig, AciecConfig])
    def test_each_method_has_its_paper(self, tmp_path, kind):
        card = model_card(write_run(tmp_path / "run", kind=kind))
        assert "Only the paper's abstract was followed" in card
        assert {"ugrie": "One for All", "escnet": "stimuli-aware", "aciec": "2511.23115"}[kind.model_type] in card

    def test_it_is_a_function_of_the_folder(self, run):
        path = write_card(run)
        assert path == run / "README.md"
        first = path.read_text(encoding="utf-8")
        assert write_card(run).read_text(encoding="utf-8") == first
        assert write_card(run, run / "other.md", name="renamed").read_text(encoding="utf-8") != first


class TestUntrustedNames:
    def test_no_name_becomes_markup(self, tmp_path):
        labels = ("](x) *b* |", "- one", "1. two")
        card = model_card(
            write_run(tmp_path / "run", data=NASTY, labels=labels, told=(NASTY, *labels[1:])), name=NASTY
        )
        plain = model_card(write_run(tmp_path / "plain"), name="plain")
        found, expected = rendered(card), rendered(plain)
        for tag in ("<script", "<a ", "<img", "<em>", "<hr", "<h2>", "<h3>", "<table>", "<li>", "<code>"):
            assert found.count(tag) == expected.count(tag), tag
        assert "&lt;script&gt;" in found and "http\\://" in card

    def test_no_name_breaks_the_metadata(self, tmp_path):
        run = write_run(tmp_path / "run", data="a: [b]\n---\nlicense: mit", labels=("yes", "null"))
        data = ModelCard(model_card(run, name="{x}: - 'y'\n--- # z")).data
        assert data.license == "cc-by-nc-4.0" and data.datasets is None
        assert data.model_name == "{x}: - 'y' --- # z"
        assert data.eval_results[0].dataset_name == "a: [b] --- license: mit"


class TestRefusals:
    @pytest.mark.parametrize(
        ("file", "content"),
        [
            ("config.json", None),
            ("config.json", '{"model_type": "bert"}'),
            ("metrics.json", "[1]"),
            ("metrics.json", '{"test": {"data": {"accuracy": "high", "n": 3}}}'),
            ("metrics.json", '{"test": [1]}'),
            ("training.json", "{"),
            ("training.json", '{"data": [3]}'),
            ("model.safetensors", "not weights"),
        ],
    )
    def test_a_folder_that_no_run_wrote_is_one_sentence(self, run, file, content):
        (run / file).unlink(missing_ok=True)
        if content is not None:
            (run / file).write_text(content, encoding="utf-8")
        with pytest.raises(DataError) as refused:
            model_card(run)
        assert ";" in str(refused.value) and len(str(refused.value)) < 250

"""The pure parts of the fine-tuning benchmarks, and steps on quantised tiny models as the GPU benchmark takes them."""

import csv
import importlib
import importlib.util
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

BENCHMARKS = Path(__file__).parents[1] / "benchmarks"
METHODS = ("ugrie", "escnet", "aciec")
needs_bitsandbytes = pytest.mark.skipif(
    importlib.util.find_spec("bitsandbytes") is None, reason="bitsandbytes is not installed"
)


@pytest.fixture
def script(monkeypatch: pytest.MonkeyPatch) -> Any:
    """`script(name)` imports a script of the folder, as it is imported when it runs there."""
    monkeypatch.syspath_prepend(str(BENCHMARKS))
    before, path = set(sys.modules), list(sys.path)
    yield importlib.import_module
    sys.path[:] = path
    for name in set(sys.modules) - before:
        if str(getattr(sys.modules[name], "__file__", "") or "").startswith(str(BENCHMARKS)):
            del sys.modules[name]


def write_table(file: Path, rows: list[dict[str, str]]) -> None:
    file.parent.mkdir(parents=True, exist_ok=True)
    with file.open("w", encoding="utf-8", newline="") as opened:
        table = csv.DictWriter(opened, list(rows[0]))
        table.writeheader()
        table.writerows(rows)


def read_table(file: Path) -> list[dict[str, str]]:
    with file.open(encoding="utf-8", newline="") as opened:
        return list(csv.DictReader(opened))


def test_valence_becomes_classes_that_the_package_reads(script: Any, tmp_path: Path, pictures: list[Path]) -> None:
    from iec_hub.data import load_emotion_dataset

    source, valences = tmp_path / "oasis", ("3.49", "3.5", "4.75", "4.76")
    (source / "images").mkdir(parents=True)
    rows = []
    for number, valence in enumerate(valences):
        (source / "images" / f"{number}.jpg").write_bytes(pictures[number].read_bytes())
        rows.append({"file_name": f"images/{number}.jpg", "split": "train", "valence": valence, "theme": "Dog"})
    write_table(source / "metadata.csv", rows)
    folder = script("compare_finetuning").write_feelings(source, tmp_path / "feelings")
    dataset = load_emotion_dataset(str(folder), verify_images=True)
    assert [example.label for example in dataset] == ["unpleasant", "neutral", "neutral", "pleasant"]
    assert all(example.text is None for example in dataset)
    script("compare_finetuning").write_feelings(source, tmp_path / "feelings")  # a second time is no error


@pytest.mark.parametrize("method", METHODS)
def test_the_ways_are_what_the_training_commands_understand(script: Any, tmp_path: Path, method: str) -> None:
    compare = script("compare_finetuning")
    module = importlib.import_module(f"iec_hub.finetuning.{method}_arguments")
    frozen = {}
    for way in compare.WAYS:
        run = compare.Run(tmp_path / "emotion6", method, way, 0.5, 3, further=("--bf16", "False"))
        settings = module.parse_arguments(run.arguments(tmp_path, tmp_path / run.name), None)
        module.check_arguments(settings)
        assert settings.adapter.lora == (way == "lora") and settings.arguments.seed == 3
        rates = compare.LORA_LEARNING_RATES if way == "lora" else compare.LEARNING_RATES
        given = (settings.arguments.learning_rate, settings.arguments.language_learning_rate)
        assert given == tuple(pytest.approx(rate / 2) for rate in rates)
        assert not settings.arguments.bf16, "what is given last wins"
        frozen[way] = set(settings.start.freeze)
    assert "language" in frozen["head"] > frozen["full"] and "language" not in frozen["full"]


@pytest.mark.parametrize(
    ("losses", "chosen", "tried"), [((0.8, 0.9, 0.1), 0, 2), ((0.9, 0.8, 0.7), 2, 3), ((0.9, 0.7, 0.8), 1, 3)]
)
def test_rates_grow_while_that_helps(
    script: Any, tmp_path: Path, losses: tuple[float, ...], chosen: int, tried: int
) -> None:
    compare = script("compare_finetuning")
    bench, scales = compare.Bench(tmp_path, tmp_path), compare.WAYS["lora"].scales
    given = dict(zip(scales, losses, strict=True))
    bench.train = lambda run: {"validation": given[run.scale]}
    assert bench.chosen(tmp_path / "emotion6", "ugrie", "lora", 0) == (
        scales[chosen],
        {f"{scale:g}": loss for scale, loss in list(given.items())[:tried]},
    )


def rows_of(report: Any, lora: np.ndarray, target: np.ndarray) -> list[dict[str, Any]]:
    right = 0.9 * target + 0.1 / target.shape[1]
    return [
        {"label": report.PROBE, "runs": 1, "trained": 9, "stored_bytes": 36, "predictions": [right], "target": target},
        *(
            {"label": label, "runs": len(predictions), "scale": 0.5, "trained": 10, "trained_share": 0.04}
            | {"stored_bytes": 4e6, "seconds": 9.0, "peak_memory_mib": 99.0}
            | {"predictions": predictions, "target": target}
            for label, predictions in ((report.WHOLE, [right, right]), (report.LORA, [lora, right]))
        ),
    ]


def test_the_goal_is_one_point_of_the_mean_over_seeds(script: Any) -> None:
    report = script("finetuning_report")
    target = np.eye(3)[np.random.default_rng(0).integers(3, size=100)]
    right = 0.9 * target + 0.1 / 3
    for wrong, reached in ((2, True), (4, False)):
        lora = right.copy()
        lora[:wrong] = np.roll(right[:wrong], 1, axis=1)
        block = report.measured_rows(rows_of(report, lora, target))
        found = report.goal(block)
        assert found["difference"][0] == pytest.approx(-wrong / 200) and found["reached"] == reached
        row = block["rows"][-1]
        assert row["accuracies"] == [pytest.approx(1 - wrong / 100), 1] and row["accuracy_interval"][1] <= 1
        assert row["soft_cross_entropy_minus_full"][0] > 0 and "accuracy_minus_full" not in block["rows"][1]
    result = {"arguments": "--seeds 0 1", "schedules": {"emotion6": (4, 64)}, "learning_rates": (1e-3, 1e-4)}
    result |= {"scales": {"LoRA": (1, 5)}, "feelings": (3.5, 4.75), "machine": {"cores": 2}}
    page = report.as_markdown(result | {"blocks": [{"data": "emotion6", "checkpoint": "ugrie-mini", **block}]})
    assert "| LoRA | 2 | 0.5 | 0.980 [" in page and "| no |" in page and "--seeds 0 1`" in page


def test_hidden_labels_leave_no_picture_and_no_word_behind(script: Any, tmp_path: Path) -> None:
    new = script("new_labels")
    rows = [
        {"file_name": "images/a.jpg", "split": "train", "emotion": "awe", "concepts": "misty forest", "tags": ""},
        {"file_name": "images/b.jpg", "split": "test", "emotion": "fear", "concepts": "an excited crowd", "tags": "x"},
        {"file_name": "images/c.jpg", "split": "train", "emotion": "sadness", "concepts": "the contents", "tags": "y"},
    ]
    write_table(tmp_path / "fi/metadata.csv", rows)
    write_table(tmp_path / "text/fi_concepts.csv", [{"id": row["file_name"], **row} for row in rows])
    for name in ("oasis", "captions"):
        told = [{"file_name": "a.jpg", "theme": "Excited face", "caption1": text} for text in ("Awesome!", "A dog.")]
        write_table(tmp_path / name / "metadata.csv", told)
    kept = new.prepare(tmp_path, tmp_path / "work")
    assert kept == {"fi, visible": [3, 2], "fi, hidden": [3, 1], "texts": [3, 1], "oasis": [2, 1], "captions": [2, 1]}
    visible = read_table(tmp_path / "work/fi-visible/metadata.csv")
    assert [(row["emotion"], row["concepts"], row["tags"]) for row in visible] == [
        ("terror", "", ""),
        ("grief", "the contents", "y"),
    ]
    (hidden,) = read_table(tmp_path / "work/fi-hidden/metadata.csv")
    assert hidden["emotion"] == "awe" and not hidden["concepts"]
    (text,) = read_table(tmp_path / "work/texts/fi_concepts.csv")
    assert text["emotion"] == "grief"
    assert [row["caption1"] for row in read_table(tmp_path / "work/oasis/metadata.csv")] == ["A dog."]


def test_drawn_pictures_count_in_no_accuracy(script: Any) -> None:
    new = script("new_labels")
    nothing = np.nan
    runs = [
        {new.PROBE: np.array([nothing, 0, 0, 1.0]), new.ADAPTER: np.array([nothing, 1, 1, 1.0])},
        {new.PROBE: np.array([nothing, 1, 0, 0.0]), new.ADAPTER: np.array([nothing, 1, nothing, 1.0])},
    ]
    rows = new.table(runs, test=1)
    assert rows[new.ADAPTER]["test"]["mean"] == 1 and rows[new.PROBE]["test"]["mean"] == 0.5
    assert rows[new.PROBE]["unseen"]["single_seeds"] == [pytest.approx(1 / 3)] * 2
    # Mean over seeds of each picture's difference: 1/2, 1 (in one seed only) and 1/2.
    assert rows[new.ADAPTER]["unseen"]["minus_probe"][0] == pytest.approx(2 / 3)
    result = {
        "seeds": [0, 1],
        "further": ["--views", "2"],
        "hidden": new.HIDDEN,
        "rows_kept": {"fi": [3, 1]},
        "rounded_tower": True,
    }
    result |= {"shots": 8, "epochs": 2, "batch_size": 8, "scale": 5.0, "scales": (1, 5), "adapter_bytes": 1e6}
    page = new.as_markdown(result | {"machine": {"cores": 2}, "rows": rows})
    assert "--seeds 0 1 --views 2`" in page and "fi 1 of 3" in page and "rounded to float16" in page
    assert f"| {new.ADAPTER} | 1.000 ± 0.000 (+0.500" in page


def test_quantised_rows_are_compared_with_bfloat16(script: Any) -> None:
    quantization = script("quantization")
    row = {"scale": 1.0, "trained": 10, "frozen": 90, "four_bit": 0, "eight_bit": 0, "bytes": 4e6, "accuracy": 0.5}
    row |= {"soft_cross_entropy": 1.0, "n": 4, "peak_memory_mib": 9.0}
    right = np.array([1.0, 1, 0, 0])
    rows = quantization.compared(
        [
            {**row, "label": quantization.WHOLE, "step_seconds": [0.1, 0.9, 0.1], "right": right},
            {**row, "label": "4-bit", "step_seconds": [0.2, 1.8, 0.3], "four_bit": 50, "right": 0 * right},
        ]
    )
    assert rows[1]["step_ratio"] == pytest.approx(2) and rows[1]["accuracy_minus_bfloat16"][0] == -0.5
    page = quantization.as_markdown(
        {"seeds": [0], "epochs": 6, "machine": {"cores": 2}, "checkpoints": {"ugrie-mini": rows}}
    )
    assert "| 4-bit | 50 | 50% | 4.0 | 0.500 | -0.500 [" in page and "| 2.00 | 9 |" in page


@pytest.fixture
def wide(request: pytest.FixtureRequest) -> Any:
    """`wide(method) -> (model, processor)`: a tiny model whose layers are wide enough for 4-bit."""

    def build(method: str) -> tuple[Any, Any]:
        tiny = request.getfixturevalue(f"build_tiny_{method}")
        model, _ = tiny()
        size = {"hidden_size": 64, "intermediate_size": 128}
        bart = {"d_model": 64, "encoder_ffn_dim": 128, "decoder_ffn_dim": 128}
        text = model.config.text_config.to_dict() | (bart if method == "ugrie" else size)
        fields: dict[str, Any] = {"text_config": text, "vision_config": model.config.vision_config.to_dict() | size}
        for name in ("captioner_config", "observer_config"):
            if getattr(model.config, name, None) is not None:
                fields[name] = getattr(model.config, name).to_dict() | {"pooled_size": 64}
        return tiny(**fields)

    return build


@needs_bitsandbytes
@pytest.mark.parametrize("method", METHODS)
def test_a_qlora_step_of_a_preset_learns_in_the_adapter_alone(script: Any, wide: Any, method: str) -> None:
    from iec_hub.finetuning.parameter_table import parameter_table

    qlora, device = script("gpu_qlora"), torch.device("cpu")
    model, processor = wide(method)
    trained = qlora.adapted(model, processor, device)
    assert qlora.table_figures(parameter_table(trained))["four_bit"] > 0
    batch = qlora.picture_batch(trained.get_base_model(), processor, device, 3)
    assert len(batch["labels"]) == 3
    check_steps(qlora, trained, batch)


@needs_bitsandbytes
def test_a_qlora_step_of_the_reasoner_reads_pictures_and_learns_tokens(script: Any) -> None:
    from iec_hub.finetuning.parameter_table import parameter_table

    qlora, device = script("gpu_qlora"), torch.device("cpu")
    fields = {
        **qlora.REASONER,
        "text_config": {
            **qlora.REASONER["text_config"],
            **{"vocab_size": 200, "hidden_size": 64, "intermediate_size": 128, "num_hidden_layers": 2},
            **{"num_attention_heads": 4, "num_key_value_heads": 2},
            "rope_parameters": {"rope_type": "default", "mrope_section": [2, 3, 3], "rope_theta": 1000000.0},
        },
        "vision_config": {"depth": 1, "hidden_size": 32, "intermediate_size": 64, "num_heads": 2}
        | {"out_hidden_size": 64, "fullatt_block_indexes": [0]},
        **{"image_token_id": 190, "video_token_id": 191, "vision_start_token_id": 192, "vision_end_token_id": 193},
    }
    torch.manual_seed(0)
    model = qlora.adapted_reasoner(qlora.random_reasoner(fields, device))
    figures = qlora.table_figures(parameter_table(model))
    assert figures["four_bit"] == 2 * (2 * 64 * 64 + 2 * 64 * 32 + 3 * 64 * 128)
    batch = qlora.reasoner_batch(fields, device, size=2, side=56, tokens=5)
    assert batch["input_ids"].shape == (2, 4 + 2 + 5) and (batch["labels"] >= 0).sum() == 2 * 5
    check_steps(qlora, model, batch)


def check_steps(qlora: Any, model: Any, batch: dict[str, Any]) -> None:
    """Steps change what is trained and nothing else, and the loss of the same batch falls."""
    device = torch.device("cpu")
    before = {name: parameter.detach().clone() for name, parameter in model.named_parameters()}
    optimizer = qlora.optimizer_of(model, device)
    first = qlora.train_step(model, batch, optimizer, device)
    seconds, last = qlora.timed(lambda: qlora.train_step(model, batch, optimizer, device), 6, 2, device)
    assert last < first and seconds > 0
    moved = {name for name, parameter in model.named_parameters() if not torch.equal(parameter, before[name])}
    trained = {name for name, parameter in model.named_parameters() if parameter.requires_grad}
    assert moved and moved <= trained and any(".lora_" in name for name in moved)


def test_without_a_gpu_one_sentence_is_all(
    script: Any, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    qlora = script("gpu_qlora")
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    monkeypatch.setattr(sys, "argv", ["gpu_qlora.py", "ugrie-large"])
    qlora.main()
    assert capsys.readouterr().out == "There is no CUDA GPU here, so nothing was measured.\n"
    monkeypatch.setattr(sys, "argv", ["gpu_qlora.py", "ugrie-huge"])
    with pytest.raises(SystemExit):
        qlora.main()
    assert "ugrie-huge" in capsys.readouterr().err

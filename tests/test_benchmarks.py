"""The pure parts of the benchmarks: regressions, caption scores, tables."""

import csv
import importlib
import shutil
import sys
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch

BENCHMARKS = Path(__file__).parents[1] / "benchmarks"


@pytest.fixture
def script(monkeypatch: pytest.MonkeyPatch) -> Any:
    """`script(name)` imports a script of the folder, as it is imported when it runs there."""
    monkeypatch.syspath_prepend(str(BENCHMARKS))
    # A script may name its module as something else does; it must not stay behind for other tests.
    before = set(sys.modules)
    yield importlib.import_module
    for name in set(sys.modules) - before:
        if str(getattr(sys.modules[name], "__file__", "") or "").startswith(str(BENCHMARKS)):
            del sys.modules[name]


def splits(features: np.ndarray) -> dict[str, np.ndarray]:
    return {"train": features[:120], "validation": features[120:160], "test": features[160:]}


def test_ridge_finds_what_one_of_two_blocks_knows(script: Any) -> None:
    valence = script("valence")
    random = np.random.default_rng(0)
    useful, noise = random.normal(size=(200, 5)), random.normal(size=(200, 300))
    target = 4 + useful @ np.array([1.0, -1, 0.5, 0, 0])
    blocks = {split: [splits(useful)[split], splits(noise)[split]] for split in splits(useful)}
    predicted, alpha = valence.ridge_predictions(blocks, splits(target))
    alone, _ = valence.ridge_predictions({s: [part[1]] for s, part in blocks.items()}, splits(target))
    assert valence.pearson(predicted, splits(target)["test"]) > 0.9 > 0.5 > valence.pearson(alone, target[160:])
    assert alpha in valence.ALPHAS


def test_ridge_is_the_textbook_solution_at_a_given_alpha(script: Any) -> None:
    valence = script("valence")
    random = np.random.default_rng(1)
    features, target = random.normal(size=(200, 8)), random.normal(size=200)
    parts = splits(features)
    predicted, _ = valence.ridge_predictions({s: [p] for s, p in parts.items()}, splits(target), alphas=[0.3])
    train, test = valence.standardised(parts["train"], parts["test"])
    middle = target[:120].mean()
    weights = np.linalg.solve(train.T @ train + 0.3 * np.eye(8), train.T @ (target[:120] - middle))
    np.testing.assert_allclose(predicted, test @ weights + middle)


def test_standardised_blocks_weigh_alike_and_constant_columns_vanish(script: Any) -> None:
    random = np.random.default_rng(2)
    narrow, wide = random.normal(3, 9, size=(50, 2)), random.normal(size=(50, 40))
    narrow_out, wide_out, constant = (
        script("valence").standardised(part)[0] for part in (narrow, wide, np.full((50, 3), 7.0))
    )
    assert np.square(narrow_out).sum() == pytest.approx(np.square(wide_out).sum()) == pytest.approx(50)
    assert not constant.any()


def test_correlations_are_of_the_mean_over_seeds_and_compare_with_the_baseline(script: Any) -> None:
    valence = script("valence")
    target = np.linspace(1, 7, 60)
    noise = np.random.default_rng(3).normal(0, 3, size=60)
    rows = valence.correlation_rows(
        {"base": [target + noise], "own": [target + noise, target - noise]}, target, "base"
    )
    assert rows["base"]["minus_baseline"] is None
    assert rows["own"]["r"][0] == pytest.approx(1) and max(rows["own"]["single_seeds"]) < 0.95
    assert rows["own"]["minus_baseline"][1] > 0
    assert "own" in "\n".join(valence.as_markdown(rows, 60, "base"))


def test_oasis_rows_become_examples_with_valence_and_caption(
    script: Any, tmp_path: Path, pictures: list[Path]
) -> None:
    with (tmp_path / "metadata.csv").open("w", encoding="utf-8", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(["file_name", "split", "valence", "caption"])
        writer.writerow([pictures[0].name, "train", "5.5", "A  kitchen."])
        writer.writerow([pictures[1].name, "test", "2", "Signs."])
    (tmp_path / pictures[0].name).write_bytes(pictures[0].read_bytes())
    found = script("oasis").read_oasis(tmp_path)
    assert [len(found[split]) for split in ("train", "validation", "test")] == [1, 0, 1]
    example = found["train"][0]
    assert (example.valence, example.text, example.origin) == (5.5, "A kitchen.", "metadata.csv:2")
    assert example.open().size


def caption_scores(script: Any, candidates: list[str], references: list[str]) -> dict[str, float]:
    from iec_hub.finetuning.word_detector import WordLabel

    vocabulary = [WordLabel("dog", "object", ("dogs?",)), WordLabel("beach", "scene", ("beach", "shore"))]
    found = script("captions").scores(candidates, references, vocabulary)
    return {name: score(np.arange(len(references))) for name, score in found.items()}


REFERENCES = ["A brown dog runs on the beach.", "Two people at the shore look at a boat.", "A red car in the street."]


def test_a_caption_like_the_humans_has_full_marks_and_another_has_none(script: Any) -> None:
    pytest.importorskip("pycocoevalcap")
    same = caption_scores(script, [text.upper().rstrip(".") for text in REFERENCES], REFERENCES)
    assert all(same[name] == pytest.approx(1, abs=1e-6) for name in same if name != "CIDEr")
    assert same["CIDEr"] == pytest.approx(10)
    other = caption_scores(script, ["Nothing whatsoever, really"] * 3, REFERENCES)
    assert other["BLEU-1"] < 1e-6 and other["ROUGE-L"] == other["CIDEr"] == other["word recall"] == 0
    assert np.isnan(other["word precision"])


def test_words_count_by_label_not_by_spelling(script: Any) -> None:
    pytest.importorskip("pycocoevalcap")
    told = ["Dogs at the shore.", "A dog.", "A beach."]
    found = caption_scores(script, told, REFERENCES)
    assert found["word precision"] == pytest.approx(2 / 4)
    assert found["word recall"] == pytest.approx(2 / 3)


def test_intervals_are_paired_and_undefined_scores_are_left_out(script: Any) -> None:
    pytest.importorskip("pycocoevalcap")
    from iec_hub.finetuning.word_detector import WordLabel

    captions = script("captions")
    rows = {"own": REFERENCES, captions.NEIGHBOUR: REFERENCES, captions.FLOOR: [captions.FLOOR] * 3}
    vocabulary = [WordLabel("dog", "object", ("dog",))]
    found = captions.measured(rows, REFERENCES, vocabulary, resamples=50)
    assert set(found) == {*rows, f"own, minus {captions.NEIGHBOUR}"}
    assert found[f"own, minus {captions.NEIGHBOUR}"]["ROUGE-L"] == [0, 0, 0]
    assert found[captions.FLOOR]["word precision"] is None and found["own"]["word precision"][0] == 1
    result = {"checkpoint": "own", "n": 3, "vocabulary": 1, "rows": found | {"A | B": found["own"]}}
    page = captions.as_markdown(result | {"mean_tokens": {"own": 7.0}, "machine": {"cores": 2}})
    assert r"A \| B" in page and "| A photo. |" in page


def test_the_nearest_picture_is_the_one_in_the_same_direction(script: Any) -> None:
    pytest.importorskip("pycocoevalcap")
    train = torch.tensor([[1.0, 0.0], [0.0, 1.0], [50.0, 50.0]])
    test = torch.tensor([[9.0, 1.0], [0.1, 3.0], [0.2, 0.2]])
    assert script("captions").nearest(train, test) == [0, 1, 2]


def test_tables_compare_the_mean_of_seeds_with_probe_and_full_model(script: Any) -> None:
    report = script("escnet_report")
    target = np.eye(3)[np.random.default_rng(4).integers(3, size=40)]
    right, flat = 0.9 * target + 0.1 / 3, np.full((40, 3), 1 / 3)
    wrong = 0.9 * np.roll(target, 1, axis=1) + 0.1 / 3
    rows = report.table({report.PROBE: [flat], report.FULL: [right, right], "worse": [wrong]}, target)
    assert rows[report.FULL]["accuracy"] == 1 and rows[report.FULL]["accuracy_sd"] == 0
    assert rows[report.FULL]["accuracy_minus_probe"][1] > 0 and "cross_entropy_minus_full" not in rows[report.FULL]
    assert rows["worse"]["accuracy_sd"] is None and rows["worse"]["cross_entropy_minus_full"][1] > 0
    assert "accuracy_minus_probe" not in rows[report.PROBE]
    page = report.as_markdown(
        {"seeds": [0, 1], "further": [], "machine": {"cores": 2}, "data": {"fi": {"n": 40, "rows": rows}}}
        | {"valence": None}
    )
    assert "| ESCNet | 2 | 1.000 ± 0.000 |" in page and "Valence" not in page


def test_ablations_share_a_text_taught_model_only_where_it_has_read_the_same(script: Any) -> None:
    found = {key: c.architecture for key, c in script("compare_escnet").CONFIGURATIONS.items()}
    shared = {key for key, name in found.items() if name == found["full"]}
    assert shared == {"full", "plain_loss"}
    assert len(set(found.values())) == len(found) - len(shared) + 1


def text_source(name: str, *texts: Any) -> Any:
    """Texts of two labels in turn; a text is a list of wordings."""
    from iec_hub.emotions import EmotionModel
    from iec_hub.finetuning.emotion_texts import TextSource

    labels = torch.eye(2).repeat(len(texts), 1)[: len(texts)]
    return TextSource(name, EmotionModel.from_labels(["up", "down"]), list(texts), labels, quotable=not name)


def test_emotion_words_are_masked_in_all_three_sources(script: Any) -> None:
    from iec_hub.models.aciec import TextParts

    parts = TextParts("happy dog, misty forest", "It evokes clear awe and some fear.", "Don't be SAD")
    assert script("compare_aciec").masked(parts) == TextParts(
        "... dog, misty forest", "It evokes clear ... and some ....", "Don't be ..."
    )


def test_an_ablation_keeps_all_images_and_no_text_of_which_nothing_is_left(script: Any) -> None:
    from iec_hub.finetuning.emotion_texts import EmotionTexts
    from iec_hub.models.aciec import TextParts

    compare = script("compare_aciec")
    changes = {name: ablation.change for name, ablation in compare.ABLATIONS.items()}
    both, bare = TextParts("dog", "A dog."), TextParts("dog")
    images, lists = text_source("fi", [both], [bare]), text_source("", [bare, both], [bare, bare], [both])
    said = text_source("", [TextParts(embedded_text="Stop!")])
    for source in (images, lists, said):
        same = compare.changed_texts(source, changes["full"])
        assert same.versions == source.versions and torch.equal(same.distributions, source.distributions)
    kept = compare.changed_texts(images, changes["no_concepts"])
    assert kept.versions == [[TextParts("", "A dog.")], [TextParts()]] and kept.name == "fi"
    assert images.versions == [[both], [bare]], "the source itself stays"
    left = compare.changed_texts(lists, changes["no_concepts"])
    assert left.versions == [[TextParts("", "A dog.")], [TextParts("", "A dog.")]]
    assert torch.equal(left.distributions, lists.distributions[[0, 2]])
    silent = compare.changed_texts(said, changes["no_embedded"])
    assert len(silent) == 0 and silent.quotable
    data = EmotionTexts([images], [silent, left], 4, quoted=1.0)
    assert all(not data[i]["parts"].embedded_text and any(data[i]["parts"]) for i in range(len(data)))


def test_ablations_differ_from_the_full_model_in_what_they_say(script: Any) -> None:
    from dataclasses import fields

    from iec_hub.finetuning.aciec_arguments import RecipeArguments

    ablations = script("compare_aciec").ABLATIONS
    known, full = {field.name for field in fields(RecipeArguments)}, ablations["full"]
    assert {name for ablation in ablations.values() for name, _ in ablation.recipe} <= known
    assert len({ablation.label for ablation in ablations.values()}) == len(ablations)
    others = [ablation for ablation in ablations.values() if ablation is not full]
    assert full.hierarchical and not full.recipe
    assert all(a.recipe or not a.hierarchical or a.change is not full.change for a in others)


def test_aciec_tables_name_precision_of_concepts(script: Any) -> None:
    report, escnet = script("aciec_report"), script("escnet_report")
    target = np.eye(3)[np.random.default_rng(4).integers(3, size=40)]
    right, flat = 0.9 * target + 0.1 / 3, np.full((40, 3), 1 / 3)
    rows = escnet.table({escnet.PROBE: [flat], report.FULL: [right, right], "A | B": [flat]}, target, report.FULL)
    found = {"detector": 0.5, "most frequent concepts": 0.125, "n": 24.0}
    results = {"seeds": [0, 1], "further": ["--only", "full"], "machine": {"cores": 2}}
    results["data"] = {"fi": {"n": 40, "rows": rows}}
    results["concepts"] = {"True": [found, found | {"detector": 0.25}], "False": [found | {"detector": 0.0625}]}
    page = report.as_markdown(results)
    assert "--seeds 0 1 --only full`" in page and "| ACIEC | 2 | 1.000 ± 0.000 |" in page
    assert "soft CE minus ACIEC" in page and "on the 24 test pictures" in page
    assert "| detector, hierarchical loss | 0.375 |" in page and "| detector, flat loss | 0.062 |" in page
    assert "| most frequent concepts | 0.125 |" in page and "untrained" not in page
    assert page.endswith("Machine: cores: 2.\n")
    results["concepts"] = {"True": [found], "False": []}
    assert "flat" not in report.as_markdown(results)
    results["concepts"] = {"True": [{}], "False": []}
    assert "No test picture has concepts." in report.as_markdown(results)


def test_presets_read_what_people_wrote_about_the_pictures(script: Any, pictures: list[Path]) -> None:
    told = script("presets").human_captions(pictures[:3])
    assert len(set(told)) == 3 and all(len(text.split()) > 3 for text in told)


@pytest.fixture
def ticking(monkeypatch: pytest.MonkeyPatch) -> Any:
    """`ticking(module)` makes its clock one that only its `pass_time(seconds)` moves."""

    def use(module: Any) -> Any:
        now = [0.0]
        monkeypatch.setattr(module, "time", SimpleNamespace(perf_counter=lambda: now[0]))
        return lambda seconds: now.__setitem__(0, now[0] + seconds)

    return use


def test_a_stage_within_another_one_counts_once(script: Any, ticking: Any) -> None:
    speed = script("aciec_speed")
    pass_time, watch = ticking(speed), speed.Stopwatch()
    inner = watch.around(lambda seconds: pass_time(seconds), "inner")
    outer = watch.around(lambda: (pass_time(1), inner(2), inner(3), pass_time(4)), "outer")
    outer()
    assert watch.lap() == {"inner": [2, 3], "outer": [5]} and watch.lap() == {}
    whole = watch.around(lambda: (pass_time(1), inner(2)), "whole", whole=True)
    watch.around(whole, "around")()
    assert watch.lap() == {"whole": [3], "around": [0]}


def test_a_failed_step_leaves_the_watch_as_it_was(script: Any, ticking: Any) -> None:
    speed = script("aciec_speed")
    pass_time, watch = ticking(speed), speed.Stopwatch()

    def fail() -> None:
        pass_time(7)
        raise ValueError

    with pytest.raises(ValueError):
        watch.around(fail, "failing", whole=True)()
    watch.around(lambda: pass_time(2), "fine")()
    assert watch.lap() == {"fine": [2]}


def test_text_in_an_image_makes_reading_another_stage(script: Any, ticking: Any) -> None:
    speed = script("aciec_speed")
    pass_time, watch = ticking(speed), speed.Stopwatch()

    def read(lines: int) -> list[tuple[str, ...]]:
        pass_time(1 + lines)
        return [("line",) * lines]

    for lines in (0, 2, 0):
        watch.around(read, speed.reading_stage)(lines)
    assert watch.lap() == {"no_text": [1, 1], "text": [3]}


def test_shares_are_of_all_time_and_reading_is_told_per_image(script: Any) -> None:
    laps = [{"vision": [0.2], "no_text": [0.1], "text": [0.7]}, {"vision": [0.4], "no_text": [0.3, 0.3]}]
    found = script("aciec_speed").stage_figures(laps, 2)
    assert sum(stage["share"] for stage in found["stages"].values()) == pytest.approx(1)
    assert found["stages"]["vision"] == {"share": 0.3, "median_ms": 150, "p95_ms": pytest.approx(195)}
    assert found["stages"]["no_text"]["median_ms"] == 300 and found["stages"]["text"]["median_ms"] == 700
    assert found["image_ms"]["median_ms"] == 500 and "regions" not in found["stages"]


def test_only_photographs_without_text_are_held_to_the_limit(script: Any) -> None:
    speed = script("aciec_speed")
    rows = [{"text": False, "reading": 0.04, "extra": value} for value in (0.05, 0.055, 0.06, 0.09)]
    found = speed.look_figures([*rows, {"text": True, "reading": 0.3, "extra": 0.3}], 60.0)
    assert (found["photographs"], found["no_text"]["photographs"], found["text"]["photographs"]) == (5, 4, 1)
    assert found["no_text"]["reading"]["within_limit"] == 1 and found["no_text"]["extra"]["within_limit"] == 0.75
    assert found["no_text"]["extra"]["max_ms"] == 90
    page = "\n".join(script("aciec_speed_report").look_lines({"photographs": found | {"unreadable": 2}}))
    assert "| 75.0% |" in page and "2 could not be opened" in page
    none = speed.look_figures(rows[:0], 60.0)
    assert none["no_text"] == {"photographs": 0}


def test_emotions_that_were_not_trained_are_asked_in_both_ways_about_the_same_pictures(
    script: Any, tiny_predictor: Any, pictures: list[Path], tmp_path: Path
) -> None:
    untrained = script("untrained_emotions")
    votes = ["joy", "neutral", "fear", "sadness"]
    with (tmp_path / "metadata.csv").open("w", encoding="utf-8", newline="") as file:
        rows = csv.writer(file)
        rows.writerow(["file_name", "split", "emotion"])
        rows.writerows([path.name, "test", vote] for path, vote in zip(pictures, votes, strict=False))
        rows.writerow([pictures[4].name, "train", "anger"])
    for path in pictures[:5]:
        shutil.copy(path, tmp_path)
    two, three = untrained.compare(tiny_predictor, tmp_path, ("sentiment2", "sentiment3"), "test")
    assert (two["n"], three["n"]) == (3, 4), "neutral has no counterpart among two sentiments"
    assert two["directly"]["soft_cross_entropy"] != two["told"]["soft_cross_entropy"]
    difference = two["told"]["accuracy"] - two["directly"]["accuracy"]
    assert two["gained"][0] == pytest.approx(difference) and two["gained"][1] <= difference <= two["gained"][2]
    page = untrained.table({"split": "test", "machine": {"cores": 2}, "rows": [two]})
    assert f"| sentiment2 | 3 | {two['directly']['accuracy']:.3f} | {two['told']['accuracy']:.3f} |" in page

"""Settings of a training as YAML: the same names as flags, flags win, and what a run writes repeats it."""

from pathlib import Path

import pytest

from iec_hub.errors import DataError
from iec_hub.finetuning.settings_file import settings_yaml
from iec_hub.finetuning.ugrie_arguments import parse_arguments


def parsed(tmp_path: Path, text: str, *flags: str):
    file = tmp_path / "settings.yaml"
    file.write_text(text, encoding="utf-8")
    return parse_arguments(["--settings", str(file), *flags], None)


def test_a_file_and_flags_say_the_same(tmp_path: Path) -> None:
    text = "data: [one, two]\nmodel: ugrie-mini\nlearning-rate: 2.0e-3\nuse_cpu: true\nlora: true\nfreeze: []\n"
    from_file = parsed(tmp_path, text)
    flags = "--data one two --model ugrie-mini --learning_rate 2.0e-3 --use_cpu True --lora True"
    from_flags = parse_arguments(flags.split(), None)
    for group in range(5):
        assert vars(from_file[group]) == vars(from_flags[group])
    assert from_file.arguments.learning_rate == from_flags.arguments.learning_rate == 2e-3
    assert from_file.given == ("data", "learning_rate", "lora", "model", "use_cpu")


def test_flags_win_over_the_file(tmp_path: Path) -> None:
    settings = parsed(tmp_path, "data: [one]\nmixup: 0.1\nlora_rank: 4\n", "--mixup", "0.3", "--data", "two")
    assert settings.recipe.mixup == 0.3 and settings.data.data == ["two"] and settings.adapter.lora_rank == 4


def test_what_a_run_writes_reads_back(tmp_path: Path) -> None:
    flags = ["--data", "pictures", "--model", "ugrie-mini", "--labels", "calm, quiet", "--lora", "--mixup", "0.2"]
    flags += ["--seed", "3", "--output_dir", "runs/x", "--hub_token", "hf_secret", "--lr_scheduler_type", "linear"]
    first = parse_arguments(flags, None)
    text = settings_yaml(first[:6], first.given)
    assert "hf_secret" not in text and "output_dir" not in text
    second = parsed(tmp_path, text)
    assert second.data.labels == ["calm, quiet"] and second.adapter.lora and second.recipe.mixup == 0.2
    assert second.arguments.seed == 3 and second.arguments.lr_scheduler_type == first.arguments.lr_scheduler_type
    assert second.arguments.output_dir == "runs/ugrie"


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("data: [a]\nlaerning_rate: 1\n", "did you mean learning_rate?"),
        ("data: [a]\nlora: {rank: 8}\n", "gives lora a nested value"),
        ("- data\n", "holds no settings"),
        ("data: [a\n", "is not YAML"),
        ("data: [a]\nsettings: other.yaml\n", "which is no argument"),
    ],
)
def test_a_files_errors_are_one_sentence(tmp_path: Path, text: str, message: str) -> None:
    with pytest.raises(DataError) as caught:
        parsed(tmp_path, text)
    assert message in str(caught.value) and "\n" not in str(caught.value)


def test_a_missing_file_and_a_misspelt_flag_are_named() -> None:
    with pytest.raises(DataError, match="no settings file '/nowhere.yaml'"):
        parse_arguments(["--settings", "/nowhere.yaml"], None)
    with pytest.raises(DataError, match="did you mean --lora_rank?"):
        parse_arguments(["--data", "x", "--lora_rnak", "4"], None)


def test_an_adapter_learns_faster_unless_told_otherwise() -> None:
    start = ["--data", "x", "--model", "ugrie-mini"]
    whole, adapter = (parse_arguments([*start, *more], None).arguments for more in ([], ["--lora"]))
    assert adapter.language_learning_rate == pytest.approx(10 * whole.language_learning_rate)
    assert adapter.vision_learning_rate == pytest.approx(10 * whole.vision_learning_rate)
    assert adapter.learning_rate == whole.learning_rate
    told = parse_arguments([*start, "--lora", "--language_learning_rate", "1e-4"], None).arguments
    assert told.language_learning_rate == 1e-4

"""Which models a page offers: a file or the environment of whoever runs it, one sentence for each mistake."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from iec_hub.errors import CheckpointError, DataError
from iec_hub.space.limits import Limits
from iec_hub.space.offering import Offer, OfferedModel, load_offer, offered_predictors


@pytest.fixture(autouse=True)
def _no_variables(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("IEC_HUB_SPACE_CONFIG", "IEC_HUB_SPACE_MODELS"):
        monkeypatch.delenv(name, raising=False)


def written(folder: Path, text: str) -> Path:
    path = folder / "space.yaml"
    path.write_text(text, encoding="utf-8")
    return path


def test_without_a_file_the_bundled_models_are_offered(tmp_path: Path) -> None:
    offer = load_offer(tmp_path / "space.yaml")
    assert [model.model for model in offer.models] == ["ugrie-mini", "escnet-mini", "aciec-mini"]
    assert all(model.bundled and not model.on_hub for model in offer.models) and offer.limits == Limits()


def test_a_file_names_models_and_limits(tmp_path: Path) -> None:
    path = written(
        tmp_path,
        "models:\n  - ugrie-mini\n  - model: me/my-adapter\n    name: Mine\n    revision: v1\nlimits:\n  batch: 4\n",
    )
    offer = load_offer(path)
    assert offer.models == (OfferedModel("ugrie-mini"), OfferedModel("me/my-adapter", "Mine", "v1"))
    assert offer.models[1].on_hub and offer.limits == Limits(batch=4)


def test_the_environment_names_another_file_and_other_models(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = written(tmp_path, "models: [ugrie-mini]\nlimits: {seconds: 9.5}\n")
    monkeypatch.setenv("IEC_HUB_SPACE_CONFIG", str(path))
    assert load_offer(tmp_path / "other.yaml").models == (OfferedModel("ugrie-mini"),)
    monkeypatch.setenv("IEC_HUB_SPACE_MODELS", "escnet-mini, me/my-adapter")
    offer = load_offer()
    assert [model.model for model in offer.models] == ["escnet-mini", "me/my-adapter"]
    assert offer.limits.seconds == 9.5


@pytest.mark.parametrize(
    ("text", "sentence"),
    [
        ("models: [", "line 1 is no YAML"),
        ("- ugrie-mini", "holds no mapping"),
        ("model: ugrie-mini", "unknown key 'model'"),
        ("models: ugrie-mini", "no list"),
        ("models: []", "no list"),
        ("models: [3]", "Model 1 to offer names no model"),
        ("models: [a, {name: b}]", "Model 2 to offer names no model"),
        ("models: [{model: a, colour: red}]", "unknown key 'colour'"),
        ("models: [{model: a, revision: 1.0}]", "revision of model 1"),
        ("models: ['a\\n']\nmodels: ['']", "model of model 1"),
        ('models: ["a\\u202eb"]', "model of model 1"),
        ("models: [a, a]", "same model"),
        ("models: [{model: a, name: x}, {model: b, name: x}]", "same name"),
        ("limits: 3", "limits are no mapping"),
        ("limits: {speed: 3}", "no limit 'speed'"),
        ("limits: {batch: 0}", "limit batch is not a whole number of at least 1"),
        ("limits: {batch: many}", "limit batch is not a whole number"),
        ("limits: {pictures: 2.5}", "limit pictures is not a whole number"),
        ("limits: {seconds: .nan}", "limit seconds is not a number"),
        ("limits: {waiting: true}", "limit waiting is not a whole number"),
    ],
)
def test_each_mistake_gets_one_sentence(tmp_path: Path, text: str, sentence: str) -> None:
    with pytest.raises(DataError, match=sentence) as caught:
        load_offer(written(tmp_path, text))
    assert "\n" not in str(caught.value) and str(caught.value).endswith(".")


def test_a_file_that_is_named_and_missing_is_a_mistake(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("IEC_HUB_SPACE_CONFIG", str(tmp_path / "none.yaml"))
    with pytest.raises(DataError, match="correct IEC_HUB_SPACE_CONFIG"):
        load_offer()


def test_several_models_of_a_method_have_names_of_their_own_and_one_that_is_gone_is_left_out(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    gone = str(tmp_path / "gone")
    models = (OfferedModel("escnet-mini"), OfferedModel("ugrie-mini"), OfferedModel(gone))
    again = OfferedModel("ugrie-mini", revision="main")
    assert list(offered_predictors(Offer(models))) == ["escnet", "ugrie"]
    assert "gone is not offered" in caplog.text
    named = offered_predictors(Offer((models[1], OfferedModel("ugrie-mini", "Mine"), again)))
    assert list(named) == ["ugrie-mini", "Mine", "ugrie-mini (main)"]
    with pytest.raises(CheckpointError, match="None of the configured models"):
        offered_predictors(Offer(models[2:]))


def test_a_mistake_in_the_configuration_ends_the_server_with_its_sentence() -> None:
    environment = {**os.environ, "IEC_HUB_SPACE_CONFIG": "missing.yaml"}
    command = [sys.executable, str(Path(__file__).parents[2] / "app.py")]
    ended = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=60)
    assert ended.returncode == 1
    assert ended.stderr.strip() == ("missing.yaml cannot be read (FileNotFoundError); correct IEC_HUB_SPACE_CONFIG.")

import csv
import json
import runpy
import shutil
import sys
from pathlib import Path
from types import SimpleNamespace

import pytest

from iec_hub.emotions import EMOTION_MODELS, get_emotion_model
from iec_hub.errors import DataError, EmotionMappingError
from iec_hub.evaluation.bass import TABLE, bass_correlation, read_bass
from iec_hub.prediction import EmotionPrediction
from iec_hub.predictor import FilePrediction

BASS = Path(__file__).parents[1] / "fixtures" / "bass"
SCRIPT = Path(__file__).parents[2] / "benchmarks" / "bass.py"


@pytest.fixture
def subset(tmp_path) -> Path:
    """Every 29th silhouette, 21 of them, with their rows."""
    with open(BASS / TABLE, encoding="utf-8-sig", newline="") as file:
        rows = list(csv.DictReader(file))[::29]
    write_table(tmp_path, rows)
    (tmp_path / "images").mkdir()
    for row in rows:
        shutil.copyfile(BASS / "images" / row["file_name"], tmp_path / "images" / row["file_name"])
    return tmp_path


def write_table(folder: Path, rows: list[dict[str, str]]) -> None:
    with open(folder / TABLE, "w", encoding="utf-8", newline="") as file:
        writer = csv.DictWriter(file, list(rows[0]))
        writer.writeheader()
        writer.writerows(rows)


class Reader:
    """A predictor that knows what people said, or its opposite."""

    name = "reader"

    def __init__(self, folder: Path, sign: int):
        self.valence = {s.file: s.valence_us for s in read_bass(folder)}
        self.sign = sign

    def resolve_emotion_model(self, emotion_model=None):
        return get_emotion_model(emotion_model or "sentiment2")

    def predict_files(self, files, emotion_model, batch_size):
        for file in files:
            positive = 0.5 + self.sign * (self.valence[file] - 5) / 10
            yield FilePrediction(
                file, EmotionPrediction("sentiment2", emotion_model.labels, (1 - positive, positive), "ugrie")
            )


def test_table_is_read_whole():
    silhouettes = read_bass(BASS)
    assert len(silhouettes) == 583
    assert silhouettes[0].file == BASS / "images" / "abuse.png"
    assert silhouettes[0].valence_us == pytest.approx(1.729166667)
    assert all(s.file.is_file() and 1 <= s.valence_us <= 9 and 1 <= s.valence_ch <= 9 for s in silhouettes)


def test_who_sees_what_people_see_correlates_perfectly(subset):
    result = bass_correlation(Reader(subset, 1), subset)
    assert result["us"] == {"spearman": 1.0, "low": 1.0, "high": 1.0, "n": 21}
    assert result["ch"]["spearman"] == pytest.approx(result["between_samples"])
    assert 0.7 < result["between_samples"] < 1
    assert bass_correlation(Reader(subset, -1), subset)["us"]["spearman"] == -1.0


@pytest.mark.parametrize("emotion_model", [None, "ekman7", "plutchik8"])
def test_checkpoint_gets_a_figure_with_its_interval(tiny_predictor, subset, emotion_model):
    result = bass_correlation(tiny_predictor, subset, emotion_model=emotion_model, resamples=200)
    assert result["n"] == 21 and result["skipped"] == 0
    assert result["emotion_model"] == (emotion_model or "mikels8")
    for sample in ("us", "ch"):
        assert -1 <= result[sample]["low"] <= result[sample]["spearman"] <= result[sample]["high"] <= 1
    again = bass_correlation(tiny_predictor, subset, emotion_model=emotion_model, resamples=200, batch_size=5)
    assert again["us"]["spearman"] == pytest.approx(result["us"]["spearman"], abs=0.02)
    json.dumps(result)


def test_pictures_and_ratings_that_are_missing_are_counted(tiny_predictor, subset, caplog):
    with open(subset / TABLE, encoding="utf-8", newline="") as file:
        rows = list(csv.DictReader(file))
    (subset / "images" / rows[3]["file_name"]).unlink()
    rows[5]["val_mean_ch"] = ""
    rows[6]["file_name"] = "../../outside.png"
    write_table(subset, rows)
    result = bass_correlation(tiny_predictor, subset, resamples=50)
    assert (result["n"], result["skipped"]) == (19, 2)
    assert (result["us"]["n"], result["ch"]["n"]) == (19, 18)
    assert rows[3]["file_name"] in caplog.text


def test_unusable_tables_and_emotion_models(tiny_predictor, subset, tmp_path_factory):
    with pytest.raises(EmotionMappingError):
        bass_correlation(tiny_predictor, subset, emotion_model=["cosy", "eerie"])
    with pytest.raises(DataError, match="no BASS_data.csv"):
        read_bass(tmp_path_factory.mktemp("empty"))
    write_table(subset, [{"file_name": "a.png", "val_mean_us": "3"}])
    with pytest.raises(DataError, match="val_mean_ch"):
        read_bass(subset)
    shutil.rmtree(subset / "images")
    write_table(subset, [{"file_name": "a.png", "val_mean_us": "3", "val_mean_ch": "3"}])
    with pytest.raises(DataError, match="Only 0 silhouettes of 1"):
        bass_correlation(tiny_predictor, subset)


def test_script_prints_one_json_line(tiny_ugrie_dir, subset, monkeypatch, capsys):
    monkeypatch.setattr(
        sys, "argv", ["bass.py", "--folder", str(subset), "--model", str(tiny_ugrie_dir), "--emotion-model", "ekman7"]
    )
    runpy.run_path(str(SCRIPT), run_name="__main__")
    result = SimpleNamespace(**json.loads(capsys.readouterr().out))
    assert (result.data, result.n, result.model) == ("bass", 21, "tiny-ugrie")
    assert result.emotion_model == "ekman7" and "ekman7" in EMOTION_MODELS

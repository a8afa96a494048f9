import csv
import io
import json
import os
import shutil
import signal
import subprocess
import sys
import time
import types
from pathlib import Path

import numpy as np
import pytest

import iec_hub
from iec_hub.cli import main
from iec_hub.commands.tables import WIDEST_CAPTION, CsvTable, JsonLinesTable, TextTable, safe_cell, texts_of
from iec_hub.errors import DataError
from iec_hub.prediction import CaptionWord, EmbeddedText, EmotionPrediction, Evidence, ScoredText, Tag
from iec_hub.predictor import EmotionPredictor, FilePrediction

MIKELS = ["amusement", "anger", "awe", "contentment", "disgust", "excitement", "fear", "sadness"]


@pytest.fixture
def folder(tmp_path, pictures) -> Path:
    """Pictures in two levels, files that are none, and one that only claims to be one."""
    root = tmp_path / "pictures"
    (root / "deeper").mkdir(parents=True)
    for number, name in enumerate(("b.jpg", "a.jpg", "deeper/c.JPG")):
        shutil.copyfile(pictures[number], root / name)
    (root / "deeper" / "bad.png").write_text("no picture")
    (root / "notes.txt").write_text("not looked at")
    (root / ".hidden.jpg").write_text("not looked at")
    return root


@pytest.fixture
def run(tiny_ugrie_dir, capsys):
    """`run(*arguments) -> (exit code, stdout, stderr)`, with the tiny checkpoint unless a model is named."""

    def call(*arguments: object) -> tuple[int, str, str]:
        argv = [str(argument) for argument in arguments]
        if argv and argv[0] in ("predict", "evaluate") and "--model" not in argv:
            argv += ["--model", str(tiny_ugrie_dir)]
        try:
            code = main(argv)
        except SystemExit as stop:
            code = stop.code
        captured = capsys.readouterr()
        return code, captured.out, captured.err

    return call


def read_csv(path: Path) -> list[dict[str, str]]:
    return list(csv.DictReader(io.StringIO(path.read_text(encoding="utf-8"), newline="")))


def assert_one_sentence(result: tuple[int, str, str], *parts: str) -> None:
    code, _, error = result
    assert code == 2
    assert error.count("\n") == 1 and error.endswith(".\n") and "Traceback" not in error
    for part in parts:
        assert part in error


def test_help_and_version_need_no_heavy_library():
    code = (
        "import sys\nfrom iec_hub.cli import main\n"
        "try: main([sys.argv[1]])\nexcept SystemExit as stop: assert not stop.code\n"
        "heavy = {'torch', 'transformers', 'numpy', 'PIL', 'gradio'} & set(sys.modules)\nassert not heavy, heavy"
    )
    for option, text in (("--help", "evaluate"), ("--version", f"iec-hub {iec_hub.__version__}")):
        done = subprocess.run([sys.executable, "-c", code, option], capture_output=True, text=True, timeout=60)
        assert done.returncode == 0, done.stderr
        assert text in done.stdout


class TestPredict:
    def test_lines_for_people(self, run, folder):
        code, out, err = run("predict", folder)
        lines = out.splitlines()
        assert code == 0
        assert [line.split()[0] for line in lines] == [
            str(folder / name) for name in ("a.jpg", "b.jpg", "deeper/bad.png", "deeper/c.JPG")
        ]
        assert "error:" in lines[2] and "%" in lines[0]
        assert err == "1 file of 4 has no prediction; the row says why.\n"

    def test_csv(self, run, folder, tmp_path, tiny_predictor):
        output = tmp_path / "rows.csv"
        code, out, _ = run("predict", folder, "--output", output, "--batch-size", 2)
        assert (code, out) == (0, "")
        header = output.read_text(encoding="utf-8").splitlines()[0]
        fixed = "uncertain,concepts,caption,embedded_text,error"
        assert header == f"file,emotion,confidence,{','.join(MIKELS)},{fixed}"
        rows = read_csv(output)
        assert [Path(row["file"]).name for row in rows] == ["a.jpg", "b.jpg", "bad.png", "c.JPG"]
        bad = rows.pop(2)
        assert "bad.png" in bad["error"] and not any(bad[column] for column in header.split(",")[1:-1])
        predictions = tiny_predictor.predict([row["file"] for row in rows])
        for row, prediction in zip(rows, predictions, strict=True):
            assert row["emotion"] == prediction.emotion and row["error"] == ""
            assert float(row["confidence"]) == pytest.approx(prediction.confidence, abs=2e-5)
            assert [float(row[label]) for label in MIKELS] == pytest.approx(prediction.probabilities, abs=2e-5)
            assert row["uncertain"] == ("true" if prediction.uncertain else "false")
            assert row["caption"] == prediction.template
            assert row["concepts"] == row["embedded_text"] == ""

    def test_json_lines_with_evidence(self, run, folder, tmp_path):
        output = tmp_path / "rows.jsonl"
        assert run("predict", folder, "--output", output, "--evidence")[0] == 0
        rows = [json.loads(line) for line in output.read_text(encoding="utf-8").splitlines()]
        assert [Path(row["file"]).name for row in rows] == ["a.jpg", "b.jpg", "bad.png", "c.JPG"]
        assert set(rows[2]) == {"file", "error"}
        good = rows[0]
        assert good["error"] is None and sum(good["distribution"].values()) == pytest.approx(1)
        assert [len(row) for row in good["evidence"]["regions"]] == [4] * 4
        assert run("predict", folder, "--output", output)[0] == 0
        assert "evidence" not in json.loads(output.read_text(encoding="utf-8").splitlines()[0])

    def test_emotion_model_and_own_labels(self, run, pictures, tmp_path):
        output = tmp_path / "rows.csv"
        assert run("predict", pictures[0], "--output", output, "--emotion-model", "sentiment2")[0] == 0
        assert "confidence,negative,positive,uncertain" in output.read_text(encoding="utf-8")
        assert run("predict", pictures[0], "--output", output, "--labels", "cosy, eerie,error")[0] == 0
        (row,) = read_csv(output)
        assert row["error"] == "", "a label must not hide the column of errors"
        assert row["emotion"] in ("cosy", "eerie", "error")
        names = ("cosy", "eerie", "error (emotion)")
        assert sum(float(row[name]) for name in names) == pytest.approx(1, abs=1e-5)

    def test_missing_file_has_its_row(self, run, pictures, tmp_path):
        output = tmp_path / "rows.csv"
        code, _, err = run("predict", tmp_path / "gone.jpg", "--output", output)
        assert code == 0 and err.startswith("1 file of 1 has no prediction")
        (row,) = read_csv(output)
        assert "gone.jpg" in row["error"]

    def test_names_that_are_formulas_or_no_text(self, run, pictures, tmp_path, monkeypatch):
        monkeypatch.chdir(tmp_path)
        os.mkdir("in")
        monkeypatch.chdir("in")
        shutil.copyfile(pictures[0], "=1+1.jpg")
        shutil.copyfile(pictures[0], "@SUM(A1).jpg")
        shutil.copyfile(pictures[0], "line\nbreak, comma.jpg")
        shutil.copyfile(pictures[0], b"\xff.jpg")
        assert run("predict", ".", "--output", "../rows.csv")[0] == 0
        names = [row["file"] for row in read_csv(Path("../rows.csv"))]
        assert sorted(names) == sorted(["'=1+1.jpg", "'@SUM(A1).jpg", r"line\nbreak, comma.jpg", r"\udcff.jpg"])
        assert len(Path("../rows.csv").read_bytes().splitlines()) == 5
        assert run("predict", ".", "--output", "../rows.jsonl")[0] == 0
        rows = [json.loads(line) for line in Path("../rows.jsonl").read_text(encoding="utf-8").splitlines()]
        assert {row["file"] for row in rows} == set(os.listdir("."))
        code, out, _ = run("predict", ".")
        assert code == 0 and len(out.splitlines()) == 4

    def test_wrong_requests_are_one_sentence(self, run, folder, tmp_path, tiny_ugrie_dir):
        empty = tmp_path / "empty"
        empty.mkdir()
        assert_one_sentence(run("predict"), "files or folders")
        assert_one_sentence(run("predict", empty), "No pictures")
        assert_one_sentence(run("predict", folder, "--output", "rows.xlsx"), ".csv or .jsonl")
        assert_one_sentence(run("predict", folder, "--output", tmp_path / "gone" / "rows.csv"), "does not exist")
        assert_one_sentence(run("predict", folder, "--output", tmp_path / "rows.csv", "--evidence"), ".jsonl")
        assert_one_sentence(run("predict", folder, "--labels", "calm"), "2 to 500")
        assert_one_sentence(run("predict", folder, "--labels", "calm,,tense"), "empty")
        assert_one_sentence(run("predict", folder, "--labels", "a,b", "--emotion-model", "ekman7"), "--labels")
        assert_one_sentence(run("predict", folder, "--emotion-model", "mikels9"), "mikels8")
        assert_one_sentence(run("predict", folder, "--batch-size", "0"), "at least 1")
        assert_one_sentence(run("predict", folder, "--method", "oracle"), "ugrie")
        assert_one_sentence(run("predict", folder, "--method", "aciec"), "not of aciec")
        assert_one_sentence(run("predict", folder, "--model", "nobody/nothing"), "could not be loaded")
        assert_one_sentence(run("predict", folder, "--device", "abacus"), "abacus")
        assert_one_sentence(run("predict", folder, "--colour", "red"), "--colour")
        assert_one_sentence(run("dance"), "predict")
        assert_one_sentence(run())

    def test_a_refused_request_leaves_the_output_alone(self, run, folder, tmp_path):
        output = tmp_path / "rows.csv"
        output.write_text("precious")
        assert_one_sentence(run("predict", folder, "--output", output, "--emotion-model", "mikels9"))
        assert_one_sentence(run("predict", folder, "--output", output, "--model", tmp_path / "gone"))
        assert output.read_text() == "precious"

    def test_labels_that_the_method_cannot_tell_are_refused_before_the_output_is_opened(
        self, run, folder, tmp_path, monkeypatch
    ):
        def refuse(self, *args, **kwargs):
            raise DataError("This method tells other emotions apart; choose another method.")

        monkeypatch.setattr(EmotionPredictor, "predict_files", refuse)
        output = tmp_path / "rows.csv"
        output.write_text("precious")
        assert_one_sentence(run("predict", folder, "--output", output, "--labels", "cosy,eerie"), "another method")
        assert output.read_text() == "precious"

    @pytest.mark.skipif(os.geteuid() == 0, reason="root may write everywhere")
    def test_unwritable_output(self, run, folder, tmp_path):
        tmp_path.chmod(0o500)
        assert_one_sentence(run("predict", folder, "--output", tmp_path / "rows.csv"), "written")

    def test_full_disk_is_one_sentence(self, run, folder, monkeypatch):
        if not os.path.exists("/dev/full"):
            pytest.skip("there is no /dev/full")
        monkeypatch.setattr("iec_hub.commands.predict.OUTPUT_ENDINGS", (".csv", ".jsonl", ""))
        code, _, err = run("predict", folder, "--output", "/dev/full")
        assert code == 2 and "cannot be written" in err and "Traceback" not in err

    @pytest.mark.parametrize("ending", ["csv", "jsonl"])
    def test_interrupted_run_keeps_its_rows(self, run, folder, tmp_path, monkeypatch, ending):
        whole = EmotionPredictor.predict_files

        def interrupted(self, *args, **kwargs):
            for number, result in enumerate(whole(self, *args, **kwargs)):
                if number == 2:
                    raise KeyboardInterrupt
                yield result

        monkeypatch.setattr(EmotionPredictor, "predict_files", interrupted)
        output = tmp_path / f"rows.{ending}"
        code, _, err = run("predict", folder, "--output", output)
        assert code == 130
        assert "2 of 4 rows" in err and str(output) in err
        text = output.read_text(encoding="utf-8")
        rows = read_csv(output) if ending == "csv" else [json.loads(line) for line in text.splitlines()]
        assert [Path(row["file"]).name for row in rows] == ["a.jpg", "b.jpg"]

    def test_ctrl_c_leaves_a_valid_file(self, tiny_ugrie_dir, pictures, tmp_path):
        output = tmp_path / "rows.csv"
        command = [sys.executable, "-m", "iec_hub.cli", "predict", "--output", str(output), "--batch-size", "1"]
        many = tmp_path / "many"
        many.mkdir()
        for number in range(1500):
            os.symlink(pictures[number % len(pictures)], many / f"{number:04}.jpg")
        process = subprocess.Popen(
            [*command, "--model", str(tiny_ugrie_dir), str(many)],
            stderr=subprocess.PIPE,
            text=True,
            # A background job inherits an ignored SIGINT, and the tests may be one.
            preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL),
        )
        try:
            deadline = time.monotonic() + 120
            while (not output.exists() or output.read_bytes().count(b"\n") < 4) and time.monotonic() < deadline:
                assert process.poll() is None, process.stderr.read()
                time.sleep(0.02)
            process.send_signal(signal.SIGINT)
            _, err = process.communicate(timeout=60)
        finally:
            process.kill()
        assert process.returncode == 130, err
        rows = read_csv(output)
        assert f"Interrupted: {len(rows)} of 1500 rows are done" in err and "Traceback" not in err
        assert 3 <= len(rows) < 1500
        assert all(row["emotion"] in MIKELS for row in rows)

    def test_libraries_keep_quiet_and_get_their_voice_back(self, run, pictures):
        from transformers.utils import logging

        before = logging.get_verbosity(), logging.is_progress_bar_enabled()
        assert run("predict", pictures[0])[2] == ""
        assert (logging.get_verbosity(), logging.is_progress_bar_enabled()) == before


class TestTables:
    @pytest.mark.parametrize("text", ["=1+1", "+1", "-1", "@SUM(A1)", "\t=1", "\r=1"])
    def test_formulas_become_text(self, text):
        assert safe_cell(text).startswith("'")

    def test_cells_stay_on_one_line(self):
        assert safe_cell("a\r\nb\x0bc\u2028d\x00") == r"a\r\nb\x0bc\u2028d\x00"
        assert safe_cell("a=1, \u00e4\u96ea b-c") == "a=1, \u00e4\u96ea b-c"

    def test_untrusted_texts_of_a_prediction(self):
        prediction = EmotionPrediction(
            emotion_model="custom",
            labels=("=calm", "tense"),
            probabilities=(0.75, 0.25),
            method="aciec",
            template="filled",
            captions=("=HYPERLINK(1)", "second\nline"),
            concepts=(ScoredText("stormy sea", 0.9), ScoredText("dark sky", 0.4)),
            embedded_text=(EmbeddedText("@import", 0.9),),
        )
        assert texts_of(prediction) == ("stormy sea; dark sky", "=HYPERLINK(1) second\nline", "@import")
        file = io.StringIO(newline="")
        CsvTable(file, prediction.labels).write(FilePrediction(Path("x.jpg"), prediction))
        header, row = csv.reader(io.StringIO(file.getvalue(), newline=""))
        assert header[3:5] == ["'=calm", "tense"]
        assert row[:6] == ["x.jpg", "'=calm", "0.750000", "0.750000", "0.250000", "false"]
        assert row[6:] == ["stormy sea; dark sky", r"'=HYPERLINK(1) second\nline", "'@import", ""]

    @staticmethod
    def captioned(caption: str, regions: np.ndarray | None = None) -> FilePrediction:
        prediction = EmotionPrediction(
            emotion_model="custom",
            labels=("calm", "tense"),
            probabilities=(0.75, 0.25),
            method="escnet",
            captions=(caption,),
            attributes=(Tag("object", "dog", 0.83, "tagger"),),
            evidence=Evidence(regions=regions, caption_words=(CaptionWord(caption[:4], 0, 4, 0.7, regions),)),
        )
        return FilePrediction(Path("x.jpg"), prediction)

    @pytest.mark.parametrize("regions", [None, np.eye(2)], ids=["words", "words and regions"])
    def test_json_lines_hold_words_and_attributes_and_regions_where_there_are_some(self, regions):
        file = io.StringIO()
        JsonLinesTable(file).write(self.captioned("Dark sea.\nsecond", regions))
        row = json.loads(file.getvalue())
        assert file.getvalue().count("\n") == 1 and row["captions"] == ["Dark sea.\nsecond"]
        assert row["attributes"] == [{"attribute": "object", "label": "dog", "confidence": 0.83, "source": "tagger"}]
        grid = None if regions is None else [[1.0, 0.0], [0.0, 1.0]]
        word = {"text": "Dark", "start": 0, "end": 4, "salience": 0.7, "regions": grid}
        assert row["evidence"] == {"regions": grid, "words": None, "caption_words": [word]}

    @pytest.mark.parametrize(
        ("caption", "shown"),
        [
            ("A dark\n sea. ", "A dark sea."),
            ("red \x1b[31malert\u202e", r"red \x1b[31malert\u202e"),
            ("w" * WIDEST_CAPTION, "w" * WIDEST_CAPTION),
            ("w" * (WIDEST_CAPTION + 1), "w" * (WIDEST_CAPTION - 3) + "..."),
            ("ab " * 100_000, ("ab " * 26)[:77].rstrip() + "..."),
            (" " * 500 + "far away", "..."),
        ],
    )
    def test_lines_for_people_end_with_the_caption_in_brief(self, caption, shown):
        stream = io.StringIO()
        result = self.captioned(caption)
        TextTable(stream, [result.file]).write(result)
        assert stream.getvalue() == f"x.jpg  calm (75%)  {shown}\n"


class TestEvaluate:
    @pytest.fixture
    def data(self, tmp_path, pictures) -> Path:
        root = tmp_path / "data"
        root.mkdir()
        rows = [("file_name", "split", "emotion", "photographer")]
        for number in range(8):
            shutil.copyfile(pictures[number], root / f"{number}.jpg")
            rows.append((f"{number}.jpg", "test" if number < 6 else "train", MIKELS[number], "somebody"))
        (root / "broken.jpg").write_bytes(pictures[0].read_bytes()[:2000])
        rows += [("broken.jpg", "test", "awe", ""), ("0.jpg", "test", "hunger", ""), ("gone.jpg", "test", "awe", "")]
        with open(root / "metadata.csv", "w", encoding="utf-8", newline="") as file:
            csv.writer(file).writerows(rows)
        return root

    def test_one_json_object_is_the_last_line(self, run, data):
        code, out, err = run("evaluate", data, "--split", "test", "--batch-size", 4)
        assert code == 0, err
        result = json.loads(out.splitlines()[-1])
        assert {"accuracy", "macro_f1", "ece", "soft_cross_entropy", "kl"} <= set(result)
        assert result["n"] == 6 and result["skipped"] == 3
        assert result["emotion_model"] == "mikels8" and result["model"] == "tiny-ugrie" and result["split"] == "test"
        assert err.count("skipped ") == 3 and "broken.jpg" in err and "hunger" in err and "gone.jpg" in err

    def test_votes_and_another_emotion_model(self, run, data, tmp_path):
        code, out, _ = run("evaluate", data, "--split", "train", "--emotion-model", "sentiment2")
        result = json.loads(out.splitlines()[-1])
        assert code == 0 and result["emotion_model"] == "sentiment2" and result["n"] == 2
        lines = ["file_name,split,positive,negative", "0.jpg,test,3,1", "1.jpg,test,0,5"]
        (data / "metadata.csv").write_text("\n".join(lines), encoding="utf-8")
        code, out, _ = run("evaluate", data, "--split", "test", "--emotion-model", "sentiment2")
        result = json.loads(out.splitlines()[-1])
        assert code == 0 and result["n"] == 2 and result["skipped"] == 0
        assert result["soft_cross_entropy"] > result["kl"]

    def test_wrong_requests_are_one_sentence(self, run, data, tmp_path):
        assert_one_sentence(run("evaluate", data, "--split", "validation"), "test", "train")
        assert_one_sentence(run("evaluate", data), "--split", "test", "train")
        assert_one_sentence(run("evaluate", tmp_path / "gone", "--split", "test"), "gone")
        assert_one_sentence(run("evaluate"), "DIR")
        for number in range(6):
            (data / f"{number}.jpg").write_text("no picture")
        assert_one_sentence(run("evaluate", data, "--split", "test"), "None of the")


class TestTrain:
    def test_arguments_reach_the_trainer_unread(self, run, monkeypatch):
        seen = []
        trainer = types.ModuleType("iec_hub.finetuning.ugrie_command")
        trainer.main = lambda argv: seen.append(argv)
        monkeypatch.setitem(sys.modules, trainer.__name__, trainer)
        assert run("train", "ugrie", "--data", "x", "--help", "-h")[0] == 0
        assert seen == [["--data", "x", "--help", "-h"]]
        trainer.main = lambda argv: {"accuracy": 0.5}
        assert run("train", "ugrie")[0] == 0
        trainer.main = lambda argv: 3
        assert run("train", "ugrie")[0] == 3

    def test_unknown_methods(self, run):
        assert_one_sentence(run("train"), "ugrie")
        assert_one_sentence(run("train", "oracle"), "oracle", "ugrie")
        code, out, _ = run("train", "--help")
        assert code == 0 and "ugrie" in out

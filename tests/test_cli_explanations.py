"""What `iec-hub predict` writes of a decision from words: tables, JSON lines, and lines for the terminal."""

import csv
import io
import json
import shutil
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from iec_hub.cli import main
from iec_hub.commands.explaining import MOST_TEXTS, WIDTH, explanation_lines
from iec_hub.commands.tables import LONGEST_EMBEDDED_TEXT, CsvTable, JsonLinesTable, TextTable, safe_cell
from iec_hub.prediction import EmbeddedText, EmotionPrediction, Evidence, ReasoningStep, ScoredText
from iec_hub.predictor import FilePrediction

BOX = ((1.0, 2.0), (9.0, 2.0), (9.0, 4.0), (1.0, 4.0))
FORMULA = '=HYPERLINK("http://evil.example","look")'
HOSTILE = "a\x1b[31mred\x07 \u202egnp.exe\nb"


def reasoned(**fields: Any) -> EmotionPrediction:
    given = {
        "concepts": (ScoredText("stormy sea", 0.83), ScoredText("dark sky", 0.61)),
        "reasoning": (
            ReasoningStep("brightness", "a dark picture", "fear, sadness"),
            ReasoningStep("facial_expression", "nobody's face", ""),
        ),
        "captions": ("The dark sea feels lonely.", "It may frighten."),
        "embedded_text": (EmbeddedText("KEEP OUT", 0.97, BOX), EmbeddedText("of the sea", 0.6, BOX)),
        "evidence": Evidence(words=(ScoredText("dark", 0.31), ScoredText("lonely", 0.12))),
    }
    return EmotionPrediction("custom", ("calm", "tense"), (0.75, 0.25), "aciec", **given | fields)


def csv_row(prediction: EmotionPrediction) -> dict[str, str]:
    file = io.StringIO(newline="")
    CsvTable(file, prediction.labels).write(FilePrediction(Path("x.jpg"), prediction))
    assert file.getvalue().count("\n") == 2
    (row,) = csv.DictReader(io.StringIO(file.getvalue(), newline=""))
    return row


def printed(prediction: EmotionPrediction, files: int = 1) -> str:
    stream = io.StringIO()
    TextTable(stream, [Path("x.jpg")] * files).write(FilePrediction(Path("x.jpg"), prediction))
    return stream.getvalue()


def test_a_table_has_the_words_in_columns_that_can_be_split_again():
    row = csv_row(reasoned())
    assert row["concepts"].split("; ") == ["stormy sea", "dark sky"]
    assert row["caption"] == "The dark sea feels lonely. It may frighten."
    assert row["embedded_text"] == "KEEP OUT; of the sea"
    assert csv_row(reasoned(concepts=(ScoredText("a; b", 1), ScoredText("c", 1))))["concepts"] == "a, b; c"
    empty = csv_row(reasoned(concepts=(), reasoning=(), captions=(), embedded_text=()))
    assert empty["concepts"] == empty["caption"] == empty["embedded_text"] == ""


def test_a_page_of_text_is_cut_in_a_table_and_whole_in_json_lines():
    found = tuple(EmbeddedText(f"line {number}", 0.9, BOX) for number in range(1000))
    cell = csv_row(reasoned(embedded_text=found))["embedded_text"]
    assert len(cell) <= LONGEST_EMBEDDED_TEXT and cell.startswith("line 0; line 1; ") and cell.endswith("...")
    exact = csv_row(reasoned(embedded_text=(EmbeddedText("w" * LONGEST_EMBEDDED_TEXT, 1.0),)))["embedded_text"]
    assert exact == "w" * LONGEST_EMBEDDED_TEXT
    file = io.StringIO()
    JsonLinesTable(file).write(FilePrediction(Path("x.jpg"), reasoned(embedded_text=found)))
    assert len(json.loads(file.getvalue())["embedded_text"]) == 1000


def test_json_lines_hold_everything():
    file = io.StringIO()
    prediction = reasoned(embedded_text=(EmbeddedText(HOSTILE, 0.5, BOX),))
    JsonLinesTable(file).write(FilePrediction(Path("x.jpg"), prediction))
    row = json.loads(file.getvalue())
    assert file.getvalue().count("\n") == 1 and "\x1b" not in file.getvalue()
    assert row["concepts"][0] == {"text": "stormy sea", "score": 0.83}
    step = {"attribute": "brightness", "observation": "a dark picture", "feeling": "fear, sadness"}
    assert row["reasoning"][0] == step and row["captions"][1] == "It may frighten."
    assert row["embedded_text"] == [{"text": HOSTILE, "confidence": 0.5, "box": [list(corner) for corner in BOX]}]
    assert row["evidence"]["words"] == [{"text": "dark", "score": 0.31}, {"text": "lonely", "score": 0.12}]


@pytest.mark.parametrize("field", ["concepts", "captions", "embedded_text"])
def test_a_formula_in_a_picture_stays_a_text(field):
    text = {"concepts": ScoredText, "captions": lambda text, _: text, "embedded_text": EmbeddedText}[field]
    column = "caption" if field == "captions" else field
    assert csv_row(reasoned(**{field: (text(FORMULA, 0.9),)}))[column] == f"'{FORMULA}"
    second = csv_row(reasoned(**{field: (text("harmless", 0.9), text(FORMULA, 0.9))}))[column]
    # What stands behind a semicolon may become a cell of its own; captions are joined by a blank.
    assert second == (f"harmless {FORMULA}" if field == "captions" else f"harmless; '{FORMULA}")
    hidden = csv_row(reasoned(**{field: (text(f"  {HOSTILE}", 0.9),)}))[column]
    assert hidden == r"  a\x1b[31mred\x07 \u202egnp.exe\nb"


@pytest.mark.parametrize(
    ("text", "cell"),
    [
        (" =1+1", " '=1+1"),
        ("x;=1+1", "x;'=1+1"),
        ("x; \t-1", r"x; \t'-1"),
        ("\uff1d1+1", "'\uff1d1+1"),
        ("\uff20SUM(A1)", "'\uff20SUM(A1)"),
        ("a-b; c = d; 3", "a-b; c = d; 3"),
        ("1 + 1 @ home", "1 + 1 @ home"),
    ],
)
def test_cells_that_some_spreadsheet_would_calculate(text, cell):
    assert safe_cell(text) == cell


def test_one_picture_is_explained_on_the_terminal():
    assert printed(reasoned()).splitlines() == [
        "x.jpg  calm (75%)",
        "  concepts    stormy sea (83%), dark sky (61%)",
        "  steps       1. brightness: a dark picture -> fear, sadness",
        "              2. facial expression: nobody's face",
        "  sentences   The dark sea feels lonely.",
        "              It may frighten.",
        '  text        "KEEP OUT" (97%)',
        '              "of the sea" (60%)',
        "  decided by  dark (31%), lonely (12%)",
    ]


def test_several_pictures_have_one_line_each():
    assert printed(reasoned(), files=2) == "x.jpg  calm (75%)  The dark sea feels lonely.\n"


def test_what_was_not_found_says_so_and_what_a_method_does_not_have_is_left_out():
    parts = ("concepts", "reasoning", "captions", "embedded_text")
    lines = explanation_lines(reasoned(**dict.fromkeys(parts, ()), evidence=Evidence(words=())))
    assert [line.split() for line in lines] == [
        [*name.split(), "none", "found"] for name in ("concepts", "steps", "sentences", "text", "decided by")
    ]
    assert explanation_lines(reasoned(**dict.fromkeys(parts), evidence=None)) == []
    # Captions alone stand on the first line, as they do for other methods.
    assert printed(reasoned(concepts=None, reasoning=None, embedded_text=None, evidence=None)).count("\n") == 1


def test_nothing_in_a_picture_commands_the_terminal():
    step = ReasoningStep(HOSTILE, HOSTILE, HOSTILE)
    out = printed(
        reasoned(
            concepts=(ScoredText(HOSTILE, 0.5),),
            reasoning=(step,),
            captions=(HOSTILE,),
            embedded_text=(EmbeddedText(HOSTILE, 0.5, BOX),),
            evidence=Evidence(words=(ScoredText(HOSTILE, 0.5),)),
        )
    )
    assert all(character.isprintable() or character == "\n" for character in out)
    assert out.count(r"a\x1b[31mred\x07") == 7 and out.count("\n") <= 8


def test_endless_texts_stay_within_lines_and_a_page_of_text_is_counted():
    endless = "word " * 100_000
    found = (EmbeddedText(endless, 0.5), *(EmbeddedText("x" * 300, 0.5),) * (MOST_TEXTS + 4))
    lines = explanation_lines(reasoned(captions=(endless,), concepts=(ScoredText(endless, 1),), embedded_text=found))
    assert max(map(len, lines)) <= WIDTH and len(lines) < 200
    assert any(line.endswith("and 5 more") for line in lines)


@pytest.mark.parametrize(
    ("method", "pictures_given", "options", "asked"),
    [
        ("aciec", 1, [], True),
        ("aciec", 2, [], False),
        ("aciec", 1, ["--output", "rows.csv"], False),
        ("ugrie", 1, [], False),
        ("aciec", 2, ["--output", "rows.jsonl", "--evidence"], True),
    ],
)
def test_the_words_that_decided_are_asked_for_where_they_are_shown(
    method, pictures_given, options, asked, pictures, tmp_path, monkeypatch, capsys
):
    """Only then, as finding them takes time."""
    calls = []

    class Reasoning:
        def resolve_emotion_model(self, emotion_model, labels):
            return SimpleNamespace(labels=("calm", "tense"))

        def predict_files(self, files, *, evidence, **_):
            calls.append(evidence)
            return [FilePrediction(file, reasoned()) for file in files]

    Reasoning.method = method
    monkeypatch.setattr("iec_hub.commands.session.load_predictor", lambda arguments: Reasoning())
    monkeypatch.chdir(tmp_path)
    for number in range(pictures_given):
        shutil.copyfile(pictures[number], f"{number}.jpg")
    assert main(["predict", *(f"{number}.jpg" for number in range(pictures_given)), *options]) == 0
    assert calls == [asked]
    assert ("decided by  dark (31%)" in capsys.readouterr().out) == (pictures_given == 1 and not options)

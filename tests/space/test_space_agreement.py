"""Where methods agree and differ, in words and as rows of marks."""

import re

import pytest
from pages import NASTY, Collector, prediction

from iec_hub.prediction import EmotionPrediction
from iec_hub.space import texts
from iec_hub.space.agreement import MAX_ROWS, agreement_html, gaps, remarks, verdict

AWE = prediction({"awe": 0.7, "fear": 0.2, "sadness": 0.1})
FEAR = prediction({"awe": 0.2, "fear": 0.7, "sadness": 0.1})
SAD = prediction({"awe": 0.1, "fear": 0.2, "sadness": 0.7})
GUESS = prediction({"awe": 0.4, "fear": 0.35, "sadness": 0.25})


@pytest.mark.parametrize(
    ("answers", "sentence"),
    [
        ((AWE, AWE, AWE), "All three say awe."),
        ((AWE, AWE), "Both say awe."),
        ((AWE,) * 4, "All 4 say awe."),
        ((AWE, AWE, FEAR), "M1 and M2 say awe, M3 says fear."),
        ((FEAR, AWE, AWE), "M2 and M3 say awe, M1 says fear."),
        ((AWE, FEAR, SAD), "M1 says awe, M2 says fear, M3 says sadness."),
        ((AWE, GUESS, AWE), "All three say awe, but M2 is only guessing."),
        ((AWE, GUESS, GUESS), "All three say awe, but M2 and M3 are only guessing."),
        ((GUESS,) * 3, "All three lean towards awe, but none of them is sure."),
        ((GUESS,) * 2, "Both lean towards awe, but neither of them is sure."),
        ((GUESS, FEAR, FEAR), "M2 and M3 say fear, M1 says awe. M1 is only guessing."),
    ],
)
def test_one_sentence_says_who_says_what_and_who_is_guessing(
    answers: tuple[EmotionPrediction, ...], sentence: str
) -> None:
    assert verdict({f"M{number}": answer for number, answer in enumerate(answers, 1)}) == sentence


def test_what_they_differ_most_about_comes_first_with_its_ends() -> None:
    widest, second, third = gaps({"A": AWE, "B": FEAR, "C": SAD})
    assert (widest.label, widest.least, widest.most) == ("awe", "C", "A") and widest.width == pytest.approx(0.6)
    assert second.width == pytest.approx(0.6) and third.label == "fear" and third.width == pytest.approx(0.5)
    assert texts.FURTHEST.format(label="awe", least_method="C", least="10%", most_method="A", most="70%") in remarks(
        {"A": AWE, "B": FEAR, "C": SAD}
    )


def test_close_answers_are_said_to_be_close_and_get_no_rows() -> None:
    near = prediction({"awe": 0.66, "fear": 0.23, "sadness": 0.11})
    assert remarks({"A": AWE, "B": near}) == [texts.CLOSE.format(points=4)]
    assert "<table" not in agreement_html({"A": AWE, "B": near})


def test_feelings_of_one_kind_are_said_to_be_alike() -> None:
    joy, calm = prediction({"joy": 0.8, "contentment": 0.2}), prediction({"joy": 0.2, "contentment": 0.8})
    assert texts.PLEASANT in remarks({"A": joy, "B": calm})
    assert texts.UNPLEASANT in remarks({"A": FEAR, "B": SAD})
    assert not {texts.PLEASANT, texts.UNPLEASANT} & set(remarks({"A": AWE, "B": FEAR}))
    own = prediction({"cosy": 0.8, "eerie": 0.2}), prediction({"cosy": 0.2, "eerie": 0.8})
    assert len(remarks(dict(zip("AB", own, strict=True)))) == 1


def test_rows_say_every_number_and_place_every_mark() -> None:
    html = agreement_html({"UGRIE": AWE, "ESCNet": FEAR, "ACIEC": SAD})
    rows = re.findall(r'<tr><th scope="row">(.*?)</th>.*?</td>((?:<td>.*?</td>)+)</tr>', html)
    assert [(label, re.findall(r"<td>(.*?)</td>", numbers)) for label, numbers in rows] == [
        ("awe", ["70%", "20%", "10%"]),
        ("sadness", ["10%", "10%", "70%"]),
        ("fear", ["20%", "70%", "20%"]),
    ]
    # The scale ends at 70%, the most that is shown.
    marks = re.findall(r'iec-shape-(\w+)" style="left:([\d.]+)%"', html)
    assert marks[:3] == [("circle", "100.0"), ("square", "28.6"), ("diamond", "14.3")] and len(marks) == 9
    assert html.count('scope="col"') == 4 and '<h2 class="iec-agreement" role="status">' in html


def test_of_many_labels_only_the_most_different_get_rows_and_labels_of_one_alone_none() -> None:
    one = {f"label {n}": 0.1 for n in range(10)}
    other = {label: (0.28 if n < 3 else 0.02) for n, label in enumerate(one)}
    other["label 9"] = 1 - sum(other.values()) + other["label 9"]
    found = agreement_html({"A": prediction(one), "B": prediction(other)})
    assert found.count('scope="row"') == MAX_ROWS
    assert gaps({"A": prediction({"a": 0.5, "b": 0.5}), "B": prediction({"b": 0.4, "c": 0.6})})[0].label == "b"


def test_hostile_labels_and_names_are_text() -> None:
    nasty = {NASTY: 0.9, "b": 0.1}, {NASTY: 0.1, "b": 0.9}
    plain = {"a": 0.9, "b": 0.1}, {"a": 0.1, "b": 0.9}
    shown, expected = (
        Collector(agreement_html({"A": prediction(first), name: prediction(second)}))
        for (first, second), name in ((nasty, NASTY), (plain, "B"))
    )
    assert [tag for tag, _ in shown.tags] == [tag for tag, _ in expected.tags] and NASTY in shown.text

"""Answers about images on disk: asked for once, for good, whatever stops the run."""

import json
import logging
import shutil
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest
from PIL import Image

from iec_hub.affect.reasoning import Reasoning
from iec_hub.data import EmotionExample
from iec_hub.emotions import EMOTION_MODELS
from iec_hub.finetuning.image_answers import kept_answers, kept_reasoning, kept_texts
from iec_hub.prediction import EmbeddedText, ReasoningStep

MODEL = EMOTION_MODELS["mikels8"]


def example(image: Any, origin: str = "") -> EmotionExample:
    return EmotionExample(image, MODEL, MODEL.distribution([1] * 8), origin=origin)


@pytest.fixture
def examples(pictures: list[Path], tmp_path: Path) -> list[EmotionExample]:
    found = []
    for i, path in enumerate(pictures[:5]):
        shutil.copyfile(path, tmp_path / f"{i}.jpg")
        found.append(example(tmp_path / f"{i}.jpg", f"row {i}"))
    return found


class Sizes:
    """Answers with an image's size; remembers how many it was asked about, call by call."""

    def __init__(self, stops_after: int | None = None):
        self.calls: list[int] = []
        self.stops_after = stops_after

    def __call__(self, images: list[Image.Image]) -> list[list[int]]:
        if len(self.calls) == self.stops_after:
            raise KeyboardInterrupt
        self.calls.append(len(images))
        return [list(image.size) for image in images]


def expected(examples: Sequence[EmotionExample]) -> list[list[int]]:
    return [list(e.open().size) for e in examples]


def test_answers_come_in_order_and_are_asked_for_once(examples: list[EmotionExample], tmp_path: Path) -> None:
    ask, path = Sizes(), tmp_path / "kept" / "sizes.jsonl"
    found = kept_answers(examples, ask, path, "few", batch_size=2)
    assert found == expected(examples) and ask.calls == [2, 2, 1] and len({tuple(size) for size in found}) > 2
    assert kept_answers(examples[::-1], ask, path, "few") == found[::-1] and ask.calls == [2, 2, 1]
    assert str(tmp_path) not in path.read_text(encoding="utf-8")
    kept_answers(examples, ask, None, "few")
    assert ask.calls == [2, 2, 1, 5], "without a file nothing is kept"


def test_the_same_image_is_asked_about_once(examples: list[EmotionExample], tmp_path: Path) -> None:
    ask = Sizes()
    given = [examples[0], examples[1], examples[0], examples[0], examples[2]]
    assert kept_answers(given, ask, tmp_path / "sizes.jsonl", "few") == expected(given)
    assert ask.calls == [3]
    assert kept_answers(given, ask, None, "few") == expected(given) and ask.calls == [3, 3]


def test_a_killed_run_goes_on(examples: list[EmotionExample], tmp_path: Path) -> None:
    path, killed = tmp_path / "sizes.jsonl", Sizes(stops_after=2)

    def ask_and_look(images: list[Image.Image]) -> list[list[int]]:
        assert path.read_bytes().count(b"\n") == sum(killed.calls), "a run killed here would lose nothing"
        return killed(images)

    with pytest.raises(KeyboardInterrupt):
        kept_answers(examples, ask_and_look, path, "few", batch_size=2)
    assert path.read_bytes().count(b"\n") == 4, "what was answered is kept"
    path.write_bytes(path.read_bytes()[:-9])  # killed in the middle of a line
    ask = Sizes()
    assert kept_answers(examples, ask, path, "few", batch_size=2) == expected(examples) and ask.calls == [2]
    assert kept_answers(examples, ask, path, "few") == expected(examples) and ask.calls == [2]


def test_damaged_lines_are_passed_over(examples: list[EmotionExample], tmp_path: Path) -> None:
    path, ask = tmp_path / "sizes.jsonl", Sizes()
    kept_answers(examples, ask, path, "few")
    damage = b'\xff\xfe\n[1]\n"a"\nnull\n{"image": 1}\n{"answer": 2}\n' + b"[" * 100_000 + b"\n\n"
    path.write_bytes(damage + path.read_bytes() + damage)
    assert kept_answers(examples, ask, path, "few") == expected(examples) and ask.calls == [5]


def test_an_image_that_cannot_be_read_has_none_and_is_tried_again(
    examples: list[EmotionExample], tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    whole, path, ask = examples[1].image.read_bytes(), tmp_path / "sizes.jsonl", Sizes()
    examples[1].image.write_bytes(whole[:500])
    missing = example(tmp_path / "none.jpg", "row 9")
    with caplog.at_level(logging.WARNING):
        found = kept_answers([*examples[:3], missing], ask, path, "few")
    assert found == [*expected(examples[:1]), None, *expected(examples[2:3]), None] and ask.calls == [2]
    (warning,) = [record.getMessage() for record in caplog.records]
    assert warning.startswith("few: 2 images have none; the first: row ") and str(tmp_path) not in warning
    examples[1].image.write_bytes(whole)
    assert kept_answers(examples[:3], ask, path, "few") == expected(examples[:3]) and ask.calls == [2, 1]
    assert kept_answers([missing], ask, path, "few") == [None] and ask.calls == [2, 1]


def test_no_answer_at_all_is_kept_too(examples: list[EmotionExample], tmp_path: Path) -> None:
    path, calls = tmp_path / "none.jsonl", []

    def silent(images: list[Image.Image]) -> list[None]:
        calls.append(len(images))
        return [None] * len(images)

    assert kept_answers(examples, silent, path, "few") == [None] * 5 == kept_answers(examples, silent, path, "few")
    assert calls == [5]


class Reader:
    """Reads two lines in the first image that it sees and nothing in any other."""

    def __init__(self, name: str = "reader"):
        self.name, self.asked = name, 0

    def read(self, images: Sequence[Image.Image]) -> list[tuple[EmbeddedText, ...]]:
        lines = (
            EmbeddedText("Stop war", 0.9, ((0, 0), (5, 0), (5, 2), (0, 2))),
            EmbeddedText("now \u00e9\u2028", 0.5),
        )
        found = [lines if self.asked + i == 0 else () for i in range(len(images))]
        self.asked += len(images)
        return found


def test_texts_come_back_as_they_were_read(examples: list[EmotionExample], tmp_path: Path) -> None:
    reader = Reader()
    fresh = kept_texts(reader, examples, tmp_path / "cache", "few")
    assert [[(line.text, line.confidence) for line in found] for found in fresh] == [
        [("Stop war", 0.9), ("now \u00e9\u2028", 0.5)],
        *[[]] * 4,
    ]
    assert kept_texts(reader, examples, tmp_path / "cache", "few") == fresh and reader.asked == 5
    another = Reader("another")
    kept_texts(another, examples, tmp_path / "cache", "few")
    assert another.asked == 5 and len(list((tmp_path / "cache").iterdir())) == 2


def test_an_image_that_cannot_be_read_has_no_text(examples: list[EmotionExample], tmp_path: Path) -> None:
    examples[0].image.write_bytes(b"nothing")
    assert kept_texts(Reader(), examples[:1], tmp_path / "cache", "few") == [()]


class Poet:
    """Says something about every image but the second."""

    name = "poet"

    def __init__(self) -> None:
        self.asked = 0

    def reason(
        self, images: Sequence[Image.Image], embedded_texts: Sequence[str | None] | None = None
    ) -> list[Reasoning]:
        answers = []
        for _ in images:
            step = ReasoningStep("scene", f"place {self.asked}", "fear \u2013 cold")
            spoken = Reasoning((step, ReasoningStep("object", "a dog", "joy")), (f"Line {self.asked}.",), self.name)
            answers.append(Reasoning(fallback="It was silent.") if self.asked == 1 else spoken)
            self.asked += 1
        return answers


def test_reasoning_comes_back_as_it_was_said(examples: list[EmotionExample], tmp_path: Path) -> None:
    poet, cache = Poet(), tmp_path / "cache"
    fresh = kept_reasoning(poet, examples, cache, "few", "v1", batch_size=2)
    assert fresh[1] is None and [said.sentences for said in fresh if said] == [(f"Line {i}.",) for i in (0, 2, 3, 4)]
    assert fresh[0].steps[0] == ReasoningStep("scene", "place 0", "fear \u2013 cold") and fresh[0].source == "poet"
    assert kept_reasoning(poet, examples, cache, "few", "v1") == fresh and poet.asked == 5
    assert kept_reasoning(Poet(), examples, None, "few") == fresh


def test_other_prompts_are_asked_anew(examples: list[EmotionExample], tmp_path: Path) -> None:
    poet, cache = Poet(), tmp_path / "cache"
    first = kept_reasoning(poet, examples, cache, "few", "v1")
    second = kept_reasoning(poet, examples, cache, "few", "v2")
    assert poet.asked == 10 and second[0].sentences == ("Line 5.",)
    assert kept_reasoning(poet, examples, cache, "few", "v1") == first and poet.asked == 10
    lines = [json.loads(line) for file in cache.iterdir() for line in file.read_text("utf-8").splitlines()]
    assert len(lines) == 10 and all(set(line) == {"image", "answer"} for line in lines)

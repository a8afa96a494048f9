"""The chain of thought: prompts as data, and what is read out of the answers that language models give."""

import dataclasses
import json
import time
from pathlib import Path

import pytest

from iec_hub.affect.attributes import ATTRIBUTES
from iec_hub.affect.reasoning import ReasoningPrompts, sentences_from_steps
from iec_hub.affect.reasoning_parsing import attribute_name, parse_reasoning, parse_sentences, parse_step
from iec_hub.errors import DataError
from iec_hub.prediction import ReasoningStep

B, C, S, OBJ, F, H = ATTRIBUTES
DARK = (B, "dark", "fear")

# Answer, its steps, its sentences.
ANSWERS = {
    "fenced, with prose around it": (
        'Sure! Here is the analysis:\n```json\n{"steps": [{"attribute": "Brightness", "observation": "The picture is '
        'dark.", "feeling": "fear"}, {"attribute": "Colors", "observation": "Muted blue and grey", "feeling": '
        '"sadness"}, {"attribute": "Facial expressions", "observation": "None", "feeling": "None"}], "sentences": '
        '["A dark street evokes fear."]}\n```\nLet me know if you need more!',
        [(B, "The picture is dark", "fear"), (C, "Muted blue and grey", "sadness")],
        ["A dark street evokes fear."],
    ),
    "trailing commas": (
        '{"steps": [{"attribute": "scene", "observation": "a beach", "feeling": "calm",},], "sentences": ["Calm.",],}',
        [(S, "a beach", "calm")],
        ["Calm."],
    ),
    "single quotes and apostrophes": (
        "{'steps': [{'attribute': 'scene', 'observation': 'It\\'s a room', 'feeling': 'warmth'}, {'attribute': "
        "'objects', 'observation': 'the child's toys', 'feeling': 'joy'}], 'sentences': ['It's warm.']}",
        [(S, "It's a room", "warmth"), (OBJ, "the child's toys", "joy")],
        ["It's warm."],
    ),
    "cut off inside of a step": (
        '{"steps": [{"attribute": "brightness", "observation": "dark", "feeling": "fear"}, {"attribute": "color", '
        '"observation": "dull brown", "feeling": "boredom"}, {"attribute": "scene", "observation": "an aband',
        [DARK, (C, "dull brown", "boredom")],
        [],
    ),
    "cut off inside of a sentence": (
        '{"steps": [{"attribute": "brightness", "observation": "dark", "feeling": "fear"}], "sentences": ["It is '
        'dark.", "It evokes une',
        [DARK],
        ["It is dark."],
    ),
    "quotes inside of a text": (
        '{"steps": [{"attribute": "object", "observation": "a sign saying "STOP" in red", "feeling": "alarm"}]}',
        [(OBJ, 'a sign saying "STOP" in red', "alarm")],
        [],
    ),
    "attributes as keys": (
        '{"brightness": {"observation": "dark", "feeling": ["fear", "unease"]}, "colour": {"description": "grey", '
        '"emotion": "sadness"}, "people": "none", "human_actions": null, "summary": "A sad picture."}',
        [(B, "dark", "fear, unease"), (C, "grey", "sadness")],
        ["A sad picture."],
    ),
    "arrows inside of JSON": (
        '{"brightness": "dark -> fear", "objects": "a knife => threat", "sentences": "A knife in the dark."}',
        [DARK, (OBJ, "a knife", "threat")],
        ["A knife in the dark."],
    ),
    "one object a line, said twice": (
        '{"attribute":"setting","observation":"a cellar","feeling":"fear"}\n{"attribute":"lighting","observation":'
        '"dark","feeling":"fear"}\n{"attribute":"brightness","observation":"Dark","feeling":"gloom"}',
        [(B, "dark", "fear, gloom"), (S, "a cellar", "fear")],
        [],
    ),
    "a list of texts": (
        '["Brightness: dark -> fear", "Scene: a cellar -> unease"]',
        [DARK, (S, "a cellar", "unease")],
        [],
    ),
    "a numbered list": (
        "1. Brightness: dark -> fear\n2. Color: grey and cold -> sadness\n3. Scene: an empty street -> loneliness\n"
        "4. Objects: a lamp -> hope\n5. Facial expressions: none\n6. Human actions: n/a\n\n"
        "Sentences: A dark street evokes fear. It feels lonely.",
        [DARK, (C, "grey and cold", "sadness"), (S, "an empty street", "loneliness"), (OBJ, "a lamp", "hope")],
        ["A dark street evokes fear.", "It feels lonely."],
    ),
    "markdown": (
        "**1. Brightness:**\n- **Observation:** The image is bright.\n- **Feeling:** Happiness\n\n"
        "**2. Color Palette:**\n- **Observation:** Vivid greens.\n- **Feeling evoked:** Energy\n\n"
        "### Facial Expressions\n- Observation: No people are visible.\n- Feeling: N/A\n\n"
        "**Affective sentences:**\n1. The bright meadow evokes happiness.\n2. It is lively.",
        [(B, "The image is bright", "Happiness"), (C, "Vivid greens", "Energy")],
        ["The bright meadow evokes happiness.", "It is lively."],
    ),
    "a table": (
        "| Attribute | Observation | Feeling |\n|---|---|---|\n| Brightness | dark | fear |\n"
        "| Actions | running | panic |",
        [DARK, (H, "running", "panic")],
        [],
    ),
    "prose": (
        "Brightness: The photo is overexposed, which evokes a sense of warmth.\nScene - A kitchen, creating a feeling "
        "of comfort.\nStep 3: Objects in the scene: a skull (feeling: disgust)",
        [(B, "The photo is overexposed", "warmth"), (S, "A kitchen", "comfort"), (OBJ, "a skull", "disgust")],
        [],
    ),
    "thoughts first": ("<think>scene: a trap -> joy</think>\n1) Brightness: dark \u2192 fear", [DARK], []),
    "nobody there": (
        "Facial expressions: No people are visible, so it feels lonely -> loneliness\nScene: no people on a beach -> "
        "peace\nHuman action: There are no people in the image -> none\nObjects: no objects visible -> emptiness",
        [(S, "no people on a beach", "peace")],
        [],
    ),
    "control characters and markup": (
        '{"steps": [{"attribute": "scene", "observation": "a \u202ecellar\\u202e\\nwith <b>rats</b>\u0000", '
        '"feeling": "fear\\u0007"}]}',
        [(S, "a cellar with <b>rats</b>", "fear")],
        [],
    ),
    "the form repeated": (
        '{"steps": [{"attribute": "brightness", "observation": "...", "feeling": "..."}], "sentences": ["..."]}',
        [],
        [],
    ),
    "a step without its feeling": ('{"steps": [{"attribute": "scene", "observation": "a beach"}]}', [], []),
    "an unknown attribute": ('{"steps": [{"attribute": "smell", "observation": "sweet", "feeling": "joy"}]}', [], []),
    "a refusal": ("I'm sorry, but I can't assist with that.", [], []),
    "code": ("__import__('os').system('echo brightness')", [], []),
    "nothing": ("", [], []),
}


@pytest.mark.parametrize("name", ANSWERS)
def test_an_answer_is_read(name: str) -> None:
    answer, steps, sentences = ANSWERS[name]
    assert parse_reasoning(answer) == (tuple(ReasoningStep(*step) for step in steps), tuple(sentences))


@pytest.mark.parametrize("cut", range(0, 260, 7))
def test_wherever_an_answer_is_cut_its_complete_steps_stay(cut: int) -> None:
    steps = [{"attribute": name, "observation": f"seen {name}", "feeling": f"felt {name}"} for name in (B, C, S, OBJ)]
    answer = json.dumps({"steps": steps})[: cut + 10]
    complete = [step for step in steps if json.dumps(step)[:-1] in answer]
    assert [vars(step) for step in parse_reasoning(answer)[0]] == complete


def test_texts_are_bounded() -> None:
    long = "very " * 400
    step = {"attribute": "scene", "observation": long, "feeling": long}
    (found,), sentences = parse_reasoning(
        json.dumps({"steps": [step], "sentences": [f"{i} {long}" for i in range(9)]})
    )
    assert 200 < len(found.observation) <= 240 and 60 < len(found.feeling) <= 80
    assert len(sentences) == 0 or max(map(len, sentences)) <= 300
    sentences = parse_sentences(json.dumps([f"Sentence {i} is here." for i in range(9)]))
    assert sentences == tuple(f"Sentence {i} is here." for i in range(5))


@pytest.mark.parametrize(
    "piece", ["{", '["', '" ', "'{ ", '{"a":', "a: ", "brightness ", " ,", "evokes ", "-", " ", "\\"]
)
def test_a_hostile_answer_takes_no_time(piece: str) -> None:
    start = time.perf_counter()
    for answer in (piece * 20_000, "brightness: " + piece * 20_000):
        parse_reasoning(answer)
        parse_step("scene", answer)
        parse_sentences(answer)
    assert time.perf_counter() - start < 5


@pytest.mark.parametrize(
    ("name", "attribute"),
    [
        ("Color palette", C),
        ("colours", C),
        ("Human facial expressions", F),
        ("Faces", F),
        ("activity", H),
        ("human_action", H),
        ("Objects in the scene", OBJ),
        ("Background", S),
        ("Scene brightness", B),
        ("Lighting & exposure", B),
        ("2. Setting", S),
        ("smell", None),
        ("", None),
        (None, None),
    ],
)
def test_names_of_attributes(name: str | None, attribute: str | None) -> None:
    assert attribute_name(name) == attribute


@pytest.mark.parametrize(
    ("attribute", "answer", "step"),
    [
        (S, "a dark alley -> fear", (S, "a dark alley", "fear")),
        (S, "Scene: a beach -> calm", (S, "a beach", "calm")),
        (S, '{"observation": "a beach", "feeling": "calm"}', (S, "a beach", "calm")),
        (S, "The picture shows a man, and the feeling evoked is sorrow.", (S, "The picture shows a man", "sorrow")),
        (B, "It is dim, evoking a sense of unease and", (B, "It is dim", "unease")),
        (S, "The picture evokes joy.", None),
        (H, "There are no people in the image.", None),
        (OBJ, "none", None),
        (S, "I cannot say.", None),
    ],
)
def test_the_answer_to_one_question(attribute: str, answer: str, step: tuple[str, str, str] | None) -> None:
    assert parse_step(attribute, answer) == (ReasoningStep(*step) if step else None)


@pytest.mark.parametrize(
    ("answer", "sentences"),
    [
        ("A dark street. It evokes fear.", ("A dark street.", "It evokes fear.")),
        ("Sentences:\n1. One is here.\n2. Two is here.", ("One is here.", "Two is here.")),
        ('```json\n["One is here.", "One is here."]\n```', ("One is here.",)),
        ('{"sentences": ["One is here."]}', ("One is here.",)),
        ("", ()),
        ("none", ()),
    ],
)
def test_the_answer_to_the_last_question(answer: str, sentences: tuple[str, ...]) -> None:
    assert parse_sentences(answer) == sentences


def test_sentences_say_what_the_steps_say() -> None:
    assert sentences_from_steps([ReasoningStep(S, "a dark alley.", "fear")]) == ("A dark alley: this evokes fear.",)


def test_the_package_has_prompts_for_each_attribute_in_order() -> None:
    prompts = ReasoningPrompts.load()
    assert tuple(prompts.questions) == ATTRIBUTES
    assert parse_reasoning(prompts.structured)[0] == ()


def test_prompts_can_be_replaced(tmp_path: Path) -> None:
    prompts = ReasoningPrompts.load()
    path = tmp_path / "prompts.json"
    own = dataclasses.replace(prompts, questions={S: "Where is this?"})
    path.write_text(json.dumps(dataclasses.asdict(own)), encoding="utf-8")
    assert ReasoningPrompts.load(path) == own
    assert own.digest == ReasoningPrompts.load(path).digest != prompts.digest
    swapped = dataclasses.replace(prompts, questions=dict(reversed(prompts.questions.items())))
    assert swapped.digest != prompts.digest


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"retry": None}, "retry"),
        ({"retry": 3}, "retry"),
        ({"structured": " "}, "structured"),
        ({"sentences": "x" * 5000}, "sentences"),
        ({"questions": {}}, "no questions"),
        ({"questions": {"smell": "How does it smell?"}}, "smell"),
        ({"questions": {"scene": ""}}, "questions.scene"),
        ({"extra": "x"}, "extra"),
        ({"version": ...}, "version"),
    ],
)
def test_bad_prompts_are_refused_in_one_sentence(change: dict, said: str) -> None:
    content = dataclasses.asdict(ReasoningPrompts.load()) | change
    content = {key: value for key, value in content.items() if value is not ...}
    with pytest.raises(DataError, match=said) as caught:
        ReasoningPrompts.from_dict(content)
    assert str(caught.value).count(". ") == 0 and str(caught.value).endswith(".")


@pytest.mark.parametrize("content", [b"{", b"\xff\xfe", b"[]", b"[" * 100_000, b"null"])
def test_bad_files_are_refused(content: bytes, tmp_path: Path) -> None:
    path = tmp_path / "prompts.json"
    path.write_bytes(content)
    with pytest.raises(DataError):
        ReasoningPrompts.load(path)
    with pytest.raises(DataError):
        ReasoningPrompts.load(tmp_path / "missing.json")

"""Links with settings, and the words for the emotions: what a visitor writes and what anybody may have sent."""

import shutil
from pathlib import Path

import pytest
from PIL import Image

from iec_hub.emotions import EMOTION_MODELS, EmotionModel
from iec_hub.errors import DataError
from iec_hub.space import texts
from iec_hub.space.answering import ALL, OWN
from iec_hub.space.label_words import with_words, words_text
from iec_hub.space.limits import Limits
from iec_hub.space.methods import page_methods

gr = pytest.importorskip("gradio")

from iec_hub.space.example_pictures import example_pictures  # noqa: E402
from iec_hub.space.service import Service  # noqa: E402
from iec_hub.space.sharing import LONGEST_LINK, Settings, example_of, link_query, read_link  # noqa: E402
from iec_hub.space.single import link_updates  # noqa: E402

MODEL = EMOTION_MODELS["mikels8"]


@pytest.fixture
def methods(predictor, captioning) -> dict:
    return page_methods({"ugrie": predictor, "escnet": captioning})


def opened(query: str, methods: dict) -> Settings | None:
    return read_link(query, methods, example_pictures(), Limits())


@pytest.mark.parametrize(
    "settings",
    [
        Settings(method=ALL, emotions="ekman7", example="pizza"),
        Settings(method="escnet", emotions="mikels8", caption="Ein düsterer Tag & 100% Regen?"),
        Settings(method="ugrie", emotions=OWN, labels="cosy, eerie", words="cosy: snug, warm"),
        Settings(emotions="mikels8", words="awe: wonder\nfear: dread, panic", tab="many"),
    ],
)
def test_what_a_link_was_made_of_is_what_it_opens_with(settings: Settings, methods) -> None:
    assert opened(link_query(settings), methods) == settings


@pytest.mark.parametrize(
    "query",
    [
        "?method=oracle",
        "?emotions=ekman9",
        "?method=escnet&emotions=ekman7",
        "?method=escnet&emotions=own&labels=a,b",
        "?emotions=own&labels=cosy",
        "?emotions=own&labels=%3Cmask%3E,b",
        "?example=../../etc/passwd",
        "?example=pizza.jpg",
        "?caption=" + "x" * 401,
        "?caption=a%00b",
        "?emotions=mikels8&words=no+colon",
        "?emotions=mikels8&words=joyfulness:+x",
        "?method=" + "&a=1" * 50,
        "?caption=" + "x" * LONGEST_LINK,
    ],
)
def test_a_bad_link_is_one_sentence_and_nothing_of_it_is_taken(query: str, methods) -> None:
    with pytest.raises(DataError) as caught:
        opened(query, methods)
    assert str(caught.value) == texts.LINK_BAD


@pytest.mark.parametrize("query", ["", "?", "?__theme=dark", "?tab=about", "?tab=%3Cscript%3E", "?utm=1&x=2"])
def test_an_address_without_settings_changes_nothing(query: str, methods) -> None:
    assert opened(query, methods) is None


def test_only_a_copy_of_an_example_is_an_example(tmp_path: Path) -> None:
    first = example_pictures()[0]
    shutil.copy(first, tmp_path / "upload.bin")
    assert example_of(tmp_path / "upload.bin", example_pictures()) == first.stem
    changed = bytearray(first.read_bytes())
    changed[-1] ^= 1
    (tmp_path / first.name).write_bytes(changed)
    Image.new("RGB", (8, 8)).save(tmp_path / "pizza.png")
    assert not example_of(tmp_path / first.name, example_pictures())
    assert not example_of(tmp_path / "pizza.png", example_pictures())


def test_words_are_read_back_as_they_are_written_and_change_nothing_then() -> None:
    assert words_text(MODEL).splitlines()[0] == "amusement: ecstasy, joy, serenity"
    assert with_words(MODEL, words_text(MODEL), 4000) is None and with_words(MODEL, " \n", 4000) is None


def test_changed_words_change_only_their_emotion() -> None:
    changed = with_words(MODEL, "fear: dread ,  panic,\n\nAWE: wonder", 4000)
    assert isinstance(changed, EmotionModel) and changed.labels == MODEL.labels and changed.name == MODEL.name
    words = {emotion.label: emotion.words for emotion in changed.emotions}
    assert words["fear"] == ("dread", "panic") and words["awe"] == ("wonder",)
    assert words["anger"] == MODEL.emotions[MODEL.index("anger")].words
    assert changed.polarities == MODEL.polarities


@pytest.mark.parametrize(
    ("text", "sentence"),
    [
        ("fear dread", 'lacks its colon: "fear dread"'),
        ("joyfulness: x", "no label of mikels8"),
        ("fear: <mask>", "use plain words"),
        ("fear: " + ",".join("abcdefghijklm"), "at most 12"),
        ("fear: " + "x" * 4000, "shorten them to 4000"),
    ],
)
def test_bad_words_are_one_sentence(text: str, sentence: str) -> None:
    with pytest.raises(DataError, match=sentence):
        with_words(MODEL, text, 4000)


@pytest.mark.parametrize(
    ("settings", "emotions"),
    [
        (Settings(method="ugrie", emotions="ekman7", example="pizza"), "ekman7"),
        (Settings(method="ugrie", emotions="mikels8"), "mikels8"),
        (Settings(method="ugrie", words="awe: wonder"), "mikels8"),
        (Settings(method="ugrie", emotions=OWN, labels="cosy, eerie"), OWN),
    ],
)
def test_an_opened_link_chooses_all_that_it_names(settings: Settings, emotions: str, methods) -> None:
    service = Service(methods, Limits())
    _, method, choice, labels, hint, editor, words, picture, _ = link_updates(
        service, link_query(settings), example_pictures()
    )
    assert (method, choice["value"], labels["value"]) == ("ugrie", emotions, settings.labels)
    assert emotions in [value for _, value in choice["choices"]]
    assert labels["visible"] == (emotions == OWN) and hint and editor["open"] == bool(settings.words)
    assert words.startswith(settings.words or ("cosy: " if emotions == OWN else ""))
    assert Path(picture).stem == settings.example if settings.example else picture == gr.skip()

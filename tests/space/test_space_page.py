"""What the page offers and understands: methods, labels, captions."""

import subprocess
import sys

import pytest
from captioning_predictor import CaptioningPredictor

from iec_hub.emotions import EMOTION_MODELS
from iec_hub.errors import CheckpointError, DataError

gradio_client = pytest.importorskip("gradio_client")

from iec_hub.space import texts  # noqa: E402
from iec_hub.space.answering import read_caption, split_labels  # noqa: E402
from iec_hub.space.choices import switched  # noqa: E402
from iec_hub.space.limits import Limits  # noqa: E402
from iec_hub.space.methods import chosen_method, page_methods  # noqa: E402


@pytest.mark.parametrize(
    ("text", "labels"),
    [("cosy, eerie", ["cosy", "eerie"]), (" a ;b\nc,, ", ["a", "b", "c"]), ("", []), (None, [])],
)
def test_labels_are_split_at_commas(text: str | None, labels: list[str]) -> None:
    assert split_labels(text) == labels


def test_rendering_needs_no_gradio() -> None:
    code = "import sys, iec_hub.space.rendering, iec_hub.space.answering; sys.exit('gradio' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0


def test_methods_are_named_and_offer_what_they_can_tell(predictor, captioning) -> None:
    methods = page_methods([predictor, captioning])
    assert list(methods) == ["brightness", "escnet"]
    assert methods == page_methods({"brightness": predictor, "escnet": captioning})
    assert chosen_method(methods, None).predictor is predictor and chosen_method(methods, "").own_labels
    assert list(methods["brightness"].models) == list(EMOTION_MODELS) and not methods["brightness"].reads_captions
    assert set(methods["escnet"].models) == {"mikels8", "sentiment2"} and methods["escnet"].reads_captions
    assert not methods["escnet"].own_labels
    assert methods["escnet"].note("mikels8") == "" and methods["escnet"].note("sentiment2") == texts.DERIVED
    assert methods["brightness"].note("custom") == texts.NOT_TRAINED
    with pytest.raises(DataError, match="no method 'oracle' here; use one of brightness, escnet"):
        chosen_method(methods, "oracle")


def test_another_method_changes_the_choice_only_where_it_has_to(predictor, captioning) -> None:
    """A visitor who chooses quickly would else be thrown back to the choice before."""
    methods = page_methods([predictor, captioning])
    assert "value" not in switched(methods, "escnet", "sentiment2")[0]
    assert switched(methods, "escnet", "ekman7")[0]["value"] == "mikels8"


def test_a_page_needs_predictors_of_different_methods(captioning) -> None:
    with pytest.raises(CheckpointError, match="at least one"):
        page_methods({})
    with pytest.raises(CheckpointError, match="two names"):
        page_methods([captioning, CaptioningPredictor()])


@pytest.mark.parametrize(
    ("text", "caption"),
    [
        (None, ""),
        (" \n\t ", ""),
        (" a  dark\r\nroom\x85", "a dark room"),
        ("a\0b\x1b[31m\ud800", "ab[31m"),
        ("\u96ea \U0001f468\u200d\U0001f469", "\u96ea \U0001f468\u200d\U0001f469"),
        ("x" * Limits().caption, "x" * Limits().caption),
    ],
)
def test_captions_are_one_line_of_what_can_be_written(text: str | None, caption: str) -> None:
    assert read_caption(text, Limits().caption) == caption

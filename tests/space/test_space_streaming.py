"""Answers as they come: partial ones first, each method on its own, and only those to the latest question."""

import asyncio
import threading
from collections.abc import AsyncIterator, Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import gradio as gr
import pytest
from pages import completed, prediction
from PIL import Image

from iec_hub.emotions import EMOTION_MODELS, EmotionModel
from iec_hub.errors import DataError
from iec_hub.prediction import EmotionPrediction, Progress, ReasoningStep
from iec_hub.space import texts
from iec_hub.space.answering import ALL, OWN
from iec_hub.space.handlers import Answered, Asked, Asking, Failed, questions
from iec_hub.space.method_cards import answer_card, idle_card, unable_card, waiting_card
from iec_hub.space.methods import page_methods
from iec_hub.space.service import Picture, Question, Service
from iec_hub.space.streaming import Card, Kept, Streaming, Wish

PICTURE = Picture(Image.new("RGB", (30, 20)), Image.new("RGB", (30, 20)))
AWE, FEAR = prediction({"awe": 0.7, "fear": 0.3}), prediction({"awe": 0.2, "fear": 0.8})


class Slow(Service):
    """Answers when it is told to, and reports a step of reasoning before."""

    def __init__(self, methods: Any):
        super().__init__(methods)
        self.let_go = {name: asyncio.Event() for name in methods}
        self.cancelled: list[str] = []

    async def ask(
        self, method: str, picture: Picture, question: Question, progress: Callable[[Progress], None] | None = None
    ) -> EmotionPrediction:
        if progress is not None:
            progress(Progress("described", {"reasoning": (ReasoningStep("scene", "a room", "calm"),)}))
        try:
            await self.let_go[method].wait()
        except asyncio.CancelledError:
            self.cancelled.append(method)
            raise
        if question.caption == "bad":
            raise DataError("This caption is bad; write another.")
        if question.caption == "broken":
            raise RuntimeError("secret detail")
        return FEAR if question.caption else AWE


@pytest.fixture
def service(predictor, captioning) -> Slow:
    return Slow(page_methods({"ugrie": predictor, "escnet": captioning}))


def asked(caption: str = "") -> Asked:
    return Asked(
        Question("mikels8", caption=caption), ("awe", "fear"), before=Question("mikels8") if caption else None
    )


def test_whoever_is_ready_first_is_shown_first(service: Slow) -> None:
    async def visit() -> list[tuple[str, str]]:
        seen = []
        async for name, news in Asking(service).answers("visitor", PICTURE, {"ugrie": asked(), "escnet": asked()}):
            seen.append((name, type(news).__name__))
            if len(seen) == 2:
                service.let_go["escnet"].set()
            if (name, type(news)) == ("escnet", Answered):
                service.let_go["ugrie"].set()
        return seen

    assert completed(visit()) == [
        ("ugrie", "Progress"),
        ("escnet", "Progress"),
        ("escnet", "Answered"),
        ("ugrie", "Answered"),
    ]


@pytest.mark.parametrize(
    ("caption", "expected"),
    [
        ("dark", Answered(FEAR, AWE)),
        ("bad", Failed("This caption is bad; write another.")),
        ("broken", Failed(texts.UNEXPECTED_ERROR)),
    ],
)
def test_a_caption_is_answered_next_to_the_models_own_and_failures_are_sentences(
    service: Slow, caption: str, expected: Any
) -> None:
    async def visit() -> Any:
        service.let_go["escnet"].set()
        return [news async for _, news in Asking(service).answers("visitor", PICTURE, {"escnet": asked(caption)})][-1]

    assert completed(visit()) == expected


def test_a_new_question_takes_the_former_one_back_but_nobody_elses(service: Slow) -> None:
    async def visit() -> list[list[Any]]:
        asking = Asking(service)

        async def ask(session: str, caption: str = "") -> list[Any]:
            news = [each async for _, each in asking.answers(session, PICTURE, {"ugrie": asked(caption)})]
            return [each for each in news if not isinstance(each, Progress)]

        first, other = asyncio.create_task(ask("a")), asyncio.create_task(ask("b"))
        await asyncio.sleep(0.01)
        second = asyncio.create_task(ask("a"))
        await asyncio.sleep(0.01)
        service.let_go["ugrie"].set()
        return await asyncio.gather(first, second, other)

    assert completed(visit()) == [[], [Answered(AWE)], [Answered(AWE)]] and service.cancelled == ["ugrie"]


def test_whoever_leaves_takes_the_question_along(service: Slow) -> None:
    async def visit() -> None:
        answers = Asking(service).answers("visitor", PICTURE, {"ugrie": asked(), "escnet": asked()})
        await anext(answers)
        await asyncio.sleep(0.01)
        await answers.aclose()
        await asyncio.sleep(0.01)

    completed(visit())
    assert sorted(service.cancelled) == ["escnet", "ugrie"]


def test_each_method_is_asked_what_it_can_tell(service: Slow) -> None:
    both = questions(service, ALL, "mikels8", "")
    assert list(both) == ["ugrie", "escnet"] and both["ugrie"].question == Question("mikels8")
    assert list(questions(service, ALL, "ekman7", "")) == ["ugrie"]
    own = questions(service, ALL, OWN, "dim, bright")
    assert list(own) == ["ugrie"] and own["ugrie"].question.labels == own["ugrie"].labels == ("dim", "bright")
    # Captions are for those that read them, words for those that take any; the others are asked as ever.
    changed = questions(service, ALL, "mikels8", "", "fear: dread", " A dark\nroom ")
    assert changed["escnet"].question.caption == "A dark room" and changed["escnet"].before is not None
    assert changed["ugrie"].question.emotion_model.phrases[6] == "dread" and changed["ugrie"].own_words
    assert changed["ugrie"].before == Question("mikels8", evidence=False) and not changed["escnet"].own_words
    for labels, words in (("dim", ""), ("x" * 5000, ""), ("dim, bright", "no colon")):
        with pytest.raises(DataError):
            questions(service, ALL, OWN, labels, words)


def test_cards_keep_their_places_from_the_first_moment_to_the_last(service: Slow) -> None:
    method = service.methods["ugrie"]
    waiting = waiting_card(method, AWE.labels, size=(30, 20))
    done = answer_card(method, AWE, PICTURE.shown, folded=True)
    for part in ('class="iec-head"', 'class="iec-answer"', 'class="iec-call'):
        assert part in waiting and part in done
    assert waiting.count('class="iec-bar ') == done.count('class="iec-bar ') == 2
    assert "aspect-ratio:30/20" in waiting and "%</span>" not in waiting
    step = Progress("described", {"reasoning": (ReasoningStep("scene", "<b>a room</b>", "calm"),), "concepts": ()})
    partial = waiting_card(method, AWE.labels, PICTURE.shown, (30, 20), step)
    assert "&lt;b&gt;a room&lt;/b&gt;" in partial and texts.STAGES["described"] in partial
    assert texts.NO_CONCEPTS in partial and texts.EMBEDDED_TEXT not in partial
    assert texts.METHOD_IDEAS["ugrie"] in idle_card(method)
    assert "Mikels&#x27; emotions" in unable_card(service.methods["escnet"])


CARD, SUMMARY = "card of escnet", "summary"


def streaming_for(service: Slow, tmp_path: Path) -> tuple[Streaming, Wish]:
    """A page for one method; its components are only told apart."""
    PICTURE.image.save(tmp_path / "picture.png")
    wish = Wish({"path": str(tmp_path / "picture.png")}, "escnet", "mikels8", "", "")
    cards = {"escnet": Card("column", CARD, "editor", "caption")}
    return Streaming(service, SUMMARY, cards, str(tmp_path)), wish


async def every(updates: AsyncIterator[dict]) -> list[dict]:
    return [each async for each in updates]


async def shown_on_card(updates: AsyncIterator[dict]) -> list[str]:
    return [each[CARD] for each in await every(updates) if isinstance(each.get(CARD), str)]


def test_an_answer_that_is_drawn_late_does_not_undo_a_newer_one(
    service: Slow, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    page, wish = streaming_for(service, tmp_path)
    drawing, drawn = threading.Event(), threading.Event()

    def draw(method: Any, prediction: EmotionPrediction, *_: Any, **__: Any) -> str:
        if prediction is AWE:
            drawing.set()
            assert drawn.wait(20)
        return "awe" if prediction is AWE else "fear"

    monkeypatch.setattr("iec_hub.space.streaming.answer_card", draw)
    service.let_go["escnet"].set()
    kept = Kept()

    async def visit() -> tuple[list[str], list[str]]:
        first = asyncio.create_task(shown_on_card(page.answer(wish, kept, "visitor")))
        await asyncio.to_thread(drawing.wait, 20)
        newer = await shown_on_card(page.change(wish, kept, "visitor", "escnet", "A dark room"))
        drawn.set()
        return await first, newer

    late, newer = completed(visit())
    assert newer[-1] == "fear" and "awe" not in late
    assert kept.answers["escnet"].emotion == "fear" and kept.caption == "A dark room"


def test_a_picture_that_is_opened_late_is_not_asked_about_after_a_newer_question(
    service: Slow, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    page, wish = streaming_for(service, tmp_path)
    service.let_go["escnet"].set()
    kept, opened = Kept(), asyncio.Event()
    calls = iter([opened.wait, None])

    async def open_slowly(file: Any) -> Picture:
        if wait := next(calls):
            await wait()
        return PICTURE

    monkeypatch.setattr(service, "open", open_slowly)

    async def visit() -> tuple[list[dict], list[str]]:
        first = asyncio.create_task(every(page.answer(wish, kept, "visitor")))
        await asyncio.sleep(0.01)
        newer = await shown_on_card(page.change(wish, kept, "visitor", "escnet", "A dark room"))
        opened.set()
        return await first, newer

    late, newer = completed(visit())
    assert late == [{SUMMARY: gr.skip()}] and len(newer) > 1 and kept.answers["escnet"].emotion == "fear"


def test_a_question_that_is_taken_up_late_takes_no_newer_one_back(service: Slow, tmp_path: Path) -> None:
    """As when a browser tells of one picture twice, and the server is slow to go on with the first."""
    page, wish = streaming_for(service, tmp_path)
    kept = Kept()

    async def visit() -> tuple[list[dict], list[str]]:
        first = page.answer(wish, kept, "visitor")
        await anext(first)
        second = asyncio.create_task(shown_on_card(page.answer(wish, kept, "visitor")))
        await asyncio.sleep(0.2)
        late = asyncio.create_task(every(first))
        await asyncio.sleep(0.01)
        service.let_go["escnet"].set()
        return await late, await second

    late, shown = completed(visit())
    assert late == [{SUMMARY: gr.skip()}] and "iec-done" in shown[-1] and service.cancelled == []


def test_a_choice_that_was_made_before_the_picture_came_does_not_take_its_answer_away(
    service: Slow, tmp_path: Path
) -> None:
    page, wish = streaming_for(service, tmp_path)
    kept, without = Kept(), replace(wish, image=None)

    async def visit() -> tuple[list[dict], list[dict], list[str]]:
        first = await every(page.follow_choice(without, kept, "visitor"))
        answer = asyncio.create_task(shown_on_card(page.follow_picture(wish, kept, "visitor")))
        await asyncio.sleep(0.2)
        late = await every(page.follow_choice(without, kept, "visitor"))
        service.let_go["escnet"].set()
        return first, late, await answer

    first, late, shown = completed(visit())
    assert "iec-idle" in first[0][CARD] and late == [{SUMMARY: gr.skip()}] and "iec-done" in shown[-1]
    # Whoever takes the picture away, or has yet to write the labels, begins anew.
    for emptied in (without, replace(wish, emotion_model=OWN, labels=" ")):
        assert "iec-idle" in completed(every(page.follow_picture(emptied, kept, "visitor")))[0][CARD]
        assert not kept.latest and not kept.answers


def test_a_caption_is_kept_while_its_answer_is_on_the_way_and_forgotten_with_a_new_picture(
    service: Slow, tmp_path: Path
) -> None:
    page, wish = streaming_for(service, tmp_path)
    kept = Kept()

    async def visit() -> list[str]:
        change = asyncio.create_task(shown_on_card(page.change(wish, kept, "visitor", "escnet", "A dark room")))
        await asyncio.sleep(0.01)
        captions = [kept.caption]
        service.let_go["escnet"].set()
        await change
        await shown_on_card(page.change(wish, kept, "visitor", "escnet", "bad"))
        captions.append(kept.caption)
        await shown_on_card(page.change(wish, kept, "visitor", "escnet", "A dark room"))
        await shown_on_card(page.answer(wish, kept, "visitor"))
        return [*captions, kept.caption]

    assert completed(visit()) == ["A dark room", "", ""]


def test_a_question_that_is_quicker_than_the_choices_is_a_sentence(service: Slow) -> None:
    """Whoever presses the button right after choosing a method may still ask it about the emotions of another."""
    with pytest.raises(DataError, match="cannot be asked for these emotions; choose others"):
        questions(service, "escnet", "ekman7", "")


def test_own_words_are_compared_with_the_usual_words_asked_in_the_same_way(predictor) -> None:
    class Telling(type(predictor)):
        open_labels = True

        def source_for(self, emotion_model: EmotionModel) -> EmotionModel:
            return EMOTION_MODELS["ekman7"] if emotion_model.name == "ekman6" else emotion_model

    methods = page_methods({"ugrie": Telling()})
    assert methods["ugrie"].derived == {"ekman6"}
    assert methods["ugrie"].note("ekman6") == texts.DERIVED and not methods["ugrie"].note("ekman7")
    assert methods["ugrie"].note("ekman6", own_words=True) == methods["ugrie"].note("custom") == texts.NOT_TRAINED
    changed = questions(Slow(methods), "ugrie", "ekman6", "", "fear: dread")["ugrie"]
    usual = changed.before.emotion_model
    assert usual.phrases == EMOTION_MODELS["ekman6"].phrases and usual != EMOTION_MODELS["ekman6"]
    assert questions(Slow(methods), "ugrie", "ekman7", "", "fear: dread")["ugrie"].before.emotion_model == "ekman7"

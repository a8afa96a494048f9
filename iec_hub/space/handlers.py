"""Asking one method or several about a picture: what each is asked, and their answers as they come."""

import asyncio
from collections.abc import AsyncIterator, Mapping
from dataclasses import dataclass, replace
from typing import Any

from iec_hub.emotions import EmotionModel
from iec_hub.errors import DataError, IecHubError
from iec_hub.prediction import EmotionPrediction, Progress
from iec_hub.space import texts
from iec_hub.space.answering import OWN, read_caption, split_labels
from iec_hub.space.batching import log_failure
from iec_hub.space.choices import chosen_methods
from iec_hub.space.label_words import with_words
from iec_hub.space.service import Picture, Question, Service


@dataclass(frozen=True)
class Asked:
    """What a visitor asks of one method.

    Attributes:
        labels: what the answer will be about.
        own_words: whether the visitor changed the words for the emotions.
        before: the same without the visitor's caption and words; None where there are none.
    """

    question: Question
    labels: tuple[str, ...]
    own_words: bool = False
    before: Question | None = None


@dataclass(frozen=True)
class Answered:
    """A method's answer, with the one to :attr:`Asked.before` where that was asked."""

    prediction: EmotionPrediction
    before: EmotionPrediction | None = None


@dataclass(frozen=True)
class Failed:
    """One sentence in place of an answer."""

    sentence: str


def questions(
    service: Service, method: str, emotion_model: str, labels: Any, words: Any = "", caption: Any = ""
) -> dict[str, Asked]:
    """What each chosen method is asked; one that cannot be asked for these emotions is left out.

    Args:
        method: a name, or `ALL`.
        emotion_model: a name, or `OWN` for the labels in `labels`.
        words: the words for the emotions as a text; empty for the usual ones.
        caption: the visitor's, for the methods that read one; empty for their own.

    Raises:
        DataError: with one sentence for the visitor.
    """
    chosen, limits = chosen_methods(service.methods, method), service.limits
    caption = read_caption(caption, limits.caption)
    usual, model = _target(chosen, emotion_model, labels, limits.labels)
    named = with_words(model, words, limits.labels) if words else None
    asked = {}
    for each in chosen:
        if not (each.own_labels if emotion_model == OWN else emotion_model in each.models):
            continue
        own_words = named is not None and each.own_labels
        question = replace(usual, emotion_model=named, labels=()) if own_words else usual
        if caption and each.reads_captions:
            question = replace(question, caption=caption)
        before = None if question == usual else replace(usual, evidence=False)
        if own_words and emotion_model in each.derived:
            # Compared with the usual words as words, not with what was added up from answers for other emotions.
            before = replace(before, emotion_model=_as_words(model))
        asked[each.name] = Asked(question, model.labels, own_words, before)
    return asked


def _as_words(model: EmotionModel) -> EmotionModel:
    """The same emotions with the same words, as if a visitor had written them."""
    words = {emotion.label: emotion.words for emotion in model.emotions}
    return EmotionModel.from_labels(model.labels, model.name, model.title, words)


def _target(chosen: list[Any], emotion_model: str, labels: Any, most: int) -> tuple[Question, EmotionModel]:
    if emotion_model != OWN:
        # On a page, a question can be quicker than the new list of what the method just chosen can tell apart.
        models = [each.models[emotion_model] for each in chosen if emotion_model in each.models]
        if not models:
            raise DataError(texts.COMPARE_OTHER_EMOTIONS.format(method=texts.method_name(chosen[0].name)))
        return Question(emotion_model=emotion_model), models[0]
    labels = str(labels or "")
    if len(labels) > most:
        raise DataError(texts.LABELS_TOO_LONG.format(length=len(labels), most=most))
    model = EmotionModel.from_labels(split_labels(labels))
    return Question(labels=model.labels), model


class Asking:
    """Asks for the visitors of a page: who asks a method anew takes the former question back."""

    def __init__(self, service: Service):
        self._service = service
        self._tasks: dict[tuple[str, str], asyncio.Task[None]] = {}

    def stop(self, session: str) -> None:
        """Take back what a visitor has asked."""
        for name in self._service.methods:
            if task := self._tasks.get((session, name)):
                task.cancel()

    async def answers(
        self, session: str, picture: Picture, asked: Mapping[str, Asked]
    ) -> AsyncIterator[tuple[str, Progress | Answered | Failed]]:
        """Methods' names with what is known, as it becomes known; the last for each is an answer or a failure.

        A question that was taken back has neither.
        """
        news: asyncio.Queue[tuple[str, Progress | Answered | Failed | None]] = asyncio.Queue()
        tasks = []
        for name, each in asked.items():
            if former := self._tasks.get((session, name)):
                former.cancel()
            task = asyncio.create_task(self._ask(name, picture, each, news))
            # Whatever becomes of the task, the visitor is told, and nothing of it stays.
            task.add_done_callback(lambda done, name=name: self._ended(session, name, done, news))
            self._tasks[session, name] = task
            tasks.append(task)
        left = len(tasks)
        try:
            while left:
                name, what = await news.get()
                if what is not None:
                    yield name, what
                left -= not isinstance(what, Progress)
        finally:
            for task in tasks:
                task.cancel()

    def _ended(self, session: str, name: str, task: asyncio.Task[None], news: asyncio.Queue[Any]) -> None:
        if self._tasks.get((session, name)) is task:
            del self._tasks[session, name]
        if task.cancelled():
            news.put_nowait((name, None))

    async def _ask(self, name: str, picture: Picture, asked: Asked, news: asyncio.Queue[Any]) -> None:
        def report(progress: Progress) -> None:
            news.put_nowait((name, progress))

        try:
            answer = self._service.ask(name, picture, asked.question, report)
            if asked.before is None:
                prediction, before = await answer, None
            else:
                prediction, before = await asyncio.gather(answer, self._service.ask(name, picture, asked.before))
            news.put_nowait((name, Answered(prediction, before)))
        except IecHubError as error:
            news.put_nowait((name, Failed(str(error))))
        except Exception as error:
            log_failure(error)
            news.put_nowait((name, Failed(texts.UNEXPECTED_ERROR)))

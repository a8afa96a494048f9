"""What the buttons of the tab for one picture run: answers stream into the methods' cards as they come."""

import asyncio
from collections.abc import AsyncIterator, Mapping
from dataclasses import dataclass, field, replace
from html import escape
from pathlib import Path
from typing import Any

import gradio as gr

from iec_hub.emotions import EmotionModel
from iec_hub.errors import DataError, IecHubError
from iec_hub.prediction import EmotionPrediction, Progress
from iec_hub.space import texts
from iec_hub.space.agreement import agreement_html
from iec_hub.space.answering import OWN, read_caption, split_labels
from iec_hub.space.choices import chosen_methods
from iec_hub.space.escaping import safe_html
from iec_hub.space.handlers import Answered, Asked, Asking, Failed, questions
from iec_hub.space.label_words import words_text
from iec_hub.space.method_cards import CARD_SIDE, answer_card, failed_card, idle_card, unable_card, waiting_card
from iec_hub.space.rendering import PICTURE_SIDE, error_html
from iec_hub.space.service import Picture, Service
from iec_hub.space.uploads import uploaded_file

Updates = dict[Any, Any]
# What has this CSS class is on the page, but not in sight.
AWAY = "iec-away"


@dataclass(frozen=True)
class Wish:
    """What a visitor asks about, as the components send it, unchecked.

    Attributes:
        image: what the picture's component sends.
        method: a name, or `ALL`.
        emotion_model: a name, or `OWN` for the labels in `labels`.
        labels: the visitor's own, as a text.
        words: the words for the emotions as a text.
    """

    image: Any
    method: str
    emotion_model: str
    labels: str
    words: str


@dataclass
class Kept:
    """What is kept of a visitor's last question while the page is open, and of nothing uploaded.

    Attributes:
        answers: by method, without evidence and without text that stood in the picture.
        captions: by method, those that the visitor wrote.
        changed: the methods whose answer rests on the visitor's caption or words.
        asked: the number of the last question.
        latest: by method, the number of the question that its card is for: what comes late does not undo it.
    """

    answers: dict[str, EmotionPrediction] = field(default_factory=dict)
    captions: dict[str, str] = field(default_factory=dict)
    changed: set[str] = field(default_factory=set)
    asked: int = 0
    latest: dict[str, int] = field(default_factory=dict)

    @property
    def caption(self) -> str:
        """The caption that the visitor wrote for the picture; empty where there is none."""
        return next(filter(None, self.captions.values()), "")

    def begin(self, asked: Mapping[str, Asked]) -> int:
        """The number of a new question, which is what the cards of the methods it asks are for from now on."""
        self.asked += 1
        self.latest.update(dict.fromkeys(asked, self.asked))
        self.captions.update({name: each.question.caption for name, each in asked.items()})
        return self.asked

    def still_asked(self, number: int) -> bool:
        """Whether no newer question has taken the place of this one on every card."""
        return number == self.asked or number in self.latest.values()

    def still_for(self, number: int, asked: Mapping[str, Asked]) -> dict[str, Asked]:
        """What of a question no newer one has taken the place of."""
        return {name: each for name, each in asked.items() if self.latest.get(name) == number}

    def forget(self) -> None:
        """Forget all that was asked and answered, as the picture or what is asked about it is another."""
        self.answers.clear()
        self.captions.clear()
        self.changed.clear()
        self.latest.clear()


@dataclass(frozen=True)
class Card:
    """The components of one method's card; `caption` and its buttons are None where it reads no captions."""

    column: gr.Column
    html: gr.HTML
    editor: gr.Column | None = None
    caption: gr.Textbox | None = None
    predict: gr.Button | None = None
    reset: gr.Button | None = None


def shown(kind: str, here: bool = True) -> Any:
    """The update that shows a column with this CSS class, or takes it out of sight.

    Not by `visible`: gradio then takes the column off the page, makes it anew when it is to be seen again, and forgets
    to where two updates come at once.
    """
    return gr.update(elem_classes=[kind] if here else [kind, AWAY])


def summary_html(title: str, more: str = "", css_class: str = "") -> str:
    """One sentence above the cards, and what else is to be said."""
    more = f"<p>{escape(more)}</p>" if more else ""
    return (
        f'<div class="iec-summary {css_class}"><div class="iec-agree">'
        f'<h2 class="iec-agreement" role="status">{safe_html(title)}</h2>{more}</div></div>'
    )


def start_html() -> str:
    """What stands above the cards before there is a picture."""
    return summary_html(texts.START_TITLE, texts.START)


class Streaming:
    """Answers for the visitors of a page, as updates of its components.

    Args:
        uploads: the folder in which gradio keeps what was uploaded.
    """

    def __init__(self, service: Service, summary: gr.HTML, cards: Mapping[str, Card], uploads: str):
        self.service, self.summary, self.cards, self.uploads = service, summary, cards, uploads
        self._asking = Asking(service)

    @property
    def outputs(self) -> list[Any]:
        """Every component that an answer may change."""
        parts = [self.summary]
        for card in self.cards.values():
            parts += [part for part in (card.column, card.html, card.editor, card.caption) if part is not None]
        return parts

    def start(self, method: str, kept: Kept, session: str) -> Updates:
        """The cards as they are before there is a picture."""
        self._asking.stop(session)
        kept.forget()
        return {self.summary: start_html(), **self._idle(method)}

    async def follow_picture(self, wish: Wish, kept: Kept, session: str, caption: str = "") -> AsyncIterator[Updates]:
        """As :meth:`answer`, where there is something to ask; else the cards as they are before a question."""
        # Nothing to ask about yet; or own labels are still to be written.
        if not wish.image or (wish.emotion_model == OWN and not wish.labels.strip()):
            yield self.start(wish.method, kept, session)
            return
        async for updates in self.answer(wish, kept, session, caption):
            yield updates

    async def follow_choice(self, wish: Wish, kept: Kept, session: str) -> AsyncIterator[Updates]:
        """Ask anew about the picture that is there, in another way."""
        # It came while the choice settled, and has been asked about since.
        if not wish.image and kept.latest:
            yield {self.summary: gr.skip()}
            return
        # Whoever looks at the same picture in another way has not taken back what they wrote about it.
        async for updates in self.follow_picture(wish, kept, session, kept.caption):
            yield updates

    async def answer(self, wish: Wish, kept: Kept, session: str, caption: str = "") -> AsyncIterator[Updates]:
        """Ask every chosen method, and show each answer as soon as it is there.

        Args:
            kept: what further answers about the same picture are compared with; changed here.
            caption: the visitor's, for the methods that read one; empty for their own.
        """
        self._asking.stop(session)
        kept.forget()
        try:
            asked = self._questions(wish, caption)
            file = uploaded_file(wish.image, self.uploads)
        except IecHubError as error:
            yield {self.summary: error_html(str(error)), **self._idle(wish.method)}
            return
        number = kept.begin(asked)
        picture, failure = await self._opened(file)
        if not kept.still_asked(number):
            yield {self.summary: gr.skip()}
            return
        if picture is None:
            yield {self.summary: error_html(failure), **self._idle(wish.method)}
            return
        # What was asked anew while the picture was opened, such as about another caption, stays as it is.
        newer = {self.cards[name].html: gr.skip() for name in asked.keys() - kept.still_for(number, asked).keys()}
        yield {self.summary: self._at_work(wish.method), **self._waiting(wish.method, asked, picture), **newer}
        async for updates in self._stream(picture, wish.method, asked, kept, number, session):
            yield updates
        yield {self.summary: self._summary(wish.method, kept) if kept.still_asked(number) else gr.skip()}

    async def change(
        self, wish: Wish, kept: Kept, session: str, name: str = "", caption: str | None = None
    ) -> AsyncIterator[Updates]:
        """Ask anew after a visitor changed a caption, or the words for the emotions; the other cards stay.

        Args:
            name: the method whose caption was changed; empty for the words.
            caption: None for the method's own.
        """
        changed = {name} if name else {each.name for each in self.service.methods.values() if each.own_labels}
        try:
            if caption is not None and not read_caption(caption, self.service.limits.caption):
                raise DataError(texts.CAPTION_EMPTY)
            every = self._questions(wish, caption or "")
            file = uploaded_file(wish.image, self.uploads)
        except IecHubError as error:
            if name:
                yield {self.cards[name].html: failed_card(self.service.methods[name], str(error))}
            else:
                yield {self.summary: error_html(str(error))}
            return
        asked = {each: question for each, question in every.items() if each in changed}
        if not asked:
            yield {self.summary: gr.skip()}
            return
        number = kept.begin(asked)
        picture, failure = await self._opened(file)
        asked = kept.still_for(number, asked)
        if picture is None or not asked:
            failed = {self.cards[each].html: failed_card(self.service.methods[each], failure) for each in asked}
            yield failed or {self.summary: gr.skip()}
            return
        yield {self.cards[each].html: self._card_at_work(each, asked[each], picture, wish.method) for each in asked}
        async for updates in self._stream(picture, wish.method, asked, kept, number, session, caption is not None):
            yield updates
        yield {self.summary: self._summary(wish.method, kept) if kept.still_asked(number) else gr.skip()}

    async def _opened(self, file: Path) -> tuple[Picture | None, str]:
        """The picture, or None and a sentence that says why there is none."""
        try:
            return await self.service.open(file), ""
        except IecHubError as error:
            return None, str(error)

    def _questions(self, wish: Wish, caption: str) -> dict[str, Asked]:
        return questions(self.service, wish.method, wish.emotion_model, wish.labels, wish.words, caption)

    async def _stream(
        self,
        picture: Picture,
        method: str,
        asked: Mapping[str, Asked],
        kept: Kept,
        number: int,
        session: str,
        keep_editor: bool = False,
    ) -> AsyncIterator[Updates]:
        # Once more, as gradio may have been slow to go on: asking takes former questions back, and would newer ones.
        async for name, news in self._asking.answers(session, picture, kept.still_for(number, asked)):
            # Encoding pictures takes a while, and the event loop serves every visitor.
            html = await asyncio.to_thread(self._drawn, name, news, asked[name], picture, method)
            if kept.latest.get(name) != number:
                continue
            updates: Updates = {self.cards[name].html: html}
            if isinstance(news, Answered):
                kept.answers[name] = replace(news.prediction, evidence=None, embedded_text=None)
                kept.changed.discard(name)
                kept.changed |= set() if asked[name].before is None else {name}
                updates |= {} if keep_editor else self._editor(name, news.prediction)
            elif isinstance(news, Failed):
                kept.answers.pop(name, None)
                kept.captions.pop(name, None)
            yield updates

    def _drawn(
        self, name: str, news: Progress | Answered | Failed, asked: Asked, picture: Picture, method: str
    ) -> str:
        each, several = self.service.methods[name], self._several(method)
        size = picture.image.size
        side = CARD_SIDE if several else PICTURE_SIDE
        if isinstance(news, Failed):
            return failed_card(each, news.sentence)
        if isinstance(news, Progress) and news.prediction is None:
            return waiting_card(each, asked.labels, picture.shown, size, news, several)
        prediction = news.prediction
        stage = news.stage if isinstance(news, Progress) else ""
        return answer_card(
            each,
            prediction,
            picture.shown,
            size=size,
            before=news.before if isinstance(news, Answered) else None,
            own_words=asked.own_words,
            stage=texts.STAGES.get(stage, texts.THINKING) if stage else "",
            folded=several,
            side=side,
        )

    def _idle(self, method: str) -> Updates:
        updates: Updates = {}
        chosen = {each.name for each in chosen_methods(self.service.methods, method)}
        for name, card in self.cards.items():
            updates[card.column] = shown("iec-card", name in chosen)
            updates[card.html] = idle_card(self.service.methods[name])
            if card.editor is not None:
                updates[card.editor] = shown("iec-editor", False)
        return updates

    def _waiting(self, method: str, asked: Mapping[str, Asked], picture: Picture) -> Updates:
        updates = self._idle(method)
        for each in chosen_methods(self.service.methods, method):
            card = self.cards[each.name]
            if each.name not in asked:
                updates[card.html] = unable_card(each)
                continue
            updates[card.html] = self._card_at_work(each.name, asked[each.name], picture, method)
            # The box to change the caption stays where it is, as it is needed again in a moment.
            if card.editor is not None:
                del updates[card.editor]
        return updates

    def _card_at_work(self, name: str, asked: Asked, picture: Picture, method: str) -> str:
        several = self._several(method)
        return waiting_card(self.service.methods[name], asked.labels, size=picture.image.size, folded=several)

    def _editor(self, name: str, prediction: EmotionPrediction) -> Updates:
        card = self.cards[name]
        if card.editor is None or card.caption is None or not prediction.captions:
            return {}
        return {card.editor: shown("iec-editor"), card.caption: prediction.captions[0]}

    def _several(self, method: str) -> bool:
        return len(chosen_methods(self.service.methods, method)) > 1

    def _at_work(self, method: str) -> str:
        return summary_html(texts.ANSWERING, texts.ANSWERING_SEVERAL, "iec-working") if self._several(method) else ""

    def _summary(self, method: str, kept: Kept) -> str:
        """Nothing for one method: its card says it all."""
        if not self._several(method) or not kept.answers:
            return ""
        order = [name for name in self.service.methods if name in kept.answers]
        answers = {texts.method_name(name): kept.answers[name] for name in order}
        if len(answers) == 1:
            return summary_html(texts.ONLY_ONE.format(method=next(iter(answers))))
        changed = [texts.method_name(name) for name in order if name in kept.changed]
        return agreement_html(answers, texts.changed_answers(changed) if changed else "")


def usual_words(service: Service, method: str, emotion_model: str, labels: str) -> str:
    """The words for the chosen emotions as a text; empty where no chosen method reads them, or there are no labels."""
    chosen = [each for each in chosen_methods(service.methods, method) if each.own_labels]
    if not chosen:
        return ""
    if emotion_model != OWN:
        model = chosen[0].models.get(emotion_model)
        return "" if model is None else words_text(model)
    try:
        return words_text(EmotionModel.from_labels(split_labels(labels[: service.limits.labels])))
    except IecHubError:
        return ""

"""The tab for one picture: choosing it, the methods and the emotions, and a card with the answer of each method."""

import json
from collections.abc import AsyncIterator, Mapping
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import gradio as gr

from iec_hub.errors import DataError, IecHubError
from iec_hub.space import texts
from iec_hub.space.answering import ALL, OWN
from iec_hub.space.archives import megabytes
from iec_hub.space.choices import (
    QUICK,
    Choices,
    connect_choices,
    lay_out_choices,
    offered_choices,
    revealed,
    still_offered,
)
from iec_hub.space.example_pictures import example_pictures, lay_out_examples
from iec_hub.space.label_words import same_labels
from iec_hub.space.method_cards import idle_card
from iec_hub.space.methods import Method
from iec_hub.space.rendering import error_html
from iec_hub.space.scrolling import into_sight
from iec_hub.space.service import Service
from iec_hub.space.sharing import TABS, Settings, example_of, link_query, read_link
from iec_hub.space.streaming import AWAY, Card, Kept, Streaming, Wish, start_html, usual_words
from iec_hub.space.uploads import uploaded_file

_FOLDS = Path(__file__).with_name("folds.js")
# The address follows the tab, so that it can be passed on; one that names a tab opens with it.
_FOLLOW_TABS = """() => { const names = %s;
    const tabs = () => [...document.querySelectorAll('#iec-tabs > .tab-wrapper button[role="tab"]')];
    const asked = new URLSearchParams(window.location.search).get("tab");
    tabs()[names.indexOf(asked, 1)]?.click();
    // Not on the tabs, which gradio draws anew when it has measured them.
    document.addEventListener("click", (event) => {
        const index = tabs().indexOf(event.target.closest('button[role="tab"]'));
        if (index < 0 || !names[index]) return;
        const address = new URL(window.location.href);
        address.searchParams.set("tab", names[index]);
        window.history.replaceState(window.history.state, "", address); }, true); }"""

# Only the browser knows under which address the page was opened.
_WHOLE_LINK = "(query) => window.location.origin + window.location.pathname + query"

# Hidden from clients: these only serve the page.
_PRIVATE: dict[str, Any] = {"api_visibility": "private"}
# `preprocess=False`: gradio opens nothing, which is left to the service with its limits and clear errors. Whoever asks
# anew is answered at once, and the former question is taken back; the service bounds how many are at work.
_ASK: dict[str, Any] = {
    **_PRIVATE,
    "preprocess": False,
    "show_progress": "hidden",
    "trigger_mode": "multiple",
    "concurrency_limit": None,
    "concurrency_id": "answers",
}

Streamed = AsyncIterator[dict[Any, Any]]


@dataclass(frozen=True)
class _Inputs:
    picture: gr.Image
    examples: Any
    choices: Choices
    words_editor: gr.Accordion
    words: gr.Textbox
    words_button: gr.Button
    words_reset: gr.Button
    button: gr.Button

    @property
    def asked(self) -> list[Any]:
        """What a question consists of."""
        choices = self.choices
        return [self.picture, choices.method, choices.emotion_model, choices.labels, self.words]

    @property
    def chosen(self) -> list[Any]:
        """What the usual words follow from."""
        return [self.choices.method, self.choices.emotion_model, self.choices.labels]


@dataclass(frozen=True)
class _Sharing:
    button: gr.Button
    link: gr.Textbox


def build_single_picture(page: gr.Blocks, service: Service) -> None:
    """Lay out the tab inside the open `page` and connect its events; the page begins with all methods."""
    methods = service.methods
    with gr.Row(elem_id="iec-single"):
        with gr.Column(min_width=280, elem_id="iec-inputs"):
            given = _lay_out_inputs(service)
            sharing = _lay_out_sharing()
        with gr.Column(min_width=280, elem_id="iec-result"):
            summary = gr.HTML(start_html(), elem_id="iec-summary")
            with gr.Row(elem_id="iec-cards"):
                cards = {
                    name: _lay_out_card(service, method, index) for index, (name, method) in enumerate(methods.items())
                }
    kept = gr.State(Kept())
    streaming = Streaming(service, summary, cards, given.picture.GRADIO_CACHE)
    _connect_questions(given, streaming, kept)
    _connect_changes(given, streaming, kept)
    _connect_sharing(page, given, sharing, streaming, kept)
    page.load(None, js=_FOLLOW_TABS % json.dumps(TABS), **_PRIVATE)


def _lay_out_inputs(service: Service) -> _Inputs:
    picture = gr.Image(
        label=texts.PICTURE,
        sources=["upload", "clipboard", "webcam"],
        type="filepath",
        image_mode=None,
        height=220,
        buttons=[],
        placeholder=texts.PICTURE_PLACEHOLDER.format(size=megabytes(service.limits.file_bytes)),
        elem_id="iec-picture",
    )
    examples = lay_out_examples(picture, "iec-examples")
    button = gr.Button(texts.BUTTON, variant="primary", size="lg", elem_id="iec-button")
    choices = lay_out_choices(service.methods, together=True)
    readers = [texts.method_name(name) for name, method in service.methods.items() if method.own_labels]
    begun = usual_words(service, choices.method.value, choices.emotion_model.value, "")
    with gr.Accordion(texts.WORDS, open=False, visible=bool(begun), elem_id="iec-words") as words_editor:
        words = gr.Textbox(
            value=begun,
            label=texts.WORDS_EDITOR,
            info=texts.WORDS_HINT.format(methods=texts.listed(readers or [""])),
            lines=4,
            max_lines=12,
        )
        with gr.Row():
            words_button = gr.Button(texts.WORDS_BUTTON, variant="primary", size="md", min_width=120)
            words_reset = gr.Button(texts.WORDS_RESET, size="md", min_width=120)
    return _Inputs(picture, examples, choices, words_editor, words, words_button, words_reset, button)


def _lay_out_sharing() -> _Sharing:
    with gr.Accordion(texts.SHARE, open=False, elem_id="iec-share"):
        button = gr.Button(texts.SHARE_BUTTON, size="md")
        link = gr.Textbox(
            label=texts.SHARE_LINK, visible=False, interactive=False, buttons=["copy"], elem_id="iec-link"
        )
    return _Sharing(button, link)


def _lay_out_card(service: Service, method: Method, index: int) -> Card:
    with gr.Column(min_width=240, elem_classes="iec-card", elem_id=f"iec-card-{index}") as column:
        html = gr.HTML(idle_card(method), js_on_load=_FOLDS.read_text("utf-8"))
        if not method.reads_captions:
            return Card(column, html)
        # One line to begin with, so that Enter asks; it grows with the text.
        with gr.Column(elem_classes=["iec-editor", AWAY]) as editor:
            caption = gr.Textbox(
                value="",
                label=texts.CAPTION_EDITOR,
                info=texts.CAPTION_EDITOR_HINT.format(most=service.limits.caption),
                lines=1,
                max_lines=6,
            )
            with gr.Row():
                predict = gr.Button(texts.CAPTION_BUTTON, variant="primary", size="md", min_width=100)
                reset = gr.Button(texts.CAPTION_RESET, size="md", min_width=100)
    return Card(column, html, editor, caption, predict, reset)


def _connect_questions(given: _Inputs, streaming: Streaming, kept: gr.State) -> None:
    """A new picture is asked about at once, and so is one that is there when a choice changes."""
    service, choices = streaming.service, given.choices

    async def answer(request: gr.Request, *asked: Any) -> Streamed:
        *wish, kept = asked
        async for updates in streaming.answer(Wish(*wish), kept, _session(request)):
            yield updates

    async def follow(request: gr.Request, *asked: Any) -> Streamed:
        *wish, kept = asked
        async for updates in streaming.follow_picture(Wish(*wish), kept, _session(request)):
            yield updates

    async def follow_choice(request: gr.Request, *asked: Any) -> Streamed:
        *wish, kept = asked
        async for updates in streaming.follow_choice(Wish(*wish), kept, _session(request)):
            yield updates

    def refill(method: str, emotions: str, labels: str, words: str) -> tuple[Any, Any]:
        usual = usual_words(service, method, emotions, labels)
        # What stays is not sent back: the visitor may be writing.
        return gr.update(visible=bool(usual)), gr.skip() if same_labels(words, usual) else usual

    options: dict[str, Any] = {"inputs": [*given.asked, kept], "outputs": streaming.outputs, **_ASK}
    refilling: dict[str, Any] = {
        "inputs": [*given.chosen, given.words], "outputs": [given.words_editor, given.words], **QUICK,
    }  # fmt: skip
    for settled in connect_choices(choices, service.methods):
        settled.then(refill, **refilling).then(follow_choice, **options)
    choices.labels.change(refill, **refilling)
    picture = given.picture.input(follow, **options)
    asked = given.button.click(answer, **options)
    submitted = choices.labels.submit(refill, **refilling).then(answer, **options)
    tried = given.examples.load_input_event.then(follow, **options)
    for event in (picture, asked, submitted, tried):
        event.then(None, js=into_sight("iec-result"), **_PRIVATE)


def _connect_changes(given: _Inputs, streaming: Streaming, kept: gr.State) -> None:
    """What a visitor changes about a caption or the words is answered in the cards that go by them."""
    options: dict[str, Any] = {"outputs": streaming.outputs, **_ASK}

    async def change_words(request: gr.Request, *asked: Any) -> Streamed:
        *wish, kept = asked
        async for updates in streaming.change(Wish(*wish), kept, _session(request)):
            yield updates

    def usual(method: str, emotions: str, labels: str) -> str:
        return usual_words(streaming.service, method, emotions, labels)

    asked = [*given.asked, kept]
    given.words_button.click(change_words, asked, **options)
    given.words_reset.click(usual, given.chosen, [given.words], **QUICK).then(change_words, asked, **options)
    for name, card in streaming.cards.items():
        if card.caption is not None:
            _connect_caption(name, card, asked, streaming, options)


def _connect_caption(
    name: str, card: Card, asked: list[Any], streaming: Streaming, options: Mapping[str, Any]
) -> None:
    async def change(request: gr.Request, *asked: Any) -> Streamed:
        *wish, kept, written = asked
        async for updates in streaming.change(Wish(*wish), kept, _session(request), name, written):
            yield updates

    async def go_back(request: gr.Request, *asked: Any) -> Streamed:
        *wish, kept = asked
        async for updates in streaming.change(Wish(*wish), kept, _session(request), name):
            yield updates

    for ask in (card.predict.click, card.caption.submit):
        ask(change, [*asked, card.caption], **options)
    card.reset.click(go_back, asked, **options)


def _connect_sharing(page: gr.Blocks, given: _Inputs, sharing: _Sharing, streaming: Streaming, kept: gr.State) -> None:
    """A link is made of the settings, and the settings of a link that somebody opens."""
    service, choices, examples, caption = streaming.service, given.choices, example_pictures(), gr.State("")

    def make(image: Any, method: str, emotions: str, labels: str, words: str, kept: Kept) -> Any:
        example, note = "", texts.SHARE_SETTINGS
        if image:
            with suppress(IecHubError, OSError):
                example = example_of(uploaded_file(image, streaming.uploads), examples)
            note = texts.SHARE_EXAMPLE if example else texts.SHARE_OWN
        words = "" if words == usual_words(service, method, emotions, labels) else words
        settings = Settings(method, emotions, labels if emotions == OWN else "", words, kept.caption, example)
        return gr.update(value=link_query(settings), info=note, visible=True)

    def apply(request: gr.Request) -> tuple[Any, ...]:
        return link_updates(service, str(request.query_params or ""), examples)

    async def answer(request: gr.Request, *asked: Any) -> Streamed:
        *parts, kept, written = asked
        wish = Wish(*parts)
        if not wish.image:
            yield {streaming.summary: gr.skip()}
            return
        async for updates in streaming.answer(wish, kept, _session(request), written):
            yield updates

    asked = [*given.asked, kept]
    made = sharing.button.click(make, asked, [sharing.link], **QUICK)
    made.then(None, [sharing.link], [sharing.link], js=_WHOLE_LINK, **_PRIVATE)
    chosen = [choices.method, choices.emotion_model, choices.labels, choices.hint]
    set_by_link = [streaming.summary, *chosen, given.words_editor, given.words, given.picture, caption]
    applied = page.load(apply, None, set_by_link, **QUICK)
    applied.then(answer, [*asked, caption], streaming.outputs, **_ASK)


def _session(request: gr.Request) -> str:
    return request.session_hash or ""


def link_updates(service: Service, query: str, examples: list[Path]) -> tuple[Any, ...]:
    """Updates of the summary, the choices, the words, the picture and the caption, after a link was opened."""
    methods = service.methods
    try:
        settings = read_link(query, methods, examples, service.limits)
    except DataError as error:
        return error_html(str(error)), *[gr.skip()] * 8
    if settings is None:
        return (*[gr.skip()] * 9,)
    method = settings.method or (ALL if len(methods) > 1 else next(iter(methods)))
    emotions = still_offered(methods, method, settings.emotions)
    labels, hint = revealed(methods, method, emotions)
    words = settings.words or usual_words(service, method, emotions, settings.labels)
    picture = next((str(path) for path in examples if path.stem == settings.example), None)
    return (
        gr.skip(),
        method,
        gr.update(choices=offered_choices(methods, method), value=emotions),
        {**labels, "value": settings.labels},
        hint,
        gr.update(visible=bool(words), open=bool(settings.words)),
        words,
        picture if picture else gr.skip(),
        settings.caption,
    )

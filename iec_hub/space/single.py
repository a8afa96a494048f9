"""The tab for one picture: choosing it, the method and the emotions, the result, and its caption to change."""

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import gradio as gr

from iec_hub.space import texts
from iec_hub.space.answering import LONGEST_CAPTION, OWN
from iec_hub.space.handlers import Handlers
from iec_hub.space.methods import Method
from iec_hub.space.rendering import empty_html

EXAMPLES = Path(__file__).parent / "examples"
# Narrow screens show the result far from the buttons, and any may be scrolled beyond what is new in it: go there.
_SHOW_RESULT = """() => { const result = document.getElementById("iec-result");
    const news = result.querySelector(".iec-bars") || result;
    if (window.matchMedia("(max-width: 800px)").matches || news.getBoundingClientRect().top < 0)
        result.scrollIntoView({behavior: "smooth"}); }"""

# Gradio gives the thumbnails no names, so a screen reader would say "button" eight times.
_NAME_EXAMPLES = """() => { const names = %s;
    document.querySelectorAll("#iec-examples .gallery-item").forEach(
        (button, index) => button.setAttribute("aria-label", names[index])); }"""

# Hidden from clients: these only serve the page.
_PRIVATE: dict[str, Any] = {"api_visibility": "private"}
_QUICK: dict[str, Any] = {**_PRIVATE, "queue": False, "show_progress": "hidden", "preprocess": False}
# `preprocess=False`: gradio opens nothing, which is left to `open_image` with its limits and clear errors.
_MODEL: dict[str, Any] = {"preprocess": False, "concurrency_id": "model"}


@dataclass(frozen=True)
class _Inputs:
    picture: gr.Image
    examples: Any
    method: gr.Radio
    emotion_model: gr.Radio
    labels: gr.Textbox
    button: gr.Button
    hint: gr.Markdown


@dataclass(frozen=True)
class _Output:
    result: gr.HTML
    editor: gr.Column
    caption: gr.Textbox
    predict: gr.Button
    reset: gr.Button


def example_pictures() -> list[Path]:
    """The pictures to try, in a fixed order."""
    return sorted(EXAMPLES.glob("*.jpg"))


def build_single_picture(page: gr.Blocks, methods: Mapping[str, Method]) -> None:
    """Lay out the tab inside the open `page` and connect its events; the first method is the chosen one."""
    with gr.Row(elem_id="iec-single"):
        with gr.Column(min_width=320):
            given = _lay_out_inputs(methods)
        with gr.Column(min_width=320):
            result = gr.HTML(empty_html(), elem_id="iec-result")
        # Wide screens show it beneath the choices, next to the result; narrow ones beneath the result.
        with gr.Column(min_width=320, visible=False, elem_id="iec-editor") as editor:
            shown = _lay_out_editor(result, editor)
    handlers = Handlers(methods, given.picture.GRADIO_CACHE)
    _connect_choices(given, shown, methods)
    _connect_predictions(given, shown, handlers)
    names = [texts.example_name(path.stem) for path in example_pictures()]
    page.load(None, js=_NAME_EXAMPLES % json.dumps(names), **_PRIVATE)
    # The public endpoint has a button of its own, as it answers with JSON and not with HTML.
    gr.Button(visible=False).click(
        handlers.predict,
        [given.picture, given.emotion_model, given.labels, given.method, shown.caption],
        gr.JSON(visible=False, label="prediction"),
        api_name="predict",
        api_description=texts.API_PREDICT,
        **_MODEL,
    )


def _lay_out_inputs(methods: Mapping[str, Method]) -> _Inputs:
    first = next(iter(methods.values()))
    picture = gr.Image(
        label=texts.PICTURE,
        sources=["upload", "clipboard", "webcam"],
        type="filepath",
        image_mode=None,
        height=260,
        buttons=[],
        placeholder=texts.PICTURE_PLACEHOLDER,
        elem_id="iec-picture",
    )
    examples = gr.Examples(
        [[str(path)] for path in example_pictures()],
        inputs=[picture],
        label=texts.EXAMPLES,
        elem_id="iec-examples",
        cache_examples=False,
        api_visibility="private",
    )
    method = gr.Radio(
        [(texts.method_choice(name, each.predictor.name), name) for name, each in methods.items()],
        value=first.name,
        label=texts.METHOD,
        visible=len(methods) > 1,
        elem_id="iec-method",
    )
    emotion_model = gr.Radio(
        _choices(first), value=first.default.name, label=texts.EMOTION_MODEL, elem_id="iec-emotion-model"
    )
    labels = gr.Textbox(
        value="",
        label=texts.OWN_LABELS,
        placeholder=texts.OWN_LABELS_PLACEHOLDER,
        visible=False,
        elem_id="iec-labels",
    )
    button = gr.Button(texts.BUTTON, variant="primary", size="lg", elem_id="iec-button")
    hint = gr.Markdown(texts.labels_hint(first.default.labels), elem_id="iec-hint")
    return _Inputs(picture, examples, method, emotion_model, labels, button, hint)


def _lay_out_editor(result: gr.HTML, editor: gr.Column) -> _Output:
    # One line to begin with, so that Enter asks; it grows with the text.
    caption = gr.Textbox(
        value="",
        label=texts.CAPTION_EDITOR,
        info=texts.CAPTION_EDITOR_HINT.format(most=LONGEST_CAPTION),
        lines=1,
        max_lines=6,
        elem_id="iec-caption",
    )
    with gr.Row():
        predict = gr.Button(texts.CAPTION_BUTTON, variant="primary", size="md", min_width=120)
        reset = gr.Button(texts.CAPTION_RESET, size="md", min_width=120)
    return _Output(result, editor, caption, predict, reset)


def _choices(method: Method) -> list[tuple[str, str]]:
    choices = [(texts.choice(model), name) for name, model in method.models.items()]
    return [*choices, (texts.OWN_LABELS_CHOICE, OWN)] if method.own_labels else choices


def _connect_choices(given: _Inputs, shown: _Output, methods: Mapping[str, Method]) -> None:
    """What is offered follows what is chosen, and a result goes when it is no longer that of the choice."""

    def reveal(method: str, emotion_model: str) -> tuple[Any, str]:
        if emotion_model == OWN:
            return gr.update(visible=True), texts.OWN_LABELS_HINT
        return gr.update(visible=False), texts.labels_hint(methods[method].models[emotion_model].labels)

    def switch(name: str, emotion_model: str) -> tuple[Any, ...]:
        method = methods[name]
        choices = _choices(method)
        if emotion_model not in dict(map(reversed, choices)):
            emotion_model = method.default.name
        return gr.update(choices=choices, value=emotion_model), *reveal(name, emotion_model), *clear()

    def clear() -> tuple[str, Any]:
        return empty_html(), gr.update(visible=False)

    offered, answer = [given.emotion_model, given.labels, given.hint], [shown.result, shown.editor]
    given.method.input(switch, [given.method, given.emotion_model], offered + answer, **_QUICK)
    given.emotion_model.change(reveal, [given.method, given.emotion_model], [given.labels, given.hint], **_QUICK)
    given.picture.input(clear, None, answer, **_QUICK)


def _connect_predictions(given: _Inputs, shown: _Output, handlers: Handlers) -> None:
    chosen = [given.picture, given.emotion_model, given.labels, given.method]
    options = {**_MODEL, **_PRIVATE, "show_progress_on": shown.result}
    run: dict[str, Any] = {"inputs": chosen, "outputs": [shown.result, shown.editor, shown.caption], **options}
    rerun: dict[str, Any] = {"inputs": [*chosen, shown.caption], "outputs": [shown.result], **options}
    for asked in (
        given.button.click(handlers.show, **run),
        given.labels.submit(handlers.show, **run),
        given.examples.load_input_event.then(handlers.show, **run),
        shown.reset.click(handlers.show, **run),
        shown.predict.click(handlers.show_caption, **rerun),
        shown.caption.submit(handlers.show_caption, **rerun),
    ):
        asked.then(None, js=_SHOW_RESULT, **_PRIVATE)

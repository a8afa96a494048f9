"""The tab that compares two pictures, or two models on one picture."""

import asyncio
import json
from collections.abc import AsyncIterator, Mapping
from dataclasses import dataclass, replace
from typing import Any

import gradio as gr
from PIL import Image

from iec_hub.errors import DataError, IecHubError
from iec_hub.prediction import EmotionPrediction
from iec_hub.space import texts
from iec_hub.space.answering import OWN, split_labels
from iec_hub.space.batching import log_failure
from iec_hub.space.choices import CALM, QUICK, emotion_model_choices, lay_out_emotions, lay_out_methods, method_choices
from iec_hub.space.differences import Side, comparison_html, empty_comparison_html
from iec_hub.space.example_pictures import example_pictures, lay_out_examples
from iec_hub.space.methods import Method, chosen_method
from iec_hub.space.rendering import error_html
from iec_hub.space.scrolling import into_sight
from iec_hub.space.service import Question, Service
from iec_hub.space.uploads import uploaded_file

# Visitors who are answered at once; each waits in the models' own lines.
_AT_ONCE = 16
PICTURES, METHODS = "pictures", "methods"
# Two examples that most viewers feel differently about.
_CONTRAST = ("gull-over-the-sea", "street-signs-at-dusk")

_CHOOSE_EXAMPLES = """() => %s.forEach((place, side) =>
    document.querySelectorAll("[id^=iec-pair-examples]")[side].querySelectorAll(".gallery-item")[place].click())"""
_SWAP = "(what, a, b, first, second) => what === 'methods' ? [a, b, second, first] : [b, a, first, second]"
_PRIVATE: dict[str, Any] = {"api_visibility": "private"}


@dataclass(frozen=True)
class _Inputs:
    what: gr.Radio
    pictures: tuple[gr.Image, gr.Image]
    examples: tuple[Any, Any]
    second_column: gr.Column
    methods: tuple[gr.Radio, gr.Radio]
    emotion_model: gr.Radio
    labels: gr.Textbox
    hint: gr.Markdown
    compare: gr.Button
    swap: gr.Button
    example: gr.Button

    @property
    def asked(self) -> list[Any]:
        return [self.what, *self.pictures, *self.methods, self.emotion_model, self.labels]


def build_comparison(service: Service) -> None:
    """Lay out the tab inside the open page and connect its events."""
    with gr.Row(elem_id="iec-compare"):
        with gr.Column(min_width=320, scale=2):
            given = _lay_out_inputs(service.methods)
        with gr.Column(min_width=320, scale=3):
            result = gr.HTML(empty_comparison_html(), elem_id="iec-compare-result")
    settled = _connect_choices(given, service.methods)
    _connect_comparisons(given, settled, result, Comparison(service, given.pictures[0].GRADIO_CACHE))


class Comparison:
    """What the tab's buttons run; their inputs are what components send, unchecked.

    Args:
        uploads: the folder in which gradio keeps what was uploaded.
    """

    def __init__(self, service: Service, uploads: str):
        self.service, self.uploads = service, uploads

    async def show(self, *asked: Any) -> AsyncIterator[str]:
        """The comparison as HTML, first with the answer that is ready first."""
        try:
            async for left, right in self._answers(*asked):
                yield await asyncio.to_thread(comparison_html, left, right)
        except IecHubError as error:
            yield error_html(str(error))
        except Exception as error:
            log_failure(error)
            yield error_html(texts.UNEXPECTED_ERROR)

    async def show_if_ready(self, *asked: Any) -> AsyncIterator[Any]:
        """As :meth:`show`, once everything that is needed was chosen; what was compared before would not fit then."""
        what, first, second, *_, emotion_model, labels = asked
        unwritten = emotion_model == OWN and not split_labels(labels)
        if first and (second or what == METHODS) and not unwritten:
            async for shown in self.show(*asked):
                yield shown
        else:
            yield empty_comparison_html()

    async def _answers(
        self, what: Any, first: Any, second: Any, method: Any, other: Any, emotion_model: Any, labels: Any
    ) -> AsyncIterator[tuple[Side, Side]]:
        if what == METHODS:
            methods = [self.service.method(name) for name in (method, other)]
            if methods[0].name == methods[1].name:
                raise DataError(texts.COMPARE_SAME_METHOD)
            names, files = [texts.method_name(each.name) for each in methods], [first, first]
        else:
            methods, names, files = [self.service.method(method)] * 2, texts.PICTURE_SIDES, [first, second]
            if not first or not second:
                raise DataError(texts.COMPARE_TWO_NEEDED)
        question = _question(methods, emotion_model, labels)
        sides = [Side(name) for name in names]
        tasks = [
            asyncio.create_task(self._answer(index, side, each, file, question))
            for index, (side, each, file) in enumerate(zip(sides, methods, files, strict=True))
        ]
        try:
            for done in asyncio.as_completed(tasks):
                index, side = await done
                sides[index] = side
                yield sides[0], sides[1]
        finally:
            for task in tasks:
                task.cancel()

    async def _answer(self, index: int, side: Side, method: Method, file: Any, question: Question) -> tuple[int, Side]:
        """One side with its prediction, or with the sentence that says why there is none."""
        try:
            picture = await self.service.open(uploaded_file(file, self.uploads))
            prediction: EmotionPrediction = await self.service.ask(method.name, picture, question)
        except IecHubError as error:
            return index, replace(side, error=str(error))
        shown: Image.Image = picture.shown
        return index, replace(side, prediction=prediction, picture=shown)


def _question(methods: list[Method], emotion_model: Any, labels: Any) -> Question:
    if emotion_model == OWN:
        return Question(labels=tuple(split_labels(labels)))
    for method in methods:
        if not isinstance(emotion_model, str) or emotion_model not in method.models:
            raise DataError(texts.COMPARE_OTHER_EMOTIONS.format(method=texts.method_name(method.name)))
    return Question(emotion_model=emotion_model)


def _lay_out_inputs(methods: Mapping[str, Method]) -> _Inputs:
    several = len(methods) > 1
    what = gr.Radio(
        [(texts.COMPARE_PICTURES, PICTURES), (texts.COMPARE_METHODS, METHODS)],
        value=PICTURES,
        label=texts.COMPARE_WHAT,
        visible=several,
        elem_id="iec-compare-what",
        elem_classes=CALM,
    )
    pictures, examples, columns = [], [], []
    with gr.Row(elem_id="iec-pair"):
        for title, letter in zip(texts.PICTURE_SIDES, texts.SIDES, strict=True):
            with gr.Column(min_width=140) as column:
                pictures.append(_picture(title, letter))
                examples.append(lay_out_examples(pictures[-1], f"iec-pair-examples-{letter.lower()}"))
            columns.append(column)
    with gr.Row(elem_id="iec-compare-buttons"):
        swap = gr.Button(texts.COMPARE_SWAP, size="md", min_width=120, elem_id="iec-compare-swap")
        example = gr.Button(texts.COMPARE_TRY, size="md", min_width=120, elem_id="iec-compare-example")
    named = method_choices(methods)
    first = next(iter(methods.values()))
    radios = (
        lay_out_methods(named, "iec-compare-method", visible=several),
        lay_out_methods(
            named, "iec-compare-other", texts.COMPARE_SECOND_METHOD, chosen=1 if several else 0, visible=False
        ),
    )
    emotion_model, labels, hint = lay_out_emotions(emotion_model_choices(first), first.default, "iec-compare")
    compare = gr.Button(texts.COMPARE_BUTTON, variant="primary", size="lg", elem_id="iec-compare-button")
    return _Inputs(
        what, tuple(pictures), tuple(examples), columns[1], radios, emotion_model, labels, hint, compare, swap, example
    )


def _picture(title: str, letter: str) -> gr.Image:
    return gr.Image(
        label=title,
        sources=["upload", "clipboard"],
        type="filepath",
        image_mode=None,
        height=180,
        buttons=[],
        placeholder=texts.COMPARE_PLACEHOLDER,
        elem_id=f"iec-picture-{letter.lower()}",
    )


def _connect_choices(given: _Inputs, methods: Mapping[str, Method]) -> list[Any]:
    """What is offered follows what is chosen: for two methods only what both can be asked for.

    Returns:
        the events, to be followed by a new comparison.
    """

    def offer(what: str, first: str, second: str, emotion_model: str | None) -> tuple[Any, ...]:
        chosen = [chosen_method(methods, name) for name in ((first, second) if what == METHODS else (first,))]
        offered = emotion_model_choices(chosen[0])
        for method in chosen[1:]:
            values = [value for _, value in emotion_model_choices(method)]
            offered = [choice for choice in offered if choice[1] in values]
        values = [value for _, value in offered]
        # What stays is not sent back: the visitor may have chosen another one meanwhile.
        choice: dict[str, Any] = {"choices": offered}
        if emotion_model not in values:
            default = chosen[0].default.name
            emotion_model = choice["value"] = default if default in values else next(iter(values), None)
        two = what == METHODS
        return (
            gr.update(**choice),
            *reveal(first, emotion_model),
            gr.update(label=texts.COMPARE_FIRST_METHOD if two else texts.METHOD),
            gr.update(visible=two),
            gr.update(visible=not two),
            gr.update(label=texts.COMPARE_ONE_PICTURE if two else texts.PICTURE_SIDES[0]),
        )

    def reveal(first: str, emotion_model: str | None) -> tuple[Any, str]:
        if emotion_model == OWN:
            return gr.update(visible=True), texts.OWN_LABELS_HINT
        model = chosen_method(methods, first).models.get(emotion_model)
        return gr.update(visible=False), texts.labels_hint(model.labels) if model is not None else ""

    changed = [given.emotion_model, given.labels, given.hint, *given.methods, given.second_column, given.pictures[0]]
    asked = [given.what, *given.methods, given.emotion_model]
    revealing = [given.methods[0], given.emotion_model]
    return [
        *(component.input(offer, asked, changed, **QUICK) for component in (given.what, *given.methods)),
        given.emotion_model.input(reveal, revealing, [given.labels, given.hint], **QUICK),
    ]


def _connect_comparisons(given: _Inputs, settled: list[Any], result: gr.HTML, comparison: Comparison) -> None:
    run: dict[str, Any] = {
        "inputs": given.asked,
        "outputs": [result],
        "preprocess": False,
        "show_progress_on": result,
        "trigger_mode": "always_last",
        "concurrency_limit": _AT_ONCE,
        "concurrency_id": "compare",
        **_PRIVATE,
    }
    given.compare.click(comparison.show, **run).then(None, js=into_sight("iec-compare-result"), **_PRIVATE)
    given.labels.submit(comparison.show, **run).then(None, js=into_sight("iec-compare-result"), **_PRIVATE)
    swapped = [given.what, *given.pictures, *given.methods]
    given.swap.click(None, swapped, swapped[1:], js=_SWAP, **_PRIVATE).then(comparison.show_if_ready, **run)
    for event in (*settled, *(examples.load_input_event for examples in given.examples)):
        event.then(comparison.show_if_ready, **run)
    for picture in given.pictures:
        picture.upload(comparison.show_if_ready, **run)
        picture.clear(lambda: empty_comparison_html(), None, [result], **QUICK)
    # Nothing on the server: it chooses the two thumbnails as a visitor would.
    stems = [path.stem for path in example_pictures()]
    given.example.click(None, js=_CHOOSE_EXAMPLES % json.dumps([stems.index(stem) for stem in _CONTRAST]), **_PRIVATE)

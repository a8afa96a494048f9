"""Choosing a method and the emotions to tell apart, as every tab offers it."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import gradio as gr

from iec_hub.emotions import EmotionModel
from iec_hub.space import texts
from iec_hub.space.answering import ALL, OWN
from iec_hub.space.methods import Method, chosen_method

# Hidden from clients: these only serve the page. No queue: nothing of it asks a model. What is done while an answer is
# on its way is asked after it, and not forgotten as gradio would.
QUICK: dict[str, Any] = {
    "api_visibility": "private",
    "queue": False,
    "trigger_mode": "always_last",
    "show_progress": "hidden",
    "preprocess": False,
}
# A list of short words without boxes, in as many columns as there is room for.
CALM = "iec-choices"


@dataclass(frozen=True)
class Choices:
    """The components; `method` is hidden where there is one method."""

    method: gr.Radio
    emotion_model: gr.Radio
    labels: gr.Textbox
    hint: gr.Markdown


def lay_out_choices(methods: Mapping[str, Method], prefix: str = "iec", together: bool = False) -> Choices:
    """Draw the choices; the first method (or all) and its default emotion model are chosen.

    Args:
        prefix: of the elements' ids, which have to differ between tabs.
        together: whether all methods can be chosen at once, which is then what the page begins with.
    """
    named = method_choices(methods)
    if together and len(methods) > 1:
        named = [(texts.all_methods(len(methods)), ALL), *((texts.method_name(name), name) for name in methods)]
    method = lay_out_methods(named, f"{prefix}-method", visible=len(methods) > 1)
    default = next(iter(methods.values())).default
    return Choices(method, *lay_out_emotions(offered_choices(methods, named[0][1]), default, prefix))


def method_choices(methods: Mapping[str, Method]) -> list[tuple[str, str]]:
    """The methods as (shown, value)."""
    return [(texts.method_choice(name, each.predictor.name), name) for name, each in methods.items()]


def lay_out_methods(
    named: list[tuple[str, str]], element: str, label: str = texts.METHOD, chosen: int = 0, visible: bool = True
) -> gr.Radio:
    """Draw the choice of a method.

    Args:
        named: the methods as (shown, value).
        element: the element's id.
        chosen: the index of the one that is chosen.
    """
    value = named[chosen][1]
    return gr.Radio(named, value=value, label=label, visible=visible, elem_id=element, elem_classes=CALM)


def lay_out_emotions(
    offered: list[tuple[str, str]], default: EmotionModel, prefix: str
) -> tuple[gr.Radio, gr.Textbox, gr.Markdown]:
    """Draw the choice of the emotions, with a box for own labels, and with what stands beneath both."""
    emotion_model = gr.Radio(
        offered,
        value=default.name,
        label=texts.EMOTION_MODEL,
        elem_id=f"{prefix}-emotion-model",
        elem_classes=CALM,
    )
    labels = gr.Textbox(
        value="",
        label=texts.OWN_LABELS,
        placeholder=texts.OWN_LABELS_PLACEHOLDER,
        visible=False,
        elem_id=f"{prefix}-labels",
    )
    return emotion_model, labels, gr.Markdown(texts.labels_hint(default.labels), elem_id=f"{prefix}-hint")


def connect_choices(choices: Choices, methods: Mapping[str, Method]) -> list[Any]:
    """What is offered follows what is chosen.

    Returns:
        the two events, of the method and of the emotions, to be followed by what else a choice changes.
    """
    chosen = [choices.method, choices.emotion_model]

    def switch(method: str, emotion_model: str) -> tuple[Any, ...]:
        return switched(methods, method, emotion_model)

    def reveal(method: str, emotion_model: str) -> tuple[Any, str]:
        return revealed(methods, method, emotion_model)

    return [
        choices.method.input(switch, chosen, [choices.emotion_model, choices.labels, choices.hint], **QUICK),
        choices.emotion_model.input(reveal, chosen, [choices.labels, choices.hint], **QUICK),
    ]


def switched(methods: Mapping[str, Method], method: str, emotion_model: str) -> tuple[Any, ...]:
    """Updates of the emotion model, the labels and the hint after a method was chosen."""
    chosen = still_offered(methods, method, emotion_model)
    # What stays is not sent back: the visitor may have chosen another one meanwhile.
    value = {} if chosen == emotion_model else {"value": chosen}
    return gr.update(choices=offered_choices(methods, method), **value), *revealed(methods, method, chosen)


def still_offered(methods: Mapping[str, Method], method: str, emotion_model: str) -> str:
    """The emotions that were chosen, where the chosen method can tell them apart; else its usual ones."""
    offered = {value for _, value in offered_choices(methods, method)}
    return emotion_model if emotion_model in offered else chosen_methods(methods, method)[0].default.name


def revealed(methods: Mapping[str, Method], method: str, emotion_model: str) -> tuple[Any, str]:
    """Updates of the labels and the hint after an emotion model was chosen."""
    if emotion_model == OWN:
        return gr.update(visible=True), texts.OWN_LABELS_HINT
    model = next(
        each.models[emotion_model] for each in chosen_methods(methods, method) if emotion_model in each.models
    )
    return gr.update(visible=False), texts.labels_hint(model.labels)


def chosen_methods(methods: Mapping[str, Method], name: str) -> list[Method]:
    """The chosen method, or all of them.

    Raises:
        DataError: if there is no such method.
    """
    return list(methods.values()) if name == ALL else [chosen_method(methods, name)]


def offered_choices(methods: Mapping[str, Method], name: str) -> list[tuple[str, str]]:
    """What the chosen method, or any of all, can be asked for, as (shown, value)."""
    offered = dict.fromkeys(
        choice for method in chosen_methods(methods, name) for choice in emotion_model_choices(method)
    )
    # Own labels stay last.
    return sorted(offered, key=lambda choice: choice[1] == OWN)


def emotion_model_choices(method: Method) -> list[tuple[str, str]]:
    """What a method can be asked for, as (shown, value); own labels last, where it takes them."""
    offered = [(texts.choice(model), name) for name, model in method.models.items()]
    return [*offered, (texts.OWN_LABELS_CHOICE, OWN)] if method.own_labels else offered

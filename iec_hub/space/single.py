"""The tab for one picture: choosing it and the emotions, and the result."""

import json
import logging
import re
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, Protocol

import gradio as gr
from PIL import Image

from iec_hub.emotions import EMOTION_MODELS, EmotionModel
from iec_hub.errors import DataError, IecHubError
from iec_hub.images import open_image
from iec_hub.prediction import EmotionPrediction
from iec_hub.space import texts
from iec_hub.space.gpu import on_gpu
from iec_hub.space.rendering import PICTURE_SIDE, empty_html, error_html, result_html
from iec_hub.space.uploads import uploaded_file

logger = logging.getLogger(__name__)

OWN = "own"
EXAMPLES = Path(__file__).parent / "examples"
# Narrow screens show the result below the button: go there when it comes.
_SHOW_RESULT = """() => { if (window.matchMedia("(max-width: 800px)").matches)
    document.getElementById("iec-result").scrollIntoView({behavior: "smooth"}); }"""

# Gradio gives the thumbnails no names, so a screen reader would say "button" eight times.
_NAME_EXAMPLES = """() => { const names = %s;
    document.querySelectorAll("#iec-examples .gallery-item").forEach(
        (button, index) => button.setAttribute("aria-label", names[index])); }"""


class Predictor(Protocol):
    """What the page needs of :class:`iec_hub.predictor.EmotionPredictor`."""

    @property
    def name(self) -> str: ...

    @property
    def emotion_models(self) -> Mapping[str, EmotionModel]: ...

    @property
    def default_emotion_model(self) -> EmotionModel: ...

    def predict(
        self,
        images: Sequence[Image.Image],
        emotion_model: str | None = None,
        labels: Sequence[str] | None = None,
        evidence: bool = False,
    ) -> list[EmotionPrediction]: ...


def split_labels(text: str | None) -> list[str]:
    """The labels in a visitor's text: separated by commas, semicolons or line ends; empty ones are dropped."""
    return [label for label in (part.strip() for part in re.split(r"[,;\n]", str(text or ""))) if label]


def example_pictures() -> list[Path]:
    """The pictures to try, in a fixed order."""
    return sorted(EXAMPLES.glob("*.jpg"))


def answer(
    predictor: Predictor, file: Path, emotion_model: str, labels: str | None
) -> tuple[EmotionPrediction, Image.Image]:
    """The prediction for a picture, and the picture as it was read.

    Args:
        emotion_model: the name of an emotion model, or "own" for the labels in `labels`.

    Raises:
        IecHubError: with one sentence for the visitor.
    """
    own = split_labels(labels)
    if own and emotion_model != OWN:
        raise DataError(texts.OWN_LABELS_NOT_CHOSEN)
    opened = open_image(file, max_side=PICTURE_SIDE)
    asked = {"labels": own} if emotion_model == OWN else {"emotion_model": emotion_model}
    return predictor.predict([opened], evidence=True, **asked)[0], opened


def build_single_picture(page: gr.Blocks, predictor: Predictor) -> None:
    """Lay out the tab inside the open `page` and connect its events."""
    default = predictor.default_emotion_model
    models = {**EMOTION_MODELS, **predictor.emotion_models, default.name: default}
    choices = [(texts.choice(model), name) for name, model in models.items()]
    choices.append((texts.OWN_LABELS_CHOICE, OWN))

    with gr.Row(elem_id="iec-single"):
        with gr.Column(min_width=320):
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
            emotion_model = gr.Radio(
                choices, value=default.name, label=texts.EMOTION_MODEL, elem_id="iec-emotion-model"
            )
            labels = gr.Textbox(
                value="",
                label=texts.OWN_LABELS,
                placeholder=texts.OWN_LABELS_PLACEHOLDER,
                visible=False,
                elem_id="iec-labels",
            )
            button = gr.Button(texts.BUTTON, variant="primary", size="lg", elem_id="iec-button")
            hint = gr.Markdown(texts.labels_hint(default.labels), elem_id="iec-hint")
        with gr.Column(min_width=320):
            result = gr.HTML(empty_html(), elem_id="iec-result")

    def reveal(name: str) -> tuple[Any, str]:
        own = name == OWN
        return gr.update(visible=own), texts.OWN_LABELS_HINT if own else texts.labels_hint(models[name].labels)

    show, predict = _handlers(predictor, picture.GRADIO_CACHE)
    # Hidden from clients: these only serve the page.
    private: dict[str, Any] = {"api_visibility": "private"}
    quick: dict[str, Any] = {**private, "queue": False, "show_progress": "hidden"}
    # `preprocess=False`: gradio opens nothing, which is left to `open_image` with its limits and clear errors.
    run: dict[str, Any] = {
        "fn": show,
        "inputs": [picture, emotion_model, labels],
        "outputs": [result],
        "preprocess": False,
        "concurrency_id": "model",
        **private,
    }
    emotion_model.change(reveal, emotion_model, [labels, hint], **quick)
    picture.input(empty_html, None, result, **quick)
    for asked in (button.click(**run), labels.submit(**run), examples.load_input_event.then(**run)):
        asked.then(None, js=_SHOW_RESULT, **private)

    names = [texts.example_name(path.stem) for path in example_pictures()]
    page.load(None, js=_NAME_EXAMPLES % json.dumps(names), **private)

    # The public endpoint has a button of its own, as it answers with JSON and not with HTML.
    gr.Button(visible=False).click(
        predict,
        [picture, emotion_model, labels],
        gr.JSON(visible=False, label="prediction"),
        preprocess=False,
        api_name="predict",
        api_description=texts.API_PREDICT,
        concurrency_id="model",
    )


def _handlers(predictor: Predictor, uploads: str) -> tuple[Callable[..., str], Callable[..., dict[str, Any]]]:
    """What the button runs (HTML, also for errors) and what the endpoint runs (JSON)."""
    answer_on_gpu = on_gpu(lambda *inputs: answer(predictor, *inputs))

    def run(image: Mapping[str, Any] | None, emotion_model: str, labels: str) -> tuple[EmotionPrediction, Image.Image]:
        # Clients may send anything.
        return answer_on_gpu(uploaded_file(image, uploads), str(emotion_model), str(labels or ""))

    def show(image: Mapping[str, Any] | None, emotion_model: str, labels: str) -> str:
        # Labels that were typed and then hidden again are not meant.
        labels = labels if emotion_model == OWN else ""
        try:
            prediction, opened = run(image, emotion_model, labels)
        except IecHubError as error:
            return error_html(str(error))
        except Exception:
            logger.exception("A prediction failed")
            return error_html(texts.UNEXPECTED_ERROR)
        return result_html(prediction, opened, trained=prediction.emotion_model in predictor.emotion_models)

    def predict(image: Mapping[str, Any] | None, emotion_model: str, labels: str = "") -> dict[str, Any]:
        try:
            return run(image, emotion_model, labels)[0].to_dict()
        except IecHubError as error:
            raise gr.Error(str(error), print_exception=False) from error
        except Exception as error:
            logger.exception("A prediction failed")
            raise gr.Error(texts.UNEXPECTED_ERROR, print_exception=False) from error

    return show, predict

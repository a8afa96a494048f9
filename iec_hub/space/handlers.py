"""What the page's buttons and its public endpoint run: errors become sentences, for visitors and clients alike."""

import logging
from collections.abc import Mapping
from typing import Any

import gradio as gr

from iec_hub.errors import DataError, IecHubError
from iec_hub.space import texts
from iec_hub.space.answering import OWN, Answer, answer, read_caption
from iec_hub.space.gpu import on_gpu
from iec_hub.space.methods import Method, chosen_method
from iec_hub.space.rendering import error_html, result_html
from iec_hub.space.uploads import uploaded_file

logger = logging.getLogger(__name__)


class Handlers:
    """The handlers for some methods; their inputs are what components send, unchecked.

    Args:
        uploads: the folder in which gradio keeps what was uploaded.
    """

    def __init__(self, methods: Mapping[str, Method], uploads: str):
        self.methods, self.uploads = methods, uploads
        # Only names cross to a process with a GPU, not the models.
        self._answer = on_gpu(lambda method, *inputs: answer(methods[method], *inputs))

    def show(
        self, image: Mapping[str, Any] | None, emotion_model: str, labels: str, method: str
    ) -> tuple[str, Any, Any]:
        """The result, the editor of its caption where there is one to change, and the caption."""
        html, result = self._result(image, emotion_model, labels, method)
        captions = result.prediction.captions if result is not None else None
        if not captions or not self.methods[method].reads_captions:
            return html, gr.update(visible=False), gr.skip()
        return html, gr.update(visible=True), captions[0]

    def show_caption(
        self, image: Mapping[str, Any] | None, emotion_model: str, labels: str, method: str, caption: str
    ) -> str:
        """The result with the visitor's caption, next to that with the model's own."""
        return self._result(image, emotion_model, labels, method, caption)[0]

    def predict(
        self,
        image: Mapping[str, Any] | None,
        emotion_model: str,
        labels: str = "",
        method: str = "",
        caption: str = "",
    ) -> dict[str, Any]:
        """The public endpoint; :data:`iec_hub.space.texts.API_PREDICT` documents it."""
        try:
            return self._run(image, emotion_model, labels, method, caption).prediction.to_dict()
        except IecHubError as error:
            raise gr.Error(str(error), print_exception=False) from error
        except Exception as error:
            logger.exception("A prediction failed")
            raise gr.Error(texts.UNEXPECTED_ERROR, print_exception=False) from error

    def _result(
        self, image: Any, emotion_model: Any, labels: Any, method: Any, caption: str | None = None
    ) -> tuple[str, Answer | None]:
        # Labels that were typed and then hidden again are not meant.
        labels = labels if emotion_model == OWN else ""
        try:
            if caption is not None and not read_caption(caption):
                raise DataError(texts.CAPTION_EMPTY)
            result = self._run(image, emotion_model, labels, method, caption, compare=True)
        except IecHubError as error:
            return error_html(str(error)), None
        except Exception:
            logger.exception("A prediction failed")
            return error_html(texts.UNEXPECTED_ERROR), None
        note = chosen_method(self.methods, method).note(result.prediction.emotion_model)
        html = result_html(result.prediction, result.picture, size=result.size, note=note, before=result.before)
        return html, result

    def _run(
        self, image: Any, emotion_model: Any, labels: Any, method: Any, caption: Any, compare: bool = False
    ) -> Answer:
        chosen = chosen_method(self.methods, method).name
        # Clients may send anything.
        inputs = uploaded_file(image, self.uploads), str(emotion_model), str(labels or ""), caption, compare
        return self._answer(chosen, *inputs)

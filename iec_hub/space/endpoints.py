"""What programs can call: named endpoints with documented schemas, also as tools of an MCP server."""

import asyncio
import json
from collections.abc import Awaitable, Callable
from functools import partial
from pathlib import Path
from typing import Any

import gradio as gr
from gradio.utils import get_upload_folder

from iec_hub.errors import DataError, IecHubError
from iec_hub.prediction import EmotionPrediction
from iec_hub.space import texts
from iec_hub.space.answering import OWN, read_caption, split_labels
from iec_hub.space.archives import gather
from iec_hub.space.batching import log_failure
from iec_hub.space.discretion import Refusal
from iec_hub.space.escaping import plain
from iec_hub.space.methods import Method
from iec_hub.space.schemas import (
    BatchRow,
    PredictionAnswer,
    ReasonAnswer,
    ScoredTextAnswer,
    SentPicture,
    TextAnswer,
)
from iec_hub.space.service import Question, Service
from iec_hub.space.uploads import sent_picture, uploaded_file

# Pictures of one batch that are opened and asked about at once: enough to fill the models' batches, few enough that
# one program's batch does not fill everybody's line.
_AT_ONCE = 8
# In the address of what language models call.
_TOOLS = "/gradio_api/mcp"
_Read = Callable[[], Path | bytes]


class Endpoints:
    """The endpoints' functions; their arguments are what programs send, unchecked.

    Each answers with JSON, or raises a `Refusal` with one sentence. Their signatures and docstrings are what gradio
    shows to programs and language models.

    Args:
        uploads: the folder in which gradio keeps what was uploaded.
    """

    def __init__(self, service: Service, uploads: str | Path):
        self.service, self.uploads = service, uploads

    async def predict(
        self,
        image: SentPicture,
        method: str = "",
        emotion_model: str = "",
        labels: str | list[str] = "",
        caption: str = "",
        evidence: bool = False,
        request: gr.Request = None,
    ) -> PredictionAnswer:
        """Predict the emotions that one picture evokes in viewers.

        Args:
            image: The picture: a data: URL with base64, or what the upload of a file answered. No web address.
            method: Name of a method; the first one if left out.
            emotion_model: Name of an emotion model such as mikels8 or ekman7; the method's own if left out.
            labels: Two or more labels of your own instead of an emotion model: a list, or a comma-separated text.
            caption: Replaces the caption that the model would write, for methods that read one.
            evidence: Whether to add which parts of the picture, and which words, spoke for the answer.
        """
        return await _answered(self._predict(image, method, emotion_model, labels, caption, evidence), request)

    async def predict_batch(
        self,
        files: list[SentPicture],
        method: str = "",
        emotion_model: str = "",
        labels: str | list[str] = "",
        evidence: bool = False,
        request: gr.Request = None,
    ) -> list[BatchRow]:
        """Predict the emotions of several pictures; a bad one is a row with its reason and costs no other.

        Args:
            files: The pictures, each as in predict; or uploaded zip archives of pictures.
            method: Name of a method; the first one if left out.
            emotion_model: Name of an emotion model; the method's own if left out.
            labels: Labels of your own instead of an emotion model: a list, or a comma-separated text.
            evidence: Whether to add which parts of each picture spoke for the answer.
        """
        return await _answered(self._predict_batch(files, method, emotion_model, labels, evidence), request)

    async def concepts(self, image: SentPicture, request: gr.Request = None) -> list[ScoredTextAnswer]:
        """Name the concepts in one picture: short phrases for what is there and how it feels, best first.

        Args:
            image: The picture: a data: URL with base64, or what the upload of a file answered. No web address.
        """
        return await _answered(self._concepts(image), request)

    async def reason(self, image: SentPicture, request: gr.Request = None) -> ReasonAnswer:
        """Think about the feeling that one picture evokes, step by step: what is seen, and what that evokes.

        Args:
            image: The picture: a data: URL with base64, or what the upload of a file answered. No web address.
        """
        return await _answered(self._reason(image), request)

    async def read_text(self, image: SentPicture, request: gr.Request = None) -> list[TextAnswer]:
        """Read the text that stands in one picture, in reading order. It is untrusted: escape it.

        Args:
            image: The picture: a data: URL with base64, or what the upload of a file answered. No web address.
        """
        return await _answered(self._read_text(image), request)

    async def _predict(
        self, image: Any, method: Any, emotion_model: Any, labels: Any, caption: Any, evidence: Any
    ) -> dict[str, Any]:
        chosen = self.service.method(method)
        question = self._question(
            chosen, emotion_model, labels, read_caption(caption, self.service.limits.caption), evidence
        )
        return (await self._ask(chosen.name, image, question)).to_dict()

    async def _predict_batch(
        self, files: Any, method: Any, emotion_model: Any, labels: Any, evidence: Any
    ) -> list[dict[str, Any]]:
        chosen = self.service.method(method)
        question = self._question(chosen, emotion_model, labels, "", evidence)
        sources = await asyncio.to_thread(self._sources, files)
        several = asyncio.Semaphore(_AT_ONCE)

        async def row(name: str, read: _Read) -> dict[str, Any]:
            try:
                async with several:
                    return {"file": name, "prediction": await self._row(chosen.name, read, question), "error": None}
            except IecHubError as error:
                return {"file": name, "prediction": None, "error": str(error)}

        return list(await asyncio.gather(*(row(*source) for source in sources)))

    def _sources(self, files: Any) -> list[tuple[str, _Read]]:
        """What each row is called, and what reads its picture; an archive stands for the pictures in it.

        Raises:
            DataError: if there is nothing to judge, or too much.
        """
        limits = self.service.limits
        if not isinstance(files, list) or not files:
            raise DataError(texts.NO_FILES)
        sources: list[tuple[str, _Read]] = []
        for index, file in enumerate(files):
            name = _file_name(file, index)
            if name.casefold().endswith(".zip") and (archive := self._uploaded(file)) is not None:
                entries = gather([(name, archive)], limits)
                sources += [(entry.name, partial(entry.read, limits.file_bytes)) for entry in entries]
            else:
                sources.append((name, partial(sent_picture, file, self.uploads, limits.file_bytes)))
            # Counted as it grows: each of many archives may hold thousands of entries.
            if max(len(files), len(sources)) > limits.pictures:
                raise DataError(texts.TOO_MANY_FILES.format(most=limits.pictures))
        return sources

    def _uploaded(self, file: Any) -> Path | None:
        try:
            return uploaded_file(file, self.uploads)
        except IecHubError:
            return None

    async def _row(self, method: str, read: _Read, question: Question) -> dict[str, Any]:
        try:
            picture = await self.service.open(await asyncio.to_thread(read))
            return (await self.service.ask(method, picture, question)).to_dict()
        except IecHubError:
            raise
        except Exception as error:
            log_failure(error)
            raise DataError(texts.UNEXPECTED_ERROR) from None

    async def _concepts(self, image: Any) -> list[dict[str, Any]]:
        return (await self._explained(image, "concepts", texts.NO_CONCEPTS_HERE)).to_dict()["concepts"]

    async def _reason(self, image: Any) -> dict[str, Any]:
        answer = (await self._explained(image, "reasoning", texts.NO_REASONING_HERE)).to_dict()
        chosen = {name: answer[name] for name in ("emotion", "confidence", "method")}
        return {"steps": answer["reasoning"], "sentences": answer["captions"] or [], **chosen}

    async def _read_text(self, image: Any) -> list[dict[str, Any]]:
        return (await self._explained(image, "embedded_text", texts.NO_TEXT_HERE)).to_dict()["embedded_text"]

    async def _explained(self, image: Any, part: str, missing: str) -> EmotionPrediction:
        """The first answer that has a part; methods that read text are asked first, as those have most to say.

        Raises:
            DataError: with the sentence `missing`, if no method has that part.
        """
        methods = sorted(self.service.methods.values(), key=lambda method: not method.reads_embedded_text)
        picture = await self.service.open(sent_picture(image, self.uploads, self.service.limits.file_bytes))
        for method in methods:
            question = Question(method.default.name, evidence=False)
            answer = await self.service.ask(method.name, picture, question)
            if getattr(answer, part) is not None:
                return answer
        raise DataError(missing)

    async def _ask(self, method: str, image: Any, question: Question) -> EmotionPrediction:
        picture = await self.service.open(sent_picture(image, self.uploads, self.service.limits.file_bytes))
        return await self.service.ask(method, picture, question)

    def _question(self, method: Method, emotion_model: Any, labels: Any, caption: str, evidence: Any) -> Question:
        own = _own_labels(labels, self.service.limits.labels)
        if emotion_model is not None and not isinstance(emotion_model, str):
            raise DataError(texts.EMOTION_MODEL_NO_TEXT)
        if own and emotion_model not in (None, "", OWN):
            raise DataError(texts.OWN_LABELS_NOT_CHOSEN)
        if not own and emotion_model == OWN:
            raise DataError(texts.OWN_LABELS_MISSING)
        return Question(None if own else emotion_model or method.default.name, own, caption, evidence is True)


def build_endpoints(page: gr.Blocks, service: Service) -> None:
    """Give the open `page` its public endpoints."""
    endpoints = Endpoints(service, get_upload_folder())
    for function, description in (
        (endpoints.predict, texts.API_PREDICT.format(methods=_offered(service))),
        (endpoints.predict_batch, texts.API_PREDICT_BATCH),
        (endpoints.concepts, texts.API_CONCEPTS),
        (endpoints.reason, texts.API_REASON),
        (endpoints.read_text, texts.API_READ_TEXT),
    ):
        # No queue of gradio's: the service has a line of its own, with its own sentence when it is full. Without one
        # the MCP server also calls the function itself, and keeps nothing of what it was sent.
        gr.api(function, api_name=function.__name__, api_description=description, queue=False)


def _offered(service: Service) -> str:
    """The methods of the page, with what each can tell apart: a program finds no other list of them."""
    lines = []
    for method in service.methods.values():
        targets = [*method.models, *([texts.API_OWN_LABELS] if method.own_labels else [])]
        lines.append(texts.API_METHOD.format(name=plain(method.name, 80), targets=plain(", ".join(targets), 400)))
    return "; ".join(lines)


async def _answered(answer: Awaitable[Any], request: gr.Request | None) -> Any:
    """What was awaited; as JSON's text for the MCP server, which would write Python's own.

    Raises:
        Refusal: with one sentence.
    """
    try:
        content = await answer
    except IecHubError as error:
        raise Refusal(str(error)) from error
    as_tool = request is not None and _TOOLS in str(request.url)
    return json.dumps(content, ensure_ascii=False) if as_tool else content


def _own_labels(labels: Any, most: int) -> tuple[str, ...]:
    """A program's labels.

    Raises:
        DataError: if they are neither text nor a list of texts, or longer than `most` characters.
    """
    several = isinstance(labels, list)
    if labels is not None and not isinstance(labels, str) and not several:
        raise DataError(texts.OWN_LABELS_NO_TEXT)
    if several and not all(isinstance(label, str) for label in labels):
        raise DataError(texts.OWN_LABELS_NO_TEXT)
    # Measured before anything else is done with them: programs may send megabytes.
    if (length := sum(map(len, labels)) if several else len(labels or "")) > most:
        raise DataError(texts.LABELS_TOO_LONG.format(length=length, most=most))
    return tuple(label.strip() for label in labels) if several else tuple(split_labels(labels))


def _file_name(file: Any, index: int) -> str:
    """What a row calls its file: the name that the program gave it, else its number, counted from 1."""
    name = file.get("orig_name") or file.get("path") if isinstance(file, dict) else file
    if not isinstance(name, str) or not name or name[:5].casefold() == "data:":
        return str(index + 1)
    # Only the last part: where it lies on the server is nobody's business.
    return plain(name.replace("\\", "/").rsplit("/", 1)[-1], 80).strip() or str(index + 1)

"""What takes long to find out about an image, kept on disk: a reasoner's answers and the text that was read in it."""

from __future__ import annotations

import hashlib
import json
import logging
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from PIL import Image
from tqdm.auto import tqdm

from iec_hub.affect.embedded_text import TextReader
from iec_hub.affect.reasoning import Reasoner, Reasoning
from iec_hub.data import EmotionExample
from iec_hub.errors import IecHubError
from iec_hub.finetuning.caption_cache import image_keys, opened_at_end
from iec_hub.prediction import EmbeddedText, ReasoningStep

logger = logging.getLogger(__name__)


def kept_answers(
    examples: Sequence[EmotionExample],
    ask: Callable[[list[Image.Image]], list[Any]],
    path: Path | None,
    description: str,
    batch_size: int = 8,
) -> list[Any]:
    """One JSON-ready answer per image, in order, each asked for once.

    A line is written as soon as its batch is answered, so that a killed run goes on where it stopped. An image that
    cannot be opened has the answer `None`, and is tried again the next time.

    Args:
        ask: opened images in full size to answers.
        path: JSON-lines file; `None` keeps nothing.
    """
    keys, problems = image_keys(examples)
    answers = {} if path is None else _read(path)
    todo = {key: i for i, key in reversed(list(enumerate(keys))) if key is not None and key not in answers}
    order = sorted(todo.values())
    file = None if path is None or not order else opened_at_end(path)
    try:
        for start in tqdm(range(0, len(order), batch_size), desc=description, unit="batch", disable=not order):
            batch = []
            for i in order[start : start + batch_size]:
                try:
                    batch.append((keys[i], examples[i].open()))
                except IecHubError as error:
                    problems.append(f"{examples[i].origin}: {error}")
            given = ask([image for _, image in batch]) if batch else []
            for (key, _), answer in zip(batch, given, strict=True):
                answers[key] = answer
                if file is not None:
                    file.write(json.dumps({"image": key, "answer": answer}).encode() + b"\n")
            if file is not None:
                file.flush()
    finally:
        if file is not None:
            file.close()
    if problems:
        logger.warning("%s: %d images have none; the first: %s", description, len(problems), problems[0])
    return [None if key is None else answers.get(key) for key in keys]


def _read(path: Path) -> dict[str, Any]:
    """The answers of a file; what is no whole line is passed over."""
    answers: dict[str, Any] = {}
    if path.is_file():
        with path.open(encoding="utf-8", errors="replace") as file:
            for line in file:
                try:
                    entry = json.loads(line)
                    answers[str(entry["image"])] = entry["answer"]
                except (ValueError, TypeError, KeyError, RecursionError):
                    continue
    return answers


def kept_texts(
    reader: TextReader, examples: Sequence[EmotionExample], cache: Path | None, description: str
) -> list[tuple[EmbeddedText, ...]]:
    """The text in every image; none where an image cannot be opened."""

    def ask(images: list[Image.Image]) -> list[Any]:
        return [[[line.text, line.confidence] for line in found] for found in reader.read(images)]

    path = None if cache is None else cache / f"embedded-text-{_digest(reader.name)}.jsonl"
    answers = kept_answers(examples, ask, path, f"{description}, text")
    return [tuple(EmbeddedText(str(text), float(sure)) for text, sure in answer or ()) for answer in answers]


def kept_reasoning(
    reasoner: Reasoner,
    examples: Sequence[EmotionExample],
    cache: Path | None,
    description: str,
    version: str = "",
    batch_size: int = 8,
) -> list[Reasoning | None]:
    """A reasoner's steps and sentences about every image; `None` where it had none.

    Args:
        version: of its prompts and settings: other ones are asked anew.
    """

    def ask(images: list[Image.Image]) -> list[Any]:
        return [
            {"steps": [list(vars(s).values()) for s in r.steps], "sentences": list(r.sentences), "source": r.source}
            for r in reasoner.reason(images)
        ]

    path = None if cache is None else cache / f"reasoning-{_digest(f'{reasoner.name}|{version}')}.jsonl"
    answers = kept_answers(examples, ask, path, f"{description}, reasoning", batch_size)
    found: list[Reasoning | None] = []
    for answer in answers:
        steps = tuple(ReasoningStep(*map(str, step)) for step in (answer or {}).get("steps", ()))
        sentences = tuple(map(str, (answer or {}).get("sentences", ())))
        found.append(Reasoning(steps, sentences, reasoner.name) if steps or sentences else None)
    return found


def _digest(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()[:16]


__all__ = ["kept_answers", "kept_reasoning", "kept_texts"]

"""Predictions to show, pages to look into, and coroutines to wait for."""

import asyncio
from collections.abc import Coroutine
from concurrent.futures import ThreadPoolExecutor
from html.parser import HTMLParser
from typing import Any

from iec_hub.prediction import EmotionPrediction, from_distribution

NASTY = '<img src=x onerror="alert(1)">&"\''


class Collector(HTMLParser):
    """Tags with their attributes, and the text between them."""

    def __init__(self, html: str):
        super().__init__()
        self.tags: list[tuple[str, dict[str, str | None]]] = []
        self.text = ""
        self.feed(html)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, dict(attrs)))

    def handle_data(self, data: str) -> None:
        self.text += data


def prediction(distribution: dict[str, float], **fields: object) -> EmotionPrediction:
    return from_distribution(distribution, **{"emotion_model": "custom", "method": "ugrie", **fields})


def completed(coroutine: Coroutine[Any, Any, Any]) -> Any:
    """What a coroutine returns; in a thread of its own, as Playwright keeps a loop running in that of the tests."""
    with ThreadPoolExecutor(1) as thread:
        return thread.submit(asyncio.run, coroutine).result()

"""The line in front of the models: pictures that may share a batch are judged together, by a few threads."""

from __future__ import annotations

import logging
import threading
import traceback
from collections.abc import Callable, Hashable, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import suppress
from dataclasses import dataclass, field
from math import ceil
from typing import Any

from iec_hub.errors import DataError, IecHubError
from iec_hub.space import texts

logger = logging.getLogger(__name__)

Report = Callable[[Any], None]
Serve = Callable[[Hashable, Sequence[Any], Sequence[Report | None]], Sequence[Any]]


@dataclass(eq=False)
class _Ticket:
    """Somebody in the line.

    Attributes:
        line: whose line it is; each is bounded by itself.
        kind: only what is of the same kind and line may share a batch.
        report: told what is known of the result before it is done, in a thread of the line's.
    """

    line: str
    kind: Hashable
    item: Any
    report: Report | None
    result: Future = field(default_factory=Future)


class BatchingLine:
    """Takes whoever waits longest, with all who can share a batch, whenever one of its threads is free.

    Nobody waits for a batch to fill: batches grow by themselves while the threads are busy. Where several threads are
    free, they share what is there.

    Args:
        serve: called in a thread with a kind, the items of a batch and their reports; returns one result per item.
        workers: batches that are worked on at the same time.
        waiting: most items that wait in one line; those being worked on do not count.
        batch: most items of a batch.
    """

    def __init__(self, serve: Serve, workers: int, waiting: int, batch: int):
        self._serve, self._workers, self._most, self._batch = serve, workers, waiting, batch
        self._waiting: list[_Ticket] = []
        self._busy = 0
        self._lock = threading.Lock()
        self._threads = ThreadPoolExecutor(workers, thread_name_prefix="iec-hub-serve")

    def join(self, line: str, kind: Hashable, item: Any, report: Report | None = None) -> Future:
        """Stand in line.

        Returns:
            The result to come, or an IecHubError with a sentence; whoever cancels it leaves the line, unless the work
            has begun.

        Raises:
            DataError: if the line is full.
        """
        ticket = _Ticket(line, kind, item, report)
        with self._lock:
            if sum(other.line == line for other in self._waiting) >= self._most:
                raise DataError(texts.LINE_FULL)
            self._waiting.append(ticket)
        ticket.result.add_done_callback(lambda _: self._forget(ticket))
        # One turn for each ticket: there is always one left for whoever waits, and a turn too many finds nobody.
        self._threads.submit(self._turn)
        return ticket.result

    def _forget(self, ticket: _Ticket) -> None:
        with self._lock, suppress(ValueError):  # it has long been taken, unless it left of its own accord
            self._waiting.remove(ticket)

    def _turn(self) -> None:
        tickets = self._take()
        if not tickets:
            return
        try:
            self._work(tickets)
        finally:
            with self._lock:
                self._busy -= 1

    def _take(self) -> list[_Ticket]:
        """The next batch, out of the line."""
        with self._lock:
            taken: list[_Ticket] = []
            most = self._batch
            for ticket in list(self._waiting):
                if len(taken) >= most:
                    break
                if taken and (ticket.line, ticket.kind) != (taken[0].line, taken[0].kind):
                    continue
                self._waiting.remove(ticket)
                if not ticket.result.set_running_or_notify_cancel():
                    continue
                if not taken:
                    alike = 1 + sum((t.line, t.kind) == (ticket.line, ticket.kind) for t in self._waiting)
                    most = min(most, ceil(alike / max(1, self._workers - self._busy)))
                taken.append(ticket)
            self._busy += bool(taken)
            return taken

    def _work(self, tickets: Sequence[_Ticket]) -> None:
        try:
            results = self._serve(tickets[0].kind, [t.item for t in tickets], [t.report for t in tickets])
            for ticket, result in zip(tickets, results, strict=True):
                ticket.result.set_result(result)
            return
        except Exception as error:
            if len(tickets) == 1:
                tickets[0].result.set_exception(_as_sentence(error))
                return
        # One by one, so that one costs no other its result.
        for ticket in tickets:
            self._work([ticket])


def _as_sentence(error: Exception) -> IecHubError:
    """The error as it is told, without its frames, which hold the picture and all that was computed from it."""
    if isinstance(error, IecHubError):
        return error.with_traceback(None)
    log_failure(error)
    return DataError(texts.UNEXPECTED_ERROR)


def log_failure(error: Exception) -> None:
    """Where an unexpected error happened, without its message, which may quote what a visitor sent."""
    if not isinstance(error, IecHubError):
        places = "".join(traceback.format_tb(error.__traceback__))
        logger.error("A model failed with a %s:\n%s", type(error).__name__, places)

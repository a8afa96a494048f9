"""The line in front of the models: who shares a batch, who is turned away, and what one costs the others."""

import threading
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future
from typing import Any

import pytest

from iec_hub.errors import DataError
from iec_hub.space import texts
from iec_hub.space.batching import BatchingLine


class Model:
    """Doubles numbers, once it may; remembers its batches."""

    def __init__(self) -> None:
        self.batches: list[tuple[Any, list[int]]] = []
        self.may_go = threading.Event()
        self.begun = threading.Semaphore(0)

    def __call__(self, kind: Any, items: Sequence[int], reports: Sequence[Any]) -> list[int]:
        self.batches.append((kind, list(items)))
        self.begun.release()
        assert self.may_go.wait(10)
        if 13 in items:
            raise ValueError(" ".join(["thirteen", "somebody", "wrote"]))
        for item, report in zip(items, reports, strict=True):
            if report is not None:
                report(f"halfway to {2 * item}")
        return [2 * item for item in items]


@pytest.fixture
def model() -> Iterator[Model]:
    model = Model()
    yield model
    model.may_go.set()


def occupied(model: Model, workers: int = 1, waiting: int = 20, batch: int = 4) -> BatchingLine:
    """A line whose threads are all at work, so that what joins has to wait."""
    line = BatchingLine(model, workers, waiting, batch)
    for number in range(workers):
        line.join("first", f"kind {number}", 0)
        assert model.begun.acquire(timeout=10)
    return line


def results(futures: Sequence[Future]) -> list[int]:
    return [future.result(10) for future in futures]


def test_those_who_wait_share_batches_up_to_the_limit(model: Model) -> None:
    line = occupied(model)
    futures = [line.join("first", "same", number) for number in range(6)]
    model.may_go.set()
    assert results(futures) == [0, 2, 4, 6, 8, 10]
    assert model.batches[1:] == [("same", [0, 1, 2, 3]), ("same", [4, 5])]


def test_only_the_same_kind_and_line_share_a_batch_and_the_longest_wait_is_first(model: Model) -> None:
    line = occupied(model)
    futures = [line.join(*each) for each in (("a", "x", 1), ("a", "y", 2), ("b", "x", 3), ("a", "x", 4))]
    model.may_go.set()
    assert results(futures) == [2, 4, 6, 8]
    assert model.batches[1:] == [("x", [1, 4]), ("y", [2]), ("x", [3])]


def test_free_threads_share_what_waits(model: Model, monkeypatch: pytest.MonkeyPatch) -> None:
    line, turns = BatchingLine(model, workers=2, waiting=20, batch=8), []
    monkeypatch.setattr(line._threads, "submit", turns.append)  # nobody is taken before all are there
    futures = [line.join("a", "x", number) for number in range(6)]
    threads = [threading.Thread(target=turn) for turn in turns]
    for thread in threads[:2]:
        thread.start()
        assert model.begun.acquire(timeout=10)
    model.may_go.set()
    for thread in threads[2:]:
        thread.start()
    for thread in threads:
        thread.join()
    assert results(futures) == [0, 2, 4, 6, 8, 10]
    assert [items for _, items in model.batches] == [[0, 1, 2], [3, 4, 5]]


def test_a_failure_costs_no_other_its_result_and_its_message_is_not_logged(
    model: Model, caplog: pytest.LogCaptureFixture
) -> None:
    line = occupied(model)
    futures = [line.join("a", "x", number) for number in (1, 13, 3)]
    model.may_go.set()
    assert [futures[0].result(10), futures[2].result(10)] == [2, 6]
    with pytest.raises(DataError, match=texts.UNEXPECTED_ERROR) as caught:
        futures[1].result(10)
    frames = [entry.frame.f_locals for entry in caught.traceback]
    assert not any("items" in each for each in frames)  # the error keeps no picture alive
    assert "ValueError" in caplog.text and "somebody wrote" not in caplog.text


def test_a_full_line_turns_away_with_a_sentence_and_other_lines_go_on(model: Model) -> None:
    line = occupied(model, waiting=2)
    futures = [line.join("a", "x", number) for number in (1, 2)]
    with pytest.raises(DataError, match=texts.LINE_FULL):
        line.join("a", "y", 3)
    futures.append(line.join("b", "x", 4))
    model.may_go.set()
    assert results(futures) == [2, 4, 8]
    assert line.join("a", "x", 5).result(10) == 10


def test_whoever_gives_up_leaves_the_line(model: Model) -> None:
    line = occupied(model, waiting=2)
    gone, stays = line.join("a", "x", 1), line.join("a", "x", 2)
    assert gone.cancel()
    later = line.join("a", "x", 3)  # in the place that became free
    model.may_go.set()
    assert results([stays, later]) == [4, 6]
    assert model.batches[1:] == [("x", [2, 3])]


def test_each_is_told_of_its_own_progress(model: Model) -> None:
    line, told = occupied(model), {}

    def listener(number: int) -> Callable[[str], None]:
        return lambda known: told.update({number: known})

    futures = [line.join("a", "x", number, listener(number)) for number in (1, 2)] + [line.join("a", "x", 3)]
    model.may_go.set()
    results(futures)
    assert told == {1: "halfway to 2", 2: "halfway to 4"}

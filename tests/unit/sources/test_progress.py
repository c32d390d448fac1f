"""Progress is throttled by the clock, adds up over threads and always closes; patience grows to its cap."""

from __future__ import annotations

import threading

import pytest

from enginebuild.events import Event, Note, Progress
from enginebuild.sources.origin import Patience
from enginebuild.sources.progress import Meter


class Clock:
    def __init__(self) -> None:
        self.now = 0.0

    def __call__(self) -> float:
        return self.now


def test_reports_are_a_tenth_of_a_second_apart() -> None:
    events: list[Event] = []
    clock = Clock()
    meter = Meter(events.append, "model", 1000, clock)
    for step in range(1, 21):
        clock.now = step / 64
        meter.moved("file", step, 100, 1)
    assert events == [
        Progress("file", 1, 100),
        Progress("model", 1, 1000),
        Progress("file", 8, 100),
        Progress("model", 8, 1000),
        Progress("file", 15, 100),
        Progress("model", 15, 1000),
    ]


def test_the_end_is_always_reported() -> None:
    events: list[Event] = []
    meter = Meter(events.append, "model", 2, Clock())
    meter.moved("a", 1, 1, 1)
    meter.moved("b", 1, 1, 1)
    assert events[-2:] == [Progress("b", 1, 1), Progress("model", 2, 2)]


def test_bytes_that_must_come_again_are_taken_off() -> None:
    events: list[Event] = []
    clock = Clock()
    meter = Meter(events.append, "model", 10, clock)
    meter.moved("a", 6, 10, 6)
    clock.now = 1.0
    meter.moved("a", 0, 10, -6)
    assert events[-2:] == [Progress("a", 0, 10), Progress("model", 0, 10)]


def test_events_of_many_threads_come_one_at_a_time() -> None:
    inside = threading.Lock()
    collided = []

    def report(_event: Event) -> None:
        if not inside.acquire(blocking=False):
            collided.append(1)
            return
        threading.Event().wait(0.001)
        inside.release()

    meter = Meter(report, "model", 100)
    threads = [threading.Thread(target=meter.event, args=(Note("x"),)) for _ in range(20)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert not collided


@pytest.mark.parametrize(
    ("failures", "asked", "seconds"),
    [(1, None, 1), (2, None, 2), (4, None, 8), (9, None, 30), (1, 5.0, 5), (1, 0.0, 0), (1, 9999.0, 300)],
)
def test_patience(failures: int, asked: float | None, seconds: float) -> None:
    assert Patience().pause(failures, asked) == seconds

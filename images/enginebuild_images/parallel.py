"""A few threads for a list of tasks; the first failure ends them all."""

from __future__ import annotations

import queue
import threading
from collections.abc import Callable, Sequence
from typing import TypeVar

from enginebuild_images.pace import Stop, Stopped

T = TypeVar("T")

#: Seconds that the other tasks get to end after one has failed; a blocked one is left behind then.
GRACE = 5.0


def run_all(tasks: Sequence[Callable[[], T]], jobs: int, stop: Stop) -> list[T]:
    """Run the tasks on at most `jobs` threads; their results in order. Raises the first task's failure.

    The threads are daemons, so that one blocked in a ten-minute commit cannot hold an interrupted program.
    """
    waiting: queue.SimpleQueue[tuple[int, Callable[[], T]]] = queue.SimpleQueue()
    for entry in enumerate(tasks):
        waiting.put(entry)
    ended: queue.SimpleQueue[BaseException | None] = queue.SimpleQueue()
    results: dict[int, T] = {}

    def work() -> None:
        try:
            while True:
                stop.check()
                position, task = waiting.get_nowait()
                results[position] = task()
        except queue.Empty:
            ended.put(None)
        except BaseException as error:  # noqa: BLE001 - handed to the thread that waits
            stop.set()
            ended.put(error)

    count = max(1, min(jobs, len(tasks)))
    for number in range(count):
        threading.Thread(target=work, name=f"registry-{number}", daemon=True).start()
    try:
        first = _first_failure(ended, count)
    except BaseException:
        stop.set()
        raise
    if first is not None:
        raise first
    return [results[position] for position in range(len(tasks))]


def _first_failure(ended: queue.SimpleQueue[BaseException | None], count: int) -> BaseException | None:
    first: BaseException | None = None
    for _ in range(count):
        try:
            error = ended.get(timeout=None if first is None else GRACE)
        except queue.Empty:
            break
        if first is None or isinstance(first, Stopped):
            first = error or first
    return first

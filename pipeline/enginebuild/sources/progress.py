"""Bytes moved, reported at most ten times a second for each file and for the whole model."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable

from enginebuild.events import Event, Progress, Report

#: Seconds between two reports with the same label.
INTERVAL = 0.1


class Meter:
    """Adds up what many threads move. Events come out one at a time, whoever causes them."""

    def __init__(
        self, report: Report, label: str, total: int, clock: Callable[[], float] = time.monotonic
    ) -> None:
        self._report = report
        self._clock = clock
        self._lock = threading.Lock()
        self._last: dict[str, float] = {}
        self._label = label
        self._total = total
        self._done = 0

    def event(self, event: Event) -> None:
        """Pass another event on."""
        with self._lock:
            self._report(event)

    def moved(self, label: str, done: int, total: int, change: int) -> None:
        """`done` of `total` bytes of one thing are here, `change` more (or fewer) than at the last call."""
        with self._lock:
            self._done += change
            self._emit(label, done, total)
            self._emit(self._label, self._done, self._total)

    def skipped(self, change: int) -> None:
        """Bytes that need not be moved."""
        with self._lock:
            self._done += change
            self._emit(self._label, self._done, self._total)

    def _emit(self, label: str, done: int, total: int) -> None:
        now = self._clock()
        if done >= total or now - self._last.get(label, float("-inf")) >= INTERVAL:
            self._last[label] = now
            self._report(Progress(label, done, total))

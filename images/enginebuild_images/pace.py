"""How often and how fast to try again, and how to stop."""

from __future__ import annotations

import random
import threading
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import TypeVar

from enginebuild_images.failure import Failure

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class Retry:
    """Three tries; between them `base` seconds, doubled each time and spread by half to either side.

    `longest` bounds a wait that the registry asks for (`Retry-After`), in seconds.
    """

    tries: int = 3
    base: float = 1.0
    longest: float = 300.0

    def delay(self, number: int, after: float | None = None) -> float:
        """Seconds to wait after try `number` (from 1)."""
        if after is not None:
            return after
        spread = 0.5 + random.random()  # noqa: S311 - spreads load, hides nothing
        return float(self.base * 2 ** (number - 1) * spread)


class Stopped(Exception):  # noqa: N818 - nothing went wrong here
    """The push was given up while this part of it ran."""


class Stop:
    """Set once, when a part of a push has failed: the other parts end at their next piece."""

    def __init__(self) -> None:
        self._event = threading.Event()

    def set(self) -> None:
        self._event.set()

    def check(self) -> None:
        """Raises Stopped once set."""
        if self._event.is_set():
            raise Stopped

    def wait(self, seconds: float) -> None:
        """Sleep, but raise Stopped as soon as it is set."""
        if self._event.wait(seconds):
            raise Stopped


@dataclass(frozen=True, slots=True)
class Pace:
    """A retry policy and the stop that cuts its waits short."""

    retry: Retry = Retry()
    stop: Stop = field(default_factory=Stop)

    def patiently(self, registry: str, action: str, attempt: Callable[[int], T]) -> T:
        """Call `attempt(number)` until it works; raises RegistryError when no other try may help."""
        number = 1
        while True:
            self.stop.check()
            try:
                return attempt(number)
            except Failure as failure:
                self.pause(registry, action, failure, number)
                number += 1

    def pause(self, registry: str, action: str, failure: Failure, number: int) -> None:
        """Sleep after try `number` failed. Raises RegistryError when no other try may help."""
        if not failure.again or number >= self.retry.tries:
            raise failure.error(registry, action, number) from failure
        if failure.after is not None and failure.after > self.retry.longest:
            late = Failure(f"{failure.what}; it asks to wait {failure.after:.0f} s", failure.hint)
            raise late.error(registry, action, number) from failure
        self.stop.wait(self.retry.delay(number, failure.after))

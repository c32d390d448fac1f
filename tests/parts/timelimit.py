"""A limit on each test's wall time: a hang fails one test, with its stack, instead of stalling everything."""

from __future__ import annotations

import signal
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType

import pytest

#: Seconds by marker, the first that fits; fixtures are not counted.
LIMITS = {"vllm": 900.0, "slow": 300.0}
LIMIT = 120.0


def limit_of(item: pytest.Item) -> float:
    """How long a test may take."""
    return next((seconds for marker, seconds in LIMITS.items() if item.get_closest_marker(marker)), LIMIT)


@contextmanager
def limited(seconds: float) -> Iterator[None]:
    """Fail the block where it stands once `seconds` have passed, inside a blocking system call, too."""

    def stop(_signal: int, _frame: FrameType | None) -> None:
        pytest.fail(f"the test took longer than {seconds:g} s")

    before = signal.signal(signal.SIGALRM, stop)
    signal.setitimer(signal.ITIMER_REAL, seconds)
    try:
        yield
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, before)

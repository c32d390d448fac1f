"""A test that hangs in a system call fails within its limit."""

from __future__ import annotations

import os
import signal
import time
from pathlib import Path

import pytest

from parts.timelimit import LIMIT, limit_of, limited


def test_a_blocked_system_call_ends(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "fifo")
    begun = time.monotonic()
    with pytest.raises(pytest.fail.Exception) as failed, limited(0.05):
        (tmp_path / "fifo").read_bytes()
    assert str(failed.value) == "the test took longer than 0.05 s"
    assert time.monotonic() - begun < 5


def test_a_block_in_time_leaves_no_alarm() -> None:
    before = signal.getsignal(signal.SIGALRM)
    with limited(60):
        assert 50 < signal.getitimer(signal.ITIMER_REAL)[0] <= 60
    assert signal.getitimer(signal.ITIMER_REAL) == (0.0, 0.0)
    assert signal.getsignal(signal.SIGALRM) is before


def test_this_test_has_a_limit() -> None:
    assert 0 < signal.getitimer(signal.ITIMER_REAL)[0] <= LIMIT


@pytest.mark.slow
def test_a_slow_test_has_more_time(request: pytest.FixtureRequest) -> None:
    assert limit_of(request.node) > LIMIT

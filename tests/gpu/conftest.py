"""Tests on a real GPU run by `make test-gpu` alone, and say what they lack."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from parts import gpu_machine


def pytest_ignore_collect(collection_path: Path) -> bool | None:
    """`make test` needs no GPU, and does not show these tests as skipped."""
    return True if os.environ.get(gpu_machine.WANTED) != "1" else None


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    """One line for each thing that this machine lacks."""
    if os.environ.get(gpu_machine.WANTED) == "1" and gpu_machine.lacking():
        terminalreporter.section("not run on this machine, which has")
        for line in gpu_machine.lacking():
            terminalreporter.write_line(line)


@pytest.fixture(scope="session", autouse=True)
def _whole_machine() -> None:
    if gpu_machine.lacking():
        pytest.skip("; ".join(gpu_machine.lacking()))

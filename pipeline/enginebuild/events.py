"""What happens during a run, as values. The command line turns them into lines, bars or JSON."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal

from enginebuild_cache import Digest

#: `unneeded`: nobody asked for what the step makes, because what was made of it is here.
Status = Literal["hit", "built", "unneeded"]


@dataclass(frozen=True, slots=True)
class Note:
    """A line worth reading: `warning` needs the reader's attention, `info` does not.

    `error`: what ended one cell while the others go on.
    """

    text: str
    level: Literal["info", "warning", "error"] = "info"


@dataclass(frozen=True, slots=True)
class StepStarted:
    step: str
    key: Digest


@dataclass(frozen=True, slots=True)
class StepFinished:
    step: str
    key: Digest
    status: Status
    seconds: float


@dataclass(frozen=True, slots=True)
class Progress:
    """Bytes moved for one thing (a file, a layer). `done == total` closes its bar."""

    label: str
    done: int
    total: int


@dataclass(frozen=True, slots=True)
class LogLine:
    """A line that a step's command wrote, without its line break and without secrets."""

    step: str
    text: str


@dataclass(frozen=True, slots=True)
class Waiting:
    """Another process holds what this one needs."""

    what: str
    holder: str


@dataclass(frozen=True, slots=True)
class Waited:
    """`what` (GPUs) was waited for, so many seconds, and is ours now. It is no time that a step took."""

    what: str
    seconds: float


@dataclass(frozen=True, slots=True)
class InCell:
    """What happened in one of several runs: the cell of a matrix, or one of several recipes."""

    cell: str
    event: Event


Event = Note | StepStarted | StepFinished | Progress | LogLine | Waiting | Waited | InCell
Report = Callable[[Event], None]


def in_cell(cell: str, report: Report) -> Report:
    """A Report of one cell's events."""
    return lambda event: report(InCell(cell, event))


def once(report: Report) -> Report:
    """Another that passes each event on the first time: cells of a matrix have much in common."""
    told: set[Event] = set()

    def passed(event: Event) -> None:
        if event not in told:
            told.add(event)
            report(event)

    return passed


def silent(_event: Event) -> None:
    """A Report that nobody reads."""

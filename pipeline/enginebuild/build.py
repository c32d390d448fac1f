"""Run a plan: for each step in order a record is looked up, or made under a lock that others wait at."""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Protocol

from enginebuild import __version__
from enginebuild.events import Report, Status, StepFinished, StepStarted, Waiting
from enginebuild.step import Step
from enginebuild_cache import Digest, Json, Record, Store, Tree


class Elsewhere(Protocol):
    """Records of other machines. What is wrong there is a miss and a warning; only CacheError is raised."""

    def pull(self, step: Step, key: Digest, store: Store, report: Report) -> Record | None:
        """The record of a step, with its files in the store; None if there is none that is of use."""
        ...

    def push(self, record: Record, store: Store, report: Report) -> None:
        """Let the others have a record."""
        ...


class Nowhere:
    """No other machine."""

    def pull(self, step: Step, key: Digest, store: Store, report: Report) -> Record | None:
        return None

    def push(self, record: Record, store: Store, report: Report) -> None:
        pass


@dataclass(frozen=True, slots=True)
class Outcome:
    """How one step went: `seconds` of wall time, waiting for others included."""

    step: str
    key: Digest
    status: Status
    seconds: float
    tree: Tree

    def to_json(self) -> dict[str, Json]:
        return {
            "name": self.step,
            "key": str(self.key),
            "status": self.status,
            "seconds": round(self.seconds, 3),
        }


def build(
    steps: Sequence[Step], subject: str, store: Store, report: Report, elsewhere: Elsewhere | None = None
) -> dict[str, Outcome]:
    """Make or find the output of each step. `subject` (the recipe's name) only goes into provenance.

    Raises the action's own EngineBuildError; what was finished before stays recorded.
    """
    outcomes: dict[str, Outcome] = {}
    for step in steps:
        if step.unresolved:
            raise ValueError(f"step {step.name} is unresolved: {step.unresolved}")
        inputs = {name: outcomes[name].tree for name in step.inputs}
        outcomes[step.name] = _run_step(step, inputs, subject, store, report, elsewhere or Nowhere())
    return outcomes


def _run_step(
    step: Step,
    inputs: Mapping[str, Tree],
    subject: str,
    store: Store,
    report: Report,
    elsewhere: Elsewhere,
) -> Outcome:
    start = time.monotonic()
    key = step.key(inputs)
    report(StepStarted(step.name, key))
    status: Status = "hit"
    record = store.record(key)
    if record is None:
        with store.lock(key.hex, lambda holder: report(Waiting(f"step {step.name}", holder))):
            # Whoever held the lock may have made it meanwhile.
            record = store.record(key) or elsewhere.pull(step, key, store, report)
            if record is None:
                status = "built"
                record = _make(step, key, inputs, subject, store, report)
    elsewhere.push(record, store, report)
    seconds = time.monotonic() - start
    report(StepFinished(step.name, key, status, seconds))
    return Outcome(step.name, key, status, seconds, record.tree)


def _make(
    step: Step, key: Digest, inputs: Mapping[str, Tree], subject: str, store: Store, report: Report
) -> Record:
    start = time.monotonic()
    tree = step.action(inputs, store, report)
    record = Record(
        key=key,
        step=step.name,
        fields=step.key_document(inputs),
        tree=tree,
        provenance={
            "subject": subject,
            "tool": f"enginebuild {__version__}",
            "finished": datetime.now(UTC).isoformat(timespec="seconds"),
            "seconds": round(time.monotonic() - start, 3),
        },
    )
    return store.put_record(record)

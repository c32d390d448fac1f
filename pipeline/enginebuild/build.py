"""Run steps on demand: a record is looked up, or made under a lock that others wait at."""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Protocol

from enginebuild import __version__
from enginebuild.events import Event, Report, Status, StepFinished, StepStarted, Waited, Waiting
from enginebuild.step import Result, Step, beside_document
from enginebuild_cache import Digest, Json, Record, Store, Tree


class Elsewhere(Protocol):
    """Records of other machines. What is wrong there is a miss and a warning; only CacheError is raised."""

    def find(self, step: Step, key: Digest, report: Report) -> Record | None:
        """The record of a step without its files; None if there is none that is of use."""
        ...

    def pull(self, step: Step, key: Digest, store: Store, report: Report) -> Record | None:
        """The record of a step, with its files in the store; None if there is none that is of use."""
        ...

    def push(self, record: Record, store: Store, report: Report) -> None:
        """Let the others have a record."""
        ...


class Nowhere:
    """No other machine."""

    def find(self, step: Step, key: Digest, report: Report) -> Record | None:
        return None

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
    """Make or find the gates' outputs, the last step's, and its inputs'; of the others what these need.

    A model is not fetched for an engine that is here. `subject` (the recipe's name) only goes into
    provenance. Raises the action's own EngineBuildError; what was finished before stays recorded.
    """
    for step in steps:
        if step.unresolved:
            raise ValueError(f"step {step.name} is unresolved: {step.unresolved}")
    building = _Building({step.name: step for step in steps}, subject, store, report, elsewhere or Nowhere())
    last = steps[-1]
    gates = (step.name for step in steps if step.gate)
    for name in (*gates, *last.inputs, last.name):
        building.outcome(name)
    return {step.name: building.done.get(step.name) or building.unneeded(step) for step in steps}


@dataclass(frozen=True)
class _Building:
    """Steps by name, and what has become of those that somebody asked for."""

    steps: Mapping[str, Step]
    subject: str
    store: Store
    report: Report
    elsewhere: Elsewhere
    done: dict[str, Outcome] = field(default_factory=dict)
    trees: dict[str, Tree] = field(default_factory=dict)

    def outcome(self, name: str) -> Outcome:
        """Afterwards the step's files are in the store."""
        if name not in self.done:
            self.done[name] = self._found(self.steps[name])
        return self.done[name]

    def tree(self, name: str) -> Tree:
        """What a step makes, with or without its files here; it is made only if nothing else tells."""
        if name not in self.trees:
            step = self.steps[name]
            record = self._known(step)
            if record is not None:
                self.trees[name] = record.tree
            else:
                self.trees[name] = step.output if step.output is not None else self.outcome(name).tree
        return self.trees[name]

    def unneeded(self, step: Step) -> Outcome:
        key = step.key(self._inputs(step))
        self.report(StepFinished(step.name, key, "unneeded", 0.0))
        return Outcome(step.name, key, "unneeded", 0.0, self.tree(step.name))

    def _known(self, step: Step) -> Record | None:
        key = step.key(self._inputs(step))
        return self.store.record(key) or (
            self.elsewhere.find(step, key, self.report) if step.output is None else None
        )

    def _inputs(self, step: Step) -> dict[str, Tree]:
        return {name: self.tree(name) for name in step.inputs}

    def _found(self, step: Step) -> Outcome:
        start = time.monotonic()
        inputs = self._inputs(step)
        key = step.key(inputs)
        status: Status = "hit"
        self.report(StepStarted(step.name, key))
        record = self.store.record(key)
        if record is None:
            with self._lock(step, key):
                # Whoever held the lock may have made it meanwhile.
                record = self.store.record(key) or self.elsewhere.pull(step, key, self.store, self.report)
        if record is None:
            for name in step.inputs:
                self.outcome(name)
            with self._lock(step, key):
                record = self.store.record(key)
                if record is None:
                    status = "built"
                    record = _make(step, key, inputs, self.subject, self.store, self.report)
        self.elsewhere.push(record, self.store, self.report)
        seconds = time.monotonic() - start
        self.report(StepFinished(step.name, key, status, seconds))
        self.trees[step.name] = record.tree
        return Outcome(step.name, key, status, seconds, record.tree)

    def _lock(self, step: Step, key: Digest) -> AbstractContextManager[None]:
        return self.store.lock(key.hex, lambda holder: self.report(Waiting(f"step {step.name}", holder)))


def _make(
    step: Step, key: Digest, inputs: Mapping[str, Tree], subject: str, store: Store, report: Report
) -> Record:
    start = time.monotonic()
    waits: list[float] = []

    def heard(event: Event) -> None:
        if isinstance(event, Waited):
            waits.append(event.seconds)
        report(event)

    made = step.action(inputs, store, heard)
    result = Result(made) if isinstance(made, Tree) else made
    provenance: dict[str, Json] = {
        "subject": subject,
        "tool": f"enginebuild {__version__}",
        "finished": datetime.now(UTC).isoformat(timespec="seconds"),
        "seconds": round(time.monotonic() - start - sum(waits), 3),
    }
    record = store.put_record(
        Record(
            key=key,
            step=step.name,
            fields=step.key_document(inputs),
            tree=result.tree,
            provenance={**provenance, **result.provenance},
        )
    )
    # After the step's own: a log whose step has no record would be taken for that of a later run.
    for name, tree in result.beside.items():
        document = beside_document(name, key)
        store.put_record(Record(Digest.of_json(document), name, document, tree, provenance))
    return record

"""The plan: for each step its key and whether a record for it exists. Pure but for the look-ups given."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Literal

from enginebuild.change import Change, changes
from enginebuild.step import Step
from enginebuild_cache import Digest, Json, Record, Tree

#: `unresolved`: the key is not known yet, because a field or an input is not. `unneeded`: what it would make
#: is not here, and nobody asks for it, because what was made of it is.
PlanStatus = Literal["hit", "miss", "unresolved", "unneeded"]


@dataclass(frozen=True)
class PlannedStep:
    """A step with what is known of it now. `changed` is None where no earlier record was found.

    `remote`: the record is not here but in the remote cache, from which a run takes it; a hit all the same.
    """

    step: Step
    status: PlanStatus
    key: Digest | None = None
    output: Tree | None = None
    reason: str = ""
    changed: tuple[Change, ...] | None = None
    remote: bool = False

    def to_json(self) -> dict[str, Json]:
        step = self.step
        return {
            "name": step.name,
            "key": str(self.key) if self.key else None,
            "status": self.status,
            "remote": self.remote,
            "reason": self.reason or None,
            "changed": None if self.changed is None else [_change_json(change) for change in self.changed],
            "inputs": list(step.inputs),
            "environment": step.environment,
            "commands": [list(command) for command in step.commands],
            "files": {path: content.decode("utf-8", "replace") for path, content in step.files.items()},
        }


def plan(
    steps: Sequence[Step],
    record_of: Callable[[Step, Digest], Record | None],
    last_record_of: Callable[[str], Record | None],
    elsewhere: Callable[[Step, Digest], Record | None] | None = None,
) -> tuple[PlannedStep, ...]:
    """Look every step up in the order given, which must name inputs before their users.

    `elsewhere` finds the record of another machine, and is asked only for what is not here.
    """
    planned: dict[str, PlannedStep] = {}
    for step in steps:
        if step.name in planned:
            raise ValueError(f"two steps are called {step.name}")
        planned[step.name] = _plan_step(step, planned, record_of, last_record_of, elsewhere)
    needed = _needed(planned)
    return tuple(
        replace(each, status="unneeded", reason="what was made of it is here", changed=None, remote=False)
        if (each.status == "miss" or each.remote) and name not in needed
        else each
        for name, each in planned.items()
    )


def _needed(planned: Mapping[str, PlannedStep]) -> set[str]:
    """The steps whose files are asked for: gates', the last one's, its inputs', those of what must run."""
    *earlier, last = planned.values()
    gates = (each.step.name for each in earlier if each.step.gate)
    needed = {last.step.name, *last.step.inputs, *gates}
    for each in reversed(earlier):
        if each.step.name in needed and each.status != "hit":
            needed |= set(each.step.inputs)
    return needed


def _plan_step(
    step: Step,
    earlier: Mapping[str, PlannedStep],
    record_of: Callable[[Step, Digest], Record | None],
    last_record_of: Callable[[str], Record | None],
    elsewhere: Callable[[Step, Digest], Record | None] | None,
) -> PlannedStep:
    if step.unresolved:
        return PlannedStep(step, "unresolved", reason=step.unresolved)
    inputs: dict[str, Tree] = {}
    for name in step.inputs:
        tree = earlier[name].output
        if tree is None:
            return PlannedStep(step, "unresolved", reason=f"its key needs the output of {name}")
        inputs[name] = tree
    key = step.key(inputs)
    if (record := record_of(step, key)) is not None:
        return PlannedStep(step, "hit", key, record.tree)
    if elsewhere is not None and (record := elsewhere(step, key)) is not None:
        return PlannedStep(step, "hit", key, record.tree, "in the remote cache", remote=True)
    last = last_record_of(step.name)
    changed = None if last is None else changes(last.fields, step.key_document(inputs))
    return PlannedStep(step, "miss", key, step.output, _miss_reason(last, changed), changed)


def _miss_reason(last: Record | None, changed: tuple[Change, ...] | None) -> str:
    if last is None:
        return "never built here"
    if not changed:
        return "its files are no longer in the cache"
    return "; ".join(str(change) for change in changed)


def _change_json(change: Change) -> dict[str, Json]:
    return {"field": change.field, "old": change.old, "new": change.new}

"""A step: one action from input trees to one output tree, and the key that decides whether it must run."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Protocol

from enginebuild.events import Report
from enginebuild_cache import Digest, Json, Store, Tree


@dataclass(frozen=True)
class Result:
    """What an action made. `provenance` goes into the step's record.

    `beside`: trees that are no part of the output and worth keeping (a log, a timing cache), by name; each
    becomes a record of its own, see `beside_document`.
    """

    tree: Tree
    provenance: Mapping[str, Json] = field(default_factory=dict)
    beside: Mapping[str, Tree] = field(default_factory=dict)


class Action(Protocol):
    """What a step does. Everything that decides its result is in the step's fields and inputs."""

    def __call__(self, inputs: Mapping[str, Tree], store: Store, report: Report) -> Tree | Result:
        """Make the output, every file of it in the store. Raises EngineBuildError."""
        ...


def beside_document(name: str, key: Digest) -> dict[str, Json]:
    """The document whose digest is the key of what the step with this key left beside its output."""
    return {"step": name, "of": str(key)}


@dataclass(frozen=True)
class Step:
    """A value: the plan is a tuple of them, and a new kind of step needs no change elsewhere.

    `version` changes when the action would give another result for equal fields. `inputs` names earlier
    steps. `unresolved` says why a field is not known yet (no network, no lock); such a step has no key.
    `output` is the tree where it is known without running (a fetch's from the lock, generated files).
    `commands` and `files` are what a reader of the plan wants to see; both are covered by `fields`.
    `gate`: nothing is made of the output, and nothing else is made before it is there.
    """

    name: str
    version: int
    fields: Mapping[str, Json]
    action: Action
    inputs: tuple[str, ...] = ()
    environment: str = "local"
    commands: tuple[tuple[str, ...], ...] = ()
    files: Mapping[str, bytes] = field(default_factory=dict)
    output: Tree | None = None
    unresolved: str = ""
    gate: bool = False

    def description(self) -> dict[str, Json]:
        """All that decides the result but the inputs, which may not be known yet."""
        return {
            "step": self.name,
            "version": self.version,
            "environment": self.environment,
            "fields": dict(self.fields),
        }

    def key_document(self, inputs: Mapping[str, Tree]) -> dict[str, Json]:
        """The document that the key is the digest of: contents of immediate inputs, never recipe text."""
        trees: dict[str, Json] = {name: str(inputs[name].digest) for name in self.inputs}
        return {**self.description(), "inputs": trees}

    def key(self, inputs: Mapping[str, Tree]) -> Digest:
        return Digest.of_json(self.key_document(inputs))


def unresolved_step(
    name: str,
    version: int,
    reason: str,
    inputs: tuple[str, ...] = (),
    files: Mapping[str, bytes] | None = None,
) -> Step:
    """A step that can be shown and not run: something its key needs is not known yet."""
    return Step(name, version, {}, _never, inputs, files=files or {}, unresolved=reason)


def _never(inputs: Mapping[str, Tree], store: Store, report: Report) -> Tree:
    raise AssertionError("an unresolved step was run")

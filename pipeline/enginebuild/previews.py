"""The plans of several cells as one: a step that several share is made once."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace

from enginebuild.estimate import Estimate, StepEstimate, duration
from enginebuild.plan import PlannedStep
from enginebuild.preview import Preview
from enginebuild_cache import Digest, Json

#: Steps in whose stead a table names how many there are.
_SHOWN = 4


@dataclass(frozen=True)
class Previews:
    """The plan of each cell, in the order in which they are run."""

    cells: Sequence[Preview]

    def estimate(self, price: float | None = None) -> Estimate:
        """What is to be made in all, each step once; `price` in dollars per GPU-hour.

        A step whose key hangs on what is not made yet counts for each of its cells.
        """
        seen: set[Digest] = set()
        made: list[StepEstimate] = []
        fetched: list[int | None] = []
        for each in self.cells:
            fresh = tuple(step for step in each.steps if step.key is None or step.key not in seen)
            seen |= {step.key for step in fresh if step.key is not None}
            made += replace(each, steps=fresh).estimate(price).steps
            if any(step.step.name == "fetch" for step in fresh):
                fetched.append(each.bytes_to_fetch)
        known = None if None in fetched else sum(size for size in fetched if size is not None)
        return Estimate(tuple(made), known, price)

    def to_json(self, price: float | None = None) -> dict[str, Json]:
        return {
            "cells": [{"cell": dict(each.recipe.cell), **each.to_json(price)} for each in self.cells],
            "estimate": self.estimate(price).to_json(),
        }

    def lines(self, price: float | None, size: Callable[[int], str]) -> Iterator[str]:
        """A table with a line for each cell, and what it takes in all."""
        width = max(len(each.name) for each in self.cells)
        for each in self.cells:
            key = each.key.short if each.key else "-" * 12
            yield f"{each.name:<{width}}  {key}  {_state(each.steps)}"
        cached = sum(not any(map(_to_make, each.steps)) for each in self.cells)
        yield f"{len(self.cells)} cells, {cached} cached"
        total = self.estimate(price)
        if total.steps:
            yield f"to make    {', '.join(_sums(total.steps))}"
            yield f"time       {'; '.join(filter(None, [total.time(), _origins(total.steps)]))}"
            yield from total.sums(size)


def _to_make(step: PlannedStep) -> bool:
    return step.status in ("miss", "unresolved")


def _state(steps: Sequence[PlannedStep]) -> str:
    names = [step.step.name for step in steps if _to_make(step)]
    if not names:
        return "cached"
    return f"to make: {', '.join(names)}" if len(names) <= _SHOWN else f"to make: {len(names)} steps"


def _sums(steps: Sequence[StepEstimate]) -> Iterator[str]:
    """For each kind of step how many there are, and how long the known ones take together."""
    for name, remote in dict.fromkeys((step.step, step.remote) for step in steps):
        those = [step for step in steps if (step.step, step.remote) == (name, remote)]
        known = [step.seconds for step in those if step.seconds is not None]
        unknown = len(those) - len(known)
        told = [duration(sum(known))] if known else []
        told += [f"unknown for {unknown}" if known else "time unknown"] if unknown else []
        taken = " from the remote cache" if remote else ""
        yield f"{len(those)} × {name}{taken} ({', '.join(told)})"


def _origins(steps: Sequence[StepEstimate]) -> str:
    """Whose times these are."""
    known = [step.origin for step in steps if step.seconds is not None]
    modelled = known.count("model")
    counts = ((len(known) - modelled, "by records"), (modelled, "modelled"))
    return ", ".join(f"{count} {whose}" for count, whose in counts if count)

"""What a run would take: seconds, GPU minutes, bytes, and their price. Pure.

Each number says where it is from: a record of this recipe, else one of another recipe, scaled to this one's
size, else the model of `durations`. What none of them tells is unknown.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Literal, Protocol

from enginebuild.durations import Modelled, Work, modelled, spreads
from enginebuild.errors import RecipeError
from enginebuild.past import Time
from enginebuild.plan import PlannedStep
from enginebuild.recipe import Recipe
from enginebuild.steps.commands import RunCommands
from enginebuild.steps.environment import gpu_count
from enginebuild.why import Since
from enginebuild_cache import Json

#: Steps that run in the builder, and those that start the finished image's server.
_BUILT = ("quantize", "convert", "compile")
_SERVED = ("warm", "verify")
_PRICE = re.compile(r"(?:\$|USD )?([0-9]+(?:\.[0-9]+)?)\$?(?:/(?:h|hour|gpu-hour))?\Z", re.IGNORECASE)
#: Works that differ by less in their modelled time are the same.
_ALIKE = 1.05

Origin = Literal["this recipe's record", "another recipe's record", "model", "unknown"]


def gpu_price(text: str) -> float:
    """`2.5/h`: dollars for one GPU and one hour. Raises RecipeError."""
    match = _PRICE.match(text.strip())
    if match is None or float(match[1]) <= 0:
        raise RecipeError(
            f"--gpu-price must be dollars per GPU-hour, not '{text}'", "write for example 2.5/h"
        )
    return float(match[1])


def duration(seconds: float) -> str:
    """`42 s`, `40 min`, `3.5 h`; what is below a second as that."""
    if seconds < 1:
        return "under 1 s"
    if seconds < 100:
        return f"{seconds:.0f} s"
    return f"{seconds / 60:.0f} min" if seconds < 100 * 60 else f"{seconds / 3600:.1f} h"


class Past(Protocol):
    """The times of records."""

    def times(self, step: str) -> Sequence[Time]:
        """Of a step, the one used last before the others."""
        ...


@dataclass(frozen=True, slots=True)
class StepEstimate:
    """A step that is to be made, or taken from a remote cache, on so many `gpus`.

    `seconds` None: unknown; right within a factor of `spread` either way. `said` says in a few words where
    they are from, `source` in full. `since`: the record, if it is one; its time was multiplied by `scale`.
    `remote`: it is not made but taken from a remote cache.
    """

    step: str
    gpus: int
    seconds: float | None = None
    since: Since | None = None
    origin: Origin = "unknown"
    spread: float = 1.0
    scale: float = 1.0
    said: str = ""
    source: str = ""
    remote: bool = False

    @property
    def low(self) -> float:
        """Seconds at least; 0 where they are unknown."""
        return (self.seconds or 0.0) / self.spread

    @property
    def high(self) -> float:
        """Seconds at most; 0 where they are unknown."""
        return (self.seconds or 0.0) * self.spread

    @property
    def gpu_minutes(self) -> float | None:
        return None if self.seconds is None else self.seconds * self.gpus / 60

    def line(self, width: int) -> str:
        """Its time, on how many GPUs, and whose time it is. Only where it is known."""
        assert self.seconds is not None
        gpus = f"on {self.gpus} GPU{'' if self.gpus == 1 else 's'}" if self.gpus else ""
        told = f"{self.said}; ×{self.spread:g} either way"
        return f"  {self.step:<{width}} {duration(self.seconds):<9}  {gpus:<9}  {told}"

    def to_json(self) -> dict[str, Json]:
        return {
            "name": self.step,
            "seconds": None if self.seconds is None else round(self.seconds, 3),
            "low": None if self.seconds is None else round(self.low, 3),
            "high": None if self.seconds is None else round(self.high, 3),
            "spread": self.spread,
            "remote": self.remote,
            "gpus": self.gpus,
            "gpu_minutes": None if self.gpu_minutes is None else round(self.gpu_minutes, 3),
            "origin": self.origin,
            "scale": round(self.scale, 4),
            "said": self.said or None,
            "source": self.source or None,
            "since": self.since.to_json() if self.since else None,
        }


@dataclass(frozen=True)
class Estimate:
    """What is to be made. `price` in dollars per GPU-hour, None: not asked for."""

    steps: tuple[StepEstimate, ...]
    bytes_to_fetch: int | None
    price: float | None = None

    @property
    def unknown(self) -> tuple[str, ...]:
        """The steps whose time is not known."""
        return tuple(step.step for step in self.steps if step.seconds is None)

    @property
    def seconds(self) -> float:
        """Of the steps whose time is known, one after another."""
        return sum(step.seconds for step in self.steps if step.seconds is not None)

    @property
    def limits(self) -> tuple[float, float]:
        """Seconds at least and at most, of the steps whose time is known."""
        return sum(step.low for step in self.steps), sum(step.high for step in self.steps)

    @property
    def gpu_minutes(self) -> float:
        """Of the steps whose time is known."""
        return sum(step.gpu_minutes for step in self.steps if step.gpu_minutes is not None)

    @property
    def cost(self) -> float | None:
        """Dollars for the GPU minutes that are known."""
        return None if self.price is None else self.gpu_minutes / 60 * self.price

    @property
    def cost_limits(self) -> tuple[float, float] | None:
        """Dollars at least and at most, of the steps whose time is known."""
        if self.price is None:
            return None
        low = sum(step.low * step.gpus for step in self.steps)
        high = sum(step.high * step.gpus for step in self.steps)
        return low / 3600 * self.price, high / 3600 * self.price

    def lines(self, size: Callable[[int], str]) -> list[str]:
        """For people; none where all is here."""
        if not self.steps:
            return []
        known = [step for step in self.steps if step.seconds is not None]
        width = max(10, *(len(step.step) for step in self.steps))
        return [f"time       {self.time()}", *(step.line(width) for step in known), *self.sums(size)]

    def sums(self, size: Callable[[int], str]) -> Iterator[str]:
        """The bytes to fetch, and the price."""
        if self.bytes_to_fetch:
            yield f"to fetch   {size(self.bytes_to_fetch)}"
        if self.cost is not None and self.cost_limits is not None:
            low, high = self.cost_limits
            between = f" ({low:.2f} to {high:.2f} $)" if self.cost else ""
            minutes = f"{self.gpu_minutes:.1f} GPU minutes at {self.price:g} $/h"
            names = ", ".join(dict.fromkeys(self.unknown))
            more = f", and what is unknown: {names}" if names else ""
            yield f"cost       {self.cost:.2f} ${between} for {minutes}{more}"

    def time(self) -> str:
        """Of all steps one after another, as people say it, and which are unknown."""
        unknown = [f"unknown for {', '.join(dict.fromkeys(self.unknown))}"] if self.unknown else []
        if len(self.unknown) == len(self.steps):
            return unknown[0]
        about, low, high = map(duration, (self.seconds, *self.limits))
        between = "" if low == high == about else f", between {low} and {high}"
        return "; ".join([f"{about}{between}", *unknown])

    def to_json(self) -> dict[str, Json]:
        low, high = self.limits
        costs = self.cost_limits
        return {
            "seconds": round(self.seconds, 3),
            "seconds_between": [round(low, 3), round(high, 3)],
            "gpu_minutes": round(self.gpu_minutes, 3),
            "unknown": list(self.unknown),
            "bytes_to_fetch": self.bytes_to_fetch,
            "gpu_price": self.price,
            "cost": None if self.cost is None else round(self.cost, 4),
            "cost_between": None if costs is None else [round(cost, 4) for cost in costs],
            "steps": [step.to_json() for step in self.steps],
        }


def estimate(
    steps: Sequence[PlannedStep],
    works: Mapping[str, Work],
    past: Past,
    recipe: Recipe,
    bytes_to_fetch: int | None,
    price: float | None = None,
) -> Estimate:
    """Of every step that is not here: one that waits for another's output counts as if it is to be made.

    `works` by the names of steps; a step without one is known by records alone.
    """
    found = [
        _of(each, works.get(each.step.name), past, recipe)
        for each in steps
        if each.remote or each.status in ("miss", "unresolved")
    ]
    return Estimate(tuple(found), bytes_to_fetch, price)


def _of(planned: PlannedStep, work: Work | None, past: Past, recipe: Recipe) -> StepEstimate:
    gpus = 0 if planned.remote else gpus_of(planned, recipe)
    unknown = StepEstimate(planned.step.name, gpus, remote=planned.remote)
    times = [time for time in past.times(planned.step.name) if work is None or time.method == work.method]
    own = [time for time in times if time.since.subject == recipe.name]
    others = sorted(times, key=lambda time: time.size is None)  # those that can be scaled before the others
    if work is None:
        return _recorded(unknown, own[0], 1.0, "this recipe's record") if own else unknown
    model = modelled(work)
    if model.seconds and own:
        return _recorded(unknown, own[0], _scale(work, own[0]) or 1.0, "this recipe's record")
    if model.seconds and others:
        return _recorded(unknown, others[0], _scale(work, others[0]), "another recipe's record")
    return _modelled(unknown, model)


def _modelled(unknown: StepEstimate, found: Modelled) -> StepEstimate:
    known = found.figures
    return replace(
        unknown,
        seconds=found.seconds,
        origin="model",
        spread=found.spread,
        said=f"model: {known.said}",
        source=known.source,
    )


def _recorded(unknown: StepEstimate, time: Time, scale: float | None, origin: Origin) -> StepEstimate:
    """`scale` None: the record does not tell how large its work was."""
    alike = scale is not None and 1 / _ALIKE < scale < _ALIKE
    how = "same work" if alike else "size unknown" if scale is None else "scaled"
    factor = 1.0 if alike or scale is None else scale
    day = time.since.finished.partition("T")[0]
    whose = "this recipe's record" if origin == "this recipe's record" else f"{time.since.subject}'s record"
    more = {"same work": "", "scaled": f", scaled by {factor:.2g}", "size unknown": ", of unknown size"}[how]
    return replace(
        unknown,
        seconds=time.seconds * factor,
        since=time.since,
        origin=origin,
        spread=spreads()[how],
        scale=factor,
        said=f"{whose} of {day}{more}",
        source=f"the record {time.since}",
    )


def _scale(work: Work, time: Time) -> float | None:
    """By how much the work takes longer than the record's, as modelled; None where that is not known."""
    if not work.size:  # as long for every model
        return 1.0
    if time.size is None:
        return None
    parameters = round(work.parameters * time.size / work.size)
    tokens = work.tokens if time.tokens is None else time.tokens
    before = replace(work, size=time.size, parameters=parameters, tokens=tokens)
    return modelled(work).seconds / modelled(before).seconds


def gpus_of(planned: PlannedStep, recipe: Recipe) -> int:
    """The GPUs that a step keeps busy: the builder's for its commands, the server's where one is started."""
    action = planned.step.action
    if isinstance(action, RunCommands):
        need = action.execution.gpus
        return len(need.ids) or need.count
    if planned.step.name in _BUILT:
        return gpu_count(recipe)
    if planned.step.name in _SERVED and recipe.gpu is not None:
        return recipe.tensor_parallel_size * recipe.pipeline_parallel_size
    return 0

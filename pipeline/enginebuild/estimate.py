"""What a run would take: seconds and GPU minutes from the record's own history, bytes, and their price. Pure.

Nothing is made up: a step of which there is no record, or none with a time, is unknown.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

from enginebuild.errors import RecipeError
from enginebuild.plan import PlannedStep
from enginebuild.recipe import Recipe
from enginebuild.steps.commands import RunCommands
from enginebuild.why import Since
from enginebuild_cache import Json, Record

#: Steps that start the finished image's server.
_SERVED = ("warm", "verify")
_PRICE = re.compile(r"(?:\$|USD )?([0-9]+(?:\.[0-9]+)?)\$?(?:/(?:h|hour|gpu-hour))?\Z", re.IGNORECASE)


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


@dataclass(frozen=True, slots=True)
class StepEstimate:
    """A step that is to be made, on so many `gpus`. `seconds` as the record `since` took; None: unknown."""

    step: str
    gpus: int
    seconds: float | None = None
    since: Since | None = None

    @property
    def gpu_minutes(self) -> float | None:
        return None if self.seconds is None else self.seconds * self.gpus / 60

    def shown(self, recipe: str) -> str:
        """Its time, on how many GPUs, and whose time it is if another recipe's."""
        assert self.seconds is not None
        gpus = f" on {self.gpus} GPU{'' if self.gpus == 1 else 's'}" if self.gpus else ""
        told = f"{self.step} {duration(self.seconds)}{gpus}"
        if self.since is None or self.since.subject == recipe:
            return told
        return f"{told} (as for {self.since.subject})"

    def to_json(self) -> dict[str, Json]:
        return {
            "name": self.step,
            "seconds": self.seconds,
            "gpus": self.gpus,
            "gpu_minutes": None if self.gpu_minutes is None else round(self.gpu_minutes, 3),
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
        """Of the steps whose time is known."""
        return sum(step.seconds for step in self.steps if step.seconds is not None)

    @property
    def gpu_minutes(self) -> float:
        """Of the steps whose time is known."""
        return sum(step.gpu_minutes for step in self.steps if step.gpu_minutes is not None)

    @property
    def cost(self) -> float | None:
        """Dollars for the GPU minutes that are known."""
        return None if self.price is None else self.gpu_minutes / 60 * self.price

    def lines(self, recipe: str, size: Callable[[int], str]) -> list[str]:
        """For people; none where all is here. `recipe` is the one that is planned."""
        if not self.steps:
            return []
        known = [step.shown(recipe) for step in self.steps if step.seconds is not None]
        unknown = ", ".join(self.unknown)
        told = [", ".join(known)] if known else []
        found = [f"time       {'; '.join([*told, *([f'unknown for {unknown}'] if unknown else [])])}"]
        if self.bytes_to_fetch:
            found.append(f"to fetch   {size(self.bytes_to_fetch)}")
        if self.cost is not None:
            minutes = f"{self.gpu_minutes:.1f} GPU minutes at {self.price:g} $/h"
            more = f", and what is unknown: {unknown}" if unknown else ""
            found.append(f"cost       {self.cost:.2f} $ for {minutes}{more}")
        return found

    def to_json(self) -> dict[str, Json]:
        return {
            "seconds": round(self.seconds, 3),
            "gpu_minutes": round(self.gpu_minutes, 3),
            "unknown": list(self.unknown),
            "bytes_to_fetch": self.bytes_to_fetch,
            "gpu_price": self.price,
            "cost": None if self.cost is None else round(self.cost, 4),
            "steps": [step.to_json() for step in self.steps],
        }


def estimate(
    steps: Sequence[PlannedStep],
    records: Mapping[str, Record],
    recipe: Recipe,
    bytes_to_fetch: int | None,
    price: float | None = None,
) -> Estimate:
    """Of every step that is not here: one that waits for another's output counts as if it is to be made."""
    found = [_of(planned, records.get(planned.step.name), recipe) for planned in steps if _to_make(planned)]
    return Estimate(tuple(found), bytes_to_fetch, price)


def _to_make(planned: PlannedStep) -> bool:
    """Sending the image is no step that leaves a record: its bytes are told instead."""
    return planned.status in ("miss", "unresolved") and planned.step.name != "publish"


def _of(planned: PlannedStep, record: Record | None, recipe: Recipe) -> StepEstimate:
    seconds = None if record is None else record.provenance.get("seconds")
    gpus = gpus_of(planned, recipe)
    if record is None or not isinstance(seconds, int | float) or isinstance(seconds, bool):
        return StepEstimate(planned.step.name, gpus)
    return StepEstimate(planned.step.name, gpus, float(seconds), Since.of(record))


def gpus_of(planned: PlannedStep, recipe: Recipe) -> int:
    """The GPUs that a step keeps busy: the builder's for its commands, the server's where one is started."""
    action = planned.step.action
    if isinstance(action, RunCommands):
        need = action.execution.gpus
        return len(need.ids) or need.count
    if planned.step.name in _SERVED and recipe.gpu is not None:
        return recipe.tensor_parallel_size * recipe.pipeline_parallel_size
    return 0

"""What is made of a model before it is served: a quantized checkpoint, a converted one, an engine."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from enginebuild.execution import Runner
from enginebuild.lock import ModelLock
from enginebuild.recipe import Recipe
from enginebuild.resolve import Resolution, Unresolved, calibration_request, timing_cache_request
from enginebuild.sources import ModelRequest
from enginebuild.step import Step, unresolved_step
from enginebuild.steps.fetch import FETCH_VERSION, fetch_step
from enginebuild_cache import Json

CALIBRATION = "calibration"
TIMING_CACHE = "timing_cache"


@dataclass(frozen=True)
class Made:
    """The steps between `fetch` and `configure`; `checkpoint` is the step whose tree is served."""

    steps: tuple[Step, ...] = ()
    checkpoint: str = "fetch"

    def key_fields(self) -> dict[str, Json]:
        """What they add to the build's key: nothing where nothing is made."""
        if not self.steps:
            return {}
        return {"made": [step.description() for step in self.steps]}


def made_of(recipe: Recipe, resolution: Resolution, jobs: int, runner: Runner | None) -> Made:
    """The steps of a recipe that a command makes, and those that only bring what such a command reads."""
    given = [
        *_given(CALIBRATION, calibration_request(recipe), resolution.calibration, jobs),
        *_given(TIMING_CACHE, timing_cache_request(recipe), resolution.timing_cache, jobs),
    ]
    if recipe.engine.mode == "engine":
        from enginebuild.steps.engine import engine_steps

        return Made((*given, *engine_steps(recipe, resolution, runner)), "compile")
    if recipe.quantization is not None:
        from enginebuild.steps.quantize import quantize_step

        return Made((*given, quantize_step(recipe, resolution, runner)), "quantize")
    return Made()


def _given(
    name: str, request: ModelRequest | None, locked: ModelLock | Unresolved | None, jobs: int
) -> Sequence[Step]:
    if request is None or locked is None:
        return ()
    if isinstance(locked, Unresolved):
        return (unresolved_step(name, FETCH_VERSION, locked.reason),)
    return (fetch_step(request, locked, None, 0, jobs, name),)

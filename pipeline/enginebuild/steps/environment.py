"""In what a step's commands run, and with what of the builder: from a recipe and its lock."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path

from enginebuild.drivers import driver_floor
from enginebuild.execution import (
    ContainerEnvironment,
    Environment,
    Execution,
    GpuNeed,
    Limits,
    LocalEnvironment,
)
from enginebuild.lock import BuilderLock
from enginebuild.recipe import Recipe
from enginebuild.recipe.gpu import catalogue


def environment_of(builder: BuilderLock) -> Environment:
    """The image or the folder that a lock names."""
    if builder.digest is None:
        return LocalEnvironment(Path(builder.reference), builder.versions)
    return ContainerEnvironment(builder.reference, builder.digest, builder.platform)


def execution_of(
    recipe: Recipe,
    builder: BuilderLock,
    step: str,
    commands: Sequence[tuple[str, ...]],
    gpus: GpuNeed,
    variables: Mapping[str, str] | None = None,
) -> Execution:
    """A step's commands under the limits of the recipe's builder. None of them needs a network."""
    limits = Limits(recipe.builder.timeout, recipe.builder.memory, recipe.builder.shm_size)
    return Execution(step, environment_of(builder), tuple(commands), gpus, limits, variables or {})


def any_gpus(recipe: Recipe) -> GpuNeed:
    """The builder's GPUs, whatever they are, with a driver that the engine's own CUDA runs on."""
    wanted, floor = recipe.builder.gpus, _driver_floor(recipe)
    if isinstance(wanted, int):
        return GpuNeed(count=wanted, driver_floor=floor)
    return GpuNeed(ids=wanted, driver_floor=floor)


def target_gpus(recipe: Recipe) -> GpuNeed:
    """The builder's GPUs, which must be what the recipe is for: an engine loads on no other."""
    assert recipe.gpu is not None
    gpu, need = catalogue()[recipe.gpu], any_gpus(recipe)
    return replace(need, compute_capability=gpu.compute_capability, product=gpu.product)


def _driver_floor(recipe: Recipe) -> str | None:
    """None where it is not known: of other tools' environments, and of versions whose CUDA is not listed."""
    if recipe.engine.mode != "engine":
        return None
    from enginebuild.engines.tensorrt_llm.versions import release  # only engines need it

    known = release(recipe.engine.version)
    return driver_floor(known.cuda).lowest if known is not None else None


def gpu_count(recipe: Recipe) -> int:
    """How many GPUs the builder has for a step."""
    wanted = recipe.builder.gpus
    return wanted if isinstance(wanted, int) else len(wanted)

"""In what a step's commands run, and with what of the builder: from a recipe and its lock."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

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
    """The builder's GPUs, whatever they are."""
    wanted = recipe.builder.gpus
    return GpuNeed(count=wanted) if isinstance(wanted, int) else GpuNeed(ids=wanted)


def target_gpus(recipe: Recipe) -> GpuNeed:
    """The builder's GPUs, which must be what the recipe is for: an engine loads on no other."""
    assert recipe.gpu is not None
    gpu, need = catalogue()[recipe.gpu], any_gpus(recipe)
    return GpuNeed(need.count, need.ids, gpu.compute_capability, gpu.product)


def gpu_count(recipe: Recipe) -> int:
    """How many GPUs the builder has for a step."""
    wanted = recipe.builder.gpus
    return wanted if isinstance(wanted, int) else len(wanted)

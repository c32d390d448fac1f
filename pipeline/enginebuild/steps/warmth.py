"""What a compile cache is made on: the machine's hardware, as far as it decides the cache."""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass, field, replace

from enginebuild.engines.vllm import warm
from enginebuild.engines.vllm.scripts import start_warm
from enginebuild.execution import GpuNeed
from enginebuild.lock import BaseLock
from enginebuild.recipe import Recipe
from enginebuild.recipe.gpu import catalogue
from enginebuild.runners.machine import choose, this_machine
from enginebuild.steps.vllm_serving import vllm_settings
from enginebuild.steps.warm_start import NAME
from enginebuild_cache import Json


@dataclass(frozen=True)
class Warmth:
    """What is known beforehand of a recipe's warm image. `trouble` says why `hardware` is not known.

    `paths`: where the step's output stands in the image.
    """

    need: GpuNeed
    hardware: warm.Hardware | None
    trouble: str = ""
    version: int = warm.WARM_VERSION
    paths: Mapping[str, str] = field(default_factory=lambda: {NAME: warm.SEED})

    def key_fields(self, recipe: Recipe, base: BaseLock) -> dict[str, Json]:
        """What decides the cache beside the model's configuration; part of the build's key."""
        assert self.hardware is not None
        settings = vllm_settings(recipe, "")
        name = str(base.digest) if base.digest else base.reference
        return warm.key_fields(settings, name, base.platform, self.hardware)


def warmth_of(recipe: Recipe) -> Warmth:
    """Look at this machine, whose hardware is in the key."""
    need = _need(recipe)
    if not _engine_is_here():
        where = "the Docker Engine that DOCKER_HOST names is on another machine"
        return Warmth(need, None, f"{where}, and a cache is made for one machine's hardware")
    if not need.wanted:
        return Warmth(need, warm.Hardware("cpu", start_warm.this_cpu()))
    choice = choose(need, NAME, this_machine())
    if choice.lacking:
        return Warmth(need, None, "; ".join(choice.lacking))
    first = choice.gpus[0]
    name = start_warm.gpu(first.name, first.compute_capability)
    return Warmth(need, warm.Hardware("gpu", name, first.driver.partition(".")[0]))


def _engine_is_here() -> bool:
    """By DOCKER_HOST alone: a plan does not need the SDK."""
    return (os.environ.get("DOCKER_HOST") or "unix://").startswith("unix://")


def _need(recipe: Recipe) -> GpuNeed:
    """The GPUs of the recipe, one for each rank; none where it names no GPU."""
    if recipe.gpu is None:
        return GpuNeed()
    gpu, ids = catalogue()[recipe.gpu], recipe.builder.gpus
    need = GpuNeed(compute_capability=gpu.compute_capability, product=gpu.product)
    if isinstance(ids, tuple):
        return replace(need, ids=ids)
    return replace(need, count=recipe.tensor_parallel_size * recipe.pipeline_parallel_size)

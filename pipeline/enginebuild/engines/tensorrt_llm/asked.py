"""What a recipe asks of TensorRT-LLM, as far as its fields are sound."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from enginebuild.engines.tensorrt_llm.versions import Mode, Release
from enginebuild.recipe.gpu import Gpu
from enginebuild_cache import Json

#: The fields of a recipe that were read without a mistake, defaults filled in.
Values = Mapping[str, Json]


def mapping(values: Values, key: str) -> Values:
    inner = values.get(key)
    return inner if isinstance(inner, dict) else {}


@dataclass(frozen=True, slots=True)
class Asked:
    """`server` None: mistaken, or the image has none. `gpu` None: mistaken, or not named."""

    release: Release
    mode: Mode
    server: str | None
    gpu: Gpu | None
    values: Values

    @property
    def engine(self) -> Values:
        return mapping(self.values, "engine")

    @property
    def build(self) -> Values:
        return mapping(self.engine, "build")

    @property
    def runtime(self) -> Values:
        return mapping(self.engine, "runtime")

    @property
    def compute_capability(self) -> str | None:
        return self.gpu.compute_capability if self.gpu else None

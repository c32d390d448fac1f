"""What vLLM refuses on a GPU, known by its compute capability alone."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping

from enginebuild.errors import Problem
from enginebuild.recipe.gpu import Gpu, catalogue
from enginebuild.recipe.references import vllm_version
from enginebuild_cache import Json

#: Compute capabilities that vllm/vllm-openai has kernels for: of 0.32.0 and 0.33.0, with CUDA 13, which has
#: left Volta behind.
_LEAST = 7.5
#: From here on bfloat16 exists (platforms/cuda.py, check_if_supports_dtype).
_BFLOAT16 = 8.0
#: Below, FlashInfer and FlashAttention are no choice, and Triton's kernels read FP8 from 8.9 on alone
#: (v1/attention/backends/triton_attn.py).
_FP8_CACHE = 8.0
_FP8 = re.compile(r"fp8(_e4m3)?\Z")


def hardware_problems(values: Mapping[str, Json]) -> Iterator[Problem]:
    """`values` are the sound fields of a recipe for vLLM. Facts: vLLM 0.33.0's source."""
    gpu = catalogue().get(str(values.get("gpu")))
    if gpu is None:
        return
    capability = float(gpu.compute_capability)
    image = values.get("image")
    base = str(image.get("base")) if isinstance(image, dict) else ""
    if capability < _LEAST and vllm_version(base):
        message = f"vLLM's images have no kernels for {_named(gpu)}: they begin with {_LEAST}"
        yield Problem(("gpu",), message, f"write {_next(gpu)}, or an image.base built for it")
    if capability < _BFLOAT16 and values.get("dtype") == "bfloat16":
        message = f"dtype bfloat16 does not run on {_named(gpu)}: it needs {_BFLOAT16}"
        yield Problem(("dtype",), message, "write float16")
    yield from _cache_problems(gpu, capability, values)


def _cache_problems(gpu: Gpu, capability: float, values: Mapping[str, Json]) -> Iterator[Problem]:
    engine = values.get("engine")
    args = engine.get("args") if isinstance(engine, dict) else None
    dtype = args.get("kv_cache_dtype") if isinstance(args, dict) else None
    if isinstance(dtype, str) and _FP8.match(dtype) and capability < _FP8_CACHE:
        message = f"a KV cache of {dtype} does not run on {_named(gpu)}: it needs {_FP8_CACHE}"
        yield Problem(("engine", "args", "kv_cache_dtype"), message, "write auto")


def _named(gpu: Gpu) -> str:
    return f"{gpu.name} (compute capability {gpu.compute_capability})"


def _next(gpu: Gpu) -> str:
    """The next GPU that has kernels, with as much memory or more."""
    found = [
        each
        for each in catalogue().values()
        if float(each.compute_capability) >= _LEAST and each.memory_gb >= gpu.memory_gb
    ]
    return min(found, key=lambda each: each.distance(gpu)).name

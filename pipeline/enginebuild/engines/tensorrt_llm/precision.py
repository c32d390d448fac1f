"""Whether what a recipe computes in can be made by its version and run on its GPU."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

from enginebuild.engines.tensorrt_llm import quantizations
from enginebuild.engines.tensorrt_llm.quantize import QFORMATS
from enginebuild.engines.tensorrt_llm.table import options
from enginebuild.engines.tensorrt_llm.versions import Mode, Release, releases, spans
from enginebuild.engines.words import listed
from enginebuild.errors import Problem
from enginebuild.recipe.gpu import Gpu, catalogue
from enginebuild_cache import Json

_METHOD = ("quantization", "method")
_KV = ("quantization", "kv_cache_dtype")
_YAML_KV = ("engine", "runtime", "kv_cache_config", "dtype")

#: What kv_cache_config.dtype may be in pytorch mode; auto is the checkpoint's (1.3.0rc3).
_YAML_KV_DTYPES = ("auto", "fp8", "nvfp4")


def quantization_problems(
    release: Release, mode: Mode, gpu: Gpu | None, values: Mapping[str, Json]
) -> Iterator[Problem]:
    """Method, KV cache and dtype against version, mode and GPU; the gravest of each alone."""
    if gpu and (reason := quantizations.gpu_reason(gpu.compute_capability, release.version)):
        message = f"TensorRT-LLM {release.version} does not run on {_named(gpu)}: {reason}"
        yield Problem(("gpu",), message, quantizations.gpu_hint(gpu.compute_capability) + _next(gpu, release))
        return
    yield from _dtype_problems(gpu, values)
    said = values.get("quantization")
    quantization = said if isinstance(said, dict) else {}
    method, kv_cache = quantization.get("method"), quantization.get("kv_cache_dtype")
    if isinstance(method, str) and method in quantizations.methods(mode):
        yield from _method_problems(release, mode, gpu, method)
    if isinstance(kv_cache, str):
        yield from _kv_problems(release, mode, gpu, kv_cache)
    if mode == "pytorch":
        yield from _yaml_kv_problems(release, gpu, kv_cache, values)


def _next(gpu: Gpu, release: Release) -> str:
    """The next GPU that the version knows, with as much memory or more; nothing where there is none."""
    known = [
        each
        for each in catalogue().values()
        if each.memory_gb >= gpu.memory_gb
        and quantizations.gpu_reason(each.compute_capability, release.version) is None
    ]
    return f"; or write gpu: {min(known, key=lambda each: each.distance(gpu)).name}" if known else ""


def _named(gpu: Gpu) -> str:
    return f"{gpu.name} (compute capability {gpu.compute_capability})"


def _dtype_problems(gpu: Gpu | None, values: Mapping[str, Json]) -> Iterator[Problem]:
    if gpu and float(gpu.compute_capability) < 8 and values.get("dtype") == "bfloat16":
        message = f"dtype bfloat16 does not run on {_named(gpu)}: it needs compute capability 8.0 or more"
        yield Problem(("dtype",), message, "write float16")


def _method_problems(release: Release, mode: Mode, gpu: Gpu | None, method: str) -> Iterator[Problem]:
    capability = gpu.compute_capability if gpu else None
    if reason := quantizations.weights_reason(method, mode, capability, release.version):
        where = f" on {_named(gpu)}" if gpu else ""
        message = f"quantization {method} does not run in mode {mode}{where}: {reason}"
        yield Problem(_METHOD, message, _instead(release, mode, capability))
    elif mode == "engine" and not _made(release.version, method):
        message = f"quantize.py of TensorRT-LLM {release.version} is not known to make {method}"
        makers = [v for v, known in releases().items() if "engine" in known.modes and _made(v, method)]
        yield Problem(_METHOD, message, f"TensorRT-LLM {spans(makers)} have one that does")


def _instead(release: Release, mode: Mode, capability: str | None) -> str:
    found = [
        method
        for method in quantizations.methods(mode)
        if quantizations.weights_reason(method, mode, capability, release.version) is None
        and (mode == "pytorch" or _made(release.version, method))
    ]
    return f"there {'are' if len(found) > 1 else 'is'} {listed(found)}" if found else "write none"


def _made(version: str, method: str) -> bool:
    """Whether engine mode gets there: by quantize.py, or from a model that GPTQ has quantized already."""
    if method == "w4a16_gptq":
        return True
    return QFORMATS.get(method) in options(version, "quantize")["qformat"].choices


def _kv_problems(release: Release, mode: Mode, gpu: Gpu | None, dtype: str) -> Iterator[Problem]:
    capability = gpu.compute_capability if gpu else None
    if reason := quantizations.kv_cache_reason(dtype, mode, capability, release.version):
        where = f" on {_named(gpu)}" if gpu else ""
        message = f"a KV cache of {dtype} does not run in mode {mode}{where}: {reason}"
        yield Problem(_KV, message, _kv_instead(release, mode, capability))


def _kv_instead(release: Release, mode: Mode, capability: str | None) -> str:
    dtypes = ("fp8", "int8", "nvfp4")
    found = [d for d in dtypes if not quantizations.kv_cache_reason(d, mode, capability, release.version)]
    return f"remove the line{f', or write {listed(found)}' if found else ''}"


def _yaml_kv_problems(
    release: Release, gpu: Gpu | None, kv_cache: Json, values: Mapping[str, Json]
) -> Iterator[Problem]:
    """kv_cache_config.dtype of the YAML, which can quantize the KV cache without the checkpoint's help."""
    dtype: Json = dict(values)
    for step in _YAML_KV:
        dtype = dtype.get(step) if isinstance(dtype, dict) else None
    if not isinstance(dtype, str) or dtype == "auto":
        return
    if dtype not in _YAML_KV_DTYPES:
        message = f"kv_cache_config.dtype is not known to be {dtype!r}"
        yield Problem(_YAML_KV, message, f"one of: {listed(_YAML_KV_DTYPES)}")
    elif isinstance(kv_cache, str) and dtype != kv_cache:
        message = f"kv_cache_config.dtype is {dtype}, and quantization.kv_cache_dtype is {kv_cache}"
        yield Problem(_YAML_KV, message, "remove one of the two")
    elif gpu and kv_cache is None:
        capability = gpu.compute_capability
        if reason := quantizations.kv_cache_reason(dtype, "pytorch", capability, release.version):
            message = f"a KV cache of {dtype} does not run in mode pytorch on {_named(gpu)}: {reason}"
            yield Problem(_YAML_KV, message, _kv_instead(release, "pytorch", capability))

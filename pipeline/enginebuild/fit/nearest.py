"""The nearest changes of a recipe that work, found by trying them."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace

from enginebuild.fit.finding import Change, Finding
from enginebuild.fit.serving import Serving
from enginebuild.models import ModelFacts
from enginebuild.models.quantized import of_method
from enginebuild.recipe.checks import Check
from enginebuild.recipe.gpu import Gpu, catalogue
from enginebuild.recipe.methods import GROUP_SIZE, METHODS, SUPPORTED, default_tool
from enginebuild_cache import Json

TENSOR = (1, 2, 4, 8)
PIPELINE = (1, 2, 4)
LENGTHS = tuple(1 << power for power in range(20, 9, -1))
SHARE = 0.95
#: Compute capability from which both engines have kernels for a KV cache in FP8.
_FP8 = 8.9
MOST = 3


@dataclass(frozen=True, slots=True)
class Attempt:
    """A changed recipe. `gpu` None: none is named."""

    serving: Serving
    gpu: Gpu | None
    values: tuple[tuple[str, Json], ...] = ()

    def with_value(self, name: str, value: Json, serving: Serving) -> Attempt:
        path = ".".join(self.serving.where(name))
        return Attempt(serving, self.gpu, (*self.values, (path, value)))


#: One way of changing a recipe: attempts, the nearest first.
Way = Callable[[Attempt], Iterator[Attempt]]

#: Whether an attempt is right, or as right as can be.
Works = Callable[[Attempt], bool]


def nearest(
    finding: Finding, now: Attempt, facts: ModelFacts, version: str, works: Sequence[Works]
) -> Finding:
    """The finding with the changes that were found to work: one of each kind, else two kinds together.

    Of `works` the first that anything satisfies counts. `version` is the engine's.
    """
    if finding.changes:
        return finding
    ways = _ways(finding.check, now, facts, version)
    for suffices in works:
        found = [attempt for way in ways if (attempt := _first(way(now), suffices)) is not None]
        found = found or [each for each in (_first(_both(now, ways), suffices),) if each is not None]
        if found:
            return replace(finding, changes=tuple(Change(attempt.values) for attempt in found[:MOST]))
    return finding


def _first(attempts: Iterator[Attempt], works: Works) -> Attempt | None:
    return next((attempt for attempt in attempts if works(attempt)), None)


def _both(now: Attempt, ways: Sequence[Way]) -> Iterator[Attempt]:
    for index, way in enumerate(ways):
        for other in ways[index + 1 :]:
            for attempt in way(now):
                yield from other(attempt)


def _ways(check: Check, now: Attempt, facts: ModelFacts, version: str) -> Sequence[Way]:
    def quantize(attempt: Attempt) -> Iterator[Attempt]:
        return _quantize(attempt, facts, version)

    if check == "memory":
        return (_more_gpus, quantize, _larger_gpu, _share)
    if check == "kv_cache":
        return (_shorter, _more_gpus, _small_cache, quantize, _share, _larger_gpu)
    if check in ("attention_heads", "widths", "quantization_groups", "experts"):
        return (_whole_experts, _other_tensor, _fewer_experts)
    return (_fewer_stages,) if check == "layers" else ()


def _more_gpus(now: Attempt) -> Iterator[Attempt]:
    """More tensor parallelism, and where that does not divide, stages as well."""
    for pipeline in PIPELINE:
        for tensor in TENSOR:
            serving = now.serving
            if tensor < serving.tensor or pipeline < serving.pipeline:
                continue
            if tensor * pipeline > serving.tensor * serving.pipeline:
                yield _parallel(now, tensor, pipeline)


def _parallel(now: Attempt, tensor: int, pipeline: int) -> Attempt:
    attempt, serving = now, now.serving
    if tensor != serving.tensor:
        groups = tensor * serving.replicas if _by_switch(serving) else serving.expert_parallel
        changed = replace(attempt.serving, tensor=tensor, expert_parallel=groups)
        attempt = attempt.with_value("tensor", tensor, changed)
    if pipeline != serving.pipeline:
        attempt = attempt.with_value("pipeline", pipeline, replace(attempt.serving, pipeline=pipeline))
    return attempt


def _by_switch(serving: Serving) -> bool:
    """vLLM's expert parallelism follows the other sizes."""
    return serving.target == "vllm" and serving.expert_parallel > 1


def _other_tensor(now: Attempt) -> Iterator[Attempt]:
    """The sizes next to the one that does not divide, first with as many GPUs."""
    gpus = now.serving.tensor * now.serving.pipeline
    pairs = [(tensor, pipeline) for tensor in (1, 2, 3, 4, 5, 6, 7, 8) for pipeline in PIPELINE]
    pairs = [pair for pair in pairs if pair != (now.serving.tensor, now.serving.pipeline)]

    def distance(pair: tuple[int, int]) -> tuple[bool, bool, int, int]:
        tensor, pipeline = pair
        return pipeline != now.serving.pipeline, tensor not in TENSOR, abs(tensor * pipeline - gpus), -tensor

    for tensor, pipeline in sorted(pairs, key=distance):
        yield _parallel(now, tensor, pipeline)


def _quantize(now: Attempt, facts: ModelFacts, version: str) -> Iterator[Attempt]:
    """Methods that need no texts, eight bits first; nothing for a model that is quantized already."""
    serving = now.serving
    if serving.quantization is not None or facts.quantized:
        return
    made = SUPPORTED[serving.target][default_tool(serving.target)].methods
    for name in ("fp8_per_channel_per_token", "w8a16", "w4a16"):
        method = METHODS[name]
        if name in made and not method.needs_texts(serving.target) and _runs(name, now, version):
            quantized = of_method(name, GROUP_SIZE if method.groups else None)
            yield now.with_value("quantization", name, replace(serving, quantization=quantized))


def _runs(method: str, now: Attempt, version: str) -> bool:
    """Whether the GPU runs it, by the engines' own tables."""
    capability = now.gpu.compute_capability if now.gpu else None
    if now.serving.target == "vllm":
        return method != "w8a16" and (capability is None or float(capability) >= 7.5)
    from enginebuild.engines.tensorrt_llm.quantizations import weights_reason

    return weights_reason(method, now.serving.target, capability, version) is None


def _larger_gpu(now: Attempt) -> Iterator[Attempt]:
    """GPUs with more memory that are not older, the smallest first."""
    gpu = now.gpu
    if gpu is None:
        return
    capability = float(gpu.compute_capability)
    for other in sorted(catalogue().values(), key=lambda each: each.memory_gb):
        if other.memory_gb > gpu.memory_gb and float(other.compute_capability) >= capability:
            yield Attempt(now.serving, other, (*now.values, ("gpu", other.name)))


def _shorter(now: Attempt) -> Iterator[Attempt]:
    asked = now.serving.length
    for length in LENGTHS:
        if asked is None or length < asked:
            yield now.with_value("length", length, replace(now.serving, length=length))


def _small_cache(now: Attempt) -> Iterator[Attempt]:
    """An FP8 KV cache. TensorRT-LLM's is made together with a quantization."""
    capability = float(now.gpu.compute_capability) if now.gpu else 0.0
    if now.serving.kv_dtype is None and now.serving.target == "vllm" and capability >= _FP8:
        yield now.with_value("kv_dtype", "fp8", replace(now.serving, kv_dtype="fp8"))


def _share(now: Attempt) -> Iterator[Attempt]:
    if now.serving.share < SHARE and now.serving.target == "vllm":
        yield now.with_value("share", SHARE, replace(now.serving, share=SHARE))


def _whole_experts(now: Attempt) -> Iterator[Attempt]:
    """Experts that are dealt out whole need not divide."""
    serving = now.serving
    if serving.expert_parallel > 1 or serving.target == "engine":
        return
    value: Json = True if serving.target == "vllm" else serving.tensor
    changed = replace(serving, expert_parallel=serving.expert_ranks)
    yield now.with_value("experts", value, changed)


def _fewer_experts(now: Attempt) -> Iterator[Attempt]:
    serving = now.serving
    if serving.target == "pytorch":
        for groups in (8, 4, 2, 1):
            if groups != serving.expert_parallel:
                yield now.with_value("experts", groups, replace(serving, expert_parallel=groups))


def _fewer_stages(now: Attempt) -> Iterator[Attempt]:
    for pipeline in reversed(PIPELINE):
        if pipeline < now.serving.pipeline:
            yield _parallel(now, now.serving.tensor, pipeline)

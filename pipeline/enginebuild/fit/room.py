"""Whether weights, KV cache and all that runs fit one GPU, and sequences the model."""

from __future__ import annotations

from collections.abc import Iterator

from enginebuild.fit.finding import Change, Finding
from enginebuild.fit.memory import GIB, Memory
from enginebuild.fit.serving import Serving
from enginebuild.models.shape import Shape
from enginebuild.recipe.gpu import Gpu


def gib(count: float) -> str:
    return f"{count / GIB:.1f} GiB"


def lengths(shape: Shape, serving: Serving) -> Iterator[Finding]:
    """vLLM refuses more than the model's positions when it starts, or than model_max_length where that is
    more (0.33.0, config/model.py, _get_and_verify_max_len); TensorRT-LLM says a word and goes on.
    """
    longest = shape.scaled_positions
    if serving.target == "vllm" and longest is not None:
        longest = max(longest, shape.longest or 0)
    if longest is None or serving.length is None or serving.length <= longest or serving.overridden:
        return
    path = serving.where("length")
    message = f"{path[-1]} {serving.length} is more than the {longest} positions of the model"
    change = Change(((".".join(path), longest),))
    yield Finding("length", path, message, (change,), refused=serving.target == "vllm")


def room(memory: Memory, serving: Serving, gpu: Gpu) -> Iterator[Finding]:
    """What does not fit even with the least of the estimates is refused, what likely does not a warning."""
    if memory.cache.low <= 0 or _beyond(memory, serving, likely=False):
        yield Finding("memory", serving.where("gpu"), _too_much(memory, serving, gpu, likely=False))
    elif memory.sequence > memory.cache.low and not serving.fitted:
        yield Finding("kv_cache", serving.where("length"), _too_long(memory, serving, gpu, likely=False))
    elif memory.cache.likely <= 0 or _beyond(memory, serving, likely=True):
        message = _too_much(memory, serving, gpu, likely=True)
        yield Finding("memory", serving.where("gpu"), message, refused=False)
    elif memory.sequence > memory.cache.likely and not serving.fitted:
        message = _too_long(memory, serving, gpu, likely=True)
        yield Finding("kv_cache", serving.where("length"), message, refused=False)


def _beyond(memory: Memory, serving: Serving, *, likely: bool) -> bool:
    """A KV cache of a given size is taken whatever is left."""
    if serving.kv_bytes is None:
        return False
    return memory.weights + _beside(memory, likely=likely) + serving.kv_bytes > memory.usable


def _beside(memory: Memory, *, likely: bool) -> float:
    needs = memory.activations + memory.overhead
    return needs.likely if likely else needs.low


def _too_much(memory: Memory, serving: Serving, gpu: Gpu, *, likely: bool) -> str:
    granted = f"{gpu.name} has {gib(memory.usable)}"
    if serving.target == "vllm" and serving.kv_bytes is None:
        granted += f", {gib(memory.granted)} of it at gpu_memory_utilization {serving.share:g}"
    fixed = "" if serving.kv_bytes is None else f", {gib(serving.kv_bytes)} for the KV cache"
    word = "probably" if likely else "at least"
    return (
        f"each GPU needs {gib(memory.weights)} for weights{fixed} and {word} "
        f"{gib(_beside(memory, likely=likely))} to run them; {granted}"
    )


def _too_long(memory: Memory, serving: Serving, gpu: Gpu, *, likely: bool) -> str:
    whose = "" if serving.length is not None else ", the model's own length,"
    left = f"probably {gib(memory.cache.likely)}" if likely else f"at most {gib(memory.cache.low)}"
    return (
        f"one sequence of {memory.length} tokens{whose} takes {gib(memory.sequence)} of KV cache on each "
        f"GPU; {left} are left beside {gib(memory.weights)} of weights on {gpu.name}"
    )


def gpu_count(serving: Serving, gpu: Gpu) -> Iterator[Finding]:
    """More GPUs than a machine has may be right, with a cluster around the image."""
    most = max(8, gpu.joined)
    if serving.gpus > most:
        message = f"the recipe needs {serving.gpus} GPUs, and a machine with {gpu.name} has {most} at most"
        hint = "the image then runs on several machines together, which is not enginebuild's part"
        yield Finding("gpu_count", serving.where("tensor"), message, hint=hint, refused=False)

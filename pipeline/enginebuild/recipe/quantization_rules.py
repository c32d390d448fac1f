"""Rules between a quantization's keys, and between it and the engine that serves the result."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass

from enginebuild.errors import Problem
from enginebuild.recipe.engine_rules import section, text, written
from enginebuild.recipe.forms import DATASET_EXAMPLE
from enginebuild.recipe.kinds import Path, any_of
from enginebuild.recipe.methods import (
    KV_CACHE_EITHER,
    METHODS,
    READERS,
    SUPPORTED,
    Method,
    Target,
    default_tool,
    target,
)
from enginebuild.recipe.modes import mode_of
from enginebuild.recipe.node import MappingNode
from enginebuild_cache import Json

_CALIBRATION = f"calibration: {{dataset: {DATASET_EXAMPLE}}}"


@dataclass(frozen=True)
class _Wanted:
    """A quantization as read: `values` have what is sound, `short` is whether it was written as one text."""

    method: Method
    values: Mapping[str, Json]
    short: bool

    def path(self, key: str) -> Path:
        """Where a mistake of a key is shown."""
        return ("quantization",) if self.short else ("quantization", key)


def quantization_problems(values: Mapping[str, Json], root: MappingNode) -> Iterator[Problem]:
    """`values` holds the sound fields; `root` tells what was written."""
    quantization = section(values, "quantization")
    method = METHODS.get(text(quantization.get("method")))
    if method is None:
        return
    wanted = _Wanted(method, quantization, short=not written(root, "quantization"))
    served = _target(section(values, "engine"))
    yield from _groups(wanted, served)
    yield from _calibration(wanted, served)
    if served is not None and "tool" in quantization:
        tool = text(quantization["tool"]) or default_tool(served)
        yield from _tool(wanted, tool, served)
    if served == "vllm":
        yield from _twice(section(values, "engine"))


def _target(engine: Mapping[str, Json]) -> Target | None:
    if engine.get("type") == "vllm":
        return "vllm"
    known = engine.get("type") == "tensorrt_llm" and {"version", "mode", "build"} <= set(engine)
    return target("tensorrt_llm", mode_of(engine)) if known else None


def _groups(wanted: _Wanted, served: Target | None) -> Iterator[Problem]:
    method = wanted.method
    if wanted.values.get("group_size") is None:
        return
    if not method.groups:
        message = f"quantization.group_size means nothing for {method.name}, which has no groups to choose"
        yield Problem(("quantization", "group_size"), message, "delete it", on_key=True)
    elif served in method.by_channel:
        message = (
            f"quantization.group_size means nothing for {method.name} in mode {served}, which has one scale "
            "per channel"
        )
        hint = f"delete it, or write method: {method.name}_awq, whose groups can be chosen"
        yield Problem(("quantization", "group_size"), message, hint, on_key=True)


def _calibration(wanted: _Wanted, served: Target | None) -> Iterator[Problem]:
    if "calibration" not in wanted.values or "kv_cache_dtype" not in wanted.values:
        return
    method, cache, given = wanted.method, wanted.values["kv_cache_dtype"], wanted.values["calibration"]
    tool = text(wanted.values.get("tool")) or (default_tool(served) if served else "")
    if tool in method.either:
        return
    needed = method.needs_texts(served)
    if given is None and (needed or (cache is not None and tool not in KV_CACHE_EITHER)):
        key, what = ("method", method.name) if needed else ("kv_cache_dtype", text(cache))
        hint = f"add {_CALIBRATION}"
        if wanted.short:
            hint = f"write quantization: {{method: {method.name}, {_CALIBRATION}}}"
        if method.name == "fp8" and served == "vllm":
            hint += ", or fp8_per_channel_per_token, which needs none"
        yield Problem(wanted.path(key), f"quantization {key} {what} needs texts to calibrate with", hint)
    elif given is not None and not needed and cache is None:
        message = f"quantization.calibration means nothing for {method.name}: {method.why_not}"
        yield Problem(("quantization", "calibration"), message, "delete it", on_key=True)


def _tool(wanted: _Wanted, tool: str, served: Target) -> Iterator[Problem]:
    tools = SUPPORTED[served]
    reader = READERS[served]
    if tool not in tools:
        kind = "checkpoints for trtllm-build" if tool == "quantize.py" else "Hugging Face checkpoints"
        message = f"quantization.tool {tool} writes {kind}, and {reader} does not read them"
        yield Problem(("quantization", "tool"), message, f"write {any_of(tuple(tools))}")
        return
    made = tools[tool]
    name, cache = wanted.method.name, wanted.values.get("kv_cache_dtype")
    if name not in made.methods:
        message = f"{reader} does not take {name} as {tool} makes it"
        others = [each for each in tools if name in tools[each].methods]
        hint = (
            f"write tool: {any_of(others)}" if others else f"with {tool} it takes {', '.join(made.methods)}"
        )
        yield Problem(wanted.path("method"), message, hint)
    if cache is not None and cache not in made.kv_cache_dtypes:
        message = f"{reader} does not take a KV cache in {cache} as {tool} makes it"
        hint = f"write {any_of(made.kv_cache_dtypes)}, or leave it out"
        yield Problem(("quantization", "kv_cache_dtype"), message, hint)
    if tool == "quantize.py" and wanted.values.get("exclude_modules") is not None:
        message = "quantization.exclude_modules means nothing for quantize.py, which has no such option"
        yield Problem(("quantization", "exclude_modules"), message, "delete it", on_key=True)


def _twice(engine: Mapping[str, Json]) -> Iterator[Problem]:
    if "quantization" in section(engine, "args"):
        message = (
            "engine.args.quantization quantizes while loading what the recipe's quantization has quantized"
        )
        hint = "delete it: vLLM reads the scheme from the checkpoint; or write quantization: none"
        yield Problem(("engine", "args", "quantization"), message, hint, on_key=True)

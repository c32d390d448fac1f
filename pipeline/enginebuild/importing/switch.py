"""A recipe for the other engine: all that has a counterpart is carried, the rest is listed."""

from __future__ import annotations

import copy
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Literal

from enginebuild.check import read_checked
from enginebuild.engines.tensorrt_llm.versions import STABLE, Mode, check_version, release, release_image
from enginebuild.engines.vllm.check import check_version as check_vllm
from enginebuild.engines.vllm.table import VERSIONS
from enginebuild.importing.counterparts import Pair, alone, pairs
from enginebuild.importing.draft import Draft, no_command
from enginebuild.importing.draft import Path as Place
from enginebuild.recipe import Recipe
from enginebuild.recipe.methods import Target, default_tool, target
from enginebuild.recipe.node import to_json
from enginebuild_cache import Json

EngineType = Literal["vllm", "tensorrt_llm"]
_NAMES: Mapping[str, str] = {"vllm": "vLLM", "tensorrt_llm": "TensorRT-LLM"}
#: Of TensorRT-LLM's settings, those that say what vLLM does anyway, or what only its build needs.
_BUILD = "build"


def switch(path: Path, engine: EngineType, version: str | None = None, mode: Mode = "pytorch") -> Draft:
    """The draft of a recipe for `engine`. Raises RecipeError for a mistaken one, and one that is for it."""
    recipe = read_checked(path)
    if recipe.engine.type == engine:
        raise no_command([f"its engine is {_NAMES[engine]} already"], f"{path} cannot be switched")
    values = to_json(recipe.root)
    if not isinstance(values, dict):
        raise TypeError("a recipe is a mapping")
    draft = Draft(f"a recipe for {_NAMES[recipe.engine.type]}")
    kept = {name: copy.deepcopy(value) for name, value in values.items() if name != "engine"}
    draft.values |= kept
    if engine == "tensorrt_llm":
        _to_trtllm(draft, recipe, _known(engine, version), mode)
    else:
        _to_vllm(draft, recipe, _known(engine, version))
    _tags(draft, recipe.engine.type)
    _tool(draft, recipe, target(engine, mode))
    return draft


def _tool(draft: Draft, recipe: Recipe, there: Target) -> None:
    """Another tool by default makes other bytes: nothing is shared between the two recipes."""
    said = draft.get(("quantization",))
    if recipe.quantization is None or (isinstance(said, dict) and said.get("tool")):
        return
    here = recipe.quantization.tool
    if here != default_tool(there):
        text = (
            f"By {default_tool(there)}, the default here; the recipe it is made from has it done by {here}."
        )
        draft.remark(("quantization",), text)


def _known(engine: EngineType, version: str | None) -> str:
    newest = STABLE if engine == "tensorrt_llm" else VERSIONS[-1]
    check = check_version if engine == "tensorrt_llm" else check_vllm
    if version is not None and (problem := check(version)):
        raise no_command([f"{problem.message}; {problem.hint}"], "--version cannot be used")
    return version or newest


def _to_trtllm(draft: Draft, recipe: Recipe, version: str, mode: Mode) -> None:
    known = release(version)
    if known is None or mode not in known.modes:
        raise no_command([f"TensorRT-LLM {version} has no mode {mode}"], "--version cannot be used")
    draft.put(("engine",), {"type": "tensorrt_llm", "version": version, "mode": mode})
    _base(draft, release_image(version))
    rest = copy.deepcopy(dict(recipe.engine.args))
    for pair in pairs():
        place = pair.places.get(mode)
        value = _take(rest, pair.vllm)
        if value is None:
            continue
        there = pair.forward(value) if place else None
        if place is None or there is None:
            _put(rest, pair.vllm, value)
            continue
        draft.put(("engine", *place), there, ".".join(("engine.args", *pair.vllm)))
        if pair.to_trtllm:
            draft.remark(("engine", *place), f"{place[-1]} is {pair.to_trtllm}.")
    _experts(draft, rest, recipe, mode)
    _eager(draft, rest, mode)
    if draft.get(("engine", "runtime", "tool_parser")) is not None:
        rest.pop("enable_auto_tool_choice", None)
    for name in rest:
        why = f"TensorRT-LLM has no counterpart in mode {mode} that is known"
        draft.lose(f"engine.args.{name}", alone().get(name, why))


def _experts(draft: Draft, rest: dict[str, Json], recipe: Recipe, mode: Mode) -> None:
    """vLLM spreads the experts over all GPUs or over none; TensorRT-LLM over a number."""
    said = rest.pop("enable_expert_parallel", None)
    if said is True and recipe.tensor_parallel_size > 1:
        place = ("engine", "runtime", "moe_expert_parallel_size")
        draft.put(place, recipe.tensor_parallel_size, "engine.args.enable_expert_parallel")


def _eager(draft: Draft, rest: dict[str, Json], mode: Mode) -> None:
    """No CUDA graphs: one switch there, an absent section here."""
    if mode == "pytorch" and rest.pop("enforce_eager", None) is True:
        draft.put(("engine", "runtime", "cuda_graph_config"), None, "engine.args.enforce_eager")


def _to_vllm(draft: Draft, recipe: Recipe, version: str) -> None:
    draft.put(("engine",), {"type": "vllm", "version": version})
    _base(draft, f"docker.io/vllm/vllm-openai:v{version}")
    mode: Mode = recipe.engine.mode or "pytorch"
    rest: dict[str, Json] = {
        "build": copy.deepcopy(dict(recipe.engine.build or {})),
        "runtime": copy.deepcopy(dict(recipe.engine.runtime)),
    }
    for pair in pairs():
        for place in _places(pair, mode, triton=recipe.engine.server == "triton"):
            value = _take(rest, place)
            there = None if value is None else pair.backward(value)
            if there is None:
                if value is not None:
                    _put(rest, place, value)
                continue
            spelled = ".".join(("engine", *place))
            draft.put(("engine", "args", *pair.vllm), there, spelled)
            if pair.to_vllm:
                draft.remark(("engine", "args", *pair.vllm), f"{pair.vllm[-1]} is {pair.to_vllm}.")
    _from_experts(draft, rest)
    if draft.get(("engine", "args", "tool_call_parser")) is not None:
        draft.put(("engine", "args", "enable_auto_tool_choice"), True)
    for place in _leaves(rest):
        why = (
            "of the build, of which vLLM has none"
            if place[0] == _BUILD
            else "vLLM has no counterpart that is known"
        )
        draft.lose(".".join(("engine", *place)), why)
    if recipe.engine.server == "triton":
        draft.lose("engine.server", "vLLM's image has vLLM's own server")
    if draft.take(("builder", "timing_cache")) is not None:
        draft.lose("builder.timing_cache", "TensorRT's, which vLLM does not use")


def _places(pair: Pair, mode: Mode, *, triton: bool) -> Iterator[Place]:
    """A size of the build, then the same of the server, which is what counts if it is given."""
    place = pair.places.get(mode)
    if place is not None:
        yield place
        if place[0] == _BUILD:
            yield ("runtime", *place[1:])
    if triton and "triton" in pair.places:
        yield pair.places["triton"]


def _from_experts(draft: Draft, rest: dict[str, Json]) -> None:
    if rest and isinstance(runtime := rest.get("runtime"), dict):
        size = runtime.get("moe_expert_parallel_size")
        if isinstance(size, int) and size > 1 and size == draft.get(("tensor_parallel_size",)):
            del runtime["moe_expert_parallel_size"]
            place = ("engine", "args", "enable_expert_parallel")
            draft.put(place, True, "engine.runtime.moe_expert_parallel_size")
        if "cuda_graph_config" in runtime and runtime["cuda_graph_config"] is None:
            del runtime["cuda_graph_config"]
            draft.put(("engine", "args", "enforce_eager"), True, "engine.runtime.cuda_graph_config")


def _leaves(rest: Mapping[str, Json], place: Place = ()) -> Iterator[Place]:
    """What is left of build and runtime: settings, and single keys of the KV cache's."""
    for name, value in rest.items():
        here = (*place, name)
        if isinstance(value, dict) and (not place or name == "kv_cache_config"):
            yield from _leaves(value, here)
        else:
            yield here


def _base(draft: Draft, base: str) -> None:
    """The other engine's base; an image that is the model alone keeps having none."""
    before = draft.get(("image", "base"))
    if before in (None, "scratch"):
        return
    draft.put(("image", "base"), base)
    if not str(before).startswith(("docker.io/vllm/", "vllm/", "nvcr.io/nvidia/")):
        draft.lose(f"image.base {before}", "the other engine's; image.base is what the new engine comes with")


def _tags(draft: Draft, former: str) -> None:
    """Tags may name the engine that was: two recipes must not fight for one tag."""
    tags = draft.get(("image", "tags"))
    words = ("vllm",) if former == "vllm" else ("trtllm", "tensorrt", "triton")
    named = [tag for tag in tags if any(word in str(tag) for word in words)] if isinstance(tags, list) else []
    if named:
        draft.remark(("image", "tags"), f"These are the tags of the recipe for {_NAMES[former]}.")


def _take(values: dict[str, Json], place: Place) -> Json:
    inner: Json = values
    for step in place[:-1]:
        inner = inner.get(step) if isinstance(inner, dict) else None
    if not isinstance(inner, dict):
        return None
    value = inner.pop(place[-1], None)
    if not inner and len(place) > 1 and place[:-1] not in (("build",), ("runtime",)):
        _take(values, place[:-1])
    return value


def _put(values: dict[str, Json], place: Place, value: Json) -> None:
    inner = values
    for step in place[:-1]:
        deeper = inner.setdefault(step, {})
        if not isinstance(deeper, dict):
            return
        inner = deeper
    inner[place[-1]] = value

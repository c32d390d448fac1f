"""Whether the engine's version has the model's class."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace

from enginebuild.engines.unserved import Unserved
from enginebuild.engines.vllm.table import VERSIONS
from enginebuild.fit.finding import Change, Finding
from enginebuild.models import ModelFacts
from enginebuild.recipe.model import Recipe
from enginebuild_cache import Json


def served(recipe: Recipe, facts: ModelFacts) -> Iterator[Finding]:
    """For vLLM and TensorRT-LLM's mode pytorch; mode engine asks its own families."""
    found = _unserved(recipe, facts)
    if found is None:
        return
    changes = (_other_version(recipe, found.version),) if found.version else ()
    hint = found.hint or _other_engine(recipe, facts)
    yield Finding("architecture", ("model",), found.reason, changes, hint, refused=found.certain)


def _unserved(recipe: Recipe, facts: ModelFacts) -> Unserved | None:
    engine, named = recipe.engine, facts.named
    if engine.type == "vllm":
        from enginebuild.engines.vllm.architectures import unserved

        if "model_class_overrides" in engine.args:
            return None  # classes of the base image's own
        implementation = str(engine.args.get("model_impl", "auto"))
        found = unserved(
            engine.version,
            _overridden(engine.args.get("hf_overrides")) or named.classes,
            implementation=implementation,
            remote_code=named.remote_code,
        )
        own = "vllm/vllm-openai" in recipe.image.base
        return found if found is None or own or not found.plugged else replace(found, certain=False)
    if engine.mode == "engine":
        return None
    from enginebuild.engines.tensorrt_llm.architectures import unserved as unserved_by_tensorrt_llm

    return unserved_by_tensorrt_llm(engine.version, named.classes)


def _overridden(overrides: Json) -> tuple[str, ...]:
    """The classes that engine.args.hf_overrides names instead of config.json."""
    found = overrides.get("architectures") if isinstance(overrides, dict) else None
    return tuple(name for name in found if isinstance(name, str)) if isinstance(found, list) else ()


def _other_version(recipe: Recipe, version: str) -> Change:
    """The version, and the base image where its tag names the one that it is not."""
    values: list[tuple[str, Json]] = [("engine.version", version)]
    base, _, tag = recipe.image.base.rpartition(":")
    if tag.removeprefix("v") == recipe.engine.version:
        values.append(("image.base", f"{base}:{tag.replace(recipe.engine.version, version)}"))
    return Change(tuple(values))


def _other_engine(recipe: Recipe, facts: ModelFacts) -> str:
    """Which other engine has the class."""
    from enginebuild.engines.tensorrt_llm.architectures import unserved as unserved_by_tensorrt_llm
    from enginebuild.engines.tensorrt_llm.convert import is_compiled
    from enginebuild.engines.tensorrt_llm.versions import STABLE
    from enginebuild.engines.vllm.architectures import unserved

    classes, newest = facts.named.classes, VERSIONS[-1]
    if recipe.engine.type != "vllm" and unserved(newest, classes) is None:
        return f"write engine: {{type: vllm, version: {newest}}}, and its image.base"
    ways = {f"{each}, mode: pytorch": unserved_by_tensorrt_llm(each, classes) for each in (STABLE, _newest())}
    found = [way for way, reason in ways.items() if reason is None and recipe.engine.type == "vllm"]
    if is_compiled(classes[0]):
        found.insert(1, f"{STABLE}, mode: engine")
    return f"write engine: {{type: tensorrt_llm, version: {found[0]}}}, and its image.base" if found else ""


def _newest() -> str:
    from enginebuild.engines.tensorrt_llm.versions import releases

    return list(releases())[-1]

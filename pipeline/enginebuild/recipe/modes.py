"""The mode of TensorRT-LLM, as written or by version, and whose words a recipe is answered in."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Literal

from enginebuild.recipe.node import MappingNode, ScalarNode
from enginebuild.recipe.section import Answerer
from enginebuild.recipe.unknown import answer, tensorrt_llm_answer
from enginebuild_cache import Json

Mode = Literal["engine", "pytorch"]


def mode_of(engine: Mapping[str, Json]) -> Mode:
    """The mode of a TensorRT-LLM section whose fields are sound."""
    if engine.get("mode") == "engine":
        return "engine"
    if engine.get("mode") == "pytorch":
        return "pytorch"
    # Imported here: a recipe for vLLM never reads TensorRT-LLM's tables.
    from enginebuild.engines.tensorrt_llm.versions import default_mode

    return default_mode(str(engine.get("version")), engine.get("build") is not None)


def answer_for(root: MappingNode) -> Answerer:
    """Who answers unknown keys: in the words of the engine that is named, vLLM's where none is."""
    entry = root.entries.get("engine")
    if entry is None or not isinstance(entry.value, MappingNode):
        return answer
    engine = entry.value.entries
    written = {key: each.value.value for key, each in engine.items() if isinstance(each.value, ScalarNode)}
    if written.get("type") != "tensorrt_llm":
        return answer
    return tensorrt_llm_answer(mode_of({**written, "build": True if "build" in engine else None}))

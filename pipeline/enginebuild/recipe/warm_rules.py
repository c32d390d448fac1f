"""Rules between the section `warm` and the rest of a recipe."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

from enginebuild.errors import Problem
from enginebuild.recipe.engine_rules import section, text
from enginebuild.recipe.references import SCRATCH
from enginebuild_cache import Json

_PATH = ("warm",)
_EAGER = "delete warm, or what switches compilation off"


def warm_problems(values: Mapping[str, Json]) -> Iterator[Problem]:
    """`values` holds the fields that were read without a problem."""
    if not isinstance(values.get("warm"), dict):
        return
    image, engine = section(values, "image"), section(values, "engine")
    layout = image.get("layout")
    if engine.get("type") == "tensorrt_llm":
        message = "warm keeps vLLM's compile cache, and engine.type is tensorrt_llm"
        yield Problem(_PATH, message, "delete warm: an engine is compiled while it is built", on_key=True)
    elif layout in ("model", "modelpack"):
        message = f"warm needs a server to start, and an image of layout {text(layout)} has none"
        yield Problem(_PATH, message, "delete warm, or write layout: server", on_key=True)
    elif image.get("base") == SCRATCH:
        message = "warm needs a server to start, and on scratch there is none"
        yield Problem(_PATH, message, "delete warm, or name a base with vLLM", on_key=True)
    yield from _compiles_nothing(section(engine, "args"))


def _compiles_nothing(args: Mapping[str, Json]) -> Iterator[Problem]:
    config = args.get("compilation_config")
    for name, off in (
        ("enforce_eager", args.get("enforce_eager") is True),
        ("optimization_level", args.get("optimization_level") in (0, "0") and "optimization_level" in args),
        ("compilation_config", isinstance(config, dict) and config.get("mode") in (0, "NONE")),
    ):
        if off:
            message = f"warm keeps what vLLM compiles, and engine.args.{name} lets it compile nothing"
            yield Problem(("engine", "args", name), message, _EAGER, on_key=True)

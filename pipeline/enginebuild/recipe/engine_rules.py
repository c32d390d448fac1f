"""Rules between an engine and the rest of a recipe: keys of the other engine, modes, bases, builders."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

from enginebuild.errors import Problem
from enginebuild.recipe.builder_section import DOCKER_ALONE
from enginebuild.recipe.format import BASE_EXAMPLE
from enginebuild.recipe.modes import mode_of
from enginebuild.recipe.node import MappingNode
from enginebuild.recipe.references import holds_tensorrt_llm, vllm_version
from enginebuild.recipe.unknown import TENSORRT_LLM_ALONE, VLLM_ALONE
from enginebuild_cache import Json


def engine_problems(values: Mapping[str, Json], root: MappingNode) -> Iterator[Problem]:
    """`values` holds the sound fields; `root` tells what was written."""
    engine = section(values, "engine")
    if engine.get("type") == "vllm":
        yield from _of_the_other(
            root, TENSORRT_LLM_ALONE, "TensorRT-LLM's", "vLLM's arguments are engine.args"
        )
        yield from _timing_cache(section(values, "builder"))
        yield from _validate(engine, section(values, "image"))
    elif engine.get("type") == "tensorrt_llm":
        hint = "write trtllm-build's options in engine.build, the server's in engine.runtime"
        yield from _of_the_other(root, VLLM_ALONE, "vLLM's", hint)
        yield from _mode(engine, section(values, "image"))
        yield from _no_gpus(engine, section(values, "builder"))
    yield from _base(engine, section(values, "image"))
    yield from _builder(section(values, "builder"), root)


def section(values: Mapping[str, Json], key: str) -> Mapping[str, Json]:
    value = values.get(key)
    return value if isinstance(value, dict) else {}


def text(value: Json) -> str:
    return value if isinstance(value, str) else ""


def written(root: MappingNode, key: str) -> Mapping[str, object]:
    """The keys of a section as written; none where it is no mapping."""
    entry = root.entries.get(key)
    return entry.value.entries if entry and isinstance(entry.value, MappingNode) else {}


def base_example(engine: Mapping[str, Json]) -> str:
    """A base that fits the engine, its version and its server."""
    if engine.get("type") != "tensorrt_llm":
        return BASE_EXAMPLE
    from enginebuild.engines.tensorrt_llm.versions import STABLE, release, release_image

    known = release(text(engine.get("version"))) or release(STABLE)
    if known is None:
        raise LookupError(STABLE)
    triton = known.triton_image if engine.get("server") == "triton" else None
    return triton or release_image(known.version)


def _of_the_other(root: MappingNode, keys: tuple[str, ...], whose: str, hint: str) -> Iterator[Problem]:
    for key in keys:
        if key in written(root, "engine"):
            yield Problem(
                ("engine", key), f"engine.{key} is {whose} alone", f"delete it; {hint}", on_key=True
            )


def _timing_cache(builder: Mapping[str, Json]) -> Iterator[Problem]:
    if builder.get("timing_cache") is not None:
        message = "builder.timing_cache is for trtllm-build, which vLLM does not run"
        yield Problem(("builder", "timing_cache"), message, "delete it", on_key=True)


def _validate(engine: Mapping[str, Json], image: Mapping[str, Json]) -> Iterator[Problem]:
    layout = image.get("layout")
    if engine.get("validate") is True and layout in ("model", "modelpack"):
        message = f"engine.validate asks about a server's configuration, and layout {layout} has none"
        yield Problem(("engine", "validate"), message, "delete it, or write layout: server", on_key=True)


def _no_gpus(engine: Mapping[str, Json], builder: Mapping[str, Json]) -> Iterator[Problem]:
    if builder.get("gpus") == 0 and mode_of(engine) == "engine":
        message = "builder.gpus is 0, and trtllm-build needs a GPU of the kind that will serve"
        yield Problem(("builder", "gpus"), message, "write 1: one GPU builds the engines of all ranks")


def _mode(engine: Mapping[str, Json], image: Mapping[str, Json]) -> Iterator[Problem]:
    if engine.get("mode") == "pytorch" and engine.get("build") is not None:
        message = "engine.build is for mode engine: in mode pytorch nothing is compiled"
        hint = "write mode: engine, or move what the server takes to engine.runtime"
        yield Problem(("engine", "build"), message, hint, on_key=True)
    layout = image.get("layout")
    if layout not in ("model", "modelpack") or "mode" not in engine or "build" not in engine:
        return
    if mode_of(engine) == "engine":
        message = f"image.layout {layout} holds a model alone, and mode engine makes an engine"
        yield Problem(("image", "layout"), message, "write layout: server, or engine.mode: pytorch")


def _base(engine: Mapping[str, Json], image: Mapping[str, Json]) -> Iterator[Problem]:
    """For vLLM. What TensorRT-LLM's images hold is in its table of versions, and its check looks there."""
    if engine.get("type") != "vllm":
        return
    base, version = text(image.get("base")), text(engine.get("version"))
    found = vllm_version(base)
    if holds_tensorrt_llm(base):
        message = "image.base holds TensorRT-LLM, and engine.type is vllm"
        yield Problem(("image", "base"), message, f"write for example {BASE_EXAMPLE}")
    elif found and version and found != version:
        message = f"image.base holds vLLM {found}, and engine.version is {version}"
        yield Problem(("image", "base"), message, _same_version(base, found, version))


def _same_version(base: str, found: str, version: str) -> str:
    """The same image of the version that is asked for, or the version that it holds, if that can be built."""
    from enginebuild.engines.vllm.table import VERSIONS

    tagged = base.partition("@")[0]
    right = tagged.replace(f":v{found}", f":v{version}")
    if right == tagged:  # Triton's
        right = f"docker.io/vllm/vllm-openai:v{version}"
    return f"write {right}" + (f", or version: {found}" if found in VERSIONS else "")


def _builder(builder: Mapping[str, Json], root: MappingNode) -> Iterator[Problem]:
    """An environment may stand beside runner docker: `--runner local` chooses it then."""
    given = written(root, "builder")
    if builder.get("runner") != "local":
        return
    for key in DOCKER_ALONE:
        if key in given:
            message = f"builder.{key} is for runner docker alone"
            yield Problem(("builder", key), message, "delete it, or write runner: docker", on_key=True)
    if "environment" not in given:
        message = "builder.runner local needs builder.environment, the Python environment to run"
        yield Problem(("builder", "runner"), message, "add environment: /opt/trtllm", on_key=True)

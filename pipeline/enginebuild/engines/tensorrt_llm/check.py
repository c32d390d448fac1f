"""All that is wrong with a recipe for TensorRT-LLM, found before anything is downloaded or rented."""

from __future__ import annotations

from collections.abc import Iterator
from typing import cast

from enginebuild.engines.tensorrt_llm.arguments import argument_problems, has_serve
from enginebuild.engines.tensorrt_llm.asked import Asked, Values, mapping
from enginebuild.engines.tensorrt_llm.bases import base_problem, builder_problem, server_problems
from enginebuild.engines.tensorrt_llm.precision import quantization_problems
from enginebuild.engines.tensorrt_llm.versions import (
    LAST_WITH_ENGINES,
    STABLE,
    Mode,
    Release,
    check_version,
    default_mode,
    release,
)
from enginebuild.errors import Problem
from enginebuild.recipe.gpu import Gpu, catalogue


def check(values: Values) -> list[Problem]:
    """Every mistake of a recipe whose engine.type is tensorrt_llm; `values` are its sound fields, and what is
    missing was mistaken. An unknown version, or a mode that it has not, is the only problem of the engine
    then: nothing else can be held against a table. Pure; reads the tables.
    """
    engine = mapping(values, "engine")
    version = engine.get("version")
    if not isinstance(version, str):
        return []
    if (problem := check_version(version)) is not None:
        return [problem]
    known = release(version)
    if known is None or "mode" not in engine or "build" not in engine:
        return []
    mode = cast("Mode", engine["mode"] or default_mode(version, engine["build"] is not None))
    if found := list(_mode_problems(known, mode, engine)):
        return found
    asked = Asked(known, mode, _server(values), _gpu(values), values)
    return [
        *argument_problems(asked),
        *_gpu_problems(asked),
        *quantization_problems(asked.release, asked.mode, asked.gpu, values),
        *_image_problems(asked),
        *_builder_problems(asked),
    ]


def _gpu(values: Values) -> Gpu | None:
    name = values.get("gpu")
    return catalogue().get(name) if isinstance(name, str) else None


def _server(values: Values) -> str | None:
    """The server in the image; None also where the image is the model alone."""
    server = mapping(values, "engine").get("server")
    return server if isinstance(server, str) and _serves(values) else None


def _serves(values: Values) -> bool:
    return mapping(values, "image").get("layout", "server") == "server"


def _mode_problems(known: Release, mode: Mode, engine: Values) -> Iterator[Problem]:
    if mode not in known.modes:
        written = "mode" if engine["mode"] else "build"
        yield Problem(("engine", written), *_no_mode(known.version, mode), on_key=written == "build")
    elif mode == "pytorch" and engine["build"] is not None:
        message = "engine.build is for trtllm-build, which mode pytorch does not run"
        hint = "write mode: engine, or remove build; sizes of the server go into engine.runtime"
        yield Problem(("engine", "build"), message, hint, on_key=True)


def _no_mode(version: str, mode: Mode) -> tuple[str, str]:
    if mode == "engine":
        message = (
            f"TensorRT-LLM {version} compiles no engines: {LAST_WITH_ENGINES} was the last with trtllm-build"
        )
        return message, f"write mode: pytorch without build, or version: {STABLE}"
    message = f"TensorRT-LLM {version} is not built for in mode pytorch, which came with 1.0.0"
    return message, f"write mode: engine, or version: {STABLE}"


def _gpu_problems(asked: Asked) -> Iterator[Problem]:
    if asked.mode == "engine" and "gpu" in asked.values and asked.values["gpu"] is None:
        message = "mode engine needs the key 'gpu': an engine runs on the GPU alone that it is compiled for"
        yield Problem(("gpu",), message, "add gpu: H100-SXM-80GB, or another of the catalogue")


def _image_problems(asked: Asked) -> Iterator[Problem]:
    if asked.server is not None:
        lacking = list(server_problems(asked.release, asked.server, has_serve(asked.release)))
        if lacking:
            yield from lacking
            return
    base = mapping(asked.values, "image").get("base")
    if isinstance(base, str) and _serves(asked.values):
        problem = base_problem(base, asked.release, asked.server)
        if problem is not None:
            yield problem


def _builder_problems(asked: Asked) -> Iterator[Problem]:
    """In mode pytorch the builder quantizes at most, which any version's image may do."""
    builder = mapping(asked.values, "builder")
    image, version = builder.get("image"), asked.release.version
    if asked.mode == "pytorch":
        if builder.get("timing_cache") is not None:
            message = "builder.timing_cache is for trtllm-build, which mode pytorch does not run"
            yield Problem(("builder", "timing_cache"), message, "remove the line", on_key=True)
    elif isinstance(image, str):
        if problem := builder_problem(image, asked.release):
            yield problem
    elif asked.release.published is False and "builder" in asked.values and not builder.get("environment"):
        message = f"TensorRT-LLM {version} is published as source alone, without an image to build in"
        hint = f"write builder: {{image: …}} with one of your own, or version: {STABLE}"
        yield Problem(("engine", "version"), message, hint)

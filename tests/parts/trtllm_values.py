"""The sound fields of a recipe for TensorRT-LLM, as they reach its check, and what it finds in them."""

from __future__ import annotations

from collections.abc import Mapping

from enginebuild.engines.tensorrt_llm.check import check
from enginebuild.engines.tensorrt_llm.versions import release_image
from enginebuild.errors import Problem
from enginebuild_cache import Json

ENGINE: Mapping[str, Json] = {
    "type": "tensorrt_llm",
    "version": "1.2.1",
    "args": {},
    "mode": None,
    "build": {},
    "runtime": {},
    "server": "trtllm-serve",
}


def values(engine: Mapping[str, Json] | None = None, **fields: Json) -> dict[str, Json]:
    """A recipe without a mistake, with what is given in place of its fields."""
    said = {**ENGINE, **(engine or {})}
    return {
        "dtype": "auto",
        "quantization": "none",
        "tensor_parallel_size": 1,
        "pipeline_parallel_size": 1,
        "gpu": "H100-SXM-80GB",
        "engine": said,
        "image": {"base": release_image(str(said["version"])), "layout": "server"},
        "builder": None,
        **fields,
    }


def triton(
    version: str, tag: str, engine: Mapping[str, Json] | None = None, **fields: Json
) -> dict[str, Json]:
    """The same for Triton."""
    base = f"nvcr.io/nvidia/tritonserver:{tag}-trtllm-python-py3"
    said = {"version": version, "server": "triton", **(engine or {})}
    return values(said, image={"base": base, "layout": "server"}, **fields)


def build(options: Mapping[str, Json], version: str = "1.2.1", **fields: Json) -> list[Problem]:
    """What is found in engine.build, for an image without a server: not every version has trtllm-serve."""
    image: Json = {"base": None, "layout": "model"}
    return check(values({"version": version, "build": dict(options)}, **{"image": image, **fields}))


def yaml(keys: Mapping[str, Json], version: str = "1.2.1", **fields: Json) -> list[Problem]:
    """What is found in engine.runtime of mode pytorch."""
    return check(values({"version": version, "build": None, "runtime": dict(keys)}, **fields))


def serve(options: Mapping[str, Json], version: str = "1.2.1", **fields: Json) -> list[Problem]:
    """What is found in engine.runtime of mode engine."""
    return check(values({"version": version, "runtime": dict(options)}, **fields))


def without(recipe: Mapping[str, Json], name: str) -> dict[str, Json]:
    """A recipe whose engine section has lost a field, as one that was mistaken."""
    engine = recipe["engine"]
    assert isinstance(engine, dict)
    return {**recipe, "engine": {key: value for key, value in engine.items() if key != name}}

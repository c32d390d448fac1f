"""What a machine needs for an image or an engine, read from labels or from TensorRT-LLM's config.json."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence

from enginebuild.drivers import driver_floor
from enginebuild.engines.tensorrt_llm.scripts.fitness import Needs
from enginebuild.recipe.gpu import catalogue
from enginebuild_cache import Json

_ENGINE = "enginebuild.engine"


def needs_of_labels(labels: Mapping[str, str], env: Sequence[str] = ()) -> Needs | None:
    """Of an image; None without our labels of a server. `env` is NAME=value; NVIDIA's has its CUDA."""
    engine = labels.get(_ENGINE)
    if engine is None:
        return None
    gpu = catalogue().get(labels.get("enginebuild.gpu", ""))
    cuda = labels.get("enginebuild.cuda") or _cuda(env)
    floor = driver_floor(cuda)
    return Needs(
        tied=labels.get("enginebuild.mode") == "engine",
        world_size=_size(labels, "tensor") * _size(labels, "pipeline"),
        compute_capability=labels.get("enginebuild.gpu.compute_capability")
        or (gpu.compute_capability if gpu else None),
        gpu=labels.get("enginebuild.gpu.product") or (gpu.product if gpu else None),
        cuda=cuda,
        lowest_driver=floor.lowest,
        own_driver=floor.own,
        versions=_versions(engine, labels),
    )


def needs_of_config(config: Mapping[str, Json]) -> Needs:
    """Of an engine that has TensorRT-LLM's config.json alone. Raises ValueError for what is no engine's."""
    version, pretrained = config.get("version"), config.get("pretrained_config")
    if not isinstance(version, str) or not isinstance(pretrained, dict):
        raise ValueError("it has no version or no pretrained_config")
    mapping = pretrained.get("mapping")
    size = mapping.get("world_size") if isinstance(mapping, dict) else None
    return Needs(True, size if isinstance(size, int) and size > 0 else 1, versions={"tensorrt_llm": version})


def _size(labels: Mapping[str, str], kind: str) -> int:
    text = labels.get(f"enginebuild.{kind}_parallel_size", "1")
    return int(text) if re.fullmatch(r"[1-9][0-9]{0,5}", text) else 1


def _cuda(env: Sequence[str]) -> str | None:
    """NVIDIA's own images add the build as a fourth number: 13.1.0.036."""
    said = dict(entry.partition("=")[::2] for entry in env).get("CUDA_VERSION")
    return ".".join(said.split(".")[:3]) if said else None


def _versions(engine: str, labels: Mapping[str, str]) -> dict[str, str]:
    found = {engine: labels.get(f"enginebuild.{engine}") or labels.get("enginebuild.engine.version", "")}
    found["tensorrt"] = labels.get("enginebuild.tensorrt", "")
    return {name: version for name, version in found.items() if version}

"""What an engine is and what it needs, in our own words: `enginebuild.json` in the engine's folder.

TensorRT-LLM's config.json names its version and nothing else that decides whether an engine loads: no
TensorRT, CUDA, compute capability or GPU, and no model (1.3.0rc3; TensorRT-LLM issue 3031).
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass, field
from typing import Any

from enginebuild.drivers import driver_floor
from enginebuild.engines.tensorrt_llm.compile import Rewrite, build_options, resolved, rewritten
from enginebuild.engines.tensorrt_llm.scripts.fitness import Needs
from enginebuild.engines.tensorrt_llm.settings import Settings
from enginebuild.recipe.gpu import Gpu, catalogue
from enginebuild_cache import Json

NAME = "enginebuild.json"
_SCHEMA = 1

#: Written by trtllm-build when the last rank is done (1.3.0rc3).
_TOTAL = re.compile(r"Total time of building all engines: (\d+):(\d\d):(\d\d)")

#: Libraries of scripts/describe.py that took part without being needed to load an engine.
_BESIDES = ("torch", "modelopt")


@dataclass(frozen=True)
class Origin:
    """What an engine was made from. `commit` is a Hub model's.

    `quantization` has the recipe's fields. `checkpoint` is the digest of the tree that trtllm-build read,
    `key` that of the step.
    """

    model: str
    commit: str | None
    quantization: Mapping[str, Json] | None
    checkpoint: str
    key: str


@dataclass(frozen=True)
class Builder:
    """What it was made with. `image` is a digest, None for a local environment."""

    image: str | None = None
    driver: str | None = None
    libraries: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True)
class Manifest:
    """An engine of all its ranks. `seconds` took the whole step, `engine_seconds` building alone, by its log.

    `asked` are the build options that were written out, `resolved` what the library made of them.
    """

    origin: Origin
    builder: Builder
    dtype: str
    tensor_parallel_size: int
    pipeline_parallel_size: int
    needs: Needs
    asked: Mapping[str, Json]
    resolved: Mapping[str, Json]
    rewritten: tuple[Rewrite, ...] = ()
    seconds: float | None = None
    engine_seconds: float | None = None

    def to_json(self) -> dict[str, Json]:
        return {"schema": _SCHEMA, **asdict(self), "rewritten": [asdict(each) for each in self.rewritten]}

    def to_bytes(self) -> bytes:
        """The file; equal manifests are equal bytes."""
        return (json.dumps(self.to_json(), indent=2, sort_keys=True, ensure_ascii=False) + "\n").encode()

    @classmethod
    def from_json(cls, document: Json) -> Manifest:
        """Read what `to_json` wrote. Raises ValueError for anything else."""
        try:
            made = _read(document)
        except (KeyError, TypeError, AttributeError) as error:
            raise ValueError(f"this is no manifest of an engine: {error!r}") from error
        if made.to_json() != document:
            raise ValueError("this is no manifest of an engine that this version of enginebuild knows")
        return made

    @classmethod
    def from_bytes(cls, content: bytes) -> Manifest:
        """Read what `to_bytes` wrote. Raises ValueError for anything else."""
        return cls.from_json(json.loads(content))


def _read(document: Any) -> Manifest:
    values = {name: value for name, value in document.items() if name != "schema"}
    needs = Needs.from_json(document["needs"])
    if "tensorrt_llm" not in needs.versions:
        raise ValueError("this is no manifest of an engine: it does not say which TensorRT-LLM built it")
    return Manifest(
        **{
            **values,
            "origin": Origin(**document["origin"]),
            "builder": Builder(**document["builder"]),
            "needs": needs,
            "rewritten": tuple(Rewrite(**each) for each in document["rewritten"]),
        }
    )


def manifest_of(
    origin: Origin,
    settings: Settings,
    config_json: bytes,
    description: Mapping[str, Json],
    *,
    image: str | None = None,
    seconds: float | None = None,
    log: Iterable[str] = (),
) -> Manifest:
    """Of an engine that was just built.

    `config_json` is the engine's, `description` what scripts/describe.py wrote, `log` what was printed.
    Raises StepError for what is no engine's config.json.
    """
    asked, became = build_options(settings), resolved(config_json)
    config = json.loads(config_json)
    return Manifest(
        origin=origin,
        builder=_builder(description, image),
        dtype=str(config["pretrained_config"]["dtype"]),
        tensor_parallel_size=settings.tensor_parallel_size,
        pipeline_parallel_size=settings.pipeline_parallel_size,
        needs=_needs(settings, str(config["version"]), description),
        asked=asked,
        resolved=became,
        rewritten=rewritten(asked, became),
        seconds=seconds,
        engine_seconds=_engine_seconds(log),
    )


def _builder(description: Mapping[str, Json], image: str | None) -> Builder:
    libraries = {name: version for name in _BESIDES if (version := _text(description, name))}
    return Builder(image, _text(description, "driver"), libraries)


def _needs(settings: Settings, version: str, description: Mapping[str, Json]) -> Needs:
    """With `--workers 1` every rank is built on the first GPU; several workers have several equal ones."""
    gpus = description.get("gpus")
    gpu = gpus[0] if isinstance(gpus, list) and gpus and isinstance(gpus[0], dict) else {}
    tensorrt, cuda = _text(description, "tensorrt"), _text(description, "cuda")
    floor = driver_floor(cuda)
    return Needs(
        tied=True,
        world_size=settings.world_size,
        compute_capability=_text(gpu, "compute_capability"),
        gpu=_text(gpu, "product"),
        cuda=cuda,
        lowest_driver=floor.lowest,
        own_driver=floor.own,
        versions={"tensorrt_llm": version, **({"tensorrt": tensorrt} if tensorrt else {})},
    )


def _text(document: Mapping[str, Json], name: str) -> str | None:
    value = document.get(name)
    return value if isinstance(value, str) else None


def _engine_seconds(log: Iterable[str]) -> float | None:
    found = None
    for line in log:
        if match := _TOTAL.search(line):
            hours, minutes, seconds = map(int, match.groups())
            found = float(hours * 3600 + minutes * 60 + seconds)
    return found


def labels(manifest: Manifest) -> dict[str, str]:
    """What an image with this engine says of it; `enginebuild index` repeats it for each variant."""
    needs, origin = manifest.needs, manifest.origin
    gpu = catalogued(needs.gpu)
    quantization = origin.quantization or {}
    found = {
        "enginebuild.mode": "engine",
        "enginebuild.dtype": manifest.dtype,
        "enginebuild.tensor_parallel_size": str(manifest.tensor_parallel_size),
        "enginebuild.pipeline_parallel_size": str(manifest.pipeline_parallel_size),
        "enginebuild.tensorrt_llm": needs.versions["tensorrt_llm"],
        "enginebuild.tensorrt": needs.versions.get("tensorrt"),
        "enginebuild.cuda": needs.cuda,
        "enginebuild.gpu": gpu and gpu.name,
        "enginebuild.gpu.product": needs.gpu,
        "enginebuild.gpu.compute_capability": needs.compute_capability,
        "enginebuild.quantization": _text(quantization, "method"),
        "enginebuild.kv_cache_dtype": _text(quantization, "kv_cache_dtype"),
    }
    return {name: text for name, text in found.items() if text}


def catalogued(product: str | None) -> Gpu | None:
    """The GPU of the catalogue that nvidia-smi calls so."""
    return next((gpu for gpu in catalogue().values() if gpu.product == product), None)

"""A recipe, read and checked. Equality is that of the content: place and spelling do not count."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal, cast

from enginebuild.errors import Problem, RecipeError
from enginebuild.recipe.builder_section import DEFAULT_SHM_SIZE, DEFAULT_TIMEOUT
from enginebuild.recipe.format import DEFAULT_TAGS
from enginebuild.recipe.methods import GROUP_SIZE, METHODS, default_tool, excluded_by_default, target
from enginebuild.recipe.modes import Mode, mode_of
from enginebuild.recipe.node import MappingNode
from enginebuild.recipe.references import SCRATCH, expand
from enginebuild.recipe.render import render_problems
from enginebuild.recipe.units import seconds, size_in_bytes
from enginebuild.recipe.verification import Verification, verification_of
from enginebuild.recipe.warming import Warming, warming_of
from enginebuild_cache import Digest, Json

Dtype = Literal["auto", "float16", "bfloat16", "float32"]
Platform = Literal["linux/amd64", "linux/arm64"]
Layout = Literal["server", "model", "modelpack"]
Compression = Literal["none", "gzip", "zstd", "auto"]
EngineType = Literal["vllm", "tensorrt_llm"]
Server = Literal["trtllm-serve", "triton"]
Runner = Literal["docker", "local"]


@dataclass(frozen=True, slots=True)
class Model:
    """`source` is `hf://org/name` or `file:folder`, without a revision. `auth` names a variable."""

    source: str
    revision: str | None
    auth: str
    allow_patterns: tuple[str, ...]
    ignore_patterns: tuple[str, ...]
    allow_pickle: bool


@dataclass(frozen=True, slots=True)
class Calibration:
    """`dataset` is `hf://datasets/org/name` or `file:folder`, without a revision; lengths are in tokens."""

    dataset: str
    revision: str | None
    num_samples: int
    max_seq_length: int
    batch_size: int
    seed: int


@dataclass(frozen=True, slots=True)
class Quantization:
    """How the weights are quantized while building. `kv_cache_dtype` None: the KV cache is not quantized.

    `group_size` is None where the method has no groups; `exclude_modules` where the tool takes none.
    """

    method: str
    tool: str | None
    kv_cache_dtype: str | None
    group_size: int | None
    exclude_modules: tuple[str, ...] | None
    calibration: Calibration | None


@dataclass(frozen=True, slots=True)
class Engine:
    """`args` are vLLM's and shaped like JSON without null; what they mean is the engine's own affair.
    `validate`, vLLM's too: it is asked about its configuration before the image is made.

    `mode`, `build`, `runtime` and `server` are TensorRT-LLM's. `mode` is None for vLLM and decided for
    TensorRT-LLM, whether it was written or not; `build` is None where it was not written.
    """

    type: EngineType
    version: str
    args: Mapping[str, Json]
    mode: Mode | None = None
    build: Mapping[str, Json] | None = None
    runtime: Mapping[str, Json] = field(default_factory=dict)
    server: Server = "trtllm-serve"
    validate: bool = False


@dataclass(frozen=True, slots=True)
class Builder:
    """Where steps run their commands. `image` None: the engine's own, by version. `environment`: see `local`.

    `gpus` is how many GPUs or which; `timeout` is in seconds and of one step; `memory` and `shm_size` are in
    bytes, `memory` None: no limit. `timing_cache` is `file:path`.
    """

    runner: Runner = "docker"
    image: str | None = None
    environment: str | None = None
    gpus: int | tuple[str, ...] = 1
    timeout: float = seconds(DEFAULT_TIMEOUT)
    memory: int | None = None
    shm_size: int = size_in_bytes(DEFAULT_SHM_SIZE)
    timing_cache: str | None = None


@dataclass(frozen=True, slots=True)
class ImageTarget:
    """`base` is `scratch`, `oci:folder[:tag]` or a reference; `tags` still have their placeholders.

    With the layouts `model` and `modelpack` the base is `scratch`.
    """

    base: str
    repository: str | None
    tags: tuple[str, ...]
    labels: Mapping[str, str]
    platform: Platform
    compression: Compression
    layout: Layout = "server"


@dataclass(frozen=True, slots=True)
class Recipe:
    """`path` is the file it came from, None for one that was parsed from bytes.

    `allow` names checks that warn instead of refusing. `verification` is the gate before publishing, None for
    none. `remote` is the repository of the remote cache. `warm`: how a compile cache is made, None for none.
    `cell`: the values of the matrix's axes as text; a recipe without a matrix has none.
    """

    name: str
    model: Model
    dtype: Dtype
    quantization: Quantization | None
    tensor_parallel_size: int
    pipeline_parallel_size: int
    gpu: str | None
    allow: tuple[str, ...]
    engine: Engine
    image: ImageTarget
    builder: Builder
    warm: Warming | None
    verification: Verification | None
    remote: str | None
    path: Path | None = field(compare=False)
    root: MappingNode = field(compare=False, repr=False)
    cell: Mapping[str, str] = field(default_factory=dict, compare=False)

    @property
    def folder(self) -> Path:
        """What relative paths in the recipe are relative to."""
        return self.path.parent if self.path else Path()

    @property
    def holds_model(self) -> bool:
        """Whether the image has the model as it was fetched, and not what was made of it."""
        return self.quantization is None and self.engine.mode != "engine"

    def tags(self, key: Digest, commit: str | None) -> tuple[str, ...]:
        """The image's tags. A local model has no commit, and its recipe no {commit}."""
        values = {
            "key": key.short,
            "name": self.name,
            "commit": (commit or "")[:12],
            "version": self.engine.version,
        }
        return tuple(expand(tag, values) for tag in self.image.tags)

    def shared_tags(self) -> tuple[str, ...]:
        """Those tags that another image may have, too: neither the key nor the name is in them."""
        own = [tag for tag in self.image.tags if "{key}" not in tag and "{name}" not in tag]
        values = {"commit": f"{self.model.source}@{self.model.revision}", "version": self.engine.version}
        return tuple(expand(tag, values) for tag in own)

    def located(self, problems: Sequence[Problem]) -> RecipeError:
        """What was found out later, in the form of a mistake in the file: place, line and caret."""
        return RecipeError(render_problems(problems, self.root))


def from_values(
    values: Mapping[str, Json], path: Path | None, root: MappingNode, cell: Mapping[str, str]
) -> Recipe:
    """The recipe of values that `format.RECIPE` has read without a problem."""
    engine = _engine(_mapping(values["engine"]))
    return Recipe(
        name=str(values["name"]),
        model=_model(_mapping(values["model"])),
        dtype=cast("Dtype", values["dtype"]),
        quantization=_quantization(values["quantization"], engine),
        tensor_parallel_size=cast("int", values["tensor_parallel_size"]),
        pipeline_parallel_size=cast("int", values["pipeline_parallel_size"]),
        gpu=_optional(values["gpu"]),
        allow=_texts(values["allow"]),
        engine=engine,
        image=_image(_mapping(values["image"])),
        builder=_builder(values["builder"]),
        warm=warming_of(values["warm"]),
        verification=verification_of(values["verify"]),
        remote=_remote(values["cache"]),
        path=path,
        root=root,
        cell=cell,
    )


def _engine(values: Mapping[str, Json]) -> Engine:
    version, build = str(values["version"]), values["build"]
    if values["type"] == "vllm":
        return Engine("vllm", version, _mapping(values["args"]), validate=bool(values["validate"]))
    return Engine(
        "tensorrt_llm",
        version,
        {},
        mode=mode_of(values),
        build=None if build is None else _mapping(build),
        runtime=_mapping(values["runtime"]),
        server=cast("Server", values["server"]),
    )


def _quantization(value: Json, engine: Engine) -> Quantization | None:
    if not isinstance(value, dict):
        return None
    method, excluded = METHODS[str(value["method"])], value["exclude_modules"]
    tool = _optional(value["tool"]) or default_tool(target(engine.type, engine.mode))
    size = cast("int | None", value["group_size"])
    return Quantization(
        method=method.name,
        tool=tool,
        kv_cache_dtype=_optional(value["kv_cache_dtype"]),
        group_size=(size or GROUP_SIZE) if method.groups else None,
        exclude_modules=excluded_by_default(tool) if excluded is None else _texts(excluded),
        calibration=_calibration(value["calibration"]),
    )


def _calibration(value: Json) -> Calibration | None:
    if not isinstance(value, dict):
        return None
    dataset, revision = _at_revision(str(value["dataset"]))
    return Calibration(
        dataset=dataset,
        revision=revision,
        num_samples=cast("int", value["num_samples"]),
        max_seq_length=cast("int", value["max_seq_length"]),
        batch_size=cast("int", value["batch_size"]),
        seed=cast("int", value["seed"]),
    )


def _builder(value: Json) -> Builder:
    if not isinstance(value, dict):
        return Builder()
    gpus = value["gpus"]
    return Builder(
        runner=cast("Runner", value["runner"]),
        image=_optional(value["image"]),
        environment=_optional(value["environment"]),
        gpus=_texts(gpus) if isinstance(gpus, list) else cast("int", gpus),
        timeout=seconds(str(value["timeout"])),
        memory=None if value["memory"] is None else size_in_bytes(str(value["memory"])),
        shm_size=size_in_bytes(str(value["shm_size"])),
        timing_cache=_optional(value["timing_cache"]),
    )


def _image(values: Mapping[str, Json]) -> ImageTarget:
    return ImageTarget(
        base=str(values["base"] or SCRATCH),
        repository=_optional(values["repository"]),
        tags=_texts(values["tags"]) or DEFAULT_TAGS,
        labels=cast("Mapping[str, str]", values["labels"]),
        platform=cast("Platform", values["platform"]),
        compression=cast("Compression", values["compression"]),
        layout=cast("Layout", values["layout"]),
    )


def _model(values: Mapping[str, Json]) -> Model:
    source, revision = _at_revision(str(values["source"]))
    return Model(
        source=source,
        revision=_optional(values["revision"]) if revision is None else revision,
        auth=str(values["auth"]),
        allow_patterns=_texts(values["allow_patterns"]),
        ignore_patterns=_texts(values["ignore_patterns"]),
        allow_pickle=bool(values["allow_pickle"]),
    )


def _at_revision(source: str) -> tuple[str, str | None]:
    """A source without the revision written behind it, and that. A folder has none."""
    if not source.startswith("hf:"):
        return source, None
    repository, at, revision = source.removeprefix("hf:").removeprefix("//").partition("@")
    return f"hf://{repository}", revision if at else None


def _remote(cache: Json) -> str | None:
    return _optional(cache["remote"]) if isinstance(cache, dict) else None


def _mapping(value: Json) -> Mapping[str, Json]:
    return cast("Mapping[str, Json]", value)


def _optional(value: Json) -> str | None:
    return None if value is None else str(value)


def _texts(value: Json) -> tuple[str, ...]:
    return tuple(str(item) for item in cast("list[Json]", value or []))

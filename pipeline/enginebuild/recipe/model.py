"""A recipe, read and checked. Equality is that of the content: place and spelling do not count."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal, cast

from enginebuild.errors import Problem, RecipeError
from enginebuild.recipe.format import DEFAULT_TAGS
from enginebuild.recipe.node import MappingNode
from enginebuild.recipe.references import SCRATCH, expand
from enginebuild.recipe.render import render_problems
from enginebuild_cache import Digest, Json

Dtype = Literal["auto", "float16", "bfloat16", "float32"]
Platform = Literal["linux/amd64", "linux/arm64"]
Layout = Literal["server", "model", "modelpack"]
Compression = Literal["none", "gzip", "zstd", "auto"]


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
class Engine:
    """`args` are shaped like JSON without null; what they mean is the engine's own affair."""

    type: Literal["vllm"]
    version: str
    args: Mapping[str, Json]


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

    `remote` is the repository of the remote cache.
    """

    name: str
    model: Model
    dtype: Dtype
    quantization: Literal["none"]
    tensor_parallel_size: int
    pipeline_parallel_size: int
    gpu: str | None
    engine: Engine
    image: ImageTarget
    remote: str | None
    path: Path | None = field(compare=False)
    root: MappingNode = field(compare=False, repr=False)

    @property
    def folder(self) -> Path:
        """What relative paths in the recipe are relative to."""
        return self.path.parent if self.path else Path()

    def tags(self, key: Digest, commit: str | None) -> tuple[str, ...]:
        """The image's tags. A local model has no commit, and its recipe no {commit}."""
        values = {
            "key": key.short,
            "name": self.name,
            "commit": (commit or "")[:12],
            "version": self.engine.version,
        }
        return tuple(expand(tag, values) for tag in self.image.tags)

    def located(self, problems: Sequence[Problem]) -> RecipeError:
        """What was found out later, in the form of a mistake in the file: place, line and caret."""
        return RecipeError(render_problems(problems, self.root))


def from_values(values: Mapping[str, Json], path: Path | None, root: MappingNode) -> Recipe:
    """The recipe of values that `format.RECIPE` has read without a problem."""
    model, engine, image = (cast("Mapping[str, Json]", values[key]) for key in ("model", "engine", "image"))
    return Recipe(
        name=str(values["name"]),
        model=_model(model),
        dtype=cast("Dtype", values["dtype"]),
        quantization="none",
        tensor_parallel_size=cast("int", values["tensor_parallel_size"]),
        pipeline_parallel_size=cast("int", values["pipeline_parallel_size"]),
        gpu=_optional(values["gpu"]),
        engine=Engine("vllm", str(engine["version"]), cast("Mapping[str, Json]", engine["args"])),
        image=ImageTarget(
            base=str(image["base"] or SCRATCH),
            repository=_optional(image["repository"]),
            tags=_texts(image["tags"]) or DEFAULT_TAGS,
            labels=cast("Mapping[str, str]", image["labels"]),
            platform=cast("Platform", image["platform"]),
            compression=cast("Compression", image["compression"]),
            layout=cast("Layout", image["layout"]),
        ),
        remote=_remote(values["cache"]),
        path=path,
        root=root,
    )


def _model(values: Mapping[str, Json]) -> Model:
    source, revision = str(values["source"]), _optional(values["revision"])
    if source.startswith("hf:"):
        repository, at, written = source.removeprefix("hf:").removeprefix("//").partition("@")
        source, revision = f"hf://{repository}", written if at else revision
    return Model(
        source=source,
        revision=revision,
        auth=str(values["auth"]),
        allow_patterns=_texts(values["allow_patterns"]),
        ignore_patterns=_texts(values["ignore_patterns"]),
        allow_pickle=bool(values["allow_pickle"]),
    )


def _remote(cache: Json) -> str | None:
    return _optional(cache["remote"]) if isinstance(cache, dict) else None


def _optional(value: Json) -> str | None:
    return None if value is None else str(value)


def _texts(value: Json) -> tuple[str, ...]:
    return tuple(str(item) for item in cast("list[Json]", value or []))

"""An engine in a folder or in the cache: TensorRT-LLM's config.json, and our manifest if it has one."""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import cast

from enginebuild.engines.tensorrt_llm.compile import resolved
from enginebuild.engines.tensorrt_llm.manifest import NAME, Manifest
from enginebuild.engines.tensorrt_llm.scripts.fitness import Needs
from enginebuild.errors import EngineBuildError, SourceError
from enginebuild.needs import needs_of_config
from enginebuild_cache import Json, Record, Store

_CONFIG = "config.json"
_RANK = re.compile(r"rank(\d+)\.engine")

#: Reads a file of the engine by its name.
_Reader = Callable[[str], bytes]


@dataclass(frozen=True)
class BuiltEngine:
    """`config` is TensorRT-LLM's own; `manifest` None: others built it. `ranks`: rank → size in bytes."""

    name: str
    config: Mapping[str, Json]
    build: Mapping[str, Json]
    manifest: Manifest | None
    ranks: Mapping[int, int]

    @property
    def needs(self) -> Needs:
        return self.manifest.needs if self.manifest else needs_of_config(self.config)

    @property
    def missing_ranks(self) -> tuple[int, ...]:
        return tuple(rank for rank in range(self.needs.world_size) if rank not in self.ranks)

    @property
    def size(self) -> int:
        """Bytes of all ranks."""
        return sum(self.ranks.values())

    @property
    def pretrained(self) -> Mapping[str, Json]:
        return cast("Mapping[str, Json]", self.config["pretrained_config"])

    def to_json(self) -> dict[str, Json]:
        return {
            "name": self.name,
            "engine": "tensorrt_llm",
            "version": self.config["version"],
            "size": self.size,
            "ranks": [{"rank": rank, "size": size} for rank, size in sorted(self.ranks.items())],
            "manifest": self.manifest.to_json() if self.manifest else None,
            "pretrained_config": dict(self.pretrained),
            "build": dict(self.build),
        }


def is_engine_folder(folder: Path) -> bool:
    """Whether a folder claims to be an engine, a broken one included; a Hugging Face model is none."""
    if (folder / NAME).is_file() or any(_RANK.fullmatch(path.name) for path in _files(folder)):
        return True
    try:
        return "pretrained_config" in json.loads((folder / _CONFIG).read_bytes())
    except (OSError, ValueError, TypeError):
        return False


def engine_in_folder(folder: Path, name: str) -> BuiltEngine:
    """Raises SourceError, also for a folder without an engine."""
    ranks = {path.name: path.stat().st_size for path in _files(folder)}
    return _engine(name, lambda each: (folder / each).read_bytes(), ranks)


def engine_in_cache(store: Store, record: Record, name: str) -> BuiltEngine:
    """The engine of a finished step. Raises SourceError, also for a step that made none."""
    files = {file.path: file for file in record.tree}
    tops = [str(PurePosixPath(path).parent) for path in files if _RANK.fullmatch(PurePosixPath(path).name)]
    if not tops:
        raise SourceError(
            f"{name} is a record of the step {record.step}, and holds no engine",
            "`enginebuild cache list` shows the step of each record",
        )
    prefix = "" if tops[0] == "." else f"{tops[0]}/"
    inside = {path.removeprefix(prefix): file for path, file in files.items() if path.startswith(prefix)}

    def read(each: str) -> bytes:
        if each not in inside:
            raise FileNotFoundError(2, "No such file", each)
        return store.read_bytes(inside[each])

    return _engine(name, read, {path: file.size for path, file in inside.items()})


def _files(folder: Path) -> list[Path]:
    return [path for path in folder.iterdir() if path.is_file()] if folder.is_dir() else []


def _engine(name: str, read: _Reader, sizes: Mapping[str, int]) -> BuiltEngine:
    ranks = {int(match[1]): size for path, size in sizes.items() if (match := _RANK.fullmatch(path))}
    try:
        content = read(_CONFIG)
        config = json.loads(content)
        needs_of_config(config if isinstance(config, dict) else {})
        manifest = Manifest.from_bytes(read(NAME)) if NAME in sizes else None
        return BuiltEngine(name, config, resolved(content), manifest, ranks)
    except OSError as error:
        raise SourceError(f"{name} is no engine: {error.filename or _CONFIG}: {error.strerror}") from error
    except ValueError as error:
        raise SourceError(
            f"{name} is no engine that can be read: {error}",
            "engines of TensorRT-LLM 0.12 and later have a config.json with version and pretrained_config",
        ) from error
    except EngineBuildError as error:
        raise SourceError(f"{name} is no engine that can be read: {error.message}") from error

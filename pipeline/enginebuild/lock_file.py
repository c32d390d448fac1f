"""The file beside a recipe: its lock, or the answers for all cells of its matrix, each once."""

from __future__ import annotations

import json
import os
import tempfile
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol, TypeVar, cast

from enginebuild import __version__
from enginebuild.errors import RecipeError
from enginebuild.lock import LOCK_VERSION, BaseLock, BuilderLock, Lock, ModelLock
from enginebuild_cache import Json, canonical_json


class _Part(Protocol):
    def to_json(self) -> dict[str, Json]: ...


P = TypeVar("P", bound=_Part)


@dataclass(frozen=True)
class LockFile:
    """What the names of all cells stood for. `tools`: versions by name; a matrix may have several of one.

    As JSON it is a Lock if every part is there once at most, as without a matrix; else each part is a list,
    so that a model of a hundred files is in it once and not once for each cell.
    """

    models: tuple[ModelLock, ...]
    bases: tuple[BaseLock, ...]
    tools: Mapping[str, tuple[str, ...]]
    builders: tuple[BuilderLock, ...] = ()
    calibrations: tuple[ModelLock, ...] = ()
    timing_caches: tuple[ModelLock, ...] = ()

    @classmethod
    def of(cls, locks: Sequence[Lock]) -> LockFile:
        """The file of one lock at least."""
        tools: dict[str, set[str]] = {}
        for lock in locks:
            for name, version in lock.tools.items():
                tools.setdefault(name, set()).add(version)
        return cls(
            _each_once(lock.model for lock in locks),
            _each_once(lock.base for lock in locks),
            {name: tuple(sorted(versions)) for name, versions in tools.items()},
            _each_once(lock.builder for lock in locks),
            _each_once(lock.calibration for lock in locks),
            _each_once(lock.timing_cache for lock in locks),
        )

    def base(self, reference: str, platform: str) -> BaseLock | None:
        asked = reference, platform
        return next((each for each in self.bases if (each.reference, each.platform) == asked), None)

    def builder(self, reference: str, platform: str) -> BuilderLock | None:
        asked = reference, platform
        return next((each for each in self.builders if (each.reference, each.platform) == asked), None)

    @property
    def lock(self) -> Lock | None:
        """The one lock; None if there are several answers to something."""
        parts = (self.models, self.bases, self.builders, self.calibrations, self.timing_caches)
        if any(len(part) > 1 for part in (*parts, *self.tools.values())):
            return None
        return Lock(
            self.models[0],
            self.bases[0],
            {name: versions[0] for name, versions in self.tools.items()},
            next(iter(self.builders), None),
            next(iter(self.calibrations), None),
            next(iter(self.timing_caches), None),
        )

    def to_json(self) -> dict[str, Json]:
        if self.lock is not None:
            return self.lock.to_json()
        parts: dict[str, tuple[_Part, ...]] = {
            "models": self.models,
            "bases": self.bases,
            "builders": self.builders,
            "calibrations": self.calibrations,
            "timing_caches": self.timing_caches,
        }
        return {
            "version": LOCK_VERSION,
            **{name: [each.to_json() for each in part] for name, part in parts.items()},
            "tools": {
                **{name: list(versions) for name, versions in self.tools.items()},
                "enginebuild": __version__,
            },
        }

    @classmethod
    def from_json(cls, value: Mapping[str, Json]) -> LockFile:
        """Read what `to_json` wrote. Raises ValueError, KeyError or TypeError for anything else."""
        if value["version"] != LOCK_VERSION or "models" not in value:
            return cls.of([Lock.from_json(value)])
        tools = cast("dict[str, list[str]]", value["tools"])
        return cls(
            tuple(map(ModelLock.from_json, _list(value["models"]))),
            tuple(map(BaseLock.from_json, _list(value["bases"]))),
            {name: tuple(map(str, tools[name])) for name in tools if name != "enginebuild"},
            tuple(map(BuilderLock.from_json, _list(value["builders"]))),
            tuple(map(ModelLock.from_json, _list(value["calibrations"]))),
            tuple(map(ModelLock.from_json, _list(value["timing_caches"]))),
        )

    def to_bytes(self) -> bytes:
        """Indented for reviews, sorted, one final newline: byte-identical when nothing changed."""
        return (json.dumps(self.to_json(), indent=2, sort_keys=True, ensure_ascii=False) + "\n").encode()


def _each_once(parts: Iterable[P | None]) -> tuple[P, ...]:
    """In an order that does not hang on that of the cells."""
    # Cells share the very objects, of which a model's may list a hundred files: each is written down once.
    objects = {id(part): part for part in parts if part is not None}
    found = {canonical_json(part.to_json()): part for part in objects.values()}
    return tuple(found[key] for key in sorted(found))


def _list(value: Json) -> list[dict[str, Json]]:
    return cast("list[dict[str, Json]]", value)


def lock_path(recipe: Path) -> Path:
    """`recipes/llama.yaml` is locked by `recipes/llama.lock`."""
    return recipe.with_suffix(".lock")


def read_lock_file(path: Path) -> LockFile | None:
    """The file, None where there is none. Raises RecipeError for a file that is no lock."""
    try:
        content = path.read_bytes()
    except FileNotFoundError:
        return None
    except OSError as error:
        raise RecipeError(f"{path}: cannot be read: {error.strerror}") from error
    try:
        return LockFile.from_json(json.loads(content))
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        detail = f"{error} is missing" if isinstance(error, KeyError) else str(error)
        raise RecipeError(
            f"{path}: not a lock: {detail}",
            "restore it from version control, or delete it and run `enginebuild lock`",
        ) from error


def write_lock_file(path: Path, lock: LockFile) -> bool:
    """Put the lock in its file at once or not at all; False if it was there already, byte for byte."""
    content = lock.to_bytes()
    try:
        if path.exists() and path.read_bytes() == content:
            return False
        descriptor, temporary = tempfile.mkstemp(prefix=f".{path.name}.", dir=path.parent)
        try:
            with os.fdopen(descriptor, "wb") as file:
                file.write(content)
                os.fchmod(file.fileno(), 0o644)
                os.fsync(file.fileno())
            Path(temporary).replace(path)
        except BaseException:
            Path(temporary).unlink(missing_ok=True)
            raise
    except OSError as error:
        raise RecipeError(
            f"{path}: cannot be written: {error.strerror}",
            "the lock lies beside the recipe: make that folder writable, or commit the lock and use --locked",
        ) from error
    return True

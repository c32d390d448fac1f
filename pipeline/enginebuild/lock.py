"""The lock: what a recipe's names stood for when it was resolved. Canonical JSON beside the recipe."""

from __future__ import annotations

import json
import os
import tempfile
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import cast

from enginebuild import __version__
from enginebuild.change import Change, changes
from enginebuild.errors import RecipeError
from enginebuild_cache import Digest, Json, Tree

LOCK_VERSION = 1


@dataclass(frozen=True)
class ModelLock:
    """The model's files. `asked` is the recipe's own request, so that a changed request shows as drift.

    `licence`: what the model's card calls it, an SPDX identifier as a rule; None where it names none.
    """

    asked: Mapping[str, Json]
    commit: str | None
    tree: Tree
    licence: str | None = None


@dataclass(frozen=True)
class BaseLock:
    """The base image. `digest` names the manifest of one platform; None for `scratch`."""

    reference: str
    platform: str
    digest: Digest | None


@dataclass(frozen=True)
class BuilderLock:
    """What the commands of a build run in: an image by digest, or a folder's packages by version."""

    reference: str
    platform: str
    digest: Digest | None = None
    versions: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True)
class Lock:
    """A whole lock. `tools` are versions by name; enginebuild's own is recorded and never drifts.

    `builder`, `calibration` and `timing_cache` are None where the recipe needs none.
    """

    model: ModelLock
    base: BaseLock
    tools: Mapping[str, str]
    builder: BuilderLock | None = None
    calibration: ModelLock | None = None
    timing_cache: ModelLock | None = None

    def to_json(self) -> dict[str, Json]:
        document: dict[str, Json] = {
            "version": LOCK_VERSION,
            "model": _model_json(self.model),
            "base": {
                "reference": self.base.reference,
                "platform": self.base.platform,
                "digest": _digest_json(self.base.digest),
            },
            "tools": {**self.tools, "enginebuild": __version__},
        }
        if self.builder is not None:
            document["builder"] = {
                "reference": self.builder.reference,
                "platform": self.builder.platform,
                "digest": _digest_json(self.builder.digest),
                "versions": dict(self.builder.versions),
            }
        for name, locked in (("calibration", self.calibration), ("timing_cache", self.timing_cache)):
            if locked is not None:
                document[name] = _model_json(locked)
        return document

    @classmethod
    def from_json(cls, value: Mapping[str, Json]) -> Lock:
        """Read what `to_json` wrote. Raises ValueError, KeyError or TypeError for anything else."""
        if value["version"] != LOCK_VERSION:
            raise ValueError(f"its version is {value['version']}, this enginebuild reads {LOCK_VERSION}")
        model, base, tools = (cast("dict[str, Json]", value[part]) for part in ("model", "base", "tools"))
        parts = {
            name: _model_from_json(cast("dict[str, Json]", value[name]))
            for name in ("calibration", "timing_cache")
            if name in value
        }
        builder = value.get("builder")
        return cls(
            _model_from_json(model),
            BaseLock(str(base["reference"]), str(base["platform"]), _digest_from_json(base["digest"])),
            {name: str(version) for name, version in tools.items() if name != "enginebuild"},
            None if builder is None else _builder_from_json(cast("dict[str, Json]", builder)),
            parts.get("calibration"),
            parts.get("timing_cache"),
        )

    def to_bytes(self) -> bytes:
        """Indented for reviews, sorted, one final newline: byte-identical when nothing changed."""
        return (json.dumps(self.to_json(), indent=2, sort_keys=True, ensure_ascii=False) + "\n").encode()


def _model_json(model: ModelLock) -> dict[str, Json]:
    licence: dict[str, Json] = {} if model.licence is None else {"licence": model.licence}
    return {**model.asked, "commit": model.commit, **licence, "files": model.tree.to_json()}


def _model_from_json(value: Mapping[str, Json]) -> ModelLock:
    commit, licence = value["commit"], value.get("licence")
    return ModelLock(
        {name: entry for name, entry in value.items() if name not in ("commit", "files", "licence")},
        None if commit is None else str(commit),
        Tree.from_json(value["files"]),
        None if licence is None else str(licence),
    )


def _builder_from_json(value: Mapping[str, Json]) -> BuilderLock:
    versions = cast("dict[str, Json]", value["versions"])
    return BuilderLock(
        str(value["reference"]),
        str(value["platform"]),
        _digest_from_json(value["digest"]),
        {name: str(version) for name, version in versions.items()},
    )


def _digest_json(digest: Digest | None) -> Json:
    return str(digest) if digest else None


def _digest_from_json(value: Json) -> Digest | None:
    return None if value is None else Digest.parse(str(value))


def lock_path(recipe: Path) -> Path:
    """`recipes/llama.yaml` is locked by `recipes/llama.lock`."""
    return recipe.with_suffix(".lock")


def read_lock(path: Path) -> Lock | None:
    """The lock in a file, None where there is none. Raises RecipeError for a file that is no lock."""
    try:
        content = path.read_bytes()
    except FileNotFoundError:
        return None
    except OSError as error:
        raise RecipeError(f"{path}: cannot be read: {error.strerror}") from error
    try:
        return Lock.from_json(json.loads(content))
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        detail = f"{error} is missing" if isinstance(error, KeyError) else str(error)
        raise RecipeError(
            f"{path}: not a lock: {detail}",
            "restore it from version control, or delete it and run `enginebuild lock`",
        ) from error


def write_lock(path: Path, lock: Lock) -> bool:
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


def drift(locked: Lock, now: Lock) -> tuple[Change, ...]:
    """Which fields say something else now, by the names they have in the lock."""
    return tuple(
        change for change in changes(locked.to_json(), now.to_json()) if change.field != "tools.enginebuild"
    )

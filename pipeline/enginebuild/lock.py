"""The lock: what a recipe's names stood for when it was resolved. Canonical JSON beside the recipe."""

from __future__ import annotations

import json
import os
import tempfile
from collections.abc import Mapping
from dataclasses import dataclass
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
class Lock:
    """A whole lock. `tools` are versions by name; enginebuild's own is recorded and never drifts."""

    model: ModelLock
    base: BaseLock
    tools: Mapping[str, str]

    def to_json(self) -> dict[str, Json]:
        return {
            "version": LOCK_VERSION,
            "model": {
                **self.model.asked,
                "commit": self.model.commit,
                **({} if self.model.licence is None else {"licence": self.model.licence}),
                "files": self.model.tree.to_json(),
            },
            "base": {
                "reference": self.base.reference,
                "platform": self.base.platform,
                "digest": str(self.base.digest) if self.base.digest else None,
            },
            "tools": {**self.tools, "enginebuild": __version__},
        }

    @classmethod
    def from_json(cls, value: Mapping[str, Json]) -> Lock:
        """Read what `to_json` wrote. Raises ValueError, KeyError or TypeError for anything else."""
        if value["version"] != LOCK_VERSION:
            raise ValueError(f"its version is {value['version']}, this enginebuild reads {LOCK_VERSION}")
        model, base, tools = (cast("dict[str, Json]", value[part]) for part in ("model", "base", "tools"))
        commit, licence, digest = model["commit"], model.get("licence"), base["digest"]
        return cls(
            ModelLock(
                {name: entry for name, entry in model.items() if name not in ("commit", "files", "licence")},
                None if commit is None else str(commit),
                Tree.from_json(model["files"]),
                None if licence is None else str(licence),
            ),
            BaseLock(
                str(base["reference"]),
                str(base["platform"]),
                None if digest is None else Digest.parse(str(digest)),
            ),
            {name: str(version) for name, version in tools.items() if name != "enginebuild"},
        )

    def to_bytes(self) -> bytes:
        """Indented for reviews, sorted, one final newline: byte-identical when nothing changed."""
        return (json.dumps(self.to_json(), indent=2, sort_keys=True, ensure_ascii=False) + "\n").encode()


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

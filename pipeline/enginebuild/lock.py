"""The lock: what the names of a recipe, or of one of its cells, stood for when it was resolved."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import cast

from enginebuild import __version__
from enginebuild.change import Change, changes
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

    def to_json(self) -> dict[str, Json]:
        licence: dict[str, Json] = {} if self.licence is None else {"licence": self.licence}
        return {**self.asked, "commit": self.commit, **licence, "files": self.tree.to_json()}

    @classmethod
    def from_json(cls, value: Mapping[str, Json]) -> ModelLock:
        commit, licence = value["commit"], value.get("licence")
        return cls(
            {name: entry for name, entry in value.items() if name not in ("commit", "files", "licence")},
            None if commit is None else str(commit),
            Tree.from_json(value["files"]),
            None if licence is None else str(licence),
        )


@dataclass(frozen=True)
class BaseLock:
    """The base image. `digest` names the manifest of one platform; None for `scratch`."""

    reference: str
    platform: str
    digest: Digest | None

    def to_json(self) -> dict[str, Json]:
        return {"reference": self.reference, "platform": self.platform, "digest": _digest_json(self.digest)}

    @classmethod
    def from_json(cls, value: Mapping[str, Json]) -> BaseLock:
        return cls(str(value["reference"]), str(value["platform"]), _digest_from_json(value["digest"]))


@dataclass(frozen=True)
class BuilderLock:
    """What the commands of a build run in: an image by digest, or a folder's packages by version."""

    reference: str
    platform: str
    digest: Digest | None = None
    versions: Mapping[str, str] = field(default_factory=dict)

    def to_json(self) -> dict[str, Json]:
        return {
            "reference": self.reference,
            "platform": self.platform,
            "digest": _digest_json(self.digest),
            "versions": dict(self.versions),
        }

    @classmethod
    def from_json(cls, value: Mapping[str, Json]) -> BuilderLock:
        versions = _part(value["versions"])
        return cls(
            str(value["reference"]),
            str(value["platform"]),
            _digest_from_json(value["digest"]),
            {name: str(version) for name, version in versions.items()},
        )


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
            "model": self.model.to_json(),
            "base": self.base.to_json(),
            "tools": {**self.tools, "enginebuild": __version__},
        }
        parts = (
            ("builder", self.builder),
            ("calibration", self.calibration),
            ("timing_cache", self.timing_cache),
        )
        return document | {name: part.to_json() for name, part in parts if part is not None}

    @classmethod
    def from_json(cls, value: Mapping[str, Json]) -> Lock:
        """Read what `to_json` wrote. Raises ValueError, KeyError or TypeError for anything else."""
        if value["version"] != LOCK_VERSION:
            raise ValueError(f"its version is {value['version']}, this enginebuild reads {LOCK_VERSION}")
        model, base, tools = (_part(value[name]) for name in ("model", "base", "tools"))
        models = {
            name: ModelLock.from_json(_part(value[name]))
            for name in ("calibration", "timing_cache")
            if name in value
        }
        return cls(
            ModelLock.from_json(model),
            BaseLock.from_json(base),
            {name: str(version) for name, version in tools.items() if name != "enginebuild"},
            BuilderLock.from_json(_part(value["builder"])) if "builder" in value else None,
            models.get("calibration"),
            models.get("timing_cache"),
        )


def _part(value: Json) -> dict[str, Json]:
    return cast("dict[str, Json]", value)


def _digest_json(digest: Digest | None) -> Json:
    return str(digest) if digest else None


def _digest_from_json(value: Json) -> Digest | None:
    return None if value is None else Digest.parse(str(value))


def drift(locked: Lock, now: Lock) -> tuple[Change, ...]:
    """Which fields say something else now, by the names they have in the lock."""
    return tuple(
        change for change in changes(locked.to_json(), now.to_json()) if change.field != "tools.enginebuild"
    )

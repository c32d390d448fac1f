"""A tree: paths and the digests of their files. What a step reads and what it leaves."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from functools import cached_property
from itertools import pairwise
from pathlib import PurePosixPath
from typing import cast

from enginebuild_cache.digest import Digest, Json


@dataclass(frozen=True, order=True, slots=True)
class File:
    """One regular file of a tree. `path` is relative and POSIX; `size` is in bytes."""

    path: str
    digest: Digest
    size: int

    def __post_init__(self) -> None:
        check_path(self.path)

    def to_json(self) -> dict[str, Json]:
        return {"path": self.path, "sha256": self.digest.hex, "size": self.size}

    @classmethod
    def from_json(cls, value: Mapping[str, Json]) -> File:
        """Read what `to_json` wrote. Raises ValueError, KeyError or TypeError for anything else."""
        size = value["size"]
        if not isinstance(size, int) or isinstance(size, bool) or size < 0:
            raise ValueError(f"not a size in bytes: {size!r}")
        return cls(str(value["path"]), Digest(str(value["sha256"])), size)


@dataclass(frozen=True)
class Tree:
    """Files sorted by path, each path once. Make one with `Tree.of`."""

    files: tuple[File, ...]

    @classmethod
    def of(cls, files: Iterable[File]) -> Tree:
        """Sort the files. Raises ValueError for a path that stands twice or is both file and folder."""
        ordered = tuple(sorted(files))
        paths = {file.path for file in ordered}
        if len(paths) != len(ordered):
            twice = sorted({a.path for a, b in pairwise(ordered) if a.path == b.path})
            raise ValueError(f"a tree names these paths twice: {', '.join(twice)}")
        for file in ordered:
            for parent in PurePosixPath(file.path).parents:
                if str(parent) in paths:
                    raise ValueError(f"{parent} is both a file and a folder (of {file.path})")
        return cls(ordered)

    def __iter__(self) -> Iterator[File]:
        return iter(self.files)

    def __len__(self) -> int:
        return len(self.files)

    @cached_property
    def digest(self) -> Digest:
        """What a step's key holds of an input: equal for equal paths and bytes, whoever made them."""
        return Digest.of_json(self.to_json())

    @property
    def size(self) -> int:
        """Bytes of all files together."""
        return sum(file.size for file in self.files)

    def file(self, path: str) -> File:
        """The file at a path. Raises KeyError."""
        for file in self.files:
            if file.path == path:
                return file
        raise KeyError(path)

    def to_json(self) -> list[Json]:
        return [file.to_json() for file in self.files]

    @classmethod
    def from_json(cls, value: Json) -> Tree:
        """Read what `to_json` wrote. Raises ValueError, KeyError or TypeError for anything else."""
        if not isinstance(value, list):
            raise TypeError("a tree is a list of files")
        return cls.of(File.from_json(cast("Mapping[str, Json]", entry)) for entry in value)


def check_path(path: str) -> None:
    """Refuse with ValueError what could leave the folder that a tree is written to."""
    parts = path.split("/")
    if not path or "\0" in path or any(part in ("", ".", "..") for part in parts):
        raise ValueError(f"not a plain relative path: {path!r}")

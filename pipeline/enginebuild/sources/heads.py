"""The first bytes of files, which is all that the checks of a checkpoint read of weights."""

from __future__ import annotations

from pathlib import Path

from enginebuild.sources.model import ReadHead
from enginebuild_cache import File, Store


def read_first(path: Path, count: int) -> bytes:
    """At most `count` bytes from a file's beginning. Raises OSError."""
    with path.open("rb", buffering=0) as opened:
        return opened.read(count)


def stored_heads(store: Store) -> ReadHead:
    """The heads of files in the store; None for those that are not there. Raises CacheError, OSError."""

    def read(file: File, count: int) -> bytes | None:
        return read_first(store.path(file), count) if store.has(file.digest) else None

    return read

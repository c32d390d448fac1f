"""Digests of files outside the cache, remembered by their stat so that they are read once.

The rule is git's for its index ("racy git"): a file changed within the clock's grain of the moment when it
was read may have the same stat and other bytes, so no entry is made for it.
"""

from __future__ import annotations

import json
import os
import stat
import time
from pathlib import Path

from enginebuild_cache.digest import Digest, Json, canonical_json
from enginebuild_cache.durable import remove, unique
from enginebuild_cache.errors import CacheError, failing_as
from enginebuild_cache.layout import Layout

#: Coarsest grain of a file system's clock that is in use (FAT: 2 s), in nanoseconds.
_GRAIN = 2_000_000_000


class Stamps:
    """One small file per path, replaced whole; an entry that cannot be read or written is no entry."""

    def __init__(self, layout: Layout) -> None:
        self._layout = layout

    def digest(self, path: Path) -> tuple[Digest, int]:
        """A file's digest and size in bytes. Raises CacheError if it cannot be read or changes meanwhile."""
        with failing_as("read", path):
            path, found = regular(path)
            known = self._known(path, found)
            if known is not None:
                return known
            with path.open("rb", buffering=0) as opened:
                before = os.fstat(opened.fileno())
            digest = Digest.of_file(path)
            after = path.stat()
        if _stamp(before) != _stamp(after):
            raise CacheError(f"{path} was changed while it was being read", "let its writer finish first")
        self._write(path, after, digest)
        return digest, after.st_size

    def keep(self, path: Path, digest: Digest) -> None:
        """Note the present stat of a file whose digest is known and whose link count we changed."""
        with failing_as("read", path):
            self._write(path, path.stat(), digest)

    def _known(self, path: Path, found: os.stat_result) -> tuple[Digest, int] | None:
        try:
            entry = json.loads(self._entry(path).read_bytes())
            digest = Digest(entry["sha256"])
            path_then, stamp, ctime = entry["path"], entry["stamp"], entry["ctime"]
        except (OSError, ValueError, KeyError, TypeError):
            return None
        if path_then != str(path) or stamp != _stamp(found):
            return None
        # A hard link more or less moves the ctime, and only the cache's own file may excuse that.
        if ctime != found.st_ctime_ns and not self._is_ours(digest, found):
            return None
        return digest, found.st_size

    def _is_ours(self, digest: Digest, found: os.stat_result) -> bool:
        try:
            return os.path.samestat(found, self._layout.file(digest).stat())
        except OSError:
            return False

    def _write(self, path: Path, found: os.stat_result, digest: Digest) -> None:
        if time.time_ns() - max(found.st_mtime_ns, 0) <= _GRAIN:
            return
        stamp: list[Json] = [*_stamp(found)]
        content = canonical_json(
            {"path": str(path), "stamp": stamp, "ctime": found.st_ctime_ns, "sha256": digest.hex}
        )
        temporary = unique(self._layout.tmp)
        try:
            temporary.write_bytes(content)
            entry = self._entry(path)
            entry.parent.mkdir(exist_ok=True)
            temporary.replace(entry)
        except OSError:
            remove(temporary)

    def _entry(self, path: Path) -> Path:
        name = Digest.of(os.fsencode(path)).hex
        return self._layout.stat / name[:2] / name


def regular(path: Path) -> tuple[Path, os.stat_result]:
    """A regular file's real path and its stat. Raises OSError, CacheError for a folder or a device."""
    real = path.resolve(strict=True)
    found = real.stat()
    if not stat.S_ISREG(found.st_mode):  # to open a pipe would be to wait for ever
        raise CacheError(f"cannot read {path}: it is not a regular file")
    return real, found


def _stamp(found: os.stat_result) -> list[int]:
    return [found.st_dev, found.st_ino, found.st_size, found.st_mtime_ns]

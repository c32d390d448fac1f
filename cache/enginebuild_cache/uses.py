"""When a file or a record was last used: what gc goes by."""

from __future__ import annotations

import os
import time
from pathlib import Path

from enginebuild_cache.digest import Digest
from enginebuild_cache.errors import failing_as
from enginebuild_cache.layout import Layout


class Uses:
    """An empty file per digest or key, whose mtime is the last use.

    Not the mtime of the file itself: hard links share it with folders that are not ours, and where several
    users share a cache only a file's owner may touch it.
    """

    def __init__(self, layout: Layout) -> None:
        self._layout = layout

    def mark(self, digest: Digest) -> None:
        """Note that it was used now. Raises CacheError."""
        use = self._layout.use(digest)
        with failing_as("write", use):
            if not _touched(use):
                use.unlink(missing_ok=True)
                _touched(use)

    def last(self, digest: Digest, path: Path) -> int:
        """Nanoseconds since the epoch; of what was never marked, when it came to its path. Raises OSError."""
        try:
            return self._layout.use(digest).stat().st_mtime_ns
        except FileNotFoundError:
            return path.stat().st_ctime_ns

    def forget(self, digest: Digest) -> None:
        """Raises OSError."""
        self._layout.use(digest).unlink(missing_ok=True)


def _touched(use: Path) -> bool:
    """False if it is another user's. Raises OSError."""
    flags = os.O_RDONLY | os.O_CREAT | os.O_CLOEXEC
    try:
        try:
            descriptor = os.open(use, flags, 0o644)
        except FileNotFoundError:
            use.parent.mkdir(parents=True, exist_ok=True)
            descriptor = os.open(use, flags, 0o644)
        try:
            now = time.time_ns()
            os.utime(descriptor, ns=(now, now))  # by its descriptor: the name may go meanwhile
        finally:
            os.close(descriptor)
    except PermissionError:
        return False
    return True

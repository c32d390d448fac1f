"""When a file or a record was last used: what gc goes by."""

from __future__ import annotations

import contextlib
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
        now = time.time_ns()
        with failing_as("write", use):
            with contextlib.suppress(FileNotFoundError, PermissionError):
                os.utime(use, ns=(now, now))
                return
            use.parent.mkdir(parents=True, exist_ok=True)
            use.unlink(missing_ok=True)  # another user's
            use.touch()
            os.utime(use, ns=(now, now))

    def last(self, digest: Digest, path: Path) -> int:
        """Nanoseconds since the epoch; of what was never marked, when it came to its path. Raises OSError."""
        try:
            return self._layout.use(digest).stat().st_mtime_ns
        except FileNotFoundError:
            return path.stat().st_ctime_ns

    def forget(self, digest: Digest) -> None:
        """Raises OSError."""
        self._layout.use(digest).unlink(missing_ok=True)

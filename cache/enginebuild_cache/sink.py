"""A file being written: its bytes go to the disk and into a digest at once."""

from __future__ import annotations

import hashlib
import os
import threading
from pathlib import Path
from typing import Protocol

from enginebuild_cache.digest import Digest, chunks_of
from enginebuild_cache.durable import write_all

#: Bytes between two starts of write-back; measured (benchmarks): the last fsync of 2 GiB is then short.
SYNC_EVERY = 128 << 20

#: The time, in nanoseconds since the epoch, of a file that we finished: who writes to it later gives it
#: another. One second, as in Nix's store; 0 is what file systems say that keep no times.
SEALED = 1_000_000_000


class Follower(Protocol):
    """Sees the bytes of a file in the one pass in which they enter the cache, from the first on.

    What else is to be known of a file (the digest of the layer that it makes, say) costs no second reading.
    """

    def update(self, chunk: bytes) -> None: ...

    def restart(self) -> None:
        """Forget what came so far; the first byte comes next."""
        ...


class Sink:
    """An open file that digests what is written to it. Raises OSError; close it in the end."""

    def __init__(self, path: Path, *, resume: bool = False, follower: Follower | None = None) -> None:
        """Make a new file, or go on at the end of one that may be there already (its bytes are digested)."""
        flags = os.O_RDWR | os.O_CREAT | os.O_CLOEXEC | (0 if resume else os.O_EXCL)
        self.path = path
        self._file = os.fdopen(os.open(path, flags, 0o644), "r+b", buffering=0)
        self._write_back: threading.Thread | None = None
        self._digest = hashlib.sha256()
        self._follower = follower
        if follower is not None:
            follower.restart()
        self._failure: OSError | None = None
        self.size = 0
        self._asked = 0
        try:
            for chunk in chunks_of(self._file):
                self._saw(chunk)
        except BaseException:
            self._file.close()
            raise

    def write(self, chunk: bytes) -> None:
        write_all(self._file.fileno(), chunk)
        self._saw(chunk)
        if self.size - self._asked >= SYNC_EVERY:
            self._start_write_back()

    def restart(self) -> None:
        """Drop what was written."""
        self._join()
        self._file.seek(0)
        self._file.truncate()
        self._digest = hashlib.sha256()
        if self._follower is not None:
            self._follower.restart()
        self.size = self._asked = 0

    @property
    def digest(self) -> Digest:
        """Of what is written so far."""
        return Digest(self._digest.hexdigest())

    def finish(self) -> None:
        """All bytes on the disk, and nobody may change them any more, or it shows (`SEALED`)."""
        self._join()
        if self._failure is not None:  # the kernel tells of lost bytes once only
            raise self._failure
        os.fchmod(self._file.fileno(), 0o444)
        os.utime(self._file.fileno(), ns=(SEALED, SEALED))
        os.fsync(self._file.fileno())

    def close(self) -> None:
        self._join()
        self._file.close()

    def _saw(self, chunk: bytes) -> None:
        self._digest.update(chunk)
        if self._follower is not None:
            self._follower.update(chunk)
        self.size += len(chunk)

    def _start_write_back(self) -> None:
        if self._write_back is not None and self._write_back.is_alive():
            return
        self._asked = self.size
        self._write_back = threading.Thread(target=self._sync, name="write-back", daemon=True)
        self._write_back.start()

    def _sync(self) -> None:
        try:
            getattr(os, "fdatasync", os.fsync)(self._file.fileno())  # macOS has no fdatasync
        except OSError as error:
            self._failure = error

    def _join(self) -> None:
        if self._write_back is not None:
            self._write_back.join()
            self._write_back = None

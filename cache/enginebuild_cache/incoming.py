"""Bytes on their way in: downloads, which outlive a kill, and writers of what has no digest yet."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from enginebuild_cache.digest import Digest
from enginebuild_cache.durable import remove, unique
from enginebuild_cache.errors import CacheError, WrongDigest, failing_as
from enginebuild_cache.files import Files
from enginebuild_cache.lock import OnWait, held
from enginebuild_cache.sink import Follower, Sink


class Partial:
    """A download in progress. Write on from `offset`, then `commit`.

    `offset` is the number of bytes that are here already: of a killed download, or all of them, if another
    process finished the same file meanwhile (`offset == size`: write nothing, only commit).
    """

    def __init__(self, files: Files, digest: Digest, size: int, sink: Sink | None) -> None:
        self.digest = digest
        self.size = size
        self._files = files
        self._sink = sink
        self._resumed = sink is not None and sink.size > 0

    @property
    def offset(self) -> int:
        return self.size if self._sink is None else self._sink.size

    def write(self, chunk: bytes) -> None:
        """Append. Raises CacheError for a full disk, WrongDigest for more bytes than the file has."""
        if not chunk:
            return
        sink = self._open_sink()
        if sink.size + len(chunk) > self.size:
            self._refuse(f"the source sent more than the {self.size} bytes of {self.digest}")
        with failing_as("write", sink.path):
            sink.write(chunk)

    def restart(self) -> None:
        """Drop what is here: the server would not send the rest only."""
        sink = self._open_sink()
        with failing_as("write", sink.path):
            sink.restart()
        self._resumed = False

    def commit(self) -> None:
        """Move the file into the cache. Raises WrongDigest if it is another one, which is removed then.

        After a connection that broke off, do not commit: what is here waits for the next attempt.
        """
        sink = self._sink
        if sink is None:
            return
        if sink.size != self.size:
            self._refuse(f"the source sent {sink.size} of the {self.size} bytes of {self.digest}")
        if sink.digest != self.digest:
            self._refuse(f"the source sent bytes of {sink.digest} instead of {self.digest}")
        with failing_as("write", sink.path):
            sink.finish()
        self._files.admit(sink.path, self.digest)
        self._sink = None
        sink.close()

    def close(self) -> None:
        if self._sink is not None:
            self._sink.close()
            self._sink = None

    def _open_sink(self) -> Sink:
        if self._sink is None:
            raise ValueError(f"the download of {self.digest} is finished already")
        return self._sink

    def _refuse(self, message: str) -> None:
        resumed, sink = self._resumed, self._open_sink()
        remove(sink.path)
        self.close()
        raise WrongDigest(
            message, "run again; if it happens again, the source or a proxy is at fault", resumed=resumed
        )


@contextmanager
def download(
    files: Files, digest: Digest, size: int, on_wait: OnWait, follower: Follower | None
) -> Iterator[Partial]:
    """A Partial that no other process has. What is written stays for the next attempt. Raises CacheError."""
    layout = files.layout
    with held(layout.partial_lock(digest.hex), on_wait):
        partial = Partial(files, digest, size, _resumable(files, digest, size, follower))
        try:
            yield partial
        finally:
            partial.close()


def _resumable(files: Files, digest: Digest, size: int, follower: Follower | None) -> Sink | None:
    """None if the whole file is in the cache."""
    if files.has(digest, size):
        return None
    path = files.layout.partial(digest)
    with failing_as("write", path):
        if path.exists():
            path.chmod(0o644)  # killed between its end and its new name
        sink = Sink(path, resume=True, follower=follower)
        if sink.size > size or (sink.size == size and sink.digest != digest):
            sink.restart()
    try:
        files.require_space(size - sink.size)
    except CacheError:
        sink.close()
        raise
    return sink


class Writer:
    """A new file whose digest is known when all of it is written."""

    def __init__(self, files: Files, sink: Sink) -> None:
        self._files = files
        self._sink = sink
        self._committed = False

    def write(self, chunk: bytes) -> None:
        """Append. Raises CacheError."""
        with failing_as("write", self._sink.path):
            self._sink.write(chunk)

    def commit(self) -> tuple[Digest, int]:
        """Move the file into the cache: its digest, and its size in bytes. Raises CacheError."""
        with failing_as("write", self._sink.path):
            self._sink.finish()
        self._files.admit(self._sink.path, self._sink.digest)
        return self._sink.digest, self._sink.size


@contextmanager
def writer(files: Files) -> Iterator[Writer]:
    """A Writer; what is not committed is removed. Raises CacheError."""
    path = unique(files.layout.tmp)
    with failing_as("write", path):
        sink = Sink(path)
    try:
        yield Writer(files, sink)
    finally:
        sink.close()
        remove(path)

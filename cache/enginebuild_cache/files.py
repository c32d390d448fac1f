"""The files of a cache, each under the digest of its bytes."""

from __future__ import annotations

import os
import time
from collections.abc import Iterator
from pathlib import Path

from enginebuild_cache.digest import CHUNK, Digest
from enginebuild_cache.durable import make_folder, publish, remove, unique, write_synced
from enginebuild_cache.errors import REPAIR, CacheError, failing_as
from enginebuild_cache.layout import Layout
from enginebuild_cache.lock import Guard
from enginebuild_cache.tree import File


class Files:
    """Bytes by digest: what is there is whole, and is checked again whenever it is read for an image."""

    def __init__(self, layout: Layout, guard: Guard) -> None:
        self.layout = layout
        self._guard = guard

    def has(self, digest: Digest, size: int | None = None) -> bool:
        """True if the file is here (and of that size in bytes); marks it as used now."""
        with self._guard.shared():
            found = self._size(digest)
            if found is None or (size is not None and found != size):
                return False
            self.mark(digest)
            return True

    def has_all(self, files: Iterator[File]) -> bool:
        """True if every file is here and of its size; marks nothing."""
        return all(self._size(file.digest) == file.size for file in files)

    def mark(self, digest: Digest) -> None:
        """Note that the file was used now. Raises CacheError."""
        use = self.layout.use(digest)
        now = time.time_ns()
        with failing_as("write", use):
            try:
                os.utime(use, ns=(now, now))
            except FileNotFoundError:
                use.parent.mkdir(parents=True, exist_ok=True)
                use.touch()
                os.utime(use, ns=(now, now))

    def last_use(self, digest: Digest) -> int:
        """Nanoseconds since the epoch; of a file that was never marked, when it came here."""
        try:
            return self.layout.use(digest).stat().st_mtime_ns
        except FileNotFoundError:
            return self.layout.file(digest).stat().st_ctime_ns

    def path(self, file: File) -> Path:
        """Where the file lies. Raises CacheError if it is missing or of another size."""
        path = self.layout.file(file.digest)
        size = self._size(file.digest)
        if size is None:
            raise CacheError(f"{file.path} is no longer in the cache: {path} is missing", REPAIR)
        if size != file.size:
            raise CacheError(
                f"{file.path} is damaged in the cache: {path} has {size} bytes instead of {file.size}", REPAIR
            )
        return path

    def read(self, file: File) -> Iterator[bytes]:
        """The file in pieces of 1 MiB. The last comes only if all are the digest's: else CacheError."""
        import hashlib

        path = self.path(file)
        running, left = hashlib.sha256(), file.size
        with failing_as("read", path), path.open("rb", buffering=0) as opened:
            while left and (chunk := opened.read(min(CHUNK, left))):
                running.update(chunk)
                left -= len(chunk)
                if not left and running.hexdigest() != file.digest.hex:
                    break
                yield chunk
        if left or running.hexdigest() != file.digest.hex:
            raise CacheError(
                f"{file.path} is damaged in the cache: the bytes of {path} are not those of {file.digest}",
                REPAIR,
            )

    def put_bytes(self, content: bytes) -> Digest:
        """Store bytes that are in memory. Raises CacheError."""
        digest = Digest.of(content)
        if not self._holds(digest, content):
            temporary = unique(self.layout.tmp)
            with failing_as("write", self.layout.file(digest)):
                write_synced(temporary, content, 0o444)
            self.admit(temporary, digest)
        return digest

    def admit(self, temporary: Path, digest: Digest) -> None:
        """Give a finished, synced file its name, in place of one that may be there. Raises CacheError."""
        path = self.layout.file(digest)
        try:
            with self._guard.shared():
                self.mark(digest)
                with failing_as("write", path):
                    make_folder(path.parent)
                    publish(temporary, path)
        except BaseException:
            remove(temporary)
            raise

    def list(self) -> Iterator[tuple[Digest, int]]:
        """Every file's digest and size in bytes, in the order of digests."""
        with failing_as("read", self.layout.files):
            for folder in sorted(self.layout.files.iterdir()):
                for entry in sorted(os.scandir(folder), key=lambda entry: entry.name):
                    yield Digest(entry.name), entry.stat().st_size

    def delete(self, digest: Digest) -> None:
        """Remove a file if it is here. Raises CacheError."""
        path = self.layout.file(digest)
        with self._guard.alone(), failing_as("remove", path):
            self.unlink(digest)

    def unlink(self, digest: Digest) -> None:
        """`delete` for one who holds the guard alone. Raises OSError."""
        self.layout.file(digest).unlink(missing_ok=True)
        self.layout.use(digest).unlink(missing_ok=True)

    def _size(self, digest: Digest) -> int | None:
        path = self.layout.file(digest)
        try:
            return path.stat().st_size
        except FileNotFoundError:
            return None
        except OSError as error:
            raise CacheError(f"cannot read {path}: {error.strerror}") from error

    def _holds(self, digest: Digest, content: bytes) -> bool:
        if not self.has(digest, len(content)):
            return False
        try:
            return self.layout.file(digest).read_bytes() == content
        except OSError:
            return False

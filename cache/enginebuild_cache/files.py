"""The files of a cache, each under the digest of its bytes."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Iterable, Iterator
from pathlib import Path

from enginebuild_cache.digest import CHUNK, Digest, chunks_of
from enginebuild_cache.durable import make_folder, remove, sync_folder, unique, write_synced
from enginebuild_cache.errors import FREE_SPACE, REPAIR, CacheError, failing_as
from enginebuild_cache.layout import Layout
from enginebuild_cache.lock import Guard
from enginebuild_cache.sink import SEALED
from enginebuild_cache.tree import File
from enginebuild_cache.uses import Uses


class Files:
    """Bytes by digest: what is there is whole, and is checked again whenever it is read for an image."""

    def __init__(self, layout: Layout, guard: Guard, uses: Uses) -> None:
        self.layout = layout
        self._guard = guard
        self._uses = uses

    def has(self, digest: Digest, size: int | None = None) -> bool:
        """True if the file is here (and of that size in bytes); marks it as used now."""
        with self._guard.shared():
            found = self._size(digest)
            if found is None or (size is not None and found != size):
                return False
            self._uses.mark(digest)
            return True

    def first_missing(self, files: Iterable[File]) -> File | None:
        """The first file that is not here, or not of its size; marks nothing."""
        return next((file for file in files if self._size(file.digest) != file.size), None)

    def path(self, file: File) -> Path:
        """Where the file lies. Raises CacheError if it is missing or of another size."""
        path = self.layout.file(file.digest)
        size = self._size(file.digest)
        if size is None:
            raise CacheError(f"{file.path} is no longer in the cache: {path} is missing", REPAIR)
        if size != file.size:
            message = f"{file.path} is damaged in the cache: {path} has {size} bytes instead of {file.size}"
            raise CacheError(message, REPAIR)
        return path

    def read(self, file: File) -> Iterator[bytes]:
        """The file in pieces of 1 MiB. The last comes only if all are the digest's: else CacheError."""
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
            message = f"{file.path} is damaged in the cache: the bytes of {path} are not those of its digest"
            raise CacheError(message, REPAIR)

    def stream(self, file: File) -> Iterator[bytes]:
        """`read` without the digest; only a missing file or another size is noticed."""
        path = self.path(file)
        with failing_as("read", path), path.open("rb", buffering=0) as opened:
            yield from chunks_of(opened)

    def unaltered(self, file: File) -> Iterator[bytes]:
        """`read`, but without the digest of a file whose time says that nobody wrote to it since we did.

        Raises CacheError, after the last piece, if somebody did meanwhile. What changed without a write, on
        the disk itself, is not noticed.
        """
        path = self.path(file)
        with failing_as("read", path), path.open("rb", buffering=0) as opened:
            if _is_sealed(opened.fileno()):
                yield from chunks_of(opened)
                if not _is_sealed(opened.fileno()):
                    raise CacheError(f"{file.path} was written to in the cache while it was read", REPAIR)
                return
        yield from self.read(file)

    def put_bytes(self, content: bytes) -> Digest:
        """Store bytes that are in memory. Raises CacheError."""
        digest = Digest.of(content)
        if self._holds(digest, content):
            return digest
        temporary = unique(self.layout.tmp)
        try:
            with failing_as("write", self.layout.file(digest)):
                write_synced(temporary, content, 0o444)
            self.admit(temporary, digest)
        finally:
            remove(temporary)
        return digest

    def admit(self, temporary: Path, digest: Digest) -> None:
        """Give a finished, synced file its name, in place of one that may be there.

        A power cut may take the name away again until `sync_names`. Raises CacheError; the temporary file is
        where it was then.
        """
        path = self.layout.file(digest)
        with self._guard.shared():
            self._uses.mark(digest)
            with failing_as("write", path):
                make_folder(path.parent)
                temporary.replace(path)

    def sync_names(self, files: Iterable[File]) -> None:
        """Make the names of files durable: once for each folder, not for each file. Raises CacheError."""
        for folder in sorted({self.layout.file(file.digest).parent for file in files}):
            with failing_as("write", folder):
                sync_folder(folder)

    def list(self) -> Iterator[tuple[Digest, int]]:
        """Every file's digest and size in bytes, in the order of digests."""
        with failing_as("read", self.layout.files):
            for folder in sorted(self.layout.files.iterdir()):
                for path in sorted(folder.iterdir()):
                    digest = _digest(path.name)
                    size = None if digest is None else self._size(digest)
                    if digest is not None and size is not None:
                        yield digest, size

    def delete(self, digest: Digest) -> None:
        """Remove a file if it is here. Raises CacheError."""
        with self._guard.alone(), failing_as("remove", self.layout.file(digest)):
            self.unlink(digest)

    def unlink(self, digest: Digest) -> None:
        """`delete` for one who holds the guard alone. Raises OSError."""
        self.layout.file(digest).unlink(missing_ok=True)
        self._uses.forget(digest)

    def require_space(self, size: int) -> None:
        """Raises CacheError if so many bytes more do not fit on the disk."""
        with failing_as("read", self.layout.root):
            disk = os.statvfs(self.layout.root)
        free = disk.f_bavail * disk.f_frsize
        if free < size:
            message = f"the cache at {self.layout.root} needs {size} bytes more and its disk has {free} left"
            raise CacheError(message, FREE_SPACE)

    def _size(self, digest: Digest) -> int | None:
        path = self.layout.file(digest)
        with failing_as("read", path):
            try:
                return path.stat().st_size
            except FileNotFoundError:
                return None

    def _holds(self, digest: Digest, content: bytes) -> bool:
        if not self.has(digest, len(content)):
            return False
        try:
            return self.layout.file(digest).read_bytes() == content
        except OSError:
            return False


def _is_sealed(descriptor: int) -> bool:
    return os.fstat(descriptor).st_mtime_ns == SEALED


def _digest(name: str) -> Digest | None:
    try:
        return Digest(name)
    except ValueError:  # not ours: NFS keeps an open file that was removed as .nfs…
        return None

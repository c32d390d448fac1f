"""The cache as its users see it: files, records, and what keeps them."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import AbstractContextManager
from pathlib import Path
from typing import TYPE_CHECKING

from enginebuild_cache import adopt, folders, incoming, roots, workspace
from enginebuild_cache.digest import Digest
from enginebuild_cache.files import Files
from enginebuild_cache.layout import Layout
from enginebuild_cache.lock import Guard, OnWait, held, unheard
from enginebuild_cache.record import Record
from enginebuild_cache.records import Records
from enginebuild_cache.sink import Follower
from enginebuild_cache.stamps import Stamps
from enginebuild_cache.tree import File, Tree
from enginebuild_cache.uses import Uses

if TYPE_CHECKING:
    from enginebuild_cache.gc import Removed
    from enginebuild_cache.verify import Verification


class Store:
    """A content-addressed store and its records in one folder, safe for any number of processes and threads.

    Everything raises CacheError, whose hint says what to do.
    """

    def __init__(self, layout: Layout) -> None:
        self._layout = layout
        self._guard = Guard(layout.guard)
        self._uses = Uses(layout)
        self._files = Files(layout, self._guard, self._uses)
        self._records = Records(layout, self._guard, self._uses, self._files)
        self._stamps = Stamps(layout)
        self._pins = roots.Pins(layout, self._guard, self._uses)

    @classmethod
    def open(cls, root: Path) -> Store:
        """Use the cache at a folder; it is made if it is absent or empty."""
        return cls(Layout.open(root))

    @property
    def root(self) -> Path:
        return self._layout.root

    @property
    def logs(self) -> Path:
        """A folder for what failed steps leave to be read; gc removes it after 30 days."""
        return self._layout.logs

    def has(self, digest: Digest) -> bool:
        """True if the file is here; marks it as used now."""
        return self._files.has(digest)

    def path(self, file: File) -> Path:
        """Where a file lies, to be read only; it must be here and of its size."""
        return self._files.path(file)

    def read(self, file: File) -> Iterator[bytes]:
        """A file in pieces of at most 1 MiB; the last one comes only if all bytes are those of its digest."""
        return self._files.read(file)

    def stream(self, file: File) -> Iterator[bytes]:
        """A file in pieces of at most 1 MiB, unchecked: for a receiver that compares digests itself."""
        return self._files.stream(file)

    def unaltered(self, file: File) -> Iterator[bytes]:
        """`read`, by the file's time where that tells: for one who takes the only digest of these bytes."""
        return self._files.unaltered(file)

    def read_bytes(self, file: File) -> bytes:
        """`read` for a small file."""
        return b"".join(self._files.read(file))

    def put_bytes(self, content: bytes) -> Digest:
        """Store bytes that are in memory."""
        return self._files.put_bytes(content)

    def put_file(
        self,
        path: Path,
        *,
        mode: adopt.Mode,
        expected: Digest | None = None,
        follower: Follower | None = None,
    ) -> tuple[Digest, int]:
        """Take in a file of the disk: its digest and its size in bytes. Raises WrongDigest too.

        `copy` shares its bytes where the file system can (reflink), `link` makes a hard link (a copy where
        that cannot be), `move` removes it from where it was.
        """
        return adopt.put_file(self._files, self._stamps, path, mode, expected, follower)

    def download(
        self,
        digest: Digest,
        size: int,
        *,
        on_wait: OnWait = unheard,
        follower: Follower | None = None,
    ) -> AbstractContextManager[incoming.Partial]:
        """A file that comes piece by piece and is known beforehand; a killed download goes on where it was.

        No other process or thread has the same one: it waits, and `on_wait` says for whom. When the other has
        finished it, `offset` is `size`: write nothing, only commit.
        """
        return incoming.download(self._files, digest, size, on_wait, follower)

    def writer(self) -> AbstractContextManager[incoming.Writer]:
        """A file that is made piece by piece."""
        return incoming.writer(self._files)

    def checkout(self, tree: Tree, folder: Path) -> None:
        """Write a tree into a folder: read-only, by reflink, else hard link, else copy."""
        folders.checkout(self._files, tree, folder)

    def export(self, tree: Tree, folder: Path) -> None:
        """Write a tree into a folder as files that may be changed, by reflink, else copy."""
        folders.export(self._files, tree, folder)

    def collect(self, folder: Path) -> Tree:
        """Move the files of a folder in: the tree of what was there."""
        return folders.collect(self._files, self._stamps, folder)

    def workspace(self) -> AbstractContextManager[Path]:
        """An empty folder on the cache's file system, gone with the block; a killed process's goes later."""
        return workspace.workspace(self._layout)

    def require_space(self, size: int) -> None:
        """Refuse at once, with CacheError, if so many bytes more do not fit on the disk."""
        self._files.require_space(size)

    def delete(self, digest: Digest) -> None:
        """Remove a file, if it is here, whoever needs it."""
        self._files.delete(digest)

    def list(self) -> Iterator[tuple[Digest, int]]:
        """Every file's digest and size in bytes."""
        return self._files.list()

    def lock(self, name: str, on_wait: OnWait = unheard) -> AbstractContextManager[None]:
        """One process or thread at a time for a name; `on_wait` is told once who holds it. Dies with them."""
        return held(self._layout.lock(name), on_wait)

    def lease(self) -> AbstractContextManager[None]:
        """While it is held, gc removes nothing that was used since it began."""
        return roots.lease(self._layout, self._guard)

    def record(self, key: Digest) -> Record | None:
        """A hit, marked as used now; None is a miss: no record, a damaged one, or a file is missing."""
        return self._records.get(key)

    def put_record(self, record: Record) -> Record:
        """Make a finished step known, on the disk for good: the record that stays, which is the first one."""
        return self._records.put(record)

    def last_record(self, step: str, subject: str) -> Record | None:
        """The record of a step used last; those with this `subject` in their provenance before all others."""
        return self._records.last(step, subject)

    def records_of(self, step: str) -> Iterator[Record]:
        """Every record of a step, the one used last before the others."""
        return self._records.of_step(step)

    def records(self) -> Iterator[Record]:
        """Every record, by step and key."""
        return self._records.all()

    def last_used(self, record: Record) -> float:
        """When a record was last hit or made: seconds since the epoch."""
        return self._records.last_used(record)

    def pin(self, name: str, keys: Iterable[Digest]) -> None:
        """Keep the records of these keys and their files from gc, under a name; replaces its former keys."""
        self._pins.set(name, keys)

    def unpin(self, name: str) -> bool:
        """False if there was no such pin."""
        return self._pins.remove(name)

    def pins(self) -> Mapping[str, frozenset[Digest]]:
        """The keys of every pin."""
        return self._pins.all()

    def gc(self, max_size: int | None = None, max_age: float | None = None) -> Removed:
        """Remove what was not used for `max_age` seconds, then the least recently used until `max_size` bytes
        of files are left; never what a pin or a lease needs.
        """
        from enginebuild_cache.gc import Collector

        return Collector(self._layout, self._guard, self._uses, self._files, self._records, self._pins).run(
            max_size, max_age
        )

    def verify(
        self, *, repair: bool = False, report: Callable[[Digest, int], None] | None = None
    ) -> Verification:
        """Read everything again. With `repair`, damaged files are set aside and their records removed."""
        from enginebuild_cache.verify import Verifier

        verifier = Verifier(self._layout, self._guard, self._files, self._records, repair=repair)
        return verifier.run(report or (lambda _digest, _size: None))

    def file_digest(self, path: Path) -> tuple[Digest, int]:
        """The digest and size in bytes of any file on disk, read again only if its stat changed."""
        return self._stamps.digest(path)

"""Making room: what was not used for longest goes first, records before the files that only they need."""

from __future__ import annotations

import contextlib
import os
import time
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from enginebuild_cache.digest import Digest
from enginebuild_cache.errors import failing_as
from enginebuild_cache.files import Files
from enginebuild_cache.layout import Layout
from enginebuild_cache.lock import Guard, try_hold
from enginebuild_cache.records import Records
from enginebuild_cache.roots import Pins, oldest_lease
from enginebuild_cache.uses import Uses
from enginebuild_cache.workspace import sweep

#: What no record names, and what a killed process left, is kept so long (ns): a rerun may go on with it.
ABANDONED = 24 * 3600 * 1_000_000_000


@dataclass(frozen=True, slots=True)
class Removed:
    """What gc removed: counts, bytes that came free, and bytes of files that the cache still holds."""

    records: int
    files: int
    leftovers: int
    freed: int
    kept: int


@dataclass(frozen=True, slots=True)
class _Unit:
    """What goes at once: a record with the files that only it names, or a file that no record names."""

    last_use: int
    files: frozenset[Digest]
    record: Path | None = None


class Collector:
    """One gc. Every removal is decided again under the guard: a hit in between keeps what it found."""

    def __init__(
        self, layout: Layout, guard: Guard, uses: Uses, files: Files, records: Records, pins: Pins
    ) -> None:
        self._layout = layout
        self._guard = guard
        self._uses = uses
        self._files = files
        self._records = records
        self._pins = pins
        self._now = time.time_ns()
        with guard.alone():
            #: What was used at this time (ns since the epoch) or later stays, whatever the bounds.
            self._barrier = oldest_lease(layout, self._now)
        self._present: set[str] = set()
        self._named: Counter[Digest] = Counter()
        self._kept = 0
        self._records_gone = self._files_gone = self._leftovers = self._freed = 0

    def run(self, max_size: int | None, max_age: float | None) -> Removed:
        """Remove what was not used for `max_age` seconds, then the oldest until `max_size` bytes are left."""
        for unit in self._units():
            self._remove(unit, self._limit(unit, max_age))
        if max_size is not None:
            self._shrink(max_size)
        self._sweep()
        return Removed(self._records_gone, self._files_gone, self._leftovers, self._freed, self._kept)

    def _shrink(self, max_size: int) -> None:
        for unit in self._units():
            if self._kept <= max_size:
                break
            self._remove(unit, self._barrier)

    def _limit(self, unit: _Unit, max_age: float | None) -> int:
        """A unit goes if it was last used before this time (ns since the epoch)."""
        oldest = 0 if max_age is None else self._now - int(max_age * 1e9)
        if unit.record is None:
            oldest = max(oldest, self._now - ABANDONED)
        return min(oldest, self._barrier)

    def _units(self) -> list[_Unit]:
        """What may go, the first to go first: files without a record, then records by last use."""
        # Files first: a record that comes meanwhile then names files that are not in the list, or are used.
        sizes = dict(self._files.list())
        self._present = {digest.hex for digest in sizes}
        self._named.clear()
        self._kept = sum(sizes.values())
        pinned = {key for keys in self._pins.all().values() for key in keys}
        records = []
        for path in self._records.paths():
            record = self._records.read(path)
            if record is None:
                continue
            digests = frozenset(file.digest for file in record.tree)
            self._named.update(digests)
            self._present.add(record.key.hex)
            if record.key not in pinned:
                records.append(_Unit(self._last_use(record.key, path), digests, path))
        loose = [
            _Unit(self._last_use(digest, self._layout.file(digest)), frozenset({digest}))
            for digest in sizes
            if not self._named[digest]
        ]
        return sorted(loose, key=_age) + sorted(records, key=_age)

    def _remove(self, unit: _Unit, limit: int) -> bool:
        """False if it was used at the limit (ns since the epoch) or later."""
        if unit.last_use >= limit:
            return False
        if unit.record is not None:
            if not self._remove_record(unit.record, limit):
                return False
            self._named.subtract(unit.files)
        for digest in unit.files:
            if not self._named[digest]:
                self._remove_file(digest, limit)
        return True

    def _remove_record(self, path: Path, limit: int) -> bool:
        with self._guard.alone(), failing_as("remove", path):
            if self._last_use(Digest(path.stem), path) >= limit:
                return False
            self._records.unlink(path)
        self._records_gone += 1
        return True

    def _remove_file(self, digest: Digest, limit: int) -> None:
        path = self._layout.file(digest)
        with self._guard.alone(), failing_as("remove", path):
            try:
                found = path.stat()
            except FileNotFoundError:
                return
            if self._last_use(digest, path) >= limit:
                return
            self._files.unlink(digest)
        self._files_gone += 1
        self._freed += found.st_size if found.st_nlink == 1 else 0
        self._kept -= found.st_size

    def _last_use(self, digest: Digest, path: Path) -> int:
        try:
            return self._uses.last(digest, path)
        except FileNotFoundError:
            return 0

    def _sweep(self) -> None:
        """Remove what killed processes left."""
        for path in self._abandoned(self._layout.tmp, ABANDONED):
            self._drop(path)
        for path in self._abandoned(self._layout.partials, ABANDONED):
            self._drop_unlocked(path, self._layout.partial_lock(path.name))
        for path in self._abandoned(self._layout.locks, ABANDONED):
            if path != self._layout.guard:
                self._drop_unlocked(path, path)
        for folder in (self._layout.corrupt, self._layout.stat, self._layout.logs):
            for path in self._abandoned(folder, 30 * ABANDONED):
                self._drop(path)
        _prune(self._layout.logs)
        sweep(self._layout)
        for path in self._abandoned(self._layout.uses, ABANDONED):
            if path.name not in self._present:
                self._drop(path)

    def _abandoned(self, folder: Path, age: int) -> Iterator[Path]:
        for place, _, names in os.walk(folder):
            for name in names:
                path = Path(place, name)
                # A hard link of an old file is new by its ctime only.
                if _changed(path) < min(self._now - age, self._barrier):
                    yield path

    def _drop_unlocked(self, path: Path, lock: Path) -> None:
        try:
            descriptor = try_hold(lock)
        except FileNotFoundError:
            self._drop(path)
            return
        if descriptor is not None:
            self._drop(path)
            os.close(descriptor)

    def _drop(self, path: Path) -> None:
        with failing_as("remove", path):
            try:
                size = path.stat().st_size
                path.unlink()
            except FileNotFoundError:
                return
        self._leftovers += 1
        self._freed += size


def _prune(top: Path) -> None:
    """Remove the empty folders below one."""
    for place, _, _ in os.walk(top, topdown=False):
        if Path(place) != top:
            with contextlib.suppress(OSError):
                Path(place).rmdir()


def _age(unit: _Unit) -> int:
    return unit.last_use


def _changed(path: Path) -> int:
    try:
        return path.stat().st_ctime_ns
    except FileNotFoundError:
        return 0

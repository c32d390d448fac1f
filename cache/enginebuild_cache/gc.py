"""Making room: what was not used for longest goes first, records before the files that only they need."""

from __future__ import annotations

import os
import time
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from enginebuild_cache.digest import Digest
from enginebuild_cache.errors import failing_as
from enginebuild_cache.files import Files
from enginebuild_cache.layout import GUARD, Layout
from enginebuild_cache.lock import Guard, try_hold
from enginebuild_cache.records import Records
from enginebuild_cache.roots import Pins, oldest_lease

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


@dataclass(slots=True)
class _Unit:
    """What goes at once: a record with the files that only it names, or a file that no record names."""

    last_use: int
    files: frozenset[Digest]
    record: Path | None = None


class Collector:
    """One gc. Every removal is decided again under the guard: a hit in between keeps what it found."""

    def __init__(self, layout: Layout, guard: Guard, files: Files, records: Records, pins: Pins) -> None:
        self._layout = layout
        self._guard = guard
        self._files = files
        self._records = records
        self._pins = pins
        self._now = time.time_ns()
        with guard.alone():
            self._barrier = oldest_lease(layout, self._now)
        self._sizes = dict(files.list())
        self._names: Counter[Digest] = Counter()
        self._removed_records = self._removed_files = self._leftovers = self._freed = 0

    def run(self, max_size: int | None, max_age: float | None) -> Removed:
        """Remove what was not used for `max_age` seconds, then the oldest until `max_size` bytes are left."""
        units = self._units()
        cutoff = 0 if max_age is None else self._now - int(max_age * 1e9)
        kept = []
        for unit in units:
            oldest = cutoff if unit.record else max(cutoff, self._now - ABANDONED)
            if unit.last_use > oldest or not self._remove(unit, min(oldest, self._barrier)):
                kept.append(unit)
        if max_size is not None:
            for unit in kept:
                if sum(self._sizes.values()) <= max_size:
                    break
                self._remove(unit, self._barrier)
        self._sweep()
        return Removed(
            self._removed_records,
            self._removed_files,
            self._leftovers,
            self._freed,
            sum(self._sizes.values()),
        )

    def _units(self) -> list[_Unit]:
        """What may go, the first to go first: files without a record, then records by last use."""
        pinned = {key for keys in self._pins.all().values() for key in keys}
        records = []
        for path in self._records.paths():
            record = self._records.read(path)
            if record is None:
                continue
            digests = frozenset(file.digest for file in record.tree)
            self._names.update(digests)
            if record.key not in pinned:
                records.append(_Unit(path.stat().st_mtime_ns, digests, path))
        loose = [
            _Unit(self._files.last_use(digest), frozenset({digest}))
            for digest in self._sizes
            if not self._names[digest]
        ]
        return sorted(loose, key=_last_use) + sorted(records, key=_last_use)

    def _remove(self, unit: _Unit, limit: int) -> bool:
        """False if it was used after the limit (ns since the epoch) after all."""
        if unit.record is not None:
            with self._guard.alone(), failing_as("remove", unit.record):
                if unit.record.stat().st_mtime_ns >= limit:
                    return False
                unit.record.unlink()
            self._removed_records += 1
            self._names.subtract(unit.files)
        for digest in unit.files:
            if not self._names[digest]:
                self._remove_file(digest, limit)
        return True

    def _remove_file(self, digest: Digest, limit: int) -> None:
        path = self._layout.file(digest)
        with self._guard.alone(), failing_as("remove", path):
            try:
                found = path.stat()
                if self._files.last_use(digest) >= limit:
                    return
            except FileNotFoundError:
                return
            self._files.unlink(digest)
        self._removed_files += 1
        self._freed += found.st_size if found.st_nlink == 1 else 0
        self._sizes.pop(digest, None)

    def _sweep(self) -> None:
        """Remove what killed processes left."""
        for path in self._abandoned(self._layout.tmp):
            self._drop(path)
        for path in self._abandoned(self._layout.partials):
            self._drop_unlocked(path, self._layout.partial_lock(path.name))
        for path in self._abandoned(self._layout.locks):
            self._drop_unlocked(path, path)
        for folder in (self._layout.corrupt, self._layout.stat):
            for path in self._abandoned(folder, 30 * ABANDONED):
                self._drop(path)

    def _abandoned(self, folder: Path, age: int = ABANDONED) -> Iterator[Path]:
        for path in _files_below(folder):
            try:
                if path.stat().st_mtime_ns < min(self._now - age, self._barrier):
                    yield path
            except FileNotFoundError:
                continue

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
            size = path.stat().st_size
            path.unlink()
        self._leftovers += 1
        self._freed += size


def _last_use(unit: _Unit) -> int:
    return unit.last_use


def _files_below(folder: Path) -> Iterator[Path]:
    for place, _, names in os.walk(folder):
        for name in names:
            if name != GUARD:
                yield Path(place, name)

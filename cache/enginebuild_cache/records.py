"""The records of a cache: what was made for which key."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from enginebuild_cache.digest import Digest
from enginebuild_cache.durable import create_once, make_folder, replace
from enginebuild_cache.errors import CacheError, failing_as
from enginebuild_cache.files import Files
from enginebuild_cache.layout import Layout
from enginebuild_cache.lock import Guard
from enginebuild_cache.record import Record
from enginebuild_cache.uses import Uses


class Records:
    """One file per key, created once: who comes second finds the first one's record."""

    def __init__(self, layout: Layout, guard: Guard, uses: Uses, files: Files) -> None:
        self._layout = layout
        self._guard = guard
        self._uses = uses
        self._files = files

    def get(self, key: Digest) -> Record | None:
        """The record of a key, marked as used now; None if there is none or a file of its tree is missing."""
        with self._guard.shared():
            for path in self._of(key):
                record = self.read(path)
                if record is not None and self._is_whole(record):
                    self._uses.mark(key)
                    return record
        return None

    def put(self, record: Record) -> Record:
        """Write a record last, when its files are there: the one that stays, the first one if it is whole.

        Raises CacheError if a file of its tree is missing.
        """
        path = self._layout.record(record.step, record.key)
        with self._guard.shared():
            missing = self._files.first_missing(record.tree)
            if missing is not None:
                message = f"cannot record the {record.step} step: {missing.path} is not in the cache"
                raise CacheError(message, "run again: somebody removed it meanwhile")
            self._files.sync_names(record.tree)
            for digest in (record.key, *(file.digest for file in record.tree)):
                self._uses.mark(digest)
            with failing_as("write", path):
                make_folder(path.parent)
                if create_once(self._layout.tmp, path, record.to_bytes()):
                    return record
                first = self.read(path)
                if first is not None and self._is_whole(first):
                    return first
                replace(self._layout.tmp, path, record.to_bytes())
        return record

    def last(self, step: str, subject: str) -> Record | None:
        """The record of a step used last; one with this subject in its provenance before all others."""
        newest = None
        for record in self.of_step(step):
            if record.provenance.get("subject") == subject:
                return record
            newest = newest or record
        return newest

    def of_step(self, step: str) -> Iterator[Record]:
        """Every whole record of a step, the one used last before the others."""
        for path in sorted(_files_in(self._layout.records / step), key=self._last_use, reverse=True):
            record = self.read(path)
            if record is not None:
                yield record

    def all(self) -> Iterator[Record]:
        """Every whole record, by step and key."""
        for path in self.paths():
            record = self.read(path)
            if record is not None:
                yield record

    def last_used(self, record: Record) -> float:
        """Seconds since the epoch. Raises CacheError if it is gone."""
        path = self._layout.record(record.step, record.key)
        with failing_as("read", path):
            return self._uses.last(record.key, path) / 1e9

    def paths(self) -> list[Path]:
        """Every record's file, by step and key. Raises CacheError."""
        with failing_as("read", self._layout.records):
            steps = sorted(self._layout.records.iterdir())
        return [path for step in steps for path in sorted(_files_in(step))]

    def read(self, path: Path) -> Record | None:
        """A record by its file; None if it is gone, or damaged: that one is set aside. Raises CacheError."""
        try:
            return self.load(path)
        except ValueError:
            self.set_aside(path, self._layout.corrupt / "records")
            return None

    def load(self, path: Path) -> Record | None:
        """`read`, but raises ValueError for a damaged one."""
        with failing_as("read", path):
            try:
                content = path.read_bytes()
            except FileNotFoundError:
                return None
        record = Record.from_bytes(content)
        if record.key.hex != path.stem or record.step != path.parent.name:
            raise ValueError(f"it is the record of the {record.step} step with the key {record.key}")
        return record

    def set_aside(self, path: Path, folder: Path) -> None:
        """Move a damaged record into a folder under its step's name and its own. Raises CacheError."""
        target = folder / path.parent.name / path.name
        with failing_as("set aside", path):
            target.parent.mkdir(parents=True, exist_ok=True)
            try:
                path.replace(target)
            except FileNotFoundError:
                return  # somebody else did

    def unlink(self, path: Path) -> None:
        """For one who holds the guard alone. Raises OSError."""
        path.unlink(missing_ok=True)
        self._uses.forget(Digest(path.stem))

    def _is_whole(self, record: Record) -> bool:
        return self._files.first_missing(record.tree) is None

    def _of(self, key: Digest) -> Iterator[Path]:
        with failing_as("read", self._layout.records):
            steps = list(self._layout.records.iterdir())
        for step in steps:
            path = step / f"{key.hex}.json"
            if path.exists():
                yield path

    def _last_use(self, path: Path) -> int:
        try:
            return self._uses.last(Digest(path.stem), path)
        except (FileNotFoundError, ValueError):
            return 0


def _files_in(folder: Path) -> list[Path]:
    with failing_as("read", folder):
        return list(folder.glob("*.json"))

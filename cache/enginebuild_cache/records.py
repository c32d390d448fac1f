"""The records of a cache: what was made for which key."""

from __future__ import annotations

import os
import time
from collections.abc import Iterator
from pathlib import Path

from enginebuild_cache.digest import Digest
from enginebuild_cache.durable import create_once, make_folder, replace
from enginebuild_cache.errors import CacheError, described, failing_as
from enginebuild_cache.files import Files
from enginebuild_cache.layout import Layout
from enginebuild_cache.lock import Guard
from enginebuild_cache.record import Record


class Records:
    """One file per key, created once: who comes second finds the first one's record."""

    def __init__(self, layout: Layout, guard: Guard, files: Files) -> None:
        self._layout = layout
        self._guard = guard
        self._files = files

    def get(self, key: Digest) -> Record | None:
        """The record of a key, marked as used now; None if there is none or a file of its tree is missing."""
        with self._guard.shared():
            for path in self._of(key):
                record = self.read(path)
                if record is not None and self._files.has_all(iter(record.tree)):
                    mark(path)
                    return record
        return None

    def put(self, record: Record) -> Record:
        """Write a record last, when its files are there: the one that stays, the first one if it is whole.

        Raises CacheError if a file of its tree is missing.
        """
        path = self._layout.record(record.step, record.key)
        for file in record.tree:
            if not self._files.has(file.digest, file.size):
                raise CacheError(f"cannot record the {record.step} step: {file.path} is not in the cache")
        with self._guard.shared(), failing_as("write", path):
            make_folder(path.parent)
            if create_once(self._layout.tmp, path, record.to_bytes()):
                return record
            first = self.read(path)
            if first is not None and self._files.has_all(iter(first.tree)):
                mark(path)
                return first
            replace(self._layout.tmp, path, record.to_bytes())
        return record

    def last(self, step: str, subject: str) -> Record | None:
        """The record of a step used last; one with this subject in its provenance before all others."""
        folder = self._layout.record(step, Digest("0" * 64)).parent
        newest = None
        for path in sorted(_files_in(folder), key=_used, reverse=True):
            record = self.read(path)
            if record is not None and record.provenance.get("subject") == subject:
                return record
            newest = newest or record
        return newest

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
            return path.stat().st_mtime

    def paths(self) -> list[Path]:
        """Every record's file, by step and key. Raises CacheError."""
        with failing_as("read", self._layout.records):
            steps = sorted(self._layout.records.iterdir())
        return [path for step in steps for path in sorted(_files_in(step))]

    def read(self, path: Path) -> Record | None:
        """A record by its file; None if it is gone, or damaged: that one is set aside. Raises CacheError."""
        try:
            record = Record.from_bytes(path.read_bytes())
            if record.key.hex != path.stem or record.step != path.parent.name:
                raise ValueError("it is the record of another key")
        except FileNotFoundError:
            return None
        except OSError as error:
            raise described(error, "read", path) from error
        except ValueError:
            self._set_aside(path)
            return None
        return record

    def _set_aside(self, path: Path) -> None:
        target = self._layout.corrupt / "records" / path.parent.name / path.name
        with failing_as("set aside", path):
            target.parent.mkdir(parents=True, exist_ok=True)
            path.replace(target)

    def _of(self, key: Digest) -> Iterator[Path]:
        with failing_as("read", self._layout.records):
            steps = list(self._layout.records.iterdir())
        for step in steps:
            path = step / f"{key.hex}.json"
            if path.exists():
                yield path


def mark(path: Path) -> None:
    """Note that a record was used now. Raises CacheError."""
    now = time.time_ns()
    with failing_as("write", path):
        os.utime(path, ns=(now, now))


def _files_in(folder: Path) -> list[Path]:
    with failing_as("read", folder):
        try:
            return list(folder.glob("*.json"))
        except FileNotFoundError:
            return []


def _used(path: Path) -> int:
    try:
        return path.stat().st_mtime_ns
    except FileNotFoundError:
        return 0

"""Reading everything again: every file against its digest, every record against itself and its files."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

from enginebuild_cache.digest import Digest
from enginebuild_cache.errors import failing_as
from enginebuild_cache.files import Files
from enginebuild_cache.layout import Layout
from enginebuild_cache.lock import Guard
from enginebuild_cache.record import Record
from enginebuild_cache.records import Records
from enginebuild_cache.tree import File


@dataclass(frozen=True, slots=True)
class Finding:
    """One thing that is wrong: which file of the cache, and what with it."""

    path: Path
    message: str
    repaired: bool


@dataclass(frozen=True, slots=True)
class Verification:
    """What was read (counts, bytes) and what was wrong."""

    files: int
    records: int
    size: int
    findings: tuple[Finding, ...]


class Verifier:
    """One verification; with `repair`, what is wrong is set aside, so that the next run makes it anew."""

    def __init__(self, layout: Layout, guard: Guard, files: Files, records: Records, *, repair: bool) -> None:
        self._layout = layout
        self._guard = guard
        self._files = files
        self._records = records
        self._repair = repair
        self._damaged: set[Digest] = set()
        self._counted = self._size = 0

    def run(self, report: Callable[[Digest, int], None]) -> Verification:
        """`report` hears of each file's digest and size in bytes before it is read. Raises CacheError."""
        findings = list(self._check_files(report))
        records = 0
        for path in self._records.paths():
            try:
                record = self._records.load(path)
            except ValueError as error:
                findings.append(self._damaged_record(path, error))
                continue
            if record is not None:
                records += 1
                findings.extend(self._check_record(path, record))
        findings = list(self._set_aside_before()) + findings
        return Verification(self._counted, records, self._size, tuple(findings))

    def _check_files(self, report: Callable[[Digest, int], None]) -> Iterator[Finding]:
        for digest, size in self._files.list():
            report(digest, size)
            path = self._layout.file(digest)
            with failing_as("read", path):
                try:
                    found = Digest.of_file(path)
                except FileNotFoundError:  # gc or another repair was faster
                    continue
            self._counted += 1
            self._size += size
            if found != digest:
                self._damaged.add(digest)
                if self._repair:
                    self._set_aside(digest)
                yield Finding(path, f"its bytes have the digest {found}", self._repair)

    def _check_record(self, path: Path, record: Record) -> Iterator[Finding]:
        wrong = [file.path for file in record.tree if not self._is_sound(file)]
        if wrong:
            if self._repair:
                with self._guard.alone(), failing_as("remove", path):
                    self._records.unlink(path)
            more = f" and {len(wrong) - 1} more" if len(wrong) > 1 else ""
            message = f"this record of the {record.step} step names {wrong[0]}{more}, missing or damaged"
            yield Finding(path, message, self._repair)

    def _is_sound(self, file: File) -> bool:
        # A file that came while we were reading is whole: only a finished one gets its name.
        path = self._layout.file(file.digest)
        try:
            size = path.stat().st_size
        except FileNotFoundError:
            return False
        return size == file.size and file.digest not in self._damaged

    def _set_aside(self, digest: Digest) -> None:
        path = self._layout.file(digest)
        target = self._layout.corrupt / "files" / digest.hex
        with self._guard.alone(), failing_as("set aside", path):
            # Another process may have put a sound one in its place since it was read.
            if Digest.of_file(path) != digest:
                target.parent.mkdir(parents=True, exist_ok=True)
                path.replace(target)

    def _set_aside_before(self) -> Iterator[Finding]:
        for path in sorted((self._layout.corrupt / "records").glob("*/*.json")):
            if self._repair:
                self._records.set_aside(path, self._layout.corrupt / "repaired")
            yield Finding(path, "this record was damaged; it was set aside when it was read", self._repair)

    def _damaged_record(self, path: Path, error: ValueError) -> Finding:
        if self._repair:
            self._records.set_aside(path, self._layout.corrupt / "repaired")
        return Finding(path, f"this record is damaged: {error}", self._repair)

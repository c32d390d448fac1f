"""Many files at once from an origin straight into the store: resumed, retried, verified.

Each file is written once, into the store's partial file, and digested on the way. A failure of one file stops
the others where they are; what is finished stays finished and what is partial goes on there at the next run.
"""

from __future__ import annotations

import hashlib
import threading
from collections.abc import Callable, Iterable, Mapping, Sequence
from concurrent.futures import FIRST_EXCEPTION, Future, ThreadPoolExecutor, wait
from dataclasses import dataclass, field
from pathlib import Path
from typing import TypeVar

from enginebuild.errors import SourceError
from enginebuild.events import Note, Waiting
from enginebuild.sources import hub_words
from enginebuild.sources.origin import JOBS, PATIENCE, Body, Origin, Patience, RemoteFile, TransientError
from enginebuild.sources.progress import Meter
from enginebuild_cache import CacheError, Digest, File, Follower, Store, WrongDigest

T = TypeVar("T")
R = TypeVar("R")


class StoppedError(Exception):
    """Another file failed, or the user interrupted: this one was left where it is."""


@dataclass(frozen=True)
class Downloader:
    """Fetches files of one origin into a store."""

    origin: Origin
    store: Store
    meter: Meter
    patience: Patience = PATIENCE
    jobs: int = JOBS
    stop: threading.Event = field(default_factory=threading.Event)
    #: By path: what else sees the bytes of a file that comes in.
    followers: Mapping[str, Follower] = field(default_factory=dict)

    def fetch(self, files: Sequence[File]) -> None:
        """Bring files in that the store lacks. Raises SourceError, CacheError."""
        largest_first = sorted(files, key=lambda file: file.size, reverse=True)
        self._all(self._fetch_one, largest_first)

    def fetch_unlisted(self, files: Sequence[RemoteFile]) -> list[File]:
        """Bring in files without a listed sha256, checked by git's sha-1. Raises SourceError, CacheError."""
        return self._all(self._fetch_unlisted, files)

    def _all(self, work: Callable[[T], R], items: Iterable[T]) -> list[R]:
        def unless_stopped(item: T) -> R:
            if self.stop.is_set():
                raise StoppedError
            return work(item)

        with ThreadPoolExecutor(self.jobs, "download") as pool:
            futures = [pool.submit(unless_stopped, item) for item in items]
            try:
                wait(futures, return_when=FIRST_EXCEPTION)
            finally:
                if any(not future.done() or future.exception() for future in futures):
                    self.stop.set()
        _raise_first(futures)
        return [future.result() for future in futures]

    def _fetch_one(self, file: File) -> None:
        listed = RemoteFile(file.path, file.size, "", file.digest.hex)
        if self._reuse(listed, file.digest) is not None:
            self.meter.moved(file.path, file.size, file.size, file.size)
            return
        try:
            self._download(file)
        except WrongDigest as error:
            if not error.resumed:
                raise hub_words.wrong_bytes(self.origin.name, file.path, error.message) from error
            self.meter.moved(file.path, 0, file.size, -file.size)
            self._download_anew(file)

    def _download_anew(self, file: File) -> None:
        """Once more: what was wrong may have been the partial file of an earlier run."""
        try:
            self._download(file)
        except WrongDigest as error:
            raise hub_words.wrong_bytes(self.origin.name, file.path, error.message) from error

    def _download(self, file: File) -> None:
        def waiting(holder: str) -> None:
            self.meter.event(Waiting(file.path, holder))

        follower = self.followers.get(file.path)
        with self.store.download(file.digest, file.size, on_wait=waiting, follower=follower) as partial:
            self.meter.moved(file.path, partial.offset, file.size, partial.offset)

            def receive(body: Body) -> None:
                if body.offset != partial.offset:
                    self.meter.moved(file.path, 0, file.size, -partial.offset)
                    partial.restart()
                for chunk in body.chunks:
                    if self.stop.is_set():
                        raise StoppedError
                    partial.write(chunk)
                    self.meter.moved(file.path, partial.offset, file.size, len(chunk))

            self._patiently(file.path, file.size, lambda: partial.offset, receive)
            partial.commit()

    def _fetch_unlisted(self, file: RemoteFile) -> File:
        reused = self._reuse(file, None)
        if reused is not None:
            self.meter.moved(file.path, file.size, file.size, file.size)
            return File(file.path, reused, file.size)
        with self.store.writer() as writer:
            received = _GitBlob(file.size)

            def receive(body: Body) -> None:
                skip = received.size - body.offset
                for chunk in body.chunks:
                    rest, skip = chunk[skip:], max(skip - len(chunk), 0)
                    if self.stop.is_set():
                        raise StoppedError
                    if received.size + len(rest) > file.size:
                        got = received.size + len(rest)
                        raise hub_words.wrong_size(self.origin.name, file.path, file.size, got)
                    received.add(rest)
                    writer.write(rest)
                    self.meter.moved(file.path, received.size, file.size, len(rest))

            self._patiently(file.path, file.size, lambda: received.size, receive)
            if received.oid != file.git_oid:
                text = f"the source sent git blob {received.oid} instead of {file.git_oid}"
                raise hub_words.wrong_bytes(self.origin.name, file.path, text)
            digest, size = writer.commit()
            return File(file.path, digest, size)

    def _patiently(
        self, path: str, size: int, offset: Callable[[], int], receive: Callable[[Body], None]
    ) -> None:
        """Ask until all bytes are here, each time for the rest, giving up after failures without a byte."""
        failures = 0
        while offset() < size:
            before = offset()
            try:
                with self.origin.open(path, before) as body:
                    self._check_answer(path, before, size, body)
                    receive(body)
                if offset() < size:
                    raise hub_words.wrong_size(self.origin.name, path, size, offset())
            except TransientError as error:
                failures = failures + 1 if offset() <= before else 1
                if failures >= self.patience.attempts:
                    raise hub_words.gave_up(
                        self.origin.name, path, offset(), size, failures, error.reason
                    ) from error
                self._pause(path, self.patience.pause(failures, error.wait), error.reason)

    def _check_answer(self, path: str, asked: int, size: int, body: Body) -> None:
        if body.offset not in (0, asked):
            raise hub_words.wrong_range(self.origin.name, path, asked, body.offset)
        if body.length is not None and body.offset + body.length != size:
            raise hub_words.wrong_size(self.origin.name, path, size, body.offset + body.length)

    def _pause(self, path: str, seconds: float, reason: str) -> None:
        self.meter.event(Note(f"{path}: {reason}; trying again in {seconds:g} s"))
        if self.stop.wait(seconds):
            raise StoppedError

    def _reuse(self, file: RemoteFile, expected: Digest | None) -> Digest | None:
        """Link a copy that is on this machine into the store, if its bytes are the right ones."""
        found = self.origin.cached(file)
        if found is None:
            return None
        try:
            if expected is None and _git_oid(Path(found)) != file.git_oid:
                raise WrongDigest(f"its git blob is not {file.git_oid}")
            follower = self.followers.get(file.path)
            return self.store.put_file(Path(found), mode="link", expected=expected, follower=follower)[0]
        except WrongDigest:
            reason = f"{found} is damaged"
        except CacheError as error:
            reason = error.message
        except OSError as error:
            reason = f"{found} cannot be read ({error.strerror})"
        text = f"{reason}: {file.path} of {self.origin.name} is fetched again instead"
        self.meter.event(Note(text, "warning"))
        return None


class _GitBlob:
    """Git's sha-1 of a file that comes in pieces."""

    def __init__(self, size: int) -> None:
        self._sha1 = hashlib.sha1(b"blob %d\0" % size, usedforsecurity=False)
        self.size = 0

    def add(self, chunk: bytes) -> None:
        self._sha1.update(chunk)
        self.size += len(chunk)

    @property
    def oid(self) -> str:
        return self._sha1.hexdigest()


def _git_oid(path: Path) -> str:
    blob = _GitBlob(path.stat().st_size)
    with path.open("rb") as file:
        while chunk := file.read(1 << 20):
            blob.add(chunk)
    return blob.oid


def _raise_first(futures: Sequence[Future[R]]) -> None:
    """What really went wrong comes before what was stopped for it."""
    failed = [error for future in futures if (error := future.exception()) is not None]
    real = [error for error in failed if not isinstance(error, StoppedError)]
    for kind in (CacheError, SourceError):
        for error in real:
            if isinstance(error, kind):
                raise error
    for error in (*real, *failed):
        raise error

"""Where the bytes of a model come from, as the downloader sees it."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import AbstractContextManager
from dataclasses import dataclass
from typing import Protocol

from enginebuild.errors import SourceError


@dataclass(frozen=True, slots=True)
class RemoteFile:
    """A file as its host lists it. A file in plain git has no `sha256`, only the sha-1 `git_oid`."""

    path: str
    size: int
    git_oid: str
    sha256: str | None


@dataclass(frozen=True, slots=True)
class Listing:
    """All files of a repository at one commit."""

    commit: str
    files: tuple[RemoteFile, ...]
    licence: str | None


@dataclass(frozen=True, slots=True)
class Body:
    """An answer: bytes from `offset` of the file on. `length` counts them; None: the server does not say.

    `total`: the size of the whole file, as the server says it.
    """

    offset: int
    length: int | None
    chunks: Iterator[bytes]
    total: int | None = None


class TransientError(Exception):
    """It may work the next time.

    `wait` is the pause in seconds that the server asked for; `final` is what to say when patience ends;
    `refused` means that nobody listened at all.
    """

    def __init__(self, reason: str, wait: float | None, final: SourceError, refused: bool = False) -> None:
        super().__init__(reason)
        self.reason = reason
        self.wait = wait
        self.final = final
        self.refused = refused


@dataclass(frozen=True, slots=True)
class Patience:
    """How long a download goes on trying: `attempts` in a row that brought no byte.

    It waits `base` seconds after the first, then twice as long each time, at most `cap`; `longest` is the
    most that a server may ask for (Retry-After).
    """

    attempts: int = 6
    base: float = 1.0
    cap: float = 30.0
    longest: float = 300.0

    def pause(self, failures: int, asked: float | None) -> float:
        """Seconds to wait after so many failures in a row."""
        if asked is not None:
            return min(max(asked, 0.0), self.longest)
        return float(min(self.base * 2 ** (failures - 1), self.cap))


#: Files fetched at once, as huggingface_hub's snapshot_download does.
JOBS = 8

#: What users get.
PATIENCE = Patience()


class Origin(Protocol):
    """A repository at one commit."""

    @property
    def name(self) -> str:
        """The source as the recipe names it; begins each message."""

    @property
    def place(self) -> str:
        """The server, for messages."""

    def open(self, path: str, offset: int, end: int | None = None) -> AbstractContextManager[Body]:
        """Ask for a file from an offset on, to before `end`. A server that knows no ranges sends all of it.

        This, and reading it, raises TransientError, SourceError.
        """

    def cached(self, file: RemoteFile) -> str | None:
        """The path of a copy on this machine, unverified, if there is one of that size."""

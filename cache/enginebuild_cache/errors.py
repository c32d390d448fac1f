"""What can go wrong with the cache, each with what to do about it."""

from __future__ import annotations

import errno
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

_FULL = frozenset({errno.ENOSPC, errno.EDQUOT})
_DENIED = frozenset({errno.EACCES, errno.EPERM})

FREE_SPACE = (
    "free some space, shrink the cache with `enginebuild cache gc --max-size SIZE`, "
    "or name another folder with --cache-dir"
)
OTHER_FOLDER = "name a folder that you can write to with --cache-dir"
REPAIR = "run `enginebuild cache verify --repair`, then run the recipe again"


class CacheError(Exception):
    """The cache cannot be used or does not hold what it should. `hint` says what to do (exit code 9)."""

    def __init__(self, message: str, hint: str = "") -> None:
        super().__init__(message)
        self.message = message
        self.hint = hint


class WrongDigest(CacheError):  # noqa: N818 - what happened, as in FileNotFound
    """Bytes that came in are not the bytes that were asked for. Nothing of them was kept.

    `resumed` is True when some of them lay in a partial file of an earlier download: the caller may
    then start over once before it blames the server.
    """

    def __init__(self, message: str, hint: str = "", *, resumed: bool = False) -> None:
        super().__init__(message, hint)
        self.resumed = resumed


@contextmanager
def failing_as(doing: str, path: Path | str) -> Iterator[None]:
    """Turn an OSError of the block into a CacheError that names what was being done, and to what."""
    try:
        yield
    except OSError as error:
        raise described(error, doing, path) from error


def described(error: OSError, doing: str, path: Path | str) -> CacheError:
    """The CacheError for an OSError; `doing` reads after "cannot", such as "write"."""
    if error.errno in _FULL:
        why = "the disk is full" if error.errno == errno.ENOSPC else "the disk quota is used up"
        return CacheError(f"cannot {doing} {path}: {why}", FREE_SPACE)
    if error.errno == errno.EROFS:
        return CacheError(f"cannot {doing} {path}: the file system is read-only", OTHER_FOLDER)
    if error.errno in _DENIED:
        return CacheError(f"cannot {doing} {path}: permission denied", OTHER_FOLDER)
    hint = OTHER_FOLDER if error.errno == errno.ENOTDIR else ""
    return CacheError(f"cannot {doing} {path}: {error.strerror or error}", hint)

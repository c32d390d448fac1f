"""What the operating system refuses, said in words with what to do."""

from __future__ import annotations

import errno
import os
from pathlib import Path

import pytest

from enginebuild_cache import CacheError
from enginebuild_cache.errors import failing_as

_FREE = (
    "free some space, shrink the cache with `enginebuild cache gc --max-size SIZE`, "
    "or name another folder with --cache-dir"
)
_OTHER = "name a folder that you can write to with --cache-dir"


@pytest.mark.parametrize(
    ("number", "why", "hint"),
    [
        (errno.ENOSPC, "the disk is full", _FREE),
        (errno.EDQUOT, "the disk quota is used up", _FREE),
        (errno.EROFS, "the file system is read-only", _OTHER),
        (errno.EACCES, "permission denied", _OTHER),
        (errno.EPERM, "permission denied", _OTHER),
        (errno.ENOTDIR, "Not a directory", _OTHER),
        (errno.EIO, "Input/output error", ""),
    ],
)
def test_an_error_of_the_operating_system(number: int, why: str, hint: str) -> None:
    with pytest.raises(CacheError) as error, failing_as("write", Path("/cache/files/x")):
        raise OSError(number, os.strerror(number))
    assert (error.value.message, error.value.hint) == (f"cannot write /cache/files/x: {why}", hint)
    assert str(error.value) == error.value.message


def test_our_own_errors_pass_unchanged() -> None:
    ours = CacheError("message", "hint")
    with pytest.raises(CacheError) as error, failing_as("write", Path("x")):
        raise ours
    assert error.value is ours

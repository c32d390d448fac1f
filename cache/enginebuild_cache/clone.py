"""Copies that cost nothing where the file system can share bytes."""

from __future__ import annotations

import errno
import os
import struct
import sys
from pathlib import Path

from enginebuild_cache.durable import NO_LINKS

#: linux/fs.h: _IOW(0x94, 9, int), and _IOW(0x94, 13, struct file_clone_range).
_FICLONE, _FICLONERANGE = 0x40049409, 0x4020940D
_UNSUPPORTED = NO_LINKS | {errno.EINVAL, errno.ENOTTY, errno.EBADF, errno.ETXTBSY}


def reflink(source: int, target: int) -> bool:
    """Share the bytes of one open file with another, copied on write. False where that cannot be done."""
    return _cloning(target, _FICLONE, source)


def reflink_range(source: int, target: int, length: int, offset: int) -> bool:
    """Share the first `length` bytes of one open file with another, where they stand at `offset`.

    False where that cannot be done: on another file system, one without reflinks, or for a length or an
    offset that is not whole blocks of it (4,096 bytes as a rule). Raises OSError for a full disk, say.
    """
    return _cloning(target, _FICLONERANGE, struct.pack("=qQQQ", source, 0, length, offset))


def _cloning(target: int, request: int, argument: int | bytes) -> bool:
    if not sys.platform.startswith("linux"):
        return False
    import fcntl

    try:
        fcntl.ioctl(target, request, argument)
    except OSError as error:
        if error.errno in _UNSUPPORTED:
            return False
        raise
    return True


def checkout_file(source: Path, target: Path) -> None:
    """Make `target` a read-only twin of `source`: reflink, else hard link, else copy. Raises OSError."""
    if _cloned(source, target):
        return
    try:
        os.link(source, target)
    except OSError as error:
        if error.errno not in NO_LINKS:
            raise
        copy(source, target)


def export_file(source: Path, target: Path) -> None:
    """Make `target` a file that may be changed: reflink, else copy. Raises OSError."""
    if not _cloned(source, target):
        copy(source, target)
    target.chmod(0o644)


def _cloned(source: Path, target: Path) -> bool:
    with source.open("rb", buffering=0) as reader, target.open("xb", buffering=0) as writer:
        try:
            done = reflink(reader.fileno(), writer.fileno())
            if done:
                os.fchmod(writer.fileno(), 0o444)
            else:
                target.unlink()
        except BaseException:
            target.unlink(missing_ok=True)
            raise
    return done


def copy(source: Path, target: Path) -> None:
    """A plain copy, read-only. Raises OSError, FileExistsError among them, and leaves no half of one."""
    import shutil

    with source.open("rb", buffering=0) as reader, target.open("xb", buffering=0) as writer:
        try:
            shutil.copyfileobj(reader, writer, 1 << 20)
            os.fchmod(writer.fileno(), 0o444)
        except BaseException:
            target.unlink(missing_ok=True)
            raise

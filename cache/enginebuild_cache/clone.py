"""Copies that cost nothing where the file system can share bytes."""

from __future__ import annotations

import errno
import os
import sys
from pathlib import Path

from enginebuild_cache.durable import NO_LINKS

#: linux/fs.h: _IOW(0x94, 9, int).
_FICLONE = 0x40049409
_UNSUPPORTED = NO_LINKS | {errno.EINVAL, errno.ENOTTY, errno.EBADF, errno.ETXTBSY}


def reflink(source: int, target: int) -> bool:
    """Share the bytes of one open file with another, copied on write. False where that cannot be done."""
    if not sys.platform.startswith("linux"):
        return False
    import fcntl

    try:
        fcntl.ioctl(target, _FICLONE, source)
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

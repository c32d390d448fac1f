"""Writing so that a reader sees nothing or everything, even after a power cut.

Temporary file in the same file system, fsync, rename or link, fsync of the folder. Lost fsyncs gave Nix empty
files (NixOS/nix#1218, #3498) and Gitaly lost references.
"""

from __future__ import annotations

import contextlib
import errno
import os
from pathlib import Path

#: A file system without hard links says one of these (SMB, some FUSE, exFAT); EMLINK: too many of one file.
NO_LINKS = frozenset({errno.EPERM, errno.EOPNOTSUPP, errno.ENOTSUP, errno.ENOSYS, errno.EMLINK, errno.EXDEV})


def unique(folder: Path) -> Path:
    """A name that no other process or thread uses; says who made it, for people who look."""
    return folder / f"{os.getpid()}-{os.urandom(8).hex()}"


def sync_folder(folder: Path) -> None:
    """Make the names in a folder durable. Raises OSError."""
    descriptor = os.open(folder, os.O_RDONLY | getattr(os, "O_DIRECTORY", 0))
    try:
        os.fsync(descriptor)
    except OSError as error:
        # Some network file systems cannot sync folders and say so; they need not either.
        if error.errno not in (errno.EINVAL, errno.ENOTSUP, errno.EOPNOTSUPP):
            raise
    finally:
        os.close(descriptor)


def sync_file(path: Path) -> None:
    """Make a file's bytes durable. Raises OSError."""
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def write_all(descriptor: int, content: bytes | memoryview) -> None:
    """`os.write` until nothing is left (it stops at 2 GiB, and short at a nearly full disk)."""
    view = memoryview(content)
    while view:
        view = view[os.write(descriptor, view) :]


def write_synced(path: Path, content: bytes, mode: int = 0o644) -> None:
    """A new file with its bytes on the disk. Raises OSError, and leaves no file then."""
    descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, mode)
    try:
        write_all(descriptor, content)
        os.fsync(descriptor)
    except BaseException:
        remove(path)
        raise
    finally:
        os.close(descriptor)


def create_once(tmp: Path, path: Path, content: bytes) -> bool:
    """Write a whole small file unless one stands there: False then. Raises OSError."""
    temporary = unique(tmp)
    write_synced(temporary, content)
    try:
        os.link(temporary, path)
    except FileExistsError:
        if temporary.stat().st_nlink == 1:  # 2: NFS repeated our own link() and blames us for it
            return False
    except OSError as error:
        if error.errno not in NO_LINKS:
            raise
        if path.exists():
            return False
        temporary.replace(path)
    finally:
        remove(temporary)
    sync_folder(path.parent)
    return True


def replace(tmp: Path, path: Path, content: bytes) -> None:
    """Write a whole small file, taking the place of one that stands there. Raises OSError."""
    temporary = unique(tmp)
    try:
        write_synced(temporary, content)
        publish(temporary, path)
    finally:
        remove(temporary)


def publish(temporary: Path, path: Path) -> None:
    """Move a finished, synced file to its place. Raises OSError."""
    temporary.replace(path)
    sync_folder(path.parent)


def make_folder(folder: Path) -> None:
    """A folder whose own name is durable. Raises OSError."""
    if not folder.is_dir():
        folder.mkdir(parents=True, exist_ok=True)
        sync_folder(folder.parent)


def remove(path: Path) -> bool:
    """Unlink if there; False if it was not or cannot be removed (a leftover that gc will try again)."""
    with contextlib.suppress(OSError):
        path.unlink()
        return True
    return False

"""File systems of a test's own: XFS, btrfs and ext4 in a file, and memory, each of a size.

They need root. A run that is killed leaves none: its keeper (parts/keeper.py) unmounts them.
"""

from __future__ import annotations

import functools
import itertools
import os
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from parts import services

#: The smallest XFS that mkfs makes is of 300 MiB; an image file takes only what is written to it.
SIZE = 400 << 20

_numbers = itertools.count()


@dataclass(frozen=True, slots=True)
class Disk:
    """A mounted file system."""

    folder: Path
    kind: str

    @property
    def used(self) -> int:
        """Bytes that are taken, once all is written."""
        descriptor = os.open(self.folder, os.O_RDONLY)
        try:
            # XFS gives back what it took beforehand only when it is synced, btrfs counts only then.
            subprocess.run(["sync", "--file-system", self.folder], check=True)
            found = os.fstatvfs(descriptor)
        finally:
            os.close(descriptor)
        return (found.f_blocks - found.f_bfree) * found.f_frsize

    def resize(self, size: int) -> None:
        """Of memory only, in bytes."""
        subprocess.run(["mount", "-o", f"remount,size={size}", self.folder], check=True)


@contextmanager
def mounted(kind: str, size: int = SIZE) -> Iterator[Disk]:
    """An empty file system of a kind: xfs, btrfs, ext4 or tmpfs. Skips where that cannot be had."""
    if os.geteuid() != 0:
        services.missing(f"a {kind} of a test's own needs root to mount it")
    folder = _kept() / f"{kind}-{next(_numbers)}"
    folder.mkdir()
    source, options = _source(kind, folder, size)
    ended = subprocess.run(
        ["mount", "-t", kind, "-o", options, source, folder], capture_output=True, text=True, check=False
    )
    if ended.returncode:
        services.missing(f"{kind} cannot be mounted here: {ended.stderr.strip()}")
    try:
        yield Disk(folder, kind)
    finally:
        subprocess.run(["umount", folder], check=True)
        if kind != "tmpfs":
            Path(source).unlink()


def _source(kind: str, folder: Path, size: int) -> tuple[str, str]:
    if kind == "tmpfs":
        return "tmpfs", f"size={size}"
    image = folder.with_suffix(".img")
    with image.open("xb") as file:
        file.truncate(size)
    subprocess.run([services.program(f"mkfs.{kind}"), "-q", image], check=True, capture_output=True)
    return str(image), "loop"


@functools.cache
def _kept() -> Path:
    """A folder below which nothing stays mounted when the session is gone, however it ends."""
    folder = Path(os.environ[services.SESSION]) / f"disks-{os.getpid()}"
    folder.mkdir()
    services.keep(folder, ["sleep", "infinity"]).returncode = 0  # it outlives this process on purpose
    return folder

"""Folders in which steps are made, on the cache's file system, so that files move in without a copy."""

from __future__ import annotations

import contextlib
import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from enginebuild_cache.durable import remove, unique
from enginebuild_cache.errors import failing_as
from enginebuild_cache.layout import Layout
from enginebuild_cache.lock import held, try_hold

_LOCK = ".lock"


@contextmanager
def workspace(layout: Layout) -> Iterator[Path]:
    """An empty folder, gone with the block; those of processes that died go first. Raises CacheError."""
    sweep(layout)
    folder = layout.work / f"{_here()}{unique(layout.work).name}"
    lock = _lock_of(folder)
    with held(lock):
        try:
            with failing_as("make", folder):
                folder.mkdir(mode=0o755)
            yield folder
        finally:
            remove_folder(folder)
            remove(lock)


def sweep(layout: Layout) -> None:
    """Remove the folders of processes of this host that died. Raises CacheError."""
    with failing_as("read", layout.work):
        names = sorted(path.name for path in layout.work.iterdir())
    for name in names:
        # flock may not reach processes of other hosts.
        if name.startswith(_here()) and not name.endswith(_LOCK):
            _sweep(layout.work / name)


def _sweep(folder: Path) -> None:
    lock = _lock_of(folder)
    try:
        descriptor = try_hold(lock)
    except FileNotFoundError:  # the lock is there before the folder, and goes after it
        remove_folder(folder)
        return
    if descriptor is not None:
        remove_folder(folder)
        remove(lock)
        os.close(descriptor)


def remove_folder(folder: Path) -> None:
    """Remove a folder with read-only folders in it; what cannot be removed stays."""
    for place, names, _ in os.walk(folder):
        for below in (Path(place, name) for name in names):
            if not below.is_symlink():
                with contextlib.suppress(OSError):
                    below.chmod(0o700)
    shutil.rmtree(folder, ignore_errors=True)


def _lock_of(folder: Path) -> Path:
    return folder.with_name(f"{folder.name}{_LOCK}")


def _here() -> str:
    return f"{os.uname().nodename}-"

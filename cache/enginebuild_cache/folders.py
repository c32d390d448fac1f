"""Trees written to folders, and folders taken in as trees."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from pathlib import Path

from enginebuild_cache.adopt import put_file
from enginebuild_cache.clone import checkout_file, export_file
from enginebuild_cache.errors import CacheError, failing_as
from enginebuild_cache.files import Files
from enginebuild_cache.stamps import Stamps
from enginebuild_cache.tree import File, Tree


def checkout(files: Files, tree: Tree, folder: Path) -> None:
    """Write a tree into a folder, read-only files that share the cache's bytes where that can be.

    Raises CacheError if a file is missing, or stands in the folder already.
    """
    _write(files, tree, folder, checkout_file)


def export(files: Files, tree: Tree, folder: Path) -> None:
    """Write a tree into a folder for somebody who may change it: nothing is shared that a write would change.

    Raises CacheError if a file is missing, or stands in the folder already.
    """
    _write(files, tree, folder, export_file)


def _write(files: Files, tree: Tree, folder: Path, write: Callable[[Path, Path], None]) -> None:
    for file in tree:
        files.has(file.digest)
        source, target = files.path(file), folder / file.path
        with failing_as("write", target):
            target.parent.mkdir(parents=True, exist_ok=True)
            write(source, target)


def collect(files: Files, stamps: Stamps, folder: Path) -> Tree:
    """Move the files of a folder into the cache. Raises CacheError, for a link or a device among them too."""
    found = []
    with failing_as("read", folder):
        paths = sorted(_regular(folder, folder))
    for path in paths:
        digest, size = put_file(files, stamps, path, "move", None)
        found.append(File(path.relative_to(folder).as_posix(), digest, size))
    return Tree.of(found)


def _regular(folder: Path, top: Path) -> Iterator[Path]:
    with os.scandir(folder) as entries:
        for entry in entries:
            path = Path(entry.path)
            _check_name(path, top)
            if entry.is_dir(follow_symlinks=False):
                yield from _regular(path, top)
            elif entry.is_file(follow_symlinks=False):
                yield path
            else:
                kind = "a symbolic link" if entry.is_symlink() else "not a regular file"
                raise CacheError(
                    f"cannot store {path.relative_to(top)}: it is {kind}",
                    "a step must leave regular files only",
                )


def _check_name(path: Path, top: Path) -> None:
    try:
        str(path.name).encode()
    except UnicodeEncodeError:
        name = os.fsencode(path.relative_to(top))
        raise CacheError(
            f"cannot store {name!r}: its name is not UTF-8", "a step must leave names in UTF-8"
        ) from None

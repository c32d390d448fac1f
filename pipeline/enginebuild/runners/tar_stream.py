"""Folders as tar streams, to and from an engine that does not see our disk. Nothing is held in memory."""

from __future__ import annotations

import io
import os
import shutil
import tarfile
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path, PurePosixPath

from enginebuild.errors import StepError

_PIECE = 1 << 20


def size_of(folder: Path) -> int:
    """Bytes of all files in a folder."""
    return sum(path.stat().st_size for path in folder.rglob("*") if path.is_file())


def packed(folder: Path, prefix: PurePosixPath, sent: Callable[[int], None]) -> Iterator[bytes]:
    """A folder's files below a path, owned by root; `sent` is told the bytes of files as they go."""
    for parent in (*reversed(prefix.parents[:-1]), prefix):
        yield _header(str(parent), tarfile.DIRTYPE, 0, 0o755)
    for place, names, files in os.walk(folder):
        below = prefix / Path(place).relative_to(folder)
        for name in sorted(names):
            yield _header(str(below / name), tarfile.DIRTYPE, 0, 0o755)
        for name in sorted(files):
            yield from _file(Path(place, name), str(below / name), sent)
    yield b"\0" * (2 * tarfile.BLOCKSIZE)


def _file(path: Path, name: str, sent: Callable[[int], None]) -> Iterator[bytes]:
    size = path.stat().st_size
    yield _header(name, tarfile.REGTYPE, size, 0o755 if os.access(path, os.X_OK) else 0o644)
    with path.open("rb", buffering=0) as opened:
        while piece := opened.read(_PIECE):
            yield piece
            sent(len(piece))
    yield b"\0" * (-size % tarfile.BLOCKSIZE)


def _header(name: str, kind: bytes, size: int, mode: int) -> bytes:
    entry = tarfile.TarInfo(name)
    entry.type, entry.size, entry.mode = kind, size, mode
    return entry.tobuf(tarfile.PAX_FORMAT)


class Pieces(io.RawIOBase):
    """Pieces of bytes as a file that is read."""

    def __init__(self, pieces: Iterable[bytes]) -> None:
        self._pieces = iter(pieces)
        self._rest = memoryview(b"")

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: bytearray | memoryview) -> int:  # type: ignore[override] # typeshed's Buffer has no len
        while not self._rest:
            piece = next(self._pieces, None)
            if piece is None:
                return 0
            self._rest = memoryview(piece)
        count = min(len(buffer), len(self._rest))
        buffer[:count] = self._rest[:count]
        self._rest = self._rest[count:]
        return count


def unpack(pieces: Iterable[bytes], folder: Path) -> None:
    """Write a stream's files into a folder; the first name of each path (the folder's own there) is dropped.

    Raises StepError for anything but regular files and folders: a link might lead out of the folder.
    """
    with tarfile.open(fileobj=io.BufferedReader(Pieces(pieces), _PIECE), mode="r|") as archive:
        for entry in archive:
            parts = PurePosixPath(entry.name).parts[1:]
            if ".." in parts:
                raise _refused(entry, "has a path that leads out of the output")
            target = folder.joinpath(*parts)
            if entry.isdir():
                target.mkdir(parents=True, exist_ok=True)
            elif entry.islnk():
                inside = PurePosixPath(entry.linkname).parts[1:]
                if ".." in inside:
                    raise _refused(entry, "is a link that leads out of the output")
                shutil.copyfile(folder.joinpath(*inside), target)
            elif entry.isreg():
                source = archive.extractfile(entry)
                assert source is not None
                with target.open("xb") as opened:
                    shutil.copyfileobj(source, opened, _PIECE)
            else:
                raise _refused(entry, "is a symbolic link" if entry.issym() else "is not a regular file")


def _refused(entry: tarfile.TarInfo, why: str) -> StepError:
    name = str(PurePosixPath(*PurePosixPath(entry.name).parts[1:]))
    return StepError(f"cannot store {name}: it {why}", "a step must leave regular files only")

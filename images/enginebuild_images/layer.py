"""A layer as a description: which files stand where. Its bytes are made whenever they are sent, never stored.

A layer's digest is a pure function of its entries, its time and LAYER_FORMAT. Every parent directory is
written (0755, owner 0), since engines differ in what they make of missing ones; a directory that the base
has as a symbolic link, or with other rights, is replaced, so files belong under a directory of their own.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from functools import cached_property
from pathlib import PurePosixPath
from typing import Protocol, cast

from enginebuild_cache import CHUNK, Digest, File, Json
from enginebuild_images import tar
from enginebuild_images.blob import LAYER, Descriptor, verified
from enginebuild_images.errors import ImageError
from enginebuild_images.extent import Extent, Piece

#: Part of every key that stands for a layer's bytes; raised when the same entries would give other bytes.
LAYER_FORMAT = 1

#: The bytes of a file, in pieces; `Store.read` is one.
Read = Callable[[File], Iterator[bytes]]


class Source(Protocol):
    """What has the bytes of files; `Store` is one."""

    def read(self, file: File) -> Iterator[bytes]:
        """The file's bytes, held to its digest."""
        ...

    def stream(self, file: File) -> Iterator[bytes]:
        """The file's bytes unchecked, for a receiver that checks them anyway."""
        ...


class Unaltered(Protocol):
    """What has files and can tell whether they are what they were; `Store` is one."""

    def unaltered(self, file: File) -> Iterator[bytes]:
        """The file's bytes, held to its digest or known to be as they were when that was taken."""
        ...


_SMALL = CHUNK // 16  # bytes; pieces below this are put together before they are sent
_MODES = (0o644, 0o755)


@dataclass(frozen=True, order=True, slots=True)
class Entry:
    """A file of a layer. `path` is where it stands in the image, without a slash at its start."""

    path: str
    file: File
    mode: int = 0o644

    def __post_init__(self) -> None:
        if self.mode not in _MODES:
            raise ImageError(
                f"/{self.path} cannot have the mode {self.mode:04o} in an image",
                "files are 0644 or 0755, readable for every user that a server may run as",
            )

    def to_json(self) -> dict[str, Json]:
        return {
            "path": self.path,
            "file": self.file.path,
            "sha256": self.file.digest.hex,
            "size": self.file.size,
            "mode": self.mode,
        }

    @classmethod
    def from_json(cls, value: Mapping[str, Json]) -> Entry:
        """Read what `to_json` wrote. Raises ValueError, KeyError or TypeError for anything else."""
        mode = value["mode"]
        if not isinstance(mode, int):
            raise TypeError(f"not a file's mode: {mode!r}")
        return cls(str(value["path"]), File.from_json({**value, "path": value["file"]}), mode)


@dataclass(frozen=True)
class Layer:
    """Files of one layer, sorted; `mtime`: seconds since 1970, for all of them. Make one with `Layer.of`."""

    entries: tuple[Entry, ...]
    mtime: int = 0

    @classmethod
    def of(cls, entries: Iterable[Entry], mtime: int = 0) -> Layer:
        """Sort the entries. Raises ImageError for a time, a name or paths that no archive can have."""
        tar.check_mtime(mtime)
        layer = cls(tuple(sorted(entries)), mtime)
        check_paths(entry.path for entry in layer.entries)
        _ = layer.size  # makes every header once, so that a bad name is refused here and not while sending
        return layer

    @cached_property
    def size(self) -> int:
        """Bytes of the archive, known without reading a file."""
        return sum(part.size if isinstance(part, File) else len(part) for part in self.parts())

    @cached_property
    def directories(self) -> tuple[str, ...]:
        """Every parent directory of an entry, sorted."""
        parents = {str(parent) for entry in self.entries for parent in PurePosixPath(entry.path).parents}
        return tuple(sorted(parents - {"."}))

    @property
    def summary(self) -> str:
        """What is in it, for an image's history."""
        if len(self.entries) == 1:
            return f"/{self.entries[0].path}"
        shared = _shared_folder(self.entries)
        return f"{len(self.entries)} files in {shared}"

    def chunks(self, read: Read) -> Iterator[bytes]:
        """The archive in pieces of at most 1 MiB. Raises ImageError if a file is not as long as described."""
        return cast("Iterator[bytes]", self.pieces(read))

    def pieces(self, read: Callable[[File], Iterator[Piece]]) -> Iterator[Piece]:
        """`chunks`, among which extents stay what they are but for small ones."""
        pending = bytearray()
        for piece in self._pieces(read):
            if pending and len(pending) + len(piece) > CHUNK:
                yield bytes(pending)
                pending.clear()
            if len(piece) < _SMALL:
                pending += piece if isinstance(piece, bytes) else piece.read()
                continue
            if pending:
                yield bytes(pending)
                pending.clear()
            if isinstance(piece, Extent) or len(piece) <= CHUNK:
                yield piece
                continue
            for start in range(0, len(piece), CHUNK):
                yield piece[start : start + CHUNK]
        if pending:
            yield bytes(pending)

    def _pieces(self, read: Callable[[File], Iterator[Piece]]) -> Iterator[Piece]:
        for part in self.parts():
            if isinstance(part, File):
                yield from _exactly(part, read)
            else:
                yield part

    def parts(self) -> Iterator[bytes | File]:
        """Headers and paddings as bytes, and the files that stand between them."""
        entries: list[Entry | str] = [*self.entries, *self.directories]
        offset = 0
        for entry in sorted(entries, key=_path_of):
            if isinstance(entry, str):
                header = tar.directory_header(entry, self.mtime)
                yield header
                offset += len(header)
                continue
            size = entry.file.size
            header = tar.file_header(entry.path, entry.mode, size, self.mtime, offset)
            end = tar.padding(size)
            yield header
            yield entry.file
            yield end
            offset += len(header) + size + len(end)
        yield tar.END

    def to_json(self) -> dict[str, Json]:
        return {
            "format": LAYER_FORMAT,
            "mtime": self.mtime,
            "entries": [entry.to_json() for entry in self.entries],
        }

    @classmethod
    def from_json(cls, value: Mapping[str, Json]) -> Layer:
        """Read what `to_json` wrote. Raises ValueError, KeyError, TypeError or ImageError otherwise."""
        if value["format"] != LAYER_FORMAT:
            raise ValueError(f"layer format {value['format']!r}; this version writes {LAYER_FORMAT}")
        mtime, entries = value["mtime"], value["entries"]
        if not isinstance(mtime, int) or not isinstance(entries, list):
            raise TypeError("a layer has a time and a list of entries")
        return cls.of((Entry.from_json(cast("Mapping[str, Json]", entry)) for entry in entries), mtime)


def digest_of(layer: Layer, read: Read) -> Digest:
    """The digest of a layer's archive; reads every file of it. Raises ImageError, and what `read` raises."""
    return Digest.of_chunks(layer.chunks(read))


@dataclass(frozen=True)
class StreamedBlob:
    """A layer as a blob: its bytes are made anew whenever they are asked for."""

    descriptor: Descriptor
    layer: Layer
    source: Source

    @classmethod
    def of(cls, layer: Layer, source: Source) -> StreamedBlob:
        """Reads every file once, for the digest. Raises ImageError, and what `source` raises."""
        return cls(Descriptor(LAYER, digest_of(layer, source.read), layer.size), layer, source)

    def chunks(self) -> Iterator[bytes]:
        """Held to the descriptor, by one digest. Raises ImageError at the end, and what `source` raises."""
        try:
            yield from verified(self.descriptor, self.pieces(), f"the layer of {self.layer.summary}")
        except ImageError:
            self._blame()
            raise

    def pieces(self) -> Iterator[bytes]:
        """Unchecked but for the files' sizes."""
        return self.layer.chunks(self.source.stream)

    def _blame(self) -> None:
        """Let the source name the file whose bytes changed, if it was one."""
        for entry in self.layer.entries:
            for _ in self.source.read(entry.file):
                pass


def check_paths(paths: Iterable[str]) -> None:
    """Refuse with ImageError two files at one path, or a file where another one needs a directory."""
    seen: set[str] = set()
    for path in paths:
        if path in seen:
            raise ImageError(f"two files want to be /{path} in the image", "give each a path of its own")
        seen.add(path)
    for path in seen:
        for parent in PurePosixPath(path).parents:
            if str(parent) in seen:
                raise ImageError(
                    f"/{parent} is both a file and the directory of /{path} in the image",
                    "give one of them another path",
                )


def _path_of(entry: Entry | str) -> bytes:
    path = entry if isinstance(entry, str) else entry.path
    return path.encode(errors="surrogateescape")


def _shared_folder(entries: tuple[Entry, ...]) -> str:
    folders = [PurePosixPath("/", entry.path).parent for entry in entries]
    if not folders:
        return "/"
    for folder in (folders[0], *folders[0].parents):
        if all(other.is_relative_to(folder) for other in folders):
            return str(folder)
    return "/"


def _exactly(file: File, read: Callable[[File], Iterator[Piece]]) -> Iterator[Piece]:
    length = 0
    for piece in read(file):
        length += len(piece)
        if length > file.size:
            break
        yield piece
    if length != file.size:
        more = "more" if length > file.size else f"{length:,}"
        raise ImageError(
            f"{file.path} was to have {file.size:,} bytes but had {more}",
            "it changed while the image was made; run the build again",
        )

"""Blobs written without copying: their file shares its blocks with those they are made of (reflinks).

XFS and btrfs do it; the bytes of a layer's files stand at multiples of 4,096 for it (tar.py). What is shared
is not read, so a file that changed since it entered the cache is noticed by its size alone. Where blocks
cannot be shared, copy_file_range would save nothing: bytes that are to be checked are read anyway.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path
from typing import BinaryIO, Protocol, runtime_checkable

from enginebuild_cache import CHUNK, File
from enginebuild_cache.clone import reflink_range
from enginebuild_images.blob import CHANGED, Blob, FileBlob
from enginebuild_images.errors import ImageError
from enginebuild_images.extent import Piece, extents
from enginebuild_images.layer import Source, StreamedBlob
from enginebuild_images.tar import ALIGNMENT


@runtime_checkable
class OnDisk(Source, Protocol):
    """A source whose files lie on a disk; `Store` is one."""

    def path(self, file: File) -> Path:
        """Where a file lies; it is there and of its size."""
        ...


def clone(blob: Blob, target: BinaryIO) -> bool:
    """Write a blob into an empty file by sharing blocks. False where that cannot be: a part of it is there.

    A layer's own bytes, and those of files too small to be shared, are written as ever. Raises ImageError for
    a file of another size than described, OSError for what the target's disk says.
    """
    if isinstance(blob, FileBlob):
        return _share(blob.path, blob.descriptor.size, target)
    if (
        isinstance(blob, StreamedBlob)
        and isinstance(blob.source, OnDisk)
        and any(map(_large, blob.layer.parts()))
    ):
        return _share_layer(blob, blob.source, target)
    return False


def unread(blob: Blob) -> Iterator[Piece]:
    """A blob's `pieces`, of which those that lie in files of a disk are not read: the kernel sends them."""
    if isinstance(blob, FileBlob):
        return extents(blob.path, blob.descriptor.size)
    if isinstance(blob, StreamedBlob) and isinstance(blob.source, OnDisk):
        path_of = blob.source.path
        return blob.layer.pieces(lambda file: extents(path_of(file), file.size))
    return blob.pieces()


def write_all(target: BinaryIO, piece: bytes) -> None:
    """Write to an unbuffered file until nothing is left. Raises OSError."""
    rest = memoryview(piece)
    while rest:
        rest = rest[target.write(rest) :]


def _large(part: bytes | File) -> bool:
    return isinstance(part, File) and part.size >= CHUNK


def _share_layer(blob: StreamedBlob, source: OnDisk, target: BinaryIO) -> bool:
    for part in blob.layer.parts():
        if isinstance(part, bytes):
            write_all(target, part)
        elif not _large(part):
            for piece in source.read(part):
                write_all(target, piece)
        elif not _share(source.path(part), part.size, target):
            return False
    if target.tell() != blob.descriptor.size:
        described = f"{blob.descriptor.size:,} bytes but had {target.tell():,}"
        raise ImageError(f"the layer of {blob.layer.summary} was to have {described}", CHANGED)
    return True


def _share(path: Path, size: int, target: BinaryIO) -> bool:
    """Append a file: its whole blocks shared, its end copied."""
    offset, whole = target.tell(), size - size % ALIGNMENT
    try:
        source = path.open("rb", buffering=0)
    except OSError as error:
        raise ImageError(f"cannot read {path}: {error.strerror}") from error
    with source:
        found = os.fstat(source.fileno()).st_size
        if found != size:
            raise ImageError(f"{path} was to have {size:,} bytes but had {found:,}", CHANGED)
        if whole and not reflink_range(source.fileno(), target.fileno(), whole, offset):
            return False
        target.seek(offset + whole)
        write_all(target, os.pread(source.fileno(), size - whole, whole))
    return True

"""Bytes that stay in their file until they are sent: the kernel passes them on, and nobody copies them."""

from __future__ import annotations

import os
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO

from enginebuild_cache import CHUNK
from enginebuild_images.errors import ImageError


@dataclass(frozen=True, slots=True)
class Extent:
    """`size` bytes of an open file from `offset` on; good until the next piece is asked for."""

    path: Path
    file: BinaryIO
    offset: int
    size: int

    def __len__(self) -> int:
        return self.size

    def read(self, done: int = 0) -> bytes:
        """Its bytes but for the first `done`. Raises ImageError if they are not there."""
        try:
            content = os.pread(self.file.fileno(), self.size - done, self.offset + done)
        except OSError as error:
            raise ImageError(f"cannot read {self.path}: {error.strerror}") from error
        if len(content) != self.size - done:
            raise ImageError(
                f"{self.path} ends after {self.offset + done + len(content):,} bytes, earlier than described",
                "it changed while it was sent; run again",
            )
        return content


#: A part of a blob on its way to a registry.
Piece = bytes | Extent


def extents(path: Path, size: int) -> Iterator[Extent]:
    """The first `size` bytes of a file, 1 MiB at a time. Raises ImageError if it cannot be opened."""
    try:
        file = path.open("rb", buffering=0)
    except OSError as error:
        raise ImageError(f"cannot read {path}: {error.strerror}") from error
    with file:
        for offset in range(0, size, CHUNK):
            yield Extent(path, file, offset, min(CHUNK, size - offset))

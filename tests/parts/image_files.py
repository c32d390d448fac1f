"""Files in memory for images, and images small enough to look at whole."""

from __future__ import annotations

import random
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field

from enginebuild_cache import CHUNK, Digest, File
from enginebuild_images.assemble import assemble
from enginebuild_images.base import Base, scratch
from enginebuild_images.image import Image
from enginebuild_images.layer import Entry, Layer, StreamedBlob
from enginebuild_images.settings import ImageSettings


@dataclass
class Contents:
    """Bytes by path; `read` is what layers read them with, in pieces of `piece` bytes."""

    piece: int = CHUNK
    by_path: dict[str, bytes] = field(default_factory=dict)

    def add(self, path: str, content: bytes) -> File:
        self.by_path[path] = content
        return File(path, Digest.of(content), len(content))

    def read(self, file: File) -> Iterator[bytes]:
        content = self.by_path[file.path]
        for start in range(0, len(content), self.piece):
            yield content[start : start + self.piece]

    stream = unaltered = read

    def layer(self, files: Mapping[str, bytes], mtime: int = 0) -> Layer:
        """A layer of files, each at its own path in the image."""
        return Layer.of([Entry(path, self.add(path, content)) for path, content in files.items()], mtime)

    def archive(self, layer: Layer) -> bytes:
        return b"".join(layer.chunks(self.read))

    def blob(self, files: Mapping[str, bytes]) -> StreamedBlob:
        return StreamedBlob.of(self.layer(files), self)


def described(path: str, size: int) -> File:
    """A file that nobody reads, of any size."""
    return File(path, Digest.of(path.encode()), size)


def noise(size: int, seed: int = 0) -> bytes:
    """Bytes that do not compress, the same in every run."""
    return random.Random(seed).randbytes(size)


def small_image(base: Base | None = None, label: str = "a", contents: Contents | None = None) -> Image:
    """Two layers, 300 KB and a few bytes; images with other labels share the first of them."""
    files = contents or Contents()
    layers = [
        files.blob({"model/weights.bin": noise(300_000)}),
        files.blob({"model/config.json": f'{{"label": "{label}"}}'.encode()}),
    ]
    settings = ImageSettings(labels={"label": label}, env={"HF_HUB_OFFLINE": "1"})
    return assemble(base or scratch(), layers, settings)

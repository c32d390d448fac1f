"""A compressed layer as a blob: like an uncompressed one it is described, and made whenever it is sent."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import NoReturn, Protocol

from enginebuild_cache import Digest
from enginebuild_images.blob import LAYER, Descriptor, verified
from enginebuild_images.compression import Method
from enginebuild_images.errors import ImageError
from enginebuild_images.layer import Layer, Source, StreamedBlob


@dataclass(frozen=True)
class CompressedBlob:
    """A layer that is compressed while it is sent. `diff_id` is the digest of the uncompressed archive."""

    descriptor: Descriptor
    layer: Layer
    source: Source
    method: Method
    diff_id: Digest

    @classmethod
    def of(cls, layer: Layer, source: Source, method: Method) -> CompressedBlob:
        """Reads every file once, for both digests. Raises ImageError, and what `source` raises."""
        plain, packed = _Digested(layer.chunks(source.read)), hashlib.sha256()
        size = 0
        for piece in method.compress(plain):
            packed.update(piece)
            size += len(piece)
        descriptor = Descriptor(method.media_type, Digest(packed.hexdigest()), size)
        return cls(descriptor, layer, source, method, plain.digest)

    def chunks(self) -> Iterator[bytes]:
        """Held to the descriptor. Raises ImageError at the end, and what `source` raises."""
        library = Method.of(self.method.name).library
        try:
            yield from verified(self.descriptor, self.pieces(), f"the layer of {self.layer.summary}")
        except ImageError:
            self._blame(library)

    def pieces(self) -> Iterator[bytes]:
        """Unchecked but for the files' sizes."""
        return self.method.compress(self.layer.chunks(self.source.stream))

    def _blame(self, library: str) -> NoReturn:
        """Say whether a file changed or the compressor did."""
        plain = StreamedBlob(Descriptor(LAYER, self.diff_id, self.layer.size), self.layer, self.source)
        for _ in plain.chunks():
            pass
        raise ImageError(
            f"the layer of {self.layer.summary} was compressed by {self.method.library}, and {library} here "
            "makes other bytes of the same files",
            "make the image again, or use the same version as before",
        )


class LayerBlob(Protocol):
    """One of our layers as a blob: StreamedBlob, or CompressedBlob."""

    @property
    def descriptor(self) -> Descriptor: ...

    @property
    def layer(self) -> Layer: ...

    def chunks(self) -> Iterator[bytes]: ...

    def pieces(self) -> Iterator[bytes]: ...


def diff_id(blob: LayerBlob) -> Digest:
    """The digest of a layer's archive before compression. Raises ImageError for another kind of blob."""
    if isinstance(blob, CompressedBlob):
        return blob.diff_id
    if blob.descriptor.media_type != LAYER:
        raise ImageError(f"a layer of type {blob.descriptor.media_type} is not an uncompressed tar")
    return blob.descriptor.digest


class _Digested:
    """Passes bytes on; `digest` is theirs when they are through."""

    def __init__(self, pieces: Iterable[bytes]) -> None:
        self._pieces = pieces
        self._running = hashlib.sha256()

    def __iter__(self) -> Iterator[bytes]:
        for piece in self._pieces:
            self._running.update(piece)
            yield piece

    @property
    def digest(self) -> Digest:
        return Digest(self._running.hexdigest())

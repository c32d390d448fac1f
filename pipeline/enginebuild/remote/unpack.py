"""A layer's files into the store, while its bytes arrive.

The archive is not parsed: which bytes must come is known from the record, and another byte than that ends the
reading. So there is no link, device, path or second entry that an archive could smuggle in.
"""

from __future__ import annotations

from collections.abc import Callable
from contextlib import closing

from enginebuild_cache import File, Store
from enginebuild_images.blob import Blob
from enginebuild_images.errors import ImageError
from enginebuild_images.layer import Layer
from enginebuild_images.pieces import PieceReader

#: Told of each file: its bytes done so far.
Progress = Callable[[File, int], None]


def unpack(layer: Layer, blob: Blob, store: Store, progress: Progress) -> None:
    """Raises ImageError for bytes that are not this layer's, WrongDigest for a file's, CacheError."""
    with closing(PieceReader(iter(blob.chunks()))) as reader:
        for part in layer.parts():
            if isinstance(part, File):
                _take_file(reader, part, store, progress)
            elif b"".join(reader.take(len(part))) != part:
                raise _other(blob)
        # The blob's own digest is checked with its last byte.
        if any(reader.take(1)):
            raise _other(blob)


def _take_file(reader: PieceReader, file: File, store: Store, progress: Progress) -> None:
    with store.download(file.digest, file.size) as partial:
        here = partial.offset == file.size
        if not here and partial.offset:
            partial.restart()
        done = 0
        for piece in reader.take(file.size):
            if not here:
                partial.write(piece)
            done += len(piece)
            progress(file, done)
        partial.commit()


def _other(blob: Blob) -> ImageError:
    return ImageError(f"{blob.descriptor.digest} is not the archive that its record describes")

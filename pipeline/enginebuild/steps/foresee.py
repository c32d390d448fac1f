"""The image of a step that has not run, where every large layer's digest is known: a plan can name it."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

from enginebuild.errors import EngineBuildError
from enginebuild.steps.compressed import kept_compressed
from enginebuild.steps.image import Pack
from enginebuild.steps.layers import kept
from enginebuild_cache import CacheError, Digest, File, Store, Tree
from enginebuild_images.base import Base
from enginebuild_images.compressed import CompressedBlob, LayerBlob
from enginebuild_images.compression import method_for
from enginebuild_images.errors import ImageError
from enginebuild_images.image import Image
from enginebuild_images.layer import Layer, StreamedBlob
from enginebuild_images.policy import LARGE


@dataclass(frozen=True)
class AtHand:
    """Files of the store, and generated ones that are not in it yet."""

    store: Store
    generated: Mapping[Digest, bytes]

    def read(self, file: File) -> Iterator[bytes]:
        content = self.generated.get(file.digest)
        if content is None:
            yield from self.store.read(file)
        else:
            yield content

    stream = read

    def path(self, file: File) -> Path:
        return self.store.path(file)


def foreseen(
    pack: Pack, inputs: Mapping[str, Tree], generated: Mapping[Digest, bytes], store: Store
) -> Image | None:
    """None where a large file would have to be read or fetched first, or the base cannot be asked."""
    source = AtHand(store, generated)
    try:
        base = pack.open_base()
        blobs = [_blob(layer, pack, base, source) for layer in pack.layers(inputs, base)]
        known = [blob for blob in blobs if blob is not None]
        return pack.packing.assemble(base, known, inputs, store) if len(known) == len(blobs) else None
    except (EngineBuildError, ImageError, CacheError):
        return None


def _blob(layer: Layer, pack: Pack, base: Base, source: AtHand) -> LayerBlob | None:
    method = method_for(layer, pack.compression, base, source.path)
    if method is not None:
        found = kept_compressed(layer, method, source.store)
        return CompressedBlob.of(layer, source, method) if found is None and _is_small(layer) else found
    descriptor = kept(layer, source.store)
    if descriptor is None and _is_small(layer):
        return StreamedBlob.of(layer, source)
    return None if descriptor is None else StreamedBlob(descriptor, layer, source)


def _is_small(layer: Layer) -> bool:
    return layer.size < LARGE

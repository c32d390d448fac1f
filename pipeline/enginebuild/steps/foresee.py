"""The image of a step that has not run, where every large layer's digest is known: a plan can name it."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass

from enginebuild.errors import EngineBuildError
from enginebuild.steps.image import Pack
from enginebuild.steps.layers import kept
from enginebuild_cache import CacheError, Digest, File, Store, Tree
from enginebuild_images.blob import LAYER, Descriptor
from enginebuild_images.errors import ImageError
from enginebuild_images.image import Image
from enginebuild_images.layer import Layer, StreamedBlob, digest_of
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


def foreseen(
    pack: Pack, inputs: Mapping[str, Tree], generated: Mapping[Digest, bytes], store: Store
) -> Image | None:
    """None where a large file would have to be read or fetched first, or the base cannot be asked."""
    source = AtHand(store, generated)
    try:
        base = pack.open_base()
        blobs = []
        for layer in pack.layers(inputs, base):
            descriptor = _descriptor(layer, source)
            if descriptor is None:
                return None
            blobs.append(StreamedBlob(descriptor, layer, source))
        return pack.packing.assemble(base, blobs, inputs, store)
    except (EngineBuildError, ImageError, CacheError):
        return None


def _descriptor(layer: Layer, source: AtHand) -> Descriptor | None:
    descriptor = kept(layer, source.store)
    if descriptor is None and layer.size < LARGE:
        descriptor = Descriptor(LAYER, digest_of(layer, source.read), layer.size)
    return descriptor

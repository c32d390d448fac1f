"""An image: a manifest, a config and layers, all described and none written."""

from __future__ import annotations

from dataclasses import dataclass

from enginebuild_cache import Digest
from enginebuild_images.blob import MANIFEST, Blob, BytesBlob, Descriptor


@dataclass(frozen=True)
class Image:
    """What a publisher sends: layers first, then the config, then the manifest (bytes that name them all)."""

    manifest: BytesBlob
    config: Blob
    layers: tuple[Blob, ...]

    @property
    def digest(self) -> Digest:
        """The image's own name: the digest of its manifest."""
        return self.manifest.descriptor.digest

    @property
    def blobs(self) -> tuple[Blob, ...]:
        return (*self.layers, self.config)


__all__ = ["MANIFEST", "Descriptor", "Image"]

"""An image as a small document: what is kept of it in a record, and what it is made from again.

It holds the manifest, the config and the entries of our layers; neither weights nor base layers are read
until the image is sent.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import cast

from enginebuild_cache import Digest, Json
from enginebuild_images.blob import CONFIG, MANIFEST, Blob, BytesBlob, Descriptor
from enginebuild_images.errors import ImageError
from enginebuild_images.image import Image
from enginebuild_images.layer import Layer, Source, StreamedBlob
from enginebuild_images.manifest import Index, Manifest, read_manifest

_VERSION = 1


@dataclass(frozen=True)
class ImageDescription:
    """An image without its bytes. `layers` are ours, the last ones; those before them are the base's.

    `base`: where the base's layers are from (a reference in full or a layout), empty for scratch.
    """

    manifest: bytes
    config: bytes
    layers: tuple[Layer, ...]
    base: str = ""

    @classmethod
    def of(cls, image: Image, base: str = "") -> ImageDescription:
        """Describe an image that was assembled. Raises ImageError if its config cannot be read."""
        layers = tuple(blob.layer for blob in image.layers if isinstance(blob, StreamedBlob))
        return cls(image.manifest.content, b"".join(image.config.chunks()), layers, base)

    @property
    def digest(self) -> Digest:
        """The image's digest."""
        return Digest.of(self.manifest)

    @property
    def base_layers(self) -> tuple[Descriptor, ...]:
        """What must be had from the base. Raises ImageError if the manifest is broken."""
        layers = self._read().layers
        return layers[: len(layers) - len(self.layers)]

    def image(self, source: Source, base_blob: Callable[[Descriptor], Blob]) -> Image:
        """The image again, by the same digest. `source` has our files, `base_blob` the base's layers."""
        descriptors = self._read().layers
        first = len(descriptors) - len(self.layers)
        ours = (
            StreamedBlob(descriptor, layer, source)
            for descriptor, layer in zip(descriptors[first:], self.layers, strict=True)
        )
        return Image(
            BytesBlob(MANIFEST, self.manifest),
            BytesBlob(CONFIG, self.config),
            (*map(base_blob, descriptors[:first]), *ours),
        )

    def to_json(self) -> dict[str, Json]:
        return {
            "version": _VERSION,
            "manifest": self.manifest.decode(),
            "config": self.config.decode(),
            "layers": [layer.to_json() for layer in self.layers],
            "base": self.base,
        }

    @classmethod
    def from_json(cls, value: Json) -> ImageDescription:
        """Read what `to_json` wrote. Raises ImageError for anything else."""
        try:
            if not isinstance(value, dict):
                raise TypeError("it is not a JSON object")
            document: Mapping[str, Json] = value
            if document["version"] != _VERSION:
                raise ValueError(f"version {document['version']!r}; this version reads {_VERSION}")
            description = cls(
                str(document["manifest"]).encode(),
                str(document["config"]).encode(),
                tuple(Layer.from_json(layer) for layer in cast("list[dict[str, Json]]", document["layers"])),
                str(document["base"]),
            )
            description._check()
        except (KeyError, TypeError, ValueError) as error:
            why = f"it lacks {error}" if isinstance(error, KeyError) else str(error)
            raise ImageError(
                f"the description of an image is broken: {why}", "make the image again"
            ) from None
        return description

    def _check(self) -> None:
        read = self._read()
        if read.config.digest != Digest.of(self.config):
            raise ValueError("its config is not the one that its manifest names")
        if len(read.layers) < len(self.layers):
            raise ValueError("it describes more layers than its manifest names")
        ours = read.layers[len(read.layers) - len(self.layers) :]
        if [descriptor.size for descriptor in ours] != [layer.size for layer in self.layers]:
            raise ValueError("its layers are not of the size that its manifest names")

    def _read(self) -> Manifest:
        read = read_manifest(self.manifest, "an image's description")
        if isinstance(read, Index):
            raise ImageError("the description of an image holds an index", "make the image again")
        return read

"""An image as a small document: what is kept of it in a record, and what it is made from again.

It holds the manifest, the config and the entries of our layers; neither weights nor base layers are read
until the image is sent.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import cast

from enginebuild_cache import Digest, Json
from enginebuild_images.blob import MANIFEST, Blob, BytesBlob, Descriptor
from enginebuild_images.compressed import CompressedBlob
from enginebuild_images.compression import Method
from enginebuild_images.errors import ImageError
from enginebuild_images.image import Image
from enginebuild_images.layer import Layer, Source, StreamedBlob
from enginebuild_images.manifest import Index, Manifest, read_manifest

_VERSION = 1


@dataclass(frozen=True, slots=True)
class Compression:
    """How a layer was compressed, and the digest of what it was made of."""

    method: Method
    diff_id: Digest

    def to_json(self) -> dict[str, Json]:
        return self.method.to_json() | {"diff_id": str(self.diff_id)}

    @classmethod
    def from_json(cls, value: Mapping[str, Json]) -> Compression:
        """Read what `to_json` wrote. Raises KeyError, TypeError or ValueError for anything else."""
        return cls(Method.from_json(value), Digest.parse(str(value["diff_id"])))


@dataclass(frozen=True)
class ImageDescription:
    """An image without its bytes. `layers` are ours, the last ones; those before them are the base's.

    `base`: where the base's layers are from (a reference in full or a layout), empty for scratch.
    `compressed`: by their position in `layers`, those that are sent compressed.
    """

    manifest: bytes
    config: bytes
    layers: tuple[Layer, ...]
    base: str = ""
    compressed: Mapping[int, Compression] = field(default_factory=dict)

    @classmethod
    def of(cls, image: Image, base: str = "") -> ImageDescription:
        """Describe an image that was assembled. Raises ImageError if its config cannot be read."""
        ours = [blob for blob in image.layers if isinstance(blob, StreamedBlob | CompressedBlob)]
        compressed = {
            position: Compression(blob.method, blob.diff_id)
            for position, blob in enumerate(ours)
            if isinstance(blob, CompressedBlob)
        }
        layers = tuple(blob.layer for blob in ours)
        return cls(image.manifest.content, b"".join(image.config.chunks()), layers, base, compressed)

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
        manifest = self._read()
        descriptors = manifest.layers
        first = len(descriptors) - len(self.layers)
        ours = (
            self._blob(position, descriptor, source)
            for position, descriptor in enumerate(descriptors[first:])
        )
        return Image(
            BytesBlob(MANIFEST, self.manifest),
            BytesBlob(manifest.config.media_type, self.config),
            (*map(base_blob, descriptors[:first]), *ours),
        )

    def _blob(self, position: int, descriptor: Descriptor, source: Source) -> Blob:
        layer = self.layers[position]
        if (how := self.compressed.get(position)) is None:
            return StreamedBlob(descriptor, layer, source)
        return CompressedBlob(descriptor, layer, source, how.method, how.diff_id)

    def to_json(self) -> dict[str, Json]:
        return {
            "version": _VERSION,
            "manifest": self.manifest.decode(),
            "config": self.config.decode(),
            "layers": [self._layer_to_json(position) for position in range(len(self.layers))],
            "base": self.base,
        }

    def _layer_to_json(self, position: int) -> Json:
        how = self.compressed.get(position)
        return self.layers[position].to_json() | ({"compression": how.to_json()} if how else {})

    @classmethod
    def from_json(cls, value: Json) -> ImageDescription:
        """Read what `to_json` wrote. Raises ImageError for anything else."""
        try:
            if not isinstance(value, dict):
                raise TypeError("it is not a JSON object")
            document: Mapping[str, Json] = value
            if document["version"] != _VERSION:
                raise ValueError(f"version {document['version']!r}; this version reads {_VERSION}")
            layers = cast("list[dict[str, Json]]", document["layers"])
            description = cls(
                str(document["manifest"]).encode(),
                str(document["config"]).encode(),
                tuple(map(Layer.from_json, layers)),
                str(document["base"]),
                _compressed(layers),
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
        for position, (descriptor, layer) in enumerate(zip(ours, self.layers, strict=True)):
            if (how := self.compressed.get(position)) is None:
                if descriptor.size != layer.size:
                    raise ValueError("its layers are not of the size that its manifest names")
            elif not descriptor.media_type.endswith(f"+{how.method.name}"):
                raise ValueError("its layers are not compressed as its manifest says")

    def _read(self) -> Manifest:
        read = read_manifest(self.manifest, "an image's description")
        if isinstance(read, Index):
            raise ImageError("the description of an image holds an index", "make the image again")
        return read


def _compressed(layers: Sequence[Mapping[str, Json]]) -> dict[int, Compression]:
    return {
        position: Compression.from_json(cast("Mapping[str, Json]", layer["compression"]))
        for position, layer in enumerate(layers)
        if "compression" in layer
    }

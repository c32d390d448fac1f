"""OCI indexes: several images under one name, each with annotations that tell it from the others.

An engine that cannot choose takes the first image of its platform, so the order of the images is kept.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from typing import TYPE_CHECKING, cast

from enginebuild_cache import Json, canonical_json
from enginebuild_images.blob import INDEX, BytesBlob, Descriptor, FileBlob
from enginebuild_images.errors import ImageError
from enginebuild_images.image import Image
from enginebuild_images.layout_index import blob_path, read_listed
from enginebuild_images.manifest import Index, Manifest, read_config, read_manifest
from enginebuild_images.reference import Reference

if TYPE_CHECKING:  # its HTTP client takes longer to import than everything else here
    from enginebuild_images.registry import Registry

#: What an index says of a platform, of what a config may say.
_PLATFORM = ("architecture", "os", "os.features", "os.version", "variant")


@dataclass(frozen=True)
class Variant:
    """An image of an index."""

    image: Image
    annotations: Mapping[str, str]

    @cached_property
    def config(self) -> Mapping[str, Json]:
        """Raises ImageError if it cannot be read."""
        return read_config(b"".join(self.image.config.chunks()), f"the image {self.image.digest}")

    def to_json(self) -> dict[str, Json]:
        """The index's entry."""
        entry = replace(self.image.manifest.descriptor, annotations=self.annotations).to_json()
        platform = {key: self.config[key] for key in _PLATFORM if key in self.config}
        return entry | {"platform": platform}


def assemble_index(variants: Sequence[Variant]) -> BytesBlob:
    """The index of these images in this order; the same images give the same bytes."""
    entries: list[Json] = [variant.to_json() for variant in variants]
    return BytesBlob(INDEX, canonical_json({"schemaVersion": 2, "mediaType": INDEX, "manifests": entries}))


def labels_of(image: Image) -> Mapping[str, str]:
    """An image's labels. Raises ImageError if its config cannot be read."""
    config = Variant(image, {}).config.get("config")
    labels = config.get("Labels") if isinstance(config, dict) else None
    return cast("dict[str, str]", labels) if isinstance(labels, dict) else {}


def remote_manifest(registry: Registry, reference: Reference) -> tuple[Descriptor, Manifest | Index]:
    """What a name in a registry stands for, an index not looked into. Raises RegistryError, ImageError."""
    descriptor, content = registry.manifest(reference)
    return descriptor, read_manifest(content, str(reference), descriptor.media_type)


def remote_image(registry: Registry, reference: Reference) -> Image:
    """The image at a name, its layers read when they are sent. Raises RegistryError, ImageError."""
    descriptor, content = registry.manifest(reference)
    manifest = read_manifest(content, str(reference), descriptor.media_type)
    if isinstance(manifest, Index):
        raise ImageError(
            f"{reference} is an index where an image was expected", "name the image by its digest"
        )
    pinned = reference.with_digest(descriptor.digest)
    config = registry.blob_bytes(pinned, manifest.config)
    return Image(
        BytesBlob(descriptor.media_type, content),
        BytesBlob(manifest.config.media_type, config),
        tuple(registry.blob(pinned, layer) for layer in manifest.layers),
    )


def layout_manifest(location: str) -> tuple[Descriptor, Manifest | Index] | None:
    """What `folder:tag` or `folder@sha256:…` stands for; None where no single manifest does.

    Raises ImageError for a folder that is no layout and a manifest that is broken.
    """
    from enginebuild_images.layout import split_location

    folder, tag, digest = split_location(location)
    found = {
        listed.descriptor.digest: listed.descriptor
        for listed in read_listed(folder)
        if listed.descriptor.digest == digest
        or (digest is None and tag in (None, listed.tag) and not listed.is_attached)
    }
    if len(found) != 1:
        return None
    descriptor = next(iter(found.values()))
    path = folder / blob_path(descriptor.digest)
    content = b"".join(FileBlob(descriptor, path).chunks())
    return descriptor, read_manifest(content, location, descriptor.media_type)

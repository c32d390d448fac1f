"""Blobs: bytes known by digest and size that can be read again as often as they are needed."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Protocol

from enginebuild_cache import CHUNK, Digest, Json, chunks_of

MANIFEST = "application/vnd.oci.image.manifest.v1+json"
INDEX = "application/vnd.oci.image.index.v1+json"
CONFIG = "application/vnd.oci.image.config.v1+json"
LAYER = "application/vnd.oci.image.layer.v1.tar"
LAYER_GZIP = "application/vnd.oci.image.layer.v1.tar+gzip"
LAYER_ZSTD = "application/vnd.oci.image.layer.v1.tar+zstd"
DOCKER_MANIFEST = "application/vnd.docker.distribution.manifest.v2+json"
DOCKER_INDEX = "application/vnd.docker.distribution.manifest.list.v2+json"
DOCKER_CONFIG = "application/vnd.docker.container.image.v1+json"
DOCKER_LAYER_GZIP = "application/vnd.docker.image.rootfs.diff.tar.gzip"


@dataclass(frozen=True, slots=True)
class Descriptor:
    """An OCI content descriptor: what a manifest says of a blob. `size` is in bytes."""

    media_type: str
    digest: Digest
    size: int
    annotations: Mapping[str, str] = field(default_factory=dict)

    def to_json(self) -> dict[str, Json]:
        value: dict[str, Json] = {"mediaType": self.media_type, "digest": str(self.digest), "size": self.size}
        if self.annotations:
            value["annotations"] = dict(self.annotations)
        return value


class Blob(Protocol):
    """A described stream of bytes. `chunks()` starts anew at each call, so an upload can be repeated."""

    @property
    def descriptor(self) -> Descriptor: ...

    def chunks(self) -> Iterator[bytes]:
        """The bytes in pieces of at most 1 MiB. Raises ImageError if they are not what was described."""
        ...


@dataclass(frozen=True, slots=True)
class BytesBlob:
    """A small blob in memory: an image config, a manifest."""

    media_type: str
    content: bytes

    @property
    def descriptor(self) -> Descriptor:
        return Descriptor(self.media_type, Digest.of(self.content), len(self.content))

    def chunks(self) -> Iterator[bytes]:
        for start in range(0, len(self.content), CHUNK):
            yield self.content[start : start + CHUNK]


@dataclass(frozen=True, slots=True)
class FileBlob:
    """A blob that lies in a file, such as one of an OCI layout."""

    descriptor: Descriptor
    path: Path

    def chunks(self) -> Iterator[bytes]:
        with self.path.open("rb", buffering=0) as file:
            yield from chunks_of(file)

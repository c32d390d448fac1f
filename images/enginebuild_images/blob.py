"""Blobs: bytes known by digest and size that can be read again as often as they are needed."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Protocol

from enginebuild_cache import CHUNK, Digest, Json, chunks_of
from enginebuild_images.errors import ImageError

MANIFEST = "application/vnd.oci.image.manifest.v1+json"
INDEX = "application/vnd.oci.image.index.v1+json"
CONFIG = "application/vnd.oci.image.config.v1+json"
LAYER = "application/vnd.oci.image.layer.v1.tar"
LAYER_GZIP = "application/vnd.oci.image.layer.v1.tar+gzip"
LAYER_ZSTD = "application/vnd.oci.image.layer.v1.tar+zstd"
DOCKER_MANIFEST = "application/vnd.docker.distribution.manifest.v2+json"
DOCKER_INDEX = "application/vnd.docker.distribution.manifest.list.v2+json"
DOCKER_CONFIG = "application/vnd.docker.container.image.v1+json"
DOCKER_LAYER = "application/vnd.docker.image.rootfs.diff.tar"
DOCKER_LAYER_GZIP = "application/vnd.docker.image.rootfs.diff.tar.gzip"
DOCKER_LAYER_ZSTD = "application/vnd.docker.image.rootfs.diff.tar.zstd"


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

    @classmethod
    def from_json(cls, value: Json) -> Descriptor:
        """Read a descriptor of a manifest. Raises ValueError that says what is wrong with it."""
        if not isinstance(value, dict):
            raise ValueError(f"a descriptor is not an object: {value!r}")
        media_type, digest, size = (value.get(key) for key in ("mediaType", "digest", "size"))
        if not isinstance(media_type, str) or not isinstance(digest, str):
            raise ValueError("a descriptor lacks mediaType or digest")
        if not isinstance(size, int) or isinstance(size, bool) or size < 0:
            raise ValueError(f"a descriptor's size is {size!r}")
        annotations = value.get("annotations") or {}
        if not isinstance(annotations, dict):
            raise ValueError(f"a descriptor's annotations are {annotations!r}")
        return cls(
            media_type, Digest.parse(digest), size, {key: str(text) for key, text in annotations.items()}
        )


class Blob(Protocol):
    """A described stream of bytes. `chunks()` starts anew at each call, so an upload can be repeated."""

    @property
    def descriptor(self) -> Descriptor: ...

    def chunks(self) -> Iterator[bytes]:
        """The bytes in pieces of at most 1 MiB. Raises ImageError if they are not what was described."""
        ...

    def pieces(self) -> Iterator[bytes]:
        """Like `chunks`, unchecked where checking costs a pass: for a registry, which checks by itself."""
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

    pieces = chunks


@dataclass(frozen=True, slots=True)
class FileBlob:
    """A blob that lies in a file, such as one of an OCI layout."""

    descriptor: Descriptor
    path: Path

    def chunks(self) -> Iterator[bytes]:
        """Raises ImageError if the file is gone or its bytes are not what was described."""
        yield from verified(self.descriptor, self.pieces(), str(self.path))

    def pieces(self) -> Iterator[bytes]:
        """Raises ImageError if the file cannot be read."""
        try:
            with self.path.open("rb", buffering=0) as file:
                yield from chunks_of(file)
        except OSError as error:
            raise ImageError(f"cannot read {self.path}: {error.strerror}") from error


def verified(descriptor: Descriptor, chunks: Iterable[bytes], where: str) -> Iterator[bytes]:
    """Pass bytes on and raise ImageError, naming `where`, if all together are not what was described.

    The error comes with the last piece, so who writes them must not call them good before the end.
    """
    running, size = hashlib.sha256(), 0
    for chunk in chunks:
        running.update(chunk)
        size += len(chunk)
        yield chunk
    if size != descriptor.size:
        raise ImageError(f"{where} was to have {descriptor.size:,} bytes but had {size:,}", CHANGED)
    if running.hexdigest() != descriptor.digest.hex:
        raise ImageError(
            f"{where} was to be {descriptor.digest} but is sha256:{running.hexdigest()}", CHANGED
        )


CHANGED = "the bytes changed since they were described, on the disk or on the way; make or fetch them again"

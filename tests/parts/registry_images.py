"""Images of plain bytes for tests of registries, and a client that does not keep a test waiting."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Iterator
from dataclasses import dataclass

from enginebuild_cache import CHUNK, Digest
from enginebuild_images.blob import CONFIG, LAYER, MANIFEST, Blob, BytesBlob, Descriptor
from enginebuild_images.credentials import Anonymous, Credential, Found, Secret
from enginebuild_images.image import Image
from enginebuild_images.pace import Retry
from enginebuild_images.registry import Registry
from enginebuild_images.transport import Timeouts
from enginebuild_images.upload import CHUNK_SIZE


def image_of(*layers: bytes | Blob) -> Image:
    """An image whose layers are these bytes; nothing could run it, every registry takes it."""
    blobs = tuple(BytesBlob(LAYER, one) if isinstance(one, bytes) else one for one in layers)
    settings = {
        "architecture": "amd64",
        "os": "linux",
        "rootfs": {"type": "layers", "diff_ids": [str(blob.descriptor.digest) for blob in blobs]},
    }
    config = BytesBlob(CONFIG, json.dumps(settings).encode())
    document = {
        "schemaVersion": 2,
        "mediaType": MANIFEST,
        "config": config.descriptor.to_json(),
        "layers": [blob.descriptor.to_json() for blob in blobs],
    }
    return Image(BytesBlob(MANIFEST, json.dumps(document).encode()), config, blobs)


@dataclass(frozen=True, slots=True)
class SyntheticBlob:
    """Bytes made while they are read: any size, no memory. No two pieces are equal."""

    descriptor: Descriptor
    seed: bytes

    @classmethod
    def of(cls, size: int, seed: bytes = b"synthetic") -> SyntheticBlob:
        digest = Digest.of_chunks(cls._made(size, seed))
        return cls(Descriptor(LAYER, digest, size), seed)

    def chunks(self) -> Iterator[bytes]:
        return self._made(self.descriptor.size, self.seed)

    pieces = chunks

    @staticmethod
    def _made(size: int, seed: bytes) -> Iterator[bytes]:
        piece = hashlib.shake_256(seed).digest(CHUNK)
        for start in range(0, size, CHUNK):
            length = min(CHUNK, size - start)
            yield (start.to_bytes(8, "big") + piece[8:])[:length]


@dataclass(frozen=True, slots=True)
class GivenCredentials:
    """The same user and password for every registry; the user `<token>` has an identity token."""

    user: str
    password: str

    def find(self, registry: str, repository: str = "") -> Found:
        return Found(Credential(self.user, Secret(self.password), "the test"))


def client(
    credentials: GivenCredentials | None = None,
    *,
    jobs: int = 4,
    timeout: float = 20.0,
    chunk_size: int = CHUNK_SIZE,
    longest: float = 5.0,
    report: Callable[[str, int, int], None] | None = None,
) -> Registry:
    """A registry client that tries again at once."""
    return Registry(
        credentials or Anonymous(),
        jobs=jobs,
        timeouts=Timeouts(connect=timeout, read=timeout, write=timeout, commit=timeout),
        retry=Retry(base=0.001, longest=longest),
        chunk_size=chunk_size,
        report=report or (lambda _label, _done, _total: None),
    )

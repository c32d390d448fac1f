"""An image as the tar stream that `docker load` reads: an OCI layout with Docker's manifest.json beside it.

Docker 20.10 reads manifest.json, Docker 25 and later and containerd read index.json. Layers go as they are,
gzip or not: every engine finds out by itself. Nothing is written to the disk.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from enginebuild_cache import Json, canonical_json
from enginebuild_images import tar
from enginebuild_images.blob import INDEX, Blob, BytesBlob
from enginebuild_images.errors import ImageError
from enginebuild_images.image import Image
from enginebuild_images.layout_index import LAYOUT, LAYOUT_FILE, REF_NAME, blob_path, index_entry
from enginebuild_images.reference import Reference

#: Where containerd looks for an image's name in full; REF_NAME holds the tag alone.
CONTAINERD_NAME = "io.containerd.image.name"


def docker_archive(image: Image, names: Sequence[str]) -> Iterator[bytes]:
    """The stream, in pieces of at most 1 MiB; each name (tag `latest` if it has none) is given to the image.

    Raises ImageError at once for a name with a digest, and while streaming if bytes are not as described.
    """
    return _pieces(image, [_named(name) for name in names])


def archive_size(image: Image, names: Sequence[str]) -> int:
    """Bytes of the stream, for a Content-Length or a progress bar; reads no layer."""
    references = [_named(name) for name in names]
    members = ((path, blob.descriptor.size) for path, blob in _members(image, references))
    directories = sum(len(tar.directory_header(name, 0)) for name in _DIRECTORIES)
    return directories + sum(map(_member_size, members)) + len(tar.END)


_DIRECTORIES = ("blobs", "blobs/sha256")


def _named(name: str) -> Reference:
    reference = Reference.parse(name, default_tag="latest")
    if reference.digest is not None:
        raise ImageError(
            f"an image cannot be loaded into a Docker Engine as {name!r}: a digest is not a name to give",
            f"name it {reference.name}:TAG",
        )
    return reference


def _pieces(image: Image, references: Sequence[Reference]) -> Iterator[bytes]:
    for name in _DIRECTORIES:
        yield tar.directory_header(name, 0)
    for path, blob in _members(image, references):
        size = blob.descriptor.size
        yield tar.file_header(path, 0o644, size, 0)
        yield from blob.chunks()
        if end := tar.padding(size):
            yield end
    yield tar.END


def _member_size(member: tuple[str, int]) -> int:
    path, size = member
    return len(tar.file_header(path, 0o644, size, 0)) + size + len(tar.padding(size))


def _members(image: Image, references: Sequence[Reference]) -> Iterator[tuple[str, Blob]]:
    """Each blob once, then the documents that name them."""
    sent = set()
    for blob in (*image.blobs, image.manifest):
        if blob.descriptor.digest not in sent:
            sent.add(blob.descriptor.digest)
            yield blob_path(blob.descriptor.digest), blob
    yield LAYOUT_FILE, BytesBlob("", LAYOUT)
    yield "index.json", BytesBlob(INDEX, _index(image, references))
    yield "manifest.json", BytesBlob("", _docker_manifest(image, references))


def _index(image: Image, references: Sequence[Reference]) -> bytes:
    entries: list[Json] = [
        index_entry(image, {REF_NAME: str(reference.tag), CONTAINERD_NAME: str(reference)})
        for reference in references
    ]
    return canonical_json(
        {"schemaVersion": 2, "mediaType": INDEX, "manifests": entries or [index_entry(image, {})]}
    )


def _docker_manifest(image: Image, references: Sequence[Reference]) -> bytes:
    listing: Json = [
        {
            "Config": blob_path(image.config.descriptor.digest),
            "RepoTags": [str(reference) for reference in references],
            "Layers": [blob_path(layer.descriptor.digest) for layer in image.layers],
        }
    ]
    return canonical_json(listing)

"""What is attached to an image: artifacts whose manifests name it as their `subject` (image spec 1.1).

Registries list them at an address of their own; in one that does not, whoever attaches keeps the list, as an
index at a tag made of the image's digest (distribution spec 1.1, "Referrers Tag Schema").
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, cast

from enginebuild_cache import Digest, Json, canonical_json
from enginebuild_images.blob import INDEX, BytesBlob, Descriptor, FileBlob
from enginebuild_images.errors import ImageError, RegistryError
from enginebuild_images.failure import Failure
from enginebuild_images.image import Image
from enginebuild_images.layout_index import blob_path, read_listed
from enginebuild_images.reference import Reference

if TYPE_CHECKING:  # its HTTP client takes longer to import than everything else here
    from enginebuild_images.registry import Registry


def attach(registry: Registry, artifact: Image, reference: Reference) -> None:
    """Bring an artifact into its subject's repository, and into the list. Raises ImageError.

    The list at a tag is read and written back: of two that do so at the same time one may be lost, and comes
    back when it is attached again.
    """
    repository = Reference(reference.registry, reference.repository, None, None)
    if not registry.has(repository.with_digest(artifact.digest), artifact.digest):
        registry.push(artifact, repository)
    subject = _subject(artifact.manifest.content)
    if subject is None:
        raise ImageError("an artifact without a subject is attached to nothing", "give it one")
    if _entries(registry.referrers(repository.with_digest(subject))) is not None:
        return
    tagged = repository.with_tag(_tag(subject))
    entries = _entries(_at_tag(registry, tagged)) or []
    if all(entry.get("digest") != str(artifact.digest) for entry in entries):
        listed: list[Json] = [*map(dict, entries), _entry(artifact)]
        index = canonical_json({"schemaVersion": 2, "mediaType": INDEX, "manifests": listed})
        registry.push_index(BytesBlob(INDEX, index), tagged)


def attached(registry: Registry, reference: Reference, artifact_type: str) -> list[Descriptor]:
    """The artifacts of a type that refer to the image at a digest. Raises ImageError."""
    assert reference.digest is not None
    found = _entries(registry.referrers(reference))
    if found is None:
        found = _entries(_at_tag(registry, reference.with_tag(_tag(reference.digest)))) or []
    return [_descriptor(entry) for entry in found if entry.get("artifactType") == artifact_type]


def attached_in(folder: Path, subject: Digest, artifact_type: str) -> list[bytes]:
    """The manifests of the artifacts of a type that refer to an image of a layout. Raises ImageError."""
    manifests = [
        b"".join(FileBlob(listed.descriptor, folder / blob_path(listed.descriptor.digest)).chunks())
        for listed in read_listed(folder)
        if listed.is_attached and listed.artifact_type == artifact_type
    ]
    return [content for content in manifests if _subject(content) == subject]


def _tag(digest: Digest) -> str:
    return f"sha256-{digest.hex}"


def _subject(manifest: bytes) -> Digest | None:
    subject = json.loads(manifest).get("subject")
    return Descriptor.from_json(subject).digest if subject is not None else None


def _entry(artifact: Image) -> dict[str, Json]:
    manifest = json.loads(artifact.manifest.content)
    return {
        **artifact.manifest.descriptor.to_json(),
        "artifactType": manifest["artifactType"],
        "annotations": manifest["annotations"],
    }


def _at_tag(registry: Registry, tagged: Reference) -> bytes | None:
    try:
        return registry.manifest(tagged)[1]
    except RegistryError as error:
        if isinstance(error.__cause__, Failure) and error.__cause__.status == 404:
            return None
        raise


def _entries(content: bytes | None) -> list[Mapping[str, Json]] | None:
    """What an index lists; None for what is none: some servers answer every address with a page."""
    try:
        document = json.loads(content or b"null")
    except ValueError:
        return None
    listed = document.get("manifests") if isinstance(document, dict) else None
    if not isinstance(listed, list) or not all(isinstance(entry, dict) for entry in listed):
        return None
    return cast("list[Mapping[str, Json]]", listed)


def _descriptor(entry: Mapping[str, Json]) -> Descriptor:
    try:
        return Descriptor.from_json(dict(entry))
    except ValueError as error:
        raise ImageError(f"a list of what refers to an image is broken: {error}", "attach it anew") from None

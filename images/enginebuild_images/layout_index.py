"""The index of an OCI layout: which images lie in the folder, and under which tags."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import cast

from enginebuild_cache import Digest, Json, canonical_json
from enginebuild_images.blob import INDEX, Descriptor
from enginebuild_images.errors import ImageError
from enginebuild_images.image import Image
from enginebuild_images.manifest import Platform, read_config, read_platform

LAYOUT_FILE = "oci-layout"
INDEX_FILE = "index.json"
BLOBS = "blobs/sha256"
REF_NAME = "org.opencontainers.image.ref.name"

LAYOUT: bytes = canonical_json({"imageLayoutVersion": "1.0.0"})
EMPTY_INDEX: bytes = canonical_json({"schemaVersion": 2, "mediaType": INDEX, "manifests": []})


@dataclass(frozen=True, slots=True)
class Listed:
    """A manifest or index that a layout lists."""

    descriptor: Descriptor
    tag: str | None
    platform: Platform | None
    artifact_type: str | None = None

    @property
    def is_attached(self) -> bool:
        """Whether it is no image to be chosen, but something beside one: an artifact without a tag."""
        return self.artifact_type is not None and self.tag is None


def blob_path(digest: Digest) -> str:
    """Where a blob lies, relative to the layout."""
    return f"{BLOBS}/{digest.hex}"


def index_entry(image: Image, annotations: Mapping[str, str]) -> dict[str, Json]:
    """What an index says of an image: its manifest, with its platform, under some annotations.

    Of an artifact it says the type instead; that has no platform.
    """
    config = read_config(b"".join(image.config.chunks()), f"the image {image.digest}")
    descriptor = image.manifest.descriptor
    entry = Descriptor(descriptor.media_type, descriptor.digest, descriptor.size, annotations).to_json()
    kind = json.loads(image.manifest.content).get("artifactType")
    if kind is not None:
        return entry | {"artifactType": kind}
    return entry | {"platform": {"architecture": config.get("architecture", ""), "os": config.get("os", "")}}


def with_image(index: Mapping[str, Json], image: Image, tags: Sequence[str]) -> dict[str, Json]:
    """The index with an image under its tags, which others lose; without tags it is listed once."""
    manifests = cast("list[dict[str, Json]]", index["manifests"])
    kept = [entry for entry in manifests if _tag_of(entry) not in tags]
    untagged = {entry.get("digest") for entry in kept if _tag_of(entry) is None}
    if tags:
        kept = [entry for entry in kept if _tag_of(entry) is not None or entry["digest"] != str(image.digest)]
        added = [index_entry(image, {REF_NAME: tag}) for tag in dict.fromkeys(tags)]
    else:
        added = [] if str(image.digest) in untagged else [index_entry(image, {})]
    return {**index, "manifests": [*kept, *added]}


def with_index(index: Mapping[str, Json], inner: Descriptor, tag: str) -> dict[str, Json]:
    """The layout's index with another index under a tag, which whatever had it loses."""
    manifests = cast("list[dict[str, Json]]", index["manifests"])
    kept = [entry for entry in manifests if _tag_of(entry) != tag]
    return {**index, "manifests": [*kept, replace(inner, annotations={REF_NAME: tag}).to_json()]}


def read_index(folder: Path) -> dict[str, Json]:
    """A layout's index as it stands. Raises ImageError for a folder that is no layout."""
    if not folder.is_dir():
        raise ImageError(f"{folder} is not a folder", "name an OCI layout like ./folder:tag")
    version = _document(folder, LAYOUT_FILE).get("imageLayoutVersion")
    if not str(version).startswith("1."):
        raise ImageError(
            f"{folder} is an OCI layout of version {version}", "write it anew with a tool that writes 1.0.0"
        )
    index = _document(folder, INDEX_FILE)
    manifests = index.get("manifests")
    if not isinstance(manifests, list) or not all(isinstance(entry, dict) for entry in manifests):
        raise ImageError(f"{folder / INDEX_FILE} has no list of manifests", "write the layout anew")
    return index


def read_listed(folder: Path) -> tuple[Listed, ...]:
    """What a layout lists. Raises ImageError."""
    listed = []
    for entry in cast("list[dict[str, Json]]", read_index(folder)["manifests"]):
        try:
            descriptor = Descriptor.from_json(entry)
        except ValueError as error:
            raise ImageError(f"{folder / INDEX_FILE} is broken: {error}", "write the layout anew") from None
        kind = entry.get("artifactType")
        platform = read_platform(entry.get("platform"))
        listed.append(Listed(descriptor, _tag_of(entry), platform, kind if isinstance(kind, str) else None))
    return tuple(listed)


def _tag_of(entry: Mapping[str, Json]) -> str | None:
    annotations = entry.get("annotations")
    tag = annotations.get(REF_NAME) if isinstance(annotations, dict) else None
    return tag if isinstance(tag, str) else None


def _document(folder: Path, name: str) -> dict[str, Json]:
    try:
        content = (folder / name).read_bytes()
    except FileNotFoundError:
        raise ImageError(
            f"{folder} is not an OCI layout: it has no {name}", "name an OCI layout like ./folder:tag"
        ) from None
    except OSError as error:
        raise ImageError(f"cannot read {folder / name}: {error.strerror}") from error
    try:
        document = json.loads(content)
    except ValueError:
        document = None
    if not isinstance(document, dict):
        raise ImageError(f"{folder / name} is not a JSON object", "write the layout anew")
    return document

"""What manifests, indexes and configs of images say, read with errors that name the image.

Docker's schema 2 is taken as OCI: the same layers by the same digests under OCI's media types.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import cast

from enginebuild_cache import Json
from enginebuild_images import blob as media
from enginebuild_images.blob import Descriptor
from enginebuild_images.errors import ImageError

#: What OCI calls each layer that we take; another one we could not put an image on.
LAYER_TYPES: Mapping[str, str] = {
    media.LAYER: media.LAYER,
    media.LAYER_GZIP: media.LAYER_GZIP,
    media.LAYER_ZSTD: media.LAYER_ZSTD,
    media.DOCKER_LAYER: media.LAYER,
    media.DOCKER_LAYER_GZIP: media.LAYER_GZIP,
    media.DOCKER_LAYER_ZSTD: media.LAYER_ZSTD,
}
INDEX_TYPES = frozenset({media.INDEX, media.DOCKER_INDEX})
MANIFEST_TYPES = frozenset({media.MANIFEST, media.DOCKER_MANIFEST})
CONFIG_TYPES = frozenset({media.CONFIG, media.DOCKER_CONFIG})

#: ModelPack (CNCF model-spec, June 2026): a model as an artifact of its own, whose layers no engine unpacks.
MODEL_CONFIG = "application/vnd.cncf.model.config.v1+json"
MODEL_LAYERS = "application/vnd.cncf.model."

_SCHEMA1 = "application/vnd.docker.distribution.manifest.v1"
_ATTESTATION = "vnd.docker.reference.type"  # BuildKit's annotation of SBOMs and provenance in an index


@dataclass(frozen=True, order=True, slots=True)
class Platform:
    """An operating system and architecture in the words of Go: `linux/amd64`."""

    os: str = "linux"
    architecture: str = "amd64"

    def __str__(self) -> str:
        return f"{self.os}/{self.architecture}"

    @classmethod
    def parse(cls, text: str) -> Platform:
        """Read `os/architecture`. Raises ImageError."""
        system, slash, architecture = text.partition("/")
        if not slash or not system or not architecture or "/" in architecture:
            raise ImageError(f"{text!r} is not a platform", "write it like linux/amd64")
        return cls(system, architecture)


LINUX_AMD64 = Platform()


@dataclass(frozen=True, slots=True)
class Manifest:
    """An image manifest as read. `layers` have OCI's media types, or ModelPack's."""

    media_type: str
    config: Descriptor
    layers: tuple[Descriptor, ...]
    annotations: Mapping[str, str]

    @property
    def is_model(self) -> bool:
        """A ModelPack artifact: nothing that an engine could run."""
        return self.config.media_type == MODEL_CONFIG


@dataclass(frozen=True, slots=True)
class Index:
    """A list of manifests, each with its platform if it has one; attestations are left out."""

    entries: tuple[tuple[Descriptor, Platform | None], ...]

    def choose(self, platform: Platform, where: str) -> Descriptor:
        """The first manifest of the platform. Raises ImageError that says which ones there are."""
        for descriptor, offered in self.entries:
            if offered == platform:
                return descriptor
        if len(self.entries) == 1 and self.entries[0][1] is None:
            return self.entries[0][0]
        platforms = sorted({str(offered) for _, offered in self.entries if offered is not None})
        raise ImageError(
            f"{where} has no image for {platform}",
            f"it has {', '.join(platforms)}"
            if platforms
            else "it holds no image at all, or attestations only",
        )


def read_manifest(content: bytes, where: str, media_type: str | None = None) -> Manifest | Index:
    """Read a manifest or an index. Raises ImageError that names `where`, the media type and what to do.

    `media_type`: the registry's Content-Type, used where the document does not say itself what it is.
    """
    document = _object(content, where, "manifest")
    if document.get("schemaVersion") == 1:
        raise _schema1(where)
    kind = document.get("mediaType") or media_type or _guess(document)
    if isinstance(kind, str) and kind.startswith(_SCHEMA1):
        raise _schema1(where)
    try:
        if kind in INDEX_TYPES:
            return _read_index(document)
        if kind in MANIFEST_TYPES:
            return _read_image(document, str(kind), where)
    except ValueError as error:
        raise ImageError(f"the manifest of {where} is broken: {error}") from None
    raise ImageError(f"{where} is not an image but {kind}", "name an OCI or Docker image")


def read_config(content: bytes, where: str) -> dict[str, Json]:
    """Read an image's config. Raises ImageError that names `where`."""
    return _object(content, where, "config")


def _object(content: bytes, where: str, what: str) -> dict[str, Json]:
    try:
        document = json.loads(content)
    except ValueError:
        raise ImageError(f"the {what} of {where} is not JSON: it starts with {content[:40]!r}") from None
    if not isinstance(document, dict):
        raise ImageError(f"the {what} of {where} is not a JSON object")
    return document


def _schema1(where: str) -> ImageError:
    return ImageError(
        f"{where} is an image in Docker's old schema 1, which no longer names its layers reliably",
        "pull it and push it again with Docker 20.10 or newer, or name a newer tag",
    )


def _guess(document: Mapping[str, Json]) -> str:
    """OCI manifests need not say what they are."""
    if "manifests" in document:
        return media.INDEX
    return media.MANIFEST if "layers" in document else "a document without a media type"


def _read_index(document: Mapping[str, Json]) -> Index:
    listed = document.get("manifests")
    if not isinstance(listed, list):
        raise ValueError("an index without a list of manifests")
    entries = []
    for value in listed:
        descriptor = Descriptor.from_json(value)
        platform = read_platform(cast("dict[str, Json]", value).get("platform"))
        attestation = _ATTESTATION in descriptor.annotations or platform == Platform("unknown", "unknown")
        if not attestation:
            entries.append((descriptor, platform))
    return Index(tuple(entries))


def read_platform(value: Json) -> Platform | None:
    """The platform of an index's entry, if it has one."""
    if not isinstance(value, dict):
        return None
    return Platform(str(value.get("os", "")), str(value.get("architecture", "")))


def _read_image(document: Mapping[str, Json], media_type: str, where: str) -> Manifest:
    config = Descriptor.from_json(document.get("config"))
    is_model = config.media_type == MODEL_CONFIG
    if config.media_type not in CONFIG_TYPES and not is_model:
        raise ImageError(
            f"{where} is an artifact of type {config.media_type}, not an image",
            "name an image that can be run",
        )
    layers = document.get("layers")
    if not isinstance(layers, list):
        raise ValueError("a manifest without a list of layers")
    annotations = document.get("annotations")
    return Manifest(
        media_type,
        config,
        tuple(_read_layer(value, where, is_model) for value in layers),
        {key: str(text) for key, text in annotations.items()} if isinstance(annotations, dict) else {},
    )


def _read_layer(value: Json, where: str, is_model: bool) -> Descriptor:
    descriptor = Descriptor.from_json(value)
    if is_model and descriptor.media_type.startswith(MODEL_LAYERS):
        return descriptor
    kind = LAYER_TYPES.get(descriptor.media_type)
    if kind is None:
        raise ImageError(
            f"{where} has a layer of type {descriptor.media_type}, on which no image can be put",
            f"layers are {', '.join(sorted(set(LAYER_TYPES.values())))}",
        )
    return replace(descriptor, media_type=kind)

"""OCI artifacts: manifests of things that are no images (image spec 1.1, "Guidelines for Artifact Usage").

Such a manifest says what it is in `artifactType` and has the empty config; registries, `oras` and `skopeo`
keep and copy it like an image's.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from enginebuild_cache import Json, canonical_json
from enginebuild_images.blob import MANIFEST, Blob, BytesBlob, Descriptor
from enginebuild_images.errors import ImageError
from enginebuild_images.image import Image

EMPTY = "application/vnd.oci.empty.v1+json"
#: The config of an artifact that needs none.
EMPTY_CONFIG = BytesBlob(EMPTY, b"{}")

_REMEDY = "write it anew"


@dataclass(frozen=True, slots=True)
class ArtifactManifest:
    """An artifact's manifest as read."""

    artifact_type: str
    layers: tuple[Descriptor, ...]
    annotations: Mapping[str, str]


def artifact(
    artifact_type: str,
    layers: Sequence[Blob],
    annotations: Mapping[str, str],
    subject: Descriptor | None = None,
) -> Image:
    """Blobs under a manifest of this type; it is sent and written as an image is.

    `subject`: the manifest that it is attached to.
    """
    manifest: dict[str, Json] = {
        "schemaVersion": 2,
        "mediaType": MANIFEST,
        "artifactType": artifact_type,
        "config": EMPTY_CONFIG.descriptor.to_json(),
        "layers": [blob.descriptor.to_json() for blob in layers],
        "annotations": dict(annotations),
        **({} if subject is None else {"subject": subject.to_json()}),
    }
    return Image(BytesBlob(MANIFEST, canonical_json(manifest)), EMPTY_CONFIG, tuple(layers))


def read_artifact(content: bytes, where: str) -> ArtifactManifest:
    """Read an artifact's manifest. Raises ImageError, naming `where`."""
    try:
        document = json.loads(content)
    except (ValueError, RecursionError):
        raise ImageError(f"the manifest of {where} is not JSON: it starts with {content[:40]!r}") from None
    if not isinstance(document, dict):
        raise ImageError(f"the manifest of {where} is not a JSON object")
    kind = document.get("artifactType")
    if not isinstance(kind, str):
        raise ImageError(f"{where} is not an artifact: its manifest has no artifactType", _REMEDY)
    layers, annotations = document.get("layers"), document.get("annotations")
    if not isinstance(layers, list):
        raise ImageError(f"the manifest of {where} is broken: it has no list of layers", _REMEDY)
    try:
        descriptors = tuple(Descriptor.from_json(layer) for layer in layers)
    except ValueError as error:
        raise ImageError(f"the manifest of {where} is broken: {error}", _REMEDY) from None
    texts = annotations if isinstance(annotations, dict) else {}
    return ArtifactManifest(kind, descriptors, {key: str(text) for key, text in texts.items()})

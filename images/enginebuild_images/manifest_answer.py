"""What a registry's answer says of a manifest."""

from __future__ import annotations

import json

from enginebuild_cache import Digest
from enginebuild_images.blob import Descriptor
from enginebuild_images.failure import Answer
from enginebuild_images.manifest import INDEX_TYPES, MANIFEST_TYPES
from enginebuild_images.reference import Reference


def described(answer: Answer, reference: Reference) -> Descriptor | None:
    """The manifest that an answer's headers describe, or None if they say too little or what cannot be."""
    kind = _bare(answer.headers.get("content-type", ""))
    length = answer.headers.get("content-length", "")
    if answer.status != 200 or kind not in INDEX_TYPES | MANIFEST_TYPES or not length.isdigit():
        return None
    try:
        digest = Digest.parse(answer.headers.get("docker-content-digest", ""))
    except ValueError:
        return None
    if reference.digest is not None and digest != reference.digest:
        return None
    return Descriptor(kind, digest, int(length))


def _bare(content_type: str) -> str:
    return content_type.partition(";")[0].strip()


def media_type(answer: Answer) -> str:
    """What the manifest says of itself, or else its header: some registries call everything text/plain."""
    try:
        document = json.loads(answer.body)
    except ValueError:
        document = None
    named = document.get("mediaType") if isinstance(document, dict) else None
    return named if isinstance(named, str) else _bare(answer.headers.get("content-type", ""))

"""A report as an artifact that is attached to its image (image spec 1.1: a manifest with a `subject`)."""

from __future__ import annotations

import json
from collections.abc import Mapping

from enginebuild.verify.report import PLOT_FILE, REPORT_FILE
from enginebuild_cache import Json, Store, Tree
from enginebuild_images.artifact import artifact
from enginebuild_images.blob import Blob, BytesBlob
from enginebuild_images.image import Image

REPORT_TYPE = "application/vnd.enginebuild.verification.v1+json"
_TITLE = "org.opencontainers.image.title"
_FINISHED = "org.opencontainers.image.created"
_SVG = "image/svg+xml"


def attachment(image: Image, tree: Tree, store: Store) -> Image:
    """The artifact of a verified image, from what the step `verify` left; equal reports give equal bytes."""
    report = store.read_bytes(tree.file(REPORT_FILE))
    blobs: list[Blob] = [BytesBlob(REPORT_TYPE, report)]
    if PLOT_FILE in {file.path for file in tree}:
        blobs.append(BytesBlob(_SVG, store.read_bytes(tree.file(PLOT_FILE))))
    annotations = {_TITLE: "verification", _FINISHED: str(json.loads(report).get("finished", ""))}
    return artifact(REPORT_TYPE, blobs, annotations, subject=image.manifest.descriptor)


def report_in(content: bytes) -> Mapping[str, Json] | None:
    """A report's document; None for what is none."""
    try:
        found = json.loads(content)
    except ValueError:
        return None
    return found if isinstance(found, dict) and "smoke" in found else None

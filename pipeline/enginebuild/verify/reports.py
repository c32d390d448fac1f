"""Finding the report that is attached to an image. What cannot be read counts as none: it proves nothing."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING

from enginebuild.verify.attach import REPORT_TYPE, report_in
from enginebuild_cache import Digest, Json
from enginebuild_images.artifact import read_artifact
from enginebuild_images.blob import FileBlob
from enginebuild_images.errors import ImageError
from enginebuild_images.layout_index import blob_path
from enginebuild_images.reference import Reference
from enginebuild_images.referrers import attached, attached_in

if TYPE_CHECKING:  # its HTTP client takes longer to import than everything else here
    from enginebuild_images.registry import Registry


def in_layout(folder: Path, digest: Digest) -> Mapping[str, Json] | None:
    """The latest report of an image in a layout."""
    found = []
    try:
        for content in attached_in(folder, digest, REPORT_TYPE):
            (first, *_) = read_artifact(content, str(folder)).layers
            found.append(b"".join(FileBlob(first, folder / blob_path(first.digest)).chunks()))
    except (ImageError, ValueError):
        return None
    return _latest(found, digest)


def in_registry(registry: Registry, reference: Reference) -> Mapping[str, Json] | None:
    """The latest report of the image at a digest in a registry."""
    assert reference.digest is not None
    found = []
    try:
        for descriptor in attached(registry, reference, REPORT_TYPE):
            pinned = reference.with_digest(descriptor.digest)
            (first, *_) = read_artifact(registry.manifest(pinned)[1], str(pinned)).layers
            found.append(registry.blob_bytes(pinned, first))
    except (ImageError, ValueError):
        return None
    return _latest(found, reference.digest)


def _latest(contents: Iterable[bytes], digest: Digest) -> Mapping[str, Json] | None:
    """A report that is about another image is none of this one, whatever it is attached to."""
    reports = [report for content in contents if (report := report_in(content)) is not None]
    ours = [report for report in reports if report.get("image") == str(digest)]
    return max(ours, key=lambda report: str(report.get("finished")), default=None)

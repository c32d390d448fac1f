"""Publishing into a registry: blobs first, then the manifest by digest, then the tags."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from enginebuild.errors import PublishError
from enginebuild.events import Report
from enginebuild.publish.limits import require_limits
from enginebuild.publish.use import not_attached, use_of
from enginebuild_images.blob import Blob
from enginebuild_images.compressed import CompressedBlob
from enginebuild_images.errors import ImageError
from enginebuild_images.image import Image
from enginebuild_images.layer import StreamedBlob
from enginebuild_images.reference import Reference

if TYPE_CHECKING:  # its HTTP client takes longer to import than a cached run takes
    from enginebuild_images.registry import Registry


@dataclass(frozen=True)
class RegistryPublisher:
    """A repository of a registry. `registry` is made when first asked for; it reports its own progress."""

    repository: Reference
    tags: Sequence[str]
    registry: Callable[[], Registry]

    @property
    def place(self) -> str:
        return self.repository.name

    def has(self, image: Image) -> bool:
        try:
            tagged = [self.repository.with_tag(tag) for tag in self.tags]
            return all(self.registry().has(reference, image.digest) for reference in tagged)
        except ImageError as error:
            raise PublishError(error.message, error.hint) from error

    def missing(self, image: Image) -> int:
        try:
            return sum(descriptor.size for descriptor in self.registry().missing(image, self.repository))
        except ImageError as error:
            raise PublishError(error.message, error.hint) from error

    def publish(self, image: Image, report: Report) -> None:
        """Raises RefusedError, too, before anything is sent."""
        layers = [(_label(blob), blob.descriptor.size) for blob in image.layers]
        require_limits(self.repository, layers, len(image.manifest.content), len(image.layers), report)
        try:
            self.registry().push(image, self.repository, self.tags)
        except ImageError as error:
            raise PublishError(error.message, error.hint) from error

    def attach(self, artifact: Image, report: Report) -> None:
        from enginebuild_images.referrers import attach

        try:
            attach(self.registry(), artifact, self.repository)
        except ImageError as error:
            report(not_attached(self.place, error))

    def name(self, image: Image) -> str:
        return f"{self.place}@{image.digest}"

    def advice(self, image: Image) -> str:
        return use_of(image, self.name(image))


def _label(blob: Blob) -> str:
    if isinstance(blob, StreamedBlob | CompressedBlob):
        return blob.layer.summary
    return f"the base image ({blob.descriptor.digest.short})"

"""Publishing into an OCI layout: a folder that skopeo, podman and containerd read."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from enginebuild.errors import PublishError
from enginebuild.events import Progress, Report
from enginebuild.publish.use import is_modelpack, not_attached
from enginebuild_images.blob import Descriptor
from enginebuild_images.errors import ImageError
from enginebuild_images.image import Image
from enginebuild_images.layout import blob_path, read_layout, write_layout

#: Layers below this many bytes are written before a bar could be drawn.
_SHOWN = 64 << 20


@dataclass(frozen=True)
class LayoutPublisher:
    """A layout folder; it is made, or completed."""

    folder: Path
    tags: Sequence[str]

    @property
    def place(self) -> str:
        return f"oci:{self.folder}"

    def has(self, image: Image) -> bool:
        if not (self.folder / "index.json").exists():
            return False
        try:
            if any(read_layout(f"{self.folder}:{tag}").digest != image.digest for tag in self.tags):
                return False
        except ImageError:
            return False
        blobs = (*image.blobs, image.manifest)
        return all(self._holds(blob.descriptor) for blob in blobs)

    def missing(self, image: Image) -> int:
        blobs = {blob.descriptor.digest: blob.descriptor for blob in image.blobs}
        return sum(descriptor.size for descriptor in blobs.values() if not self._holds(descriptor))

    def _holds(self, descriptor: Descriptor) -> bool:
        path = self.folder / blob_path(descriptor.digest)
        return path.is_file() and path.stat().st_size == descriptor.size

    def publish(self, image: Image, report: Report) -> None:
        def progress(label: str, done: int, total: int) -> None:
            if total >= _SHOWN:
                report(Progress(f"write {label}", done, total))

        try:
            write_layout(image, self.folder, self.tags, progress)
        except ImageError as error:
            raise PublishError(error.message, error.hint) from error

    def attach(self, artifact: Image, report: Report) -> None:
        try:
            write_layout(artifact, self.folder)
        except ImageError as error:
            report(not_attached(self.place, error))

    def name(self, image: Image) -> str:
        return f"{self.place}@{image.digest}"

    def advice(self, image: Image) -> str:
        source = f"{self.place}:{self.tags[0]}"
        copy = f"skopeo copy --preserve-digests {source} docker://REGISTRY/REPOSITORY:TAG"
        lines = [
            f"look inside:    enginebuild inspect {source}",
            f"to a registry:  {copy}, or run again with --push",
        ]
        if not is_modelpack(image):
            lines.append("to Docker:      run again with --load")
        return "\n".join(lines)

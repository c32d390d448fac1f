"""Base images by their name in a recipe: `scratch`, an OCI layout (`oci:folder[:tag]`), or a registry's."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from enginebuild.errors import SourceError
from enginebuild_cache import Digest
from enginebuild_images.base import Base, scratch
from enginebuild_images.blob import Blob, Descriptor, FileBlob
from enginebuild_images.errors import ImageError
from enginebuild_images.manifest import Index, Platform, read_manifest
from enginebuild_images.reference import Reference

if TYPE_CHECKING:  # its HTTP client takes longer to import than a cached run takes
    from enginebuild_images.registry import Registry

SCRATCH = "scratch"
LAYOUT = "oci:"
BASE = "base image"
BUILDER = "builder image"


@dataclass(frozen=True)
class Bases:
    """Opens bases. A layout's path is relative to `folder`; `registry` is made when first asked for."""

    folder: Path
    registry: Callable[[], Registry]

    @staticmethod
    def is_remote(reference: str) -> bool:
        """Whether looking at it needs a network."""
        return reference != SCRATCH and not reference.startswith(LAYOUT)

    def digest(self, reference: str, platform: str, called: str = BASE) -> Digest | None:
        """The digest of the base's manifest for a platform; None for `scratch`. Raises SourceError.

        `called` is what messages call the image.
        """
        if reference == SCRATCH:
            return None
        with _as_source_error(reference, called):
            wanted = Platform.parse(platform)
            if reference.startswith(LAYOUT):
                from enginebuild_images.layout import read_layout

                return read_layout(self._layout(reference), wanted).digest
            return self.registry().resolve(Reference.parse(reference), wanted).digest

    def open(self, reference: str, platform: str, digest: Digest | None) -> Base:
        """The base at exactly this digest. Raises SourceError."""
        with _as_source_error(reference):
            wanted = Platform.parse(platform)
            if reference == SCRATCH or digest is None:
                return scratch(wanted)
            if reference.startswith(LAYOUT):
                return self._open_layout(reference, wanted, digest)
            return self._open_remote(reference, wanted, digest)

    def _open_layout(self, reference: str, platform: Platform, digest: Digest) -> Base:
        from enginebuild_images.layout import read_layout

        image = read_layout(self._layout(reference), platform)
        if image.digest != digest:
            raise ImageError(
                f"it holds {image.digest} now, the lock says {digest}",
                "run `enginebuild lock` and review the change, or put the old image back",
            )
        return Base.of_image(image, reference, platform)

    def _open_remote(self, reference: str, platform: Platform, digest: Digest) -> Base:
        registry, pinned = self.registry(), Reference.parse(reference).with_digest(digest)
        _, content = registry.manifest(pinned)
        manifest = read_manifest(content, reference)
        if isinstance(manifest, Index):
            raise ImageError("the lock names an index, not an image", "run `enginebuild lock` again")
        config = registry.blob_bytes(pinned, manifest.config)
        return Base.of(
            content, config, lambda descriptor: registry.blob(pinned, descriptor), reference, platform
        )

    def blobs(self, reference: str, digest: Digest | None) -> Callable[[Descriptor], Blob]:
        """Layers of a base by their descriptors. Nothing is looked at before a layer is asked for."""

        def blob(descriptor: Descriptor) -> Blob:
            with _as_source_error(reference):
                if self.is_remote(reference) and digest is not None:
                    return self.registry().blob(Reference.parse(reference).with_digest(digest), descriptor)
                return self._layout_blob(reference, descriptor)

        return blob

    def _layout_blob(self, reference: str, descriptor: Descriptor) -> Blob:
        from enginebuild_images.layout import blob_path, split_location

        folder, _, _ = split_location(self._layout(reference))
        return FileBlob(descriptor, folder / blob_path(descriptor.digest))

    def _layout(self, reference: str) -> str:
        return str(self.folder / reference.removeprefix(LAYOUT))


@contextmanager
def _as_source_error(reference: str, called: str = BASE) -> Iterator[None]:
    try:
        yield
    except ImageError as error:
        raise SourceError(f"{called} {reference}: {error.message}", error.hint) from error

"""Where a remote cache lies: a repository of a registry, or an OCI layout. One Protocol, both kinds."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Protocol

from enginebuild_images.blob import Blob, Descriptor, FileBlob
from enginebuild_images.errors import ImageError, RegistryError
from enginebuild_images.failure import Failure
from enginebuild_images.image import Image
from enginebuild_images.reference import Reference

if TYPE_CHECKING:  # its HTTP client takes longer to import than a cached run takes
    from enginebuild_images.registry import Registry

LAYOUT = "oci:"

#: Bytes of a manifest at most; OCI's registries need not take more than 4 MiB.
_MANIFEST_LIMIT = 4 << 20


class OutOfReachError(ImageError):
    """The place itself cannot be used now, whatever is asked of it."""


class NotAllowedError(OutOfReachError):
    """What was asked of the place needs a right that the user does not have."""


class Place(Protocol):
    """`name` is what messages call it."""

    @property
    def name(self) -> str: ...

    def manifest(self, tag: str) -> bytes | None:
        """A tag's manifest, None if there is none. Raises OutOfReachError, ImageError for a broken one."""
        ...

    def blob(self, descriptor: Descriptor) -> Blob:
        """A blob, held to its descriptor while it is read."""
        ...

    def write(self, image: Image, tag: str) -> None:
        """Send what is missing, the tag last. Raises OutOfReachError, ImageError for this image alone."""
        ...

    def tags(self) -> list[str]:
        """Every tag. Raises ImageError."""
        ...

    def offer_to(self, client: Registry) -> None:
        """Let a client mount blobs from here."""
        ...


@dataclass(frozen=True)
class RegistryPlace:
    """A repository. `registry` is made when first asked for."""

    repository: Reference
    registry: Callable[[], Registry]

    @property
    def name(self) -> str:
        return self.repository.name

    def manifest(self, tag: str) -> bytes | None:
        try:
            return self.registry().manifest(self.repository.with_tag(tag))[1]
        except RegistryError as error:
            cause = error.__cause__
            if not isinstance(cause, Failure):
                raise
            if cause.status == 404:
                return None
            raise _out_of_reach(error, cause) from error

    def blob(self, descriptor: Descriptor) -> Blob:
        return self.registry().blob(self.repository, descriptor)

    def write(self, image: Image, tag: str) -> None:
        try:
            self.registry().push(image, self.repository.with_tag(tag))
        except RegistryError as error:
            cause = error.__cause__
            if isinstance(cause, Failure) and _speaks_of_the_place(cause):
                raise _out_of_reach(error, cause) from error
            raise

    def tags(self) -> list[str]:
        return self.registry().tags(self.repository)

    def offer_to(self, client: Registry) -> None:
        client.mount_from(self.repository)


@dataclass(frozen=True)
class LayoutPlace:
    """An OCI layout on a disk, for what is carried by hand."""

    folder: Path

    @property
    def name(self) -> str:
        return f"{LAYOUT}{self.folder}"

    def manifest(self, tag: str) -> bytes | None:
        from enginebuild_images.layout_index import read_listed

        if not (self.folder / "index.json").exists():
            return None
        for listed in read_listed(self.folder):
            if listed.tag == tag:
                if listed.descriptor.size > _MANIFEST_LIMIT:
                    raise ImageError(f"the manifest of {tag} has {listed.descriptor.size:,} bytes")
                return b"".join(self.blob(listed.descriptor).chunks())
        return None

    def blob(self, descriptor: Descriptor) -> Blob:
        return FileBlob(descriptor, self.folder / "blobs" / "sha256" / descriptor.digest.hex)

    def write(self, image: Image, tag: str) -> None:
        from enginebuild_images.layout import write_layout

        write_layout(image, self.folder, [tag])

    def tags(self) -> list[str]:
        from enginebuild_images.layout_index import read_listed

        return sorted({listed.tag for listed in read_listed(self.folder) if listed.tag is not None})

    def offer_to(self, client: Registry) -> None:
        """A folder has nothing that a registry could mount."""


def _speaks_of_the_place(failure: Failure) -> bool:
    """Whether another record would fare no better: no answer, no right, no rest, no health."""
    return failure.status is None or failure.status in (401, 403, 429) or failure.status >= 500


def _out_of_reach(error: RegistryError, failure: Failure) -> OutOfReachError:
    kind = NotAllowedError if failure.status in (401, 403) else OutOfReachError
    return kind(error.message, error.hint)


def place_of(text: str, registry: Callable[[], Registry]) -> Place:
    """`oci:FOLDER`, or a repository without tag and digest. Raises ImageError for what is neither."""
    if text.startswith(LAYOUT):
        folder = text.removeprefix(LAYOUT)
        if not folder:
            raise ImageError(f"{text!r} names no folder", "write for example oci:./cache")
        return LayoutPlace(Path(folder))
    reference = Reference.parse(text)
    if reference.tag is not None or reference.digest is not None:
        raise ImageError(
            f"{text!r} has a tag or a digest, and a cache has its own tags", f"write {reference.name}"
        )
    return RegistryPlace(reference, registry)

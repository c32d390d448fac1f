"""Where an image goes: an OCI layout, a registry, a Docker Engine. One Protocol, one module each."""

from __future__ import annotations

from typing import Protocol

from enginebuild.events import Report
from enginebuild_images.image import Image


class Publisher(Protocol):
    """A destination."""

    @property
    def place(self) -> str:
        """The destination as people write it, without tag or digest."""
        ...

    def has(self, image: Image) -> bool:
        """Whether everything is there already, tags included. Raises PublishError."""
        ...

    def missing(self, image: Image) -> int:
        """Bytes of the blobs that are not there: what publishing would send at most. Raises PublishError."""
        ...

    def publish(self, image: Image, report: Report) -> None:
        """Send what is missing; tags last. Raises PublishError, and then no tag names this image."""
        ...

    def attach(self, artifact: Image, report: Report) -> None:
        """Put an artifact beside the image that is its subject, where the place can; else warn."""
        ...

    def name(self, image: Image) -> str:
        """The image by digest at this place, in the form that other tools read."""
        ...

    def advice(self, image: Image) -> str:
        """What its user would do next, as commands."""
        ...

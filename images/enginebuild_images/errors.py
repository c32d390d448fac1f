"""What can go wrong with an image or a registry, each with what to do about it."""

from __future__ import annotations


class ImageError(Exception):
    """An image, a layout or a registry is not as it must be. `hint` says what to do."""

    def __init__(self, message: str, hint: str = "") -> None:
        super().__init__(message)
        self.message = message
        self.hint = hint


class RegistryError(ImageError):
    """A registry refused, stalled, lied or is not there. The message names the registry and its answer."""

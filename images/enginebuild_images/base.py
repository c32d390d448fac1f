"""Base images: the configuration and the layers that an image is put on.

Only digests and configuration of a base are read here; its layers are never unpacked.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, replace
from typing import cast

from enginebuild_cache import Digest, Json
from enginebuild_images.blob import Blob, Descriptor
from enginebuild_images.errors import ImageError
from enginebuild_images.image import Image
from enginebuild_images.manifest import LINUX_AMD64, Index, Manifest, Platform, read_config, read_manifest


@dataclass(frozen=True)
class Base:
    """What an image is put on: configuration and layers. `reference` and `digest` say where from, if known.

    `digest` is of what `reference` names, an index as the case may be.
    """

    config: Mapping[str, Json]
    layers: tuple[Blob, ...]
    platform: Platform
    reference: str = ""
    digest: Digest | None = None

    @property
    def diff_ids(self) -> tuple[str, ...]:
        """Digests of the uncompressed layers."""
        return _diff_ids(self.config)

    @property
    def history(self) -> tuple[Mapping[str, Json], ...]:
        """One entry per layer and per step that made none."""
        entries = self.config.get("history") or []
        return tuple(cast("list[dict[str, Json]]", entries))

    @classmethod
    def of(
        cls,
        manifest: bytes,
        config: bytes,
        blob_of: Callable[[Descriptor], Blob],
        where: str,
        platform: Platform = LINUX_AMD64,
    ) -> Base:
        """Read a manifest and its config; `blob_of` gives each layer. Raises ImageError, naming `where`."""
        read = read_manifest(manifest, where)
        if isinstance(read, Index):
            raise ImageError(
                f"{where} is an index where an image was expected", "name the image by its digest"
            )
        if read.is_model:
            raise ImageError(
                f"{where} is a ModelPack artifact, not an image", "name an image that can be run"
            )
        settings = read_config(config, where)
        _check_platform(settings, platform, where)
        _check_layers(read, settings, where)
        return cls(settings, tuple(map(blob_of, read.layers)), platform)

    @classmethod
    def of_image(cls, image: Image, where: str, platform: Platform = LINUX_AMD64) -> Base:
        """An image as a base. `where` names it in errors."""
        blobs = {layer.descriptor.digest: layer for layer in image.layers}
        return cls.of(
            image.manifest.content,
            b"".join(image.config.chunks()),
            lambda descriptor: RelabelledBlob(descriptor, blobs[descriptor.digest]),
            where,
            platform,
        )

    def named(self, reference: str, digest: Digest) -> Base:
        """The same base, with where it is from."""
        return replace(self, reference=reference, digest=digest)


@dataclass(frozen=True, slots=True)
class RelabelledBlob:
    """The bytes of a blob under another descriptor, which has the same digest and size."""

    descriptor: Descriptor
    blob: Blob

    def chunks(self) -> Iterator[bytes]:
        return self.blob.chunks()

    def pieces(self) -> Iterator[bytes]:
        return self.blob.pieces()


def scratch(platform: Platform = LINUX_AMD64) -> Base:
    """The empty base."""
    config: dict[str, Json] = {
        "architecture": platform.architecture,
        "os": platform.os,
        "rootfs": {"type": "layers", "diff_ids": []},
        "history": [],
    }
    return Base(config, (), platform)


def _diff_ids(config: Mapping[str, Json]) -> tuple[str, ...]:
    rootfs = config.get("rootfs")
    listed = rootfs.get("diff_ids") if isinstance(rootfs, dict) else None
    return tuple(map(str, listed)) if isinstance(listed, list) else ()


def _check_platform(config: Mapping[str, Json], platform: Platform, where: str) -> None:
    made_for = Platform(str(config.get("os", "")), str(config.get("architecture", "")))
    if made_for != platform:
        raise ImageError(
            f"{where} is made for {made_for}, not for {platform}", "name an image for the platform"
        )


def _check_layers(manifest: Manifest, config: Mapping[str, Json], where: str) -> None:
    diff_ids = _diff_ids(config)
    if len(diff_ids) != len(manifest.layers):
        raise ImageError(
            f"{where} is broken: {len(manifest.layers)} layers in its manifest, {len(diff_ids)} in its config"
        )
    history = config.get("history")
    if history is None:
        return
    if not isinstance(history, list) or not all(isinstance(entry, dict) for entry in history):
        raise ImageError(f"{where} is broken: its history is not a list of objects")
    made = sum(1 for entry in history if isinstance(entry, dict) and not entry.get("empty_layer"))
    if made > len(diff_ids):
        raise ImageError(f"{where} is broken: its history tells of {made} layers, but it has {len(diff_ids)}")

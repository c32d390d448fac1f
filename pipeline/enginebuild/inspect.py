"""What an image holds and what it was made from, wherever it lies."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, cast

from enginebuild.errors import SourceError
from enginebuild.verify import reports
from enginebuild_cache import Digest, Json
from enginebuild_images.errors import ImageError
from enginebuild_images.manifest import Index, Manifest, Platform, read_config, read_manifest
from enginebuild_images.modelpack import FILEPATH
from enginebuild_images.reference import Reference

if TYPE_CHECKING:  # its HTTP client takes longer to import than everything else here
    from enginebuild_images.registry import Registry

LAYOUT = "oci:"
DOCKER = "docker:"


@dataclass(frozen=True)
class LayerSummary:
    """A layer: `size` in bytes as it is transferred, `holds` what its history says of it."""

    digest: str
    size: int
    media_type: str
    holds: str

    def to_json(self) -> dict[str, Json]:
        return {
            "digest": self.digest,
            "size": self.size,
            "media_type": self.media_type,
            "holds": self.holds,
        }


@dataclass(frozen=True)
class Inspection:
    """An image as read. `config` is OCI's image config, or that of a ModelPack artifact.

    Such an artifact (`is_model`) has annotations where an image has labels, and no platform.
    `verification` is the latest report that is attached to it.
    """

    name: str
    digest: str
    config: Mapping[str, Json]
    layers: tuple[LayerSummary, ...]
    annotations: Mapping[str, str] = field(default_factory=dict)
    is_model: bool = False
    verification: Mapping[str, Json] | None = None

    @property
    def labels(self) -> Mapping[str, str]:
        if self.is_model:
            return self.annotations
        return cast("Mapping[str, str]", _object(self.config.get("config")).get("Labels") or {})

    @property
    def platform(self) -> str:
        return f"{self.config.get('os', '')}/{self.config.get('architecture', '')}"

    @property
    def size(self) -> int:
        """Bytes of all layers."""
        return sum(layer.size for layer in self.layers)

    def to_json(self) -> dict[str, Json]:
        if self.is_model:
            return {
                "name": self.name,
                "digest": self.digest,
                "artifact": "modelpack",
                "size": self.size,
                "key": self.labels.get("enginebuild.key"),
                "annotations": dict(self.labels),
                "model": dict(self.config),
                "layers": [layer.to_json() for layer in self.layers],
            }
        run = _object(self.config.get("config"))
        return {
            "name": self.name,
            "digest": self.digest,
            "platform": self.platform,
            "size": self.size,
            "key": self.labels.get("enginebuild.key"),
            "labels": dict(self.labels),
            "entrypoint": run.get("Entrypoint"),
            "cmd": run.get("Cmd"),
            "env": run.get("Env"),
            "layers": [layer.to_json() for layer in self.layers],
            **({} if self.verification is None else {"verification": dict(self.verification)}),
        }


@dataclass(frozen=True)
class VariantSummary:
    """An image of an index. `name` is the image by digest, at the index's place."""

    name: str
    digest: str
    platform: str
    annotations: Mapping[str, str]

    def to_json(self) -> dict[str, Json]:
        return {
            "name": self.name,
            "digest": self.digest,
            "platform": self.platform,
            "annotations": dict(self.annotations),
        }


@dataclass(frozen=True)
class IndexInspection:
    """An index that has several images for the platform that was asked for."""

    name: str
    digest: str
    variants: tuple[VariantSummary, ...]

    def to_json(self) -> dict[str, Json]:
        return {
            "name": self.name,
            "digest": self.digest,
            "variants": [variant.to_json() for variant in self.variants],
        }


def inspect(name: str, platform: str, registry: Callable[[], Registry]) -> Inspection | IndexInspection:
    """`oci:FOLDER[:TAG]`, `docker:NAME`, or a reference in a registry. Raises SourceError.

    Of an index with one image for the platform that image is read; with several, none is chosen.
    """
    try:
        if name.startswith(LAYOUT):
            return _of_layout(name, Platform.parse(platform))
        if name.startswith(DOCKER):
            from enginebuild.publish.docker import inspect_loaded

            return _of_docker(name, inspect_loaded(name.removeprefix(DOCKER)))
        return _of_registry(name, Platform.parse(platform), registry())
    except ImageError as error:
        raise SourceError(error.message, error.hint) from error


def _of_layout(name: str, platform: Platform) -> Inspection | IndexInspection:
    from enginebuild_images.index import layout_manifest
    from enginebuild_images.layout import read_layout, split_location

    location = name.removeprefix(LAYOUT)
    found = layout_manifest(location)
    if found is not None and isinstance(found[1], Index) and _is_choice(found[1], platform):
        return _of_index(name, f"{LAYOUT}{split_location(location)[0]}", found[0].digest, found[1])
    image = read_layout(location, platform)
    config = read_config(b"".join(image.config.chunks()), name)
    manifest = read_manifest(image.manifest.content, name)
    assert isinstance(manifest, Manifest)
    report = reports.in_layout(split_location(location)[0], image.digest)
    return replace(_of(name, image.digest, manifest, config), verification=report)


def _of_registry(name: str, platform: Platform, registry: Registry) -> Inspection | IndexInspection:
    from enginebuild_images.index import remote_manifest

    reference = Reference.parse(name, "latest")
    descriptor, manifest = remote_manifest(registry, reference)
    pinned = reference.with_digest(descriptor.digest)
    if isinstance(manifest, Index):
        if _is_choice(manifest, platform):
            return _of_index(str(pinned), reference.name, descriptor.digest, manifest)
        pinned = reference.with_digest(registry.resolve(pinned, platform).digest)
        manifest = read_manifest(registry.manifest(pinned)[1], name)
        assert isinstance(manifest, Manifest)
    config = read_config(registry.blob_bytes(pinned, manifest.config), name)
    assert pinned.digest is not None
    report = reports.in_registry(registry, pinned)
    return replace(_of(str(pinned), pinned.digest, manifest, config), verification=report)


def _is_choice(index: Index, platform: Platform) -> bool:
    return sum(1 for _, offered in index.entries if offered == platform) > 1


def _of_index(name: str, where: str, digest: Digest, index: Index) -> IndexInspection:
    variants = tuple(
        VariantSummary(
            f"{where}@{descriptor.digest}",
            str(descriptor.digest),
            str(platform or ""),
            descriptor.annotations,
        )
        for descriptor, platform in index.entries
    )
    return IndexInspection(name, str(digest), variants)


def _of(name: str, digest: Digest, manifest: Manifest, config: Mapping[str, Json]) -> Inspection:
    history = config.get("history")
    made = [_object(entry) for entry in history] if isinstance(history, list) else []
    made = [entry for entry in made if not entry.get("empty_layer")]
    holds = [str(entry.get("created_by", "")) for entry in made]
    if manifest.is_model:
        holds = [f"/{layer.annotations.get(FILEPATH, '')}" for layer in manifest.layers]
    holds += [""] * (len(manifest.layers) - len(holds))
    layers = tuple(
        LayerSummary(str(layer.digest), layer.size, layer.media_type, text)
        for layer, text in zip(manifest.layers, holds, strict=False)
    )
    return Inspection(name, str(digest), config, layers, manifest.annotations, manifest.is_model)


def _of_docker(name: str, attributes: Mapping[str, Json]) -> Inspection:
    """Docker keeps no manifest of an image: layers are known by their content's digest, without sizes."""
    layers = _object(attributes.get("RootFS")).get("Layers")
    config: dict[str, Json] = {
        "os": attributes.get("Os"),
        "architecture": attributes.get("Architecture"),
        "config": attributes.get("Config"),
        "rootfs": {"diff_ids": layers},
    }
    return Inspection(
        name,
        str(attributes.get("Id")),
        config,
        tuple(LayerSummary(str(digest), 0, "", "") for digest in layers) if isinstance(layers, list) else (),
    )


def _object(value: Json) -> dict[str, Json]:
    return value if isinstance(value, dict) else {}

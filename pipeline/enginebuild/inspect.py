"""What an image holds and what it was made from, wherever it lies."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, cast

from enginebuild.errors import SourceError
from enginebuild_cache import Digest, Json
from enginebuild_images.errors import ImageError
from enginebuild_images.image import Image
from enginebuild_images.manifest import Manifest, Platform, read_config, read_manifest
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
    """An image as read. `config` is OCI's image config."""

    name: str
    digest: str
    config: Mapping[str, Json]
    layers: tuple[LayerSummary, ...]

    @property
    def labels(self) -> Mapping[str, str]:
        return cast("Mapping[str, str]", _object(self.config.get("config")).get("Labels") or {})

    @property
    def platform(self) -> str:
        return f"{self.config.get('os', '')}/{self.config.get('architecture', '')}"

    @property
    def size(self) -> int:
        """Bytes of all layers."""
        return sum(layer.size for layer in self.layers)

    def to_json(self) -> dict[str, Json]:
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
        }


def inspect(name: str, platform: str, registry: Callable[[], Registry]) -> Inspection:
    """`oci:FOLDER[:TAG]`, `docker:NAME`, or a reference in a registry. Raises SourceError."""
    try:
        if name.startswith(LAYOUT):
            from enginebuild_images.layout import read_layout

            return _of_image(name, read_layout(name.removeprefix(LAYOUT), Platform.parse(platform)))
        if name.startswith(DOCKER):
            from enginebuild.publish.docker import inspect_loaded

            return _of_docker(name, inspect_loaded(name.removeprefix(DOCKER)))
        return _of_registry(name, platform, registry())
    except ImageError as error:
        raise SourceError(error.message, error.hint) from error


def _of_image(name: str, image: Image) -> Inspection:
    config = read_config(b"".join(image.config.chunks()), name)
    manifest = read_manifest(image.manifest.content, name)
    assert isinstance(manifest, Manifest)
    return _of(name, image.digest, manifest, config)


def _of_registry(name: str, platform: str, registry: Registry) -> Inspection:
    reference = Reference.parse(name, "latest")
    digest = registry.resolve(reference, Platform.parse(platform)).digest
    pinned = reference.with_digest(digest)
    manifest = read_manifest(registry.manifest(pinned)[1], name)
    assert isinstance(manifest, Manifest)
    config = read_config(registry.blob_bytes(pinned, manifest.config), name)
    return _of(str(pinned), digest, manifest, config)


def _of(name: str, digest: Digest, manifest: Manifest, config: Mapping[str, Json]) -> Inspection:
    history = config.get("history")
    made = [_object(entry) for entry in history] if isinstance(history, list) else []
    made = [entry for entry in made if not entry.get("empty_layer")]
    holds = [str(entry.get("created_by", "")) for entry in made]
    holds += [""] * (len(manifest.layers) - len(holds))
    layers = tuple(
        LayerSummary(str(layer.digest), layer.size, layer.media_type, text)
        for layer, text in zip(manifest.layers, holds, strict=False)
    )
    return Inspection(name, str(digest), config, layers)


def _of_docker(name: str, attributes: Mapping[str, Json]) -> Inspection:
    """Docker keeps no manifest of an image: layers are known by their content's digest, without sizes."""
    config: dict[str, Json] = {
        "os": attributes.get("Os"),
        "architecture": attributes.get("Architecture"),
        "config": attributes.get("Config"),
    }
    layers = _object(attributes.get("RootFS")).get("Layers")
    return Inspection(
        name,
        str(attributes.get("Id")),
        config,
        tuple(LayerSummary(str(digest), 0, "", "") for digest in layers) if isinstance(layers, list) else (),
    )


def _object(value: Json) -> dict[str, Json]:
    return value if isinstance(value, dict) else {}

"""Several images under one name: an OCI index whose entries say what each image is for."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from enginebuild.errors import PublishError, RecipeError, SourceError
from enginebuild.events import Progress, Report
from enginebuild.recipe import catalogue
from enginebuild_cache import Digest, Json
from enginebuild_images.blob import BytesBlob
from enginebuild_images.errors import ImageError
from enginebuild_images.image import Image
from enginebuild_images.index import (
    Variant,
    assemble_index,
    labels_of,
    layout_manifest,
    remote_image,
    remote_manifest,
)
from enginebuild_images.layout import read_layout, split_location, write_layout, write_layout_index
from enginebuild_images.manifest import MODEL_CONFIG, Index
from enginebuild_images.reference import Reference

if TYPE_CHECKING:  # its HTTP client takes longer to import than everything else here
    from enginebuild_images.registry import Registry

LAYOUT = "oci:"
DOCKER = "docker:"

#: Labels that an entry repeats, so that a variant can be chosen without reading its config.
_TOLD = ("enginebuild.", "org.opencontainers.image.licenses")
_GPU = "enginebuild.gpu"
CAPABILITY = "enginebuild.gpu.compute_capability"


@dataclass(frozen=True)
class NamedVariant:
    """An image of an index. `source` is what it was called on the command line."""

    source: str
    variant: Variant

    @property
    def digest(self) -> Digest:
        return self.variant.image.digest


@dataclass(frozen=True)
class PublishedIndex:
    """`name` is the index by digest; `variants` have each image by digest at the same place."""

    name: str
    digest: Digest
    variants: tuple[tuple[str, Mapping[str, str]], ...]

    def to_json(self) -> dict[str, Json]:
        return {
            "index": {"digest": str(self.digest), "name": self.name},
            "variants": [
                {"name": name, "annotations": dict(annotations)} for name, annotations in self.variants
            ],
        }


def publish_index(
    name: str, images: Sequence[str], registry: Callable[[], Registry], report: Report
) -> PublishedIndex:
    """Bring images to one place, then the index of them under a name there.

    `name`: `registry.example.com/llm/llama:v1` or `oci:FOLDER:TAG`; `images` are named likewise, by tag or
    digest, wherever they lie. Raises RecipeError, SourceError, PublishError.
    """
    place = _place(name)
    found = [_opened(image, registry) for image in images]
    _check_distinct(found)
    index = assemble_index([each.variant for each in found])
    try:
        if isinstance(place, Reference):
            where = place.name
            _to_registry(place, found, index, registry())
        else:
            where = f"{LAYOUT}{place[0]}"
            _to_layout(*place, found, index, report)
    except ImageError as error:
        raise PublishError(error.message, error.hint) from error
    digest = index.descriptor.digest
    variants = tuple((f"{where}@{each.digest}", each.variant.annotations) for each in found)
    return PublishedIndex(f"{where}@{digest}", digest, variants)


def annotations_of(labels: Mapping[str, str]) -> dict[str, str]:
    """What an entry says of its image: our labels, and what follows from the GPU."""
    told = {key: text for key, text in labels.items() if key.startswith(_TOLD)}
    gpu = catalogue().get(labels.get(_GPU, ""))
    return told | ({CAPABILITY: gpu.compute_capability} if gpu is not None else {})


def _place(name: str) -> Reference | tuple[Path, str]:
    if name.startswith(LAYOUT):
        folder, tag, digest = split_location(name.removeprefix(LAYOUT))
        if tag is not None and digest is None:
            return folder, tag
        raise _no_tag(name, "oci:FOLDER:TAG")
    try:
        reference = Reference.parse(name)
    except ImageError as error:
        raise RecipeError(error.message, error.hint) from error
    if reference.tag is None or reference.digest is not None:
        raise _no_tag(name, f"{reference.name}:TAG")
    return reference


def _no_tag(name: str, better: str) -> RecipeError:
    return RecipeError(
        f"{name} cannot be the name of an index: that ends with a tag, and its digest is yet to be made",
        f"write {better}",
    )


def _opened(name: str, registry: Callable[[], Registry]) -> NamedVariant:
    if name.startswith(DOCKER):
        raise RecipeError(
            f"{name} lies in a Docker Engine, which keeps no manifests that an index could name",
            "push it or write it into a layout, with enginebuild run and --push or --output",
        )
    try:
        image = _layout_image(name) if name.startswith(LAYOUT) else _remote_image(name, registry)
        if image.config.descriptor.media_type == MODEL_CONFIG:
            raise ImageError(
                f"{name} is a ModelPack artifact, which has no platform by which an index could offer it",
                "give it a name of its own, or pack the model with image.layout: model",
            )
        return NamedVariant(name, Variant(image, annotations_of(labels_of(image))))
    except ImageError as error:
        raise SourceError(error.message, error.hint) from error


def _layout_image(name: str) -> Image:
    location = name.removeprefix(LAYOUT)
    found = layout_manifest(location)
    if found is None:
        return read_layout(location)
    descriptor, manifest = found
    if isinstance(manifest, Index):
        raise _is_index(name, manifest, f"{LAYOUT}{split_location(location)[0]}")
    return read_layout(f"{split_location(location)[0]}@{descriptor.digest}")


def _remote_image(name: str, registry: Callable[[], Registry]) -> Image:
    reference = Reference.parse(name)
    if reference.tag is None and reference.digest is None:
        raise ImageError(f"{name} has neither a tag nor a digest", f"name one: {reference.name}@sha256:…")
    descriptor, manifest = remote_manifest(registry(), reference)
    if isinstance(manifest, Index):
        raise _is_index(name, manifest, reference.name)
    return remote_image(registry(), reference.with_digest(descriptor.digest))


def _is_index(name: str, index: Index, where: str) -> ImageError:
    names = ", ".join(f"{where}@{descriptor.digest}" for descriptor, _ in index.entries)
    return ImageError(f"{name} is an index itself", f"name its images: {names}")


def _check_distinct(found: Sequence[NamedVariant]) -> None:
    seen: dict[Digest, str] = {}
    for each in found:
        if each.digest in seen:
            raise RecipeError(
                f"{seen[each.digest]} and {each.source} are one image, {each.digest}", "name each image once"
            )
        seen[each.digest] = each.source


def _to_registry(
    place: Reference, found: Sequence[NamedVariant], index: BytesBlob, registry: Registry
) -> None:
    if registry.has(place, index.descriptor.digest):
        return
    repository = Reference(place.registry, place.repository)
    for each in found:
        if not registry.has(repository, each.digest):
            registry.push(each.variant.image, repository)
    registry.push_index(index, place)


def _to_layout(
    folder: Path, tag: str, found: Sequence[NamedVariant], index: BytesBlob, report: Report
) -> None:
    for each in found:
        if not _lies_in(folder, each.digest):
            write_layout(
                each.variant.image,
                folder,
                report=lambda label, done, total: report(Progress(f"write {label}", done, total)),
            )
    write_layout_index(index, folder, tag)


def _lies_in(folder: Path, digest: Digest) -> bool:
    try:
        read_layout(f"{folder}@{digest}")
    except ImageError:
        return False
    return True

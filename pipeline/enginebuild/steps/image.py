"""The step `image`: which layers an image has, their digests, and the manifest that names them.

No layer is written. What is kept is a small description, from which the image is made again when it is sent.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Protocol

from enginebuild.bases import Bases
from enginebuild.errors import RefusedError
from enginebuild.events import Note, Report
from enginebuild.lock import BaseLock
from enginebuild.step import Step
from enginebuild.steps.compressed import compressed
from enginebuild.steps.layers import Send, described, placed
from enginebuild.steps.server import Server, Tell, nothing
from enginebuild_cache import File, Json, Store, Tree, canonical_json
from enginebuild_images.assemble import assemble
from enginebuild_images.base import Base
from enginebuild_images.compressed import LayerBlob
from enginebuild_images.compression import ZSTD_WARNING, Choice, key_fields, method_for
from enginebuild_images.description import ImageDescription
from enginebuild_images.errors import ImageError
from enginebuild_images.image import Image
from enginebuild_images.layer import LAYER_FORMAT, Layer, StreamedBlob
from enginebuild_images.policy import BUNDLE, LARGE, LAYERS, group, layer_budget

IMAGE_VERSION = 1

DESCRIPTION = "image.json"
#: The step whose small files change most often: the last layer.
VOLATILE = "configure"
#: The step whose files depend on all others: a layer after that.
LAST = "warm"


class ImagePacking(Protocol):
    """What decides an image besides its inputs. `paths` says where each input stands in it."""

    @property
    def base(self) -> BaseLock: ...

    @property
    def paths(self) -> Mapping[str, str]: ...

    @property
    def created(self) -> int: ...

    @property
    def left(self) -> int:
        """Layers that are left to a base, even if it has fewer."""
        ...

    def fields(self) -> dict[str, Json]:
        """Its part of the step's key."""
        ...

    def assemble(
        self, base: Base, layers: Sequence[LayerBlob], inputs: Mapping[str, Tree], store: Store
    ) -> Image:
        """Put the layers together. Raises ImageError."""
        ...


@dataclass(frozen=True)
class Packing:
    """A server with its model. `tell` reads from what the image is made of."""

    base: BaseLock
    paths: Mapping[str, str]
    server: Server
    labels: Mapping[str, str]
    created: int
    left: int = 0
    tell: Tell = nothing

    def fields(self) -> dict[str, Json]:
        return {
            "layout": "server",
            "base": str(self.base.digest) if self.base.digest else self.base.reference,
            "platform": self.base.platform,
            "paths": dict(self.paths),
            "layers": {"format": LAYER_FORMAT, "large": LARGE, "bundle": BUNDLE, "most": LAYERS},
            "labels": dict(self.labels),
            "created": self.created,
            **self.server.key_fields(),
        }

    def assemble(
        self, base: Base, layers: Sequence[LayerBlob], inputs: Mapping[str, Tree], store: Store
    ) -> Image:
        told = self.tell(inputs, store)
        settings = self.server.settings(_entrypoint_of(base), told, self.labels, self.created)
        return assemble(base, layers, settings)


@dataclass(frozen=True)
class Pack:
    """Group the files into layers, take each layer's digest once, and put them on the base."""

    packing: ImagePacking
    compression: Choice
    bases: Bases
    jobs: int
    send: Send | None = None

    def __call__(self, inputs: Mapping[str, Tree], store: Store, report: Report) -> Tree:
        base = self.open_base()
        if self.compression == "zstd":
            report(Note(ZSTD_WARNING, "warning"))
        try:
            layers = self.layers(inputs, base)
            with ThreadPoolExecutor(self.jobs) as pool:
                blobs = list(pool.map(lambda layer: self._blob(layer, base, store, report), layers))
            description = ImageDescription.of(self.packing.assemble(base, blobs, inputs, store))
        except ImageError as error:
            raise RefusedError(error.message, error.hint) from error
        content = canonical_json(description.to_json())
        return Tree.of([File(DESCRIPTION, store.put_bytes(content), len(content))])

    def open_base(self) -> Base:
        """The base as locked. Raises SourceError."""
        locked = self.packing.base
        return self.bases.open(locked.reference, locked.platform, locked.digest)

    def layers(self, inputs: Mapping[str, Tree], base: Base) -> tuple[Layer, ...]:
        """Which files share a layer. Raises ImageError."""
        files = {name: placed(folder, inputs[name]) for name, folder in self.packing.paths.items()}
        volatile, last = files.pop(VOLATILE, None), files.pop(LAST, {})
        left = layer_budget(max(len(base.layers), self.packing.left)) - bool(last)
        layers = group(
            {path: file for made in files.values() for path, file in made.items()},
            budget=left,
            volatile=volatile,
            mtime=self.packing.created,
        )
        return (*layers, *group(last, budget=1, mtime=self.packing.created)) if last else layers

    def _blob(self, layer: Layer, base: Base, store: Store, report: Report) -> LayerBlob:
        method = method_for(layer, self.compression, base, store.path)
        if method is not None:
            return compressed(layer, method, store, report)
        return StreamedBlob(described(layer, store, report, self.send), layer, store)


def image_step(
    packing: ImagePacking, compression: Choice, bases: Bases, jobs: int, send: Send | None
) -> Step:
    """Keyed by its parents, the base's digest, paths, layer policy and labels; not by repository or tags.

    Raises RefusedError for a compression that cannot be done here.
    """
    fields = packing.fields()
    try:
        if how := key_fields(compression):
            fields["compression"] = how
    except ImageError as error:
        raise RefusedError(error.message, error.hint) from error
    pack = Pack(packing, compression, bases, jobs, send)
    return Step("image", IMAGE_VERSION, fields, pack, tuple(packing.paths))


def image_of(tree: Tree, store: Store, locked: BaseLock, bases: Bases) -> Image:
    """The image that a finished step describes; nothing of its layers is read until they are sent."""
    description = ImageDescription.from_json(json.loads(store.read_bytes(tree.file(DESCRIPTION))))
    return description.image(store, bases.blobs(locked.reference, locked.digest))


def _entrypoint_of(base: Base) -> tuple[str, ...] | None:
    config = base.config.get("config")
    words = config.get("Entrypoint") if isinstance(config, dict) else None
    return tuple(map(str, words)) if isinstance(words, list) else None

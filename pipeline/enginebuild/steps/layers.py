"""Layers' digests, each taken once and kept as a record: as a file comes in, or in a pass of its own."""

from __future__ import annotations

import contextlib
import json
from collections.abc import Callable, Iterator, Mapping
from pathlib import PurePosixPath

from enginebuild.events import Progress, Report
from enginebuild_cache import Digest, File, Json, Record, Store, Tree, canonical_json
from enginebuild_images.blob import LAYER, Descriptor
from enginebuild_images.errors import RegistryError
from enginebuild_images.follow import LayerFollower
from enginebuild_images.layer import Layer, Unaltered, digest_of
from enginebuild_images.policy import LARGE, LAYERS, group

#: Uploads a layer and gives the descriptor that it turned out to have. Raises RegistryError.
Send = Callable[[Layer, Unaltered], Descriptor]

_STEP = "layer"
_DESCRIPTOR = "descriptor.json"


def placed(folder: str, tree: Tree) -> dict[str, File]:
    """The files of a tree by their path in an image."""
    return {str(PurePosixPath(folder, file.path)): file for file in tree}


def kept(layer: Layer, store: Store) -> Descriptor | None:
    """The layer's descriptor, if its digest was taken before."""
    record = store.record(Digest.of_json(_document(layer)))
    if record is None:
        return None
    content = json.loads(store.read_bytes(record.tree.file(_DESCRIPTOR)))
    return Descriptor(LAYER, Digest.parse(content["digest"]), content["size"])


def keep(layer: Layer, descriptor: Descriptor, store: Store) -> None:
    """Remember a layer's digest."""
    document = _document(layer)
    content = canonical_json({"digest": str(descriptor.digest), "size": descriptor.size})
    tree = Tree.of([File(_DESCRIPTOR, store.put_bytes(content), len(content))])
    store.put_record(Record(Digest.of_json(document), _STEP, document, tree, {"subject": layer.summary}))


def described(layer: Layer, store: Store, report: Report, send: Send | None = None) -> Descriptor:
    """The layer's descriptor; its files are read if its digest was never taken.

    With `send` that reading is the upload, too, for a layer that is large. What a registry does not take is
    only digested here; pushing then says why, if that fails as well.
    """
    descriptor = kept(layer, store)
    if descriptor is None:
        if send is not None and layer.size >= LARGE:
            with contextlib.suppress(RegistryError):
                descriptor = send(layer, store)
        if descriptor is None:
            digest = digest_of(layer, lambda file: _reported(file, store, report))
            descriptor = Descriptor(LAYER, digest, layer.size)
        keep(layer, descriptor, store)
    return descriptor


def followers(folder: str, tree: Tree, mtime: int) -> Mapping[str, LayerFollower]:
    """By path in the tree: who takes the layer's digest of each large file while the file comes in.

    As many as can have a layer of their own; with more of them, files share layers, and are read again.
    """
    files = placed(folder, tree)
    alone = {
        layer.entries[0].file.path: LayerFollower(layer)
        for layer in group(files, budget=LAYERS, mtime=mtime)
        if len(layer.entries) == 1 and layer.entries[0].file.size >= LARGE
    }
    return alone if len(alone) <= LAYERS // 2 else {}


def _document(layer: Layer) -> dict[str, Json]:
    return {"step": _STEP, "fields": layer.to_json()}


def _reported(file: File, store: Store, report: Report) -> Iterator[bytes]:
    done = 0
    for piece in store.read(file):
        yield piece
        done += len(piece)
        if file.size >= LARGE:
            report(Progress(f"digest {file.path}", done, file.size))

"""Compressed layers: each is compressed once, and what was found out is kept as a record."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import dataclass

from enginebuild.events import Progress, Report
from enginebuild_cache import Digest, File, Json, Record, Store, Tree, canonical_json
from enginebuild_images.blob import Descriptor
from enginebuild_images.compressed import CompressedBlob
from enginebuild_images.compression import Method
from enginebuild_images.layer import Layer
from enginebuild_images.policy import LARGE

_STEP = "layer"
_DESCRIPTOR = "descriptor.json"


def compressed(layer: Layer, method: Method, store: Store, report: Report) -> CompressedBlob:
    """The layer, compressed; done here once, to know its digest, and again whenever it is sent.

    Raises ImageError and CacheError.
    """
    return kept_compressed(layer, method, store) or _compressed(layer, method, store, report)


def kept_compressed(layer: Layer, method: Method, store: Store) -> CompressedBlob | None:
    """The layer, if it was compressed in this way before."""
    record = store.record(Digest.of_json(_document(layer, method)))
    if record is None:
        return None
    content = json.loads(store.read_bytes(record.tree.file(_DESCRIPTOR)))
    descriptor = Descriptor(method.media_type, Digest.parse(content["digest"]), content["size"])
    return CompressedBlob(descriptor, layer, store, method, Digest.parse(content["diff_id"]))


def _compressed(layer: Layer, method: Method, store: Store, report: Report) -> CompressedBlob:
    made = CompressedBlob.of(layer, _Reported(store, report), method)
    blob = CompressedBlob(made.descriptor, layer, store, method, made.diff_id)
    document = _document(layer, method)
    content = canonical_json(
        {
            "digest": str(blob.descriptor.digest),
            "size": blob.descriptor.size,
            "diff_id": str(blob.diff_id),
        }
    )
    tree = Tree.of([File(_DESCRIPTOR, store.put_bytes(content), len(content))])
    store.put_record(Record(Digest.of_json(document), _STEP, document, tree, {"subject": layer.summary}))
    return blob


def _document(layer: Layer, method: Method) -> dict[str, Json]:
    return {"step": _STEP, "fields": layer.to_json() | {"compression": method.to_json()}}


@dataclass(frozen=True, slots=True)
class _Reported:
    """The store's files, with their progress told."""

    store: Store
    report: Report

    def read(self, file: File) -> Iterator[bytes]:
        done = 0
        for piece in self.store.read(file):
            yield piece
            done += len(piece)
            if file.size >= LARGE:
                self.report(Progress(f"compress {file.path}", done, file.size))

    def stream(self, file: File) -> Iterator[bytes]:
        return self.store.stream(file)

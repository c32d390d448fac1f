"""One remote cache: looking a record up, bringing its files here, sending one there. Errors are raised."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial

from enginebuild.events import Progress, Report
from enginebuild.remote.packed import KEY, RECORD_TYPE, STEP, Packed, tag_of
from enginebuild.remote.place import Place
from enginebuild.remote.unpack import unpack
from enginebuild.steps.image import DESCRIPTION
from enginebuild.steps.layers import described, keep
from enginebuild_cache import Digest, File, Record, Store
from enginebuild_images.artifact import artifact, read_artifact
from enginebuild_images.blob import CONFIG, LAYER, Blob, BytesBlob, Descriptor
from enginebuild_images.description import ImageDescription
from enginebuild_images.errors import ImageError
from enginebuild_images.image import Image
from enginebuild_images.layer import StreamedBlob
from enginebuild_images.pace import Stop
from enginebuild_images.parallel import run_all
from enginebuild_images.policy import LARGE

#: Bytes of a record's document at most: some 100,000 files.
DOCUMENT_LIMIT = 16 << 20


@dataclass(frozen=True)
class Found:
    """A record that a place has, checked as far as it can be without reading layers."""

    packed: Packed
    blobs: tuple[Blob, ...]

    @property
    def record(self) -> Record:
        return self.packed.record


@dataclass(frozen=True)
class RemoteCache:
    """Records at a place. `jobs` layers are moved at a time."""

    place: Place
    jobs: int = 4

    def lookup(self, step: str, key: Digest) -> Found | None:
        """The record of a key; None if the place has none. Raises ImageError for one that is of no use."""
        found = self.lookup_tag(tag_of(step, key))
        if found is not None and (found.record.key, found.record.step) != (key, step):
            raise ImageError(f"it is the record of {found.record.step} with the key {found.record.key}")
        return found

    def lookup_tag(self, tag: str) -> Found | None:
        """The record at a tag, whatever its key begins with. Raises ImageError."""
        content = self.place.manifest(tag)
        if content is None:
            return None
        manifest = read_artifact(content, f"{self.place.name}:{tag}")
        if manifest.artifact_type != RECORD_TYPE:
            raise ImageError(f"it is of type {manifest.artifact_type}; this version reads {RECORD_TYPE}")
        if not manifest.layers:
            raise ImageError("it has no document")
        packed = self._document(manifest.layers[0])
        if tag != tag_of(packed.record.step, packed.record.key):
            raise ImageError(f"it is the record of {packed.record.step} with the key {packed.record.key}")
        descriptors = manifest.layers[1 : 1 + len(packed.layers)]
        if [(LAYER, layer.size) for layer in packed.layers] != [(d.media_type, d.size) for d in descriptors]:
            raise ImageError("its layers are not those that its document describes")
        return Found(packed, tuple(self.place.blob(descriptor) for descriptor in descriptors))

    def has(self, step: str, key: Digest) -> bool:
        """Whether the place has a manifest for the key, with or without its blobs. Raises ImageError."""
        content = self.place.manifest(tag_of(step, key))
        if content is None:
            return False
        manifest = read_artifact(content, self.place.name)
        return manifest.artifact_type == RECORD_TYPE and manifest.annotations.get(KEY) == str(key)

    def pull(self, found: Found, store: Store, report: Report) -> Record:
        """Bring the files that are not here, then the record. Raises ImageError, WrongDigest, CacheError."""
        missing = [
            partial(self._pull_layer, found.packed, number, blob, store, report)
            for number, blob in enumerate(found.blobs)
            if not all(store.has(entry.file.digest) for entry in found.packed.layers[number].entries)
        ]
        run_all(missing, self.jobs, Stop())
        return store.put_record(found.record)

    def push(self, record: Record, store: Store, report: Report) -> None:
        """Send what the place lacks, the record's tag last. Raises ImageError, CacheError."""
        self.place.write(_artifact(record, store, report), tag_of(record.step, record.key))

    def _document(self, descriptor: Descriptor) -> Packed:
        if descriptor.media_type != RECORD_TYPE or descriptor.size > DOCUMENT_LIMIT:
            raise ImageError("its first layer is not its document")
        try:
            return Packed.from_bytes(b"".join(self.place.blob(descriptor).chunks()))
        except ValueError as error:
            raise ImageError(f"its document is broken: {error}") from error

    def _pull_layer(self, packed: Packed, number: int, blob: Blob, store: Store, report: Report) -> None:
        def progress(file: File, done: int) -> None:
            if file.size >= LARGE:
                report(Progress(f"pull {file.path}", done, file.size))

        unpack(packed.layers[number], blob, store, progress)
        # Every byte was what the layer's description says: its digest need never be taken again.
        keep(packed.layers[number], blob.descriptor, store)


def _artifact(record: Record, store: Store, report: Report) -> Image:
    packed = Packed.of(record)
    document = BytesBlob(RECORD_TYPE, packed.to_bytes())
    if len(document.content) > DOCUMENT_LIMIT:
        raise ImageError(f"its document has {len(document.content):,} bytes, more than {DOCUMENT_LIMIT:,}")
    layers = [StreamedBlob(described(layer, store, report), layer, store) for layer in packed.layers]
    blobs: list[Blob] = [document, *layers, *_companions(record, store)]
    return artifact(RECORD_TYPE, blobs, {KEY: str(record.key), STEP: record.step})


def _companions(record: Record, store: Store) -> Sequence[Blob]:
    """What else a published image needs to find in the registry: the config of the image described."""
    if record.step != "image" or DESCRIPTION not in {file.path for file in record.tree}:
        return ()
    description = ImageDescription.from_json(json.loads(store.read_bytes(record.tree.file(DESCRIPTION))))
    return (BytesBlob(CONFIG, description.config),)

"""A layer on its way to a registry: the same bytes, of which those of files are not read."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from enginebuild_cache import CHUNK, Digest, File, Store
from enginebuild_images.blob import LAYER, BytesBlob, Descriptor, FileBlob
from enginebuild_images.clone import unread
from enginebuild_images.errors import ImageError
from enginebuild_images.extent import Extent, extents
from enginebuild_images.layer import Entry, Layer, StreamedBlob
from parts.image_files import Contents, noise

FILES = {"model/large": noise(2 * CHUNK + 5), "model/small": noise(1000, 1), "model/empty": b""}


@pytest.fixture
def stored(cache_dir: Path) -> StreamedBlob:
    store = Store.open(cache_dir)
    files = {path: File(path, store.put_bytes(content), len(content)) for path, content in FILES.items()}
    return StreamedBlob.of(Layer.of(Entry(path, file) for path, file in files.items()), store)


def content_of(piece: bytes | Extent) -> bytes:
    return piece if isinstance(piece, bytes) else piece.read()


def test_it_is_the_same_layer(stored: StreamedBlob) -> None:
    assert b"".join(map(content_of, unread(stored))) == b"".join(stored.chunks())


def test_large_files_are_not_read_and_small_ones_are(stored: StreamedBlob) -> None:
    assert [len(piece) for piece in unread(stored) if isinstance(piece, Extent)] == [CHUNK, CHUNK]
    assert all(0 < len(piece) <= CHUNK for piece in unread(stored))


def test_files_in_memory_are_read() -> None:
    blob = Contents().blob(FILES)
    assert b"".join(piece for piece in unread(blob) if isinstance(piece, bytes)) == b"".join(blob.chunks())


def test_a_blob_in_a_file_is_not_read(tmp_path: Path) -> None:
    path, content = tmp_path / "blob", noise(CHUNK + 1)
    path.write_bytes(content)
    blob = FileBlob(Descriptor(LAYER, Digest.of(content), len(content)), path)
    assert [type(piece) for piece in unread(blob)] == [Extent, Extent]
    assert b"".join(map(content_of, unread(blob))) == content
    assert list(unread(BytesBlob(LAYER, b"x"))) == [b"x"]


def test_a_file_that_ends_early_is_told(tmp_path: Path) -> None:
    path = tmp_path / "file"
    path.write_bytes(bytes(100))
    for extent in extents(path, 100):
        os.truncate(path, 60)
        with pytest.raises(ImageError) as error:
            extent.read(10)
    assert error.value.message == f"{path} ends after 60 bytes, earlier than described"
    assert error.value.hint == "it changed while it was sent; run again"


def test_a_file_that_is_not_there_is_told(tmp_path: Path) -> None:
    with pytest.raises(ImageError) as error:
        next(extents(tmp_path / "none", 1))
    assert error.value.message == f"cannot read {tmp_path / 'none'}: No such file or directory"

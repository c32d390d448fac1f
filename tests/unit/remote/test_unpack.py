"""Taking a layer apart while it streams: only the described bytes get through, whatever else is sent."""

from __future__ import annotations

import io
import tarfile
from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from enginebuild.remote.unpack import unpack
from enginebuild_cache import CacheError, Digest, File, Store, WrongDigest
from enginebuild_images.blob import LAYER, BytesBlob
from enginebuild_images.errors import ImageError
from enginebuild_images.layer import Entry, Layer, digest_of

CONTENT = {"a.json": b"{}", "empty": b"", "sub/weights": bytes(range(256)) * 40}
FILES = {path: File(path, Digest.of(content), len(content)) for path, content in CONTENT.items()}
LAYER_OF_ALL = Layer.of(Entry(f"model/{path}", file) for path, file in FILES.items())
BYTES = b"".join(LAYER_OF_ALL.chunks(lambda file: iter([CONTENT[file.path]])))


def quiet(_file: File, _done: int) -> None:
    """Nobody watches."""


def unpacked(store: Store, content: bytes) -> None:
    unpack(LAYER_OF_ALL, BytesBlob(LAYER, content), store, quiet)


@pytest.fixture
def store(cache_dir: Path) -> Store:
    return Store.open(cache_dir)


def test_every_file_arrives(store: Store) -> None:
    seen: list[tuple[str, int]] = []
    unpack(LAYER_OF_ALL, BytesBlob(LAYER, BYTES), store, lambda file, done: seen.append((file.path, done)))
    assert {path: store.read_bytes(file) for path, file in FILES.items()} == CONTENT
    assert seen == [("a.json", 2), ("sub/weights", 10240)]


def test_a_file_that_is_here_is_not_written_again(store: Store) -> None:
    store.put_bytes(CONTENT["a.json"])
    before = store.path(FILES["a.json"]).stat().st_ino
    unpacked(store, BYTES)
    assert store.path(FILES["a.json"]).stat().st_ino == before
    assert all(store.has(file.digest) for file in FILES.values())


def test_a_killed_download_is_begun_anew(store: Store) -> None:
    weights = FILES["sub/weights"]
    with store.download(weights.digest, weights.size) as partial:
        partial.write(b"not what the file begins with")
    unpacked(store, BYTES)
    assert store.read_bytes(weights) == CONTENT["sub/weights"]


@given(position=st.integers(0, len(BYTES) - 1), bit=st.integers(0, 7))
def test_a_flipped_bit_never_gets_through(
    tmp_path_factory: pytest.TempPathFactory, position: int, bit: int
) -> None:
    store = Store.open(tmp_path_factory.mktemp("flip") / "store")
    spoilt = bytearray(BYTES)
    spoilt[position] ^= 1 << bit
    with pytest.raises((ImageError, WrongDigest)):
        unpacked(store, bytes(spoilt))
    assert not store.verify().findings


@given(length=st.integers(0, len(BYTES) - 1))
def test_too_few_bytes(tmp_path_factory: pytest.TempPathFactory, length: int) -> None:
    store = Store.open(tmp_path_factory.mktemp("short") / "store")
    with pytest.raises((ImageError, CacheError)):
        unpacked(store, BYTES[:length])
    assert not store.verify().findings


def test_too_many_bytes(store: Store) -> None:
    with pytest.raises(ImageError) as caught:
        unpacked(store, BYTES + b"\0")
    assert caught.value.message == (
        f"{Digest.of(BYTES + bytes(1))} is not the archive that its record describes"
    )


def _archive(*members: tarfile.TarInfo) -> bytes:
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w", format=tarfile.PAX_FORMAT) as archive:
        for member in members:
            archive.addfile(member, io.BytesIO(bytes(member.size)))
    return buffer.getvalue()


def _hostile() -> Iterator[tuple[str, bytes]]:
    for kind in (tarfile.SYMTYPE, tarfile.LNKTYPE, tarfile.CHRTYPE, tarfile.FIFOTYPE, tarfile.DIRTYPE):
        member = tarfile.TarInfo("model/a.json")
        member.type, member.linkname = kind, "/etc/passwd"
        yield f"type {kind!r}", _archive(member)
    for name in ("/etc/passwd", "../../etc/passwd", "model/../../x", "model/other"):
        yield name, _archive(tarfile.TarInfo(name))
    twice = tarfile.TarInfo("model/a.json")
    yield "twice", _archive(twice, twice)
    huge = tarfile.TarInfo("model/a.json")
    huge.size = 1 << 20
    yield "huge", _archive(huge)


@pytest.mark.parametrize("content", [pytest.param(content, id=name) for name, content in _hostile()])
def test_hostile_archives(store: Store, content: bytes) -> None:
    for padded in (content, content.ljust(len(BYTES), b"\0")[: len(BYTES)]):
        with pytest.raises(ImageError) as caught:
            unpacked(store, padded)
        assert caught.value.message == f"{Digest.of(padded)} is not the archive that its record describes"
    assert list(store.list()) == []


def test_the_bytes_of_this_test_are_the_layers_own() -> None:
    assert Digest.of(BYTES) == digest_of(LAYER_OF_ALL, lambda file: iter([CONTENT[file.path]]))
    assert len(BYTES) == LAYER_OF_ALL.size

"""Files of the store: what is put in comes out, or an error that names it."""

from __future__ import annotations

import os
import stat
from pathlib import Path

import pytest

from enginebuild_cache import CHUNK, CacheError, Digest, File, Store

_REPAIR = "run `enginebuild cache verify --repair`, then run the recipe again"


@pytest.fixture
def store(cache_dir: Path) -> Store:
    return Store.open(cache_dir)


def _put(store: Store, content: bytes, path: str = "model.bin") -> File:
    return File(path, store.put_bytes(content), len(content))


@pytest.mark.parametrize("size", [0, 1, CHUNK - 1, CHUNK, CHUNK + 1, 2 * CHUNK])
def test_what_is_put_in_comes_out(store: Store, size: int) -> None:
    content = os.urandom(size)
    file = _put(store, content)
    assert store.has(file.digest)
    assert store.read_bytes(file) == content
    assert all(len(chunk) <= CHUNK for chunk in store.read(file))
    assert store.path(file).read_bytes() == content
    assert list(store.list()) == [(file.digest, size)]


def test_a_stored_file_is_read_only(store: Store) -> None:
    assert stat.S_IMODE(store.path(_put(store, b"x")).stat().st_mode) == 0o444


def test_nothing_is_left_beside_the_files(store: Store, cache_dir: Path) -> None:
    _put(store, b"x")
    assert list((cache_dir / "tmp").iterdir()) == []


def test_a_missing_file(store: Store, cache_dir: Path) -> None:
    file = File("model.bin", Digest.of(b"x"), 1)
    assert not store.has(file.digest)
    for use in (store.path, store.read_bytes):
        with pytest.raises(CacheError) as error:
            use(file)
        path = cache_dir / "files/sha256" / file.digest.hex[:2] / file.digest.hex
        assert error.value.message == f"model.bin is no longer in the cache: {path} is missing"
        assert error.value.hint == _REPAIR


@pytest.mark.parametrize("content", [b"", b"shor", b"longer"])
def test_a_file_of_another_size(store: Store, content: bytes) -> None:
    file = _put(store, b"right")
    path = store.path(file)
    path.chmod(0o644)
    path.write_bytes(content)
    for use in (store.path, store.read_bytes):
        with pytest.raises(CacheError) as error:
            use(file)
        assert error.value.message == (
            f"model.bin is damaged in the cache: {path} has {len(content)} bytes instead of 5"
        )
        assert error.value.hint == _REPAIR


@pytest.mark.parametrize("size", [1, CHUNK, 2 * CHUNK + 5])
def test_a_flipped_bit_is_found_before_the_last_piece_is_given(store: Store, size: int) -> None:
    file = _put(store, bytes(size))
    path = store.path(file)
    path.chmod(0o644)
    with path.open("r+b") as opened:
        opened.write(b"\x01")
    given: list[bytes] = []
    with pytest.raises(CacheError) as error:
        given.extend(store.read(file))
    assert sum(map(len, given)) < size
    assert error.value.message == (
        f"model.bin is damaged in the cache: the bytes of {path} are not those of its digest"
    )
    assert error.value.hint == _REPAIR


def test_putting_a_damaged_file_again_heals_it(store: Store) -> None:
    file = _put(store, b"right")
    path = store.path(file)
    path.chmod(0o644)
    path.write_bytes(b"wrong")
    assert _put(store, b"right") == file
    assert store.read_bytes(file) == b"right"


def test_putting_a_file_again_writes_nothing(store: Store) -> None:
    before = store.path(_put(store, b"same")).stat()
    after = store.path(_put(store, b"same")).stat()
    assert (before.st_ino, before.st_mtime_ns) == (after.st_ino, after.st_mtime_ns)


def test_delete(store: Store) -> None:
    file = _put(store, b"x")
    store.delete(file.digest)
    store.delete(file.digest)
    assert not store.has(file.digest)
    assert list(store.list()) == []


def test_a_name_that_is_no_digest_is_not_ours(store: Store, cache_dir: Path) -> None:
    file = _put(store, b"x")
    store.path(file).with_name(".nfs000000000000").write_bytes(b"")
    assert list(store.list()) == [(file.digest, 1)]


def test_more_than_the_disk_can_hold_is_refused_at_once(store: Store, cache_dir: Path) -> None:
    store.require_space(0)
    disk = os.statvfs(cache_dir)
    with pytest.raises(CacheError) as error:
        store.require_space(1 << 60)
    assert error.value.message.startswith(
        f"the cache at {cache_dir} needs {1 << 60} bytes more and its disk has "
    )
    assert error.value.hint == (
        "free some space, shrink the cache with `enginebuild cache gc --max-size SIZE`, "
        "or name another folder with --cache-dir"
    )
    assert disk.f_bavail > 0


def _written(store: Store, content: bytes) -> File:
    with store.writer() as writer:
        writer.write(content)
        digest, size = writer.commit()
    return File("model.bin", digest, size)


def _damage(path: Path, at: int = 0) -> None:
    path.chmod(0o644)
    with path.open("r+b") as file:
        file.seek(at)
        file.write(b"#")


def test_an_unaltered_file_is_read_without_a_digest(store: Store) -> None:
    content = os.urandom(2 * CHUNK + 1)
    file = _written(store, content)
    assert b"".join(store.unaltered(file)) == content
    path = store.path(file)
    before = path.stat().st_mtime_ns
    _damage(path)
    os.utime(path, ns=(before, before))  # as if the disk itself had forgotten a byte: nobody wrote to it
    assert b"".join(store.unaltered(file)) == b"#" + content[1:]


def test_an_altered_file_is_digested(store: Store) -> None:
    file = _written(store, os.urandom(2 * CHUNK + 1))
    _damage(store.path(file))
    with pytest.raises(CacheError) as error:
        list(store.unaltered(file))
    assert error.value.message == (
        f"model.bin is damaged in the cache: the bytes of {store.path(file)} are not those of its digest"
    )


def test_a_file_of_an_older_cache_is_digested(store: Store) -> None:
    content = os.urandom(2 * CHUNK + 1)
    file = _written(store, content)
    os.utime(store.path(file))
    assert b"".join(store.unaltered(file)) == content


def test_a_file_that_is_altered_while_it_is_read(store: Store) -> None:
    file = _written(store, os.urandom(2 * CHUNK + 1))
    pieces = store.unaltered(file)
    next(pieces)
    _damage(store.path(file), at=2 * CHUNK)
    with pytest.raises(CacheError) as error:
        list(pieces)
    assert error.value.message == "model.bin was written to in the cache while it was read"
    assert error.value.hint == _REPAIR

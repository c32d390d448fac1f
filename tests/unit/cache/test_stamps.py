"""Digests by stat: a file is read once, and again whenever it may have changed."""

from __future__ import annotations

import os
import time
from pathlib import Path

import pytest

from enginebuild_cache import CacheError, Digest, Store


@pytest.fixture
def store(cache_dir: Path) -> Store:
    return Store.open(cache_dir)


@pytest.fixture
def source(tmp_path: Path) -> Path:
    """A file last changed an hour ago."""
    path = tmp_path / "model.bin"
    path.write_bytes(b"one")
    _age(path)
    return path


def _age(path: Path, seconds: float = 3600) -> None:
    then = time.time() - seconds
    os.utime(path, (then, then))


def _entries(store: Store) -> list[Path]:
    return [path for path in (store.root / "stat").rglob("*") if path.is_file()]


def _spoil(store: Store, digest: Digest) -> None:
    """Write a wrong digest into the only entry: an answer that has it was not read from the file."""
    (entry,) = _entries(store)
    tampered = entry.read_bytes().replace(digest.hex.encode(), b"0" * 64)
    entry.write_bytes(tampered)


_REMEMBERED = Digest("0" * 64)


def test_a_file_is_read_once(store: Store, source: Path) -> None:
    assert store.file_digest(source) == (Digest.of(b"one"), 3)
    _spoil(store, Digest.of(b"one"))
    assert store.file_digest(source) == (_REMEMBERED, 3)
    assert Store.open(store.root).file_digest(source) == (_REMEMBERED, 3)


def test_a_file_changed_just_now_is_not_remembered(store: Store, source: Path) -> None:
    source.write_bytes(b"two")
    assert store.file_digest(source) == (Digest.of(b"two"), 3)
    assert _entries(store) == []


def test_a_file_from_the_future_is_not_remembered(store: Store, source: Path) -> None:
    _age(source, -3600)
    store.file_digest(source)
    assert _entries(store) == []


def test_another_content_of_the_same_size_and_mtime(store: Store, source: Path) -> None:
    before = source.stat()
    store.file_digest(source)
    source.write_bytes(b"two")
    os.utime(source, ns=(before.st_atime_ns, before.st_mtime_ns))
    assert store.file_digest(source) == (Digest.of(b"two"), 3)


def test_another_file_under_the_same_name(store: Store, source: Path, tmp_path: Path) -> None:
    before = source.stat()
    store.file_digest(source)
    other = tmp_path / "other"
    other.write_bytes(b"two")
    os.utime(other, ns=(before.st_atime_ns, before.st_mtime_ns))
    other.replace(source)
    assert store.file_digest(source) == (Digest.of(b"two"), 3)


def test_a_file_linked_into_the_store_and_out_of_it_is_not_read_again(
    store: Store, source: Path, tmp_path: Path
) -> None:
    digest, _ = store.put_file(source, mode="link")
    os.link(source, tmp_path / "out")  # moves the ctime
    (tmp_path / "sound").write_bytes(_entries(store)[0].read_bytes())
    assert store.file_digest(source) == (digest, 3)
    assert _entries(store)[0].read_bytes() == (tmp_path / "sound").read_bytes()


def test_a_linked_file_that_is_written_to_is_read_again(store: Store, source: Path) -> None:
    store.put_file(source, mode="link")
    source.write_bytes(b"two")
    assert store.file_digest(source) == (Digest.of(b"two"), 3)


@pytest.mark.parametrize("content", [b"", b"[]", b"{}", b'{"path":1,"stamp":[],"ctime":0,"sha256":"x"}'])
def test_a_damaged_entry_is_no_entry(store: Store, source: Path, content: bytes) -> None:
    store.file_digest(source)
    _entries(store)[0].write_bytes(content)
    assert store.file_digest(source) == (Digest.of(b"one"), 3)


def test_a_symbolic_link_stands_for_its_file(store: Store, source: Path, tmp_path: Path) -> None:
    link = tmp_path / "link"
    link.symlink_to(source)
    assert store.file_digest(link) == (Digest.of(b"one"), 3)
    assert store.file_digest(source) == (Digest.of(b"one"), 3)
    assert len(_entries(store)) == 1


def test_no_such_file(store: Store, tmp_path: Path) -> None:
    with pytest.raises(CacheError) as error:
        store.file_digest(tmp_path / "absent")
    assert error.value.message == f"cannot read {tmp_path}/absent: No such file or directory"


def test_not_a_file(store: Store, tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe")
    for name in ("pipe", "."):
        with pytest.raises(CacheError) as error:
            store.file_digest(tmp_path / name)
        assert error.value.message == f"cannot read {tmp_path / name}: it is not a regular file"

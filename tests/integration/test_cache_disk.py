"""A full disk and a read-only one: said in words, nothing lost, nothing by halves."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from enginebuild_cache import CacheError, Digest, File, Store, Writer
from parts import cache_client, disks
from parts.cache_samples import recorded

_CLIENT = [sys.executable, "-B", cache_client.__file__]
_FREE = (
    "free some space, shrink the cache with `enginebuild cache gc --max-size SIZE`, "
    "or name another folder with --cache-dir"
)
_OTHER = "name a folder that you can write to with --cache-dir"


@pytest.fixture
def disk() -> Iterator[Path]:
    """A disk of 1 MiB."""
    with disks.mounted("tmpfs", 1 << 20) as mounted:
        yield mounted.folder


def _make_read_only(disk: Path) -> None:
    subprocess.run(["mount", "-o", "remount,ro", str(disk)], check=True)


def _files(folder: Path) -> list[str]:
    return sorted(str(path.relative_to(folder)) for path in folder.rglob("*") if path.is_file())


def _filler(disk: Path, leave: int) -> Path:
    """A file that leaves so many bytes of the disk."""
    free = os.statvfs(disk)
    path = disk / "filler"
    path.write_bytes(bytes(free.f_bavail * free.f_frsize - leave))
    return path


def _write_for_ever(writer: Writer) -> None:
    while True:
        writer.write(bytes(1 << 16))


def test_a_disk_that_fills_up_while_writing(disk: Path) -> None:
    store = Store.open(disk / "cache")
    one = recorded(store, {"a": b"sound"})
    before = _files(disk / "cache/files")
    with store.writer() as writer:
        with pytest.raises(CacheError) as error:
            _write_for_ever(writer)
        assert error.value.message.startswith(f"cannot write {disk}/cache/tmp/")
        assert error.value.message.endswith(": the disk is full")
        assert error.value.hint == _FREE
    assert _files(disk / "cache/tmp") == []
    assert _files(disk / "cache/files") == before
    assert store.record(one.key) == one
    assert store.verify().findings == ()


def test_a_full_disk_keeps_the_bytes_of_a_download(disk: Path) -> None:
    store = Store.open(disk / "cache")
    size = 600_000
    digest = Digest.of(bytes(size))

    def download() -> int:
        with store.download(digest, size) as partial:
            start = partial.offset
            if start == 0:
                _filler(disk, 300_000)
            while partial.offset < size:
                partial.write(bytes(min(1 << 16, size - partial.offset)))
            partial.commit()
        return start

    with pytest.raises(CacheError) as error:
        download()
    assert error.value.message == f"cannot write {disk}/cache/partial/{digest.hex}: the disk is full"
    assert error.value.hint == _FREE
    (disk / "filler").unlink()
    assert download() >= 200_000
    assert store.read_bytes(File("x", digest, size)) == bytes(size)


def test_what_cannot_fit_is_refused_before_the_first_byte(disk: Path) -> None:
    answer = subprocess.run(
        [*_CLIENT, "fill", str(disk / "cache"), "2000000"], capture_output=True, text=True, timeout=60
    )
    message, hint = answer.stderr.splitlines()
    assert answer.returncode == 9
    assert message.startswith(f"the cache at {disk}/cache needs 2000000 bytes more and its disk has ")
    assert hint == _FREE


def test_a_full_disk_can_be_emptied_by_gc(disk: Path) -> None:
    store = Store.open(disk / "cache")
    one = recorded(store, {"a": bytes(300_000)})
    _filler(disk, 0)
    again = Store.open(disk / "cache")
    assert again.record(one.key) == one
    assert again.verify().findings == ()
    assert again.gc(max_size=0).freed == 300_000


def test_a_cache_cannot_be_made_on_a_full_disk(disk: Path) -> None:
    _filler(disk, 0)
    with pytest.raises(CacheError) as error:
        Store.open(disk / "cache")
    assert error.value.message == f"cannot make the cache at {disk}/cache: the disk is full"
    assert error.value.hint == _FREE
    (disk / "filler").unlink()
    Store.open(disk / "cache").put_bytes(b"x")


@pytest.mark.parametrize("made", [False, True])
def test_a_read_only_file_system(disk: Path, made: bool) -> None:
    if made:
        recorded(Store.open(disk / "cache"), {"a": b"x"})
    _make_read_only(disk)
    with pytest.raises(CacheError) as error:
        Store.open(disk / "cache")
    doing = "use" if made else "make"
    assert error.value.message == f"cannot {doing} the cache at {disk}/cache: the file system is read-only"
    assert error.value.hint == _OTHER


def test_a_file_system_that_becomes_read_only(disk: Path) -> None:
    store = Store.open(disk / "cache")
    one = recorded(store, {"a": b"x"})
    _make_read_only(disk)
    for use in (lambda: store.put_bytes(b"y"), lambda: store.record(one.key), store.lease().__enter__):
        with pytest.raises(CacheError) as error:
            use()
        path = f"{disk}/cache/locks/.guard"
        assert error.value.message == f"cannot lock {path}: the file system is read-only"
        assert error.value.hint == _OTHER
    assert store.read_bytes(one.tree.files[0]) == b"x"

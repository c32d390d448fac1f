"""Files of the disk taken in: copied, linked or moved, and always the bytes that they are said to be."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Literal

import pytest

from enginebuild_cache import CacheError, Digest, File, Store, WrongDigest

_CONTENT = b"weights" * 1000
_DIGEST = Digest.of(_CONTENT)
_MODES: tuple[Literal["copy", "link", "move"], ...] = ("copy", "link", "move")
Mode = Literal["copy", "link", "move"]


@pytest.fixture
def store(cache_dir: Path) -> Store:
    return Store.open(cache_dir)


@pytest.fixture
def source(tmp_path: Path) -> Path:
    path = tmp_path / "model.safetensors"
    path.write_bytes(_CONTENT)
    return path


def _path(store: Store) -> Path:
    return store.path(File("x", _DIGEST, len(_CONTENT)))


@pytest.mark.parametrize("expected", [None, _DIGEST])
@pytest.mark.parametrize("mode", _MODES)
def test_taking_a_file_in(store: Store, source: Path, mode: Mode, expected: Digest | None) -> None:
    assert store.put_file(source, mode=mode, expected=expected) == (_DIGEST, len(_CONTENT))
    assert _path(store).read_bytes() == _CONTENT
    assert source.exists() == (mode != "move")
    assert list((store.root / "tmp").iterdir()) == []


def test_a_copy_shares_nothing_that_can_be_written(store: Store, source: Path) -> None:
    store.put_file(source, mode="copy")
    source.write_bytes(b"changed")
    assert _path(store).read_bytes() == _CONTENT


def test_a_link_takes_no_space_and_leaves_the_file_as_it_was(store: Store, source: Path) -> None:
    before = source.stat()
    store.put_file(source, mode="link")
    after = source.stat()
    assert _path(store).samefile(source)
    assert (after.st_mode, after.st_mtime_ns) == (before.st_mode, before.st_mtime_ns)


@pytest.mark.parametrize("mode", ["copy", "link"])
def test_a_symbolic_link_stands_for_its_file(store: Store, source: Path, tmp_path: Path, mode: Mode) -> None:
    link = tmp_path / "link"
    link.symlink_to(source)
    assert store.put_file(link, mode=mode)[0] == _DIGEST
    assert link.is_symlink()
    assert not _path(store).is_symlink()


def test_a_file_with_other_links_is_not_moved_but_copied(store: Store, source: Path, tmp_path: Path) -> None:
    other = tmp_path / "other"
    os.link(source, other)
    store.put_file(source, mode="move")
    other.write_bytes(b"changed")
    assert not source.exists()
    assert _path(store).read_bytes() == _CONTENT


@pytest.mark.parametrize("mode", _MODES)
def test_what_is_here_already_is_not_stored_twice(store: Store, source: Path, mode: Mode) -> None:
    store.put_bytes(_CONTENT)
    assert store.put_file(source, mode=mode) == (_DIGEST, len(_CONTENT))
    assert source.exists() == (mode != "move")
    assert list(store.list()) == [(_DIGEST, len(_CONTENT))]


@pytest.mark.parametrize("mode", _MODES)
def test_the_wrong_file(store: Store, source: Path, mode: Mode) -> None:
    expected = Digest.of(b"another")
    with pytest.raises(WrongDigest) as error:
        store.put_file(source, mode=mode, expected=expected)
    assert error.value.message == f"{source} has the digest {_DIGEST} instead of {expected}"
    assert source.read_bytes() == _CONTENT
    assert list(store.list()) == []
    assert list((store.root / "tmp").iterdir()) == []


@pytest.mark.parametrize("mode", _MODES)
def test_no_such_file(store: Store, tmp_path: Path, mode: Mode) -> None:
    with pytest.raises(CacheError) as error:
        store.put_file(tmp_path / "absent", mode=mode)
    assert error.value.message == f"cannot read {tmp_path}/absent: No such file or directory"


@pytest.mark.parametrize("mode", _MODES)
def test_not_a_file(store: Store, tmp_path: Path, mode: Mode) -> None:
    os.mkfifo(tmp_path / "pipe")
    for name in ("pipe", "."):
        with pytest.raises(CacheError) as error:
            store.put_file(tmp_path / name, mode=mode)
        assert error.value.message == f"cannot read {tmp_path / name}: it is not a regular file"


@pytest.mark.parametrize("mode", _MODES)
def test_across_file_systems(store: Store, mode: Mode) -> None:
    shared_memory = Path("/dev/shm")
    if not shared_memory.is_dir() or shared_memory.stat().st_dev == store.root.stat().st_dev:
        pytest.skip("no second file system here")
    source = shared_memory / f"enginebuild-test-{os.getpid()}"
    try:
        source.write_bytes(_CONTENT)
        assert store.put_file(source, mode=mode) == (_DIGEST, len(_CONTENT))
        assert source.exists() == (mode != "move")
    finally:
        source.unlink(missing_ok=True)
    assert _path(store).read_bytes() == _CONTENT

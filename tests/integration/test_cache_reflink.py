"""Files in and out of the cache share their bytes where the file system can, and no later writing."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from enginebuild_cache import Digest, File, Store, Tree
from parts import disks
from parts.disks import Disk
from parts.image_files import noise

_SIZE = 24 << 20
#: What a copy may take beside shared blocks: the disk's own records.
_OVERHEAD = 2 << 20


@pytest.fixture(params=["xfs", "btrfs", "ext4"])
def disk(request: pytest.FixtureRequest) -> Iterator[Disk]:
    with disks.mounted(request.param) as mounted:
        yield mounted


def _shares(disk: Disk) -> bool:
    return disk.kind != "ext4"


def test_a_copy_into_the_cache(disk: Disk) -> None:
    content = noise(_SIZE, 1)
    source = disk.folder / "model.safetensors"
    source.write_bytes(content)
    store = Store.open(disk.folder / "cache")
    before = disk.used
    assert store.put_file(source, mode="copy") == (Digest.of(content), _SIZE)
    assert (disk.used - before < _OVERHEAD) == _shares(disk)
    with source.open("r+b") as file:
        file.write(bytes(1000))
    assert store.read_bytes(File("x", Digest.of(content), _SIZE)) == content


def test_a_checkout(disk: Disk) -> None:
    content = noise(_SIZE, 2)
    store = Store.open(disk.folder / "cache")
    tree = Tree.of([File("model.safetensors", store.put_bytes(content), _SIZE)])
    before = disk.used
    store.checkout(tree, disk.folder / "work")
    assert disk.used - before < _OVERHEAD
    written = disk.folder / "work/model.safetensors"
    assert written.read_bytes() == content
    assert written.stat().st_mode & 0o777 == 0o444
    assert written.samefile(store.path(tree.files[0])) != _shares(disk)
    if _shares(disk):  # a step that runs as root and writes to its input spoils its own copy only
        written.write_bytes(b"spoilt")
        assert store.verify().findings == ()
    assert _left(disk.folder / "work") == ["model.safetensors"]


def _left(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())

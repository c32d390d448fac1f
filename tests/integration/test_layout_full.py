"""A disk that is full while an image is written into a layout: said clearly, nothing broken, and resumed."""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Iterator
from pathlib import Path

import pytest

from enginebuild_images.layout import read_layout
from parts import cli, disks, recipes
from parts.checkpoints import write_checkpoint
from parts.disks import Disk

MB = 1 << 20
SHARD = 65 * MB  # large enough for a layer of its own
FULL = (
    "error: cannot write the image to {}: No space left on device\n"
    "hint: make room there or name another folder; run again, it goes on where it stopped\n"
)


@pytest.fixture
def small_disk() -> Iterator[Disk]:
    with disks.mounted("tmpfs", SHARD + 20 * MB) as disk:
        yield disk


def _run(folder: Path, output: Path) -> cli.Ended:
    words = ("run", folder / "tiny.yaml", "--cache-dir", folder / "cache", "--output", output)
    return cli.enginebuild(*words, cwd=folder)


def _assert_no_image(layout: Path) -> None:
    """Other tools see a layout without images, whose blobs are what their names say."""
    assert json.loads((layout / "index.json").read_bytes())["manifests"] == []
    for path in (layout / "blobs/sha256").iterdir():
        assert hashlib.sha256(path.read_bytes()).hexdigest() == path.name


def test_a_full_disk_is_named_and_a_rerun_with_room_goes_on(tmp_path: Path, small_disk: Disk) -> None:
    write_checkpoint(tmp_path / "model", shards=2, shard_size=SHARD)
    recipes.write(tmp_path, "file:./model")
    layout = small_disk.folder / "layout"
    full = _run(tmp_path, layout)
    assert full.code == 8
    assert full.stderr[full.stderr.index("error: ") :] == FULL.format(layout)
    _assert_no_image(layout)
    (first,) = (path for path in (layout / "blobs/sha256").iterdir() if path.stat().st_size > SHARD)
    written = first.stat()

    assert _run(tmp_path, layout).code == 8
    _assert_no_image(layout)

    small_disk.resize(2 * SHARD + 20 * MB)
    done = _run(tmp_path, layout).ok()
    assert (first.stat().st_ino, first.stat().st_mtime_ns) == (written.st_ino, written.st_mtime_ns)
    image = read_layout(str(layout))
    assert done.stdout == f"oci:{layout}@{image.digest}\n"
    for blob in image.blobs:
        assert sum(map(len, blob.chunks())) == blob.descriptor.size


def test_a_disk_too_full_for_anything_is_named_too(tmp_path: Path, small_disk: Disk) -> None:
    write_checkpoint(tmp_path / "model", shards=1, shard_size=1000)
    recipes.write(tmp_path, "file:./model")
    filler = small_disk.folder / "filler"
    room = os.statvfs(small_disk.folder)
    filler.write_bytes(bytes(room.f_bavail * room.f_frsize))
    layout = small_disk.folder / "layout"
    full = _run(tmp_path, layout)
    assert full.code == 8
    assert full.stderr[full.stderr.index("error: ") :] == FULL.format(layout)
    filler.unlink()
    done = _run(tmp_path, layout).ok()
    assert done.stdout == f"oci:{layout}@{read_layout(str(layout)).digest}\n"

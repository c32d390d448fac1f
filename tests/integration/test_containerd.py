"""containerd, the runtime below Kubernetes, pulls our image and unpacks it: all is there as it went in."""

from __future__ import annotations

import hashlib
import stat
from collections.abc import Iterator
from pathlib import Path

import pytest

from enginebuild_images.assemble import assemble
from enginebuild_images.base import Base
from enginebuild_images.compressed import CompressedBlob
from enginebuild_images.compression import Method
from enginebuild_images.image import Image
from enginebuild_images.layer import StreamedBlob
from enginebuild_images.layout import read_layout
from enginebuild_images.policy import group
from enginebuild_images.reference import Reference
from enginebuild_images.settings import ImageSettings
from parts.busybox_base import BusyboxBase
from parts.containerd import Containerd, containerd
from parts.image_files import Contents, noise
from parts.registry_images import client

FILES = {
    "model/model-00001-of-00002.safetensors": noise(70 << 20, 1),
    "model/model-00002-of-00002.safetensors": noise(70 << 20, 2),
    "model/config.json": b'{"model_type": "llama"}',
    "model/deep/er/模型.txt": b"x" * 5000,
    "model/" + "n" * 150: b"long name",
    "model/empty": b"",
}
VOLATILE = {"etc/enginebuild/vllm.yaml": b"port: 8000\n"}

pytestmark = pytest.mark.registry


@pytest.fixture(scope="module")
def engine() -> Iterator[Containerd]:
    with containerd() as running:
        yield running


def image(base_layout: BusyboxBase, compressed: bool) -> Image:
    contents = Contents()
    stable = {path: contents.add(path, content) for path, content in FILES.items()}
    volatile = {path: contents.add(path, content) for path, content in VOLATILE.items()}
    layers = group(stable, budget=90, volatile=volatile)
    blobs = [
        CompressedBlob.of(layer, contents, Method.of("gzip"))
        if compressed
        else StreamedBlob.of(layer, contents)
        for layer in layers
    ]
    base = Base.of_image(read_layout(str(base_layout.layout)), "busybox")
    return assemble(base, blobs, ImageSettings(cmd=("true",)))


def found(root: Path) -> dict[str, tuple[str, int, int, int, int]]:
    """sha256, mode, owner, group and time of each file, by path."""
    files = {}
    for folder in ("model", "etc/enginebuild"):
        for path in (root / folder).rglob("*"):
            at = path.stat()
            if path.is_file():
                digest = hashlib.sha256(path.read_bytes()).hexdigest()
                name = path.relative_to(root).as_posix()
                files[name] = (digest, stat.S_IMODE(at.st_mode), at.st_uid, at.st_gid, int(at.st_mtime))
            else:
                assert (stat.S_IMODE(at.st_mode), at.st_uid, at.st_gid) == (0o755, 0, 0)
    return files


@pytest.mark.slow
@pytest.mark.parametrize(
    ("snapshotter", "compressed"), [("overlayfs", False), ("native", False), ("overlayfs", True)]
)
def test_what_it_unpacks_is_what_went_in(
    engine: Containerd, registry: str, base_layout: BusyboxBase, snapshotter: str, compressed: bool
) -> None:
    name = f"{registry}/containerd/{snapshotter}{'-gzip' if compressed else ''}:v1"
    pushed = image(base_layout, compressed)
    with client() as sender:
        sender.push(pushed, Reference.parse(name))
    engine("images", "pull", "--plain-http", "--snapshotter", snapshotter, name)
    assert str(pushed.digest) in engine("images", "list", f"name=={name}")
    with engine.unpacked(name, snapshotter) as root:
        assert found(root) == {
            path: (hashlib.sha256(content).hexdigest(), 0o644, 0, 0, 0)
            for path, content in {**FILES, **VOLATILE}.items()
        }
        assert (root / "bin/busybox").exists()

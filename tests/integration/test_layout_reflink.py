"""OCI layouts on XFS and btrfs take no room for a model's bytes; elsewhere they are copied, and checked."""

from __future__ import annotations

import hashlib
import subprocess
import tarfile
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path

import pytest

from enginebuild_cache import CacheError, File, Store, Tree
from enginebuild_cache.clone import reflink_range
from enginebuild_images.assemble import assemble
from enginebuild_images.base import scratch
from enginebuild_images.blob import CHANGED, FileBlob
from enginebuild_images.errors import ImageError
from enginebuild_images.image import Image
from enginebuild_images.layer import Entry, Layer, StreamedBlob
from enginebuild_images.layout import read_layout, write_layout
from enginebuild_images.settings import ImageSettings
from parts import cli, disks, recipes
from parts.checkpoints import write_checkpoint
from parts.disks import Disk
from parts.image_files import noise

MB = 1 << 20
#: Sizes that end inside a block, at its end, and below what is worth to be shared.
SIZES = {"a.safetensors": 24 * MB + 1, "b.safetensors": 16 * MB, "c.json": 5000, "d": 3 * MB - 4097, "e": 0}
#: What a layout may take beside shared blocks: manifests, headers, ends of files, and the disk's own records.
OVERHEAD = 2 * MB


@pytest.fixture(params=["xfs", "btrfs"])
def disk(request: pytest.FixtureRequest) -> Iterator[Disk]:
    with disks.mounted(request.param) as mounted:
        yield mounted


class Model:
    """Files in a store, and an image of them with two layers: one file alone, and the others together."""

    def __init__(self, root: Path) -> None:
        self.store = Store.open(root)
        self.contents = {name: noise(size, seed) for seed, (name, size) in enumerate(SIZES.items())}
        self.files = {
            name: File(name, self.store.put_bytes(content), len(content))
            for name, content in self.contents.items()
        }
        entries = [Entry(f"model/{name}", file) for name, file in self.files.items()]
        layers = [Layer.of(entries[:1]), Layer.of(entries[1:])]
        self.image = assemble(
            scratch(), [StreamedBlob.of(layer, self.store) for layer in layers], ImageSettings()
        )

    def damage(self, name: str, size: int | None = None) -> Path:
        """Flip a bit of a stored file, or cut the file; nobody but its owner could."""
        path = self.store.path(self.files[name])
        content = bytearray(self.contents[name][:size])
        content[len(content) // 2] ^= 1
        path.chmod(0o644)
        path.write_bytes(content)
        return path


def _blob(folder: Path, image: Image, number: int) -> Path:
    return folder / "blobs/sha256" / image.layers[number].descriptor.digest.hex


def _assert_whole(folder: Path, model: Model) -> None:
    """Every blob is what its name says, and tarfile finds every file's bytes in it."""
    for path in (folder / "blobs/sha256").iterdir():
        assert hashlib.sha256(path.read_bytes()).hexdigest() == path.name
    found = {}
    for number in range(2):
        with tarfile.open(_blob(folder, model.image, number)) as archive:
            for member in archive.getmembers():
                if (opened := archive.extractfile(member)) is not None:
                    found[member.name.removeprefix("model/")] = opened.read()
    assert found == model.contents


def _shared_bytes(path: Path) -> int:
    """What the file system says of a file's extents: bytes that another file has too."""
    listed = subprocess.run(
        ["filefrag", "-v", "-b1", path], capture_output=True, text=True, check=True
    ).stdout
    rows = [line.split(":") for line in listed.splitlines() if "shared" in line]
    return sum(int(row[3]) for row in rows)


def test_a_layout_shares_the_blocks_of_the_store(disk: Disk, skopeo: Path) -> None:
    model = Model(disk.folder / "cache")
    before = disk.used
    layout = disk.folder / "layout"
    write_layout(model.image, layout, ["v1"])
    assert disk.used - before < OVERHEAD
    assert _shared_bytes(_blob(layout, model.image, 0)) == 24 * MB
    assert _shared_bytes(_blob(layout, model.image, 1)) == 16 * MB + 3 * MB - 8192
    _assert_whole(layout, model)
    argv: list[str | Path] = [skopeo, "inspect", "--format", "{{.Digest}}", f"oci:{layout}:v1"]
    assert subprocess.run(argv, capture_output=True, text=True, check=True).stdout.strip() == str(
        model.image.digest
    )
    copy: list[str | Path] = [skopeo, "copy", "--quiet", "--insecure-policy"]
    copy.append("--dest-oci-accept-uncompressed-layers")
    subprocess.run([*copy, f"oci:{layout}:v1", f"oci:{disk.folder}/copy:v1"], check=True)
    assert read_layout(f"{disk.folder}/copy:v1").digest == model.image.digest


def test_what_is_shared_lives_on_when_the_cache_is_gone(disk: Disk) -> None:
    model = Model(disk.folder / "cache")
    write_layout(model.image, disk.folder / "layout", ["v1"])
    model.damage("a.safetensors")
    for file in model.files.values():
        model.store.delete(file.digest)
    _assert_whole(disk.folder / "layout", model)


def test_verify_reads_what_is_shared(disk: Disk) -> None:
    model = Model(disk.folder / "cache")
    path = model.damage("a.safetensors")
    layout = disk.folder / "layout"
    with pytest.raises(CacheError) as caught:
        write_layout(model.image, layout, ["v1"], verify=True)
    assert caught.value.message == (
        f"a.safetensors is damaged in the cache: the bytes of {path} are not those of its digest"
    )
    assert not [*(layout / "blobs/sha256").iterdir()]
    path.write_bytes(model.contents["a.safetensors"])
    told: list[tuple[int, int]] = []
    before = disk.used
    write_layout(
        model.image, layout, ["v1"], lambda _label, done, size: told.append((done, size)), verify=True
    )
    assert disk.used - before < OVERHEAD
    assert told[0] == (MB, model.image.layers[0].descriptor.size)  # the whole blob was read, piece by piece
    _assert_whole(layout, model)


def test_a_file_of_another_size_is_never_shared(disk: Disk) -> None:
    model = Model(disk.folder / "cache")
    path = model.damage("a.safetensors", 8 * MB)
    with pytest.raises(CacheError) as caught:
        write_layout(model.image, disk.folder / "layout", ["v1"])
    assert caught.value.message == (
        f"a.safetensors is damaged in the cache: {path} has {8 * MB} bytes instead of {24 * MB + 1}"
    )
    assert not [*(disk.folder / "layout/blobs/sha256").iterdir()]


def test_the_base_of_a_layout_is_shared_and_checked(disk: Disk) -> None:
    model = Model(disk.folder / "cache")
    first, second = disk.folder / "first", disk.folder / "second"
    write_layout(model.image, first, ["v1"])
    base = read_layout(f"{first}:v1")
    assert all(isinstance(layer, FileBlob) for layer in base.layers)
    before = disk.used
    write_layout(base, second, ["v1"])
    assert disk.used - before < OVERHEAD
    _assert_whole(second, model)

    broken = _blob(first, model.image, 0)
    content = bytearray(broken.read_bytes())
    content[12 * MB] ^= 1
    broken.write_bytes(content)
    with pytest.raises(ImageError) as caught:
        write_layout(base, disk.folder / "third", ["v1"])
    described = model.image.layers[0].descriptor.digest
    assert (caught.value.message, caught.value.hint) == (
        f"{broken} was to be {described} but is sha256:{hashlib.sha256(content).hexdigest()}",
        CHANGED,
    )
    assert not [*(disk.folder / "third/blobs/sha256").iterdir()]


@pytest.mark.parametrize("kind", ["ext4", "tmpfs", "another disk"])
def test_without_reflinks_bytes_are_copied_and_checked(kind: str, tmp_path: Path) -> None:
    with disks.mounted("xfs" if kind == "another disk" else kind) as disk:
        model = Model(disk.folder / "cache")
        layout = (tmp_path if kind == "another disk" else disk.folder) / "layout"
        write_layout(model.image, layout, ["v1"])
        _assert_whole(layout, model)
        _blob(layout, model.image, 0).unlink()
        path = model.damage("a.safetensors")
        with pytest.raises(CacheError) as caught:
            write_layout(model.image, layout, ["v1"])
        assert caught.value.message == (
            f"a.safetensors is damaged in the cache: the bytes of {path} are not those of its digest"
        )
        assert not _blob(layout, model.image, 0).exists()


def test_the_store_shares_what_it_takes_in_and_gives_out(disk: Disk) -> None:
    original = disk.folder / "weights"
    original.write_bytes(noise(24 * MB))
    store = Store.open(disk.folder / "cache")
    before = disk.used
    digest, size = store.put_file(original, mode="copy")
    store.checkout(Tree.of([File("weights", digest, size)]), disk.folder / "out")
    assert disk.used - before < OVERHEAD
    out = disk.folder / "out/weights"
    assert out.stat().st_nlink == 1  # a clone, and not a hard link to the cache's own file
    assert out.read_bytes() == original.read_bytes()


@dataclass(frozen=True)
class TwoDisks:
    """A store's files, of which one lies on another disk."""

    store: Store
    name: str
    elsewhere: Path

    def read(self, file: File) -> Iterator[bytes]:
        return self.store.read(file)

    def stream(self, file: File) -> Iterator[bytes]:
        return self.store.stream(file)

    def path(self, file: File) -> Path:
        return self.elsewhere if file.path == self.name else self.store.path(file)


def test_a_layer_that_cannot_be_shared_to_its_end_is_copied_whole(disk: Disk, tmp_path: Path) -> None:
    model = Model(disk.folder / "cache")
    (tmp_path / "d").write_bytes(model.contents["d"])
    source = TwoDisks(model.store, "d", tmp_path / "d")
    layers = [replace(blob, source=source) for blob in model.image.layers if isinstance(blob, StreamedBlob)]
    layout = disk.folder / "layout"
    write_layout(replace(model.image, layers=tuple(layers)), layout, ["v1"])
    _assert_whole(layout, model)
    assert _shared_bytes(_blob(layout, model.image, 0)) == 24 * MB
    assert _shared_bytes(_blob(layout, model.image, 1)) == 0


def test_blocks_are_shared_whole_or_not_at_all(disk: Disk) -> None:
    (disk.folder / "a").write_bytes(noise(3 * 4096))
    with (disk.folder / "a").open("rb") as source, (disk.folder / "b").open("wb") as target:
        ends = source.fileno(), target.fileno()
        assert not reflink_range(*ends, 4096, 512)
        assert not reflink_range(*ends, 4000, 0)
        assert reflink_range(*ends, 8192, 4096)
    assert (disk.folder / "b").read_bytes() == bytes(4096) + noise(3 * 4096)[:8192]


def test_a_run_shares_its_layout_with_its_cache(disk: Disk, tmp_path: Path) -> None:
    write_checkpoint(tmp_path / "model", shards=1, shard_size=66 * MB)
    recipe = recipes.write(tmp_path, "file:./model")
    words = ("run", recipe, "--cache-dir", disk.folder / "cache", "--output")
    cli.enginebuild(*words, disk.folder / "first").ok()
    before = disk.used
    cli.enginebuild(*words, disk.folder / "second").ok()
    assert disk.used - before < OVERHEAD
    assert before < 1.5 * 66 * MB

"""OCI layouts: written whole or not at all, completed by the next write, faults named when read."""

from __future__ import annotations

import hashlib
import json
import resource
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from enginebuild_cache import Digest, Json, canonical_json
from enginebuild_images.blob import INDEX, LAYER, BytesBlob, Descriptor, FileBlob
from enginebuild_images.errors import ImageError
from enginebuild_images.image import Image
from enginebuild_images.layout import read_layout, split_location, write_layout
from enginebuild_images.manifest import Platform
from parts.image_files import Contents, small_image

ANEW = "copy or write the layout anew"
CHANGED = "the bytes changed since they were described, on the disk or on the way; make or fetch them again"


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return tmp_path / "layout"


def _error(attempt: Callable[[], object]) -> tuple[str, str]:
    with pytest.raises(ImageError) as caught:
        attempt()
    return caught.value.message, caught.value.hint


def _index(folder: Path) -> Any:
    return json.loads((folder / "index.json").read_bytes())


def _tags(folder: Path) -> dict[str | None, str]:
    return {
        entry.get("annotations", {}).get("org.opencontainers.image.ref.name"): entry["digest"]
        for entry in _index(folder)["manifests"]
    }


def _assert_valid(folder: Path) -> None:
    """Every blob is what its name says, and nothing but a layout lies in the folder."""
    assert {path.name for path in folder.iterdir()} == {"oci-layout", "index.json", "blobs"}
    for path in (folder / "blobs/sha256").iterdir():
        assert hashlib.sha256(path.read_bytes()).hexdigest() == path.name
    for entry in _index(folder)["manifests"]:
        read_layout(f"{folder}@{entry['digest']}")


def _blob(folder: Path, digest: Digest) -> Path:
    return folder / "blobs/sha256" / digest.hex


def test_a_layout_is_whole(folder: Path) -> None:
    image = small_image()
    write_layout(image, folder, ["v1"])
    assert json.loads((folder / "oci-layout").read_bytes()) == {"imageLayoutVersion": "1.0.0"}
    assert _index(folder) == {
        "schemaVersion": 2,
        "mediaType": "application/vnd.oci.image.index.v1+json",
        "manifests": [
            {
                "mediaType": "application/vnd.oci.image.manifest.v1+json",
                "digest": str(image.digest),
                "size": len(image.manifest.content),
                "annotations": {"org.opencontainers.image.ref.name": "v1"},
                "platform": {"os": "linux", "architecture": "amd64"},
            }
        ],
    }
    assert {path.name for path in (folder / "blobs/sha256").iterdir()} == {
        image.digest.hex,
        *(blob.descriptor.digest.hex for blob in image.blobs),
    }
    _assert_valid(folder)


def test_what_was_written_is_read(folder: Path) -> None:
    image = small_image()
    write_layout(image, folder, ["v1"])
    for location in (f"{folder}", f"{folder}:v1", f"{folder}@{image.digest}"):
        read = read_layout(location)
        assert read.manifest == image.manifest
        assert b"".join(read.config.chunks()) == b"".join(image.config.chunks())
        for ours, theirs in zip(image.layers, read.layers, strict=True):
            assert ours.descriptor == theirs.descriptor
            assert b"".join(ours.chunks()) == b"".join(theirs.chunks())


def test_a_layout_is_equal_byte_for_byte_wherever_it_is_written(tmp_path: Path) -> None:
    for name in ("a", "b"):
        write_layout(small_image(), tmp_path / name, ["v1", "v2"])
    files = [
        {
            str(path.relative_to(tmp_path / name)): path.read_bytes()
            for path in (tmp_path / name).rglob("*.json")
        }
        for name in ("a", "b")
    ]
    assert files[0] == files[1]


def test_a_tag_moves_and_others_stay(folder: Path) -> None:
    one, two = small_image(label="a"), small_image(label="b")
    write_layout(one, folder, ["latest", "one"])
    write_layout(two, folder, ["latest", "two", "two"])
    assert _tags(folder) == {"one": str(one.digest), "latest": str(two.digest), "two": str(two.digest)}
    assert len(_index(folder)["manifests"]) == 3
    _assert_valid(folder)


def test_an_image_without_a_tag_is_listed_once_until_it_gets_one(folder: Path) -> None:
    image = small_image()
    write_layout(image, folder)
    write_layout(image, folder)
    assert [*_tags(folder)] == [None]
    assert read_layout(str(folder)).digest == image.digest
    write_layout(image, folder, ["v1"])
    assert _tags(folder) == {"v1": str(image.digest)}
    write_layout(small_image(label="b"), folder)
    assert set(_tags(folder)) == {None, "v1"}


def test_blobs_that_are_there_are_not_written_again(folder: Path) -> None:
    write_layout(small_image(label="a"), folder, ["a"])
    shared = _blob(folder, small_image().layers[0].descriptor.digest)
    before = shared.stat()
    write_layout(small_image(label="b"), folder, ["b"])
    assert (shared.stat().st_ino, shared.stat().st_mtime_ns) == (before.st_ino, before.st_mtime_ns)


def test_a_blob_of_the_wrong_size_is_replaced(folder: Path) -> None:
    image = small_image()
    write_layout(image, folder, ["a"])
    broken = _blob(folder, image.layers[0].descriptor.digest)
    broken.write_bytes(b"cut")
    write_layout(image, folder, ["a"])
    _assert_valid(folder)


def test_progress_is_told_per_blob(folder: Path) -> None:
    told: list[tuple[str, int, int]] = []
    image = small_image()
    write_layout(image, folder, report=lambda *step: told.append(step))
    largest = image.layers[0].descriptor
    label = f"blob {largest.digest.short}"
    steps = [(done, size) for name, done, size in told if name == label]
    assert steps[-1] == (largest.size, largest.size)
    assert steps == sorted(steps)
    assert {name for name, _, _ in told} == {
        f"blob {blob.descriptor.digest.short}" for blob in (*image.blobs, image.manifest)
    }


def test_a_file_that_changed_leaves_a_valid_layout_and_no_tag(folder: Path) -> None:
    contents = Contents()
    image = small_image(contents=contents)
    config = contents.by_path["model/config.json"]
    contents.by_path["model/config.json"] = config.replace(b"a", b"b")
    message, hint = _error(lambda: write_layout(image, folder, ["v1"]))
    layer = image.layers[1].descriptor
    assert message.startswith(f"the layer of /model/config.json was to be {layer.digest} but is sha256:")
    assert hint == CHANGED
    assert _tags(folder) == {}
    _assert_valid(folder)
    contents.by_path["model/config.json"] = config
    write_layout(image, folder, ["v1"])
    _assert_valid(folder)


def test_a_blob_that_does_not_check_itself_is_checked_when_written(folder: Path) -> None:
    class Unchecked:
        descriptor = Descriptor(LAYER, Digest.of(b"right"), 5)

        def chunks(self) -> Iterator[bytes]:
            yield b"wrong"

        pieces = chunks

    image = replace(small_image(), layers=(Unchecked(),))
    assert _error(lambda: write_layout(image, folder)) == (
        f"blob {Digest.of(b'right').short} was to be {Digest.of(b'right')} but is {Digest.of(b'wrong')}",
        CHANGED,
    )
    _assert_valid(folder)


@contextmanager
def _files_end_at(size: int) -> Iterator[None]:
    """No file may grow beyond `size` bytes in this process: a real error of the system, as a full disk is."""
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))


def test_a_write_that_fails_leaves_a_valid_layout_that_the_next_completes(folder: Path) -> None:
    image = small_image()
    with _files_end_at(100_000):
        error = _error(lambda: write_layout(image, folder, ["v1"]))
    assert error == (
        f"cannot write the image to {folder}: File too large",
        "make room there or name another folder; run again, it goes on where it stopped",
    )
    _assert_valid(folder)
    write_layout(image, folder, ["v1"])
    _assert_valid(folder)
    assert read_layout(f"{folder}:v1").digest == image.digest


def test_what_a_killed_write_left_is_removed(folder: Path) -> None:
    (folder / "blobs/sha256").mkdir(parents=True)
    for name in (".partial-index.json", "blobs/sha256/.partial-0123"):
        (folder / name).write_bytes(b"half")
    write_layout(small_image(), folder, ["v1"])
    _assert_valid(folder)


def test_writers_of_one_folder_lose_nothing(folder: Path) -> None:
    images = {f"tag{number}": small_image(label=str(number)) for number in range(8)}
    threads = [
        threading.Thread(target=write_layout, args=(image, folder, [tag])) for tag, image in images.items()
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert _tags(folder) == {tag: str(image.digest) for tag, image in images.items()}
    _assert_valid(folder)


def test_a_folder_of_something_else_is_left_alone(folder: Path) -> None:
    folder.mkdir()
    (folder / "thesis.txt").write_text("mine")
    assert _error(lambda: write_layout(small_image(), folder)) == (
        f"{folder} is neither empty nor an OCI layout",
        "name a new or an empty folder",
    )
    assert [path.name for path in folder.iterdir()] == ["thesis.txt"]


def test_a_file_is_no_folder(folder: Path) -> None:
    folder.write_text("mine")
    message, _ = _error(lambda: write_layout(small_image(), folder))
    assert message == f"cannot write the image to {folder}: File exists"


def test_a_location_is_folder_tag_and_digest(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "odd:name").mkdir()
    digest = Digest.of(b"")
    assert split_location("a/b") == (Path("a/b"), None, None)
    assert split_location("a/b:v1") == (Path("a/b"), "v1", None)
    assert split_location("odd:name") == (Path("odd:name"), None, None)
    assert split_location("odd:name:v1") == (Path("odd:name"), "v1", None)
    assert split_location("c:d/e") == (Path("c:d/e"), None, None)
    assert split_location(f"odd:name@{digest}") == (Path("odd:name"), None, digest)
    assert split_location("a@b/c") == (Path("a@b/c"), None, None)
    assert _error(lambda: split_location("a@sha256:12")) == (
        "a@sha256:12: after @ must stand sha256: and 64 lower-case hex digits",
        "name an OCI layout like ./folder:tag",
    )


def test_an_image_that_is_not_there_is_refused_with_those_that_are(folder: Path) -> None:
    one, two = small_image(label="a"), small_image(label="b")
    write_layout(one, folder, ["one"])
    assert _error(lambda: read_layout(f"{folder}:two")) == (
        f"{folder} has no image 'two' for linux/amd64",
        f"name one of: {folder}:one",
    )
    write_layout(two, folder)
    several = f"name one of: {folder}:one, {folder}@{two.digest}"
    assert _error(lambda: read_layout(str(folder))) == (f"{folder} has several images", several)
    nothing = Digest.of(b"nothing")
    assert _error(lambda: read_layout(f"{folder}@{nothing}")) == (f"{folder} has no image {nothing}", several)


def test_an_empty_layout_says_so(folder: Path) -> None:
    write_layout(small_image(), folder, ["v1"])
    (folder / "index.json").write_bytes(canonical_json({"schemaVersion": 2, "manifests": []}))
    assert _error(lambda: read_layout(str(folder))) == (
        f"{folder} has no image for linux/amd64",
        "it is empty",
    )


def _add(folder: Path, content: bytes) -> Descriptor:
    _blob(folder, Digest.of(content)).write_bytes(content)
    return Descriptor(INDEX, Digest.of(content), len(content))


def _nested(folder: Path, *entries: Json) -> Descriptor:
    """Put an index of entries between the layout's index and its images, as `docker buildx` does."""
    descriptor = _add(
        folder, canonical_json({"schemaVersion": 2, "mediaType": INDEX, "manifests": list(entries)})
    )
    listing: dict[str, Json] = {"schemaVersion": 2, "manifests": [descriptor.to_json()]}
    (folder / "index.json").write_bytes(canonical_json(listing))
    return descriptor


def test_an_index_inside_the_index_is_followed_for_the_platform(folder: Path) -> None:
    image = small_image()
    write_layout(image, folder)
    (entry,) = _index(folder)["manifests"]
    nested = _nested(folder, entry)
    for location in (f"{folder}", f"{folder}@{nested.digest}", f"{folder}@{image.digest}"):
        assert read_layout(location).digest == image.digest
    assert _error(lambda: read_layout(str(folder), Platform("linux", "arm64"))) == (
        f"{folder} has no image for linux/arm64",
        "it has linux/amd64",
    )
    deeper: dict[str, Json] = {**nested.to_json(), "platform": {"os": "linux", "architecture": "amd64"}}
    _nested(folder, deeper)
    assert _error(lambda: read_layout(str(folder))) == (
        f"{folder} is an index of indexes",
        "name an image in it as folder@sha256:…",
    )


def _remove_layout_file(folder: Path, _: Image) -> None:
    (folder / "oci-layout").unlink()


def _remove_index(folder: Path, _: Image) -> None:
    (folder / "index.json").unlink()


def _cut_index(folder: Path, _: Image) -> None:
    (folder / "index.json").write_text('{"manifests": [')


def _index_without_list(folder: Path, _: Image) -> None:
    (folder / "index.json").write_text('{"manifests": [3]}')


def _index_without_size(folder: Path, image: Image) -> None:
    entry: dict[str, Json] = {"mediaType": "x", "digest": str(image.digest)}
    (folder / "index.json").write_bytes(canonical_json({"manifests": [entry]}))


def _other_version(folder: Path, _: Image) -> None:
    (folder / "oci-layout").write_text('{"imageLayoutVersion": "2.0.0"}')


def _remove_layer(folder: Path, image: Image) -> None:
    _blob(folder, image.layers[0].descriptor.digest).unlink()


def _cut_layer(folder: Path, image: Image) -> None:
    _blob(folder, image.layers[0].descriptor.digest).write_bytes(b"cut")


def _remove_manifest(folder: Path, image: Image) -> None:
    _blob(folder, image.digest).unlink()


def _swap_manifest(folder: Path, image: Image) -> None:
    _blob(folder, image.digest).write_bytes(bytes(len(image.manifest.content)))


@pytest.mark.parametrize(
    ("damage", "message", "hint"),
    [
        (
            _remove_layout_file,
            "{folder} is not an OCI layout: it has no oci-layout",
            "name an OCI layout like ./folder:tag",
        ),
        (
            _remove_index,
            "{folder} is not an OCI layout: it has no index.json",
            "name an OCI layout like ./folder:tag",
        ),
        (_cut_index, "{folder}/index.json is not a JSON object", "write the layout anew"),
        (_index_without_list, "{folder}/index.json has no list of manifests", "write the layout anew"),
        (
            _index_without_size,
            "{folder}/index.json is broken: a descriptor's size is None",
            "write the layout anew",
        ),
        (
            _other_version,
            "{folder} is an OCI layout of version 2.0.0",
            "write it anew with a tool that writes 1.0.0",
        ),
        (_remove_layer, "{folder} lacks the blob {layer}", ANEW),
        (_cut_layer, "{folder}/blobs/sha256/{layer.hex} was to have 305,152 bytes but has 3", ANEW),
        (_remove_manifest, "{folder} lacks the blob {manifest}", ANEW),
        (
            _swap_manifest,
            "{folder}/blobs/sha256/{manifest.hex} was to be {manifest} but is {zeros}",
            CHANGED,
        ),
    ],
)
def test_a_damaged_layout_is_refused(
    folder: Path, damage: Callable[[Path, Image], None], message: str, hint: str
) -> None:
    image = small_image()
    write_layout(image, folder)
    damage(folder, image)
    zeros = Digest.of(bytes(len(image.manifest.content)))
    layer = image.layers[0].descriptor.digest
    expected = message.format(folder=folder, layer=layer, manifest=image.digest, zeros=zeros)
    assert _error(lambda: read_layout(str(folder))) == (expected, hint)


def test_no_folder_is_no_layout(folder: Path) -> None:
    assert _error(lambda: read_layout(str(folder))) == (
        f"{folder} is not a folder",
        "name an OCI layout like ./folder:tag",
    )


def test_a_layer_that_rotted_on_the_disk_is_found_when_it_is_read(folder: Path) -> None:
    image = small_image()
    write_layout(image, folder)
    path = _blob(folder, image.layers[0].descriptor.digest)
    content = bytearray(path.read_bytes())
    content[150_000] ^= 1
    path.write_bytes(content)
    rotten = read_layout(str(folder)).layers[0]
    assert _error(lambda: list(rotten.chunks())) == (
        f"{path} was to be {image.layers[0].descriptor.digest} but is {Digest.of(bytes(content))}",
        CHANGED,
    )


def test_a_blob_whose_file_is_gone_is_an_error_of_ours(tmp_path: Path) -> None:
    blob = FileBlob(BytesBlob(LAYER, b"x").descriptor, tmp_path / "gone")
    message = f"cannot read {tmp_path / 'gone'}: No such file or directory"
    assert _error(lambda: list(blob.chunks())) == (message, "")

"""Layers: pinned digests, read back by tarfile and GNU tar, sizes without data, bytes held to account."""

from __future__ import annotations

import hashlib
import io
import json
import subprocess
import tarfile
from pathlib import Path, PurePosixPath

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from enginebuild_cache import CHUNK, Digest, File
from enginebuild_images.blob import LAYER, Descriptor
from enginebuild_images.errors import ImageError
from enginebuild_images.layer import Entry, Layer, StreamedBlob, digest_of
from parts.image_files import Contents, described, noise

CHANGED = "the bytes changed since they were described, on the disk or on the way; make or fetch them again"

GOLDEN_FILES = {
    "model/config.json": b'{"model_type":"llama"}\n',
    "model/model.safetensors": bytes(range(256)) * 64,
    "model/sub/" + "n" * 101: b"long",
    "etc/modèle": b"",
}


def test_the_bytes_of_a_known_layer_never_change() -> None:
    contents = Contents()
    layer = contents.layer(GOLDEN_FILES, mtime=1_700_000_000)
    # Another digest here is another layer in every registry: raise LAYER_FORMAT with it.
    assert (
        str(digest_of(layer, contents.read))
        == "sha256:416b17fcf1a51cabf50b4b95b2c778fae3f8340157ff56ff667493c267408ce4"
    )
    assert layer.size == 24064


def test_an_empty_layer_is_the_end_of_an_archive() -> None:
    assert b"".join(Layer.of([]).chunks(Contents().read)) == bytes(1024)


def test_order_of_entries_does_not_matter() -> None:
    contents = Contents()
    entries = [Entry(path, contents.add(path, content)) for path, content in GOLDEN_FILES.items()]
    assert Layer.of(entries) == Layer.of(reversed(entries))


def test_every_parent_directory_is_written_once_before_its_files() -> None:
    contents = Contents()
    archive = contents.archive(contents.layer({"a/b/c/d": b"1", "a/b/e": b"2", "a.b/f": b"3", "g": b"4"}))
    with tarfile.open(fileobj=io.BytesIO(archive)) as tar:
        members = [(member.name, oct(member.mode), member.isdir()) for member in tar.getmembers()]
    assert members == [
        ("a", "0o755", True),
        ("a.b", "0o755", True),
        ("a.b/f", "0o644", False),
        ("a/b", "0o755", True),
        ("a/b/c", "0o755", True),
        ("a/b/c/d", "0o644", False),
        ("a/b/e", "0o644", False),
        ("g", "0o644", False),
    ]


def test_time_and_mode_are_in_the_headers() -> None:
    contents = Contents()
    file = contents.add("run", b"#!/bin/sh\n")
    archive = contents.archive(Layer.of([Entry("bin/run", file, 0o755)], mtime=1_700_000_000))
    with tarfile.open(fileobj=io.BytesIO(archive)) as tar:
        assert {(member.mtime, member.mode) for member in tar.getmembers()} == {(1_700_000_000, 0o755)}


_NAMES = st.text(
    st.characters(exclude_characters="/\0", exclude_categories=["Cs"]), min_size=1, max_size=70
).filter(lambda name: name not in (".", "..") and not name.startswith(".wh.") and len(name.encode()) < 256)
_PATHS = st.lists(_NAMES, min_size=1, max_size=4).map("/".join)
_SIZES = st.sampled_from([0, 1, 511, 512, 513, 4095, 4096, 4097, 9000])


def _is_possible(paths: set[str]) -> bool:
    return not any(str(parent) in paths for path in paths for parent in PurePosixPath(path).parents)


@settings(max_examples=150)
@given(st.dictionaries(_PATHS, _SIZES, max_size=8).filter(lambda files: _is_possible(set(files))))
def test_every_layer_is_read_back_whole(files: dict[str, int]) -> None:
    contents = Contents()
    bytes_of = {path: noise(size, seed) for seed, (path, size) in enumerate(files.items())}
    layer = contents.layer(bytes_of)
    archive = contents.archive(layer)
    assert len(archive) == layer.size
    with tarfile.open(fileobj=io.BytesIO(archive)) as tar:
        members = tar.getmembers()
        read = {
            member.name: file.read()
            for member in members
            if member.isreg() and (file := tar.extractfile(member)) is not None
        }
    assert read == bytes_of
    assert all(member.offset_data % 4096 == 0 for member in members if member.size >= 4096)
    assert {member.name for member in members if member.isdir()} == set(layer.directories)


def test_gnu_tar_unpacks_the_same_files(tmp_path: Path) -> None:
    contents = Contents()
    files = {
        f"model/{name}": noise(size, size) for name, size in (("a", 5), ("ü/b", 5000), ("c" * 150, 70_000))
    }
    subprocess.run(
        ["tar", "--extract", "--same-permissions", "--file=-", "--directory", tmp_path],
        input=contents.archive(contents.layer(files)),
        check=True,
    )
    for path, content in files.items():
        assert (tmp_path / path).read_bytes() == content
        assert (tmp_path / path).stat().st_mode & 0o7777 == 0o644
    assert (tmp_path / "model").stat().st_mode & 0o7777 == 0o755


def test_the_size_of_a_huge_layer_is_known_without_its_data() -> None:
    layer = Layer.of([Entry("model/rank0.engine", described("rank0.engine", 200 << 30))])
    assert layer.size == 4096 + (200 << 30) + 1024


@pytest.mark.parametrize("piece", [1, 700, CHUNK // 16, CHUNK, 3 * CHUNK])
def test_pieces_are_neither_tiny_nor_above_1_mib(piece: int) -> None:
    contents = Contents(piece)
    size = 2000 if piece == 1 else 3 * CHUNK + 17
    layer = contents.layer(
        {f"model/{number:03}": noise(size if number == 2 else 90, number) for number in range(300)}
    )
    pieces = list(layer.chunks(contents.read))
    assert max(map(len, pieces)) <= CHUNK
    assert len(pieces) <= 2 + layer.size // (CHUNK // 16)
    whole = Contents()
    whole.by_path = contents.by_path
    assert hashlib.sha256(b"".join(pieces)).hexdigest() == digest_of(layer, whole.read).hex


@pytest.mark.parametrize(
    ("content", "had"), [(b"", "0"), (b"123", "3"), (b"123456", "more"), (b"1" * 3000, "more")]
)
def test_a_file_of_another_length_stops_the_layer(content: bytes, had: str) -> None:
    contents = Contents()
    layer = contents.layer({"model/w": b"12345"})
    contents.by_path["model/w"] = content
    with pytest.raises(ImageError) as caught:
        contents.archive(layer)
    assert caught.value.message == f"model/w was to have 5 bytes but had {had}"
    assert caught.value.hint == "it changed while the image was made; run the build again"


def test_a_blob_makes_the_same_bytes_at_each_call() -> None:
    contents = Contents()
    blob = contents.blob({"model/w": noise(5000)})
    assert blob.descriptor.media_type == LAYER
    assert b"".join(blob.chunks()) == b"".join(blob.chunks())
    assert Digest.of_chunks(blob.chunks()) == blob.descriptor.digest


def test_a_blob_whose_file_changed_is_refused() -> None:
    contents = Contents()
    blob = contents.blob({"model/w": b"12345"})
    contents.by_path["model/w"] = b"54321"
    actual = digest_of(blob.layer, contents.read)
    with pytest.raises(ImageError) as caught:
        list(blob.chunks())
    assert caught.value.message == f"the layer of /model/w was to be {blob.descriptor.digest} but is {actual}"
    assert caught.value.hint == CHANGED


def test_a_blob_of_another_size_than_described_is_refused() -> None:
    contents = Contents()
    blob = contents.blob({"model/w": b"12345"})
    longer = Descriptor(LAYER, blob.descriptor.digest, 4000)
    with pytest.raises(ImageError) as caught:
        list(StreamedBlob(longer, blob.layer, contents).chunks())
    assert caught.value.message == "the layer of /model/w was to have 4,000 bytes but had 2,560"
    assert caught.value.hint == CHANGED


def test_two_files_at_one_path_are_refused() -> None:
    with pytest.raises(ImageError) as caught:
        Layer.of([Entry("model/w", described("a", 1)), Entry("model/w", described("b", 1))])
    assert caught.value.message == "two files want to be /model/w in the image"
    assert caught.value.hint == "give each a path of its own"


def test_a_file_where_a_directory_must_be_is_refused() -> None:
    with pytest.raises(ImageError) as caught:
        Layer.of([Entry("model", described("a", 1)), Entry("model/w", described("b", 1))])
    assert caught.value.message == "/model is both a file and the directory of /model/w in the image"
    assert caught.value.hint == "give one of them another path"


def test_a_mode_that_not_every_user_can_read_is_refused() -> None:
    with pytest.raises(ImageError) as caught:
        Entry("model/w", described("a", 1), 0o600)
    assert caught.value.message == "/model/w cannot have the mode 0600 in an image"
    assert caught.value.hint == "files are 0644 or 0755, readable for every user that a server may run as"


def test_a_bad_name_is_refused_before_anything_is_sent() -> None:
    with pytest.raises(ImageError) as caught:
        Layer.of([Entry("model/.wh.w", described("a", 1))])
    assert caught.value.message == (
        "an image cannot hold a file named 'model/.wh.w': "
        "a name that starts with .wh. deletes files of the layers below"
    )


def test_a_layer_survives_json() -> None:
    layer = Layer.of(
        [Entry("model/a", described("x/a", 70 << 30)), Entry("bin/b", described("b", 2), 0o755)], mtime=5
    )
    assert Layer.from_json(json.loads(json.dumps(layer.to_json()))) == layer


@pytest.mark.parametrize(
    ("change", "error"),
    [
        ({"format": 2}, "layer format 2; this version writes 1"),
        ({"mtime": "0"}, "a layer has a time and a list of entries"),
        ({"entries": {}}, "a layer has a time and a list of entries"),
    ],
)
def test_json_of_something_else_is_refused(change: dict[str, object], error: str) -> None:
    document = {**Layer.of([]).to_json(), **change}
    with pytest.raises((ValueError, TypeError)) as caught:
        Layer.from_json(document)  # type: ignore[arg-type] # wrong on purpose
    assert str(caught.value) == error


@pytest.mark.parametrize(
    ("paths", "summary"),
    [
        ([], "0 files in /"),
        (["model/a"], "/model/a"),
        (["model/a", "model/b"], "2 files in /model"),
        (["model/x/a", "model/x/b", "model/y/b"], "3 files in /model"),
        (["model/a", "models/b"], "2 files in /"),
    ],
)
def test_what_a_history_says_of_it(paths: list[str], summary: str) -> None:
    assert Layer.of([Entry(path, File(path, Digest.of(b""), 0)) for path in paths]).summary == summary

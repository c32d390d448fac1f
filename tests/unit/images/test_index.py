"""Indexes of several images: their bytes, what is kept of each platform, and layouts that hold them."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from enginebuild_cache import Digest
from enginebuild_images.assemble import assemble
from enginebuild_images.base import scratch
from enginebuild_images.blob import INDEX, BytesBlob
from enginebuild_images.errors import ImageError
from enginebuild_images.image import Image
from enginebuild_images.index import Variant, assemble_index, labels_of, layout_manifest
from enginebuild_images.layout import read_layout, write_layout, write_layout_index
from enginebuild_images.manifest import Index, Manifest, Platform, read_manifest
from enginebuild_images.settings import ImageSettings
from parts.image_files import Contents, small_image

H100, L4 = small_image(label="h100"), small_image(label="l4")
VARIANTS = [Variant(H100, {"gpu": "H100-SXM-80GB"}), Variant(L4, {"gpu": "L4"})]
ARM = Platform("linux", "arm64")


def arm_image() -> Image:
    return assemble(scratch(ARM), [Contents().blob({"model/a": b"a"})], ImageSettings())


def entry(image: Image, gpu: str) -> dict[str, object]:
    return {
        "mediaType": "application/vnd.oci.image.manifest.v1+json",
        "digest": str(image.digest),
        "size": len(image.manifest.content),
        "annotations": {"gpu": gpu},
        "platform": {"architecture": "amd64", "os": "linux"},
    }


def test_the_whole_index() -> None:
    index = assemble_index(VARIANTS)
    assert index.media_type == INDEX
    assert json.loads(index.content) == {
        "schemaVersion": 2,
        "mediaType": INDEX,
        "manifests": [entry(H100, "H100-SXM-80GB"), entry(L4, "L4")],
    }


def test_its_bytes_follow_from_its_images_in_their_order() -> None:
    again = [Variant(small_image(label="h100"), {"gpu": "H100-SXM-80GB"}), Variant(L4, {"gpu": "L4"})]
    assert assemble_index(again) == assemble_index(VARIANTS)
    assert assemble_index(VARIANTS[::-1]) != assemble_index(VARIANTS)


def test_all_of_a_platform_is_kept() -> None:
    config = {"architecture": "arm64", "os": "linux", "variant": "v8", "os.version": "6.1", "author": "me"}
    image = Image(
        H100.manifest, BytesBlob(H100.config.descriptor.media_type, json.dumps(config).encode()), ()
    )
    assert Variant(image, {}).to_json()["platform"] == {
        "architecture": "arm64",
        "os": "linux",
        "variant": "v8",
        "os.version": "6.1",
    }


def test_what_reads_it() -> None:
    read = read_manifest(assemble_index([*VARIANTS, Variant(arm_image(), {})]).content, "x")
    assert isinstance(read, Index)
    assert [(descriptor.annotations, platform) for descriptor, platform in read.entries] == [
        ({"gpu": "H100-SXM-80GB"}, Platform()),
        ({"gpu": "L4"}, Platform()),
        ({}, ARM),
    ]
    assert read.choose(Platform(), "x").digest == H100.digest
    assert read.choose(ARM, "x").digest == arm_image().digest


def test_labels() -> None:
    assert labels_of(H100) == {"label": "h100"}
    assert labels_of(arm_image()) == {}


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A layout of two images and the index of them."""
    write_layout(H100, tmp_path / "layout", ["h100"])
    write_layout(L4, tmp_path / "layout", ["l4"])
    write_layout_index(assemble_index(VARIANTS), tmp_path / "layout", "v1")
    return tmp_path / "layout"


def test_a_layout_has_the_index_beside_its_images(folder: Path) -> None:
    assert read_layout(f"{folder}:v1").digest == H100.digest
    assert read_layout(f"{folder}:l4").digest == L4.digest
    index = assemble_index(VARIANTS)
    for name in (f"{folder}:v1", f"{folder}@{index.descriptor.digest}"):
        found = layout_manifest(name)
        assert found is not None
        assert found[0].digest == index.descriptor.digest
        assert isinstance(found[1], Index)
    found = layout_manifest(f"{folder}:l4")
    assert found is not None
    assert isinstance(found[1], Manifest)


def test_the_tag_moves_to_another_index(folder: Path) -> None:
    other = assemble_index(VARIANTS[::-1])
    write_layout_index(other, folder, "v1")
    found = layout_manifest(f"{folder}:v1")
    assert found is not None
    assert found[0].digest == other.descriptor.digest
    tags = [
        each["annotations"]["org.opencontainers.image.ref.name"]
        for each in json.loads((folder / "index.json").read_text())["manifests"]
    ]
    assert tags == ["h100", "l4", "v1"]


def test_a_name_that_is_not_one_thing_is_none(folder: Path) -> None:
    assert layout_manifest(str(folder)) is None
    assert layout_manifest(f"{folder}:v2") is None
    assert layout_manifest(f"{folder}@{Digest.of(b'')}") is None


def test_a_damaged_index_is_noticed(folder: Path) -> None:
    digest = assemble_index(VARIANTS).descriptor.digest
    path = folder / "blobs" / "sha256" / digest.hex
    content = path.read_bytes()
    path.write_bytes(content[:-1] + b" ")
    with pytest.raises(ImageError) as caught:
        layout_manifest(f"{folder}:v1")
    assert caught.value.message == (f"{path} was to be {digest} but is {Digest.of(content[:-1] + b' ')}")

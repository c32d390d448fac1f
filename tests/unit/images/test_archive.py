"""The stream for `docker load`: what tarfile finds in it is the image, each blob once, under its names."""

from __future__ import annotations

import io
import json
import tarfile
from collections.abc import Sequence
from typing import Any

import pytest

from enginebuild_cache import CHUNK, Digest
from enginebuild_images.archive import archive_size, docker_archive
from enginebuild_images.assemble import assemble
from enginebuild_images.base import scratch
from enginebuild_images.errors import ImageError
from enginebuild_images.image import Image
from enginebuild_images.settings import ImageSettings
from parts.image_files import Contents, noise, small_image


def _members(image: Image, names: Sequence[str]) -> dict[str, bytes | None]:
    archive = b"".join(docker_archive(image, names))
    with tarfile.open(fileobj=io.BytesIO(archive)) as tar:
        members = tar.getmembers()
        assert len({member.name for member in members}) == len(members)
        return {
            member.name: file.read() if (file := tar.extractfile(member)) is not None else None
            for member in members
        }


def _json(content: bytes | None) -> Any:
    assert content is not None
    return json.loads(content)


def test_it_holds_the_image_as_a_layout_with_dockers_listing() -> None:
    image = small_image()
    members = _members(image, ["registry.example.com/a/b:v1", "localhost:5000/c"])
    listing = _json(members.pop("manifest.json"))
    index = _json(members.pop("index.json"))
    assert listing == [
        {
            "Config": f"blobs/sha256/{image.config.descriptor.digest.hex}",
            "Layers": [f"blobs/sha256/{layer.descriptor.digest.hex}" for layer in image.layers],
            "RepoTags": ["registry.example.com/a/b:v1", "localhost:5000/c:latest"],
        }
    ]
    assert [(entry["digest"], entry["annotations"]) for entry in index["manifests"]] == [
        (
            str(image.digest),
            {
                "io.containerd.image.name": "registry.example.com/a/b:v1",
                "org.opencontainers.image.ref.name": "v1",
            },
        ),
        (
            str(image.digest),
            {
                "io.containerd.image.name": "localhost:5000/c:latest",
                "org.opencontainers.image.ref.name": "latest",
            },
        ),
    ]
    assert _json(members.pop("oci-layout")) == {"imageLayoutVersion": "1.0.0"}
    assert members.pop("blobs") is None
    assert members.pop("blobs/sha256") is None
    for name, content in members.items():
        assert content is not None
        assert name == f"blobs/sha256/{Digest.of(content).hex}"
    assert len(members) == 4


def test_an_image_without_a_name_is_in_the_index_all_the_same() -> None:
    members = _members(small_image(), [])
    assert _json(members["manifest.json"])[0]["RepoTags"] == []
    assert len(_json(members["index.json"])["manifests"]) == 1


def test_a_layer_that_stands_twice_is_sent_once() -> None:
    blob = Contents().blob({"model/a": b"a"})
    image = assemble(scratch(), [blob, blob], ImageSettings())
    members = _members(image, ["a:b"])
    assert len(_json(members["manifest.json"])[0]["Layers"]) == 2
    assert sum(name.startswith("blobs/sha256/") for name in members) == 3


def test_its_size_is_known_and_its_pieces_are_of_1_mib_at_most() -> None:
    blob = Contents().blob({"model/a": noise(3 * CHUNK + 5)})
    image = assemble(scratch(), [blob], ImageSettings())
    pieces = list(docker_archive(image, ["a:b"]))
    assert max(map(len, pieces)) <= CHUNK
    assert sum(map(len, pieces)) == archive_size(image, ["a:b"])


def test_it_is_the_same_each_time() -> None:
    image = small_image()
    assert Digest.of_chunks(docker_archive(image, ["a:b"])) == Digest.of_chunks(
        docker_archive(image, ["a:b"])
    )


def test_a_digest_is_no_name_to_give_and_is_refused_at_once() -> None:
    name = f"a.b/c@{Digest.of(b'')}"
    with pytest.raises(ImageError) as caught:
        docker_archive(small_image(), [name])
    assert caught.value.message == (
        f"an image cannot be loaded into a Docker Engine as {name!r}: a digest is not a name to give"
    )
    assert caught.value.hint == "name it a.b/c:TAG"

"""Compressed layers in real engines: Docker, podman and skopeo read gzip; zstd is as the warning says."""

from __future__ import annotations

import hashlib
import json
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from enginebuild_images.archive import docker_archive
from enginebuild_images.assemble import assemble
from enginebuild_images.base import Base
from enginebuild_images.compressed import CompressedBlob
from enginebuild_images.compression import Format, Method
from enginebuild_images.image import Image
from enginebuild_images.layout import read_layout, write_layout
from enginebuild_images.reference import Reference
from enginebuild_images.settings import ImageSettings
from parts.busybox_base import BusyboxBase
from parts.image_files import Contents, noise
from parts.podman import podman
from parts.registry_images import client
from parts.services import DockerEngine

FORMATS: list[Format] = ["gzip", "zstd"]
FILES = {"model/weights": noise(3_000_000), "model/index.json": b'{"weight_map": {}}\n' * 200_000}
SUMS = "".join(f"{hashlib.sha256(content).hexdigest()}  /{path}\n" for path, content in FILES.items())


def _image(base_layout: BusyboxBase, name: Format) -> Image:
    contents = Contents()
    base = Base.of_image(read_layout(str(base_layout.layout)), "busybox")
    blob = CompressedBlob.of(contents.layer(FILES), contents, Method.of(name))
    settings = ImageSettings(entrypoint=("sha256sum",), cmd=tuple(f"/{path}" for path in FILES))
    return assemble(base, [blob], settings)


@pytest.fixture(scope="module", params=FORMATS)
def pushed(
    request: pytest.FixtureRequest, registry: str, base_layout: BusyboxBase
) -> tuple[Format, str, Image]:
    """A format, and the reference of an image with a layer in that format."""
    name: Format = request.param
    image = _image(base_layout, name)
    with client() as sender:
        sender.push(image, Reference.parse(f"{registry}/compressed/{name}"), ["v1"])
    return name, f"{registry}/compressed/{name}:v1", image


@pytest.fixture
def unnamed(docker_engine: DockerEngine) -> Iterator[list[str]]:
    """Names that are taken from the engine's images in the end."""
    names: list[str] = []
    yield names
    for name in names:
        docker_engine.docker("image", "rm", "--force", name, check=False)


def _reads_zstd(engine: DockerEngine) -> bool:
    version = engine.docker("version", "--format", "{{.Server.Version}}")
    return int(version.split(".")[0]) >= 23


def test_docker_pulls_and_runs_gzip_and_zstd_only_since_23(
    docker_engine: DockerEngine, pushed: tuple[Format, str, Image], unnamed: list[str]
) -> None:
    name, reference, _ = pushed
    unnamed.append(reference)
    if name == "zstd" and not _reads_zstd(docker_engine):
        with pytest.raises(AssertionError) as caught:
            docker_engine.docker("pull", "--quiet", reference)
        assert "failed to register layer" in str(caught.value)
        assert "archive/tar: invalid tar header" in str(caught.value)
        return
    docker_engine.docker("pull", "--quiet", reference)
    assert docker_engine.docker("run", "--rm", "--network=none", reference) == SUMS


def test_docker_loads_gzip(docker_engine: DockerEngine, base_layout: BusyboxBase, unnamed: list[str]) -> None:
    name = "enginebuild-test/compressed:gzip"
    unnamed.append(name)
    docker_engine.docker("load", stdin=b"".join(docker_archive(_image(base_layout, "gzip"), [name])))
    assert docker_engine.docker("run", "--rm", "--network=none", name) == SUMS


def test_podman_pulls_and_runs_both(pushed: tuple[Format, str, Image]) -> None:
    _, reference, image = pushed
    with podman() as engine:
        engine("pull", "--quiet", "--tls-verify=false", reference)
        assert engine.run(reference) == SUMS
        (found,) = json.loads(engine("image", "inspect", reference))
        assert found["Digest"] == str(image.digest)


def test_skopeo_copies_both_without_a_change(
    skopeo: Path, pushed: tuple[Format, str, Image], tmp_path: Path
) -> None:
    _, reference, image = pushed
    argv = ["copy", "--insecure-policy", "--src-tls-verify=false", "--preserve-digests"]
    target = f"oci:{tmp_path}/copy:v1"
    ended = subprocess.run(
        [skopeo, *argv, f"docker://{reference}", target], capture_output=True, text=True, timeout=120
    )
    assert ended.returncode == 0, ended.stderr
    copied = read_layout(f"{tmp_path}/copy:v1")
    assert copied.digest == image.digest
    for layer in copied.layers:
        assert sum(map(len, layer.chunks())) == layer.descriptor.size


@pytest.mark.parametrize("name", FORMATS)
def test_a_layout_of_a_compressed_image(base_layout: BusyboxBase, name: Format, tmp_path: Path) -> None:
    image = _image(base_layout, name)
    write_layout(image, tmp_path / "layout", ["v1"])
    read = read_layout(f"{tmp_path}/layout:v1")
    assert read.digest == image.digest
    assert [b"".join(layer.chunks()) for layer in read.layers] == [
        b"".join(layer.chunks()) for layer in image.layers
    ]

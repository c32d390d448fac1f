"""A real Docker Engine loads our stream: the container runs, and its files are those that went in."""

from __future__ import annotations

import hashlib
import http.client
import json
import socket
from collections.abc import Iterator
from typing import Any

import pytest

from enginebuild_images import tar
from enginebuild_images.archive import archive_size, docker_archive
from enginebuild_images.assemble import assemble
from enginebuild_images.base import Base
from enginebuild_images.image import Image
from enginebuild_images.layer import StreamedBlob
from enginebuild_images.layout import read_layout
from enginebuild_images.policy import group
from enginebuild_images.settings import Healthcheck, ImageSettings
from parts.busybox_base import BusyboxBase
from parts.image_files import Contents, noise
from parts.services import DockerEngine

NAME = "localhost:5000/enginebuild-test/layout-docker:v1"


@pytest.fixture(scope="module")
def files() -> dict[str, bytes]:
    return {
        "/model/model-00001-of-00002.safetensors": noise(70 << 20, 1),
        "/model/model-00002-of-00002.safetensors": noise(70 << 20, 2),
        "/model/config.json": b'{"model_type": "llama"}',
        "/model/deep/er/模型.txt": b"x" * 5000,
        "/model/" + "n" * 150: b"long name",
        "/model/empty": b"",
    }


@pytest.fixture(scope="module")
def image(base_layout: BusyboxBase, files: dict[str, bytes]) -> Image:
    contents = Contents()
    stable = {path: contents.add(path.removeprefix("/"), content) for path, content in files.items()}
    volatile = {"/model/vllm.yaml": contents.add("vllm.yaml", b"port: 8000\n")}
    layers = [StreamedBlob.of(layer, contents) for layer in group(stable, budget=90, volatile=volatile)]
    settings = ImageSettings(
        entrypoint=("sha256sum",),
        cmd=("/model/config.json",),
        env={"HF_HUB_OFFLINE": "1"},
        labels={"engine": "vllm"},
        exposed_ports=(8000,),
        healthcheck=Healthcheck(("test", "-f", "/model/config.json"), interval=7),
    )
    return assemble(Base.of_image(read_layout(str(base_layout.layout)), "busybox"), layers, settings)


class _Engine(http.client.HTTPConnection):
    def __init__(self, host: str) -> None:
        super().__init__("localhost", timeout=300)
        self._path = host.removeprefix("unix://")

    def connect(self) -> None:
        self.sock = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        self.sock.settimeout(self.timeout)
        self.sock.connect(self._path)


def _load(engine: DockerEngine, image: Image, name: str) -> str:
    """Stream an image to the engine's API, as a publisher does."""
    if not engine.host.startswith("unix://"):
        pytest.skip("the engine has no socket of its own on this machine")
    connection = _Engine(engine.host)
    try:
        size = archive_size(image, [name])
        headers = {"Content-Type": "application/x-tar", "Content-Length": str(size)}
        connection.request("POST", "/images/load?quiet=1", docker_archive(image, [name]), headers)
        answer = connection.getresponse()
        said = answer.read().decode()
        assert answer.status == 200, said
        return said
    finally:
        connection.close()


@pytest.fixture(scope="module")
def loaded(docker_engine: DockerEngine, image: Image) -> Iterator[str]:
    said = _load(docker_engine, image, NAME)
    assert f"Loaded image: {NAME}" in said
    yield NAME
    docker_engine.docker("image", "rm", "--force", NAME)


def _inspect(engine: DockerEngine, name: str) -> Any:
    (found,) = json.loads(engine.docker("image", "inspect", name))
    return found


def _digests(listed: str) -> dict[str, str]:
    """What sha256sum said, by path."""
    return {path: digest for digest, path in (line.split("  ", 1) for line in listed.splitlines())}


def test_every_file_in_the_container_is_the_one_that_went_in(
    docker_engine: DockerEngine, loaded: str, files: dict[str, bytes]
) -> None:
    listed = docker_engine.docker("run", "--rm", "--network=none", loaded, *files)
    assert _digests(listed) == {path: hashlib.sha256(content).hexdigest() for path, content in files.items()}


def test_files_are_readable_for_a_user_that_is_not_root(docker_engine: DockerEngine, loaded: str) -> None:
    argv = ("--user=1000:1000", "--entrypoint=stat", loaded, "-c", "%a %u:%g %Y")
    listed = docker_engine.docker("run", "--rm", "--network=none", *argv, "/model", "/model/config.json")
    assert listed == "755 0:0 0\n644 0:0 0\n"


def test_the_engine_shows_the_settings(docker_engine: DockerEngine, loaded: str, image: Image) -> None:
    found = _inspect(docker_engine, loaded)
    assert found["Id"] in (str(image.config.descriptor.digest), str(image.digest))
    config = found["Config"]
    assert (config["Entrypoint"], config["Cmd"]) == (["sha256sum"], ["/model/config.json"])
    assert config["Env"] == ["PATH=/bin", "HF_HUB_OFFLINE=1"]
    assert config["Labels"] == {"base": "busybox-base", "engine": "vllm"}
    assert config["ExposedPorts"] == {"8000/tcp": {}}
    assert config["Healthcheck"]["Test"] == ["CMD", "test", "-f", "/model/config.json"]
    assert config["Healthcheck"]["Interval"] == 7_000_000_000
    assert len(found["RootFS"]["Layers"]) == 2 + 4


def test_its_history_names_our_layers(docker_engine: DockerEngine, loaded: str) -> None:
    listed = docker_engine.docker("history", "--no-trunc", "--format", "{{.CreatedBy}}", loaded)
    assert listed.splitlines() == [
        "enginebuild: /model/vllm.yaml",
        "enginebuild: 4 files in /model",
        "enginebuild: /model/model-00002-of-00002.safetensors",
        "enginebuild: /model/model-00001-of-00002.safetensors",
        "etc",
        "busybox",
    ]


def test_the_engine_reads_sizes_from_pax_records_as_files_above_8_gib_have_them(
    docker_engine: DockerEngine, base_layout: BusyboxBase, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(tar, "USTAR_SIZE", 1000)  # as if ustar ended here; 9 GiB would take minutes and disk
    contents, weights = Contents(), noise(100_000)
    base = Base.of_image(read_layout(str(base_layout.layout)), "busybox")
    settings = ImageSettings(entrypoint=("sha256sum",))
    image = assemble(base, [contents.blob({"model/weights": weights})], settings)
    name = "enginebuild-test/pax"  # short: the engine must complete it as we do
    assert b" size=100000\n" in b"".join(image.layers[-1].chunks())
    _load(docker_engine, image, name)
    try:
        listed = docker_engine.docker("run", "--rm", "--network=none", name, "/model/weights")
    finally:
        docker_engine.docker("image", "rm", "--force", name)
    assert _digests(listed) == {"/model/weights": hashlib.sha256(weights).hexdigest()}

"""`enginebuild index` with a real registry: what is sent, what other tools read, and what inspect lists."""

from __future__ import annotations

import json
import re
import shutil
import subprocess
from pathlib import Path
from typing import Any

import pytest

from parts import cli, recipes
from parts.busybox_base import BusyboxBase
from parts.registry_real import docker_registry
from parts.services import DockerEngine

pytestmark = pytest.mark.registry

GPUS = {"h100": ("H100-SXM-80GB", "9.0"), "l4": ("L4", "8.9")}


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory, base_layout: BusyboxBase) -> Path:
    """A layout `dist` with an image for each GPU, under its name."""
    folder = tmp_path_factory.mktemp("index")
    shutil.copytree(recipes.QUICKSTART_MODEL, folder / "model")
    shutil.copytree(base_layout.layout, folder / "base")
    for name, (gpu, _) in GPUS.items():
        recipe = recipes.write(
            folder, "file:./model", name=name, base="oci:./base:latest", extra=f"  tags: [{name}]\n"
        )
        recipe.write_text(recipe.read_text() + f"gpu: {gpu}\n")
        words = ("--cache-dir", folder / "cache", "--output", "dist")
        cli.enginebuild("run", recipe, *words, cwd=folder).ok()
    return folder


@pytest.fixture
def here(registry: str, request: pytest.FixtureRequest) -> str:
    """A repository of this test's own."""
    return f"{registry}/index/{request.node.name.removeprefix('test_').replace('_', '-')}"


def index(folder: Path, *words: str) -> Any:
    return cli.enginebuild("index", *words, "--json", cwd=folder).ok().result


def push(folder: Path, name: str, repository: str) -> str:
    words = ("--cache-dir", folder / "cache", "--push", "--set", f"image.repository={repository}")
    ended = cli.enginebuild("run", folder / f"{name}.yaml", *words, "--json", cwd=folder).ok()
    return str(ended.result["image"]["names"][0])


def raw(skopeo: Path, name: str) -> bytes:
    words = ("inspect", "--raw", "--tls-verify=false", name)
    return subprocess.run([skopeo, *words], capture_output=True, check=True).stdout


def test_images_of_a_layout_go_to_a_registry_with_their_index(folder: Path, here: str, skopeo: Path) -> None:
    made = index(folder, f"{here}:v1", "oci:dist:h100", "oci:dist:l4")
    document = json.loads(raw(skopeo, f"docker://{here}:v1"))
    assert document["mediaType"] == "application/vnd.oci.image.index.v1+json"
    assert [entry["platform"] for entry in document["manifests"]] == [
        {"architecture": "amd64", "os": "linux"}
    ] * 2
    for entry, (gpu, capability), variant in zip(
        document["manifests"], GPUS.values(), made["variants"], strict=True
    ):
        annotations = entry["annotations"]
        assert annotations["enginebuild.gpu"] == gpu
        assert annotations["enginebuild.gpu.compute_capability"] == capability
        assert (annotations["enginebuild.engine"], annotations["enginebuild.engine.version"]) == (
            "vllm",
            "0.33.0",
        )
        assert variant == {"name": f"{here}@{entry['digest']}", "annotations": annotations}
    layout = index(folder, "oci:dist:v1", "oci:dist:h100", "oci:dist:l4")
    assert layout["index"]["digest"] == made["index"]["digest"]


def test_images_of_other_repositories_are_mounted(folder: Path, tmp_path: Path) -> None:
    with docker_registry(tmp_path, access_log=True) as host:
        names = [push(folder, name, f"{host}/llm/{name}") for name in GPUS]
        before = len((tmp_path / "log").read_text())
        made = index(folder, f"{host}/llm/all:v1", *names)
        log = (tmp_path / "log").read_text()[before:]
        again = len(log) + before
        assert index(folder, f"{host}/llm/all:v1", *names)["index"] == made["index"]
        later = (tmp_path / "log").read_text()[again:]
    requests = re.findall(r'"(PUT|PATCH|POST) (\S+) HTTP/1\.1" (\d+)', log)
    mounts = [path for _, path, status in requests if "mount=" in path and status == "201"]
    uploads = [path for method, path, _ in requests if method != "POST" and "/blobs/" in path]
    layers = {layer for name in names for layer in layers_of(name.rpartition("@")[2], folder)}
    assert {re.findall("[0-9a-f]{64}", path)[0] for path in mounts} == layers
    assert len(uploads) == len(GPUS)  # a config each
    assert not re.findall(r'"(?:PUT|PATCH|POST) ', later)


def layers_of(digest: str, folder: Path) -> list[str]:
    """Hex digests of an image's layers."""
    manifest = json.loads((folder / "dist/blobs/sha256" / digest.removeprefix("sha256:")).read_bytes())
    return [layer["digest"].removeprefix("sha256:") for layer in manifest["layers"]]


def test_images_of_another_registry_are_copied(folder: Path, here: str, tmp_path: Path) -> None:
    with docker_registry(tmp_path) as other:
        names = [push(folder, name, f"{other}/llm/{name}") for name in GPUS]
        made = index(folder, f"{here}:v1", *names)
        to_layout = index(folder, f"oci:{tmp_path}/layout:v1", *names)
    assert to_layout["index"]["digest"] == made["index"]["digest"]
    for variant in (*made["variants"], *to_layout["variants"]):
        assert cli.enginebuild("inspect", variant["name"], "--json", cwd=folder).ok().document["layers"]


def test_skopeo_copies_all_without_a_change(folder: Path, here: str, skopeo: Path, tmp_path: Path) -> None:
    made = index(folder, f"{here}:v1", "oci:dist:h100", "oci:dist:l4")
    copy = (skopeo, "copy", "--all", "--quiet")
    out = ("--src-tls-verify=false", "--dest-oci-accept-uncompressed-layers", f"docker://{here}:v1")
    subprocess.run([*copy, *out, f"oci:{tmp_path}/copy:v1"], check=True)
    back = ("--dest-tls-verify=false", "--preserve-digests", f"oci:{tmp_path}/copy:v1")
    subprocess.run([*copy, *back, f"docker://{here}:v2"], check=True)
    digest = made["index"]["digest"]
    for name in (f"oci:{tmp_path}/copy:v1", f"{here}:v2"):
        assert cli.enginebuild("inspect", name, "--json").ok().document["digest"] == digest
    assert raw(skopeo, f"docker://{here}:v2") == raw(skopeo, f"docker://{here}:v1")


def test_docker_takes_the_first_or_the_one_that_is_named(
    folder: Path, here: str, docker_engine: DockerEngine
) -> None:
    made = index(folder, f"{here}:v1", "oci:dist:h100", "oci:dist:l4")
    second = made["variants"][1]["name"]
    try:
        for reference, gpu in ((f"{here}:v1", "H100-SXM-80GB"), (second, "L4")):
            docker_engine.docker("pull", "--quiet", reference)
            label = '{{index .Config.Labels "enginebuild.gpu"}}'
            shown = docker_engine.docker("image", "inspect", "--format", label, reference)
            assert shown.strip() == gpu
            files = ("run", "--rm", "--network=none", "--entrypoint=ls", reference, "/model")
            assert "model.safetensors" in docker_engine.docker(*files)
    finally:
        docker_engine.docker("image", "rm", "--force", f"{here}:v1", second, check=False)


def test_inspect_lists_what_there_is_to_choose_from(folder: Path, here: str) -> None:
    made = index(folder, f"{here}:v1", "oci:dist:h100", "oci:dist:l4")
    document = cli.enginebuild("inspect", f"{here}:v1", "--json").ok().document
    digest = made["index"]["digest"]
    assert document == {
        "name": f"{here}:v1@{digest}",
        "digest": digest,
        "variants": [
            {
                "name": variant["name"],
                "digest": variant["name"].rpartition("@")[2],
                "platform": "linux/amd64",
                "annotations": variant["annotations"],
            }
            for variant in made["variants"]
        ],
    }
    lines = cli.enginebuild("inspect", f"{here}:v1").ok().stdout.splitlines()
    assert lines[:5] == [
        f"{here}:v1@{digest}",
        f"  digest    {digest}",
        "  variants  2",
        f"    {made['variants'][0]['name']}",
        "      platform = linux/amd64",
    ]
    assert "      enginebuild.gpu.compute_capability = 8.9" in lines
    chosen = cli.enginebuild("inspect", made["variants"][1]["name"], "--json").ok().document
    assert chosen["labels"]["enginebuild.gpu"] == "L4"


def test_what_is_printed(folder: Path, here: str) -> None:
    ended = cli.enginebuild("index", f"{here}:v1", "oci:dist:h100", "oci:dist:l4", cwd=folder).ok()
    name = ended.stdout.removesuffix("\n")
    assert name.startswith(f"{here}@sha256:")
    assert ended.stderr == f"look inside:  enginebuild inspect {name}\n"


def test_a_registry_that_is_not_there(folder: Path) -> None:
    made = index(folder, "oci:dist:v1", "oci:dist:l4")
    ended = cli.enginebuild("index", "127.0.0.1:1/llm/a:v1", "oci:dist:l4", cwd=folder)
    assert ended.code == 8
    assert ended.stderr == (
        f"error: 127.0.0.1:1: cannot find llm/a@{made['index']['digest']}: connection refused (3 tries)\n"
        "hint: check host and port, and that the registry runs\n"
    )


def test_an_image_that_is_not_there(folder: Path, here: str) -> None:
    ended = cli.enginebuild("index", f"{here}:v1", "oci:dist:l4", f"{here}/none:v1", cwd=folder)
    assert ended.code == 3
    assert ended.stdout == ""
    assert f"{here.partition('/')[2]}/none:v1" in ended.stderr.splitlines()[0]
    assert cli.enginebuild("inspect", f"{here}:v1").code == 3  # nothing was published

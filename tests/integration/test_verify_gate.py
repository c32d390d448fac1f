"""The gate before publishing: a stand-in server in a real Docker Engine, and every way it may fail."""

from __future__ import annotations

import json
import shutil
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from parts import cli, services
from parts.services import DockerEngine
from parts.tiny_llama import write_tiny_llama
from parts.vllm_standin import write_base

PARIS = {"smoke": {"prompts": [{"prompt": "The capital of France is", "expect": "Paris"}]}}


@dataclass(frozen=True)
class Shop:
    """Where recipes are run: a base, a model, a Docker Engine and a registry."""

    folder: Path
    engine: DockerEngine
    registry: str

    def run(self, verify: Mapping[str, Any] | None, *words: str, **more: Any) -> cli.Ended:
        recipe = self.write(verify, **more)
        return cli.enginebuild("run", recipe, *self.words(), "--json", *(words or ("--push",)), env=self.env)

    def words(self) -> tuple[str | Path, ...]:
        return ("--cache-dir", self.folder / "cache")

    @property
    def env(self) -> dict[str, str]:
        return {"DOCKER_HOST": self.engine.host}

    def write(self, verify: Mapping[str, Any] | None, fault: str = "", **more: Any) -> Path:
        config = self.folder / "model" / "config.json"
        document = json.loads(config.read_text())
        document.pop("standin_fault", None)
        config.write_text(json.dumps({**document, **({"standin_fault": fault} if fault else {})}))
        values = {
            "version": 1,
            "name": "tiny",
            "model": "file:./model",
            "engine": {"type": "vllm", "version": "0.32.0", "args": more.pop("args", {})},
            "image": {
                "base": f"oci:{more.pop('base', 'base')}:latest",
                "repository": f"{self.registry}/llm/tiny",
                "tags": ["latest"],
            },
            **({} if verify is None else {"verify": verify}),
            **more,
        }
        path = self.folder / "tiny.yaml"
        path.write_text(json.dumps(values))
        return path

    def kept(self) -> Path:
        """The folder with what a failed verification left, which is the only one."""
        (found,) = (self.folder / "cache" / "v1" / "logs").glob("verify-*")
        return found

    def containers(self) -> list[str]:
        said = self.engine.docker("ps", "--all", "--format", "{{.Names}}")
        return [line for line in said.splitlines() if line.startswith("enginebuild-verify")]

    def images(self) -> list[str]:
        said = self.engine.docker("images", "--format", "{{.Repository}}")
        return [line for line in said.splitlines() if line == "enginebuild-verify"]

    def tags(self) -> str:
        said = cli.enginebuild("inspect", f"{self.registry}/llm/tiny:latest")
        return said.stderr


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("made")
    write_tiny_llama(folder / "model")
    write_base(folder / "base", services.program("busybox"))
    return folder


@pytest.fixture
def shop(made: Path, tmp_path: Path, docker_engine: DockerEngine, registry: str) -> Iterator[Shop]:
    shutil.copytree(made / "model", tmp_path / "model")
    (tmp_path / "base").symlink_to(made / "base")
    shop = Shop(tmp_path, docker_engine, f"{registry}/{tmp_path.name.replace('_', '-')}")
    yield shop
    assert shop.containers() == []
    assert shop.images() == []


def test_it_passes_once(shop: Shop) -> None:
    first = shop.run(PARIS)
    assert first.ok().statuses["verify"] == "built"
    print(first.stdout)

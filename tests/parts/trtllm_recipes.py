"""Recipes for TensorRT-LLM whose builder and base are images of stand-ins, and where these recipes run."""

from __future__ import annotations

import copy
import json
import time
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from parts import cli, services
from parts.oci_image import push
from parts.services import DockerEngine
from parts.tiny_llama import write_tiny_llama
from parts.trtllm_images import release_image, triton_image

VERSION = "1.2.1"
TRITON = "26.07-trtllm-python-py3"
GPU = "H100-SXM-80GB"
#: Two of them, for images whose engine has two ranks.
TWO_GPUS = "NVIDIA H100 80GB HBM3, 9.0, 81559, 81004; NVIDIA H100 80GB HBM3, 9.0, 81559, 81004"
#: Lines of a calibration set that the stand-in of quantize.py reads.
TEXTS = "".join(json.dumps({"text": f"line {number} of a calibration set"}) + "\n" for number in range(4))


@dataclass(frozen=True)
class Workshop:
    """A registry with the images, and a Docker Engine that pulls from it."""

    registry: str
    engine: DockerEngine

    @property
    def release(self) -> str:
        return f"{self.registry}/tensorrt-llm/release:{VERSION}"

    @property
    def triton(self) -> str:
        return f"{self.registry}/tritonserver:{TRITON}"

    @property
    def env(self) -> dict[str, str]:
        """For a process of enginebuild: this Docker Engine, and a machine with one H100."""
        return {"DOCKER_HOST": self.engine.host, "PATH": services.nvidia_path()}

    def recipe(self, engine: Mapping[str, Any] | None = None, **more: Any) -> dict[str, Any]:
        """A recipe of a local model in ./model; `engine` and other sections are merged into it."""
        values: dict[str, Any] = {
            "version": 1,
            "name": "tiny",
            "model": "file:./model",
            "dtype": "bfloat16",
            "gpu": GPU,
            "engine": {"type": "tensorrt_llm", "version": VERSION, **(engine or {})},
            "image": {"base": self.release, "repository": f"{self.registry}/llm/tiny", "tags": ["latest"]},
            "builder": {"image": self.release},
        }
        for name, value in more.items():
            values[name] = {**values[name], **value} if isinstance(values.get(name), dict) else value
        return values

    def run(self, recipe: Path, *words: str | Path, env: Mapping[str, str] | None = None) -> cli.Ended:
        """`enginebuild run --json` with a cache beside the recipe, which is pushed."""
        return cli.enginebuild(*self.words(recipe, *words), env={**self.env, **(env or {})})

    @staticmethod
    def words(recipe: Path, *more: str | Path) -> tuple[str | Path, ...]:
        return ("run", recipe, "--push", "--json", "--cache-dir", recipe.parent / "cache", *more)

    def started(self, since: float) -> list[str]:
        """The images of the containers that were started of this registry's images since then."""
        told = ("--since", f"{since:.6f}", "--until", f"{time.time():.6f}", "--filter", "event=start")
        said = self.engine.docker("events", *told, "--format", "{{.Actor.Attributes.image}}")
        return [line for line in said.splitlines() if self.registry in line]


def workshop(registry: str, engine: DockerEngine) -> Workshop:
    """The images are pushed; the engine pulls them when a step needs them."""
    busybox = services.program("busybox")
    push(release_image(VERSION, busybox), registry, "tensorrt-llm/release", VERSION)
    push(triton_image(VERSION, busybox), registry, "tritonserver", TRITON)
    return Workshop(registry, engine)


def write(folder: Path, values: Mapping[str, Any], fault: str | None = None) -> Path:
    """The recipe in a folder with a model and calibration data; `fault` goes into the model's config.json."""
    folder.mkdir(exist_ok=True)
    if not (folder / "model").exists():
        write_tiny_llama(folder / "model")
    if fault is not None:
        config = folder / "model" / "config.json"
        config.write_text(json.dumps(json.loads(config.read_text()) | {"standin_fault": fault}))
    (folder / "texts").mkdir(exist_ok=True)
    (folder / "texts" / "train.jsonl").write_text(TEXTS)
    path = folder / "tiny.yaml"
    path.write_text(json.dumps(values, indent=1))  # JSON is YAML, too
    return path


def changed(values: Mapping[str, Any], path: str, value: Any) -> dict[str, Any]:
    """The recipe with another value at a dotted path."""
    made: dict[str, Any] = copy.deepcopy(dict(values))
    inner, *names = made, *path.split(".")
    for name in names[:-1]:
        inner = inner.setdefault(name, {})
    inner[names[-1]] = value
    return made

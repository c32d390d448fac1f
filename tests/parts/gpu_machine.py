"""What a machine must have for the tests on a real GPU, and what it lacks, one sentence each.

Nothing of the code under test decides it but the names of the GPUs that a recipe can have.
"""

from __future__ import annotations

import json
import os
import shutil
import subprocess
from collections.abc import Iterator
from functools import cache

from enginebuild.engines.tensorrt_llm.versions import release_image
from enginebuild.recipe.gpu import catalogue
from parts.isolation import ORIGINAL

#: Set by `make test-gpu`; without it these tests are not even collected.
WANTED = "ENGINEBUILD_TEST_GPU"
VERSION = "1.2.1"
#: Another image to take, such as a mirror's.
IMAGE = os.environ.get("ENGINEBUILD_TEST_GPU_IMAGE", release_image(VERSION))

_SECONDS = 120.0


@cache
def product() -> str | None:
    """What nvidia-smi calls the first GPU; None where it shows none."""
    said = _said("nvidia-smi", "--query-gpu=name", "--format=csv,noheader")
    return said.splitlines()[0].strip() if said else None


@cache
def gpu() -> str | None:
    """What a recipe calls the first GPU; None where it has no name for it."""
    found = [name for name, entry in catalogue().items() if entry.product == product()]
    return found[0] if found else None


@cache
def lacking() -> tuple[str, ...]:
    """What this machine lacks. Nothing is pulled and nothing is started."""
    return (*_gpu(), *_docker())


def _gpu() -> Iterator[str]:
    if shutil.which("nvidia-smi", path=ORIGINAL.get("PATH")) is None:
        yield "no NVIDIA driver: there is no program nvidia-smi"
    elif product() is None:
        yield "no NVIDIA GPU: nvidia-smi lists none"
    elif gpu() is None:
        yield f"no name for the GPU {product()}: a recipe knows {', '.join(catalogue())}"


def _docker() -> Iterator[str]:
    if shutil.which("docker", path=ORIGINAL.get("PATH")) is None:
        yield f"no program docker; whether the image {IMAGE} can be had was not asked"
        return
    said = _said("docker", "info", "--format", "{{json .Runtimes}}")
    if said is None:
        yield f"no Docker Engine answers (docker info); whether it has the image {IMAGE} was not asked"
        return
    hook = shutil.which("nvidia-container-runtime-hook", path=ORIGINAL.get("PATH"))
    if "nvidia" not in json.loads(said) and hook is None:
        yield "no NVIDIA container runtime: install nvidia-container-toolkit"
    known = ("docker", "image", "inspect", IMAGE), ("docker", "manifest", "inspect", "--insecure", IMAGE)
    if all(_said(*command) is None for command in known):
        yield f"no image {IMAGE}: it is not here, and cannot be pulled"


def _said(*command: str) -> str | None:
    """The output of a command, None if it fails."""
    try:
        ended = subprocess.run(
            command, capture_output=True, text=True, env=dict(ORIGINAL), timeout=_SECONDS, check=False
        )
    except (OSError, subprocess.TimeoutExpired):
        return None
    return ended.stdout.strip() if ended.returncode == 0 else None

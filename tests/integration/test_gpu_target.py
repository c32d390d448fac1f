"""`make test-gpu`: what it says where something is lacking, and that its tests pass where nothing is.

The second is shown with stand-ins for the GPU, the container runtime and the image.
"""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path

import pytest

from parts import services
from parts.checkout import ROOT, make_targets, texts
from parts.services import DockerEngine
from parts.trtllm_recipes import workshop

#: What the Makefile's target runs.
COMMAND = "ENGINEBUILD_TEST_GPU=1 $(BIN)/pytest tests/gpu"


def run(env: Mapping[str, str]) -> subprocess.CompletedProcess[str]:
    """The target's command; `env` may take variables away by an empty value."""
    made = {**os.environ, "ENGINEBUILD_TEST_GPU": "1", **env}
    return subprocess.run(
        [sys.executable, "-m", "pytest", "tests/gpu", "-p", "no:cacheprovider"],
        cwd=ROOT,
        env={name: value for name, value in made.items() if value},
        capture_output=True,
        text=True,
        check=False,
    )


def test_the_target_runs_what_is_tested_here() -> None:
    assert f"\t{COMMAND}\n" in texts()["Makefile"]
    assert "test-gpu" in make_targets()


def test_it_says_what_the_machine_lacks_and_ends_well(tmp_path: Path) -> None:
    image = "registry.example.com/tensorrt-llm/release:1.2.1"
    env = {"PATH": str(tmp_path), "ENGINEBUILD_TEST_GPU_IMAGE": image}
    ended = run(env)
    assert ended.returncode == 0, ended.stdout + ended.stderr
    lines = [line for line in ended.stdout.splitlines() if line]
    head = next(number for number, line in enumerate(lines) if "not run on this machine" in line)
    assert lines[head + 1 : head + 3] == [
        "no NVIDIA driver: there is no program nvidia-smi",
        f"no program docker; whether the image {image} can be had was not asked",
    ]
    assert " skipped in " in lines[-1]
    assert "failed" not in lines[-1]


def test_it_names_a_gpu_and_an_image_that_are_not_what_is_needed(
    docker_engine: DockerEngine, tmp_path: Path
) -> None:
    image = "127.0.0.1:1/tensorrt-llm/release:1.2.1"
    env = {
        "PATH": services.nvidia_path(),
        "DOCKER_HOST": docker_engine.host,
        "NVIDIA_SMI_STANDIN_GPUS": "NVIDIA GeForce GTX 1080, 6.1, 8192, 8000",
        "ENGINEBUILD_TEST_GPU_IMAGE": image,
    }
    ended = run(env)
    assert ended.returncode == 0, ended.stdout + ended.stderr
    assert "\nno name for the GPU NVIDIA GeForce GTX 1080: a recipe knows " in ended.stdout
    assert f"\nno image {image}: it is not here, and cannot be pulled\n" in ended.stdout


@pytest.mark.slow
def test_its_tests_pass_where_nothing_is_lacking(registry: str, docker_engine: DockerEngine) -> None:
    shop = workshop(registry, docker_engine)
    docker_engine.docker("pull", "--quiet", shop.release)
    ended = run({**shop.env, "ENGINEBUILD_TEST_GPU_IMAGE": shop.release})
    assert ended.returncode == 0, ended.stdout + ended.stderr
    assert ended.stdout.splitlines()[-1].strip("= ").startswith("4 passed")

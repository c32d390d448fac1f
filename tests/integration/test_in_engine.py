"""What is said before vLLM is asked: of recipes that have nothing to ask, and of places where it is not."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

from parts.busybox_base import BusyboxBase
from parts.cli import Ended, enginebuild
from parts.recipes import QUICKSTART_MODEL

VLLM = "engine: {type: vllm, version: 0.32.0}\n"
LOCAL = f"builder: {{runner: local, environment: {sys.prefix}}}\n"


def check(folder: Path, more: str) -> Ended:
    path = folder / "tiny.yaml"
    path.write_text(f"version: 1\nname: tiny\nmodel: file:{QUICKSTART_MODEL}\n{more}")
    return enginebuild("check", path, "--in-engine", "--cache-dir", folder / "cache")


def test_an_environment_without_vllm(tmp_path: Path, base_layout: BusyboxBase) -> None:
    ended = check(tmp_path, f"{VLLM}{LOCAL}image: {{base: 'oci:{base_layout.layout}'}}\n")
    assert ended.code == 2
    assert ended.stderr == (
        f"error: {tmp_path}/tiny.yaml:5:39: validation runs vLLM 0.32.0, and builder.environment has none\n"
        f"  {LOCAL}"
        "                                        ^\n"
        "  hint: name an environment with that version, or write runner: docker, which runs image.base\n"
    )


def test_an_environment_with_another_vllm(tmp_path: Path) -> None:
    """A stand-in's python says which version it has."""
    python = tmp_path / "standin" / "bin" / "python3"
    python.parent.mkdir(parents=True)
    python.write_text('#!/bin/sh\necho \'{"python": "3.12.3", "vllm": "0.33.0+cpu"}\'\n')
    python.chmod(0o755)
    local = "builder: {runner: local, environment: standin}\n"
    ended = check(tmp_path, f"{VLLM}{local}image: {{base: scratch}}\n")
    assert ended.code == 2
    assert ended.stderr == (
        f"error: {tmp_path}/tiny.yaml:5:39: validation runs vLLM 0.32.0, "
        "and builder.environment has vLLM 0.33.0\n"
        f"  {local}"
        "                                        ^\n"
        "  hint: name an environment with that version, or write runner: docker, which runs image.base\n"
    )


@pytest.mark.parametrize("base", ["scratch", "layout"])
def test_a_base_that_no_docker_engine_can_pull(tmp_path: Path, base_layout: BusyboxBase, base: str) -> None:
    written = "scratch" if base == "scratch" else f"oci:{base_layout.layout}"
    ended = check(tmp_path, f"{VLLM}image:\n  base: {written}\n")
    assert ended.code == 2
    assert ended.stderr == (
        f"error: {tmp_path}/tiny.yaml:6:9: validation runs image.base in a Docker Engine, "
        f"and {written} is in no registry\n"
        f"    base: {written}\n"
        "          ^\n"
        "  hint: push it to one, or name an environment with vLLM: "
        "builder: {runner: local, environment: …}\n"
    )


def test_another_engine(tmp_path: Path) -> None:
    ended = check(
        tmp_path,
        "engine: {type: tensorrt_llm, version: 1.2.1, mode: pytorch}\n"
        "image: {base: 'nvcr.io/nvidia/tensorrt-llm/release:1.2.1'}\n",
    )
    assert ended.code == 2
    assert ended.stderr == (
        f"error: {tmp_path}/tiny.yaml:4:16: --in-engine asks vLLM, and this recipe's engine is another one\n"
        "  engine: {type: tensorrt_llm, version: 1.2.1, mode: pytorch}\n"
        "                 ^\n"
        "  hint: check it without --in-engine\n"
    )


def test_a_model_alone(tmp_path: Path) -> None:
    ended = check(tmp_path, f"{VLLM}image: {{layout: model}}\n")
    assert ended.code == 2
    assert ended.stderr == (
        f"error: {tmp_path}/tiny.yaml:5:17: --in-engine asks about a server's configuration, "
        "and layout model has none\n"
        "  image: {layout: model}\n"
        "                  ^\n"
        "  hint: check it without --in-engine\n"
    )

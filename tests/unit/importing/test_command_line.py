"""`enginebuild import` as a program: streams, files, exit codes."""

from __future__ import annotations

from pathlib import Path

import pytest

from parts.cli import enginebuild
from parts.imports import GIVEN

_COMMAND = "vllm serve example-org/Wren-8B -tp 2 --download-dir /x"
_TEXT = """\
# Written by `enginebuild import` from a vllm serve command.
#
# Not carried:
# - --download-dir: download_dir does nothing in an image: the model is in it, nothing is downloaded
version: 1
name: wren-8b
model: hf://example-org/Wren-8B
tensor_parallel_size: 2

engine:
  type: vllm
  version: 0.33.0

image:
  base: docker.io/vllm/vllm-openai:v0.33.0
"""
_LOST = "not carried: 1, listed at the head of the recipe\n"


def test_a_recipe_on_stdout() -> None:
    ended = enginebuild("import", _COMMAND).ok()
    assert (ended.stdout, ended.stderr) == (_TEXT, _LOST)


def test_words_after_two_dashes_are_one_command() -> None:
    assert enginebuild("import", "--", *_COMMAND.split()).ok().stdout == _TEXT


def test_a_file_is_replaced_by_force_alone(tmp_path: Path) -> None:
    path = tmp_path / "recipe.yaml"
    first = enginebuild("import", _COMMAND, "-o", path).ok()
    assert (first.stdout, first.stderr, path.read_text()) == ("", f"{_LOST}{path}: written\n", _TEXT)
    assert enginebuild("check", path).ok().stdout == f"{path}: ok (vllm 0.33.0, not locked)\n"
    path.write_text("mine")
    again = enginebuild("import", _COMMAND, "-o", path)
    assert (again.code, again.stderr) == (
        2,
        f"error: {path}: exists already\nhint: give --force to replace it, or another --output\n",
    )
    assert path.read_text() == "mine"
    enginebuild("import", _COMMAND, "-o", path, "--force").ok()
    assert path.read_text() == _TEXT


def test_a_folder_that_is_not_there(tmp_path: Path) -> None:
    path = tmp_path / "no" / "recipe.yaml"
    ended = enginebuild("import", _COMMAND, "-o", path)
    assert (ended.code, ended.stderr) == (
        2,
        f"error: {path}: cannot be written: No such file or directory\nhint: check the folder\n",
    )


def test_what_is_to_be_filled_in_is_said() -> None:
    ended = enginebuild("import", "trtllm-serve example-org/Wren-8B --backend trt").ok()
    why = "an engine runs on the GPU alone that it is compiled for: name it, or give --gpu"
    assert ended.stderr == f"to fill in: gpu: {why}\n"


@pytest.mark.parametrize(
    "words",
    [
        [
            "vllm-recipe",
            GIVEN / "moe.yaml",
            "--variant",
            "nvfp4",
            "--hardware",
            "b200",
            "--feature",
            "long_context",
        ],
        ["trtllm-serve a/b", "--config", GIVEN / "extra.yaml", "--version", "1.2.1", "--name", "x"],
        ["--engine", "tensorrt_llm", "--mode", "engine", GIVEN / "for-vllm.yaml"],
        ["trtllm-build", "trtllm-build --gemm_plugin auto", "quantize.py --model_dir a/b", "--gpu", "L4"],
        ["--gpu", "L4", "trtllm-build --gemm_plugin auto", "convert_checkpoint.py --model_dir a/b"],
    ],
)
def test_each_kind_has_its_options(words: list[str | Path], tmp_path: Path) -> None:
    path = tmp_path / "recipe.yaml"
    enginebuild("import", *words, "-o", path).ok()
    enginebuild("check", path).ok()


def test_a_command_that_cannot_be_understood() -> None:
    ended = enginebuild("import", "vllm serve a/b --seed x")
    message = "error: the command cannot be understood: --seed takes a whole number, not 'x'\n"
    assert (ended.code, ended.stdout, ended.stderr) == (2, "", message)

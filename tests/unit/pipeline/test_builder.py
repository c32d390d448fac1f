"""In what a recipe's commands run, and what is said where that cannot be."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

from enginebuild.builder import Place, has_commands, needs_builder, place_of, with_runner
from enginebuild.errors import RecipeError, SourceError
from enginebuild.recipe import Recipe, parse

VLLM = "engine: {type: vllm, version: 0.33.0}\nimage: {base: docker.io/vllm/vllm-openai:v0.33.0}\n"
ENGINE = (
    "gpu: L4\nengine: {type: tensorrt_llm, version: 1.2.1, mode: engine}\n"
    "image: {base: nvcr.io/nvidia/tensorrt-llm/release:1.2.1}\n"
)
TRITON = (
    "gpu: L4\nengine: {type: tensorrt_llm, version: 1.2.1, mode: pytorch, server: triton}\n"
    "image: {base: nvcr.io/nvidia/tritonserver:26.07-trtllm-python-py3}\n"
)
QUANTIZED = "quantization: fp8_per_channel_per_token\n"


def recipe(more: str) -> Recipe:
    return parse(f"version: 1\nname: tiny\nmodel: hf://org/tiny@main\n{more}".encode(), "tiny.yaml")


def test_a_model_as_it_is_needs_none() -> None:
    plain = recipe(VLLM)
    assert not needs_builder(plain)
    assert not has_commands(plain)
    assert place_of(plain) is None


def test_an_engine_is_built_in_nvidia_s_image_of_its_version() -> None:
    assert place_of(recipe(ENGINE)) == Place("nvcr.io/nvidia/tensorrt-llm/release:1.2.1")
    own = recipe(ENGINE + "builder: {image: 'registry.example.com/trtllm:1.2.1'}\n")
    assert place_of(own) == Place("registry.example.com/trtllm:1.2.1")


def test_triton_s_templates_need_a_runner_and_no_builder() -> None:
    served = recipe(TRITON)
    assert not needs_builder(served)
    assert has_commands(served)


VALIDATED = VLLM.replace("version: 0.33.0", "version: 0.33.0, validate: true")


def test_vllm_is_asked_in_the_base_image_or_in_the_builder_s_environment() -> None:
    by_docker = recipe(VALIDATED)
    assert has_commands(by_docker)
    assert not needs_builder(by_docker)
    assert place_of(by_docker) is None
    local = recipe(VALIDATED + "builder: {runner: local, environment: ./vllm}\n")
    assert has_commands(local)
    assert place_of(local) == Place(environment=Path("vllm").absolute())


def test_a_quantizer_has_no_image_that_goes_without_saying() -> None:
    with pytest.raises(RecipeError) as caught:
        place_of(recipe(VLLM + QUANTIZED))
    assert str(caught.value) == (
        "tiny.yaml:6:1: quantization by llm-compressor needs a builder, and this recipe names none\n"
        "  quantization: fp8_per_channel_per_token\n"
        "  ^\n"
        "  hint: add builder: {image: …} with that tool, or builder: {runner: local, environment: …}; "
        "images/builders says how to make one"
    )


def test_a_folder_is_relative_to_the_recipe(tmp_path: Path) -> None:
    local = "builder: {runner: local, environment: ./tools}\n"
    assert place_of(recipe(VLLM + QUANTIZED + local)) == Place(environment=Path("tools").absolute())


def test_another_runner_needs_what_it_runs_in() -> None:
    both = recipe(ENGINE + "builder: {environment: ./tools}\n")
    assert with_runner(both, None) is both
    assert with_runner(both, "docker") is both
    assert with_runner(both, "local").builder.runner == "local"
    with pytest.raises(RecipeError) as caught:
        with_runner(recipe(ENGINE + "builder: {gpus: 2}\n"), "local")
    assert str(caught.value) == (
        "tiny.yaml:7:1: --runner local needs builder.environment, which this recipe does not have\n"
        "  builder: {gpus: 2}\n"
        "  ^\n"
        "  hint: add it, or give --set builder.environment=/path/to/environment"
    )


def test_versions_of_a_folder() -> None:
    versions = Place(environment=Path(sys.prefix)).versions()
    assert versions["python"].startswith("3.")
    assert "tensorrt_llm" not in versions


def test_a_folder_that_is_no_environment(tmp_path: Path) -> None:
    with pytest.raises(SourceError) as caught:
        Place(environment=tmp_path).versions()
    assert caught.value.message == (
        f"builder.environment {tmp_path} is no Python environment: there is no {tmp_path}/bin/python3"
    )
    assert caught.value.hint == "name the folder of a virtual environment, the one that has bin/python3"


def test_a_python_that_does_not_run(tmp_path: Path) -> None:
    (tmp_path / "bin").mkdir()
    python = tmp_path / "bin/python3"
    python.write_text("#!/bin/sh\necho broken >&2\nexit 3\n")
    python.chmod(0o755)
    with pytest.raises(SourceError) as caught:
        Place(environment=tmp_path).versions()
    assert caught.value.message == f"builder.environment {tmp_path} is no Python environment: broken"

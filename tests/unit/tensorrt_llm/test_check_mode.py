"""check: modes that a version has not, GPUs that it does not know, fields that were mistaken before."""

from __future__ import annotations

import pytest

from enginebuild.engines.tensorrt_llm.check import check
from enginebuild.engines.tensorrt_llm.versions import check_version
from enginebuild.errors import Problem
from enginebuild_cache import Json
from parts.trtllm_values import triton, values, without


@pytest.mark.parametrize(
    ("gpu", "version", "message", "hint"),
    [
        (
            "V100-SXM2-16GB",
            "1.2.1",
            (
                "TensorRT-LLM 1.2.1 does not run on V100-SXM2-16GB (compute capability 7.0): "
                "Volta was dropped with 0.15.0"
            ),
            "0.14.0 was the last that does; or write gpu: A2",
        ),
        (
            "B200-SXM-180GB",
            "0.16.0",
            (
                "TensorRT-LLM 0.16.0 does not run on B200-SXM-180GB (compute capability 10.0): "
                "Blackwell needs CUDA 12.8, which came with 0.17.0"
            ),
            "0.17.0 was the first that does",
        ),
    ],
)
def test_a_gpu_that_a_version_does_not_know(gpu: str, version: str, message: str, hint: str) -> None:
    expected = Problem(("gpu",), message, hint)
    quantization: Json = {"method": "mxfp4", "kv_cache_dtype": "nvfp4"}
    assert check(values({"version": version}, quantization=quantization, gpu=gpu)) == [expected]


def test_bfloat16_on_an_old_gpu() -> None:
    expected = Problem(
        ("dtype",),
        "dtype bfloat16 does not run on T4 (compute capability 7.5): it needs compute capability 8.0 or more",
        "write float16",
    )
    assert check(triton("0.14.0", "24.10", gpu="T4", dtype="bfloat16")) == [expected]
    assert check(triton("0.14.0", "24.10", gpu="T4", dtype="float16")) == []
    assert check(values(gpu="B200-SXM-180GB", dtype="bfloat16")) == []


def test_an_engine_needs_a_gpu() -> None:
    expected = Problem(
        ("gpu",),
        "mode engine needs the key 'gpu': an engine runs on the GPU alone that it is compiled for",
        "add gpu: H100-SXM-80GB, or another of the catalogue",
    )
    assert check(values(gpu=None)) == [expected]
    assert check(values({"build": None}, gpu=None)) == []


def test_a_gpu_that_was_mistaken_is_not_missed() -> None:
    recipe = values()
    del recipe["gpu"]
    assert check(recipe) == []


_OLD = (
    "TensorRT-LLM {} compiles no engines: 1.3.0rc20 was the last with trtllm-build",
    "write mode: pytorch without build, or version: 1.2.1",
)


@pytest.mark.parametrize("version", ["1.3.0rc21", "1.3.0rc22", "1.4.0rc1"])
def test_a_version_that_compiles_no_engines(version: str) -> None:
    message, hint = _OLD[0].format(version), _OLD[1]
    written = Problem(("engine", "mode"), message, hint)
    assert check(values({"version": version, "mode": "engine", "build": None}, gpu=None)) == [written]
    assert check(values({"version": version, "mode": "engine", "build": {"zzz": 1}})) == [written]
    by_build = Problem(("engine", "build"), message, hint, on_key=True)
    assert check(values({"version": version})) == [by_build]
    assert check(values({"version": version, "build": None})) == []


def test_a_version_without_mode_pytorch() -> None:
    expected = Problem(
        ("engine", "mode"),
        "TensorRT-LLM 0.21.0 is not built for in mode pytorch, which came with 1.0.0",
        "write mode: engine, or version: 1.2.1",
    )
    assert check(values({"version": "0.21.0", "mode": "pytorch", "build": None})) == [expected]


def test_build_options_that_nothing_reads() -> None:
    expected = Problem(
        ("engine", "build"),
        "engine.build is for trtllm-build, which mode pytorch does not run",
        "write mode: engine, or remove build; sizes of the server go into engine.runtime",
        on_key=True,
    )
    assert check(values({"mode": "pytorch"})) == [expected]
    assert check(values({"mode": "pytorch", "build": None})) == []


def test_an_unknown_version_is_the_only_problem() -> None:
    assert check(values({"version": "1.2", "build": {"zzz": 1}}, gpu=None)) == [check_version("1.2")]


@pytest.mark.parametrize("gone", ["version", "mode", "build"])
def test_without_version_mode_or_build_nothing_can_be_said(gone: str) -> None:
    recipe = values({"build": {"zzz": 1}, "mode": "engine"}, gpu=None)
    assert check(recipe) != []
    assert check(without(recipe, gone)) == []

"""check: methods and KV caches against GPU, mode and version."""

from __future__ import annotations

import itertools

import pytest

from enginebuild.engines.tensorrt_llm.check import check
from enginebuild.engines.tensorrt_llm.quantizations import supported
from enginebuild.engines.tensorrt_llm.versions import Mode, default_mode, releases
from enginebuild.errors import Problem
from enginebuild.recipe.gpu import catalogue
from enginebuild.recipe.methods import METHODS
from enginebuild_cache import Json
from parts.trtllm_values import triton, values


def _quantized(
    method: str,
    kv_cache: str | None = None,
    gpu: str | None = "H100-SXM-80GB",
    *,
    mode: Mode = "engine",
    **engine: Json,
) -> list[Problem]:
    build: Json = {} if mode == "engine" else None
    quantization: Json = {"method": method, "kv_cache_dtype": kv_cache}
    return check(values({"build": build, **engine}, quantization=quantization, gpu=gpu))


@pytest.mark.parametrize(
    ("method", "mode", "gpu", "message", "hint"),
    [
        (
            "fp8",
            "engine",
            "A100-SXM-80GB",
            (
                "quantization fp8 does not run in mode engine on A100-SXM-80GB (compute capability 8.0): "
                "it needs compute capability 8.9, 9.0, 10.0, 10.3 or 12.0"
            ),
            "there are w8a8_int8, w8a16, w4a16, w4a16_awq, w4a16_gptq",
        ),
        (
            "w4a16_awq",
            "engine",
            "B200-SXM-180GB",
            (
                "quantization w4a16_awq does not run in mode engine on B200-SXM-180GB "
                "(compute capability 10.0): it needs compute capability 8.0, 8.6, 8.9, 9.0 or 12.0"
            ),
            "there are fp8, nvfp4",
        ),
        (
            "fp8_block_scales",
            "pytorch",
            "L4",
            (
                "quantization fp8_block_scales does not run in mode pytorch on L4 (compute capability 8.9): "
                "it needs compute capability 9.0, 10.0 or 10.3"
            ),
            "there are fp8, w4a16_awq, w4a16_gptq, w4a8_awq",
        ),
        (
            "w8a8_int8",
            "pytorch",
            None,
            (
                "quantization w8a8_int8 does not run in mode pytorch: "
                "TensorRT-LLM's PyTorch backend runs it on no GPU"
            ),
            (
                "there are fp8, fp8_per_channel_per_token, fp8_block_scales, w4a16_awq, w4a16_gptq, "
                "w4a8_awq, nvfp4, mxfp4"
            ),
        ),
        (
            "mxfp4",
            "engine",
            "B200-SXM-180GB",
            (
                "quantization mxfp4 does not run in mode engine on B200-SXM-180GB (compute capability 10.0): "
                "no script of TensorRT-LLM makes such a checkpoint for an engine"
            ),
            "there are fp8, nvfp4",
        ),
    ],
)
def test_a_method_that_a_gpu_does_not_run(
    method: str, mode: Mode, gpu: str | None, message: str, hint: str
) -> None:
    expected = Problem(("quantization", "method"), message, hint)
    assert _quantized(method, gpu=gpu, mode=mode) == [expected]


@pytest.mark.parametrize(
    ("kv_cache", "mode", "gpu", "message", "hint"),
    [
        (
            "int8",
            "engine",
            "B200-SXM-180GB",
            (
                "a KV cache of int8 does not run in mode engine on B200-SXM-180GB (compute capability 10.0): "
                "it needs compute capability 8.0, 8.6, 8.9, 9.0 or 12.0"
            ),
            "remove the line, or write fp8",
        ),
        (
            "nvfp4",
            "pytorch",
            "H100-SXM-80GB",
            (
                "a KV cache of nvfp4 does not run in mode pytorch on H100-SXM-80GB (compute capability 9.0): "
                "it needs compute capability 10.0 or 10.3"
            ),
            "remove the line, or write fp8",
        ),
        (
            "int8",
            "pytorch",
            None,
            (
                "a KV cache of int8 does not run in mode pytorch: "
                "TensorRT-LLM's PyTorch backend runs it on no GPU"
            ),
            "remove the line, or write fp8, nvfp4",
        ),
    ],
)
def test_a_kv_cache_that_a_gpu_does_not_run(
    kv_cache: str, mode: Mode, gpu: str | None, message: str, hint: str
) -> None:
    expected = Problem(("quantization", "kv_cache_dtype"), message, hint)
    assert _quantized("fp8", kv_cache, gpu, mode=mode) == [expected]


@pytest.mark.parametrize(
    ("method", "version", "gpu", "message"),
    [
        ("nvfp4", "1.1.0", "B200-SXM-180GB", "quantize.py of TensorRT-LLM 1.1.0 is not known to make nvfp4"),
        (
            "fp8_per_channel_per_token",
            "0.18.0",
            "H100-SXM-80GB",
            "quantize.py of TensorRT-LLM 0.18.0 is not known to make fp8_per_channel_per_token",
        ),
    ],
)
def test_a_method_that_came_later(method: str, version: str, gpu: str, message: str) -> None:
    hint = "TensorRT-LLM 1.2.0 to 1.3.0rc20 have one that does"
    expected = Problem(("quantization", "method"), message, hint)
    assert _quantized(method, gpu=gpu, version=version) == [expected]


def test_methods_that_every_version_makes() -> None:
    for version, known in releases().items():
        if "engine" not in known.modes or known.published is False or known.cuda is None:
            continue
        for method in ("fp8", "w8a8_int8", "w8a16", "w4a16", "w4a16_awq", "w4a16_gptq", "w4a8_awq"):
            quantization: Json = {"method": method, "kv_cache_dtype": None}
            tag = known.triton_tags[0]
            assert check(triton(version, tag, quantization=quantization)) == [], (version, method)


def test_a_kv_cache_of_the_yaml() -> None:
    path = ("engine", "runtime", "kv_cache_config", "dtype")

    def found(dtype: str, quantization: Json = "none", gpu: Json = "H100-SXM-80GB") -> list[Problem]:
        runtime: Json = {"kv_cache_config": {"dtype": dtype}}
        return check(values({"build": None, "runtime": runtime}, quantization=quantization, gpu=gpu))

    assert found("nvfp4") == [
        Problem(
            path,
            "a KV cache of nvfp4 does not run in mode pytorch on H100-SXM-80GB (compute capability 9.0): "
            "it needs compute capability 10.0 or 10.3",
            "remove the line, or write fp8",
        )
    ]
    assert found("nvfp4", gpu=None) == found("fp8") == found("auto") == []
    fp8: Json = {"method": "fp8", "kv_cache_dtype": "fp8"}
    assert found("nvfp4", fp8) == [
        Problem(
            path,
            "kv_cache_config.dtype is nvfp4, and quantization.kv_cache_dtype is fp8",
            "remove one of the two",
        )
    ]
    assert found("fp8", fp8) == found("auto", fp8) == []


_SOME = ("V100-SXM2-16GB", "T4", "A10", "L4", "H100-SXM-80GB", "B200-SXM-180GB", "RTX-5090")
_BUILDS: tuple[Json, ...] = ({}, None)


def test_what_is_let_through_is_supported() -> None:
    versions = ["0.16.0", "0.17.0", "1.0.0", "1.2.1", "1.3.0rc22"]
    passed = 0
    for version, gpu, method, kv_cache, build in itertools.product(
        versions, _SOME, METHODS, (None, "fp8", "int8", "nvfp4"), _BUILDS
    ):
        quantization: Json = {"method": method, "kv_cache_dtype": kv_cache}
        if not check(values({"version": version, "build": build}, quantization=quantization, gpu=gpu)):
            passed += 1
            mode, capability = default_mode(version, build is not None), catalogue()[gpu].compute_capability
            assert supported(method, kv_cache, mode, capability, version) is None
    assert passed > 100

"""Sound recipes for TensorRT-LLM and with quantization: what they read as, and what is chosen by default."""

from __future__ import annotations

from typing import Any

import pytest

from enginebuild.recipe import Builder, Calibration, Engine, Quantization, Recipe, parse

ENGINE = """\
version: 1
name: tiny
model: hf://org/tiny
gpu: H100-SXM-80GB
tensor_parallel_size: 2
quantization:
  method: w4a8_awq
  tool: quantize.py
  kv_cache_dtype: fp8
  group_size: 64
  calibration:
    dataset: hf://datasets/org/texts@v1
    num_samples: 128
    max_seq_length: 1024
    batch_size: 4
    seed: 0
engine:
  type: tensorrt_llm
  version: 1.2.1
  mode: engine
  build:
    max_batch_size: 64
    gemm_plugin: auto
  runtime: {free_gpu_memory_fraction: 0.9}
  server: triton
image: {base: "nvcr.io/nvidia/tritonserver:26.04-trtllm-python-py3"}
builder:
  image: nvcr.io/nvidia/tensorrt-llm/release:1.2.1
  gpus: ["0", "GPU-0a1b2c3d-0000-0000-0000-000000000000"]
  timeout: 4h
  memory: 200GB
  shm_size: 64GiB
  timing_cache: file:./model.cache
"""

SMALLEST = """\
version: 1
name: tiny
model: hf://org/tiny
gpu: H100-SXM-80GB
engine: {type: tensorrt_llm, version: 1.2.1}
image: {base: "nvcr.io/nvidia/tensorrt-llm/release:1.2.1"}
"""


def recipe(text: str) -> Recipe:
    return parse(text.encode(), "r.yaml")


def test_every_field() -> None:
    read = recipe(ENGINE)
    assert read.engine == Engine(
        "tensorrt_llm",
        "1.2.1",
        {},
        "engine",
        {"max_batch_size": 64, "gemm_plugin": "auto"},
        {"free_gpu_memory_fraction": 0.9},
        "triton",
    )
    assert read.quantization == Quantization(
        "w4a8_awq",
        "quantize.py",
        "fp8",
        64,
        None,
        Calibration("hf://datasets/org/texts", "v1", 128, 1024, 4, 0),
    )
    assert read.builder == Builder(
        "docker",
        "nvcr.io/nvidia/tensorrt-llm/release:1.2.1",
        None,
        ("0", "GPU-0a1b2c3d-0000-0000-0000-000000000000"),
        14400.0,
        200_000_000_000,
        64 * 2**30,
        "file:./model.cache",
    )


def test_defaults() -> None:
    read = recipe(SMALLEST)
    assert read.engine == Engine("tensorrt_llm", "1.2.1", {}, "pytorch", None, {}, "trtllm-serve")
    assert read.quantization is None
    assert read.builder == Builder("docker", None, None, 1, 43200.0, None, 16_000_000_000, None)


@pytest.mark.parametrize(
    ("engine", "mode"),
    [
        ("version: 1.2.1", "pytorch"),
        ("version: 1.2.1, build: {}", "engine"),
        ("version: 1.2.1, mode: engine", "engine"),
        ("version: 0.16.0", "engine"),
        ("version: 0.17.0.post1", "engine"),
        ("version: 1.3.0rc22", "pytorch"),
    ],
)
def test_a_mode_that_is_not_written_is_that_of_the_version(engine: str, mode: str) -> None:
    assert recipe(SMALLEST.replace("version: 1.2.1}", engine + "}")).engine.mode == mode


VLLM = "{type: vllm, version: 0.33.0}"


def quantized(written: str, engine: str = VLLM) -> Quantization | None:
    text = f"version: 1\nname: tiny\nmodel: hf://org/tiny\nengine: {engine}\nimage: {{base: scratch}}\n"
    return recipe(f"{text}quantization: {written}\n").quantization


@pytest.mark.parametrize("written", ["none", "{method: none}"])
def test_none_quantizes_nothing(written: str) -> None:
    assert quantized(written) is None


@pytest.mark.parametrize(
    ("engine", "method", "tool", "excluded"),
    [
        (VLLM, "w8a16", "llm-compressor", ("lm_head",)),
        ("{type: tensorrt_llm, version: 1.2.1, mode: pytorch}", "fp8_block_scales", "modelopt", ("lm_head",)),
        ("{type: tensorrt_llm, version: 1.2.1, mode: engine}", "w8a16", "quantize.py", None),
        ("{type: tensorrt_llm, version: 1.2.1, build: {}}", "w8a16", "quantize.py", None),
    ],
)
def test_the_tool_that_is_not_written_is_the_engines(
    engine: str, method: str, tool: str, excluded: tuple[str, ...] | None
) -> None:
    assert quantized(method, engine) == Quantization(method, tool, None, None, excluded, None)


def test_rowwise_fp8_needs_texts_for_an_engine_alone() -> None:
    engine = "{type: tensorrt_llm, version: 1.2.1, mode: engine}"
    written = f"{{method: fp8_per_channel_per_token, {CALIBRATED}}}"
    assert quantized(written, engine) == Quantization(
        "fp8_per_channel_per_token", "quantize.py", None, None, None, DEFAULTS
    )
    assert quantized("fp8_per_channel_per_token") == Quantization(
        "fp8_per_channel_per_token", "llm-compressor", None, None, ("lm_head",), None
    )


BY_DIGEST = f"registry.example.com/trtllm@sha256:{'0a' * 32}"
CALIBRATED = "calibration: {dataset: file:./texts}"
DEFAULTS = Calibration("file:./texts", None, 512, 512, 1, 1234)


@pytest.mark.parametrize(
    ("written", "changes"),
    [
        (f"{{method: fp8, {CALIBRATED}}}", {"method": "fp8"}),
        (f"{{method: fp8, tool: modelopt, {CALIBRATED}}}", {"method": "fp8", "tool": "modelopt"}),
        (f"{{method: w4a16_awq, {CALIBRATED}}}", {"method": "w4a16_awq", "group_size": 128}),
        (f"{{method: w4a16_gptq, group_size: 32, {CALIBRATED}}}", {"method": "w4a16_gptq", "group_size": 32}),
        (
            f"{{method: w8a16, kv_cache_dtype: fp8, {CALIBRATED}}}",
            {"method": "w8a16", "kv_cache_dtype": "fp8"},
        ),
        ("w4a16", {"method": "w4a16", "group_size": 128, "calibration": None}),
        ("mxfp4", {"method": "mxfp4", "calibration": None}),
        (
            '{method: fp8_block_scales, exclude_modules: ["*.mlp.gate", lm_head]}',
            {
                "method": "fp8_block_scales",
                "exclude_modules": ("*.mlp.gate", "lm_head"),
                "calibration": None,
            },
        ),
    ],
)
def test_quantizations_for_vllm(written: str, changes: dict[str, Any]) -> None:
    fields = {
        "tool": "llm-compressor",
        "kv_cache_dtype": None,
        "group_size": None,
        "exclude_modules": ("lm_head",),
        "calibration": DEFAULTS,
    }
    assert quantized(written) == Quantization(**{**fields, **changes})


@pytest.mark.parametrize(
    ("written", "dataset", "revision"),
    [
        ("hf://datasets/org/texts", "hf://datasets/org/texts", None),
        ("hf:datasets/org/texts@main", "hf://datasets/org/texts", "main"),
        ("file:./texts@1", "file:./texts@1", None),
        ("file:/texts", "file:/texts", None),
    ],
)
def test_datasets(written: str, dataset: str, revision: str | None) -> None:
    read = quantized(f'{{method: fp8, calibration: {{dataset: "{written}"}}}}')
    assert read is not None
    assert read.calibration is not None
    assert (read.calibration.dataset, read.calibration.revision) == (dataset, revision)


def test_gptq_for_an_engine_is_the_models_own() -> None:
    engine = "{type: tensorrt_llm, version: 1.2.1, mode: engine}"
    assert quantized("w4a16_gptq", engine) == Quantization("w4a16_gptq", "quantize.py", None, 128, None, None)


@pytest.mark.parametrize(
    ("written", "builder"),
    [
        ("{runner: local, environment: /opt/trtllm}", Builder("local", environment="/opt/trtllm")),
        ("{runner: local, environment: ../venv, gpus: 2}", Builder("local", environment="../venv", gpus=2)),
        ("{timeout: 90s}", Builder(timeout=90.0)),
        ("{timeout: 30m}", Builder(timeout=1800.0)),
        ("{memory: 512MB, shm_size: 1GiB}", Builder(memory=512_000_000, shm_size=2**30)),
        ("{memory: 2TB, shm_size: 3MiB}", Builder(memory=2 * 10**12, shm_size=3 * 2**20)),
        ("{memory: 1TiB}", Builder(memory=2**40)),
        ('{gpus: ["1"]}', Builder(gpus=("1",))),
        (f"{{image: {BY_DIGEST}}}", Builder(image=BY_DIGEST)),
    ],
)
def test_builders(written: str, builder: Builder) -> None:
    assert recipe(f"{SMALLEST}builder: {written}\n").builder == builder


def test_a_key_of_the_servers_yaml_may_be_null() -> None:
    read = recipe(SMALLEST.replace("1.2.1}", "1.2.1, runtime: {cuda_graph_config: null}}"))
    assert read.engine.runtime == {"cuda_graph_config": None}


@pytest.mark.parametrize("layout", ["model", "modelpack"])
def test_the_model_alone_is_for_mode_pytorch(layout: str) -> None:
    text = SMALLEST.replace('{base: "nvcr.io/nvidia/tensorrt-llm/release:1.2.1"}', f"{{layout: {layout}}}")
    assert (recipe(text).image.layout, recipe(text).engine.mode) == (layout, "pytorch")

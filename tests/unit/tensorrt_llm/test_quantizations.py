"""The table of methods, KV caches and GPUs: every cell, and a source for each."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from enginebuild.engines.tensorrt_llm import quantizations
from enginebuild.engines.tensorrt_llm.quantizations import methods, model_reason, supported
from enginebuild.engines.tensorrt_llm.versions import Mode, check_version
from enginebuild.recipe.gpu import catalogue
from enginebuild.recipe.methods import METHODS

_MODES: tuple[Mode, ...] = ("engine", "pytorch")
_GPU = {
    "8.0": "A100-SXM-80GB",
    "8.6": "A10",
    "8.9": "L4",
    "9.0": "H100-SXM-80GB",
    "10.0": "B200-SXM-180GB",
    "10.3": "B300-SXM-288GB",
    "12.0": "RTX-5090",
}

#: Method → what runs it on 8.0, 8.6, 8.9, 9.0, 10.0, 10.3, 12.0; with TensorRT-LLM 1.2.1.
_ENGINE = {
    "fp8": "..YYYYY",
    "fp8_per_channel_per_token": "...Y...",
    "fp8_block_scales": ".......",
    "w8a8_int8": "YYYY..Y",
    "w8a16": "YYYY..Y",
    "w4a16": "YYYY..Y",
    "w4a16_awq": "YYYY..Y",
    "w4a16_gptq": "YYYY..Y",
    "w4a8_awq": "..YY..Y",
    "nvfp4": "....YYY",
    "mxfp4": ".......",
}
_PYTORCH = {
    "fp8": "..YYYYY",
    "fp8_per_channel_per_token": "...Y...",
    "fp8_block_scales": "...YYY.",
    "w8a8_int8": ".......",
    "w8a16": ".......",
    "w4a16": ".......",
    "w4a16_awq": "YYYYYY.",
    "w4a16_gptq": "YYYYYY.",
    "w4a8_awq": "..YYYY.",
    "nvfp4": "....YYY",
    "mxfp4": "....YYY",
}
_KV = {
    "engine": {"fp8": "..YYYYY", "int8": "YYYY..Y", "nvfp4": "......."},
    "pytorch": {"fp8": "YYYYYYY", "int8": ".......", "nvfp4": "....YY."},
}


def _row(mode: Mode, method: str | None, kv_cache: str | None) -> str:
    return "".join("." if supported(method, kv_cache, mode, gpu, "1.2.1") else "Y" for gpu in _GPU)


def test_methods_by_gpu() -> None:
    assert {method: _row("engine", method, None) for method in methods("engine")} == _ENGINE
    assert {method: _row("pytorch", method, None) for method in methods("pytorch")} == _PYTORCH


def test_kv_caches_by_gpu() -> None:
    for mode in _MODES:
        assert {kv: _row(mode, None, kv) for kv in _KV[mode]} == _KV[mode]


def test_every_method_and_every_gpu_is_in_the_table() -> None:
    assert set(_ENGINE) == set(_PYTORCH) == set(METHODS)
    assert {gpu.compute_capability for gpu in catalogue().values()} == {"7.0", "7.5", *_GPU}


def test_the_file_has_a_source_for_each_cell() -> None:
    document = json.loads(Path(quantizations.__file__).with_name("quantizations.json").read_text())
    rows: list[dict[str, Any]] = [*document["gpus"].values(), *document["models"].values()]
    rows += [row for mode in _MODES for part in document[mode].values() for row in part.values()]
    named = [source for row in rows for source in row["source"]]
    assert all(row["source"] for row in rows)
    assert set(named) == set(document["sources"])
    for row in rows:
        for version in [*row.get("since", {}).values(), *filter(None, (row.get("from"), row.get("until")))]:
            assert check_version(version) is None


def test_nothing_asked_for_runs_everywhere_and_unknown_words_are_errors() -> None:
    assert supported(None, None, "engine", None) is None
    assert supported("fp8", "fp8", "pytorch", None) is None
    with pytest.raises(KeyError):
        supported("fp7", None, "engine", "9.0")
    with pytest.raises(KeyError):
        supported(None, "fp7", "engine", "9.0")


@pytest.mark.parametrize(
    ("method", "kv_cache", "mode", "gpu", "version", "reason"),
    [
        (
            "w4a16_awq",
            None,
            "engine",
            "10.0",
            "1.2.1",
            "it needs compute capability 8.0, 8.6, 8.9, 9.0 or 12.0",
        ),
        ("fp8_per_channel_per_token", None, "engine", "8.9", "1.2.1", "it needs compute capability 9.0"),
        ("nvfp4", None, "pytorch", "9.0", "1.3.0rc19", "it needs compute capability 10.0, 10.3 or 12.0"),
        ("nvfp4", None, "pytorch", "9.0", "1.3.0rc20", None),
        ("nvfp4", None, "pytorch", "8.9", "1.3.0rc22", "it needs compute capability 9.0, 10.0, 10.3 or 12.0"),
        (
            "mxfp4",
            None,
            "engine",
            None,
            "1.2.1",
            "no script of TensorRT-LLM makes such a checkpoint for an engine",
        ),
        ("w8a16", None, "pytorch", "9.0", "1.2.1", "TensorRT-LLM's PyTorch backend runs it on no GPU"),
        ("fp8", "nvfp4", "pytorch", "9.0", "1.2.1", "it needs compute capability 10.0 or 10.3"),
        (None, None, "engine", "7.0", "0.14.0", None),
        (None, None, "engine", "7.0", "0.15.0", "Volta was dropped with 0.15.0"),
        (None, None, "engine", "7.5", "1.1.0", None),
        (
            None,
            None,
            "engine",
            "7.5",
            "1.2.0",
            "the support matrix of 1.3.0rc3 has no GPU below compute capability 8.0",
        ),
        ("w8a16", None, "engine", "7.5", "1.1.0", "it needs compute capability 8.0, 8.6, 8.9, 9.0 or 12.0"),
        (None, None, "engine", "10.0", "0.16.0", "Blackwell needs CUDA 12.8, which came with 0.17.0"),
        (None, None, "engine", "10.3", "0.19.0", "Blackwell Ultra needs CUDA 12.9, which came with 0.20.0"),
        (None, None, "engine", "12.0", "0.17.0", None),
    ],
)
def test_a_reason(
    method: str | None, kv_cache: str | None, mode: Mode, gpu: str | None, version: str, reason: str | None
) -> None:
    assert supported(method, kv_cache, mode, gpu, version) == reason


def test_nvfp4_engines_are_of_few_models() -> None:
    assert model_reason("nvfp4", "engine", "Qwen2ForCausalLM") == (
        "engines with nvfp4 are made of LlamaForCausalLM or MixtralForCausalLM alone"
    )
    assert model_reason("nvfp4", "engine", "LlamaForCausalLM") is None
    assert model_reason("nvfp4", "pytorch", "Qwen2ForCausalLM") is None
    assert model_reason("fp8", "engine", "Qwen2ForCausalLM") is None

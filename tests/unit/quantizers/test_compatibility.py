"""The table of what vLLM can serve, and where."""

from __future__ import annotations

import pytest

from enginebuild.quantizers.compatibility import CPU, fallback, methods, refusal, sources
from enginebuild.quantizers.forms import FORMS, TOOLS, ToolName
from enginebuild.recipe.methods import SUPPORTED
from parts.quantized import EVERY

#: tool, method, capability → what is said, for vLLM 0.33.0.
REFUSED = {
    ("llm-compressor", "w8a8_int8", "10.0"): (
        "vLLM has no w8a8_int8 for compute capability 10.0 and above, and the GPU has 10.0; "
        "take fp8_per_channel_per_token"
    ),
    ("llm-compressor", "w8a8_int8", "12.0"): (
        "vLLM has no w8a8_int8 for compute capability 10.0 and above, and the GPU has 12.0; "
        "take fp8_per_channel_per_token"
    ),
    ("llm-compressor", "fp8", "7.0"): ("vLLM runs fp8 from compute capability 7.5 on, and the GPU has 7.0"),
    ("llm-compressor", "mxfp4", "7.5"): (
        "vLLM runs mxfp4 from compute capability 8.0 on, and the GPU has 7.5"
    ),
    ("modelopt", "fp8", "7.5"): "vLLM runs fp8 from compute capability 8.0 on, and the GPU has 7.5",
    ("modelopt", "w8a8_int8", "9.0"): (
        "vLLM refuses ModelOpt's INT8 when it reads the configuration; take w8a8_int8 by llm-compressor"
    ),
    ("modelopt", "w8a16", None): (
        "vLLM refuses ModelOpt's INT8 weights when it reads the configuration; take w8a16 by llm-compressor"
    ),
    ("modelopt", "w4a16", None): (
        "vLLM refuses ModelOpt's INT4 when it reads the configuration; take w4a16 by llm-compressor"
    ),
    ("modelopt", "w4a16_awq", None): (
        "vLLM refuses ModelOpt's INT4_AWQ when it reads the configuration; take w4a16_awq by llm-compressor"
    ),
    ("modelopt", "w4a8_awq", None): (
        "vLLM refuses ModelOpt's W4A8_AWQ when it reads the configuration; take w4a16_awq by llm-compressor"
    ),
    ("modelopt", "mxfp4", None): "vLLM reads no MXFP4 of ModelOpt's; take mxfp4 by llm-compressor",
    ("llm-compressor", "fp8", CPU): (
        "vLLM's CPU build has no FP8 with static scales: it dies while it warms up; "
        "take fp8_per_channel_per_token, w8a8_int8 or w4a16"
    ),
    ("llm-compressor", "fp8_block_scales", CPU): (
        "vLLM's CPU build has no kernel for blocks of FP8; take fp8_per_channel_per_token, w8a8_int8 or w4a16"
    ),
    ("llm-compressor", "w8a16", CPU): (
        "vLLM's CPU build has no kernel for weights of 8 bits alone; "
        "take fp8_per_channel_per_token, w8a8_int8 or w4a16"
    ),
    ("modelopt", "nvfp4", CPU): (
        "vLLM's CPU build has no kernel for NVFP4; take fp8_per_channel_per_token, w8a8_int8 or w4a16"
    ),
    ("llm-compressor", "mxfp4", CPU): (
        "vLLM's CPU build has no kernel for MXFP4; take fp8_per_channel_per_token, w8a8_int8 or w4a16"
    ),
}


@pytest.mark.parametrize("case", REFUSED, ids=str)
def test_what_cannot_run_is_refused_in_one_sentence(case: tuple[str, str, str | None]) -> None:
    tool, method, capability = case
    assert refusal(method, tool, "vllm", "0.33.0", capability) == REFUSED[case]


@pytest.mark.parametrize(
    ("tool", "method", "capability"),
    [
        ("llm-compressor", "w8a8_int8", "9.0"),
        ("llm-compressor", "w8a8_int8", CPU),
        ("llm-compressor", "fp8", "8.0"),
        ("llm-compressor", "fp8_per_channel_per_token", CPU),
        ("modelopt", "fp8_per_channel_per_token", CPU),
        ("llm-compressor", "w4a16_gptq", "12.0"),
        ("llm-compressor", "nvfp4", "9.0"),
        ("llm-compressor", "w8a8_int8", None),
        ("modelopt", "nvfp4", "10.0"),
    ],
)
def test_what_runs_is_not(tool: str, method: str, capability: str | None) -> None:
    assert refusal(method, tool, "vllm", "0.33.0", capability) is None


def test_versions_that_do_not_read_modelopt_yet() -> None:
    assert refusal("nvfp4", "modelopt", "vllm", "0.10.0.post1", "9.0") == (
        "vLLM 0.10.0.post1 does not read nvfp4 as modelopt makes it; 0.10.1 is the first that does"
    )
    assert refusal("nvfp4", "modelopt", "vllm", "0.10.1rc1", "9.0") is None


@pytest.mark.parametrize(
    ("dtype", "message"),
    [
        ("fp8", None),
        ("int8", "vLLM reads no scales of an INT8 KV cache from a checkpoint; take kv_cache_dtype: fp8"),
        ("nvfp4", "vLLM reads no scales of an NVFP4 KV cache from a checkpoint; take kv_cache_dtype: fp8"),
    ],
)
def test_kv_caches(dtype: str, message: str | None) -> None:
    assert refusal("w4a16", "llm-compressor", "vllm", "0.33.0", "9.0", dtype) == message


def test_a_gpu_that_unpacks_first_saves_memory_and_no_time() -> None:
    assert fallback("nvfp4", "modelopt", "vllm", "9.0") == (
        "nvfp4 on compute capability 9.0 saves memory and no time: weights are unpacked to 16 bits before "
        "they are multiplied; 10.0 and above compute in it"
    )
    assert fallback("fp8", "llm-compressor", "vllm", "8.9") is None
    assert fallback("w4a16", "llm-compressor", "vllm", "8.0") is None
    assert fallback("nvfp4", "modelopt", "vllm", None) is None
    assert fallback("nvfp4", "modelopt", "vllm", CPU) is None


def test_tensorrt_llm_is_asked_for_its_own_table() -> None:
    assert refusal("nvfp4", "modelopt", "tensorrt_llm", "1.2.1", "8.0") == (
        "nvfp4: it needs compute capability 10.0, 10.3 or 12.0"
    )
    assert refusal("nvfp4", "modelopt", "tensorrt_llm", "1.2.1", "10.0") is None
    assert fallback("nvfp4", "modelopt", "tensorrt_llm", "9.0") is None


@pytest.mark.parametrize(("tool", "method"), EVERY)
def test_every_form_has_a_row_with_sources(tool: ToolName, method: str) -> None:
    assert all(len(source) > 10 for source in sources(method, tool))
    assert sources(method, tool)


def test_rows_are_of_forms_that_there_are() -> None:
    for tool in TOOLS:
        assert set(methods(tool)) <= set(FORMS[tool])


def test_the_recipes_list_for_vllm_is_a_part_of_the_table() -> None:
    for tool, made in SUPPORTED["vllm"].items():
        assert set(made.methods) <= set(methods(tool))

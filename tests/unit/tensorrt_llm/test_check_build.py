"""check: engine.build, option by option, and what trtllm-build would raise after parsing."""

from __future__ import annotations

import pytest

from enginebuild.engines.tensorrt_llm import reserved
from enginebuild.engines.tensorrt_llm.check import check
from enginebuild.engines.tensorrt_llm.rules import model_problems
from enginebuild.engines.tensorrt_llm.table import options
from enginebuild.engines.tensorrt_llm.values import normalised
from enginebuild.errors import Problem
from enginebuild_cache import Json
from parts.trtllm_values import build, values

_BY_HAND = ("writes or prints what is no part of an engine", "give it to trtllm-build by hand")
_SET = ("is set by enginebuild", "remove the line")
_NOT_THERE = ("names what is not among the recipe's inputs, and would not be there", "remove the line")


def _top(field: str) -> tuple[str, str]:
    return ("does not belong here", f"write {field}: … at the recipe's top level")


_RESERVED: dict[str, tuple[str, str]] = {
    "build_config": (
        "makes trtllm-build ignore the options beside it without a message",
        "write its values as options of their own in engine.build",
    ),
    "checkpoint_dir": _SET,
    "output_dir": _SET,
    "model_config": (
        "makes an engine without weights, which no server loads",
        "the model's weights are a step of the build; remove the line",
    ),
    "model_cls_file": _NOT_THERE,
    "model_cls_name": _NOT_THERE,
    "lora_dir": (
        "names folders that are not among the recipe's inputs, and would not be there",
        "build with lora_plugin and max_lora_rank, and give adapters to the server with each request",
    ),
    "input_timing_cache": ("is set by enginebuild", "write builder: {timing_cache: file:…}"),
    "output_timing_cache": _SET,
    "workers": ("is set by enginebuild, from the builder's GPUs", "write builder: {gpus: …}"),
    "log_level": _SET,
    "dry_run": ("shows what a build would be and makes no engine", "remove the line"),
    "monitor_memory": _BY_HAND,
    "visualize_network": _BY_HAND,
    "strip_plan": (
        "makes an engine without weights, which no server loads before trtllm-refit",
        "remove the line; enginebuild stores equal weights once by itself",
    ),
    "dtype": _top("dtype"),
    "quantization": _top("quantization"),
    "model_dir": _top("model"),
    "tp_size": _top("tensor_parallel_size"),
    "tensor_parallel_size": _top("tensor_parallel_size"),
    "pp_size": _top("pipeline_parallel_size"),
    "pipeline_parallel_size": _top("pipeline_parallel_size"),
}


_MODULES = (
    "one of: attn_qkv, attn_q, attn_k, attn_v, attn_dense, mlp_h_to_4h, mlp_4h_to_h, mlp_gate, "
    "cross_attn_qkv, cross_attn_q, cross_attn_k, cross_attn_v, cross_attn_dense, moe_h_to_4h, moe_4h_to_h, "
    "moe_gate and 3 more"
)


def _problem(name: str, message: str, hint: str = "", *, on_key: bool = False) -> Problem:
    return Problem(("engine", "build", name), message, hint, on_key)


def test_a_recipe_without_a_mistake() -> None:
    assert check(values()) == []
    given: dict[str, Json] = {
        "max_batch_size": 8,
        "max_draft_len": 0,
        "kv_cache_type": "paged",
        "use_paged_context_fmha": True,
        "reduce_fusion": "disable",
        "gemm_plugin": "auto",
        "weight_streaming": False,
        "fast_build": True,
        "lora_target_modules": ["attn_q", "attn_v"],
        "speculative_decoding_mode": "lookahead_decoding",
    }
    assert build(given) == []


def test_every_reserved_option_is_answered() -> None:
    assert set(_RESERVED) == set(reserved.BUILD)


@pytest.mark.parametrize("name", _RESERVED)
@pytest.mark.parametrize("version", ["0.12.0", "1.0.0", "1.2.1"])
def test_a_reserved_option(name: str, version: str) -> None:
    message, hint = _RESERVED[name]
    assert build({name: "x"}, version) == [_problem(name, f"{name} {message}", hint, on_key=True)]


def test_a_reserved_option_in_another_spelling() -> None:
    expected = _problem("--Build-Config", f"build_config {_RESERVED['build_config'][0]}", on_key=True)
    (found,) = build({"--Build-Config": "x"})
    assert (found.path, found.message, found.on_key) == (expected.path, expected.message, True)


@pytest.mark.parametrize(
    ("name", "hint"),
    [
        ("max_batchsize", "did you mean max_batch_size?"),
        ("max-batch-size", "write max_batch_size"),
        ("--MAX-BATCH-SIZE", "write max_batch_size"),
        ("max_decoder_seq_len", "write max_seq_len"),
        ("max_multimodal_len", "write max_prompt_embedding_table_size"),
        (
            "max_output_len",
            "write max_seq_len: input and output together; 0.11.0 was the last known to have it",
        ),
        (
            "use_custom_all_reduce",
            "remove the line: the library chooses how GPUs add up; 0.11.0 was the last known to have it",
        ),
        (
            "multi_block_mode",
            "remove the line: the library decides while it serves; 0.11.0 was the last known to have it",
        ),
        (
            "context_fmha_fp32_acc",
            (
                "remove the line; bert_context_fmha_fp32_acc is for encoders; "
                "0.11.0 was the last known to have it"
            ),
        ),
        (
            "builder_opt",
            "remove the line: there is no such level to choose any more; TensorRT-LLM 0.12.0, 0.13.0 have it",
        ),
        (
            "enable_xqa",
            (
                "remove the line: the library chooses its attention kernels; "
                "TensorRT-LLM 0.12.0 to 0.14.0 have it"
            ),
        ),
        (
            "lookup_plugin",
            "remove the line: embeddings need no plugin any more; TensorRT-LLM 0.12.0 to 0.14.0 have it",
        ),
        (
            "builder_force_num_profiles",
            "remove the line, or write multiple_profiles: enable; TensorRT-LLM 0.12.0 to 0.14.0 have it",
        ),
        (
            "auto_parallel",
            (
                "write tensor_parallel_size and pipeline_parallel_size at the recipe's top level; "
                "TensorRT-LLM 0.12.0 to 0.17.0.post1 have it"
            ),
        ),
        (
            "gpus_per_node",
            (
                "remove the line: it was of use with auto_parallel alone; "
                "TensorRT-LLM 0.12.0 to 0.17.0.post1 have it"
            ),
        ),
        (
            "cluster_key",
            (
                "remove the line: it was of use with auto_parallel alone; "
                "TensorRT-LLM 0.12.0 to 0.17.0.post1 have it"
            ),
        ),
        ("zzz", "trtllm-build --help lists the options of a version"),
    ],
)
def test_an_option_that_the_stable_version_has_not(name: str, hint: str) -> None:
    message = f"trtllm-build of TensorRT-LLM 1.2.1 has no option {name!r}"
    assert build({name: 1}) == [_problem(name, message, hint, on_key=True)]


def test_every_option_that_is_gone_has_advice() -> None:
    now = options("1.2.1", "build")
    gone = {name for v in ("0.12.0", "0.14.0", "0.17.0") for name in options(v, "build")} - set(now)
    assert gone <= set(reserved.GONE)


@pytest.mark.parametrize(
    ("version", "name", "message", "hint"),
    [
        (
            "0.12.0",
            "kv_cache_type",
            "trtllm-build of TensorRT-LLM 0.12.0 has no option 'kv_cache_type'",
            "TensorRT-LLM 0.13.0 to 1.3.0rc20 have it",
        ),
        (
            "0.14.0",
            "user_buffer",
            "trtllm-build of TensorRT-LLM 0.14.0 has no option 'user_buffer'",
            "TensorRT-LLM 0.16.0 to 1.3.0rc20 have it",
        ),
        (
            "0.15.0",
            "user_buffer",
            "trtllm-build of TensorRT-LLM 0.15.0 is not known to have an option 'user_buffer'",
            "TensorRT-LLM 0.16.0 to 1.3.0rc20 have it",
        ),
        (
            "1.0.0",
            "auto_parallel",
            "trtllm-build of TensorRT-LLM 1.0.0 is not known to have an option 'auto_parallel'",
            (
                "write tensor_parallel_size and pipeline_parallel_size at the recipe's top level; "
                "TensorRT-LLM 0.12.0 to 0.17.0.post1 have it"
            ),
        ),
    ],
)
def test_an_option_of_other_versions(version: str, name: str, message: str, hint: str) -> None:
    assert build({name: "enable"}, version) == [_problem(name, message, hint, on_key=True)]


def test_an_option_that_still_parses_and_does_not_count() -> None:
    message = "paged_kv_cache is deprecated from TensorRT-LLM 0.13.0 on: kv_cache_type counts"
    expected = _problem("paged_kv_cache", message, "write kv_cache_type: paged, or continuous", on_key=True)
    assert build({"paged_kv_cache": "enable"}) == [expected]
    assert build({"paged_kv_cache": "enable"}, "0.12.0") == []


@pytest.mark.parametrize(
    ("name", "value", "message", "hint"),
    [
        ("max_batch_size", None, "max_batch_size is null", "leave the line out: the default is 2048"),
        ("max_seq_len", None, "max_seq_len is null", "leave the line out"),
        ("max_batch_size", "8", 'max_batch_size takes a whole number, not "8"', "without quotes: 8"),
        ("max_batch_size", 8.0, "max_batch_size takes a whole number, not 8.0", "without a fraction: 8"),
        ("max_batch_size", True, "max_batch_size takes a whole number, not true", ""),
        ("max_batch_size", [8], "max_batch_size takes a whole number, not [8]", ""),
        ("max_batch_size", 0, "max_batch_size must be at least 1, not 0", ""),
        ("max_draft_len", -1, "max_draft_len must be at least 0, not -1", ""),
        ("fast_build", "enable", 'fast_build takes true or false, not "enable"', "write true"),
        ("fast_build", "disable", 'fast_build takes true or false, not "disable"', "write false"),
        ("fast_build", "True", 'fast_build takes true or false, not "True"', "write true"),
        ("fast_build", 1, "fast_build takes true or false, not 1", ""),
        ("use_fused_mlp", "on", 'use_fused_mlp has no choice "on"', "write enable"),
        ("use_fused_mlp", "No", 'use_fused_mlp has no choice "No"', "write disable"),
        ("use_fused_mlp", "enabled", 'use_fused_mlp has no choice "enabled"', "did you mean enable?"),
        ("use_fused_mlp", 1, "use_fused_mlp has no choice 1", "one of: enable, disable"),
        ("gemm_plugin", False, "gemm_plugin has no choice false", "write disable"),
        (
            "gemm_plugin",
            True,
            "gemm_plugin has no choice true",
            "one of: auto, float16, float32, bfloat16, int32, fp8, nvfp4, disable",
        ),
        (
            "gemm_plugin",
            "bf16",
            'gemm_plugin has no choice "bf16"',
            "one of: auto, float16, float32, bfloat16, int32, fp8, nvfp4, disable",
        ),
        ("gemm_plugin", "bfloat", 'gemm_plugin has no choice "bfloat"', "did you mean bfloat16?"),
        ("kv_cache_type", "PAGED", 'kv_cache_type has no choice "PAGED"', "did you mean paged?"),
        ("lora_target_modules", [], "lora_target_modules is an empty list", "leave the line out"),
        ("lora_target_modules", "qkv", 'lora_target_modules has no choice "qkv"', _MODULES),
    ],
)
def test_a_wrong_value(name: str, value: Json, message: str, hint: str) -> None:
    assert build({name: value}) == [_problem(name, message, hint)]


def test_a_wrong_item_of_a_list() -> None:
    (found,) = build({"lora_target_modules": ["attn_q", "attn_vv"]})
    assert found == Problem(
        ("engine", "build", "lora_target_modules", 1),
        'lora_target_modules has no choice "attn_vv"',
        "did you mean attn_v?",
    )


def test_a_choice_of_other_versions() -> None:
    expected = _problem(
        "gemm_plugin", 'gemm_plugin has no choice "nvfp4"', "TensorRT-LLM 1.2.0 to 1.3.0rc20 have it"
    )
    assert build({"gemm_plugin": "nvfp4"}, "1.0.0") == [expected]
    assert build({"gemm_plugin": "nvfp4"}) == []
    mode = _problem(
        "speculative_decoding_mode",
        'speculative_decoding_mode has no choice "eagle"',
        "TensorRT-LLM 0.16.0 to 1.3.0rc20 have it",
    )
    assert build({"speculative_decoding_mode": "eagle"}, "0.14.0") == [mode]


def test_a_switch_that_became_an_option() -> None:
    expected = _problem("use_fused_mlp", 'use_fused_mlp takes true or false, not "enable"', "write true")
    assert build({"use_fused_mlp": "enable"}, "0.12.0") == [expected]
    for version in ("0.12.0", "0.13.0", "1.2.1"):
        assert build({"use_fused_mlp": True}, version) == []


def test_true_and_false_become_the_words_of_the_parser() -> None:
    old, new = options("0.12.0", "build"), options("1.2.1", "build")
    assert normalised(new["use_fused_mlp"], True) == "enable"
    assert normalised(new["use_fused_mlp"], False) == "disable"
    assert normalised(new["use_fused_mlp"], "disable") == "disable"
    assert normalised(old["use_fused_mlp"], True) is True
    assert normalised(new["lora_target_modules"], "attn_q") == ["attn_q"]
    assert normalised(new["lora_target_modules"], ["attn_q"]) == ["attn_q"]
    assert normalised(new["max_batch_size"], 8) == 8


@pytest.mark.parametrize("name", ["gather_context_logits", "gather_all_token_logits"])
def test_context_logits_of_a_draft(name: str) -> None:
    expected = _problem(
        name,
        f"{name} cannot be had with max_draft_len, which is 4",
        "remove one of the two",
        on_key=True,
    )
    assert build({name: True, "max_draft_len": 4}) == [expected]
    assert build({name: True, "max_draft_len": 0}) == []
    assert build({name: False, "max_draft_len": 4}) == []
    assert build({"gather_generation_logits": True, "max_draft_len": 4}) == []


@pytest.mark.parametrize("value", [True, "enable"])
def test_several_profiles_with_one_optimum(value: Json) -> None:
    expected = _problem(
        "opt_num_tokens",
        "opt_num_tokens cannot be given with multiple_profiles, which chooses several",
        "remove one of the two",
        on_key=True,
    )
    assert build({"multiple_profiles": value, "opt_num_tokens": 4}) == [expected]
    assert build({"multiple_profiles": value}) == []
    assert build({"multiple_profiles": "disable", "opt_num_tokens": 4}) == []


def test_streamingllm_is_gone_but_for_the_name() -> None:
    expected = _problem(
        "streamingllm",
        "streamingllm is not supported any more: trtllm-build of 1.3.0rc3 raises",
        "remove the line",
    )
    assert build({"streamingllm": "enable"}) == [expected]
    assert build({"streamingllm": True}, "0.18.0") == [expected]
    assert build({"streamingllm": True}, "0.17.0") == []
    assert build({"streamingllm": False}) == []


@pytest.mark.parametrize("mode", ["medusa", "eagle", "explicit_draft_tokens"])
def test_draft_weights_that_a_recipe_cannot_name(mode: str) -> None:
    expected = _problem(
        "speculative_decoding_mode",
        f"speculative_decoding_mode {mode} needs draft weights, for which a recipe has no place",
        "lookahead_decoding needs none, draft_tokens_external takes another engine's tokens",
    )
    assert build({"speculative_decoding_mode": mode}) == [expected]


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("gemm_swiglu_plugin", "fp8"),
        ("fp8_rowwise_gemm_plugin", "auto"),
        ("low_latency_gemm_plugin", "fp8"),
        ("low_latency_gemm_swiglu_plugin", "fp8"),
        ("bert_context_fmha_fp32_acc", True),
    ],
)
def test_what_compute_capability_10_0_does_not_have(name: str, value: Json) -> None:
    expected = _problem(
        name,
        f"{name} is not supported on compute capability 10.0: trtllm-build raises",
        "remove the line, or write disable",
    )
    assert build({name: value}, gpu="B200-SXM-180GB") == [expected]
    assert build({name: "disable"}, gpu="B200-SXM-180GB") == []
    assert build({name: value}, gpu="B300-SXM-288GB") == []
    assert build({name: value}, gpu="H100-SXM-80GB") == []


def test_pp_reduce_scatter_is_for_one_model() -> None:
    known = options("1.2.1", "build")
    expected = _problem(
        "pp_reduce_scatter",
        "pp_reduce_scatter is supported for Mixtral alone, and the model is LlamaForCausalLM",
        "remove the line",
    )
    assert list(model_problems(known, {"pp_reduce_scatter": True}, "LlamaForCausalLM")) == [expected]
    assert list(model_problems(known, {"pp_reduce_scatter": "enable"}, "MixtralForCausalLM")) == []
    assert list(model_problems(known, {"pp_reduce_scatter": "disable"}, "LlamaForCausalLM")) == []
    assert list(model_problems(known, {}, "LlamaForCausalLM")) == []
    assert list(model_problems(options("0.12.0", "build"), {"pp_reduce_scatter": True}, "x")) == []


def test_a_broken_value_is_not_compared() -> None:
    found = build({"gather_context_logits": "yes", "max_draft_len": 4})
    assert [problem.message for problem in found] == ['gather_context_logits takes true or false, not "yes"']


def test_all_mistakes_are_found_at_once_in_the_order_of_the_options() -> None:
    given: dict[str, Json] = {"zzz": 1, "max_batch_size": 0, "build_config": "x", "streamingllm": True}
    assert [problem.path[2] for problem in build(given)] == list(given)

"""check_arguments: values of a wrong type, choice or range, and those that cannot work in an image."""

from __future__ import annotations

import json
import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from enginebuild.engines.vllm import VERSIONS, VllmSettings, check_arguments, render
from enginebuild.engines.vllm.table import table
from enginebuild.engines.vllm.values import readable_int
from enginebuild.errors import Problem
from enginebuild_cache import Json

_NOT_THERE = "will not be there: the image holds one model and is offline"
_ABSOLUTE = "give the absolute path of a file that the base image or a mounted volume has"
_LORA_FORM = "name=/path, or a mapping with name and path"
_QUANTIZATIONS = (
    "one of: auto_awq, auto_gptq, awq, awq_marlin, compressed-tensors, deepseek_v4_fp8, experts_int8, "
    "fbgemm_fp8, fp8, fp8_per_block, fp8_per_channel, fp8_per_tensor, fp_quant, gpt_oss_mxfp4, gptq, "
    "gptq_marlin and 14 more"
)
_DASH = "vLLM takes a value that begins with - for an option"
_DASH_HINT = "give it when the container starts, as --option=value in one word"

GOOD: list[dict[str, Json]] = [
    {},
    {"max_model_len": 8192},
    {"max_model_len": "8k"},
    {"max_model_len": "8K"},
    {"max_model_len": "auto"},
    {"max_model_len": -1},
    {"max_num_batched_tokens": "25.6k"},
    {"gpu_memory_utilization": 0.9},
    {"gpu_memory_utilization": 1},
    {"enable_prefix_caching": False, "enforce_eager": True},
    {"kv_cache_dtype": "fp8_e4m3"},
    {"quantization": "fp8"},
    {"quantization": "bitsandbytes", "load_format": "bitsandbytes"},
    {"served_model_name": ["a", "b"]},
    {"served_model_name": "a"},
    {"compilation_config": {"mode": 3, "pass_config": {"fuse_allreduce_rms": None}}},
    {"speculative_config": {"method": "ngram", "num_speculative_tokens": 3}},
    {"speculative_config": {"model": "/drafter", "num_speculative_tokens": 3}},
    {"hf_overrides": {"rope_parameters": {"factor": -1.5}}},
    {"enable_lora": True, "lora_modules": ["sql=/loras/sql", {"name": "c", "path": "/loras/c"}]},
    {"enable_lora": True, "lora_modules": "sql=/loras/sql", "max_lora_rank": 64},
    {"allowed_origins": []},
    {"tool_call_parser": "hermes", "enable_auto_tool_choice": True},
    {"tool_call_parser": "mine", "tool_parser_plugin": "/plugins/mine.py"},
    {"chat_template": "{{ messages }}"},
    {"chat_template": "/templates/chat.jinja"},
    {"generation_config": "vllm"},
    {"tokenizer": "/tokenizer"},
    {"host": "::", "port": 9000},
    {"seed": -1},
    {"optimization_level": 0},
]


@pytest.mark.parametrize("args", GOOD, ids=str)
@pytest.mark.parametrize("version", VERSIONS)
def test_what_is_right_is_taken_and_can_be_written(version: str, args: dict[str, Json]) -> None:
    assert check_arguments(version, args) == []
    assert render(VllmSettings(version, served_model_name="m", fingerprint="f", args=args))


@pytest.mark.parametrize(
    ("name", "value", "message", "hint"),
    [
        (
            "max_model_len",
            "8kk",
            "max_model_len takes a whole number, text such as 8k (8000) or 8K (8192), or auto, not \"8kk\"",
            "",
        ),
        (
            "max_model_len",
            True,
            "max_model_len takes a whole number, text such as 8k (8000) or 8K (8192), or auto, not true",
            "",
        ),
        (
            "max_num_batched_tokens",
            "1.5K",
            'max_num_batched_tokens takes a whole number, or text such as 8k (8000) or 8K (8192), not "1.5K"',
            "a fraction goes with k, m, g and t (powers of 1000): 1.5k",
        ),
        ("max_num_seqs", "16", 'max_num_seqs takes a whole number, not "16"', "without quotes: 16"),
        ("max_num_seqs", 16.0, "max_num_seqs takes a whole number, not 16.0", "without a fraction: 16"),
        ("max_num_seqs", 16.5, "max_num_seqs takes a whole number, not 16.5", ""),
        ("max_num_seqs", 0, "max_num_seqs must be at least 1, not 0", ""),
        ("block_size", 0, "block_size must be more than 0, not 0", ""),
        ("gpu_memory_utilization", 1.5, "gpu_memory_utilization must be at most 1, not 1.5", ""),
        ("gpu_memory_utilization", 90, "gpu_memory_utilization must be at most 1, not 90", ""),
        ("video_pruning_rate", 1.0, "video_pruning_rate must be less than 1, not 1.0", ""),
        (
            "gpu_memory_utilization",
            "0.9",
            'gpu_memory_utilization takes a number, not "0.9"',
            "without quotes: 0.9",
        ),
        (
            "gpu_memory_utilization",
            -0.5,
            "gpu_memory_utilization is -0.5; vLLM cannot read a negative fraction",
            "give zero or more",
        ),
        ("kv_cache_metrics_sample", math.nan, "kv_cache_metrics_sample is no finite number",
         "vLLM reads neither infinities nor NaN here"),
        ("enforce_eager", "true", 'enforce_eager takes true or false, not "true"', "without quotes: true"),
        ("enforce_eager", 1, "enforce_eager takes true or false, not 1", ""),
        ("enforce_eager", "yes", 'enforce_eager takes true or false, not "yes"', ""),
        ("served_model_name", 7, "served_model_name takes a list of text, not 7", 'in quotes: "7"'),
        ("tokenizer_mode", 7, "tokenizer_mode takes text, not 7", 'in quotes: "7"'),
        ("cudagraph_capture_sizes", {"a": 1},
         'cudagraph_capture_sizes takes a list of whole numbers, not {"a": 1}', ""),
        ("compilation_config", 3, "compilation_config takes a mapping, not 3", ""),
        (
            "compilation_config",
            '{"mode": 3}',
            'compilation_config takes a mapping, not "{\\"mode\\": 3}"',
            "write it as YAML, not as JSON in quotes",
        ),
        ("allowed_origins", "*", 'allowed_origins takes a list of text, not "*"',
         "write it as YAML, not as JSON in quotes"),
        ("allowed_origins", [1], "allowed_origins takes a list of text, not [1]", ""),
        ("kv_cache_dtype", "fp8_e4m", 'kv_cache_dtype has no "fp8_e4m"', "did you mean fp8_e4m3?"),
        (
            "kv_cache_dtype",
            "float8",
            'kv_cache_dtype has no "float8"',
            "did you mean float16?",
        ),
        ("optimization_level", 4, "optimization_level has no choice 4", "one of: 0, 1, 2, 3"),
        (
            "max_lora_rank",
            24,
            "max_lora_rank has no choice 24",
            "one of: 1, 8, 16, 32, 64, 128, 256, 320, 512",
        ),
        ("runner", "generation", 'runner has no choice "generation"', "did you mean generate?"),
        ("runner", "chat", 'runner has no choice "chat"', "one of: auto, draft, generate, pooling"),
        (
            "quantization",
            "nope",
            'quantization has no "nope"',
            _QUANTIZATIONS,
        ),
        ("quantization", "FP8", 'quantization has no "FP8"', "did you mean fp8?"),
        ("load_format", "safetensor", 'load_format has no "safetensor"', "did you mean safetensors?"),
        ("load_format", "dummy", "load_format dummy serves random weights",
         "remove the line: auto loads the model"),
        ("tool_call_parser", "hermez", 'tool_call_parser has no "hermez"', "did you mean hermes?"),
        ("reasoning_parser", "deepseek-r1", 'reasoning_parser has no "deepseek-r1"',
         "did you mean deepseek_r1?"),
        ("seed", None, "seed is null", "leave the line out: vLLM's own value is 0"),
        ("quantization", None, "quantization is null", "leave the line out"),
        ("quantization", "None", "quantization is text that vLLM takes for null", "leave the line out"),
        ("quantization", "", "quantization is empty text", "leave the line out"),
        ("served_model_name", [], "served_model_name is an empty list, which vLLM ignores",
         "leave the line out"),
        ("tokenizer", "org/name", f'tokenizer "org/name" {_NOT_THERE}', _ABSOLUTE),
        ("chat_template", "chat.jinja", f'chat_template "chat.jinja" {_NOT_THERE}', _ABSOLUTE),
        (
            "generation_config",
            "mine",
            f'generation_config "mine" {_NOT_THERE}',
            f"auto (the model's own), vllm (none), or {_ABSOLUTE}",
        ),
        ("response_role", "-x", f'response_role is "-x"; {_DASH}', _DASH_HINT),
        ("reasoning_parser", "-x", f'reasoning_parser is "-x"; {_DASH}', _DASH_HINT),
        (
            "host",
            "127.0.0.1",
            "host \"127.0.0.1\" would shut the container's own port to the outside",
            "remove the line (0.0.0.0), and limit who reaches it with docker run -p",
        ),
        ("port", 0, "port must be from 1 to 65535, not 0", ""),
        ("port", 65536, "port must be from 1 to 65535, not 65536", ""),
        ("port", "8000", 'port takes a whole number, not "8000"', "without quotes: 8000"),
        ("response_role", "\ud800", "response_role is text with half a surrogate pair",
         "write the character itself"),
        ("lora_modules", [], "lora_modules is empty", "leave the line out"),
        ("lora_modules", None, "lora_modules is empty", "leave the line out"),
        ("lora_modules", "b", 'lora_modules takes name=/path or a mapping with name and path, not "b"', ""),
        (
            "sse_keep_alive_interval",
            -5,
            "sse_keep_alive_interval must be at least 0, not -5",
            "0 sends no keep-alive comments",
        ),
    ],
)  # fmt: skip
def test_a_wrong_value(name: str, value: Json, message: str, hint: str) -> None:
    assert check_arguments("0.33.0", {name: value, "enable_lora": True}) == [
        Problem(("engine", "args", name), message, hint)
    ]


@pytest.mark.parametrize(
    ("args", "path", "message", "hint"),
    [
        (
            {"served_model_name": ["a", 7]},
            ("served_model_name", 1),
            "served_model_name takes a list of text, not 7",
            'in quotes: "7"',
        ),
        (
            {"hf_overrides": {"rope": [1.0, math.inf]}},
            ("hf_overrides", "rope", 1),
            "hf_overrides.rope[1] is no finite number",
            "vLLM reads neither infinities nor NaN here",
        ),
        (
            {"speculative_config": {"model": "org/drafter"}},
            ("speculative_config", "model"),
            f'speculative_config.model "org/drafter" {_NOT_THERE}',
            _ABSOLUTE,
        ),
        (
            {"lora_modules": ["a=/a", "b=relative"]},
            ("lora_modules", 1),
            f'lora_modules path "relative" {_NOT_THERE}',
            _ABSOLUTE,
        ),
        (
            {"lora_modules": ["a=/a,b=/b"]},
            ("lora_modules", 0),
            'lora_modules takes name=/path or a mapping with name and path, not "a=/a,b=/b"',
            "",
        ),
        (
            {"lora_modules": [{"name": "a", "path": "org/lora"}]},
            ("lora_modules", 0, "path"),
            f'lora_modules path "org/lora" {_NOT_THERE}',
            _ABSOLUTE,
        ),
        (
            {"lora_modules": [{"name": 7, "path": "/a"}]},
            ("lora_modules", 0, "name"),
            "a LoRA module's name is text, not 7",
            "",
        ),
        ({"lora_modules": [{"name": "a"}]}, ("lora_modules", 0), "a LoRA module needs a path", _LORA_FORM),
    ],
)
def test_a_wrong_value_within_a_value(
    args: dict[str, Json], path: tuple[str | int, ...], message: str, hint: str
) -> None:
    problems = check_arguments("0.33.0", {**args, "enable_lora": True})
    assert problems == [Problem(("engine", "args", *path), message, hint)]


@pytest.mark.parametrize(
    ("args", "path", "message", "hint"),
    [
        (
            {"compilation_config": {"custom_op": ["all"]}},
            ("compilation_config", "custom_op"),
            "compilation_config has no key 'custom_op'",
            "did you mean custom_ops?",
        ),
        (
            {"quantization_config": {"zzz": 1}},
            ("quantization_config", "zzz"),
            "quantization_config has no key 'zzz'",
            "one of: ignore, linear, moe, targets",
        ),
        (
            {"lora_modules": [{"name": "a", "path": "/a", "base": "b"}], "enable_lora": True},
            ("lora_modules", 0, "base"),
            "a LoRA module has no 'base'",
            "one of: name, path, base_model_name",
        ),
        (
            {"enable_auto_tool_choice": True},
            ("enable_auto_tool_choice",),
            "enable_auto_tool_choice needs tool_call_parser",
            "add tool_call_parser: <parser>",
        ),
        (
            {"enable_log_outputs": True},
            ("enable_log_outputs",),
            "enable_log_outputs needs enable_log_requests",
            "add enable_log_requests: true",
        ),
        (
            {"lora_modules": ["a=/a"]},
            ("lora_modules",),
            "lora_modules needs enable_lora",
            "add enable_lora: true",
        ),
        (
            {"enable_per_request_metrics": True, "disable_log_stats": True},
            ("enable_per_request_metrics",),
            "enable_per_request_metrics needs the statistics that disable_log_stats turns off",
            "remove one of the two",
        ),
    ],
)
def test_what_is_pointed_at_by_its_key(
    args: dict[str, Json], path: tuple[str | int, ...], message: str, hint: str
) -> None:
    assert check_arguments("0.33.0", args) == [Problem(("engine", "args", *path), message, hint, on_key=True)]


def test_a_long_value_is_shortened() -> None:
    (problem,) = check_arguments("0.33.0", {"max_num_seqs": "9" * 200})
    assert problem.message == f'max_num_seqs takes a whole number, not "{"9" * 59}…'


@pytest.mark.parametrize(
    ("text", "number"),
    [("8192", 8192), ("8k", 8000), ("8K", 8192), ("25.6k", 25600), ("1m", 10**6), ("1G", 2**30), ("-1", -1),
     ("1.5K", None), ("8kk", None), ("", None), ("k", None), ("1e3", None)],
)  # fmt: skip
def test_numbers_for_people(text: str, number: int | None) -> None:
    assert readable_int(text) == number


json_values: st.SearchStrategy[Json] = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=8), inner, max_size=3),
    max_leaves=6,
)


@given(name=st.sampled_from(sorted(table("0.33.0").arguments)) | st.text(max_size=20), value=json_values)
def test_anything_is_either_refused_or_can_be_written(name: str, value: Json) -> None:
    problems = check_arguments("0.33.0", {name: value})
    for problem in problems:
        assert problem.path[:2] == ("engine", "args")
        assert problem.message
        json.dumps(problem.path)
    if not problems:
        assert render(VllmSettings("0.33.0", served_model_name="m", fingerprint="f", args={name: value}))

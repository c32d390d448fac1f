"""The command line of trtllm-build, and what is read back from an engine's config.json."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import PurePosixPath
from typing import Any

import pytest

from enginebuild.engines.tensorrt_llm.compile import (
    Rewrite,
    build_options,
    compile_command,
    resolved,
    rewritten,
    workers,
)
from enginebuild.engines.tensorrt_llm.settings import Settings
from enginebuild.engines.tensorrt_llm.table import options
from enginebuild.engines.tensorrt_llm.versions import releases
from enginebuild.errors import StepError
from parts.trtllm_parsers_standin import parse, real

CHECKPOINT, OUTPUT = PurePosixPath("/enginebuild/input/checkpoint"), PurePosixPath("/enginebuild/output")
CACHE = PurePosixPath("/enginebuild/output/model.cache")
WITH_ENGINES = [version for version, known in releases().items() if "engine" in known.modes]


def settings(version: str = "1.2.1", tensor: int = 1, **build: Any) -> Settings:
    return Settings(version, "engine", tensor_parallel_size=tensor, build=build)


def command(wanted: Settings, cache: PurePosixPath | None = None, gpus: int = 1) -> tuple[str, ...]:
    return compile_command(wanted, CHECKPOINT, OUTPUT, cache, CACHE, gpus)


def test_the_whole_command() -> None:
    assert " ".join(command(settings(max_batch_size=8, gemm_plugin="auto", use_fp8_context_fmha=False))) == (
        "trtllm-build --checkpoint_dir /enginebuild/input/checkpoint --output_dir /enginebuild/output "
        "--output_timing_cache /enginebuild/output/model.cache --workers 1 --log_level info "
        "--max_batch_size 8 --max_input_len 1024 --max_beam_width 1 --max_num_tokens 8192 "
        "--max_encoder_input_len 1024 --max_prompt_embedding_table_size 0 "
        "--profiling_verbosity layer_names_only --lora_ckpt_source hf --max_lora_rank 64 --max_draft_len 0 "
        "--bert_attention_plugin auto --gpt_attention_plugin auto --gemm_plugin auto "
        "--gemm_swiglu_plugin disable --fp8_rowwise_gemm_plugin disable --nccl_plugin auto "
        "--lora_plugin disable --dora_plugin disable --moe_plugin auto --mamba_conv1d_plugin auto "
        "--low_latency_gemm_plugin disable --low_latency_gemm_swiglu_plugin disable "
        "--gemm_allreduce_plugin disable --context_fmha enable --bert_context_fmha_fp32_acc disable "
        "--remove_input_padding enable --norm_quant_fusion disable --reduce_fusion disable "
        "--user_buffer disable --tokens_per_block 32 --use_paged_context_fmha enable "
        "--use_fp8_context_fmha disable --fuse_fp4_quant disable --multiple_profiles disable "
        "--paged_state enable --streamingllm disable --use_fused_mlp enable --pp_reduce_scatter disable"
    )


@pytest.mark.parametrize("version", WITH_ENGINES)
def test_what_is_written_out_is_what_the_version_would_do_by_itself(version: str) -> None:
    words = command(settings(version))[1:]
    table = options(version, "build").values()
    expected = {each.name: False if each.nargs == "none" else each.default for each in table}
    assert _others(parse(version, "build", words)) == _others(expected)
    if len(releases()[version].tables) == 1:
        for told, untold in zip(real(version, "build", words), real(version, "build", ()), strict=True):
            assert _others(told) == _others(untold)


def _others(values: Mapping[str, Any]) -> dict[str, Any]:
    ours = ("checkpoint_dir", "output_dir", "output_timing_cache", "workers", "log_level")
    return {name: value for name, value in values.items() if name not in ours}


def test_the_default_of_0_13_is_not_that_of_0_14() -> None:
    assert build_options(settings("0.13.0"))["max_batch_size"] == 256
    assert build_options(settings("0.14.0"))["max_batch_size"] == 2048


def test_equal_settings_in_another_order_give_equal_words() -> None:
    one = settings(max_batch_size=8, max_seq_len=64)
    assert command(one) == command(settings(max_seq_len=64, max_batch_size=8))


def test_a_switch_stands_alone_or_not_at_all() -> None:
    assert "--fast_build" in command(settings(fast_build=True))
    assert "--fast_build" not in command(settings(fast_build=False))
    assert parse("1.2.1", "build", command(settings(fast_build=True))[1:])["fast_build"] is True
    old = command(settings("0.12.0", use_fused_mlp=True))
    assert parse("0.12.0", "build", old[1:])["use_fused_mlp"] is True


def test_true_and_false_are_enable_and_disable_where_a_value_is_wanted() -> None:
    words = command(settings(use_paged_context_fmha=True, paged_state=False))
    assert words[words.index("--use_paged_context_fmha") + 1] == "enable"
    assert words[words.index("--paged_state") + 1] == "disable"


def test_many_words_of_one_option() -> None:
    several = command(settings(lora_target_modules=["attn_q", "attn_v"]))
    assert parse("1.2.1", "build", several[1:])["lora_target_modules"] == ["attn_q", "attn_v"]
    single = command(settings(lora_target_modules="attn_q"))
    assert parse("1.2.1", "build", single[1:])["lora_target_modules"] == ["attn_q"]


@pytest.mark.parametrize("name", ["build_config", "checkpoint_dir", "workers", "max_output_len"])
def test_reserved_and_unknown_options_never_get_here(name: str) -> None:
    with pytest.raises(KeyError) as caught:
        build_options(Settings("1.2.1", "engine", build={name: "x"}))
    assert caught.value.args == (name,)


def test_a_timing_cache_is_read_from_one_place_and_written_to_another() -> None:
    words = command(settings(), PurePosixPath("/enginebuild/input/timing_cache/model.cache"))
    assert words[5:9] == (
        "--input_timing_cache",
        "/enginebuild/input/timing_cache/model.cache",
        "--output_timing_cache",
        "/enginebuild/output/model.cache",
    )


def test_a_relative_timing_cache_would_land_anywhere() -> None:
    with pytest.raises(ValueError) as caught:
        compile_command(settings(), CHECKPOINT, OUTPUT, None, PurePosixPath("model.cache"), 1)
    assert str(caught.value) == "output_timing_cache is not absolute: model.cache"


@pytest.mark.parametrize(
    ("tensor", "gpus", "number"), [(1, 1, 1), (4, 1, 1), (4, 2, 2), (2, 8, 2), (2, 0, 1)]
)
def test_workers_are_no_more_than_ranks_or_gpus(tensor: int, gpus: int, number: int) -> None:
    assert workers(settings(tensor=tensor), gpus) == number


def config(**build: Any) -> bytes:
    plugins = {
        "dtype": "bfloat16",
        "gemm_plugin": None,
        "context_fmha": True,
        "use_paged_context_fmha": False,
    }
    full = {
        "max_batch_size": 8, "max_seq_len": 131072, "kv_cache_type": "PAGED", "speculative_decoding_mode": 1,
        "gather_context_logits": False, "plugin_config": plugins,
        "lora_config": {"max_lora_rank": 64, "lora_target_modules": []}, **build,
    }  # fmt: skip
    return json.dumps({"version": "1.2.1", "build_config": full}).encode()


def test_what_the_library_made_of_it_is_read_back() -> None:
    assert resolved(config()) == {
        "max_batch_size": 8,
        "max_seq_len": 131072,
        "kv_cache_type": "paged",
        "speculative_decoding_mode": None,
        "gather_context_logits": False,
        "max_lora_rank": 64,
        "lora_target_modules": [],
        "gemm_plugin": None,
        "context_fmha": True,
        "use_paged_context_fmha": False,
    }
    assert resolved(config(kv_cache_type="KVCacheType.CONTINUOUS"))["kv_cache_type"] == "continuous"
    assert resolved(config(speculative_decoding_mode=8))["speculative_decoding_mode"] == "lookahead_decoding"


@pytest.mark.parametrize("text", [b"", b"[]", b"{}", b'{"build_config": 1}'])
def test_what_is_no_engines_config_is_said(text: bytes) -> None:
    with pytest.raises(StepError) as caught:
        resolved(text)
    assert caught.value.message == "the engine's config.json has no build_config"
    assert caught.value.hint == (
        "trtllm-build writes one (0.12 and later); the builder's image may hold another program"
    )


def test_what_was_set_otherwise_is_listed() -> None:
    asked = build_options(settings(max_batch_size=8, gemm_plugin="disable", kv_cache_type="paged"))
    assert rewritten(asked, resolved(config())) == (Rewrite("use_paged_context_fmha", "enable", False),)
    assert str(Rewrite("use_paged_context_fmha", "enable", False)) == (
        "use_paged_context_fmha: enable became false"
    )
    assert rewritten({"max_num_tokens": 8192}, {"max_num_tokens": 4096}) == (
        Rewrite("max_num_tokens", 8192, 4096),
    )


@pytest.mark.parametrize(
    ("asked", "became"),
    [
        ({"gpt_attention_plugin": "auto"}, {"gpt_attention_plugin": "bfloat16"}),
        ({"lora_plugin": "disable"}, {"lora_plugin": None}),
        ({"context_fmha": "enable"}, {"context_fmha": True}),
        ({"fast_build": True}, {}),
        ({"paged_kv_cache": "enable"}, {"kv_cache_type": "paged"}),
        ({"paged_kv_cache": "disable"}, {"paged_kv_cache": False}),
        ({"gemm_plugin": "fp8"}, {"gemm_plugin": "FP8"}),
        ({"gather_all_token_logits": True}, {"gather_context_logits": True}),
    ],
)
def test_what_only_looks_otherwise_is_not(asked: dict[str, Any], became: dict[str, Any]) -> None:
    assert rewritten(asked, became) == ()


@pytest.mark.parametrize(
    ("asked", "became"),
    [
        ({"paged_kv_cache": "enable"}, {"kv_cache_type": "continuous"}),
        ({"gather_all_token_logits": True}, {"gather_context_logits": False}),
        ({"gemm_plugin": "disable"}, {"gemm_plugin": "nvfp4"}),
        ({"user_buffer": "enable"}, {"user_buffer": False}),
        ({"max_input_len": 1}, {"max_input_len": True}),
    ],
)
def test_and_what_is_otherwise_is(asked: dict[str, Any], became: dict[str, Any]) -> None:
    assert [change.name for change in rewritten(asked, became)] == list(asked)

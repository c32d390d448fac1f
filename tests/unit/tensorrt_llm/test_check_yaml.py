"""check: engine.runtime in mode pytorch, keys of trtllm-serve's YAML on every level."""

from __future__ import annotations

import pytest

from enginebuild.engines.tensorrt_llm.check import check
from enginebuild.errors import Problem
from enginebuild_cache import Json
from parts.trtllm_values import serve, triton, yaml


def _at(*path: str | int) -> tuple[str | int, ...]:
    return ("engine", "runtime", *path)


def test_keys_of_the_yaml_without_a_mistake() -> None:
    given: dict[str, Json] = {
        "max_batch_size": 64,
        "max_num_tokens": None,
        "kv_cache_config": {"dtype": "fp8", "free_gpu_memory_fraction": 0.8, "max_attention_window": [512]},
        "cuda_graph_config": None,
        "moe_config": {"backend": "CUTLASS"},
        "speculative_config": {"decoding_type": "Eagle", "max_draft_len": 3, "speculative_model": "/draft"},
        "sparse_attention_config": {
            "algorithm": "skip_softmax",
            "threshold_scale_factor": {"prefill": 1, "decode": 0.5},
        },
        "lora_config": {"lora_dir": ["/adapters/a"]},
        "enable_attention_dp": True,
        "batch_wait_timeout_ms": 1,
        "env_overrides": {"A": "b"},
    }
    assert yaml(given) == []
    assert yaml(given, "1.3.0rc22", gpu="H200-SXM-141GB") == []
    assert check(triton("1.2.1", "26.07", {"build": None, "runtime": given})) == []


@pytest.mark.parametrize(
    ("given", "path", "message", "hint"),
    [
        (
            {"max_batchsize": 1},
            ("max_batchsize",),
            "trtllm-serve's YAML (of TensorRT-LLM 1.3.0rc3) has no key 'max_batchsize'",
            "did you mean max_batch_size?",
        ),
        (
            {"enable_block_reuse": True},
            ("enable_block_reuse",),
            "trtllm-serve's YAML (of TensorRT-LLM 1.3.0rc3) has no key 'enable_block_reuse'",
            "it belongs into kv_cache_config",
        ),
        (
            {"kv_cache_config": {"free_gpu_mem_fraction": 1}},
            ("kv_cache_config", "free_gpu_mem_fraction"),
            "kv_cache_config has no key 'free_gpu_mem_fraction'",
            "did you mean free_gpu_memory_fraction?",
        ),
        (
            {"cuda_graph_config": {"zzz": 1}},
            ("cuda_graph_config", "zzz"),
            "cuda_graph_config has no key 'zzz'",
            "one of: batch_sizes, enable_padding, max_batch_size",
        ),
        (
            {"speculative_config": {"decoding_type": "NGram", "eagle_choices": [[1]]}},
            ("speculative_config", "eagle_choices"),
            "speculative_config has no key 'eagle_choices'",
            (
                "one of: acceptance_length_threshold, acceptance_window, allow_advanced_sampling, "
                "draft_len_schedule, is_keep_all, is_public_pool, is_use_oldest, load_format, "
                "max_concurrency, max_draft_len, max_matching_ngram_size, "
                "max_total_draft_tokens, speculative_model"
            ),
        ),
    ],
)
def test_an_unknown_key(given: dict[str, Json], path: tuple[str | int, ...], message: str, hint: str) -> None:
    assert yaml(given) == [Problem(_at(*path), message, hint, on_key=True)]


@pytest.mark.parametrize(
    ("given", "path", "message", "hint"),
    [
        ({"max_batch_size": 0}, ("max_batch_size",), "max_batch_size must be at least 1, not 0", ""),
        (
            {"max_batch_size": "8"},
            ("max_batch_size",),
            'max_batch_size takes a whole number or null, not "8"',
            "without quotes: 8",
        ),
        (
            {"trust_remote_code": None},
            ("trust_remote_code",),
            "trust_remote_code takes true or false, not null",
            "",
        ),
        (
            {"kv_cache_config": {"free_gpu_memory_fraction": 90}},
            ("kv_cache_config", "free_gpu_memory_fraction"),
            "kv_cache_config.free_gpu_memory_fraction must be more than 0 and at most 1, not 90",
            "",
        ),
        (
            {"kv_cache_config": {"tokens_per_block": 0}},
            ("kv_cache_config", "tokens_per_block"),
            "kv_cache_config.tokens_per_block must be at least 1, not 0",
            "",
        ),
        (
            {"kv_cache_config": {"max_attention_window": 512}},
            ("kv_cache_config", "max_attention_window"),
            "kv_cache_config.max_attention_window takes a list of whole numbers or null, not 512",
            "",
        ),
        (
            {"kv_cache_config": {"dtype": "int8"}},
            ("kv_cache_config", "dtype"),
            "kv_cache_config.dtype is not known to be 'int8'",
            "one of: auto, fp8, nvfp4",
        ),
        (
            {"env_overrides": {"A": 1}},
            ("env_overrides",),
            'env_overrides takes a mapping of text or null, not {"A": 1}',
            "",
        ),
        (
            {"moe_config": {"backend": "cutlass"}},
            ("moe_config", "backend"),
            'moe_config.backend has no choice "cutlass"',
            "did you mean CUTLASS?",
        ),
        (
            {"moe_config": [1]},
            ("moe_config",),
            "moe_config takes a mapping, not [1]",
            "",
        ),
        (
            {"speculative_config": {"max_draft_len": 3}},
            ("speculative_config",),
            "speculative_config needs decoding_type",
            "one of: MTP, Medusa, Eagle, Lookahead, NGram, DraftTarget, SaveState, UserProvided, AUTO",
        ),
        (
            {"speculative_config": {"decoding_type": "eagle"}},
            ("speculative_config", "decoding_type"),
            'speculative_config has no decoding_type "eagle"',
            "did you mean Eagle?",
        ),
        (
            {"speculative_config": {"decoding_type": "UserProvided"}},
            ("speculative_config",),
            "speculative_config of this kind needs drafter, an object of a program",
            "choose another kind",
        ),
        (
            {
                "speculative_config": {
                    "decoding_type": "Eagle",
                    "eagle_choices": [1],
                }
            },
            ("speculative_config", "eagle_choices"),
            "speculative_config.eagle_choices takes a list of lists of whole numbers or null, not [1]",
            "",
        ),
        (
            {"sparse_attention_config": {}},
            ("sparse_attention_config",),
            "sparse_attention_config needs algorithm",
            "one of: rocket, dsa, skip_softmax",
        ),
        (
            {
                "scheduler_config": {
                    "dynamic_batch_config": {
                        "enable_batch_size_tuning": True,
                        "dynamic_batch_moving_average_window": 8,
                    }
                }
            },
            ("scheduler_config", "dynamic_batch_config"),
            "scheduler_config.dynamic_batch_config needs enable_max_num_tokens_tuning",
            "add enable_max_num_tokens_tuning: true",
        ),
        (
            {"load_format": "DUMMY"},
            ("load_format",),
            "load_format dummy serves random weights",
            "remove the line: auto loads the model",
        ),
        (
            {"speculative_config": {"decoding_type": "Eagle", "speculative_model": "org/draft"}},
            ("speculative_config", "speculative_model"),
            (
                'speculative_config.speculative_model "org/draft" will not be there: '
                "the image holds one model and is offline"
            ),
            "give the absolute path of a folder that the base image or a mounted volume has",
        ),
        (
            {"speculative_config": {"decoding_type": "Medusa", "num_medusa_heads": 4}},
            ("speculative_config", "decoding_type"),
            "speculative_config.decoding_type Medusa is for engines: the pytorch backend refuses it",
            "write Eagle, MTP, NGram or DraftTarget",
        ),
        (
            {"speculative_config": {"decoding_type": "Lookahead"}},
            ("speculative_config", "decoding_type"),
            "speculative_config.decoding_type Lookahead is for engines: the pytorch backend refuses it",
            "write Eagle, MTP, NGram or DraftTarget",
        ),
        (
            {"speculative_config": {"decoding_type": "Eagle"}},
            ("speculative_config",),
            "speculative_config of this kind needs speculative_model",
            "add it: give the absolute path of a folder that the base image or a mounted volume has",
        ),
        (
            {"lora_config": {"lora_dir": ["/a", "b"]}},
            ("lora_config", "lora_dir", 1),
            'lora_config.lora_dir "b" will not be there: the image holds one model and is offline',
            "give the absolute path of a folder that the base image or a mounted volume has",
        ),
        (
            {"env_overrides": {"API_KEY": "open sesame"}},
            ("env_overrides", "API_KEY"),
            "env_overrides.API_KEY holds a secret: in the image, anybody who can pull it could read it",
            "give it when the container starts",
        ),
    ],
)
def test_a_wrong_value_in_the_yaml(
    given: dict[str, Json], path: tuple[str | int, ...], message: str, hint: str
) -> None:
    assert yaml(given) == [Problem(_at(*path), message, hint)]


@pytest.mark.parametrize("name", ["mpi_session", "batched_logits_processor", "checkpoint_loader"])
def test_a_key_that_no_file_can_give(name: str) -> None:
    expected = Problem(
        _at(name), f"{name} is an object of a program, no value of a file", "remove the line", on_key=True
    )
    assert yaml({name: "x"}) == [expected]


_SPREAD = "the experts are spread over the GPUs that share a layer"


@pytest.mark.parametrize(
    ("runtime", "message"),
    [
        (
            {"moe_expert_parallel_size": 3},
            "moe_expert_parallel_size is 3, which does not make up tensor_parallel_size, 4",
        ),
        (
            {"moe_expert_parallel_size": 2, "moe_tensor_parallel_size": 1},
            (
                "moe_expert_parallel_size × moe_tensor_parallel_size is 2, "
                "which does not make up tensor_parallel_size, 4"
            ),
        ),
        (
            {"moe_tensor_parallel_size": 8},
            "moe_tensor_parallel_size is 8, which does not make up tensor_parallel_size, 4",
        ),
        (
            {"moe_expert_parallel_size": 4, "moe_cluster_parallel_size": 2},
            (
                "moe_expert_parallel_size × moe_cluster_parallel_size is 8, "
                "which does not make up tensor_parallel_size, 4"
            ),
        ),
    ],
)
def test_experts_that_do_not_fit(runtime: dict[str, Json], message: str) -> None:
    expected = Problem(_at(next(iter(runtime))), message, _SPREAD)
    assert yaml(runtime, tensor_parallel_size=4) == [expected]


@pytest.mark.parametrize(
    "runtime",
    [
        {"moe_expert_parallel_size": 4},
        {"moe_expert_parallel_size": 2, "moe_tensor_parallel_size": 2},
        {"moe_expert_parallel_size": None},
    ],
)
def test_experts_that_fit(runtime: dict[str, Json]) -> None:
    assert yaml(runtime, tensor_parallel_size=4) == []


def test_experts_of_an_engine() -> None:
    message = "moe_expert_parallel_size is 2, which does not make up tensor_parallel_size, 1"
    expected = Problem(_at("moe_expert_parallel_size"), message, _SPREAD)
    assert serve({"moe_expert_parallel_size": 2}) == [expected]
    assert serve({"moe_expert_parallel_size": 2}, tensor_parallel_size=2) == []


def test_layers_for_every_group_of_gpus() -> None:
    expected = Problem(
        _at("pp_partition"),
        "pp_partition has 3 parts, and pipeline_parallel_size is 2",
        "give the layers of each group of GPUs",
    )
    assert yaml({"pp_partition": [1, 2, 3]}, pipeline_parallel_size=2) == [expected]
    assert yaml({"pp_partition": [1, 2]}, pipeline_parallel_size=2) == []

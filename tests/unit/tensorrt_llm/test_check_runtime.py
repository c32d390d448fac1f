"""check: engine.runtime in mode engine, options of trtllm-serve and keys of Triton's templates."""

from __future__ import annotations

import pytest

from enginebuild.engines.tensorrt_llm.check import check
from enginebuild.errors import Problem
from enginebuild_cache import Json
from parts.trtllm_values import serve, triton, values


def _at(*path: str | int) -> tuple[str | int, ...]:
    return ("engine", "runtime", *path)


def _in_triton(runtime: dict[str, Json]) -> list[Problem]:
    return check(triton("1.2.1", "26.07", {"runtime": runtime}))


def test_options_of_the_server_without_a_mistake() -> None:
    given: dict[str, Json] = {
        "max_batch_size": 64,
        "free_gpu_memory_fraction": 0.85,
        "trust_remote_code": True,
        "num_postprocess_workers": 0,
        "reasoning_parser": "qwen3",
    }
    assert serve(given) == []


@pytest.mark.parametrize(
    ("version", "name", "message", "hint"),
    [
        (
            "1.2.1",
            "chat_templat",
            "trtllm-serve of TensorRT-LLM 1.2.1 has no option 'chat_templat'",
            "did you mean chat_template?",
        ),
        (
            "1.2.1",
            "kv_cache_free_gpu_memory_fraction",
            "trtllm-serve of TensorRT-LLM 1.2.1 has no option 'kv_cache_free_gpu_memory_fraction'",
            "write free_gpu_memory_fraction",
        ),
        (
            "1.2.1",
            "gemm_plugin",
            "trtllm-serve of TensorRT-LLM 1.2.1 has no option 'gemm_plugin'",
            "trtllm-serve --help lists the options of a version",
        ),
        (
            "1.0.0",
            "reasoning_parser",
            "trtllm-serve of TensorRT-LLM 1.0.0 is not known to have an option 'reasoning_parser'",
            "TensorRT-LLM 1.2.0 to 1.4.0rc1 have it",
        ),
        (
            "0.16.0",
            "reasoning_parser",
            "trtllm-serve of TensorRT-LLM 0.16.0 has no option 'reasoning_parser'",
            "TensorRT-LLM 1.2.0 to 1.4.0rc1 have it",
        ),
    ],
)
def test_an_option_that_the_server_has_not(version: str, name: str, message: str, hint: str) -> None:
    assert serve({name: "x"}, version) == [Problem(_at(name), message, hint, on_key=True)]


@pytest.mark.parametrize(
    ("name", "value", "message", "hint"),
    [
        ("max_batch_size", None, "max_batch_size is null", "leave the line out: the default is 2048"),
        (
            "free_gpu_memory_fraction",
            1.5,
            "free_gpu_memory_fraction must be more than 0 and at most 1, not 1.5",
            "",
        ),
        (
            "free_gpu_memory_fraction",
            0,
            "free_gpu_memory_fraction must be more than 0 and at most 1, not 0",
            "",
        ),
        (
            "free_gpu_memory_fraction",
            float("nan"),
            "free_gpu_memory_fraction takes a number, not NaN",
            "",
        ),
        (
            "reasoning_parser",
            "qwen",
            'reasoning_parser has no choice "qwen"',
            "did you mean qwen3?",
        ),
        ("trust_remote_code", "true", 'trust_remote_code takes true or false, not "true"', "write true"),
        ("chat_template", 5, "chat_template takes text, not 5", 'in quotes: "5"'),
    ],
)
def test_a_wrong_value_for_the_server(name: str, value: Json, message: str, hint: str) -> None:
    assert serve({name: value}) == [Problem(_at(name), message, hint)]


@pytest.mark.parametrize("name", ["max_batch_size", "max_beam_width", "max_num_tokens", "max_seq_len"])
def test_a_server_larger_than_its_engine(name: str) -> None:
    expected = Problem(
        _at(name),
        f"{name} is 9000, and the engine is built for 8",
        f"write {name}: 9000 in engine.build, too",
    )
    assert check(values({"build": {name: 8}, "runtime": {name: 9000}})) == [expected]
    assert check(values({"build": {name: 9000}, "runtime": {name: 9000}})) == []


def test_a_server_larger_than_an_engine_of_default_size() -> None:
    message = "max_batch_size is 4096, and the engine is built for 2048"
    hint = "write max_batch_size: 4096 in engine.build, too"
    assert serve({"max_batch_size": 4096}) == [Problem(_at("max_batch_size"), message, hint)]
    assert serve({"max_seq_len": 100000}) == []


def test_triton_without_a_mistake() -> None:
    given: dict[str, Json] = {
        "decoupled_mode": True,
        "kv_cache_free_gpu_mem_fraction": 0.9,
        "max_queue_size": 1,
        "lora_cache_gpu_memory_fraction": 0.1,
    }
    assert _in_triton(given) == []


@pytest.mark.parametrize(
    ("name", "hint"),
    [
        ("decoupled", "did you mean decoupled_mode?"),
        ("kv_cache_free_gpu_memory_fraction", "did you mean kv_cache_free_gpu_mem_fraction?"),
    ],
)
def test_an_unknown_placeholder(name: str, hint: str) -> None:
    message = f"Triton's templates are not known to have a key {name!r}"
    assert _in_triton({name: True}) == [Problem(_at(name), message, hint, on_key=True)]


def test_a_placeholder_like_no_other() -> None:
    (found,) = _in_triton({"zzz": True})
    assert found.message == "Triton's templates are not known to have a key 'zzz'"
    assert found.hint == (
        "one of: decoupled_mode, batching_strategy, max_queue_size, max_queue_delay_microseconds, "
        "preprocessing_instance_count, postprocessing_instance_count, bls_instance_count, "
        "kv_cache_free_gpu_mem_fraction, max_tokens_in_paged_kv_cache, max_attention_window_size, "
        "enable_kv_cache_reuse, enable_chunked_context, max_beam_width, exclude_input_in_output, "
        "gpu_device_ids, participant_ids and 6 more"
    )


@pytest.mark.parametrize(
    ("name", "value", "message"),
    [
        ("decoupled_mode", "yes", 'decoupled_mode takes true or false, not "yes"'),
        ("max_queue_size", None, "max_queue_size is null"),
        ("bls_instance_count", 0, "bls_instance_count must be at least 1, not 0"),
        (
            "kv_cache_free_gpu_mem_fraction",
            2,
            "kv_cache_free_gpu_mem_fraction must be more than 0 and at most 1, not 2",
        ),
    ],
)
def test_a_wrong_value_for_triton(name: str, value: Json, message: str) -> None:
    hint = "leave the line out" if value is None else ""
    assert _in_triton({name: value}) == [Problem(_at(name), message, hint)]


def test_one_secret_is_the_only_problem_and_is_not_repeated() -> None:
    (found,) = serve({"zzz": 1, "otlp_traces_endpoint": "https://me:pass@traces:4317"})
    assert found == Problem(
        _at("otlp_traces_endpoint"),
        "otlp_traces_endpoint holds a secret: in the image, anybody who can pull it could read it",
        "give it when the container starts",
    )

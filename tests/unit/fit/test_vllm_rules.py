"""What vLLM refuses when it holds its arguments against the model, and a checkpoint that is quantized."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from enginebuild.engines.vllm.rules import relation_problems
from enginebuild.errors import Problem
from parts.fits import AWQ, L8, L70, QWEN_235B, V3, fitted, written


@pytest.mark.parametrize(
    ("model", "overrides", "refusal"),
    [
        (
            L8,
            ["engine.args.enable_expert_parallel=true"],
            (
                "experts",
                "enable_expert_parallel needs experts, and the model has none",
                "write enable_expert_parallel: false",
            ),
        ),
        (QWEN_235B, ["tensor_parallel_size=8", "engine.args.enable_expert_parallel=true"], None),
        (
            L70,
            ["tensor_parallel_size=8", "engine.args.decode_context_parallel_size=2"],
            (
                "attention_heads",
                (
                    "decode_context_parallel_size 2 is more than the 1 GPUs for each of the 8 KV heads that "
                    "tensor_parallel_size 8 makes"
                ),
                "write decode_context_parallel_size: 1",
            ),
        ),
        # Latent attention is repeated on every GPU.
        (
            V3,
            [
                "gpu=H200-SXM-141GB",
                "tensor_parallel_size=8",
                "engine.args.decode_context_parallel_size=8",
            ],
            None,
        ),
        (
            L8,
            [
                "engine.args={max_num_batched_tokens: 8192, enable_chunked_prefill: false}",
                "gpu=B200-SXM-180GB",
            ],
            (
                "length",
                (
                    "max_num_batched_tokens 8192 is less than the model's own length, 131072, and "
                    "enable_chunked_prefill is false"
                ),
                "write max_num_batched_tokens: 131072",
            ),
        ),
    ],
)
def test_arguments_and_the_model(
    model: str, overrides: list[str], refusal: tuple[str, str, str] | None, tmp_path: Path
) -> None:
    refusals = fitted(written(tmp_path, "vllm", overrides), model).refusals
    expected = [] if refusal is None else [refusal]
    assert [(each.check, each.message, each.advice()) for each in refusals] == expected


@pytest.mark.parametrize(
    ("args", "expected"),
    [
        ({"max_model_len": "8k", "max_num_batched_tokens": "4k"}, []),
        ({"max_model_len": -1, "max_num_batched_tokens": 4096, "enable_chunked_prefill": False}, []),
        (
            {"max_model_len": "8K", "max_num_batched_tokens": "4K", "enable_chunked_prefill": False},
            [
                Problem(
                    ("max_num_batched_tokens",),
                    "max_num_batched_tokens 4096 is less than max_model_len 8192, and enable_chunked_prefill "
                    "is false: a long prompt would fit no step",
                    "write max_num_batched_tokens: 8192, or enable_chunked_prefill: true",
                )
            ],
        ),
        (
            {"max_num_batched_tokens": 128, "max_num_seqs": 256},
            [
                Problem(
                    ("max_num_batched_tokens",),
                    "max_num_batched_tokens 128 is less than max_num_seqs 256",
                    "write max_num_batched_tokens: 256, or max_num_seqs: 128",
                )
            ],
        ),
        (
            {"long_prefill_token_threshold": 9000, "max_model_len": 8192},
            [
                Problem(
                    ("long_prefill_token_threshold",),
                    "long_prefill_token_threshold 9000 is more than max_model_len 8192",
                    "write long_prefill_token_threshold: 8192",
                )
            ],
        ),
    ],
)
def test_arguments_among_themselves(args: dict[str, Any], expected: list[Problem]) -> None:
    assert list(relation_problems(args, ())) == expected


def test_a_base_of_ones_own_may_have_the_plugin(tmp_path: Path) -> None:
    recipe = written(tmp_path, "vllm", ["image.base=registry.example.com/vllm:own"])
    found = fitted(recipe, L8, {"quant_method": "bitsandbytes", "load_in_4bit": True})
    assert found.refusals == ()
    assert [each.message for each in found.warnings] == [
        "the model is quantized by bitsandbytes, for which vLLM needs vllm-bnb-plugin"
    ]


@pytest.mark.parametrize("asked", ["awq", "awq_marlin", "auto_awq", "humming"])
def test_words_that_go_with_awq(asked: str, tmp_path: Path) -> None:
    recipe = written(tmp_path, "vllm", [f"engine.args.quantization={asked}"])
    assert fitted(recipe, L8, AWQ).findings == ()


def test_other_classes_may_be_asked_for(tmp_path: Path) -> None:
    for override in (
        "engine.args.hf_overrides={architectures: [LlamaForCausalLM]}",
        "engine.args.model_class_overrides={SomebodysForCausalLM: somebodys.module:Class}",
    ):
        recipe = written(tmp_path, "vllm", [override])
        assert fitted(recipe, L8, architectures=["SomebodysForCausalLM"]).findings == ()


def test_a_cluster_may_be_what_is_advised_to_a_cluster(tmp_path: Path) -> None:
    overrides = ["gpu=L40S", "tensor_parallel_size=8", "pipeline_parallel_size=2"]
    (finding,) = fitted(written(tmp_path, "vllm", overrides), V3).refusals
    assert finding.advice() == "write pipeline_parallel_size: 4, gpu: H100-PCIe-80GB"

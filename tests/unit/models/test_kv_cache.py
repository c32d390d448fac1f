"""The KV cache's size per token and sequence against numbers that the engines' makers and users published."""

from __future__ import annotations

import pytest

from enginebuild.models.kv_cache import KV_BYTES, sequence_bytes, token_bytes
from enginebuild.models.shape import Shape
from parts.published_models import shape

LLAMA_8B = "meta-llama/Llama-3.1-8B-Instruct"


@pytest.mark.parametrize(
    ("model", "expected"),
    [
        # 2 × layers × KV heads × head_dim × 2 bytes, written out.
        (LLAMA_8B, 2 * 32 * 8 * 128 * 2),  # the well-known 128 KiB
        ("meta-llama/Llama-3.3-70B-Instruct", 2 * 80 * 8 * 128 * 2),  # 320 KiB
        ("meta-llama/Llama-2-7b-hf", 2 * 32 * 32 * 128 * 2),  # 512 KiB
        ("Qwen/Qwen2.5-7B-Instruct", 2 * 28 * 4 * 128 * 2),  # 56 KiB
        ("Qwen/Qwen3-235B-A22B", 2 * 94 * 4 * 128 * 2),  # head_dim is not hidden / heads
        ("google/gemma-3-27b-it", 2 * 62 * 16 * 128 * 2),
        ("openai/gpt-oss-120b", 2 * 36 * 8 * 64 * 2),
        ("tiiuae/falcon-7b", 2 * 32 * 1 * 64 * 2),  # multi-query
        # DeepSeek-V3's report: (512 + 64) × 61 numbers, 70,272 bytes in bfloat16.
        ("deepseek-ai/DeepSeek-V3", 70272),
        ("deepseek-ai/DeepSeek-V2-Lite", (512 + 64) * 27 * 2),
    ],
)
def test_bytes_per_token(model: str, expected: int) -> None:
    assert token_bytes(shape(model), 1, 2) == expected


@pytest.mark.parametrize(
    ("model", "tensor", "expected"),
    [
        (LLAMA_8B, 2, 65536),
        (LLAMA_8B, 8, 16384),
        (LLAMA_8B, 16, 16384),  # 8 heads over 16 GPUs: each is kept twice
        ("Qwen/Qwen2.5-7B-Instruct", 8, 2 * 28 * 1 * 128 * 2),
        ("deepseek-ai/DeepSeek-V3", 8, 70272),  # MLA: whole on each GPU
    ],
)
def test_bytes_per_token_over_several_gpus(model: str, tensor: int, expected: int) -> None:
    assert token_bytes(shape(model), tensor, 2) == expected


def test_dtypes() -> None:
    found = {name: token_bytes(shape(LLAMA_8B), 1, size) for name, size in KV_BYTES.items()}
    assert (found["bfloat16"], found["fp8"], found["int8"]) == (131072, 65536, 65536)
    assert found["nvfp4"] == 36864
    assert token_bytes(shape(LLAMA_8B), 1, 2, range(16)) == 65536


def _sequence(found: Shape, length: int, step: int = 2048) -> float:
    return sequence_bytes(found, length, step, 1, 2, range(found.layers), 16)


def test_a_sequence_takes_whole_blocks() -> None:
    llama = shape(LLAMA_8B)
    assert _sequence(llama, 32768) == 32768 * 131072 == 4 << 30
    assert _sequence(llama, 1) == _sequence(llama, 16) == 16 * 131072


def test_windows_bound_what_a_sequence_takes() -> None:
    mistral = shape("mistralai/Mistral-7B-v0.1")  # 4096 in every layer
    assert (
        _sequence(mistral, 32768) == (384 + 1) * 16 * 131072
    )  # 4095 + 2048 = 6143 tokens, 384 blocks, and one
    gemma = shape("google/gemma-3-27b-it")  # 1024 in five of six layers
    per_layer = 2 * 16 * 128 * 2
    assert _sequence(gemma, 131072) == 10 * 131072 * per_layer + 52 * (192 + 1) * 16 * per_layer
    llama4 = shape("meta-llama/Llama-4-Scout-17B-16E-Instruct")  # chunks of 8192 in three of four
    assert _sequence(llama4, 1 << 20) < _sequence(shape(LLAMA_8B), 1 << 20) / 2


def test_windows_of_short_sequences_hold_them_whole() -> None:
    gemma = shape("google/gemma-3-27b-it")
    per_layer = 2 * 16 * 128 * 2
    assert _sequence(gemma, 512) == 10 * 512 * per_layer + 52 * (512 + 16) * per_layer

"""What the stand-in of trtllm-build silently changes, as the facts of 1.3.0rc3 say."""

from __future__ import annotations

from typing import Any

import pytest

from parts.trtllm_standin.rewrites import rewrite

ASKED = {
    "max_input_len": 1024,
    "max_seq_len": None,
    "max_batch_size": 8,
    "max_num_tokens": 8192,
    "opt_num_tokens": None,
    "max_draft_len": 0,
    "max_beam_width": 1,
    "gemm_plugin": None,
    "context_fmha": "enable",
    "use_paged_context_fmha": "enable",
    "use_fp8_context_fmha": "enable",
    "reduce_fusion": "enable",
    "user_buffer": "enable",
    "norm_quant_fusion": "enable",
}


def resolved(
    algo: str | None = None,
    kv: str | None = None,
    *,
    tp: int = 1,
    sm: int = 90,
    architecture: str = "LlamaForCausalLM",
    **asked: Any,
) -> dict[str, Any]:
    """The options that differ from what was asked."""
    checkpoint = {
        "architecture": architecture,
        "max_position_embeddings": 4096,
        "mapping": {"tp_size": tp},
        "quantization": {"quant_algo": algo, "kv_cache_quant_algo": kv},
    }
    wanted = {**ASKED, **asked}
    found = rewrite(wanted, checkpoint, sm)
    return {name: value for name, value in found.items() if value != wanted[name]}


FUSION = {"reduce_fusion": "disable", "user_buffer": "disable", "norm_quant_fusion": "disable"}
NO_FP8 = {"use_fp8_context_fmha": "disable"}
SIZES = {"max_seq_len": 4096, "opt_num_tokens": 8}


@pytest.mark.parametrize(
    ("found", "wanted"),
    [
        (resolved(), SIZES | FUSION | NO_FP8),
        (resolved(tp=2), SIZES | NO_FP8 | {"norm_quant_fusion": "disable"}),
        (resolved("FP8", "FP8", tp=2), SIZES | {"norm_quant_fusion": "disable"}),
        (resolved("FP8", None), SIZES | FUSION | NO_FP8),
        (resolved("FP8", "FP8", sm=80), SIZES | FUSION | NO_FP8 | {"use_paged_context_fmha": "disable"}),
        (
            resolved("FP8", "FP8", use_fp8_context_fmha="disable"),
            SIZES | FUSION | {"use_fp8_context_fmha": "enable"},
        ),
        (
            resolved("W8A8_SQ_PER_CHANNEL", "INT8"),
            SIZES | FUSION | NO_FP8 | {"use_paged_context_fmha": "disable"},
        ),
        (
            resolved(context_fmha="disable"),
            SIZES | FUSION | NO_FP8 | {"use_paged_context_fmha": "disable"},
        ),
        (
            resolved("NVFP4", "FP8", sm=100, reduce_fusion="disable"),
            SIZES | {"gemm_plugin": "nvfp4", "user_buffer": "disable"},
        ),
        (
            resolved(max_seq_len=512, max_input_len=1000),
            FUSION | NO_FP8 | {"max_input_len": 512, "max_num_tokens": 4096, "opt_num_tokens": 8},
        ),
        (
            resolved(max_seq_len=512, max_draft_len=9, speculative_decoding_mode="medusa", max_num_tokens=16),
            FUSION
            | NO_FP8
            | {"max_input_len": 521, "max_seq_len": 521, "max_num_tokens": 80, "opt_num_tokens": 8},
        ),
    ],
)
def test_silent_changes(found: dict[str, Any], wanted: dict[str, Any]) -> None:
    assert found == wanted

"""The silent changes that trtllm-build makes to what it was asked (facts of 1.3.0rc3, section 2.3)."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

Options = dict[str, Any]

_FP8_FMHA = ("FP8", "W4A8_AWQ", "NVFP4")
_REDUCE_FUSION = ("LlamaForCausalLM", "MistralForCausalLM", "Gemma2ForCausalLM", "MedusaForCausalLM")


def rewrite(asked: Mapping[str, Any], checkpoint: Mapping[str, Any], sm: int) -> Options:
    """The resolved options. Keys that a version does not have stay away."""
    options = dict(asked)
    quantization = checkpoint["quantization"]
    _sizes(options, checkpoint)
    _fusion(options, checkpoint, quantization["quant_algo"])
    _attention(options, quantization["quant_algo"], quantization["kv_cache_quant_algo"], sm)
    if options.get("gemm_plugin") is None and quantization["quant_algo"] == "NVFP4":
        options["gemm_plugin"] = "nvfp4"
    return options


def _sizes(options: Options, checkpoint: Mapping[str, Any]) -> None:
    draft = options.get("max_draft_len") or 0
    longest = options.get("max_seq_len") or checkpoint.get("max_position_embeddings") or 2048
    options["max_seq_len"] = longest + draft
    options["max_input_len"] = min(options["max_input_len"], options["max_seq_len"])
    batch = options["max_batch_size"]
    tokens = min(options.get("max_num_tokens") or 8192, batch * options["max_seq_len"])
    if options.get("speculative_decoding_mode"):
        tokens = max(tokens, batch * (draft + 1))
    options["max_num_tokens"] = tokens
    if options.get("opt_num_tokens") is None:
        options["opt_num_tokens"] = min(batch * options.get("max_beam_width", 1), tokens)


def _fusion(options: Options, checkpoint: Mapping[str, Any], algo: str | None) -> None:
    architecture, several = checkpoint["architecture"], checkpoint["mapping"]["tp_size"] > 1
    if not several or architecture not in _REDUCE_FUSION:
        _disable(options, "reduce_fusion")
    if options.get("reduce_fusion") != "enable":
        _disable(options, "user_buffer")
    llama = architecture == "LlamaForCausalLM"
    if not llama or algo != "NVFP4" or options.get("reduce_fusion") == "enable":
        _disable(options, "norm_quant_fusion")


def _attention(options: Options, algo: str | None, kv: str | None, sm: int) -> None:
    paged = options.get("use_paged_context_fmha") == "enable"
    if algo not in _FP8_FMHA or sm < 89 or (paged and kv != "FP8"):
        _disable(options, "use_fp8_context_fmha")
    elif algo == "FP8" and paged and kv == "FP8" and "use_fp8_context_fmha" in options:
        options["use_fp8_context_fmha"] = "enable"
    if kv == "INT8" or (kv == "FP8" and options.get("use_fp8_context_fmha") != "enable"):
        _disable(options, "use_paged_context_fmha")
    if options.get("context_fmha") != "enable":
        _disable(options, "use_paged_context_fmha")
        _disable(options, "use_fp8_context_fmha")


def _disable(options: Options, name: str) -> None:
    if name in options:
        options[name] = "disable"

"""Words of TensorRT-LLM's users, and ours. Data, with the tools in comments."""

from __future__ import annotations

from collections.abc import Mapping

from enginebuild.recipe.kinds import Complaint

#: What people call TensorRT-LLM.
TENSORRT_LLM = ("tensorrt-llm", "tensorrtllm", "trtllm", "trt-llm", "trt_llm", "trt")

#: trtllm-serve's --backend and the LLM API's words for the two modes.
MODES: Mapping[str, str] = {
    "tensorrt": "engine",
    "trt": "engine",
    "cpp": "engine",
    "build": "engine",
    "torch": "pytorch",
    "llmapi": "pytorch",
}

SERVERS: Mapping[str, str] = {
    "trtllm_serve": "trtllm-serve",
    "openai": "trtllm-serve",
    "tritonserver": "triton",
    "triton_inference_server": "triton",
}

MODE_REFUSALS: Mapping[str, Complaint] = {
    word: Complaint(f"cannot be {word}, which is a prototype", "write pytorch")
    for word in ("_autodeploy", "autodeploy")
}

#: vLLM's and others' words for TensorRT-LLM's sizes, which are options of the build or else of the server.
TENSORRT_LLM_SIZES: Mapping[str, str] = {
    "max_model_len": "max_seq_len",
    "max_length": "max_seq_len",
    "max_total_tokens": "max_seq_len",
    "context_length": "max_seq_len",
    "max_output_len": "max_seq_len",
    "max_decoder_seq_len": "max_seq_len",
    "max_num_seqs": "max_batch_size",
    "max_num_batched_tokens": "max_num_tokens",
}

_BOTH_MODES: Mapping[str, str] = {
    # trtllm-serve's file, by its option; NVIDIA's words for it
    "extra_llm_api_options": "engine.runtime",
    "llm_api_options": "engine.runtime",
    "llmargs": "engine.runtime",
    "serve": "engine.runtime",
    "serve_args": "engine.runtime",
    # Baseten's trt_llm: {build: {plugin_configuration: ...}}, the LLM API's BuildConfig
    "trt_llm": "engine",
    "trtllm": "engine",
    "tensorrt_llm": "engine",
    "build_config": "engine.build",
    "trtllm_build": "engine.build",
    "plugin_config": "engine.build",
    "plugin_configuration": "engine.build",
    "quantization_config": "quantization",
    "triton": "engine.server",
}
_FRACTIONS = ("gpu_memory_utilization", "mem_fraction_static", "kv_cache_free_gpu_memory_fraction")

#: The same where the engine is TensorRT-LLM, by its mode.
TENSORRT_LLM_KEYS: Mapping[str, Mapping[str, str]] = {
    "engine": {
        **_BOTH_MODES,
        **dict.fromkeys(_FRACTIONS, "engine.runtime.free_gpu_memory_fraction"),
        **dict.fromkeys(("engine_args", "extra_args", "arguments", "args"), "engine.build"),
    },
    "pytorch": {
        **_BOTH_MODES,
        **dict.fromkeys(
            (*_FRACTIONS, "free_gpu_memory_fraction"),
            "engine.runtime.kv_cache_config.free_gpu_memory_fraction",
        ),
        **dict.fromkeys(("engine_args", "extra_args", "arguments", "args"), "engine.runtime"),
    },
}

#: Options of trtllm-build that are often written one level too high (TensorRT-LLM 1.3.0rc3's names).
TENSORRT_LLM_BUILD = frozenset(
    """
    context_fmha fast_build fp8_rowwise_gemm_plugin gather_context_logits gather_generation_logits gemm_plugin
    gemm_swiglu_plugin gpt_attention_plugin kv_cache_type logits_dtype lora_dir lora_plugin
    low_latency_gemm_plugin max_batch_size max_beam_width max_draft_len max_input_len max_lora_rank
    max_num_tokens max_prompt_embedding_table_size max_seq_len moe_plugin multiple_profiles nccl_plugin
    opt_num_tokens profiling_verbosity reduce_fusion remove_input_padding speculative_decoding_mode strip_plan
    tokens_per_block use_fp8_context_fmha use_fused_mlp use_paged_context_fmha user_buffer weight_sparsity
    weight_streaming
    """.split()
)

#: The same of trtllm-serve: its own options with an engine, the keys of its YAML without (1.3.0rc3).
TENSORRT_LLM_RUNTIME: Mapping[str, frozenset[str]] = {
    "engine": frozenset(
        """
        free_gpu_memory_fraction num_postprocess_workers reasoning_parser tool_parser
        trust_remote_code
        """.split()
    ),
    "pytorch": frozenset(
        """
        attn_backend cuda_graph_config disable_overlap_scheduler enable_attention_dp enable_autotuner
        enable_chunked_prefill env_overrides kv_cache_config load_format lora_config max_batch_size
        max_beam_width max_input_len max_num_tokens max_seq_len moe_config moe_expert_parallel_size
        num_postprocess_workers reasoning_parser scheduler_config speculative_config torch_compile_config
        trust_remote_code
        """.split()
    ),
}

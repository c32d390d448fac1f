"""Words that other tools use for what a recipe says, and ours. Data, with the tools in comments."""

from __future__ import annotations

from collections.abc import Mapping

#: A key of another tool, wherever it stands (dashes read as underscores) → the path of ours.
KEYS: Mapping[str, str] = {
    # TensorRT-LLM: convert_checkpoint.py, quantize.py, trtllm-serve; vLLM: `-tp`, `-pp`
    "tp_size": "tensor_parallel_size",
    "tp": "tensor_parallel_size",
    "pp_size": "pipeline_parallel_size",
    "pp": "pipeline_parallel_size",
    "model_dir": "model",
    "qformat": "quantization",
    "quant_algo": "quantization",
    # DJL Serving's and SageMaker's option.tensor_parallel_degree
    "tensor_parallel_degree": "tensor_parallel_size",
    "pipeline_parallel_degree": "pipeline_parallel_size",
    # Baseten's trt_llm.build
    "tensor_parallel_count": "tensor_parallel_size",
    "base_model": "model",
    "checkpoint_repository": "model",
    "quantization_type": "quantization",
    # Text Generation Inference
    "num_shard": "tensor_parallel_size",
    "sharded": "tensor_parallel_size",
    # Triton, NIM, older vLLM deployments
    "world_size": "tensor_parallel_size",
    "num_gpus": "tensor_parallel_size",
    "gpu_count": "tensor_parallel_size",
    # short forms of our own words
    "quant": "quantization",
    "quantize": "quantization",
    "quantization_method": "quantization",
    # Hugging Face, vLLM's own recipes, Truss, SGLang (--model-path)
    "model_id": "model",
    "model_name": "model",
    "model_path": "model",
    "model_name_or_path": "model",
    "pretrained_model_name_or_path": "model",
    "repo_id": "model",
    "hf_repo": "model",
    "checkpoint": "model",
    "torch_dtype": "dtype",
    "data_type": "dtype",
    "precision": "dtype",
    "hf_token": "model.auth",
    "token": "model.auth",
    "trust_pickle": "model.allow_pickle",
    "include": "model.allow_patterns",
    "exclude": "model.ignore_patterns",
    "commit": "model.revision",
    "branch": "model.revision",
    # where it will run: SkyPilot's accelerators, Modal, Kubernetes' nvidia.com/gpu.product
    "gpu_type": "gpu",
    "gpu_name": "gpu",
    "accelerator": "gpu",
    "accelerators": "gpu",
    "target_gpu": "gpu",
    "backend": "engine.type",
    "runtime": "engine.type",
    "engine_version": "engine.version",
    "vllm_version": "engine.version",
    # engine arguments: TensorRT-LLM's and others' words for vLLM's
    "engine_args": "engine.args",
    "extra_args": "engine.args",
    "vllm_args": "engine.args",
    "arguments": "engine.args",
    "max_seq_len": "engine.args.max_model_len",
    "max_length": "engine.args.max_model_len",
    "max_total_tokens": "engine.args.max_model_len",
    "context_length": "engine.args.max_model_len",
    "max_batch_size": "engine.args.max_num_seqs",
    "max_num_tokens": "engine.args.max_num_batched_tokens",
    "mem_fraction_static": "engine.args.gpu_memory_utilization",
    "free_gpu_memory_fraction": "engine.args.gpu_memory_utilization",
    # images: Dockerfile, Truss, Cog, docker-compose
    "base_image": "image.base",
    "docker_image": "image.base",
    "from": "image.base",
    "repo": "image.repository",
    "registry": "image.repository",
    "image_name": "image.repository",
    "tag": "image.tags",
    "label": "image.labels",
    "arch": "image.platform",
    "platforms": "image.platform",
    "compress": "image.compression",
    "compression_format": "image.compression",
    "force_compression": "image.compression",
    # dated and versioned recipes of others
    "schema_version": "version",
    "api_version": "version",
    "apiversion": "version",
}

#: Arguments of `vllm serve` that are often written one level too high (vLLM 0.33's argument names).
ENGINE_ARGUMENTS = frozenset(
    """
    async_scheduling attention_backend block_size chat_template compilation_config cpu_offload_gb
    data_parallel_size disable_log_stats enable_auto_tool_choice enable_chunked_prefill enable_expert_parallel
    enable_lora enable_prefix_caching enforce_eager generation_config gpu_memory_utilization hf_overrides host
    kv_cache_dtype kv_cache_memory_bytes limit_mm_per_prompt load_format lora_modules max_logprobs max_loras
    max_lora_rank max_model_len max_num_batched_tokens max_num_seqs moe_backend optimization_level
    override_generation_config performance_mode port quantization_config reasoning_parser seed
    served_model_name shutdown_timeout speculative_config tokenizer tokenizer_mode tool_call_parser
    trust_remote_code
    """.split()  # noqa: SIM905
)

#: Keys that a later version may have.
LATER = frozenset(
    """
    variants matrix verify publish runner builder calibration warm triton
    env environment extends secrets
    """.split()  # noqa: SIM905
)

#: Values of other tools → ours.
DTYPES: Mapping[str, str] = {
    # PyTorch, TensorRT-LLM, ModelOpt
    "bf16": "bfloat16",
    "fp16": "float16",
    "f16": "float16",
    "half": "float16",
    "fp32": "float32",
    "f32": "float32",
    "float": "float32",
    "torch.bfloat16": "bfloat16",
    "torch.float16": "float16",
    "torch.float32": "float32",
}

#: Names of quantization methods (vLLM 0.33, llm-compressor 0.14, ModelOpt 0.47), in lower case.
QUANTIZATIONS = frozenset(
    """
    fp8 fp8_dynamic fp8_block awq gptq int8 int4 w4a16 w8a8 w8a16 w4a8 nvfp4 nvfp4a16 mxfp4 mxfp8 int4_awq
    w4a8_awq int8_sq smoothquant bitsandbytes bnb gguf marlin compressed-tensors modelopt torchao
    """.split()  # noqa: SIM905
)

#: Engines that are not built, and what people call them.
TENSORRT_LLM = frozenset(
    ["tensorrt_llm", "tensorrt-llm", "tensorrtllm", "trtllm", "trt-llm", "trt_llm", "trt"]
)

#: BuildKit's `compression=`, buildah's `--compression-format`, file name endings.
COMPRESSIONS: Mapping[str, str] = {
    "uncompressed": "none",
    "gz": "gzip",
    "zst": "zstd",
    "zstandard": "zstd",
}

#: KServe's, RamaLama's and modctl's words for what an image holds.
LAYOUTS: Mapping[str, str] = {
    "modelcar": "model",
    "car": "model",
    "raw": "model",
    "volume": "model",
    "modctl": "modelpack",
    "model-spec": "modelpack",
    "artifact": "modelpack",
    "container": "server",
}

#: Formats of layers that are fetched piece by piece while a container runs.
LAZY = ("estargz", "zstd:chunked", "soci", "nydus")

PLATFORMS: Mapping[str, str] = {
    # uname -m, Debian, Docker's short forms
    "amd64": "linux/amd64",
    "x86_64": "linux/amd64",
    "x86-64": "linux/amd64",
    "linux/x86_64": "linux/amd64",
    "arm64": "linux/arm64",
    "aarch64": "linux/arm64",
    "linux/aarch64": "linux/arm64",
    "linux/arm64/v8": "linux/arm64",
}

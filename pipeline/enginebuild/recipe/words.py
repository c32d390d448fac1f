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
    variants matrix verify publish warm env extends secrets
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

#: Other names of quantization methods, in lower case → ours.
QUANTIZATIONS: Mapping[str, str] = {
    # llm-compressor 0.14
    "fp8_dynamic": "fp8_per_channel_per_token",
    "fp8_block": "fp8_block_scales",
    "w8a8": "w8a8_int8",
    "int8": "w8a8_int8",
    "w4a16_asym": "w4a16",
    "fp8_static": "fp8",
    # TensorRT-LLM's quantize.py and QuantAlgo, ModelOpt 0.47
    "fp8_pc_pt": "fp8_per_channel_per_token",
    "fp8_rowwise": "fp8_per_channel_per_token",
    "fp8_2d_blockwise_weight_only": "fp8_block_scales",
    "fp8_pb_wo": "fp8_block_scales",
    "int8_sq": "w8a8_int8",
    "int8_smoothquant": "w8a8_int8",
    "smoothquant": "w8a8_int8",
    "w8a8_sq_per_channel": "w8a8_int8",
    "int8_wo": "w8a16",
    "int8_weight_only": "w8a16",
    "int4_wo": "w4a16",
    "int4_blockwise_weight_only": "w4a16",
    "int4": "w4a16",
    "int4_awq": "w4a16_awq",
    "int4_gptq": "w4a16_gptq",
    "w4a8_awq_beta": "w4a8_awq",
    "nvfp4_awq": "nvfp4",
    "fp4": "nvfp4",
    "full_prec": "none",
    "no_quant": "none",
    # vLLM, Hugging Face
    "awq": "w4a16_awq",
    "awq_marlin": "w4a16_awq",
    "gptq": "w4a16_gptq",
    "gptq_marlin": "w4a16_gptq",
    "fp8_per_tensor": "fp8",
    "fp8_per_block": "fp8_block_scales",
    "modelopt_fp4": "nvfp4",
    "modelopt_fp8": "fp8",
}

QUANTIZATION_TOOLS: Mapping[str, str] = {
    "quantize": "quantize.py",
    "trtllm": "quantize.py",
    "tensorrt_llm": "quantize.py",
    # ModelOpt's former name, its package and its example
    "ammo": "modelopt",
    "nvidia_modelopt": "modelopt",
    "hf_ptq": "modelopt",
    "hf_ptq.py": "modelopt",
    "llmcompressor": "llm-compressor",
    "llm_compressor": "llm-compressor",
    "compressed_tensors": "llm-compressor",
}

KV_CACHE_DTYPES: Mapping[str, str] = {
    # vLLM, TensorRT-LLM's QuantAlgo, ModelOpt's --kv_cache_qformat
    "fp8_e4m3": "fp8",
    "fp8_cast": "fp8",
    "fp8_affine": "fp8",
    "nvfp4_cast": "nvfp4",
    "fp4": "nvfp4",
}

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

RUNNERS: Mapping[str, str] = {
    "container": "docker",
    "podman": "docker",
    "host": "local",
    "process": "local",
}

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

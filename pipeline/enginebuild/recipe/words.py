"""Words that other tools use for what a recipe says, and ours. Data, with the tools in comments."""

from __future__ import annotations

from collections.abc import Mapping

#: A key of another tool (dashes read as underscores) → the path of ours. It is the same wherever it stands,
#: unless a section is written before it.
KEYS: Mapping[str, str] = {
    # ours in two sections, and more often meant for the builder
    "memory": "builder.memory",
    "shm_size": "builder.shm_size",
    "timeout": "builder.timeout",
    # TensorRT-LLM: convert_checkpoint.py, quantize.py, trtllm-serve; vLLM: `-tp`, `-pp`
    "tp_size": "tensor_parallel_size",
    "tp": "tensor_parallel_size",
    "pp_size": "pipeline_parallel_size",
    "pp": "pipeline_parallel_size",
    "model_dir": "model",
    "qformat": "quantization",
    "quant_algo": "quantization",
    "quant_config": "quantization",
    "kv_cache_quant_algo": "quantization.kv_cache_dtype",
    "awq_block_size": "quantization.group_size",
    "calib_config": "quantization.calibration",
    "calib_dataset": "quantization.calibration.dataset",
    "calib_size": "quantization.calibration.num_samples",
    "calib_batches": "quantization.calibration.num_samples",
    "calib_batch_size": "quantization.calibration.batch_size",
    "calib_max_seq_length": "quantization.calibration.max_seq_length",
    "random_seed": "quantization.calibration.seed",
    "input_timing_cache": "builder.timing_cache",
    # ModelOpt's hf_ptq.py
    "calib_seq": "quantization.calibration.max_seq_length",
    "kv_cache_qformat": "quantization.kv_cache_dtype",
    # llm-compressor
    "scheme": "quantization",
    "quantization.ignore": "quantization.exclude_modules",
    "quantization.exclude": "quantization.exclude_modules",
    "num_calibration_samples": "quantization.calibration.num_samples",
    "max_sequence_length": "quantization.calibration.max_seq_length",
    "kv_cache_scheme": "quantization.kv_cache_dtype",
    # AutoAWQ, GPTQModel
    "q_group_size": "quantization.group_size",
    "w_bit": "quantization",
    "modules_to_not_convert": "quantization.exclude_modules",
    # what is written in these sections and means something else outside them
    "quantization.type": "quantization.method",
    "quantization.name": "quantization.method",
    "quantization.backend": "quantization.tool",
    "quantization.calibration.source": "quantization.calibration.dataset",
    "quantization.calibration.data": "quantization.calibration.dataset",
    "quantization.calibration.samples": "quantization.calibration.num_samples",
    "builder.type": "builder.runner",
    "builder.gpu": "builder.gpus",
    "builder.base": "builder.image",
    # DJL Serving's and SageMaker's option.tensor_parallel_degree
    "tensor_parallel_degree": "tensor_parallel_size",
    "pipeline_parallel_degree": "pipeline_parallel_size",
    # Baseten's trt_llm.build
    "tensor_parallel_count": "tensor_parallel_size",
    "base_model": "model",
    "checkpoint_repository": "model",
    "quantization_type": "quantization",
    "num_builder_gpus": "builder.gpus",
    # Text Generation Inference
    "num_shard": "tensor_parallel_size",
    "sharded": "tensor_parallel_size",
    # Triton, NIM, older vLLM deployments
    "world_size": "tensor_parallel_size",
    "num_gpus": "tensor_parallel_size",
    "gpu_count": "tensor_parallel_size",
    "gpus": "tensor_parallel_size",
    # where it is built: Docker, docker-compose, Kubernetes
    "builder_image": "builder.image",
    "builder_gpus": "builder.gpus",
    "gpu_ids": "builder.gpus",
    "device_ids": "builder.gpus",
    "cuda_visible_devices": "builder.gpus",
    "mem_limit": "builder.memory",
    "memory_limit": "builder.memory",
    "shm": "builder.shm_size",
    "venv": "builder.environment",
    "executor": "builder.runner",
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
    "engine_version": "engine.version",
    "vllm_version": "engine.version",
    "trtllm_version": "engine.version",
    "tensorrt_llm_version": "engine.version",
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

#: The same where the engine is vLLM: TensorRT-LLM's and others' words for vLLM's.
VLLM_KEYS: Mapping[str, str] = {
    "engine_args": "engine.args",
    "extra_args": "engine.args",
    "vllm_args": "engine.args",
    # SkyPilot, KServe
    "runtime": "engine.type",
    "arguments": "engine.args",
    "max_seq_len": "engine.args.max_model_len",
    "max_length": "engine.args.max_model_len",
    "max_total_tokens": "engine.args.max_model_len",
    "context_length": "engine.args.max_model_len",
    "max_batch_size": "engine.args.max_num_seqs",
    "max_num_tokens": "engine.args.max_num_batched_tokens",
    "mem_fraction_static": "engine.args.gpu_memory_utilization",
    "free_gpu_memory_fraction": "engine.args.gpu_memory_utilization",
}

#: What enginebuild sets by itself → what is said to those who write it.
SET_BY_US: Mapping[str, str] = {
    "workers": "enginebuild sets it, from builder.gpus",
    "checkpoint_dir": "enginebuild sets it: delete it",
    "output_dir": "enginebuild sets it: delete it",
    "engine_dir": "enginebuild sets it: delete it",
    "output_timing_cache": "enginebuild sets it: delete it",
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
    """.split()
)

#: Keys that a later version may have.
LATER = frozenset(
    """
    publish env extends secrets
    """.split()
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

"""Options and keys that a recipe's engine.build and engine.runtime may not hold, and where they go instead.

Facts: TensorRT-LLM 0.12.0 to 0.17.dev and 1.3.0rc3, parsers and what they do with the values.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from enginebuild.engines.tensorrt_llm.table import Option, Type


@dataclass(frozen=True, slots=True)
class Reserved:
    """Why it is not taken, and what to do. `{name}` is the name as it was meant."""

    message: str
    hint: str = "remove the line"


def _at_the_top(field: str) -> Reserved:
    return Reserved("{name} does not belong here", f"write {field}: … at the recipe's top level")


_OURS = Reserved("{name} is set by enginebuild")
_VOID = Reserved(
    "{name} makes trtllm-build ignore the options beside it without a message",
    "write its values as options of their own in engine.build",
)
_NO_WEIGHTS = Reserved(
    "{name} makes an engine without weights, which no server loads",
    "the model's weights are a step of the build; remove the line",
)
_NO_ENGINE = Reserved("{name} shows what a build would be and makes no engine")
_BESIDE = Reserved("{name} writes or prints what is no part of an engine", "give it to trtllm-build by hand")
_NO_INPUT = Reserved("{name} names what is not among the recipe's inputs, and would not be there")
_REVISION = Reserved(
    "{name} does nothing in an image: the model is a folder in it",
    "name the revision in the recipe's model: hf://org/name@revision",
)
_ONE_MACHINE = Reserved(
    "{name} differs from machine to machine, an image is the same on all",
    "give it when the container starts: --{name}",
)
_NO_HTTP = Reserved("{name} turns off what the image's port and health check rely on, the HTTP server")
_SHUT = Reserved(
    "{name} is set by enginebuild: the server listens on all addresses of its container",
    "choose with docker run -p who reaches it",
)

#: Options of trtllm-build.
BUILD: Mapping[str, Reserved] = {
    "build_config": _VOID,
    "checkpoint_dir": _OURS,
    "output_dir": _OURS,
    "model_config": _NO_WEIGHTS,
    "model_cls_file": _NO_INPUT,
    "model_cls_name": _NO_INPUT,
    "lora_dir": Reserved(
        "{name} names folders that are not among the recipe's inputs, and would not be there",
        "build with lora_plugin and max_lora_rank, and give adapters to the server with each request",
    ),
    "input_timing_cache": Reserved("{name} is set by enginebuild", "write builder: {timing_cache: file:…}"),
    "output_timing_cache": _OURS,
    "workers": Reserved("{name} is set by enginebuild, from the builder's GPUs", "write builder: {gpus: …}"),
    "log_level": _OURS,
    "dry_run": _NO_ENGINE,
    "monitor_memory": _BESIDE,
    "visualize_network": _BESIDE,
    "strip_plan": Reserved(
        "{name} makes an engine without weights, which no server loads before trtllm-refit",
        "remove the line; enginebuild stores equal weights once by itself",
    ),
    "dtype": _at_the_top("dtype"),
    "quantization": _at_the_top("quantization"),
    "model_dir": _at_the_top("model"),
    "tp_size": _at_the_top("tensor_parallel_size"),
    "tensor_parallel_size": _at_the_top("tensor_parallel_size"),
    "pp_size": _at_the_top("pipeline_parallel_size"),
    "pipeline_parallel_size": _at_the_top("pipeline_parallel_size"),
}

#: Of trtllm-serve, its options and the keys of its YAML alike.
_SERVER: Mapping[str, Reserved] = {
    "model": _at_the_top("model"),
    "tensor_parallel_size": _at_the_top("tensor_parallel_size"),
    "tp_size": _at_the_top("tensor_parallel_size"),
    "pipeline_parallel_size": _at_the_top("pipeline_parallel_size"),
    "pp_size": _at_the_top("pipeline_parallel_size"),
    "backend": Reserved("{name} is set by enginebuild", "write engine: {mode: …}"),
    "revision": _REVISION,
    "tokenizer_revision": _REVISION,
    "host": _SHUT,
    "port": _SHUT,
    "gpus_per_node": _ONE_MACHINE,
    "context_parallel_size": Reserved(
        "{name} is not built for: the server has tensor_parallel_size × pipeline_parallel_size GPUs"
    ),
}

#: Options of trtllm-serve, for an engine.
SERVE: Mapping[str, Reserved] = {
    **_SERVER,
    "tokenizer": _OURS,
    "config": _OURS,
    "extra_llm_api_options": _OURS,
    "custom_module_dirs": _NO_INPUT,
    "metadata_server_config_file": _ONE_MACHINE,
    "server_role": _ONE_MACHINE,
    "disagg_cluster_uri": _ONE_MACHINE,
    "grpc": _NO_HTTP,
    "moe_cluster_parallel_size": Reserved("{name} is not built for: no convert_checkpoint.py has it"),
}

#: Keys of trtllm-serve's YAML and of Triton's llmapi model.yaml, for pytorch mode.
YAML: Mapping[str, Reserved] = {
    **_SERVER,
    "dtype": _at_the_top("dtype"),
    "quantization": _at_the_top("quantization"),
    "tokenizer": Reserved("{name} is set by enginebuild: the tokenizer is in the model's folder"),
    "postprocess_tokenizer_dir": _OURS,
    "quant_config": Reserved(
        "{name} is refused by the pytorch backend: the checkpoint says how it is quantized",
        "write quantization: … at the recipe's top level, and for the KV cache kv_cache_config: {dtype: …}",
    ),
    "build_config": Reserved(
        "{name} belongs to engines, which pytorch mode does not compile",
        "write max_batch_size, max_num_tokens and max_seq_len here",
    ),
    "triton_config": _OURS,
    "decoding_config": Reserved(
        "{name} is an object of a program, no value of a file", "write speculative_config: …"
    ),
}

#: Placeholders of Triton's five templates that the recipe's engine decides.
TRITON: Mapping[str, Reserved] = {
    "engine_dir": _OURS,
    "tokenizer_dir": _OURS,
    "triton_backend": _OURS,
    "triton_max_batch_size": Reserved(
        "{name} is set by enginebuild, from the engine", "write max_batch_size: … in engine.build"
    ),
    "encoder_input_features_data_type": _OURS,
    "prompt_embedding_table_data_type": _OURS,
    "logits_datatype": _OURS,
}

#: Placeholders that a recipe may fill (1.3.0rc3; the template of the pinned image has the last word).
_TRITON_TYPES: Mapping[str, Type] = {
    "decoupled_mode": "bool",
    "batching_strategy": "str",
    "max_queue_size": "int",
    "max_queue_delay_microseconds": "int",
    "preprocessing_instance_count": "int",
    "postprocessing_instance_count": "int",
    "bls_instance_count": "int",
    "kv_cache_free_gpu_mem_fraction": "float",
    "max_tokens_in_paged_kv_cache": "int",
    "max_attention_window_size": "int",
    "enable_kv_cache_reuse": "bool",
    "enable_chunked_context": "bool",
    "max_beam_width": "int",
    "exclude_input_in_output": "bool",
    "gpu_device_ids": "str",
    "participant_ids": "str",
    "decoding_mode": "str",
    "guided_decoding_backend": "str",
    "lora_cache_optimal_adapter_size": "int",
    "lora_cache_max_adapter_size": "int",
    "lora_cache_gpu_memory_fraction": "float",
    "lora_cache_host_memory_bytes": "int",
}
TRITON_OPTIONS: Mapping[str, Option] = {
    name: Option(name, (name,), kind) for name, kind in _TRITON_TYPES.items()
}

#: Options of trtllm-build that are gone, and what to do without them.
GONE: Mapping[str, str] = {
    "max_output_len": "write max_seq_len: input and output together",
    "use_custom_all_reduce": "remove the line: the library chooses how GPUs add up",
    "multi_block_mode": "remove the line: the library decides while it serves",
    "builder_opt": "remove the line: there is no such level to choose any more",
    "enable_xqa": "remove the line: the library chooses its attention kernels",
    "lookup_plugin": "remove the line: embeddings need no plugin any more",
    "context_fmha_fp32_acc": "remove the line; bert_context_fmha_fp32_acc is for encoders",
    "builder_force_num_profiles": "remove the line, or write multiple_profiles: enable",
    "auto_parallel": "write tensor_parallel_size and pipeline_parallel_size at the recipe's top level",
    "gpus_per_node": "remove the line: it was of use with auto_parallel alone",
    "cluster_key": "remove the line: it was of use with auto_parallel alone",
}

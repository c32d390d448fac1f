"""Arguments of `vllm serve` that a recipe's engine.args may not hold, and where they go instead.

Facts: vLLM 0.32.0 and 0.33.0, make_arg_parser and the modules it names.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Reserved:
    """Why an argument is not taken, and what to do. `{name}` is the argument, `{option}` its option."""

    message: str
    hint: str


def _at_the_top(field: str) -> Reserved:
    return Reserved(
        "{name} is not an engine argument of a recipe", f"write {field}: … at the recipe's top level"
    )


_REVISION = Reserved(
    "{name} does nothing in an image: the model is a folder in it",
    "name the revision in the recipe's model: hf://org/name@revision",
)
_TLS = Reserved(
    "{name} has no place in an image: a private key in it is everybody's, and the health check speaks HTTP",
    "end TLS in front of the container, or give --ssl-keyfile and --ssl-certfile when it starts",
)
_ONE_MACHINE = Reserved(
    "{name} differs from machine to machine, an image is the same on all",
    "give it when the container starts: --{option}",
)
_NO_HTTP = Reserved(
    "{name} turns off what the image's port and health check rely on, the HTTP server on its port",
    "give it when the container starts, with a health check of your own: --{option}",
)

RESERVED: Mapping[str, Reserved] = {
    "model": _at_the_top("model"),
    "model_tag": _at_the_top("model"),
    "dtype": _at_the_top("dtype"),
    "tensor_parallel_size": _at_the_top("tensor_parallel_size"),
    "pipeline_parallel_size": _at_the_top("pipeline_parallel_size"),
    "revision": _REVISION,
    "code_revision": _REVISION,
    "tokenizer_revision": _REVISION,
    "download_dir": Reserved(
        "{name} does nothing in an image: the model is in it, nothing is downloaded", "remove the line"
    ),
    "api_key": Reserved(
        "{name} is a secret: in the image, anybody who can pull it could read it",
        "give it when the container starts, in the environment variable VLLM_API_KEY",
    ),
    "hf_token": Reserved(
        "{name} is a secret: in the image, anybody who can pull it could read it",
        "remove the line: the server is offline, and the build finds the token in the environment",
    ),
    "ssl_keyfile": _TLS,
    "ssl_certfile": _TLS,
    "config": Reserved(
        "{name} is set by enginebuild: these arguments become the file that it names", "remove the line"
    ),
    "fingerprint_mode": Reserved(
        "{name} is set by enginebuild: every response carries the build's key", "remove the line"
    ),
    "fingerprint_value": Reserved(
        "{name} is set by enginebuild: every response carries the build's key", "remove the line"
    ),
    "grpc": _NO_HTTP,
    "grpc_port": _NO_HTTP,
    "headless": _NO_HTTP,
    "uds": _NO_HTTP,
    "node_rank": _ONE_MACHINE,
    "master_addr": _ONE_MACHINE,
    "data_parallel_address": _ONE_MACHINE,
    "data_parallel_rank": _ONE_MACHINE,
    "data_parallel_start_rank": _ONE_MACHINE,
}

#: Words of other engines and of older vLLM, and what they are in the supported versions.
FORMER: Mapping[str, str] = {
    # TensorRT-LLM (trtllm-build, trtllm-serve)
    "max_seq_len": "max_model_len",
    "max_batch_size": "max_num_seqs",
    "max_num_tokens": "max_num_batched_tokens",
    "kv_cache_free_gpu_memory_fraction": "gpu_memory_utilization",
    "free_gpu_memory_fraction": "gpu_memory_utilization",
    "tp_size": "tensor_parallel_size",
    "pp_size": "pipeline_parallel_size",
    "ep_size": "enable_expert_parallel",
    # SGLang
    "context_length": "max_model_len",
    "mem_fraction_static": "gpu_memory_utilization",
    "max_running_requests": "max_num_seqs",
    "chunked_prefill_size": "max_num_batched_tokens",
    "model_path": "model",
    # Text Generation Inference
    "max_total_tokens": "max_model_len",
    "max_concurrent_requests": "max_num_seqs",
    "num_shard": "tensor_parallel_size",
    # vLLM's own, since removed
    "task": "runner",
    "guided_decoding_backend": "structured_outputs_config",
    "enable_reasoning": "reasoning_parser",
    "rope_scaling": "hf_overrides",
    "rope_theta": "hf_overrides",
}

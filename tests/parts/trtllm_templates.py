"""Stand-ins for the model templates in Triton's image: the placeholders of each version's config.pbtxt.

Only the places that are filled are like the real ones; inputs and outputs are left out.
"""

from __future__ import annotations

from collections.abc import Iterable

from enginebuild.engines.tensorrt_llm.versions import releases

_MODEL = b"# A stand-in for the model's program.\n"

#: Quoted parameters of the model tensorrt_llm, of which none has to be filled.
_OPTIONAL = (
    *("max_beam_width", "max_tokens_in_paged_kv_cache", "max_attention_window_size", "sink_token_length"),
    *("batch_scheduler_policy", "kv_cache_free_gpu_mem_fraction", "kv_cache_host_memory_bytes"),
    *("exclude_input_in_output", "cancellation_check_period_ms", "enable_kv_cache_reuse"),
    *("normalize_log_probs", "enable_chunked_context", "gpu_device_ids", "participant_ids"),
    *("lora_cache_optimal_adapter_size", "lora_cache_max_adapter_size", "lora_cache_gpu_memory_fraction"),
    *(
        "lora_cache_host_memory_bytes",
        "decoding_mode",
        "guided_decoding_backend",
        "xgrammar_tokenizer_info_path",
    ),
    *("iter_stats_max_iterations", "request_stats_max_iterations", "medusa_choices", "eagle_choices"),
)
#: First version of each key that is not filled in quotes.
_SINCE = {
    "encoder_input_features_data_type": "0.15.0",
    "logits_datatype": "0.17.0",
    "prompt_embedding_table_data_type": "0.20.0",
}
_LLMAPI_SINCE = "0.19.0"


def template_files(version: str) -> dict[str, bytes]:
    """Path below /app/all_models → content."""
    files = {}
    for name, text in _ensemble(version).items():
        files[f"inflight_batcher_llm/{name}/config.pbtxt"] = text.encode()
        files[f"inflight_batcher_llm/{name}/1/{'.tmp' if name in _WITHOUT else 'model.py'}"] = _MODEL
    if _has(version, _LLMAPI_SINCE):
        files["llmapi/tensorrt_llm/config.pbtxt"] = b'name: "tensorrt_llm"\nbackend: "python"\n'
        files["llmapi/tensorrt_llm/1/model.py"] = _MODEL
        files["llmapi/tensorrt_llm/1/helpers.py"] = _MODEL
        files["llmapi/tensorrt_llm/1/model.yaml"] = (
            b"model: TinyLlama/TinyLlama-1.1B-Chat-v1.0\nbackend: pytorch\ntensor_parallel_size: 1\n"
            b"triton_config:\n  max_batch_size: 0\n  decoupled: false\n"
        )
    return files


_WITHOUT = ("ensemble", "tensorrt_llm")  # models without a program of their own


def _has(version: str, since: str) -> bool:
    known = list(releases())
    return known.index(version) >= known.index(since)


def _ensemble(version: str) -> dict[str, str]:
    new = [key for key, since in _SINCE.items() if _has(version, since)]
    logits = [key for key in new if key == "logits_datatype"]
    bls = [key for key in new if key != "encoder_input_features_data_type"]
    tokenizer = ("tokenizer_dir",)
    return {
        "ensemble": _config("ensemble", 'platform: "ensemble"', logits),
        "preprocessing": _config(
            *("preprocessing", 'backend: "python"', ()),
            (*tokenizer, "add_special_tokens", "multimodal_model_path", "engine_dir"),
            _queue() + "instance_group [{ count: ${preprocessing_instance_count} kind: KIND_CPU }]\n",
        ),
        "tensorrt_llm": _config(
            *("tensorrt_llm", 'backend: "${triton_backend}"', new),
            _OPTIONAL,
            _decoupled()
            + _queue()
            + _named("gpt_model_type", "batching_strategy")
            + _named("gpt_model_path", "engine_dir"),
        ),
        "postprocessing": _config(
            *("postprocessing", 'backend: "python"', ()),
            (*tokenizer, "skip_special_tokens"),
            "instance_group [{ count: ${postprocessing_instance_count} kind: KIND_CPU }]\n",
        ),
        "tensorrt_llm_bls": _config(
            *("tensorrt_llm_bls", 'backend: "python"', bls),
            ("accumulate_tokens", "tensorrt_llm_model_name", "tensorrt_llm_draft_model_name"),
            _decoupled() + "instance_group [{ count: ${bls_instance_count} kind: KIND_CPU }]\n",
        ),
    }


def _config(
    name: str, backend: str, types: Iterable[str], parameters: Iterable[str] = (), more: str = ""
) -> str:
    inputs = "".join(f'input [{{ name: "{key}" data_type: ${{{key}}} dims: [ -1 ] }}]\n' for key in types)
    head = f'name: "{name}"\n{backend}\nmax_batch_size: ${{triton_max_batch_size}}\n'
    return head + more + inputs + "".join(_named(key, key) for key in parameters)


def _named(key: str, placeholder: str) -> str:
    return f'parameters: {{\n  key: "{key}"\n  value: {{\n    string_value: "${{{placeholder}}}"\n  }}\n}}\n'


def _decoupled() -> str:
    return "model_transaction_policy {\n  decoupled: ${decoupled_mode}\n}\n"


def _queue() -> str:
    return (
        "dynamic_batching {\n  max_queue_delay_microseconds: ${max_queue_delay_microseconds}\n"
        "  default_queue_policy: { max_queue_size: ${max_queue_size} }\n}\n"
    )

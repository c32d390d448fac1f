"""Stand-in for trtllm-build: refuses what 1.3.0rc3's refuses and writes the layout of its output."""

from __future__ import annotations

import json
import os
import time
from argparse import Namespace
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from . import machine
from .checkpoint import is_safetensors, safetensors
from .convert import ARCHITECTURES
from .engine import engine_bytes
from .machine import RefusedError
from .parser import argparse_parser, table, version
from .rewrites import Options, rewrite

#: Architectures of other families that it builds.
_ARCHITECTURES = (
    *("BaichuanForCausalLM", "BaiChuanForCausalLM", "BertForQuestionAnswering", "BertModel", "RobertaModel"),
    *("BloomForCausalLM", "ChatGLMForCausalLM", "ChatGLMModel", "CogVLMForCausalLM", "CohereForCausalLM"),
    *("DbrxForCausalLM", "DeciLMForCausalLM", "DecoderModel", "DeepseekForCausalLM", "DeepseekV2ForCausalLM"),
    *("EncoderModel", "FalconForCausalLM", "GPTForCausalLM", "GPTJForCausalLM", "GPTNeoXForCausalLM"),
    *("Grok1ModelForCausalLM", "InternLM2ForCausalLM", "MPTForCausalLM", "MambaForCausalLM"),
    *("MllamaForConditionalGeneration", "OPTForCausalLM", "RecurrentGemmaForCausalLM", "WhisperEncoder"),
)
#: Algorithms that the builder raises on where 100 <= SM < 120 (facts, section 6).
_REFUSED_ON_BLACKWELL = (
    *("W8A16", "W4A16", "W4A16_AWQ", "W4A8_AWQ", "W8A16_GPTQ", "W4A16_GPTQ", "FP8_PER_CHANNEL_PER_TOKEN"),
    *("W8A8_SQ_PER_CHANNEL", "W8A8_SQ_PER_TENSOR_PLUGIN", "W8A8_SQ_PER_CHANNEL_PER_TOKEN_PLUGIN"),
    *("W8A8_SQ_PER_CHANNEL_PER_TENSOR_PLUGIN", "W8A8_SQ_PER_TENSOR_PER_TOKEN_PLUGIN"),
)
_PLUGINS_NOT_ON_SM100 = (
    *("gemm_swiglu_plugin", "fp8_rowwise_gemm_plugin", "low_latency_gemm_plugin"),
    *("low_latency_gemm_swiglu_plugin", "bert_context_fmha_fp32_acc"),
)
#: Fields of BuildConfig; the plugin options lie in `plugin_config` below it.
_SIZES = (
    *("max_input_len", "max_seq_len", "opt_batch_size", "max_batch_size", "max_beam_width", "max_num_tokens"),
    *("opt_num_tokens", "max_encoder_input_len", "max_prompt_embedding_table_size", "kv_cache_type"),
    *("gather_context_logits", "gather_generation_logits", "max_draft_len", "speculative_decoding_mode"),
    *("input_timing_cache", "output_timing_cache", "profiling_verbosity", "enable_debug_output"),
    *("weight_sparsity", "weight_streaming"),
)
_MORE = ("strip_plan", "monitor_memory", "logits_dtype", "auto_parallel")
#: Neither of the build nor of the plugins.
_OTHERS = (
    *("checkpoint_dir", "model_config", "build_config", "model_cls_file", "model_cls_name", "output_dir"),
    *("workers", "log_level", "dry_run", "visualize_network", "fast_build", "lora_dir", "lora_ckpt_source"),
    *("max_lora_rank", "lora_target_modules", "gather_all_token_logits", "gpus_per_node", "cluster_key"),
    *("builder_opt", "builder_force_num_profiles", "paged_kv_cache"),
)


def main() -> None:
    """What the installed program calls."""
    try:
        _build(argparse_parser(table("build"), "trtllm-build").parse_args())
    except RefusedError as refusal:
        machine.end(refusal)


def _build(arguments: Namespace) -> None:
    begun = time.monotonic()
    print(f"[TensorRT-LLM] TensorRT-LLM version: {version()}", flush=True)
    checkpoint = _checkpoint(arguments)
    gpu, *_ = machine.gpus()
    options = _effective(arguments)
    _require_options(options, checkpoint)
    _require_gpu(options, checkpoint["quantization"], gpu.sm)
    faults = machine.Faults("compile", checkpoint)
    faults.begin()
    _read_timing_cache(options)
    resolved = rewrite(options, checkpoint, gpu.sm)
    output = Path(arguments.output_dir)
    output.mkdir(parents=True, exist_ok=True)
    _write_config(output, checkpoint, resolved)
    world = int(checkpoint["mapping"]["world_size"])
    for rank in range(world):
        if rank or world == 1:
            faults.midway()
        machine.log(f"Build TensorRT engine Unnamed Network {rank}")
        (output / f"rank{rank}.engine").write_bytes(engine_bytes(version(), gpu.sm, rank))
        if arguments.fast_build:
            managed = safetensors("weights", os.urandom(4096))
            (output / f"rank{rank}_managed_weights.safetensors").write_bytes(managed)
        machine.log(f"Total time of building Unnamed Network {rank}: {_clock(time.monotonic() - begun)}")
    _write_timing_cache(options)
    machine.log(f"Total time of building all engines: {_clock(time.monotonic() - begun)}")


def _checkpoint(arguments: Namespace) -> dict[str, Any]:
    """The config.json of the checkpoint. A .json instead of a folder would make an engine without weights."""
    if arguments.checkpoint_dir is None:
        raise RefusedError("AttributeError", "'NoneType' object has no attribute 'lower'")
    folder = Path(arguments.checkpoint_dir)
    if folder.suffix == ".json" or arguments.model_config is not None:
        raise RefusedError(
            "RuntimeError", "no weights would be loaded: a dummy engine, which nobody wants here"
        )
    if not (folder / "config.json").is_file():
        raise RefusedError(
            "FileNotFoundError", f"[Errno 2] No such file or directory: '{folder / 'config.json'}'"
        )
    config: dict[str, Any] = json.loads((folder / "config.json").read_text())
    known = {name for names in ARCHITECTURES.values() for name in names} | set(_ARCHITECTURES)
    if config["architecture"] not in known:
        raise RefusedError("RuntimeError", f"Unsupported model architecture: {config['architecture']}")
    for rank in range(config["mapping"]["world_size"]):
        path = folder / f"rank{rank}.safetensors"
        if not path.is_file() or not is_safetensors(path):
            raise RefusedError("SafetensorError", f"{path} is not there or not whole")
    return config


def _effective(arguments: Namespace) -> Options:
    """The options as given; --build_config makes those of the sizes silently void, and fills its own in."""
    options = dict(vars(arguments))
    if arguments.build_config is not None:
        written = json.loads(Path(arguments.build_config).read_text())
        for name in _SIZES:
            options[name] = written.get(name, options.get(name))
    if options.get("gather_all_token_logits"):
        options["gather_context_logits"] = options["gather_generation_logits"] = True
    return options


def _require_options(options: Mapping[str, Any], checkpoint: Mapping[str, Any]) -> None:
    if options.get("gather_context_logits") and (options.get("max_draft_len") or 0) > 0:
        raise RefusedError("AssertionError", "context logits are not supported with a draft length")
    if options.get("multiple_profiles") == "enable" and options.get("opt_num_tokens") is not None:
        raise RefusedError("AssertionError", "multiple_profiles and opt_num_tokens exclude each other")
    if options.get("streamingllm") == "enable":
        raise RefusedError("RuntimeError", "StreamingLLM is not supported by the C++ runtime")
    if options.get("pp_reduce_scatter") == "enable" and checkpoint["architecture"] != "MixtralForCausalLM":
        raise RefusedError("RuntimeError", "pp_reduce_scatter is only supported by Mixtral")
    for folder in options.get("lora_dir") or ():
        if not Path(folder).exists():
            raise RefusedError("FileNotFoundError", f"[Errno 2] No such file or directory: '{folder}'")


def _require_gpu(options: Mapping[str, Any], quantization: Mapping[str, Any], sm: int) -> None:
    algo, kv = quantization["quant_algo"], quantization["kv_cache_quant_algo"]
    if sm == 100:
        for name in _PLUGINS_NOT_ON_SM100:
            if options.get(name) not in (None, "disable"):
                raise RefusedError("RuntimeError", f"{name} is not supported on SM 100")
    if 100 <= sm < 120 and (algo in _REFUSED_ON_BLACKWELL or kv == "INT8"):
        raise RefusedError("NotImplementedError", f"{algo} with KV cache {kv} is not supported on SM {sm}")
    if (algo == "NVFP4" and sm < 100) or (algo is not None and algo.startswith("FP8") and sm < 89):
        raise RefusedError("RuntimeError", f"TensorRT: no implementation of {algo} for SM {sm}")


def _read_timing_cache(options: Mapping[str, Any]) -> None:
    given = options.get("input_timing_cache")
    if given is not None and not Path(given).exists():
        machine.log(f"[W] {given} does not exist, and no timing cache is used")  # only a warning


def _write_timing_cache(options: Mapping[str, Any]) -> None:
    """What was known and what was measured; never the same bytes twice."""
    given = options.get("input_timing_cache")
    known = Path(given).read_bytes() if given is not None and Path(given).exists() else b""
    path = Path(options.get("output_timing_cache") or "model.cache")
    path.write_bytes(known + os.urandom(256))


def _write_config(output: Path, checkpoint: Mapping[str, Any], resolved: Options) -> None:
    build = {name: resolved[name] for name in (*_SIZES, *_MORE) if name in resolved}
    build |= {"opt_batch_size": 8, "strongly_typed": True, "use_refit": False, "use_mrope": False}
    plugins = {
        name: {"enable": True, "disable": None if name.endswith("_plugin") else False}.get(value, value)
        for name, value in resolved.items()
        if name not in (*_SIZES, *_MORE, *_OTHERS)
    }
    document = {
        "version": version(),
        "pretrained_config": dict(checkpoint),
        "build_config": build | {"plugin_config": plugins},
    }
    (output / "config.json").write_text(json.dumps(document, indent=4))


def _clock(seconds: float) -> str:
    return time.strftime("%H:%M:%S", time.gmtime(seconds))
